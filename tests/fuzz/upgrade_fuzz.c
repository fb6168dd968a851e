/* upgrade_fuzz.c - the opening handshake as the server holds it: any head is parsed, kept, judged and answered;
 * what is kept must be what was sent, and every answer one that a client can parse and that says what was
 * decided.
 *
 * The first byte picks what the server agrees to; then a subprotocol up to a line end; the rest is the
 * request, from its request line or, when it begins with a blank, headers for a good one.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "connection/request.h"
#include "proto/extensions.h"
#include "proto/http.h"
#include "proto/upgrade.h"

#define SUBPROTOCOL_MAX 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static struct tg_http *parse_answer(const struct tg_buffer *answer)
{
    struct tg_http *http;
    size_t consumed;

    require(tg_http_create(&http, TG_HTTP_RESPONSE, 16384, 4096) == TG_ERR_OK);
    require(tg_http_feed(http, tg_buffer_head(answer), answer->len, &consumed) == TG_HTTP_DONE);
    require(consumed == answer->len);
    return http;
}

static size_t count_of(const struct tg_http *http, enum tg_header name)
{
    size_t count;
    (void)tg_http_find(http, name, &count);
    return count;
}

/* What §4.2.1 asks for, looked up without the code under test. */
static void check_accepted(const struct tg_http *http)
{
    struct tg_http_text key = tg_http_find(http, TG_HEADER_SEC_WEBSOCKET_KEY, NULL);
    struct tg_http_text version = tg_http_find(http, TG_HEADER_SEC_WEBSOCKET_VERSION, NULL);

    require(strcmp(tg_http_method(http).data, "GET") == 0 && tg_http_version_minor(http) >= 1);
    require(count_of(http, TG_HEADER_HOST) == 1 &&
            count_of(http, TG_HEADER_SEC_WEBSOCKET_KEY) == 1 &&
            count_of(http, TG_HEADER_SEC_WEBSOCKET_VERSION) == 1);
    require(strcasestr(tg_http_find(http, TG_HEADER_UPGRADE, NULL).data, "websocket") != NULL ||
            count_of(http, TG_HEADER_UPGRADE) > 1);
    require(strcasestr(tg_http_find(http, TG_HEADER_CONNECTION, NULL).data, "upgrade") != NULL ||
            count_of(http, TG_HEADER_CONNECTION) > 1);
    require(strcmp(version.data, "13") == 0);
    require(key.len == TG_WS_KEY_LEN && memcmp(key.data + 22, "==", 2) == 0);
    require(count_of(http, TG_HEADER_TRANSFER_ENCODING) == 0);
}

static void accept_it(const struct tg_http *http, uint8_t options, const char *subprotocol)
{
    struct tg_deflate_terms terms = {
        .server_takeover = (options & 1) != 0,
        .client_takeover = (options & 2) != 0,
        .window_bits = (uint8_t)(9 + (options >> 2) % 7),
    };
    struct tg_deflate_agreement agreed;
    char value[TG_EXTENSIONS_SIZE];
    char extra[TG_EXTENSIONS_SIZE + 64];
    struct tg_buffer answer = TG_BUFFER_INIT;
    struct tg_error error;

    check_accepted(http);
    bool deflate = tg_extensions_negotiate(http, &terms, &agreed, value);
    int len = deflate ? snprintf(extra, sizeof extra, TG_EXTENSIONS_HEADER "%s\r\n", value) : 0;
    extra[len] = '\0';
    enum tg_err err = tg_upgrade_accept(&answer, http, subprotocol, extra);
    if (err != TG_ERR_OK) {
        require(err == TG_ERR_INVALID && answer.len == 0);
        return;
    }
    struct tg_http *response = parse_answer(&answer);
    const char *key = tg_http_find(http, TG_HEADER_SEC_WEBSOCKET_KEY, NULL).data;
    require(tg_upgrade_verify(response, key, &error) == TG_ERR_OK);
    size_t headers = 3u + deflate + (subprotocol != NULL);
    require(tg_http_header_count(response) == headers);
    require(tg_extensions_valid(response));
    tg_http_destroy(response);
    tg_buffer_fini(&answer);
}

