/* raw_echo.c - a TCP echo on epoll and nothing else: what the kernel alone costs a message.
 *
 *   raw_echo      prints `listening ws://127.0.0.1:PORT`, as the other peers do; stops on SIGTERM
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 512
#define BUFFER ((size_t)64 << 10)

/* What the socket did not take of an echo. */
struct rest {
    char *data;
    size_t start, end;
};

static struct rest *rests; /* by descriptor */

static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        perror("raw_echo");
        exit(1);
    }
    (void)printf("listening ws://127.0.0.1:%d\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    return fd;
}

static void accept_one(int listener, int epoll_fd)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (fd < 0)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* False: the connection is over. */
static int write_out(int fd, struct rest *rest)
{
    while (rest->start < rest->end) {
        ssize_t put = send(fd, rest->data + rest->start, rest->end - rest->start, MSG_NOSIGNAL);
        if (put < 0)
            return errno == EAGAIN;
        rest->start += (size_t)put;
    }
    return 1;
}

static void serve(int fd, int epoll_fd)
{
    static char buffer[BUFFER];
    struct rest *rest = &rests[fd], here = {buffer, 0, 0};
    ssize_t got;

    if (rest->data == NULL && (got = read(fd, buffer, sizeof buffer)) >= 0)
        here.end = (size_t)got;
    if (rest->data != NULL)
        here = *rest;
    else if (here.end == 0)
        goto over;
    if (!write_out(fd, &here))
        goto over;
    if ((here.start < here.end) == (rest->data != NULL)) {
        rest->start = here.start;
        return;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (here.start < here.end) {
        rest->data = malloc(BUFFER);
        if (rest->data == NULL)
            goto over;
        rest->start = 0;
        rest->end = here.end - here.start;
        for (size_t i = 0; i < rest->end; i++)
            rest->data[i] = here.data[here.start + i];
        event.events = EPOLLOUT;
    } else {
        free(rest->data);
        *rest = (struct rest){0};
    }
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
    return;
over:
    free(rest->data);
    *rest = (struct rest){0};
    (void)close(fd);
}

int main(void)
{
    struct epoll_event events[EVENTS];
    int listener = listen_somewhere(), epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};

    rests = calloc((size_t)sysconf(_SC_OPEN_MAX), sizeof *rests);
    if (rests == NULL || epoll_fd < 0)
        return 1;
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_one(listener, epoll_fd);
            else
                serve(events[i].data.fd, epoll_fd);
        }
    }
}
