/* poller.c - tells the streams of a loop what the kernel has for them.
 *
 * An epoll of the net's own, edge-triggered, which the loop watches as one descriptor. With a handle of libuv's for
 * each, a stream took 296 bytes instead of 72 and every message was asked about twice: a socket that stays in a
 * level-triggered epoll is looked at again after its bytes were read. An edge is told once, so what a stream leaves
 * unread it has to remember (tg_stream.readable), and to come back to by itself: those that do wait in `first`.
 *
 * I1  A stream is freed from its own turn in the list and nowhere else, so that no event and no list holds
 *     one that is gone.
 * I2  The loop lives while a stream has a socket, or waits in the list.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/net_internal.h"

#define EVENTS 256 /* at a time; those that are over wait for the next turn of the loop */

static void on_events(uv_poll_t *poll, int status, int what)
{
    struct tg_net *net = poll->data;
    struct epoll_event events[EVENTS];
    int count = epoll_wait(net->epoll_fd, events, EVENTS, 0);

    (void)status;
    (void)what;
    for (int i = 0; i < count; i++)
        tg__socket_ready(events[i].data.ptr, events[i].events);
}

static void on_again(uv_idle_t *again)
{
    struct tg_net *net = again->data;
    struct tg_stream *stream = net->first;

    net->first = NULL;
    net->last = &net->first;
    (void)uv_idle_stop(again);
    while (stream != NULL) {
        struct tg_stream *next = stream->next;
        stream->next = NULL;
        stream->waits = false;
        tg__stream_turn(stream); /* which may put it into the list anew */
        stream = next;
    }
}

enum tg_err tg__poller_open(struct tg_net *net)
{
    net->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (net->epoll_fd == -1)
        return TG_ERR_SYS;
    if (uv_poll_init(net->loop, &net->poll, net->epoll_fd) != 0) {
        close(net->epoll_fd);
        return TG_ERR_SYS;
    }
    net->poll.data = net;
    net->again.data = net;
    net->last = &net->first;
    (void)uv_idle_init(net->loop, &net->again);
    (void)uv_poll_start(&net->poll, UV_READABLE, on_events);
    uv_unref((uv_handle_t *)&net->poll);
    return TG_ERR_OK;
}

static void on_poll_closed(uv_handle_t *poll)
{
    tg__net_free(poll->data);
}

void tg__poller_close(struct tg_net *net)
{
    uv_close((uv_handle_t *)&net->again, NULL);
    uv_close((uv_handle_t *)&net->poll,
             on_poll_closed); /* the later of two, so the last to be told */
    close(net->epoll_fd);
}

enum tg_err tg__poller_add(struct tg_stream *stream)
{
    struct tg_net *net = stream->net;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = stream};

    if (epoll_ctl(net->epoll_fd, EPOLL_CTL_ADD, stream->fd, &event) != 0)
        return TG_ERR_SYS;
    if (net->sockets++ == 0)
        uv_ref((uv_handle_t *)&net->poll);
    return TG_ERR_OK;
}

/* Closing the descriptor would do, were there no child that another thread is about to start: until it runs its
 * program it has them all open. */
void tg__poller_remove(struct tg_stream *stream)
{
    struct tg_net *net = stream->net;
    struct epoll_event event = {0};

    (void)epoll_ctl(net->epoll_fd, EPOLL_CTL_DEL, stream->fd, &event);
    if (--net->sockets == 0)
        uv_unref((uv_handle_t *)&net->poll);
}

void tg__poller_again(struct tg_stream *stream)
{
    struct tg_net *net = stream->net;

    if (stream->waits)
        return;
    stream->waits = true;
    *net->last = stream;
    net->last = &stream->next;
    if (!uv_is_active((uv_handle_t *)&net->again)) {
        uv_ref((uv_handle_t *)&net->again);
        (void)uv_idle_start(&net->again, on_again);
    }
}

void tg_net_settle(struct tg_net *net)
{
    struct tg_stream **at = &net->first;

    while (*at != NULL) {
        struct tg_stream *stream = *at;
        if (!stream->closing) {
            at = &stream->next;
            continue;
        }
        *at = stream->next;
        if (net->last == &stream->next)
            net->last = at;
        tg__stream_turn(stream); /* which may close others */
        at = &net->first;
    }
}
