/* request.c - packs a parsed head into one immutable block. */
#include "connection/request.h"

#include <string.h>

#include "base/memory.h"
#include "proto/forwarded.h"

static const char *pack(char **at, const char *data, size_t len)
{
    char *text = *at;
    if (len > 0)
        memcpy(text, data, len);
    text[len] = '\0';
    *at = text + len + 1;
    return text;
}

static const char *pack_text(char **at, const char *text)
{
    return text == NULL ? NULL : pack(at, text, strlen(text));
}

static size_t text_size(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

static size_t packed_size(const struct tg_http *http, const char *remote,
                          const struct tg_request_tls *tls)
{
    size_t size = tg_http_method(http).len + tg_http_path(http).len + tg_http_query(http).len +
                  strlen(remote) + 4 + text_size(tls->info) + text_size(tls->client_certificate);
    for (size_t i = 0; i < tg_http_header_count(http); i++) {
        struct tg_http_header header = tg_http_header_at(http, i);
        size += header.name.len + header.value.len + 2;
    }
    return size;
}

struct tg_request *tg_request_create(const struct tg_http *http, const char *remote,
                                     const struct tg_request_tls *tls)
{
    static const struct tg_request_tls none = {NULL, NULL};
    if (tls == NULL)
        tls = &none;
    size_t count = tg_http_header_count(http);
    size_t table = sizeof(struct tg_request) + count * sizeof(struct tg_request_header);
    struct tg_request *request = tg_alloc(table + packed_size(http, remote, tls));
    if (request == NULL)
        return NULL;
    char *at = (char *)request + table;
    struct tg_http_text method = tg_http_method(http);
    struct tg_http_text path = tg_http_path(http);
    struct tg_http_text query = tg_http_query(http);
    request->method = pack(&at, method.data, method.len);
    request->path = pack(&at, path.data, path.len);
    request->query = pack(&at, query.data, query.len);
    request->remote = pack(&at, remote, strlen(remote));
    request->secure = false;
    request->via_proxy = false;
    request->tls.info = pack_text(&at, tls->info);
    request->tls.client_certificate = pack_text(&at, tls->client_certificate);
    request->header_count = count;
    for (size_t i = 0; i < count; i++) {
        struct tg_http_header header = tg_http_header_at(http, i);
        request->headers[i].name = pack(&at, header.name.data, header.name.len);
        request->headers[i].value = pack(&at, header.value.data, header.value.len);
    }
    return request;
}

void tg_request_drop_forwarded(struct tg_request *request)
{
    size_t kept = 0;
    for (size_t i = 0; i < request->header_count; i++)
        if (!tg_forwarded_is_header(request->headers[i].name))
            request->headers[kept++] = request->headers[i];
    request->header_count = kept;
}

const char *tg_request_header(const struct tg_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (strcmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return NULL;
}
