/* poller.c - tells the streams of a loop what the kernel has for them.
 *
 * An epoll of the net's own, edge-triggered. With a handle of libuv's for each, a stream took several times the
 * memory and every message was asked about twice: a socket that stays in a level-triggered epoll is looked at again
 * after its bytes were read. An edge is told once, so what a stream leaves unread it has to remember
 * (tg_stream.readable), and to come back to by itself: those that do wait in `first`.
 *
 * Either the loop watches this epoll as one descriptor more, and whoever has the loop runs it as any other; or the net
 * leads, and the loop is what is watched. That is for workers: Linux checks each socket that is put into an epoll which
 * another one watches for cycles, under a lock of the whole machine (2 % of a connect, and workers wait for each
 * other), and wakes two epolls for a message (3 % of an echo while few clients speak).
 *
 * Those that speak nearly every turn leave the epoll for a while: talkers.c.
 *
 * I1  A stream is freed from its own turn in the list and nowhere else, so that no event and no list holds
 *     one that is gone.
 * I2  The loop lives while a stream waits in the list, and one that is not led while a stream has a socket.
 * I3  No stream is told of twice in one turn: it may be read ahead, and must hear nothing more once it has ended.
 */
#include <assert.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/net_internal.h"

#define EVENTS 256 /* at a time; those that are over wait for the next turn of the loop */

/* Who becomes a talker: one that spoke again within NEAR turns OFTEN times, in a turn in which at least MANY speak. A
 * connection that only opens and closes is none: it would cost two system calls more. */
#define NEAR 16
#define OFTEN 8
#define MANY 8
#define TURN_BITS 0xFFFU /* of tg_stream.spoke */

static_assert(POLLIN == EPOLLIN && POLLPRI == EPOLLPRI && POLLRDHUP == EPOLLRDHUP &&
                  POLLHUP == EPOLLHUP && POLLERR == EPOLLERR,
              "news of poll(2) are told as epoll's");

/* Of room only when some is missing: a Unix socket tells of it with every message that its peer reads, which would wake
 * us twice for each. */
static int watch(struct tg_stream *stream, int operation)
{
    uint32_t room = stream->pending ? EPOLLOUT : 0;
    struct epoll_event event = {.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET | room,
                                .data.ptr = stream};

    stream->room_asked = room != 0;
    return epoll_ctl(stream->net->epoll_fd, operation, stream->fd, &event);
}

/* A socket that epoll watches costs whoever writes to it, also when nothing is to be told: 1 % of an echo. */
static void unwatch(const struct tg_stream *stream)
{
    struct epoll_event event = {0};

    (void)epoll_ctl(stream->net->epoll_fd, EPOLL_CTL_DEL, stream->fd, &event);
}

/* What is there already is told, as of one that was never away. */
static void be_told_again(struct tg_stream *stream)
{
    stream->talks = false;
    if (watch(stream, EPOLL_CTL_ADD) == 0)
        return;
    /* No memory, or others of this user have all watches there may be: nothing of it would be heard any more. */
    stream->cut = true;
    tg__poller_again(stream);
}

/* All news of the streams, and of the loop as one without a stream. Returns how many there are (I3). */
static int wait_for_news(struct tg_net *net, struct epoll_event *events, int timeout)
{
    struct tg_stream *dismissed;
    bool of_epoll;

    net->turn++;
    if (net->ahead_rest > 0)
        net->ahead_rest--;
    if (net->talkers.count == 0) {
        tg__talkers_rest(&net->talkers);
        return epoll_wait(net->epoll_fd, events, EVENTS, timeout);
    }
    int count = tg__talkers_wait(&net->talkers, timeout, events, &of_epoll);
    if (of_epoll) {
        int more = epoll_wait(net->epoll_fd, events + count, EVENTS, 0);
        count += more > 0 ? more : 0;
    }
    while ((dismissed = tg__talkers_dismiss(&net->talkers)) != NULL)
        be_told_again(dismissed);
    return count;
}

/* Whether it is a talker from here on, or no longer. */
static void hear(struct tg_stream *stream, uint32_t news, bool among_many)
{
    struct tg_net *net = stream->net;

    if (stream->talks) {
        if (news != EPOLLIN)
            tg__poller_update(stream);
        return;
    }
    bool again = ((net->turn - stream->spoke) & TURN_BITS) <= NEAR;
    stream->spoke = net->turn & TURN_BITS;
    if (!again)
        stream->streak = 0;
    else if (stream->streak < OFTEN)
        stream->streak++;
    if (stream->streak < OFTEN || !among_many || news != EPOLLIN || !stream->reading ||
        stream->pending || !tg__talkers_add(&net->talkers, stream))
        return;
    stream->talks = true;
    unwatch(stream);
}

/* True: the loop that the net leads has news, too. */
static bool tell(struct tg_net *net, const struct epoll_event *events, int count)
{
    bool of_loop = false;

    for (int i = 0; i < count;) {
        int ahead = tg__sockets_read_ahead(net, events + i, count - i);
        i += ahead;
        if (ahead > 0)
            continue;
        if (events[i].data.ptr == NULL)
            of_loop = true;
        else
            tg__socket_ready(events[i].data.ptr, events[i].events);
        i++;
    }
    return of_loop;
}

