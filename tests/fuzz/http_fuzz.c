/* http_fuzz.c - the HTTP parser over any bytes; whole and split input must give the same message.
 *
 * The first byte picks request or response and the limits, the second how the input is split; the
 * rest is the stream. A request that parses goes through the upgrade checks as well.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/http.h"
#include "proto/upgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void note_text(struct tg_buffer *out, struct tg_http_text text)
{
    if (text.data == NULL || text.data[text.len] != '\0')
        abort();
    require(memchr(text.data, '\r', text.len) == NULL && memchr(text.data, '\n', text.len) == NULL);
    require(tg_buffer_append(out, text.data, text.len + 1) == TG_ERR_OK);
}

static void note_headers(struct tg_buffer *out, const struct tg_http *http)
{
    for (size_t i = 0; i < tg_http_header_count(http); i++) {
        struct tg_http_header header = tg_http_header_at(http, i);
        require(header.name.len > 0);
        note_text(out, header.name);
        note_text(out, header.value);
        uint64_t cursor = 0;
        struct tg_http_text item;
        require(header.number == tg_header_number(header.name.data, header.name.len));
        while (header.number != TG_HEADER_OTHER &&
               tg_http_next_item(http, header.number, &cursor, &item))
            require(item.len > 0);
        (void)!tg_http_percent_decode(header.value, true, out);
    }
}

static void note_request(struct tg_buffer *out, const struct tg_http *http)
{
    struct tg_upgrade_refusal refusal;

    note_text(out, tg_http_method(http));
    note_text(out, tg_http_target(http));
    note_text(out, tg_http_path(http));
    note_text(out, tg_http_query(http));
    if (tg_upgrade_check(http, &refusal) == TG_ERR_OK)
        require(tg_upgrade_accept(out, http, NULL, NULL) == TG_ERR_OK);
    else
        require(refusal.status >= 400 && refusal.why[0] != '\0' && refusal.extra != NULL);
}

static void note_message(struct tg_buffer *out, const struct tg_http *http, bool is_request)
{
    const struct tg_buffer *body = tg_http_body(http);
    int facts[] = {tg_http_version_minor(http), tg_http_keep_alive(http), tg_http_is_upgrade(http)};

    require(tg_buffer_append(out, facts, sizeof facts) == TG_ERR_OK);
    note_headers(out, http);
    if (is_request) {
        note_request(out, http);
    } else {
        int status = tg_http_response_status(http);
        struct tg_error error;
        require(tg_buffer_append(out, &status, sizeof status) == TG_ERR_OK);
        (void)!tg_upgrade_verify(http, "dGhlIHNhbXBsZSBub25jZQ==", &error);
    }
    require(tg_buffer_append(out, tg_buffer_head(body), body->len) == TG_ERR_OK);
}

static struct tg_buffer play(uint8_t options, size_t step, const uint8_t *data, size_t len)
{
    struct tg_buffer out = TG_BUFFER_INIT;
    enum tg_http_status status = TG_HTTP_MORE;
    bool is_request = (options & 1) == 0;
    size_t head_max = (options & 2) != 0 ? 80 : 4096;
    size_t body_max = (options & 4) != 0 ? 5 : 1000;
    size_t at = 0;
    struct tg_http *http;

    require(tg_http_create(&http, is_request ? TG_HTTP_REQUEST : TG_HTTP_RESPONSE, head_max,
                           body_max) == TG_ERR_OK);
    while (at < len && status == TG_HTTP_MORE) {
        size_t piece = step == 0 || step > len - at ? len - at : step;
        size_t consumed = SIZE_MAX;
        uint8_t *copy = malloc(piece);
        require(copy != NULL);
        memcpy(copy, data + at, piece);
        status = tg_http_feed(http, copy, piece, &consumed);
        free(copy);
        require(consumed <= piece && (consumed == piece || status != TG_HTTP_MORE));
        at += consumed;
        step = step == 0 ? 0 : step * 5 % 251 + 1;
    }
    if (status == TG_HTTP_BAD) {
        const char *why = NULL;
        int code = tg_http_refusal(http, &why);
        require(code >= 400 && code <= 505 && why != NULL);
        require(tg_buffer_append(&out, &code, sizeof code) == TG_ERR_OK);
    } else if (status == TG_HTTP_DONE) {
        require(tg_http_body(http)->len <= body_max);
        require(tg_buffer_append(&out, &at, sizeof at) == TG_ERR_OK);
        note_message(&out, http, is_request);
    }
    tg_http_destroy(http);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct tg_buffer whole = play(data[0], 0, data + 2, size - 2);
    struct tg_buffer split = play(data[0], data[1] == 0 ? 1 : data[1], data + 2, size - 2);
    require(whole.len == split.len);
    require(whole.len == 0 ||
            memcmp(tg_buffer_head(&whole), tg_buffer_head(&split), whole.len) == 0);
    tg_buffer_fini(&whole);
    tg_buffer_fini(&split);
    return 0;
}
