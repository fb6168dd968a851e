/* stream.c - a TCP stream on libuv, and the filter that changes nothing.
 *
 * tg_net owns the read buffer, which libuv fills and on_read empties before anything else runs, so
 * one serves all streams of a loop. A tg_stream owns its socket, its filter's state and the bytes that
 * the kernel did not take yet; it is freed in on_handle_closed and nowhere else.
 *
 * I1  After `ended` is set on_read does not come again, and on_end only to say that all is `lost`; after
 *     `closing` only on_closed.
 * I2  `pending` is there exactly while a connect or a uv_write is under way, or none came to be.
 *
 * A write that fails at once is handed to uv_write all the same: libuv then reports the failure from
 * the loop, also when reading is stopped, and the caller of tg_stream_write is never re-entered.
 */
#include "net/stream.h"

#include <assert.h>
#include <unistd.h>
#include <uv.h>

#include "base/memory.h"
#include "net/net_internal.h"

static struct tg_stream *stream_of(void *handle)
{
    return handle; /* of which `tcp` is the first member */
}

void tg__stream_settled(struct tg_stream *stream)
{
    if (stream->pending == NULL)
        return;
    tg_buffer_fini(&stream->pending->unsent);
    tg_free(stream->pending);
    stream->pending = NULL;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct tg_stream *stream = stream_of(handle);

    tg__stream_settled(stream);
    if (stream->filter->destroy != NULL)
        stream->filter->destroy(stream->filter_state);
    if (stream->callbacks != NULL)
        stream->callbacks->on_closed(stream->tcp.data);
    tg_free(stream);
}

static void lost(struct tg_stream *stream, int status)
{
    tg__stream_end(stream, TG_ERR_SYS, uv_strerror(status));
}

/* Left to itself libuv reads a peer that sends fast 32 times in a row. One buffer a turn is enough: others
 * wait for theirs. No buffer ends the row until the next turn, at no cost. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct tg_stream *stream = stream_of(handle);

    (void)suggested;
    if (stream->had_turn) {
        stream->had_turn = false;
        *buf = uv_buf_init(NULL, 0);
        return;
    }
    *buf = uv_buf_init((char *)stream->net->read_buffer, sizeof stream->net->read_buffer);
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
    struct tg_stream *stream = stream_of(handle);

    if (stream->closing || stream->ended || n == UV_ENOBUFS)
        return;
    /* A shorter read ends the row by itself. */
    stream->had_turn = n == (ssize_t)buf->len;
    if (n == UV_EOF)
        stream->filter->ended(stream);
    else if (n < 0)
        lost(stream, (int)n);
    else if (n > 0)
        stream->filter->received(stream, (uint8_t *)buf->base, (size_t)n);
}

/* Not uv_shutdown, which goes through the loop once more to do the same. */
static void send_fin_now(struct tg_stream *stream)
{
    uv_os_fd_t fd;

    /* Fails only when there is no connection any more, which the read side reports. */
    if (uv_fileno((const uv_handle_t *)&stream->tcp, &fd) == 0)
        (void)shutdown(fd, SHUT_WR);
}

static void on_write(uv_write_t *request, int status)
{
    struct tg_stream *stream = stream_of(request->handle);

    stream->writing = false;
    tg__stream_settled(stream);
    if (status < 0) {
        lost(stream, status);
        return;
    }
    if (stream->closing)
        return;
    if (stream->fin_waits)
        send_fin_now(stream);
    stream->filter->sent(stream);
}

static void plain_ended(struct tg_stream *stream)
{
    tg__stream_end(stream, TG_ERR_OK, "end of stream");
}

static const struct tg_filter plain = {
    .received = tg__stream_deliver,
    .ended = plain_ended,
    .sent = tg__stream_written,
    .write = tg__stream_send,
    .shutdown = tg__stream_send_fin,
};

struct tg_stream *tg__stream_new(struct tg_net *net)
{
    struct tg_stream *stream = tg_calloc(1, sizeof *stream);

    if (stream == NULL)
        return NULL;
    (void)uv_tcp_init(net->loop, &stream->tcp); /* opens no socket yet and so cannot fail */
    stream->net = net;
    stream->filter = &plain;
    return stream;
}

static size_t held(const struct tg_stream *stream)
{
    return stream->filter->held == NULL ? 0 : stream->filter->held(stream);
}

void tg__stream_deliver(struct tg_stream *stream, uint8_t *data, size_t len)
{
    if (!stream->closing && !stream->ended)
        stream->callbacks->on_read(stream->tcp.data, data, len);
}

void tg__stream_end(struct tg_stream *stream, enum tg_err err, const char *why)
{
    if (stream->closing || stream->lost || (stream->ended && err == TG_ERR_OK))
        return;
    tg_stream_read_stop(stream);
    stream->ended = true;
    stream->lost = err != TG_ERR_OK;
    if (stream->callbacks != NULL)
        stream->callbacks->on_end(stream->tcp.data, err, why);
}

