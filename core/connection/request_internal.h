/* request_internal.h - how a request is packed, shared by the request*.c files only.
 */
#ifndef TG_CONNECTION_REQUEST_INTERNAL_H
#define TG_CONNECTION_REQUEST_INTERNAL_H

#include <string.h>

#include "connection/request.h"

static inline bool tg__is_text(struct tg_http_text text, const char *expected, size_t len)
{
    return len == text.len && memcmp(expected, text.data, len) == 0;
}

/* request.c */

/* Writes what there is room for, and measures all of it. */
struct tg__packer {
    char *at;
    size_t room;
    size_t size;
};

void tg__pack(struct tg__packer *packer, const char *data, size_t len);
void tg__pack_byte(struct tg__packer *packer, size_t byte);
void tg__pack_text(struct tg__packer *packer, struct tg_http_text text); /* and its NUL */

/* request_header.c */

/* Never begins with a byte 0. */
void tg__pack_header(struct tg__packer *packer, const struct tg_http_header *header);
/* Reads one and returns where the next begins. */
const char *tg__read_header(const char *at, struct tg_request_header *out);

#endif
