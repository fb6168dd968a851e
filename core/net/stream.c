/* stream.c - a byte stream as its owner has it, and the filter that changes nothing.
 *
 * tg_net owns the read buffer, which one read fills, or several fill parts of; each on_read empties its own before the
 * loop reads again, so one serves all streams of it, and nobody else may write there meanwhile. A tg_stream owns its
 * socket, its filter and the bytes that the kernel did not take yet; it is freed in `finish` and nowhere else.
 *
 * I1  After `ended` is set on_read does not come again, and on_end only to say that all is `lost`; after
 *     `closing` only on_closed.
 * I2  Something is pending exactly while a connect or a write is under way, or none came to be.
 * I3  A plain stream has a filter of its own exactly while something is pending.
 */
#include "net/stream.h"

#include <assert.h>

#include "base/memory.h"
#include "net/net_internal.h"

void tg__stream_set_filter(struct tg_stream *stream, struct tg_filter *filter)
{
    assert(!stream->has_filter);
    filter->next = stream->next;
    stream->filter = filter;
    stream->has_filter = true;
}

struct tg_pending *tg__stream_suspend(struct tg_stream *stream)
{
    if (!stream->has_filter) {
        struct tg_filter *filter = tg_calloc(1, sizeof *filter);
        if (filter == NULL)
            return NULL;
        filter->calls = &tg__plain_calls;
        tg__stream_set_filter(stream, filter);
    }
    stream->pending = true;
    return &stream->filter->pending;
}

void tg__stream_settled(struct tg_stream *stream)
{
    if (!stream->pending)
        return;
    struct tg_filter *filter = stream->filter;
    stream->pending = false;
    tg_buffer_fini(&filter->pending.unsent);
    filter->pending = (struct tg_pending){0};
    if (filter->calls != &tg__plain_calls)
        return;
    stream->has_filter = false;
    stream->next = filter->next;
    tg_free(filter);
}

static void finish(struct tg_stream *stream)
{
    struct tg_net *net = stream->net;

    tg__stream_settled(stream);
    if (stream->has_filter) {
        stream->filter->calls->destroy(stream->filter);
        stream->has_filter = false;
    }
    if (stream->callbacks != NULL)
        stream->callbacks->on_closed(stream->ctx);
    tg_free(stream);
    tg__net_let_go(net);
}

void tg__stream_turn(struct tg_stream *stream)
{
    if (stream->closing)
        finish(stream);
    else
        tg__socket_turn(stream);
}

static void plain_ended(struct tg_stream *stream)
{
    tg__stream_end(stream, TG_ERR_OK, "end of stream");
}

static size_t plain_held(const struct tg_stream *stream)
{
    (void)stream;
    return 0;
}

const struct tg_filter_calls tg__plain_calls = {
    .received = tg__stream_deliver,
    .ended = plain_ended,
    .sent = tg__stream_written,
    .write = tg__stream_send,
    .shutdown = tg__stream_send_fin,
    .held = plain_held,
};

struct tg_stream *tg__stream_new(struct tg_net *net)
{
    struct tg_stream *stream = tg_calloc(1, sizeof *stream);

    if (stream == NULL)
        return NULL;
    stream->net = net;
    stream->fd = -1;
    net->streams++;
    return stream;
}

void tg__stream_deliver(struct tg_stream *stream, uint8_t *data, size_t len)
{
    if (!stream->closing && !stream->ended)
        stream->callbacks->on_read(stream->ctx, data, len);
}

void tg__stream_end(struct tg_stream *stream, enum tg_err err, const char *why)
{
    if (stream->closing || stream->lost || (stream->ended && err == TG_ERR_OK))
        return;
    tg_stream_read_stop(stream);
    stream->ended = true;
    stream->lost = err != TG_ERR_OK;
    if (stream->callbacks != NULL)
        stream->callbacks->on_end(stream->ctx, err, why);
}

void tg__stream_written(struct tg_stream *stream)
{
    if (!stream->closing && stream->callbacks->on_written != NULL)
        stream->callbacks->on_written(stream->ctx);
}

enum tg_err tg__stream_detached(struct tg_stream **out, struct tg_net *net,
                                struct tg_filter *filter)
{
    struct tg_stream *stream = tg__stream_new(net);

    if (stream == NULL) {
        filter->calls->destroy(filter);
        return TG_ERR_NOMEM;
    }
    tg__stream_set_filter(stream, filter);
    *out = stream;
    return TG_ERR_OK;
}

void tg_stream_bind(struct tg_stream *stream, const struct tg_stream_callbacks *callbacks,
                    void *ctx)
{
    stream->callbacks = callbacks;
    stream->ctx = ctx;
}

enum tg_err tg_stream_read_start(struct tg_stream *stream)
{
    assert(stream->callbacks != NULL);
    if (stream->closing || stream->ended)
        return TG_ERR_CLOSED;
    if (stream->reading)
        return TG_ERR_OK;
    stream->reading = true;
    if (tg__calls_of(stream)->reading != NULL)
        tg__calls_of(stream)->reading(stream, true);
    else if (stream->readable)
        tg__poller_again(stream);
    return TG_ERR_OK;
}

void tg_stream_read_stop(struct tg_stream *stream)
{
    if (!stream->reading)
        return;
    stream->reading = false;
    if (stream->talks)
        tg__poller_update(stream);
    if (tg__calls_of(stream)->reading != NULL)
        tg__calls_of(stream)->reading(stream, false);
}

enum tg_err tg_stream_write(struct tg_stream *stream, struct tg_buffer *bytes)
{
    if (stream->closing || stream->shut)
        return TG_ERR_CLOSED;
    assert(stream->callbacks != NULL && !tg_stream_is_writing(stream));
    if (bytes->len == 0)
        return TG_ERR_OK;
    return tg__calls_of(stream)->write(stream, bytes);
}

/* Both are asked with every message, mostly of one that has none. */
bool tg_stream_is_writing(const struct tg_stream *stream)
{
    if (!stream->has_filter)
        return false;
    return stream->writing || stream->filter->calls->held(stream) > 0;
}

size_t tg_stream_unwritten(const struct tg_stream *stream)
{
    if (!stream->has_filter)
        return 0;
    return stream->filter->pending.unsent.len + stream->filter->calls->held(stream);
}

void tg_stream_shutdown(struct tg_stream *stream)
{
    if (stream->shut || stream->closing)
        return;
    stream->shut = true;
    tg__calls_of(stream)->shutdown(stream);
}

void tg_stream_close(struct tg_stream *stream)
{
    if (stream->closing)
        return;
    if (tg__calls_of(stream)->closing != NULL)
        tg__calls_of(stream)->closing(stream);
    stream->closing = true;
    stream->reading = false;
    if (stream->fd != -1)
        tg__socket_close(stream);
    tg__poller_again(stream);
}
