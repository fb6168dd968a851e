/* stream_socket.c - the socket of a stream: how it is set, connected and closed, and whom it leads to. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/memory.h"
#include "net/net_internal.h"

/* Bytes that the kernel takes before it can send them. Without a bound it is megabytes for each peer that
 * reads nothing, until the whole machine is out of memory for sockets. */
static const int unsent_max = 128 * 1024;

void tg__socket_tune(int fd)
{
    int on = 1;

    /* A peer that is gone already shows when reading; a Unix socket knows neither. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_max, sizeof unsent_max);
}

struct tg_address tg__address_from(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        return tg_address_v4((const uint8_t *)&v4->sin_addr, ntohs(v4->sin_port));
    }
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
        return tg_address_v6(v6->sin6_addr.s6_addr, ntohs(v6->sin6_port));
    }
    if (address->ss_family == AF_UNIX)
        return (struct tg_address){.kind = TG_ADDRESS_UNIX};
    return (struct tg_address){.kind = TG_ADDRESS_UNKNOWN};
}

const char *tg__errno_text(int error)
{
    return uv_strerror(uv_translate_sys_error(error));
}

/* errno, or 0. */
static int begin_to_connect(struct tg_stream *stream, const struct sockaddr_storage *address)
{
    socklen_t len =
        address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd == -1)
        return errno;
    tg__socket_tune(fd);
    stream->fd = fd;
    if (connect(fd, (const struct sockaddr *)(const void *)address, len) != 0 &&
        errno != EINPROGRESS) {
        /* Whoever refuses us is told of from the loop, as when it takes longer. */
        stream->filter->pending.error = errno;
        tg__poller_again(stream);
    }
    /* Not before: a socket that is not connecting yet has hung up, says epoll. */
    if (tg__poller_add(stream) == TG_ERR_OK)
        return 0;
    int error = errno;
    close(fd);
    stream->fd = -1;
    return error;
}

enum tg_err tg_stream_connect(struct tg_stream **out, struct tg_net *net, const char *host,
                              uint16_t port, tg_stream_connected_fn fn, void *ctx,
                              struct tg_error *error)
{
    struct sockaddr_storage address;

    if (uv_ip4_addr(host, port, (struct sockaddr_in *)(void *)&address) != 0 &&
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)(void *)&address) != 0)
        return tg_error_set(error, TG_ERR_INVALID, "\"%s\" is not an IP address", host);
    struct tg_stream *stream = tg__stream_new(net);
    if (stream == NULL)
        return tg_error_set(error, TG_ERR_NOMEM, "cannot connect to %s: out of memory", host);
    struct tg_pending *pending = tg__stream_suspend(stream);
    if (pending == NULL) {
        tg_stream_close(stream);
        return tg_error_set(error, TG_ERR_NOMEM, "cannot connect to %s: out of memory", host);
    }
    pending->on_connected = fn;
    pending->connected_ctx = ctx;
    int failed = begin_to_connect(stream, &address);
    if (failed != 0) {
        tg_stream_close(stream);
        return tg_error_set(error, TG_ERR_SYS, "cannot connect to %s port %u: %s", host,
                            (unsigned)port, tg__errno_text(failed));
    }
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
    stream->fd = fd;
    if (tg__poller_add(stream) != TG_ERR_OK) {
        close(fd);
        stream->fd = -1;
        tg_stream_close(stream);
        return TG_ERR_SYS;
    }
    *out = stream;
    return TG_ERR_OK;
}

/* The kernel would hold what it took from us for minutes after the close. The peer has a message cut off
 * either way; a reset says so. */
static void give_up_unsent(const struct tg_stream *stream)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void tg__socket_close(struct tg_stream *stream)
{
    if (stream->writing)
        give_up_unsent(stream);
    tg__poller_remove(stream);
    close(stream->fd);
    stream->fd = -1;
}

struct tg_address tg_stream_peer(const struct tg_stream *stream)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof address;

    if (tg__calls_of(stream)->peer != NULL)
        return tg__calls_of(stream)->peer(stream);
    if (stream->net->accepted.of == stream)
        return stream->net->accepted.peer;
    if (getpeername(stream->fd, (struct sockaddr *)(void *)&address, &len) != 0)
        return (struct tg_address){.kind = TG_ADDRESS_UNKNOWN};
    return tg__address_from(&address);
}

void tg_stream_peer_address(const struct tg_stream *stream, char out[TG_ADDRESS_SIZE])
{
    struct tg_address peer = tg_stream_peer(stream);

    tg_address_format(&peer, out);
}
