#include "support/upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/upgrade.h"

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct upstream *up = handle->data;

    (void)suggested;
    *buf = uv_buf_init(up->bytes, sizeof up->bytes);
}

static void upgrade(struct upstream *up)
{
    char accept[TG_WS_ACCEPT_SIZE], answer[512];
    const char *key = strstr(up->head, "Sec-WebSocket-Key: ");

    assert_non_null(key);
    tg_upgrade_accept_key(key + 19, TG_WS_KEY_LEN, accept);
    (void)snprintf(answer, sizeof answer,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                   accept);
    upstream_send(up, answer, strlen(answer));
    up->upgraded = true;
    if (up->stalled)
        (void)uv_read_stop((uv_stream_t *)&up->conn);
}

static void keep_frames(struct upstream *up, const char *data, size_t len)
{
    size_t room = sizeof up->frames - up->frames_len;

    up->received += len;
    if (len > room)
        len = room;
    memcpy(up->frames + up->frames_len, data, len);
    up->frames_len += len;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct upstream *up = stream->data;

    if (n < 0) {
        up->gone = true;
        (void)uv_read_stop(stream);
        return;
    }
    if (up->upgraded) {
        keep_frames(up, buf->base, (size_t)n);
        return;
    }
    assert_true(up->head_len + (size_t)n < sizeof up->head);
    memcpy(up->head + up->head_len, buf->base, (size_t)n);
    up->head_len += (size_t)n;
    if (!up->silent && strstr(up->head, "\r\n\r\n") != NULL)
        upgrade(up);
}

void upstream_read(struct upstream *up)
{
    assert_int_equal(uv_read_start((uv_stream_t *)&up->conn, on_alloc, on_read), 0);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct upstream *up = listener->data;

    assert_int_equal(status, 0);
    assert_int_equal(up->accepted++, 0);
    assert_int_equal(uv_tcp_init(listener->loop, &up->conn), 0);
    up->conn.data = up;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&up->conn), 0);
    upstream_read(up);
}

void upstream_open(struct upstream *up, uv_loop_t *loop)
{
    struct sockaddr_in address;
    int len = sizeof address;

    memset(up, 0, sizeof *up);
    assert_int_equal(uv_tcp_init(loop, &up->listener), 0);
    up->listener.data = up;
    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &address), 0);
    assert_int_equal(uv_tcp_bind(&up->listener, (struct sockaddr *)(void *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&up->listener, 8, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&up->listener, (struct sockaddr *)(void *)&address, &len),
                     0);
    up->port = ntohs(address.sin_port);
}

static void on_written(uv_write_t *request, int status)
{
    (void)status; /* a client that is gone is what some tests are about */
    free(request->data);
    free(request);
}

void upstream_send(struct upstream *up, const void *data, size_t len)
{
    uv_write_t *request = calloc(1, sizeof *request);
    char *copy = malloc(len + 1);

    if (request == NULL || copy == NULL)
        abort();
    memcpy(copy, data, len);
    request->data = copy;
    uv_buf_t buf = uv_buf_init(copy, (unsigned)len);
    assert_int_equal(uv_write(request, (uv_stream_t *)&up->conn, &buf, 1, on_written), 0);
}

void upstream_reset(struct upstream *up)
{
    assert_int_equal(uv_tcp_close_reset(&up->conn, NULL), 0);
}

void upstream_close(struct upstream *up)
{
    if (!uv_is_closing((uv_handle_t *)&up->listener))
        uv_close((uv_handle_t *)&up->listener, NULL);
    if (up->accepted > 0 && !uv_is_closing((uv_handle_t *)&up->conn))
        uv_close((uv_handle_t *)&up->conn, NULL);
}