static void refuse_it(const char *why, int status, const char *extra)
{
    struct tg_buffer answer = TG_BUFFER_INIT;

    require(status >= 400 && status <= 505 && why[0] != '\0');
    require(tg_http_write_response(&answer, status, "text/plain", extra, why, strlen(why), false) ==
            TG_ERR_OK);
    struct tg_http *response = parse_answer(&answer);
    require(tg_http_response_status(response) == status);
    require(tg_http_body(response)->len == strlen(why));
    require(status != 426 || count_of(response, TG_HEADER_SEC_WEBSOCKET_VERSION) == 1);
    tg_http_destroy(response);
    tg_buffer_fini(&answer);
}

static void judge(const struct tg_http *http, uint8_t options, const char *subprotocol)
{
    struct tg_upgrade_refusal refusal;

    if (tg_upgrade_check(http, &refusal) == TG_ERR_OK)
        accept_it(http, options, subprotocol);
    else
        refuse_it(refusal.why, refusal.status, refusal.extra);
}

static bool is_same(struct tg_http_text sent, const char *kept)
{
    return strlen(kept) == sent.len && memcmp(kept, sent.data, sent.len) == 0;
}

static void keep_it(const struct tg_http *http)
{
    struct tg_request_about about = {.via_proxy = true};
    struct tg_request *request = tg_request_create(http, &about);
    struct tg_request_header kept;
    size_t cursor = 0;

    require(request != NULL && tg_request_header_count(request) == tg_http_header_count(http));
    require(is_same(tg_http_method(http), tg_request_method(request)));
    require(is_same(tg_http_path(http), tg_request_path(request)));
    require(is_same(tg_http_query(http), tg_request_query(request)));
    for (size_t i = 0; i < tg_http_header_count(http); i++) {
        struct tg_http_header sent = tg_http_header_at(http, i);
        require(tg_request_next_header(request, &cursor, &kept));
        require(is_same(sent.name, kept.name) && is_same(sent.value, kept.value));
        require(kept.number == sent.number && kept.value_len == sent.value.len);
    }
    require(!tg_request_next_header(request, &cursor, &kept));
    tg_free(request);
}

/* Feeds in two pieces, so that both ends of the parser's state are met. */
static enum tg_http_status feed(struct tg_http *http, const uint8_t *data, size_t len)
{
    size_t consumed = 0;
    enum tg_http_status status = tg_http_feed(http, data, len / 2, &consumed);

    if (status == TG_HTTP_MORE)
        status = tg_http_feed(http, data + len / 2, len - len / 2, &consumed);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char good[] = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    struct tg_buffer request = TG_BUFFER_INIT;
    char subprotocol[SUBPROTOCOL_MAX + 1];
    size_t at = 0;
    const char *why;

    if (size < 2)
        return 0;
    uint8_t options = data[0];
    for (data++, size--; at < size && at < SUBPROTOCOL_MAX && data[at] != '\n'; at++)
        subprotocol[at] = (char)data[at];
    subprotocol[at] = '\0';
    data += at;
    size -= at;
    if (size > 1 && data[1] == ' ') {
        require(tg_buffer_append(&request, good, sizeof good - 1) == TG_ERR_OK);
        data++;
        size--;
    }
    if (size > 0)
        require(tg_buffer_append(&request, data + 1, size - 1) == TG_ERR_OK);
    if (request.len == 0)
        return 0;
    struct tg_http *http;
    require(tg_http_create(&http, TG_HTTP_REQUEST, 4096, 0) == TG_ERR_OK);
    enum tg_http_status status = feed(http, tg_buffer_head(&request), request.len);
    if (status == TG_HTTP_DONE) {
        keep_it(http);
        judge(http, options, at == 0 ? NULL : subprotocol);
    } else if (status == TG_HTTP_BAD) {
        int code = tg_http_refusal(http, &why);
        refuse_it(why, code, "");
    }
    tg_http_destroy(http);
    tg_buffer_fini(&request);
    return 0;
}
