/* bench_client.c - the client of the bench: a non-blocking socket, and just enough HTTP and RFC 6455
 * to speak to the server without using its own code. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/bench.h"

#include <cmocka.h>

/* A NUL follows what is kept, for tests that look for text in it. */
static void keep(struct bench_client *client, const uint8_t *data, size_t len)
{
    size_t taken = client->block == NULL ? 0 : (size_t)(client->in - client->block);
    if (taken + client->len + len >= client->capacity) {
        if (taken > 0)
            memmove(client->block, client->in, client->len);
        client->capacity = (client->len + len) * 2 + 1024;
        client->block = realloc(client->block, client->capacity);
        assert_non_null(client->block);
        client->in = client->block;
    }
    memcpy(client->in + client->len, data, len);
    client->len += len;
    client->in[client->len] = '\0';
}

static void take(struct bench_client *client, size_t len)
{
    client->len -= len;
    client->in += len;
}

static void poll_client(struct bench_client *client)
{
    static uint8_t bytes[65536];
    while (client->fd != -1 && !client->deaf && !client->eof && !client->reset) {
        ssize_t n = recv(client->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0)
            keep(client, bytes, (size_t)n);
        else if (n == 0)
            client->eof = true;
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR)
            client->reset = true;
    }
}

void bench_turn(struct bench *bench)
{
    uv_run(&bench->loop, UV_RUN_NOWAIT);
    for (size_t i = 0; i < bench->client_count; i++)
        poll_client(&bench->clients[i]);
}

void bench_turns(struct bench *bench, int rounds)
{
    for (int i = 0; i < rounds; i++)
        bench_turn(bench);
}

void bench_wait_ms(struct bench *bench, uint64_t ms)
{
    uint64_t until_ms = bench_now_ms() + ms;
    while (bench_now_ms() <= until_ms)
        bench_turn(bench);
    bench_turns(bench, 2);
}

