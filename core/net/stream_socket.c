/* stream_socket.c - the socket of a stream: how it is set, whom it leads to, and how a client's is connected.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
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

static void on_connect(uv_connect_t *request, int status)
{
    /* `tcp` is its first member. */
    struct tg_stream *stream = (struct tg_stream *)request->handle;
    tg_stream_connected_fn on_connected = stream->pending->on_connected;
    void *ctx = stream->pending->connected_ctx;

    tg__stream_settled(stream);
    if (stream->closing)
        return;
    if (status < 0)
        on_connected(ctx, TG_ERR_SYS, uv_strerror(status));
    else
        on_connected(ctx, TG_ERR_OK, "connected");
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
    stream->pending = tg_calloc(1, sizeof *stream->pending);
    if (stream->pending == NULL) {
        tg_stream_close(stream);
        return tg_error_set(error, TG_ERR_NOMEM, "cannot connect to %s: out of memory", host);
    }
    stream->pending->on_connected = fn;
    stream->pending->connected_ctx = ctx;
    int status = uv_tcp_connect(&stream->pending->request.connect, &stream->tcp,
                                (const struct sockaddr *)(const void *)&address, on_connect);
    if (status != 0) {
        tg_stream_close(stream);
        return tg_error_set(error, TG_ERR_SYS, "cannot connect to %s port %u: %s", host,
                            (unsigned)port, uv_strerror(status));
    }
    (void)uv_tcp_nodelay(&stream->tcp, 1);
    *out = stream;
    return TG_ERR_OK;
}

struct tg_address tg_stream_peer(const struct tg_stream *stream)
{
    struct sockaddr_storage address;
    int len = (int)sizeof address;

    if (stream->filter->peer != NULL)
        return stream->filter->peer(stream);
    if (stream->net->accepted.of == stream)
        return stream->net->accepted.peer;
    if (uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)(void *)&address, &len) != 0)
        return (struct tg_address){.kind = TG_ADDRESS_UNKNOWN};
    return tg__address_from(&address);
}

void tg_stream_peer_address(const struct tg_stream *stream, char out[TG_ADDRESS_SIZE])
{
    struct tg_address peer = tg_stream_peer(stream);

    tg_address_format(&peer, out);
}