/* `timeout` in ms, -1: none. Returns what tell does. */
static bool wait_and_tell(struct tg_net *net, int timeout)
{
    struct epoll_event events[EVENTS + TG_TALKERS_MAX];
    int count = wait_for_news(net, events, timeout);

    if (timeout != 0)
        uv_update_time(net->loop);
    for (int i = 0; net->leads && i < count; i++)
        if (events[i].data.ptr != NULL)
            hear(events[i].data.ptr, events[i].events, count >= MANY);
    return tell(net, events, count);
}

static void on_events(uv_poll_t *poll, int status, int what)
{
    (void)status;
    (void)what;
    (void)wait_and_tell(poll->data, 0);
}

static void on_again(uv_idle_t *again)
{
    struct tg_net *net = again->data;
    struct tg_stream *stream = net->first;

    net->first = NULL;
    (void)uv_idle_stop(again);
    while (stream != NULL) {
        struct tg_stream *next = *tg__next_of(stream);
        *tg__next_of(stream) = NULL;
        stream->waits = false;
        tg__stream_turn(stream); /* which may put it into the list anew */
        stream = next;
    }
}

static enum tg_err watch_loop(struct tg_net *net)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int fd = uv_backend_fd(net->loop);

    return epoll_ctl(net->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? TG_ERR_OK : TG_ERR_SYS;
}

static enum tg_err be_watched(struct tg_net *net)
{
    if (uv_poll_init(net->loop, &net->poll, net->epoll_fd) != 0)
        return TG_ERR_SYS;
    net->poll.data = net;
    net->handles_open++;
    (void)uv_poll_start(&net->poll, UV_READABLE, on_events);
    uv_unref((uv_handle_t *)&net->poll);
    return TG_ERR_OK;
}

enum tg_err tg__poller_open(struct tg_net *net)
{
    net->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (net->epoll_fd == -1)
        return TG_ERR_SYS;
    tg__talkers_init(&net->talkers, net->epoll_fd);
    if ((net->leads ? watch_loop(net) : be_watched(net)) != TG_ERR_OK) {
        close(net->epoll_fd);
        return TG_ERR_SYS;
    }
    (void)uv_idle_init(net->loop, &net->again);
    net->again.data = net;
    net->handles_open++;
    return TG_ERR_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct tg_net *net = handle->data;

    if (--net->handles_open == 0)
        tg__net_free(net);
}

void tg__poller_close(struct tg_net *net)
{
    uv_close((uv_handle_t *)&net->again, on_handle_closed);
    if (!net->leads)
        uv_close((uv_handle_t *)&net->poll, on_handle_closed);
    close(net->epoll_fd);
}

enum tg_err tg__poller_add(struct tg_stream *stream)
{
    struct tg_net *net = stream->net;

    if (watch(stream, EPOLL_CTL_ADD) != 0)
        return TG_ERR_SYS;
    if (net->sockets++ == 0 && !net->leads)
        uv_ref((uv_handle_t *)&net->poll);
    return TG_ERR_OK;
}

void tg__poller_update(struct tg_stream *stream)
{
    if (stream->talks) {
        tg__talkers_remove(&stream->net->talkers, stream);
        be_told_again(stream);
    } else if (stream->room_asked != stream->pending) {
        (void)watch(stream, EPOLL_CTL_MOD); /* takes no memory; what is there already is told */
    }
}

/* Closing the descriptor would do, were there no child that another thread is about to start: until it runs its
 * program it has them all open. */
void tg__poller_remove(struct tg_stream *stream)
{
    struct tg_net *net = stream->net;

    if (stream->talks)
        tg__talkers_remove(&net->talkers, stream);
    else
        unwatch(stream);
    stream->talks = false;
    if (--net->sockets == 0 && !net->leads)
        uv_unref((uv_handle_t *)&net->poll);
}

void tg__poller_again(struct tg_stream *stream)
{
    struct tg_net *net = stream->net;

    if (stream->waits)
        return;
    stream->waits = true;
    if (net->first == NULL)
        net->first = stream;
    else
        *tg__next_of(net->last) = stream;
    net->last = stream;
    if (!uv_is_active((uv_handle_t *)&net->again)) {
        uv_ref((uv_handle_t *)&net->again);
        (void)uv_idle_start(&net->again, on_again);
    }
}

void tg_net_run(struct tg_net *net, bool (*before_wait)(void *ctx), void *ctx)
{
    bool lives = true;

    assert(net->leads);
    while (lives) {
        bool more = before_wait(ctx);
        uv_update_time(net->loop); /* what callbacks took is not to be slept once more */
        /* 0 as well when the loop has anything to do that its descriptor would not tell of. */
        bool of_loop = wait_and_tell(net, more ? 0 : uv_backend_timeout(net->loop));
        if (of_loop || uv_backend_timeout(net->loop) == 0)
            lives = uv_run(net->loop, UV_RUN_NOWAIT) != 0;
    }
}

void tg_net_settle(struct tg_net *net)
{
    struct tg_stream *before = NULL;

    for (struct tg_stream *stream = net->first; stream != NULL;) {
        struct tg_stream *next = *tg__next_of(stream);
        if (!stream->closing) {
            before = stream;
            stream = next;
            continue;
        }
        *(before == NULL ? &net->first : tg__next_of(before)) = next;
        if (net->last == stream)
            net->last = before;
        tg__stream_turn(stream); /* which may close others */
        before = NULL;
        stream = net->first;
    }
}
