/* http.h - HTTP/1.1 message heads and small bodies (RFC 9110, 9112), over llhttp: bytes in, a parsed
 * message out. No loop, no socket. Used by the public listener (heads), the admin listener (heads and
 * bodies) and the client (responses).
 *
 * Header names are lower-cased. Everything is kept in one block that grows to head_max and is freed
 * with the parser, so that a connection that has upgraded holds none of it.
 */
#ifndef TG_PROTO_HTTP_H
#define TG_PROTO_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "proto/http_headers.h"

#define TG_HTTP_HEADERS_MAX 100 /* of one message */

enum tg_http_kind { TG_HTTP_REQUEST, TG_HTTP_RESPONSE };

enum tg_http_status {
    TG_HTTP_MORE, /* wants more bytes */
    TG_HTTP_DONE, /* the message is complete (for an upgrade: the head) */
    TG_HTTP_BAD   /* malformed or too large: see tg_http_refusal */
};

/* Borrowed from the parser until it is destroyed; NUL-terminated as well. */
struct tg_http_text {
    const char *data;
    size_t len;
};

struct tg_http_header {
    enum tg_header number;
    struct tg_http_text name;  /* lower case */
    struct tg_http_text value; /* outer blanks removed */
};

struct tg_http; /* opaque parser */

TG_MUST enum tg_err tg_http_create(struct tg_http **out, enum tg_http_kind kind, size_t head_max,
                                   size_t body_max);
void tg_http_destroy(struct tg_http *http); /* NULL is allowed */
/* For another message: all is as tg_http_create left it, and some memory is kept for its texts. */
void tg_http_reset(struct tg_http *http);

/* Feeds bytes; *consumed says how many belong to this message (what follows an upgrade head is not
 * touched). May be called with any split of the input. After DONE or BAD nothing more is consumed. */
TG_MUST enum tg_http_status tg_http_feed(struct tg_http *http, const void *data, size_t len,
                                         size_t *consumed);

/* After BAD: the status to answer with (400, 413, 414, 431, 501, 503 when memory is
 * out, 505) and a short reason for people. */
int tg_http_refusal(const struct tg_http *http, const char **why);

/* After DONE. */
struct tg_http_text tg_http_method(const struct tg_http *http); /* requests: "GET" */
struct tg_http_text tg_http_target(const struct tg_http *http); /* as sent: path and query */
struct tg_http_text tg_http_path(const struct tg_http *http);   /* target up to '?', not decoded */
struct tg_http_text tg_http_query(
    const struct tg_http *http); /* after '?', not decoded; "" if none */
int tg_http_version_minor(
    const struct tg_http *http); /* of HTTP/1.x; major other than 1 is BAD (505) */
int tg_http_response_status(const struct tg_http *http);
bool tg_http_keep_alive(const struct tg_http *http);
bool tg_http_is_upgrade(
    const struct tg_http *http); /* Connection: upgrade with an Upgrade header */
const struct tg_buffer *tg_http_body(const struct tg_http *http);
size_t tg_http_header_count(const struct tg_http *http);
struct tg_http_header tg_http_header_at(const struct tg_http *http, size_t index);

/* Index of the first header of that name from `index` on; tg_http_header_count: there is none. */
size_t tg_http_next(const struct tg_http *http, enum tg_header name, size_t index);
/* First header of that name, or a text with data NULL. *count (may be NULL) gets how many. */
struct tg_http_text tg_http_find(const struct tg_http *http, enum tg_header name, size_t *count);
/* True when any header `name` has `token` in its comma-separated list, ignoring case (RFC 9110 §5.6.1). */
bool tg_http_has_token(const struct tg_http *http, enum tg_header name, const char *token);
/* Walks the items of a comma-separated list over all headers of that name; start with *cursor = 0.
 * Items are trimmed and not NUL-terminated; empty ones are skipped. A comma in quotes splits nothing. */
bool tg_http_next_item(const struct tg_http *http, enum tg_header name, uint64_t *cursor,
                       struct tg_http_text *item);

/* Writes a whole plain response with Content-Length, "Connection: close" unless keep_alive, and
 * extra header lines ("Name: value\r\n"…, may be NULL or ""). */
TG_MUST enum tg_err tg_http_write_response(struct tg_buffer *out, int status,
                                           const char *content_type, const char *extra,
                                           const void *body, size_t body_len, bool keep_alive);
const char *tg_http_reason(int status); /* "Not Found"; "Unknown" for codes not known */

/* Appends `text` with %XX (and '+' as blank when form) decoded; false when malformed (RFC 3986 §2.1). */
TG_MUST enum tg_err tg_http_percent_decode(struct tg_http_text text, bool form,
                                           struct tg_buffer *out);

/* "8.1.0": the parser's version; static. */
const char *tg_http_parser_version(void);

#endif
