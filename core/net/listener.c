/* listener.c - listening sockets: parsing and binding addresses, accepting.
 *
 * Owns the listening descriptor, a poll handle on it and the timer of the back-off; freed when both
 * handles have closed.
 *
 * Accepts by itself instead of through uv_listen: when descriptors run out libuv (1.44) closes every
 * waiting client without telling anyone. Here the loop's spare descriptor is given up for one client,
 * which is told to come back, and kept open until the back-off is over, so that it can read that before
 * anything is reset; the others wait in the kernel's queue meanwhile, and the owner hears of it.
 */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/memory.h"
#include "net/net_internal.h"

#define BACKLOG 1024
#define ACCEPTS_PER_WAKE_UP 32 /* so that a flood of clients does not starve those we have */
#define BACK_OFF_MS 100
#define HOST_SIZE 256

struct tg_listener {
    uv_poll_t poll;
    uv_timer_t back_off;
    int handles_open;
    int fd;             /* owned */
    struct tg_net *net; /* borrowed until tg_listener_stop */
    tg_accept_fn on_accept;
    tg_accept_error_fn on_error;
    void *ctx;           /* borrowed until tg_listener_stop */
    const char *refusal; /* static; NULL: none */
    tg_refused_fn on_refused;
    int refused_fd; /* owned; in place of the spare descriptor until the back-off is over; or -1 */
    bool stopping;
};

static void on_readable(uv_poll_t *handle, int status, int events);

static bool port_valid(const char *text)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    unsigned long port = strtoul(text, &end, 10);
    return *end == '\0' && end - text <= 5 && port <= 65535;
}

/* Cuts "host:port" into an unbracketed host and a port text inside `address`. */
static enum tg_err split_address(const char *address, char host[HOST_SIZE], const char **port,
                                 struct tg_error *error)
{
    const char *colon = strrchr(address, ':');
    const char *end = colon;
    const char *start = address;

    if (colon == NULL)
        return tg_error_set(error, TG_ERR_INVALID,
                            "\"%s\" is no address: write HOST:PORT, [IPV6]:PORT or :PORT", address);
    if (*start == '[') {
        if (colon[-1] != ']')
            return tg_error_set(error, TG_ERR_INVALID, "\"%s\": the port after ] is missing",
                                address);
        start++;
        end--;
    } else if (memchr(start, ':', (size_t)(end - start)) != NULL) {
        return tg_error_set(error, TG_ERR_INVALID,
                            "\"%s\": an IPv6 address goes in brackets, as in [::1]:8080", address);
    }
    if (!port_valid(colon + 1))
        return tg_error_set(error, TG_ERR_INVALID, "\"%s\": the port is a number from 0 to 65535",
                            address);
    size_t len = (size_t)(end - start);
    if (len >= HOST_SIZE || (len == 0 && *address == '['))
        return tg_error_set(error, TG_ERR_INVALID, "\"%s\" is no address", address);
    memcpy(host, start, len);
    host[len] = '\0';
    *port = colon + 1;
    return TG_ERR_OK;
}

/* One attempt. Returns a listening descriptor, or -1 with errno. */
static int listen_on(const struct addrinfo *info, bool shared, bool all)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    /* ":port" takes IPv4 as well; a host that is named takes just itself, so that "0.0.0.0:80" and
     * "[::]:80" can stand side by side. */
    int v6_only = !all;

    if (fd == -1)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0) &&
        (info->ai_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only) == 0) &&
        bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static enum tg_err resolve(const char *host, const char *port, struct addrinfo **found,
                           const char **why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int status = getaddrinfo(host, port, &hints, found);

    if (status == 0)
        return TG_ERR_OK;
    *why = status == EAI_SYSTEM ? tg__errno_text(errno) : gai_strerror(status);
    return status == EAI_SYSTEM || status == EAI_MEMORY ? TG_ERR_SYS : TG_ERR_INVALID;
}

static bool name_bound(int fd, char bound[TG_ADDRESS_SIZE])
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof storage;

    if (getsockname(fd, (struct sockaddr *)(void *)&storage, &len) != 0)
        return false;
    struct tg_address address = tg__address_from(&storage);
    tg_address_format(&address, bound);
    return address.kind != TG_ADDRESS_UNKNOWN;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct tg_listener *listener = handle->data;

    if (--listener->handles_open == 0)
        tg_free(listener);
}

