/* stream_io.c - what a stream does when its socket has news: reads, goes on writing, is connected.
 *
 * A write that fails is told from the stream's next turn, also when reading is stopped, so that the caller of
 * tg_stream_write is never re-entered; and when it is not stopped, behind what the peer said before it went.
 */
#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/sanitizer.h"
#include "net/net_internal.h"

static void lost(struct tg_stream *stream, int error)
{
    tg__stream_end(stream, TG_ERR_SYS, tg__errno_text(error));
}

/* recv(2) and send(2). Those of libc are points at which a thread may be cancelled, which nobody does here; glibc before
 * 2.41 announces each by two locked instructions, 1.8 % of a small echo. Sanitizers know only libc's. */
#if TG_UNDER_ASAN || TG_UNDER_TSAN
#define RECV(fd, data, size) recv(fd, data, size, 0)
#define SEND(fd, data, size) send(fd, data, size, MSG_NOSIGNAL)
#else
#define RECV(fd, data, size) syscall(SYS_recvfrom, fd, data, size, 0, NULL, NULL)
#define SEND(fd, data, size) syscall(SYS_sendto, fd, data, size, MSG_NOSIGNAL, NULL, 0)
#endif

/* --- reading ---------------------------------------------------------------------------------------- */

static bool has_failed(const struct tg_stream *stream)
{
    return stream->pending && stream->filter->pending.error != 0;
}

/* Returns what recv(2) does, or -errno. */
static ssize_t read_some(const struct tg_stream *stream, uint8_t *data, size_t size)
{
    ssize_t n;

    do
        n = RECV(stream->fd, data, size);
    while (n == -1 && errno == EINTR);
    if (n != -1)
        return n;
    if (errno == EAGAIN)
        stream->net->talkers.in_vain++;
    return -errno;
}

/* `got` by read_some, which asked for `size`. */
static void take(struct tg_stream *stream, uint8_t *data, ssize_t got, size_t size)
{
    /* Less than there was room for was all; what comes later comes with an event. */
    stream->readable = got == (ssize_t)size || (got > 0 && stream->marked);
    if (stream->readable)
        tg__poller_again(stream);
    if (got > 0)
        tg__calls_of(stream)->received(stream, data, (size_t)got);
    else if (has_failed(stream))
        return; /* a write, which says more */
    else if (got == 0)
        tg__calls_of(stream)->ended(stream);
    else if (got != -EAGAIN)
        lost(stream, (int)-got);
}

/* One buffer a turn of the loop is enough for a peer that sends fast: others wait for theirs. */
static void read_once(struct tg_stream *stream)
{
    uint8_t *data = stream->net->read_buffer;
    size_t size = sizeof stream->net->read_buffer;

    take(stream, data, read_some(stream, data, size), size);
}

/* Several sockets are read before the first of their owners hears of it, as the kernel's way through a read and ours
 * through a message are each longer than what a CPU keeps at hand: 2 % of a small echo. Messages that do not fit make it
 * stop for a while. */
#define AHEAD 16
#define AHEAD_SIZE ((size_t)2048) /* what each of them may say */
#define AHEAD_REST 64             /* turns */
static_assert(AHEAD * AHEAD_SIZE <= TG_NET_READ_SIZE, "all have room in the read buffer");

static bool can_be_read_ahead(const struct epoll_event *event)
{
    const struct tg_stream *stream = event->data.ptr;

    return stream != NULL && event->events == EPOLLIN && stream->reading && !stream->waits &&
           !stream->closing && !stream->pending && !stream->marked;
}

static uint8_t *part_of_buffer(struct tg_net *net, int which)
{
    return net->read_buffer + (size_t)which * AHEAD_SIZE;
}

int tg__sockets_read_ahead(struct tg_net *net, const struct epoll_event *events, int count)
{
    ssize_t got[AHEAD];
    int ahead = 0;

    if (net->ahead_rest > 0)
        return 0;
    while (ahead < count && ahead < AHEAD && can_be_read_ahead(&events[ahead]))
        ahead++;
    if (ahead < 2)
        return 0;
    for (int i = 0; i < ahead; i++) {
        got[i] = read_some(events[i].data.ptr, part_of_buffer(net, i), AHEAD_SIZE);
        if (got[i] == (ssize_t)AHEAD_SIZE)
            net->ahead_rest = AHEAD_REST;
    }
    for (int i = 0; i < ahead; i++) {
        struct tg_stream *stream = events[i].data.ptr;
        /* One that had nothing may have more to tell by now: of a write that failed, after what came before that. */
        if (!stream->closing && got[i] != -EAGAIN)
            take(stream, part_of_buffer(net, i), got[i], AHEAD_SIZE);
    }
    return ahead;
}

