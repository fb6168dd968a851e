/* http_message.c - what was read of a message: its texts, what a request must not say, and the accessors.
 *
 * All names and values point into one block of text, as offsets while it grows and as pointers only in the
 * accessors.
 */
#include <assert.h>
#include <string.h>
#include <strings.h>

#include "proto/http_internal.h"

int tg__http_refuse(struct tg_http *http, int status, const char *why)
{
    if (http->status != TG_HTTP_BAD) {
        http->status = TG_HTTP_BAD;
        http->refusal = status;
        http->why = why;
    }
    return -1;
}

int tg__http_add_text(struct tg_http *http, const char *data, size_t len)
{
    if (tg_buffer_append(&http->text, data, len) != TG_ERR_OK)
        return tg__http_refuse(http, 503, "out of memory");
    return 0;
}

int tg__http_end_text(struct tg_http *http)
{
    uint8_t *end = tg_buffer_reserve(&http->text, 1);

    if (end == NULL)
        return tg__http_refuse(http, 503, "out of memory");
    *end = '\0';
    tg_buffer_commit(&http->text, 1);
    return 0;
}

struct tg_http_text tg__http_text_of(const struct tg_http *http, struct tg__http_span span)
{
    if (http->text.len == 0) /* a response without headers */
        return (struct tg_http_text){"", 0};
    return (struct tg_http_text){(const char *)tg_buffer_head(&http->text) + span.at, span.len};
}

/* Path and query. An absolute target ("http://host/path", RFC 9112 §3.2.2) is read as its path. */
static int split_target(struct tg_http *http)
{
    const char *target = tg__http_text_of(http, http->target).data;
    const char *path = target;
    const char *end = target + http->target.len;

    if (strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0) {
        path = strstr(target, "://") + 3;
        path += strcspn(path, "/?");
    }
    size_t path_len = strcspn(path, "?");
    const char *query = path[path_len] == '?' ? path + path_len + 1 : end;
    http->query = (struct tg__http_span){(uint32_t)(query - target), (uint32_t)(end - query)};
    http->query.at += http->target.at;
    http->path = (struct tg__http_span){(uint32_t)http->text.len, (uint32_t)path_len};
    if (path_len == 0) {
        http->path.len = 1;
        return tg__http_add_text(http, "/", 2);
    }
    /* Room first: the block may move, and the path is inside it. */
    size_t path_at = (size_t)(path - target) + http->target.at;
    uint8_t *copy = tg_buffer_reserve(&http->text, path_len + 1);
    if (copy == NULL)
        return tg__http_refuse(http, 503, "out of memory");
    memcpy(copy, tg_buffer_head(&http->text) + path_at, path_len);
    copy[path_len] = '\0';
    tg_buffer_commit(&http->text, path_len + 1);
    return 0;
}

/* What RFC 9112 §3.2 and §6 demand of a request and no parser setting covers. */
int tg__http_check_request(struct tg_http *http)
{
    size_t hosts;
    size_t lengths;
    size_t codings;

    (void)tg_http_find(http, TG_HEADER_HOST, &hosts);
    (void)tg_http_find(http, TG_HEADER_CONTENT_LENGTH, &lengths);
    struct tg_http_text coding = tg_http_find(http, TG_HEADER_TRANSFER_ENCODING, &codings);
    if (hosts > 1)
        return tg__http_refuse(http, 400, "more than one Host header");
    if (hosts == 0 && http->minor_version > 0)
        return tg__http_refuse(http, 400, "the Host header is missing");
    if (lengths > 1)
        return tg__http_refuse(http, 400, "more than one Content-Length header");
    if (codings > 0 && lengths > 0)
        return tg__http_refuse(http, 400, "both Content-Length and Transfer-Encoding");
    if (codings > 0 && http->minor_version == 0)
        return tg__http_refuse(http, 400, "Transfer-Encoding in an HTTP/1.0 request");
    if (codings > 1 || (codings == 1 && strcasecmp(coding.data, "chunked") != 0))
        return tg__http_refuse(http, 501, "a transfer coding other than chunked");
    return split_target(http);
}

int tg_http_refusal(const struct tg_http *http, const char **why)
{
    *why = http->why;
    return http->refusal;
}

struct tg_http_text tg_http_method(const struct tg_http *http)
{
    return (struct tg_http_text){http->method, strlen(http->method)};
}

struct tg_http_text tg_http_target(const struct tg_http *http)
{
    return tg__http_text_of(http, http->target);
}

struct tg_http_text tg_http_path(const struct tg_http *http)
{
    return tg__http_text_of(http, http->path);
}

struct tg_http_text tg_http_query(const struct tg_http *http)
{
    return tg__http_text_of(http, http->query);
}

int tg_http_version_minor(const struct tg_http *http)
{
    return http->minor_version;
}

int tg_http_response_status(const struct tg_http *http)
{
    return http->response_status;
}

bool tg_http_keep_alive(const struct tg_http *http)
{
    return http->keep_alive;
}

bool tg_http_is_upgrade(const struct tg_http *http)
{
    return http->upgrade;
}

const struct tg_buffer *tg_http_body(const struct tg_http *http)
{
    return &http->body;
}

size_t tg_http_header_count(const struct tg_http *http)
{
    return http->header_count;
}

size_t tg_http_next(const struct tg_http *http, enum tg_header name, size_t index)
{
    if ((http->present >> name & 1) == 0)
        return http->header_count;
    while (index < http->header_count && http->numbers[index] != name)
        index++;
    return index;
}

struct tg_http_text tg_http_find(const struct tg_http *http, enum tg_header name, size_t *count)
{
    size_t first = tg_http_next(http, name, 0);
    size_t seen = 0;

    for (size_t i = first; count != NULL && i < http->header_count;
         i = tg_http_next(http, name, i + 1))
        seen++;
    if (count != NULL)
        *count = seen;
    return first < http->header_count ? tg__http_text_of(http, http->headers[first].value)
                                      : (struct tg_http_text){NULL, 0};
}

struct tg_http_header tg_http_header_at(const struct tg_http *http, size_t index)
{
    const struct tg__http_header *header = &http->headers[index];

    assert(index < http->header_count);
    return (struct tg_http_header){http->numbers[index], tg__http_text_of(http, header->name),
                                   tg__http_text_of(http, header->value)};
}
