/* stream_io.c - what a stream does when its socket has news: reads, goes on writing, is connected.
 *
 * A write that fails at once is told from the loop, also when reading is stopped, so that the caller of
 * tg_stream_write is never re-entered.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "net/net_internal.h"

static void lost(struct tg_stream *stream, int error)
{
    tg__stream_end(stream, TG_ERR_SYS, tg__errno_text(error));
}

/* --- reading ---------------------------------------------------------------------------------------- */

/* One buffer a turn of the loop is enough for a peer that sends fast: others wait for theirs. */
static void read_once(struct tg_stream *stream)
{
    struct tg_net *net = stream->net;
    ssize_t n;

    do
        n = recv(stream->fd, net->read_buffer, sizeof net->read_buffer, 0);
    while (n == -1 && errno == EINTR);
    int error = errno;
    /* Less than there is room for was all; what comes later comes with an event. */
    stream->readable = n == sizeof net->read_buffer || (n > 0 && stream->hung_up);
    if (stream->readable)
        tg__poller_again(stream);
    if (n > 0)
        stream->filter->received(stream, net->read_buffer, (size_t)n);
    else if (n == 0)
        stream->filter->ended(stream);
    else if (error != EAGAIN)
        lost(stream, error);
}

/* --- writing ---------------------------------------------------------------------------------------- */

/* Takes from `bytes` what the kernel does. Returns errno of a failure, 0 for none. */
static int offer(int fd, struct tg_buffer *bytes)
{
    ssize_t n;

    do
        n = send(fd, tg_buffer_head(bytes), bytes->len, MSG_NOSIGNAL);
    while (n == -1 && errno == EINTR);
    if (n == -1)
        return errno == EAGAIN ? 0 : errno;
    tg_buffer_consume(bytes, (size_t)n, SIZE_MAX);
    return 0;
}

enum tg_err tg__stream_send(struct tg_stream *stream, struct tg_buffer *bytes)
{
    int error = offer(stream->fd, bytes);
    if (bytes->len == 0)
        return TG_ERR_OK;
    struct tg_pending *pending = tg_calloc(1, sizeof *pending);
    if (pending == NULL)
        return TG_ERR_NOMEM;
    pending->unsent = *bytes;
    pending->error = error;
    *bytes = TG_BUFFER_INIT;
    stream->pending = pending;
    stream->writing = true;
    if (error != 0)
        tg__poller_again(stream);
    return TG_ERR_OK;
}

static void send_fin_now(const struct tg_stream *stream)
{
    /* Fails only when there is no connection any more, which the read side reports. */
    (void)shutdown(stream->fd, SHUT_WR);
}

void tg__stream_send_fin(struct tg_stream *stream)
{
    if (stream->writing)
        stream->fin_waits = true;
    else
        send_fin_now(stream);
}

static void go_on_writing(struct tg_stream *stream)
{
    struct tg_pending *pending = stream->pending;
    int error = pending->error != 0 ? pending->error : offer(stream->fd, &pending->unsent);

    if (error == 0 && pending->unsent.len > 0)
        return; /* an event tells when there is room */
    stream->writing = false;
    tg__stream_settled(stream);
    if (error != 0) {
        lost(stream, error);
        return;
    }
    if (stream->fin_waits)
        send_fin_now(stream);
    stream->filter->sent(stream);
}

/* --- from the loop ---------------------------------------------------------------------------------- */

static void end_connecting(struct tg_stream *stream)
{
    tg_stream_connected_fn on_connected = stream->pending->on_connected;
    void *ctx = stream->pending->connected_ctx;
    int error = stream->pending->error;
    socklen_t len = sizeof error;

    if (error == 0 && getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    tg__stream_settled(stream);
    if (error != 0)
        on_connected(ctx, TG_ERR_SYS, tg__errno_text(error));
    else
        on_connected(ctx, TG_ERR_OK, "connected");
}

static void go_on(struct tg_stream *stream)
{
    if (stream->pending->on_connected != NULL)
        end_connecting(stream);
    else
        go_on_writing(stream);
}

void tg__socket_ready(struct tg_stream *stream, uint32_t events)
{
    if (stream->closing)
        return;
    if ((events & ~(uint32_t)EPOLLOUT) != 0)
        stream->readable = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        stream->hung_up = true;
    if (stream->pending != NULL && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0)
        go_on(stream);
    if (stream->readable && stream->reading && !stream->waits && !stream->closing)
        read_once(stream);
}

void tg__socket_turn(struct tg_stream *stream)
{
    if (stream->pending != NULL && stream->pending->error != 0)
        go_on(stream);
    if (stream->readable && stream->reading && !stream->closing)
        read_once(stream);
}
