/* event_stream.c - text/event-stream: lines are fields, an empty line ends an event. */
#include "proto/event_stream.h"

#include <string.h>

static const uint8_t byte_order_mark[3] = {0xef, 0xbb, 0xbf};

void tg_event_stream_init(struct tg_event_stream *stream, size_t max)
{
    *stream = (struct tg_event_stream){
        .lines = {.max = max, .lone_cr = true}, .retry_ms = -1, .max = max};
}

void tg_event_stream_fini(struct tg_event_stream *stream)
{
    tg_line_splitter_fini(&stream->lines);
    tg_buffer_fini(&stream->type);
    tg_buffer_fini(&stream->data);
    tg_buffer_fini(&stream->id);
}

static struct tg_line bytes_of(const struct tg_buffer *buffer)
{
    return (struct tg_line){buffer->len == 0 ? "" : (const char *)tg_buffer_head(buffer),
                            buffer->len};
}

static enum tg_err replace(struct tg_buffer *buffer, const char *value, size_t len)
{
    tg_buffer_clear(buffer);
    return tg_buffer_append(buffer, value, len);
}

static enum tg_err add_data(struct tg_event_stream *stream, const char *value, size_t len)
{
    if (stream->data.len + len > stream->max)
        return TG_ERR_LIMIT;
    if (tg_buffer_reserve(&stream->data, len + 1) == NULL)
        return TG_ERR_NOMEM;
    enum tg_err err = tg_buffer_append(&stream->data, value, len);
    return err == TG_ERR_OK ? tg_buffer_append(&stream->data, "\n", 1) : err;
}

/* Digits only; a number beyond all reason is none. */
static void set_retry(struct tg_event_stream *stream, const char *value, size_t len)
{
    int64_t ms = 0;

    if (len == 0 || len > 15)
        return;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9')
            return;
        ms = ms * 10 + (value[i] - '0');
    }
    stream->retry_ms = ms;
}

static bool is(const char *name, size_t len, const char *wanted)
{
    return strlen(wanted) == len && memcmp(name, wanted, len) == 0;
}

static enum tg_err take_field(struct tg_event_stream *stream, struct tg_line line)
{
    const char *colon = memchr(line.data, ':', line.len);
    size_t name_len = colon == NULL ? line.len : (size_t)(colon - line.data);
    const char *value = colon == NULL ? "" : colon + 1;
    size_t len = colon == NULL ? 0 : line.len - name_len - 1;

    if (len > 0 && value[0] == ' ') {
        value++;
        len--;
    }
    if (is(line.data, name_len, "data"))
        return add_data(stream, value, len);
    if (is(line.data, name_len, "event"))
        return replace(&stream->type, value, len);
    if (is(line.data, name_len, "id") && (len == 0 || memchr(value, '\0', len) == NULL))
        return replace(&stream->id, value, len);
    if (is(line.data, name_len, "retry"))
        set_retry(stream, value, len);
    return TG_ERR_OK;
}

/* False: there is nothing in it. */
static bool dispatch(struct tg_event_stream *stream, struct tg_event *event)
{
    stream->given = true;
    if (stream->data.len == 0)
        return false;
    event->data = bytes_of(&stream->data);
    event->data.len--;
    event->type = bytes_of(&stream->type);
    if (event->type.len == 0)
        event->type = (struct tg_line){"message", 7};
    event->id = bytes_of(&stream->id);
    event->retry_ms = stream->retry_ms;
    return true;
}

/* Leaves a byte order mark at the start out. Its first bytes are held back until it is sure that they are
 * one. */
static enum tg_err skip_mark(struct tg_event_stream *stream, const uint8_t *data, size_t len,
                             size_t *used)
{
    size_t i = 0;

    *used = 0;
    while (stream->bom < sizeof byte_order_mark && i < len &&
           data[i] == byte_order_mark[stream->bom]) {
        stream->bom++;
        i++;
    }
    *used = i;
    if (i == len || stream->bom == sizeof byte_order_mark)
        return TG_ERR_OK;
    size_t held = stream->bom;
    stream->bom = sizeof byte_order_mark;
    return held == 0 ? TG_ERR_OK : tg_buffer_append(&stream->lines.partial, byte_order_mark, held);
}

enum tg_err tg_event_stream_feed(struct tg_event_stream *stream, const void *data, size_t len,
                                 size_t *used, struct tg_event *event, bool *found)
{
    const uint8_t *bytes = data;
    size_t taken;
    struct tg_line line;
    enum tg_err err = TG_ERR_OK;

    *used = 0;
    *found = false;
    if (stream->bom < sizeof byte_order_mark)
        err = skip_mark(stream, bytes, len, used);
    while (err == TG_ERR_OK && !*found && *used < len) {
        if (stream->given) {
            tg_buffer_clear(&stream->type);
            tg_buffer_clear(&stream->data);
            stream->given = false;
        }
        err = tg_line_splitter_feed(&stream->lines, bytes + *used, len - *used, &taken, &line);
        *used += taken;
        if (err != TG_ERR_OK || line.data == NULL)
            break;
        if (line.len == 0)
            *found = dispatch(stream, event);
        else if (line.data[0] != ':')
            err = take_field(stream, line);
    }
    return err;
}