/* The refused client has had its time to read: its descriptor becomes the spare one again. */
static void let_go_of_refused(struct tg_listener *listener)
{
    char unread[4096];

    if (listener->refused_fd == -1)
        return;
    /* Bytes that nobody read would turn the close into a reset, which may overtake the answer. */
    for (int i = 0; i < 16 && recv(listener->refused_fd, unread, sizeof unread, MSG_DONTWAIT) > 0;)
        i++;
    close(listener->refused_fd);
    listener->refused_fd = -1;
    listener->net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void refuse_one(struct tg_listener *listener)
{
    struct tg_net *net = listener->net;

    if (listener->refusal == NULL || net->spare_fd == -1)
        return;
    close(net->spare_fd);
    net->spare_fd = -1;
    listener->refused_fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (listener->refused_fd == -1) { /* another thread was faster */
        net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return;
    }
    (void)!send(listener->refused_fd, listener->refusal, strlen(listener->refusal),
                MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)shutdown(listener->refused_fd, SHUT_WR);
    listener->on_refused(listener->ctx);
}

static void on_back_off_over(uv_timer_t *handle)
{
    struct tg_listener *listener = handle->data;

    let_go_of_refused(listener);
    if (listener->net->spare_fd == -1) /* it could not be had again at once */
        listener->net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

static void report(struct tg_listener *listener, int error)
{
    if (listener->on_error != NULL)
        listener->on_error(listener->ctx, tg__errno_text(error));
}

/* Errors of the connection that was being accepted (accept(2) passes them on), not of ours. */
static bool is_of_peer(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM: /* a firewall rule */
        return true;
    default:
        return false;
    }
}

static void hand_over(struct tg_listener *listener, struct tg_stream *stream,
                      const struct sockaddr_storage *peer)
{
    struct tg_net *net = listener->net;

    net->accepted.of = stream;
    net->accepted.peer = tg__address_from(peer);
    listener->on_accept(listener->ctx, stream); /* which may stop and free the listener */
    net->accepted.of = NULL;
}

/* False when there is nothing more to accept for now. */
static bool accept_one(struct tg_listener *listener)
{
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof peer;
    peer.ss_family = AF_UNSPEC;
    int fd = accept4(listener->fd, (struct sockaddr *)(void *)&peer, &peer_len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd == -1) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return false;
        if (is_of_peer(errno))
            return true;
        int error = errno;
        (void)uv_poll_stop(&listener->poll);
        (void)uv_timer_start(&listener->back_off, on_back_off_over, BACK_OFF_MS, 0);
        if (error == EMFILE || error == ENFILE)
            refuse_one(listener);
        report(listener, error);
        return false;
    }
    struct tg_stream *stream;
    enum tg_err err = tg__stream_adopt(&stream, listener->net, fd);
    if (err == TG_ERR_OK)
        hand_over(listener, stream, &peer);
    else
        report(listener, err == TG_ERR_NOMEM ? ENOMEM : errno);
    return true;
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct tg_listener *listener = handle->data;

    (void)status; /* an error of the socket comes back from accept */
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_WAKE_UP && !listener->stopping; i++) {
        if (!accept_one(listener))
            break;
    }
}

enum tg_err tg_listener_bind(const char *address, bool shared, int *fd, char bound[TG_ADDRESS_SIZE],
                             struct tg_error *error)
{
    char host[HOST_SIZE] = "";
    const char *port = "";
    const char *why = NULL;
    struct addrinfo *found;

    enum tg_err err = split_address(address, host, &port, error);
    if (err != TG_ERR_OK)
        return err;
    bool all = host[0] == '\0';
    err = resolve(all ? "::" : host, port, &found, &why);
    if (err != TG_ERR_OK)
        return tg_error_set(error, err, "cannot listen on %s: %s", address, why);
    *fd = listen_on(found, shared, all);
    freeaddrinfo(found);
    if (*fd == -1 && all && errno == EAFNOSUPPORT) { /* a kernel without IPv6 */
        struct sockaddr_in any = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
        struct addrinfo info = {.ai_family = AF_INET,
                                .ai_addr = (struct sockaddr *)(void *)&any,
                                .ai_addrlen = sizeof any};
        *fd = listen_on(&info, shared, all);
    }
    if (*fd == -1)
        return tg_error_set(error, TG_ERR_SYS, "cannot listen on %s: %s", address,
                            tg__errno_text(errno));
    if (!name_bound(*fd, bound)) {
        close(*fd);
        return tg_error_set(error, TG_ERR_SYS, "cannot listen on %s: its name is unknown", address);
    }
    return TG_ERR_OK;
}

bool tg_listener_is_loopback(const char *address)
{
    char host[HOST_SIZE];
    const char *port;
    struct in_addr v4;
    struct in6_addr v6;

    if (split_address(address, host, &port, NULL) != TG_ERR_OK)
        return false;
    if (strcmp(host, "localhost") == 0)
        return true;
    if (uv_inet_pton(AF_INET, host, &v4) == 0)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (uv_inet_pton(AF_INET6, host, &v6) != 0)
        return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

enum tg_err tg_listener_start(struct tg_listener **out, struct tg_net *net, int fd,
                              tg_accept_fn on_accept, tg_accept_error_fn on_error, void *ctx)
{
    struct tg_listener *listener = tg_calloc(1, sizeof *listener);

    if (listener == NULL || uv_poll_init(tg_net_loop(net), &listener->poll, fd) != 0) {
        enum tg_err err = listener == NULL ? TG_ERR_NOMEM : TG_ERR_SYS;
        close(fd);
        tg_free(listener);
        return err;
    }
    tg__socket_tune(fd);                                        /* for those it accepts */
    (void)uv_timer_init(tg_net_loop(net), &listener->back_off); /* cannot fail */
    listener->poll.data = listener;
    listener->back_off.data = listener;
    listener->handles_open = 2;
    listener->fd = fd;
    listener->refused_fd = -1;
    listener->net = net;
    listener->on_accept = on_accept;
    listener->on_error = on_error;
    listener->ctx = ctx;
    if (uv_poll_start(&listener->poll, UV_READABLE, on_readable) != 0) {
        tg_listener_stop(listener);
        return TG_ERR_SYS;
    }
    *out = listener;
    return TG_ERR_OK;
}

void tg_listener_set_refusal(struct tg_listener *listener, const char *bytes,
                             tg_refused_fn on_refused)
{
    listener->refusal = bytes;
    listener->on_refused = on_refused;
}

void tg_listener_stop(struct tg_listener *listener)
{
    if (listener == NULL || listener->stopping)
        return;
    listener->stopping = true;
    let_go_of_refused(listener);
    uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
    uv_close((uv_handle_t *)&listener->back_off, on_handle_closed);
    close(listener->fd); /* allowed as soon as uv_close has stopped the poll */
}
