/* buffer.h - a growing byte buffer with a read end: append at the back, consume at the front.
 *
 * Init with TG_BUFFER_INIT or zero bytes; holds no heap memory while empty and never used. Owned by
 * whoever embeds it; tg_buffer_fini may be called twice.
 */
#ifndef TG_BASE_BUFFER_H
#define TG_BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct tg_buffer {
    uint8_t *data; /* owned; unread bytes are data[start .. start+len) */
    size_t start;
    size_t len;
    size_t capacity;
};

#define TG_BUFFER_INIT ((struct tg_buffer){0})

void tg_buffer_fini(struct tg_buffer *buffer);

/* First unread byte; valid until the next call that changes the buffer. NULL when empty. */
static inline uint8_t *tg_buffer_head(const struct tg_buffer *buffer)
{
    return buffer->len == 0 ? NULL : buffer->data + buffer->start;
}

/* Makes room for `len` more bytes and returns where they go (then tg_buffer_commit), or NULL when
 * memory is out; the content is untouched then. */
TG_MUST uint8_t *tg_buffer_reserve(struct tg_buffer *buffer, size_t len);
void tg_buffer_commit(struct tg_buffer *buffer, size_t len);

/* TG_ERR_NOMEM leaves the buffer as it was. */
TG_MUST enum tg_err tg_buffer_append(struct tg_buffer *buffer, const void *data, size_t len);
TG_MUST enum tg_err tg_buffer_append_str(struct tg_buffer *buffer, const char *text);
TG_MUST enum tg_err tg_buffer_printf(struct tg_buffer *buffer, const char *format, ...)
    TG_PRINTF(2, 3);

/* Drops `len` (<= buffer->len) bytes from the front. Frees the memory when the buffer becomes empty
 * and held more than keep_max. */
void tg_buffer_consume(struct tg_buffer *buffer, size_t len, size_t keep_max);
void tg_buffer_clear(struct tg_buffer *buffer);

/* Hands the bytes over as one malloc'ed, NUL-terminated block (caller frees) and empties the
 * buffer. NULL when memory is out; the buffer is untouched then. */
TG_MUST char *tg_buffer_detach(struct tg_buffer *buffer, size_t *len);

#endif
