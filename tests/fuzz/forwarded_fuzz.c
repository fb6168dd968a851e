/* forwarded_fuzz.c - Forwarded and X-Forwarded-For of any content in a head that parses. What a client
 * puts before the proxy's own, well-formed header line must never decide who it is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OURS "203.0.113.7"

static void require(bool condition)
{
    if (!condition)
        abort();
}

static struct tg_address address_of(const char *text)
{
    struct tg_address address;

    require(tg_address_parse(text, strlen(text), &address));
    return address;
}

/* The head with `lines` (any bytes) and then `tail`; NULL when it is none. */
static struct tg_http *parse(const char *name, const uint8_t *data, size_t len, const char *tail)
{
    struct tg_buffer head = TG_BUFFER_INIT;
    struct tg_http *http;
    size_t consumed;

    require(tg_buffer_append_str(&head, "GET / HTTP/1.1\r\nHost: x\r\n") == TG_ERR_OK &&
            tg_buffer_append_str(&head, name) == TG_ERR_OK &&
            tg_buffer_append(&head, data, len) == TG_ERR_OK &&
            tg_buffer_append_str(&head, tail) == TG_ERR_OK);
    require(tg_http_create(&http, TG_HTTP_REQUEST, 65536, 0) == TG_ERR_OK);
    enum tg_http_status status = tg_http_feed(http, tg_buffer_head(&head), head.len, &consumed);
    bool whole = status == TG_HTTP_DONE && consumed == head.len;
    tg_buffer_fini(&head);
    if (whole)
        return http;
    tg_http_destroy(http);
    return NULL;
}

static void resolve(struct tg_http *http, bool ours)
{
    struct tg_cidr trusted[TG_CIDR_PARTS];
    struct tg_address peer = address_of("10.0.0.1:5000");
    struct tg_address want = address_of(OURS);
    struct tg_forwarded found;
    const char *why = NULL;
    size_t count;

    if (http == NULL)
        return;
    require(tg_cidr_parse("10.0.0.0/8", trusted, &count, NULL) == TG_ERR_OK);
    enum tg_err err = tg_forwarded_resolve(http, &peer, trusted, count, &found, &why);
    require(err == TG_ERR_OK || (err == TG_ERR_PROTO && why != NULL));
    require(!ours || err != TG_ERR_OK || tg_address_same_host(&found.client, &want));
    tg_http_destroy(http);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_address node;
    bool secure;

    if (size > 4096)
        return 0;
    resolve(parse("Forwarded: ", data, size, "\r\n\r\n"), false);
    resolve(parse("X-Forwarded-For: ", data, size, "\r\n\r\n"), false);
    resolve(parse("Forwarded: ", data, size, "\r\nForwarded: for=" OURS "\r\n\r\n"), true);
    resolve(parse("X-Forwarded-For: ", data, size, "\r\nX-Forwarded-For: " OURS "\r\n\r\n"), true);
    resolve(parse("Forwarded: ", data, size, "\r\nX-Forwarded-For: " OURS "\r\n\r\n"), true);
    (void)tg_forwarded_element((struct tg_http_text){(const char *)data, size}, &node, &secure);
    if (memchr(data, '\n', size) != NULL)
        return 0;
    /* Appended to the client's own line, as some proxies do. */
    resolve(parse("Forwarded: ", data, size, ", for=" OURS "\r\n\r\n"), true);
    resolve(parse("Forwarded: ", data, size, ", for=\"" OURS ":80\", for=10.2.2.2\r\n\r\n"), true);
    resolve(parse("X-Forwarded-For: ", data, size, ", " OURS "\r\n\r\n"), true);
    return 0;
}
