/* extensions_fuzz.c - any Sec-WebSocket-Extensions, as an offer and as an answer.
 *
 * The first byte picks the server's terms and the client's offer; the rest are values of headers, one
 * a line. What a server of ours answers must be an answer that a client of ours accepts.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/extensions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_way(struct tg_deflate_way way)
{
    require(way.window_bits >= TG_DEFLATE_BITS_MIN && way.window_bits <= TG_DEFLATE_BITS_MAX);
}

/* NULL: no such head can be. */
static struct tg_http *parse(enum tg_http_kind kind, const uint8_t *data, size_t size)
{
    struct tg_buffer head = TG_BUFFER_INIT;
    struct tg_http *http;
    size_t consumed;

    require(tg_buffer_append_str(&head, kind == TG_HTTP_REQUEST
                                            ? "GET / HTTP/1.1\r\n"
                                            : "HTTP/1.1 101 x\r\n") == TG_ERR_OK);
    require(tg_buffer_append_str(
                &head,
                "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" TG_EXTENSIONS_HEADER) ==
            TG_ERR_OK);
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n')
            require(tg_buffer_append_str(&head, "\r\n" TG_EXTENSIONS_HEADER) == TG_ERR_OK);
        else
            require(tg_buffer_append(&head, data + i, 1) == TG_ERR_OK);
    }
    require(tg_buffer_append_str(&head, "\r\n\r\n") == TG_ERR_OK);
    require(tg_http_create(&http, kind, 1 << 16, 0) == TG_ERR_OK);
    if (tg_http_feed(http, tg_buffer_head(&head), head.len, &consumed) != TG_HTTP_DONE) {
        tg_http_destroy(http);
        http = NULL;
    }
    tg_buffer_fini(&head);
    return http;
}

static bool verify(const uint8_t *value, size_t len, const struct tg_deflate_offer *offer)
{
    struct tg_http *response = parse(TG_HTTP_RESPONSE, value, len);
    struct tg_deflate_agreement agreed;
    struct tg_error error;
    bool used = false;

    if (response == NULL)
        return false;
    enum tg_err err = tg_extensions_verify(response, offer, &used, &agreed, &error);
    tg_http_destroy(response);
    if (err != TG_ERR_OK) {
        require(err == TG_ERR_PROTO && error.text[0] != '\0');
        return false;
    }
    if (used) {
        check_way(agreed.from_server);
        check_way(agreed.from_client);
    }
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tg_deflate_offer open_offer = {.client_max_window_bits =
                                                           TG_DEFLATE_ANY_BITS};
    struct tg_deflate_agreement agreed;
    char answer[TG_EXTENSIONS_SIZE];

    if (size < 1)
        return 0;
    struct tg_deflate_terms terms = {(data[0] & 1) != 0, (data[0] & 2) != 0,
                                     (uint8_t)(9 + (data[0] >> 2) % 7)};
    struct tg_http *request = parse(TG_HTTP_REQUEST, data + 1, size - 1);
    if (request != NULL) {
        bool valid = tg_extensions_valid(request);
        if (tg_extensions_negotiate(request, &terms, &agreed, answer) && valid) {
            check_way(agreed.from_server);
            check_way(agreed.from_client);
            require(agreed.from_server.window_bits <= terms.window_bits);
            require(!agreed.from_server.takeover || terms.server_takeover);
            require(!agreed.from_client.takeover || terms.client_takeover);
            require(verify((const uint8_t *)answer, strlen(answer), &open_offer));
        }
        tg_http_destroy(request);
    }
    struct tg_deflate_offer offer = {(data[0] & 1) != 0, (data[0] & 2) != 0,
                                     (data[0] & 4) != 0 ? 10 : 0, (data[0] & 8) != 0 ? 12 : 0};
    (void)verify(data + 1, size - 1, &offer);
    (void)verify(data + 1, size - 1, NULL);
    return 0;
}