/* --- writing ---------------------------------------------------------------------------------------- */

/* Takes from `bytes` what the kernel does. Returns errno of a failure, 0 for none. */
static int offer(int fd, struct tg_buffer *bytes)
{
    ssize_t n;

    do
        n = SEND(fd, tg_buffer_head(bytes), bytes->len);
    while (n == -1 && errno == EINTR);
    if (n == -1)
        return errno == EAGAIN ? 0 : errno;
    tg_buffer_consume(bytes, (size_t)n, SIZE_MAX);
    return 0;
}

/* Told in the next turn, when reading has come to the end that must be there. */
static void note_failure(struct tg_stream *stream, int error)
{
    stream->filter->pending.error = error;
    stream->readable = true;
    stream->marked = true;
    tg__poller_again(stream);
}

enum tg_err tg__stream_send(struct tg_stream *stream, struct tg_buffer *bytes)
{
    int error = offer(stream->fd, bytes);
    if (bytes->len == 0)
        return TG_ERR_OK;
    struct tg_pending *pending = tg__stream_suspend(stream);
    if (pending == NULL) {
        stream->cut = true;
        tg__poller_again(stream);
        return TG_ERR_NOMEM;
    }
    pending->unsent = *bytes;
    *bytes = TG_BUFFER_INIT;
    stream->writing = true;
    if (error != 0)
        note_failure(stream, error);
    tg__poller_update(stream);
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
    struct tg_pending *pending = &stream->filter->pending;
    int error = offer(stream->fd, &pending->unsent);

    if (error != 0)
        note_failure(stream, error);
    if (pending->unsent.len > 0)
        return; /* an event tells when there is room */
    stream->writing = false;
    tg__stream_settled(stream);
    if (stream->fin_waits)
        send_fin_now(stream);
    tg__calls_of(stream)->sent(stream);
    if (!stream->closing)
        tg__poller_update(stream);
}

static void end_writing(struct tg_stream *stream)
{
    int error = stream->filter->pending.error;

    stream->writing = false;
    tg__stream_settled(stream);
    lost(stream, error);
}

/* --- from the loop ---------------------------------------------------------------------------------- */

static void end_connecting(struct tg_stream *stream)
{
    tg_stream_connected_fn on_connected = stream->filter->pending.on_connected;
    void *ctx = stream->filter->pending.connected_ctx;
    int error = stream->filter->pending.error;
    socklen_t len = sizeof error;

    if (error == 0 && getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    tg__stream_settled(stream);
    if (error != 0)
        on_connected(ctx, TG_ERR_SYS, tg__errno_text(error));
    else
        on_connected(ctx, TG_ERR_OK, "connected");
    if (!stream->closing)
        tg__poller_update(stream);
}

void tg__socket_ready(struct tg_stream *stream, uint32_t events)
{
    if (stream->closing)
        return;
    if ((events & ~(uint32_t)EPOLLOUT) != 0)
        stream->readable = true;
    if ((events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        stream->marked = true;
    if (stream->pending && !has_failed(stream) &&
        (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
        if (stream->filter->pending.on_connected != NULL)
            end_connecting(stream);
        else
            go_on_writing(stream);
    }
    if (stream->readable && stream->reading && !stream->waits && !stream->closing)
        read_once(stream);
}

void tg__socket_turn(struct tg_stream *stream)
{
    if (stream->cut)
        lost(stream, ENOMEM);
    else if (stream->readable && stream->reading) {
        tg__poller_again(stream); /* so that news of this turn waits for the next, too */
        read_once(stream);
    }
    if (stream->closing || !has_failed(stream) || (stream->readable && stream->reading))
        return;
    if (stream->filter->pending.on_connected != NULL)
        end_connecting(stream);
    else
        end_writing(stream);
}
