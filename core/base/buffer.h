/* buffer.h - a growing byte buffer with a read end: append at the back, consume at the front.
 *
 * Init with TG_BUFFER_INIT or zero bytes; holds no heap memory while empty and never used. Owned by
 * whoever embeds it; tg_buffer_fini may be called twice.
 */
#ifndef TG_BASE_BUFFER_H
#define TG_BASE_BUFFER_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/* As tg_buffer_reserve, where the block is too small. */
TG_MUST uint8_t *tg__buffer_make_room(struct tg_buffer *buffer, size_t len);

/* Makes room for `len` more bytes and returns where they go (then tg_buffer_commit), or NULL when
 * memory is out; the content is untouched then. In the header, like what follows: an event is some
 * sixty short appends, and their calls cost more than their bytes. */
TG_MUST static inline uint8_t *tg_buffer_reserve(struct tg_buffer *buffer, size_t len)
{
    /* Never less than 0, as start + len <= capacity. */
    if (buffer->capacity != 0 && buffer->capacity - buffer->start - buffer->len >= len)
        return buffer->data + buffer->start + buffer->len;
    return tg__buffer_make_room(buffer, len);
}

static inline void tg_buffer_commit(struct tg_buffer *buffer, size_t len)
{
    assert(len <= buffer->capacity - buffer->start - buffer->len);
    buffer->len += len;
}

/* TG_ERR_NOMEM leaves the buffer as it was. */
TG_MUST static inline enum tg_err tg_buffer_append(struct tg_buffer *buffer, const void *data,
                                                   size_t len)
{
    if (len == 0)
        return TG_ERR_OK;
    uint8_t *room = tg_buffer_reserve(buffer, len);
    if (room == NULL)
        return TG_ERR_NOMEM;
    memcpy(room, data, len);
    tg_buffer_commit(buffer, len);
    return TG_ERR_OK;
}

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