struct bench_client *bench_connect(struct bench *bench)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(bench->port)};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(bench->client_count < BENCH_CLIENTS);
    struct bench_client *client = &bench->clients[bench->client_count++];
    memset(client, 0, sizeof *client);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_not_equal(client->fd, -1);
    assert_int_equal(connect(client->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    return client;
}

void bench_send(struct bench *bench, struct bench_client *client, const void *data, size_t len)
{
    const uint8_t *at = data;
    uint64_t give_up_ms = bench_now_ms() + 30000;
    while (len > 0 && client->fd != -1) {
        ssize_t n = send(client->fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            assert_true(bench_now_ms() < give_up_ms);
            bench_turn(bench);
        } else {
            return; /* the server has gone; tests look at eof and reset */
        }
    }
}

void bench_send_str(struct bench *bench, struct bench_client *client, const char *text)
{
    bench_send(bench, client, text, strlen(text));
}

void bench_request(struct bench *bench, struct bench_client *client, const char *extra)
{
    char text[4096];
    int len = snprintf(text, sizeof text,
                       "GET /chat?token=t HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                       "Sec-WebSocket-Version: 13\r\n%s\r\n",
                       extra);
    assert_true(len > 0 && (size_t)len < sizeof text);
    bench_send(bench, client, text, (size_t)len);
}

static const uint8_t *head_end(const struct bench_client *client)
{
    return client->len == 0 ? NULL : memmem(client->in, client->len, "\r\n\r\n", 4);
}

void bench_read_head(struct bench *bench, struct bench_client *client)
{
    static const char id_header[] = "\r\nTidegate-Connection-Id: ";
    BENCH_UNTIL(bench, head_end(client) != NULL || client->eof || client->reset);
    const uint8_t *end = head_end(client);
    assert_non_null(end);
    size_t len = (size_t)(end - client->in) + 4;
    assert_true(len < sizeof client->head);
    memcpy(client->head, client->in, len);
    client->head[len] = '\0';
    take(client, len);
    assert_int_equal(sscanf(client->head, "HTTP/1.1 %d ", &client->status), 1);
    const char *id = strstr(client->head, id_header);
    if (id != NULL)
        (void)snprintf(client->id, sizeof client->id, "%.46s", id + sizeof id_header - 1);
}

struct bench_client *bench_open(struct bench *bench)
{
    struct bench_client *client = bench_connect(bench);
    bench_request(bench, client, "");
    bench_read_head(bench, client);
    assert_int_equal(client->status, 101);
    return client;
}

struct bench_client *bench_ready(struct bench *bench)
{
    struct bench_client *client = bench_open(bench);
    (void)bench_expect(bench, client, "\"connection_ready\"");
    return client;
}

size_t bench_frame_write(uint8_t *out, uint8_t head, const void *data, size_t len)
{
    static const uint8_t key[4] = {0x12, 0x34, 0x56, 0x78};
    const uint8_t *bytes = data;
    size_t at = 0;
    out[at++] = head;
    if (len < 126) {
        out[at++] = (uint8_t)(0x80 | len);
    } else if (len < 65536) {
        out[at++] = 0x80 | 126;
        out[at++] = (uint8_t)(len >> 8);
        out[at++] = (uint8_t)len;
    } else {
        out[at++] = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            out[at++] = (uint8_t)((uint64_t)len >> shift);
    }
    memcpy(out + at, key, 4);
    at += 4;
    for (size_t i = 0; i < len; i++)
        out[at++] = bytes[i] ^ key[i % 4];
    return at;
}

void bench_send_frame(struct bench *bench, struct bench_client *client, int opcode,
                      const void *data, size_t len)
{
    uint8_t *frame = malloc(len + 14);
    assert_non_null(frame);
    size_t size = bench_frame_write(frame, (uint8_t)(0x80 | opcode), data, len);
    bench_send(bench, client, frame, size);
    free(frame);
}

void bench_send_text(struct bench *bench, struct bench_client *client, const char *text)
{
    bench_send_frame(bench, client, 1, text, strlen(text));
}

void bench_send_numbered(struct bench *bench, struct bench_client *client, int from, int to)
{
    for (int i = from; i < to; i++) {
        char text[40];
        (void)snprintf(text, sizeof text, "{\"type\":\"m\",\"n\":%d}", i);
        bench_send_text(bench, client, text);
    }
}

void bench_check_numbered(const struct bench *bench, int count)
{
    int n = 0;
    for (size_t i = 0; i < bench->ask_count; i++) {
        char text[40];
        if (bench->asks[i].hook != TG_HOOK_MESSAGE)
            continue;
        (void)snprintf(text, sizeof text, "{\"type\":\"m\",\"n\":%d}", n++);
        assert_string_equal(bench->asks[i].data, text);
    }
    assert_int_equal(n, count);
}

void bench_send_close(struct bench *bench, struct bench_client *client, int code,
                      const char *reason)
{
    uint8_t body[125];
    size_t len = strlen(reason);
    body[0] = (uint8_t)(code >> 8);
    body[1] = (uint8_t)code;
    memcpy(body + 2, reason, len);
    bench_send_frame(bench, client, 8, body, code == 0 ? 0 : 2 + len);
}

bool bench_take_frame(struct bench_client *client, struct bench_frame *frame)
{
    const uint8_t *in = client->in;
    if (client->len < 2)
        return false;
    assert_int_equal(in[0] & 0x80, 0x80); /* the server never fragments */
    assert_int_equal(in[0] & 0x70, 0);
    assert_int_equal(in[1] & 0x80, 0); /* and never masks */
    size_t len = in[1];
    size_t head = len == 126 ? 4 : len == 127 ? 10 : 2;
    if (client->len < head)
        return false;
    if (head > 2)
        len = 0;
    for (size_t i = 2; i < head; i++)
        len = len << 8 | in[i];
    if (client->len < head + len)
        return false;
    client->frame = realloc(client->frame, len + 1);
    assert_non_null(client->frame);
    memcpy(client->frame, in + head, len);
    client->frame[len] = '\0';
    *frame = (struct bench_frame){.opcode = in[0] & 15, .len = len, .data = client->frame};
    take(client, head + len);
    return true;
}

struct bench_frame bench_read(struct bench *bench, struct bench_client *client)
{
    struct bench_frame frame = {0};
    uint64_t give_up_ms = bench_now_ms() + 30000;
    while (!bench_take_frame(client, &frame)) {
        if (client->eof || client->reset)
            fail_msg("the server left without another frame (%s)", client->eof ? "eof" : "reset");
        if (bench_now_ms() > give_up_ms)
            fail_msg("gave up waiting for a frame");
        bench_turn(bench);
    }
    return frame;
}

const char *bench_expect(struct bench *bench, struct bench_client *client, const char *part)
{
    struct bench_frame frame = bench_read(bench, client);
    if (frame.opcode != 1 || strstr(frame.data, part) == NULL)
        fail_msg("wanted text with %s, got opcode %d: %s", part, frame.opcode,
                 frame.opcode == 8 && frame.len > 2 ? frame.data + 2 : frame.data);
    return frame.data;
}

const char *bench_expect_close(struct bench *bench, struct bench_client *client, int code)
{
    struct bench_frame frame = bench_read(bench, client);
    if (frame.opcode != 8)
        fail_msg("wanted close %d, got opcode %d: %s", code, frame.opcode, frame.data);
    int got = frame.len < 2 ? 1005 : (uint8_t)frame.data[0] << 8 | (uint8_t)frame.data[1];
    assert_int_equal(got, code);
    return frame.len < 2 ? "" : frame.data + 2;
}

void bench_expect_eof(struct bench *bench, struct bench_client *client)
{
    struct bench_frame frame;
    BENCH_UNTIL(bench, client->eof || client->reset);
    assert_true(client->eof);
    assert_false(bench_take_frame(client, &frame));
}

void bench_close_client(struct bench_client *client)
{
    if (client->fd != -1)
        close(client->fd);
    client->fd = -1;
}

void bench_reset_client(struct bench_client *client)
{
    struct linger now = {1, 0};
    (void)setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    bench_close_client(client);
}

void bench_half_close(struct bench_client *client)
{
    (void)shutdown(client->fd, SHUT_WR);
}
