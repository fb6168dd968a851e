/* event_stream.h - text/event-stream (server-sent events) as WHATWG HTML 9.2.6 defines it: bytes in,
 * events out.
 *
 * The bytes of fields are handed on as they are: what is not UTF-8 is not replaced.
 */
#ifndef TG_PROTO_EVENT_STREAM_H
#define TG_PROTO_EVENT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/line_splitter.h"

/* Zero-initialise, then init. */
struct tg_event_stream {
    struct tg_line_splitter lines;
    struct tg_buffer type;
    struct tg_buffer data; /* each line with an LF behind it */
    struct tg_buffer id;   /* the last that was sent; stays from event to event */
    int64_t retry_ms;      /* the last that was sent; -1: none so far */
    size_t max;
    uint8_t bom; /* bytes of a byte order mark that were seen; 3: past it */
    bool given;  /* type and data are of an event that was handed out */
};

/* Borrowed from the stream until its next call. */
struct tg_event {
    struct tg_line type; /* "message" unless the event says otherwise */
    struct tg_line data; /* its lines, joined by LF */
    struct tg_line id;   /* "" when none was ever sent */
    int64_t retry_ms;    /* what the server last asked for; -1: nothing */
};

/* max: bytes that an event, or one line, may have. */
void tg_event_stream_init(struct tg_event_stream *stream, size_t max);
void tg_event_stream_fini(struct tg_event_stream *stream);

/* Takes bytes up to the end of the next event, *used of them, and sets *found; all when no event ends in
 * them. An event that the end of the stream cuts off is none. TG_ERR_LIMIT, TG_ERR_NOMEM: the stream
 * must not be used any more. */
TG_MUST enum tg_err tg_event_stream_feed(struct tg_event_stream *stream, const void *data,
                                         size_t len, size_t *used, struct tg_event *event,
                                         bool *found);

#endif
