/* buffer.c - append at the back, consume at the front, in one block of memory.
 *
 * Consumed bytes leave a gap at the front. It is closed by moving the unread bytes only when they are
 * fewer than the gap, so that a byte is moved a bounded number of times on average.
 */
#include "base/buffer.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

#define SMALLEST 64

/* Moves the unread bytes to a block with room for `needed` in all. */
static bool grow(struct tg_buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity < SMALLEST ? SMALLEST : buffer->capacity;
    while (capacity < needed)
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
    /* In place, where the block is the last of its heap or has pages of its own. */
    uint8_t *data = buffer->start == 0 ? tg_realloc(buffer->data, capacity) : tg_alloc(capacity);
    if (data == NULL)
        return false;
    if (buffer->start == 0) {
        buffer->data = data;
        buffer->capacity = capacity;
        return true;
    }
    if (buffer->len > 0)
        memcpy(data, tg_buffer_head(buffer), buffer->len);
    tg_free(buffer->data);
    buffer->data = data;
    buffer->start = 0;
    buffer->capacity = capacity;
    return true;
}

void tg_buffer_fini(struct tg_buffer *buffer)
{
    tg_free(buffer->data);
    *buffer = TG_BUFFER_INIT;
}

uint8_t *tg__buffer_make_room(struct tg_buffer *buffer, size_t len)
{
    if (len > SIZE_MAX - buffer->len)
        return NULL;
    size_t needed = buffer->len + len;
    if (buffer->len < buffer->start && needed <= buffer->capacity) {
        memmove(buffer->data, buffer->data + buffer->start, buffer->len);
        buffer->start = 0;
    } else if (!grow(buffer, needed)) {
        return NULL;
    }
    return buffer->data + buffer->start + buffer->len;
}

enum tg_err tg_buffer_append_str(struct tg_buffer *buffer, const char *text)
{
    return tg_buffer_append(buffer, text, strlen(text));
}

enum tg_err tg_buffer_printf(struct tg_buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list measured;
    va_copy(measured, args);
    int len = vsnprintf(NULL, 0, format, measured);
    va_end(measured);
    enum tg_err err = TG_ERR_OK;
    if (len < 0) {
        err = TG_ERR_INVALID;
    } else {
        char *room = (char *)tg_buffer_reserve(buffer, (size_t)len + 1);
        if (room == NULL) {
            err = TG_ERR_NOMEM;
        } else {
            vsnprintf(room, (size_t)len + 1, format, args);
            tg_buffer_commit(buffer, (size_t)len);
        }
    }
    va_end(args);
    return err;
}

void tg_buffer_consume(struct tg_buffer *buffer, size_t len, size_t keep_max)
{
    assert(len <= buffer->len);
    buffer->len -= len;
    if (buffer->len > 0) {
        buffer->start += len;
    } else if (buffer->capacity > keep_max) {
        tg_buffer_fini(buffer);
    } else {
        buffer->start = 0;
    }
}

void tg_buffer_clear(struct tg_buffer *buffer)
{
    buffer->start = 0;
    buffer->len = 0;
}

char *tg_buffer_detach(struct tg_buffer *buffer, size_t *len)
{
    uint8_t *end = tg_buffer_reserve(buffer, 1);
    if (end == NULL)
        return NULL;
    *end = '\0';
    if (buffer->start > 0)
        memmove(buffer->data, buffer->data + buffer->start, buffer->len + 1);
    char *text = (char *)buffer->data;
    if (len != NULL)
        *len = buffer->len;
    *buffer = TG_BUFFER_INIT;
    return text;
}