void tg__stream_written(struct tg_stream *stream)
{
    if (!stream->closing && stream->callbacks->on_written != NULL)
        stream->callbacks->on_written(stream->tcp.data);
}

enum tg_err tg__stream_send(struct tg_stream *stream, struct tg_buffer *bytes)
{
    /* Not uv_buf_init, which cuts the length to 32 bits. */
    uv_buf_t buf = {.base = (char *)tg_buffer_head(bytes), .len = bytes->len};
    int n = uv_try_write((uv_stream_t *)&stream->tcp, &buf, 1);
    if (n > 0)
        tg_buffer_consume(bytes, (size_t)n, SIZE_MAX);
    if (bytes->len == 0)
        return TG_ERR_OK;
    struct tg_pending *pending = tg_calloc(1, sizeof *pending);
    if (pending == NULL)
        return TG_ERR_NOMEM;
    stream->pending = pending;
    pending->unsent = *bytes;
    *bytes = TG_BUFFER_INIT;
    buf.base = (char *)tg_buffer_head(&pending->unsent);
    buf.len = pending->unsent.len;
    if (uv_write(&pending->request.write, (uv_stream_t *)&stream->tcp, &buf, 1, on_write) != 0) {
        tg__stream_settled(stream);
        return TG_ERR_SYS;
    }
    stream->writing = true;
    return TG_ERR_OK;
}

void tg__stream_send_fin(struct tg_stream *stream)
{
    if (stream->writing)
        stream->fin_waits = true;
    else
        send_fin_now(stream);
}

enum tg_err tg__stream_detached(struct tg_stream **out, struct tg_net *net,
                                const struct tg_filter *filter, void *filter_state)
{
    struct tg_stream *stream = tg__stream_new(net);

    if (stream == NULL) {
        filter->destroy(filter_state);
        return TG_ERR_NOMEM;
    }
    stream->filter = filter;
    stream->filter_state = filter_state;
    *out = stream;
    return TG_ERR_OK;
}

enum tg_err tg__stream_adopt(struct tg_stream **out, struct tg_net *net, int fd)
{
    struct tg_stream *stream = tg__stream_new(net);

    if (stream == NULL) {
        close(fd);
        return TG_ERR_NOMEM;
    }
    if (uv_tcp_open(&stream->tcp, fd) != 0) {
        close(fd);
        tg_stream_close(stream);
        return TG_ERR_SYS;
    }
    *out = stream;
    return TG_ERR_OK;
}

void tg_stream_bind(struct tg_stream *stream, const struct tg_stream_callbacks *callbacks,
                    void *ctx)
{
    stream->callbacks = callbacks;
    stream->tcp.data = ctx;
}

enum tg_err tg_stream_read_start(struct tg_stream *stream)
{
    assert(stream->callbacks != NULL);
    if (stream->closing || stream->ended)
        return TG_ERR_CLOSED;
    if (stream->reading)
        return TG_ERR_OK;
    if (stream->filter->reading != NULL)
        stream->filter->reading(stream, true);
    else if (uv_read_start((uv_stream_t *)&stream->tcp, on_alloc, on_read) != 0)
        return TG_ERR_SYS;
    stream->reading = true;
    return TG_ERR_OK;
}

void tg_stream_read_stop(struct tg_stream *stream)
{
    if (!stream->reading)
        return;
    stream->reading = false;
    if (stream->filter->reading != NULL)
        stream->filter->reading(stream, false);
    else
        (void)uv_read_stop((uv_stream_t *)&stream->tcp); /* always 0 */
}

enum tg_err tg_stream_write(struct tg_stream *stream, struct tg_buffer *bytes)
{
    if (stream->closing || stream->shut)
        return TG_ERR_CLOSED;
    assert(stream->callbacks != NULL && !tg_stream_is_writing(stream));
    if (bytes->len == 0)
        return TG_ERR_OK;
    return stream->filter->write(stream, bytes);
}

bool tg_stream_is_writing(const struct tg_stream *stream)
{
    return stream->writing || held(stream) > 0;
}

size_t tg_stream_unwritten(const struct tg_stream *stream)
{
    size_t queued =
        stream->writing ? uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp) : 0;

    return queued + held(stream);
}

void tg_stream_shutdown(struct tg_stream *stream)
{
    if (stream->shut || stream->closing)
        return;
    stream->shut = true;
    stream->filter->shutdown(stream);
}

/* The kernel would hold what it took from us for minutes after the close. The peer has a message cut off
 * either way; a reset says so. */
static void give_up_unsent(struct tg_stream *stream)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    uv_os_fd_t fd;

    if (uv_fileno((const uv_handle_t *)&stream->tcp, &fd) == 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void tg_stream_close(struct tg_stream *stream)
{
    if (stream->closing)
        return;
    if (stream->filter->closing != NULL)
        stream->filter->closing(stream);
    stream->closing = true;
    stream->reading = false;
    if (stream->writing)
        give_up_unsent(stream);
    uv_close((uv_handle_t *)&stream->tcp, on_handle_closed);
}
