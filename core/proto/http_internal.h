/* http_internal.h - a message while it is parsed, shared by the http*.c files only. The parser itself is in
 * http.c, which alone knows llhttp.
 */
#ifndef TG_PROTO_HTTP_INTERNAL_H
#define TG_PROTO_HTTP_INTERNAL_H

#include "proto/http.h"

struct tg__http_span {
    uint32_t at;
    uint32_t len;
};

struct tg__http_header {
    struct tg__http_span name;
    struct tg__http_span value;
};

struct tg_http {
    enum tg_http_kind kind;
    size_t head_max;
    size_t body_max;
    size_t head_used;
    size_t body_used; /* on the wire, chunk sizes and trailers included */
    enum tg_http_status status;
    int refusal;
    const char *why; /* static */
    struct tg_buffer text;
    struct tg_buffer body;
    struct tg__http_span target;
    struct tg__http_span path;
    struct tg__http_span query;
    uint8_t last;       /* byte of the head, 0 at its start */
    const char *method; /* static; of a request, once its head is in */
    int minor_version;
    int response_status;
    bool target_done;
    bool head_done;
    bool keep_alive;
    bool upgrade;
    uint64_t present; /* a bit for each enum tg_header that is there */
    size_t header_count;
    /* Of each header, and empty for the one that is read; of the others all is left as it was. */
    uint8_t numbers[TG_HTTP_HEADERS_MAX]; /* enum tg_header */
    struct tg__http_header headers[TG_HTTP_HEADERS_MAX];
};

/* http_message.c */

/* Returns -1, which makes llhttp stop. The first refusal is the one that counts. */
int tg__http_refuse(struct tg_http *http, int status, const char *why);
/* Appends to `text`: 0, or -1 refused. */
int tg__http_add_text(struct tg_http *http, const char *data, size_t len);
/* The NUL after a text. */
int tg__http_end_text(struct tg_http *http);
struct tg_http_text tg__http_text_of(const struct tg_http *http, struct tg__http_span span);
/* The head of a request is in: 0, or -1 refused. */
int tg__http_check_request(struct tg_http *http);

/* http_lines.c */

/* Returns how many bytes of the head are good: lines up to the empty one that ends it, or less, when more
 * must be asked for. Sets *why when they are followed by one that is not. */
size_t tg__http_judge_lines(struct tg_http *http, const char *data, size_t len, const char **why);

#endif
