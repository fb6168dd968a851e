/* client.c - one WebSocket client of the load generator. */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tls.h"

#define READ_SIZE ((size_t)256 << 10)
#define KEEP_SIZE 4096
static const uint8_t mask_key[8] = {0x37, 0xfa, 0x21, 0x3d, 0x37, 0xfa, 0x21, 0x3d};

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)fputs("load: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Makes room for `more` bytes at the end. */
static uint8_t *reserve(struct bytes *bytes, size_t more)
{
    size_t used = bytes->end - bytes->start;

    if (bytes->start > 0 && (used == 0 || bytes->end + more > bytes->capacity)) {
        memmove(bytes->data, bytes->data + bytes->start, used);
        bytes->start = 0;
        bytes->end = used;
    }
    if (bytes->end + more > bytes->capacity) {
        bytes->capacity = (bytes->end + more) * 2;
        bytes->data = realloc(bytes->data, bytes->capacity);
        if (bytes->data == NULL)
            die("out of memory");
    }
    return bytes->data + bytes->end;
}

/* Small buffers stay with their client. */
static void release_if_empty(struct bytes *bytes)
{
    if (bytes->start != bytes->end)
        return;
    bytes->start = bytes->end = 0;
    if (bytes->capacity <= KEEP_SIZE)
        return;
    free(bytes->data);
    *bytes = (struct bytes){0};
}

static void watch(const struct client *client, int epoll_fd, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u32 = client->number};

    if (epoll_ctl(epoll_fd, how, client->fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

void client_connect(struct client *client, int epoll_fd, const struct sockaddr_in *server,
                    const struct sockaddr_in *source)
{
    int on = 1;

    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        die("socket: %s", strerror(errno));
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (source != NULL) {
        (void)setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(client->fd, (const struct sockaddr *)source, sizeof *source) != 0)
            die("bind: %s", strerror(errno));
    }
    if (connect(client->fd, (const struct sockaddr *)server, sizeof *server) != 0 &&
        errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    client->state = CLIENT_CONNECTING;
    client->wants_out = true;
    client->began_ns = now_ns();
    watch(client, epoll_fd, EPOLL_CTL_ADD, EPOLLOUT);
}

void client_check_connected(const struct client *client)
{
    int failed = 0;
    socklen_t size = sizeof failed;

    if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0 || failed != 0)
        die("connect: %s", strerror(failed));
}

void client_secure(struct client *client)
{
    client->tls = tls_create(client->fd);
    client->state = CLIENT_SECURING;
}

void client_upgrade(struct client *client, const char *host, const char *path, const char *header)
{
    uint8_t *to = reserve(&client->out, 1024);
    client->out.end += (size_t)snprintf((char *)to, 1024,
                                        "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                                        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s\r\n",
                                        path, host, header, header[0] == '\0' ? "" : "\r\n");
    client->state = CLIENT_UPGRADING;
}

bool client_read(struct client *client)
{
    static uint8_t scratch[READ_SIZE]; /* shared: one client is read at a time */
    struct bytes *in = &client->in;
    ssize_t got = client->tls == NULL ? read(client->fd, scratch, sizeof scratch)
                                      : tls_read(client->tls, scratch, sizeof scratch);

    if (got == 0 || (got < 0 && errno == ECONNRESET))
        return false;
    if (got < 0 && errno != EAGAIN && errno != EINTR)
        die("read: %s", strerror(errno));
    if (got < 0)
        got = 0;
    client->cursor = scratch;
    client->left = (size_t)got;
    if (in->start == in->end)
        return true;
    memcpy(reserve(in, (size_t)got), scratch, (size_t)got);
    in->end += (size_t)got;
    client->cursor = in->data + in->start;
    client->left = in->end - in->start;
    return true;
}

void client_keep(struct client *client)
{
    struct bytes *in = &client->in;

    if (in->start != in->end) {
        in->start = in->end - client->left;
    } else if (client->left > 0) {
        memcpy(reserve(in, client->left), client->cursor, client->left);
        in->end += client->left;
    }
    release_if_empty(in);
}

static void take(struct client *client, size_t len)
{
    client->cursor += len;
    client->left -= len;
}

bool client_take_upgrade(struct client *client)
{
    const char *head = (const char *)client->cursor;
    const char *end = memmem(head, client->left, "\r\n\r\n", 4);

    if (end == NULL)
        return false;
    if (strncmp(head, "HTTP/1.1 101", 12) != 0)
        die("the upgrade was refused: %.*s", (int)strcspn(head, "\r\n"), head);
    take(client, (size_t)(end + 4 - head));
    client->state = CLIENT_OPEN;
    return true;
}

bool client_take_frame(struct client *client, struct frame *frame)
{
    const uint8_t *data = client->cursor;
    size_t head = 2;

    if (client->left < 2)
        return false;
    uint64_t len = data[1] & 0x7f;
    if ((data[0] & 0xf0) != 0x80 || (data[1] & 0x80) != 0)
        die("a frame that is not final, has reserved bits or is masked: %02x %02x", data[0],
            data[1]);
    if (len >= 126) {
        size_t size = len == 126 ? 2 : 8;
        if (client->left < 2 + size)
            return false;
        len = 0;
        for (size_t i = 0; i < size; i++)
            len = len << 8 | data[2 + i];
        head += size;
    }
    if (client->left < head + len)
        return false;
    *frame = (struct frame){.opcode = data[0] & 15, .payload = data + head, .len = (size_t)len};
    take(client, head + (size_t)len);
    return true;
}

bool client_take_bytes(struct client *client, size_t len, struct frame *frame)
{
    if (client->left < len)
        return false;
    *frame = (struct frame){.opcode = 1, .payload = client->cursor, .len = len};
    take(client, len);
    return true;
}

void client_send_bytes(struct client *client, const uint8_t *bytes, size_t len)
{
    memcpy(reserve(&client->out, len), bytes, len);
    client->out.end += len;
}

static void copy_masked(uint8_t *to, const uint8_t *from, size_t len)
{
    uint64_t key, word;
    size_t i = 0;

    memcpy(&key, mask_key, 8);
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= key;
        memcpy(to + i, &word, 8);
    }
    for (; i < len; i++)
        to[i] = from[i] ^ mask_key[i % 4];
}

void client_send(struct client *client, int opcode, const uint8_t *payload, size_t len)
{
    uint8_t *to = reserve(&client->out, len + 14);
    size_t head = 2;

    to[0] = (uint8_t)(0x80 | opcode);
    if (len < 126) {
        to[1] = (uint8_t)(0x80 | len);
    } else if (len < 65536) {
        to[1] = 0x80 | 126;
        to[2] = (uint8_t)(len >> 8);
        to[3] = (uint8_t)len;
        head = 4;
    } else {
        to[1] = 0x80 | 127;
        for (int i = 0; i < 8; i++)
            to[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
        head = 10;
    }
    memcpy(to + head, mask_key, 4);
    copy_masked(to + head + 4, payload, len);
    client->out.end += head + 4 + len;
}

void client_flush(struct client *client, int epoll_fd)
{
    struct bytes *out = &client->out;
    bool full = false;

    while (out->start < out->end && !full) {
        const uint8_t *data = out->data + out->start;
        size_t len = out->end - out->start;
        ssize_t put = client->tls == NULL ? send(client->fd, data, len, MSG_NOSIGNAL)
                                          : tls_write(client->tls, data, len);
        full = put < 0 && errno == EAGAIN;
        if (put < 0 && !full && errno != EINTR)
            die("send: %s", strerror(errno));
        out->start += put < 0 ? 0 : (size_t)put;
    }
    release_if_empty(out);
    if (full != client->wants_out)
        watch(client, epoll_fd, EPOLL_CTL_MOD, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
    client->wants_out = full;
}

void client_close(struct client *client)
{
    tls_destroy(client->tls);
    client->tls = NULL;
    (void)close(client->fd);
    client->fd = -1;
    client->state = CLIENT_IDLE;
    client->wants_out = false;
    client->in.start = client->in.end;
    client->out.start = client->out.end;
    release_if_empty(&client->in);
    release_if_empty(&client->out);
}
