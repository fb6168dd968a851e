/* stream_test.c - streams and listeners over loopback: the other end is either a plain socket driven
 * from the test or a second stream on the same loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/memory.h"
#include "net/listener.h"
#include "net/stream.h"

struct fixture {
    uv_loop_t loop;
    struct tg_net *net;
    struct tg_listener *listener;
    uint16_t port;
    int peer;                 /* plain socket on the other side, or -1 */
    struct tg_stream *stream; /* accepted */
    int accepted;
    struct tg_buffer received;
    int ends, writtens, closeds;
    enum tg_err end_err;
    char end_why[100];
    bool in_call; /* a tg_stream_* function is on the stack: no callback may come */
    bool close_in_read, close_in_end, stop_in_read;
    int reads;
};

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct fixture *fixture = ctx;

    assert_false(fixture->in_call);
    assert_int_equal(fixture->ends + fixture->closeds, 0);
    assert_int_equal(tg_buffer_append(&fixture->received, data, len), TG_ERR_OK);
    fixture->reads++;
    memset(data, 0, len); /* is allowed */
    if (fixture->close_in_read)
        tg_stream_close(fixture->stream);
    if (fixture->stop_in_read)
        tg_stream_read_stop(fixture->stream);
}

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    struct fixture *fixture = ctx;

    assert_false(fixture->in_call);
    fixture->ends++;
    fixture->end_err = err;
    snprintf(fixture->end_why, sizeof fixture->end_why, "%s", why);
    if (fixture->close_in_end)
        tg_stream_close(fixture->stream);
}

static void on_written(void *ctx)
{
    struct fixture *fixture = ctx;

    assert_false(fixture->in_call);
    assert_false(tg_stream_is_writing(fixture->stream));
    fixture->writtens++;
}

static void on_closed(void *ctx)
{
    struct fixture *fixture = ctx;

    assert_false(fixture->in_call);
    fixture->closeds++;
    fixture->stream = NULL;
}

static const struct tg_stream_callbacks callbacks = {on_read, on_end, on_written, on_closed};

static void on_accept(void *ctx, struct tg_stream *stream)
{
    struct fixture *fixture = ctx;

    fixture->accepted++;
    if (fixture->stream != NULL) {
        tg_stream_close(stream); /* never bound */
        return;
    }
    tg_stream_bind(stream, &callbacks, fixture);
    fixture->stream = stream;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char bound[TG_ADDRESS_SIZE];
    int fd;

    if (fixture == NULL || uv_loop_init(&fixture->loop) != 0 ||
        tg_net_create(&fixture->net, &fixture->loop) != TG_ERR_OK ||
        tg_listener_bind("127.0.0.1:0", false, &fd, bound, NULL) != TG_ERR_OK ||
        tg_listener_start(&fixture->listener, fixture->net, fd, on_accept, NULL, fixture) !=
            TG_ERR_OK)
        return -1;
    fixture->port = (uint16_t)strtoul(strrchr(bound, ':') + 1, NULL, 10);
    fixture->peer = -1;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    if (fixture->stream != NULL)
        tg_stream_close(fixture->stream);
    tg_listener_stop(fixture->listener);
    tg_net_destroy(fixture->net);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    if (fixture->peer != -1)
        close(fixture->peer);
    tg_buffer_fini(&fixture->received);
    int status = uv_loop_close(&fixture->loop);
    free(fixture);
    return status;
}

#define RUN_UNTIL(fixture, condition)                                                              \
    do {                                                                                           \
        uint64_t give_up_ns = uv_hrtime() + UINT64_C(10000000000);                                 \
        while (!(condition)) {                                                                     \
            assert_true(uv_hrtime() < give_up_ns);                                                 \
            uv_run(&(fixture)->loop, UV_RUN_NOWAIT);                                               \
        }                                                                                          \
    } while (0)

static int dial(struct fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fixture->port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_not_equal(fd, -1);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void open_pair(struct fixture *fixture)
{
    fixture->peer = dial(fixture);
    RUN_UNTIL(fixture, fixture->stream != NULL);
}

static void reset_peer(struct fixture *fixture)
{
    struct linger now = {1, 0};

    setsockopt(fixture->peer, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fixture->peer);
    fixture->peer = -1;
}

static enum tg_err write_bytes(struct fixture *fixture, size_t len)
{
    struct tg_buffer bytes = TG_BUFFER_INIT;
    uint8_t *to = tg_buffer_reserve(&bytes, len);

    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(i * 7 + i / 256);
    tg_buffer_commit(&bytes, len);
    fixture->in_call = true;
    enum tg_err err = tg_stream_write(fixture->stream, &bytes);
    fixture->in_call = false;
    if (err == TG_ERR_OK)
        assert_int_equal(bytes.len, 0);
    tg_buffer_fini(&bytes);
    return err;
}

static void test_read_and_end(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    assert_int_equal(send(fixture->peer, "hello", 5, 0), 5);
    RUN_UNTIL(fixture, fixture->received.len == 5);
    assert_memory_equal(tg_buffer_head(&fixture->received), "hello", 5);
    shutdown(fixture->peer, SHUT_WR);
    RUN_UNTIL(fixture, fixture->ends == 1);
    assert_int_equal(fixture->end_err, TG_ERR_OK);
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_CLOSED);
    assert_int_equal(write_bytes(fixture, 3), TG_ERR_OK); /* the other direction still works */
    char got[3];
    assert_int_equal(recv(fixture->peer, got, sizeof got, MSG_WAITALL), 3);
    tg_stream_close(fixture->stream);
    tg_stream_close(fixture->stream);
    RUN_UNTIL(fixture, fixture->closeds == 1);
    assert_int_equal(fixture->ends, 1);
}

static void test_stop_reading(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    fixture->stop_in_read = true;
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    assert_int_equal(send(fixture->peer, "a", 1, 0), 1);
    RUN_UNTIL(fixture, fixture->received.len == 1);
    assert_int_equal(send(fixture->peer, "b", 1, 0), 1);
    for (int i = 0; i < 20; i++)
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_int_equal(fixture->received.len, 1);
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    RUN_UNTIL(fixture, fixture->received.len == 2);
}

/* Reads that are there all at once are still spread over as many turns of the loop. */
static void test_a_fast_peer_gets_one_read_a_turn(void **state)
{
    struct fixture *fixture = *state;
    static uint8_t bytes[4 * TG_NET_READ_SIZE + 1];
    size_t sent = 0;
    int turns = 0;

    open_pair(fixture);
    while (sent < sizeof bytes) {
        ssize_t n = send(fixture->peer, bytes + sent, sizeof bytes - sent, MSG_DONTWAIT);
        assert_true(n > 0); /* all of it fits into the sockets' buffers */
        sent += (size_t)n;
    }
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    while (fixture->received.len < sizeof bytes) {
        int reads = fixture->reads;
        assert_true(++turns < 10000);
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        assert_in_range(fixture->reads - reads, 0, 1);
    }
    assert_true(turns > 4);
}

/* The kernel ends a read before an urgent byte, whatever is behind it. */
static void test_bytes_behind_an_urgent_one_are_read(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    assert_int_equal(send(fixture->peer, "before", 6, 0), 6);
    assert_int_equal(send(fixture->peer, "!", 1, MSG_OOB), 1);
    assert_int_equal(send(fixture->peer, "behind", 6, 0), 6);
    RUN_UNTIL(fixture, fixture->received.len == 12);
    assert_memory_equal(tg_buffer_head(&fixture->received), "beforebehind", 12);
}

static void test_reset_by_peer(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    fixture->close_in_end = true;
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    reset_peer(fixture);
    RUN_UNTIL(fixture, fixture->closeds == 1);
    assert_int_equal(fixture->ends, 1);
    assert_int_equal(fixture->end_err, TG_ERR_SYS);
    assert_string_equal(fixture->end_why, "connection reset by peer");
}

static void test_close_in_read(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    fixture->close_in_read = true;
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    assert_int_equal(send(fixture->peer, "hello", 5, 0), 5);
    close(fixture->peer);
    fixture->peer = -1;
    RUN_UNTIL(fixture, fixture->closeds == 1);
    assert_int_equal(fixture->ends, 0);
}

static void test_write_at_once(void **state)
{
    struct fixture *fixture = *state;
    char got[5];

    open_pair(fixture);
    assert_int_equal(write_bytes(fixture, 0), TG_ERR_OK);
    assert_int_equal(write_bytes(fixture, 5), TG_ERR_OK);
    assert_false(tg_stream_is_writing(fixture->stream));
    assert_int_equal(tg_stream_unwritten(fixture->stream), 0);
    assert_int_equal(recv(fixture->peer, got, sizeof got, MSG_WAITALL), 5);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_int_equal(fixture->writtens, 0);
}

/* More than the kernel takes: the rest waits in the stream, then FIN follows. */
static void test_write_big_and_shutdown(void **state)
{
    struct fixture *fixture = *state;
    size_t len = 16u << 20;
    size_t got = 0;
    static uint8_t chunk[65536];

    open_pair(fixture);
    assert_int_equal(write_bytes(fixture, len), TG_ERR_OK);
    assert_true(tg_stream_is_writing(fixture->stream));
    assert_in_range(tg_stream_unwritten(fixture->stream), 1, len);
    tg_stream_shutdown(fixture->stream);
    tg_stream_shutdown(fixture->stream);
    for (;;) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        ssize_t n = recv(fixture->peer, chunk, sizeof chunk, MSG_DONTWAIT);
        if (n == 0)
            break;
        for (ssize_t i = 0; i < n; i++, got++) {
            if (chunk[i] != (uint8_t)(got * 7 + got / 256))
                fail_msg("byte %zu differs", got);
        }
    }
    assert_int_equal(got, len);
    assert_int_equal(fixture->writtens, 1);
    assert_int_equal(tg_stream_unwritten(fixture->stream), 0);
    assert_int_equal(fixture->ends, 0);
    assert_int_equal(write_bytes(fixture, 1), TG_ERR_CLOSED);
}

/* Reading is off, so only the write can tell; and it must not do so from inside of the call. */
static void test_failed_write_ends(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    reset_peer(fixture);
    assert_int_equal(write_bytes(fixture, 10), TG_ERR_OK);
    RUN_UNTIL(fixture, fixture->ends == 1);
    assert_int_equal(fixture->end_err, TG_ERR_SYS);
    assert_int_equal(fixture->writtens, 0);
    assert_false(tg_stream_is_writing(fixture->stream));
    for (int i = 0; i < 20; i++)
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_int_equal(fixture->ends, 1);
}

/* The peer may have the first half of it: nothing that came after could be understood. */
static void test_a_write_cut_for_want_of_memory_ends(void **state)
{
    struct fixture *fixture = *state;
    struct tg_buffer bytes = TG_BUFFER_INIT;
    const size_t len = 16u << 20;

    open_pair(fixture);
    memset(tg_buffer_reserve(&bytes, len), 'x', len);
    tg_buffer_commit(&bytes, len);
    (void)tg_memory_fail_after(0, 0);
    fixture->in_call = true;
    assert_int_equal(tg_stream_write(fixture->stream, &bytes), TG_ERR_NOMEM);
    fixture->in_call = false;
    (void)tg_memory_fail_after(-1, 0);
    tg_buffer_fini(&bytes);
    RUN_UNTIL(fixture, fixture->ends == 1);
    assert_int_equal(fixture->end_err, TG_ERR_SYS);
    assert_string_equal(fixture->end_why, "not enough memory");
    assert_false(tg_stream_is_writing(fixture->stream));
}

static void test_failed_pending_write_ends(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    assert_int_equal(write_bytes(fixture, 16u << 20), TG_ERR_OK);
    assert_true(tg_stream_is_writing(fixture->stream));
    reset_peer(fixture);
    RUN_UNTIL(fixture, fixture->ends == 1);
    assert_int_equal(fixture->writtens, 0);
}

/* That nobody takes our bytes any more does not undo what the peer said before it went. */
static void test_a_failed_write_waits_for_what_the_peer_said_before(void **state)
{
    struct fixture *fixture = *state;
    static uint8_t bytes[20000]; /* which the kernel takes at once */

    open_pair(fixture);
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    assert_int_equal(write_bytes(fixture, 16u << 20), TG_ERR_OK);
    assert_true(tg_stream_is_writing(fixture->stream));
    assert_int_equal(send(fixture->peer, bytes, sizeof bytes, MSG_DONTWAIT), sizeof bytes);
    reset_peer(fixture);
    RUN_UNTIL(fixture, fixture->ends == 1);
    assert_int_equal(fixture->received.len, sizeof bytes);
    assert_int_equal(fixture->end_err, TG_ERR_SYS);
    assert_false(tg_stream_is_writing(fixture->stream));
}

static void test_a_write_that_fails_at_once_waits_for_it_as_well(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    assert_int_equal(send(fixture->peer, "good-bye", 8, 0), 8);
    reset_peer(fixture);
    assert_int_equal(write_bytes(fixture, 10), TG_ERR_OK);
    RUN_UNTIL(fixture, fixture->ends == 1);
    assert_int_equal(fixture->received.len, 8);
    assert_int_equal(fixture->end_err, TG_ERR_SYS);
    assert_string_equal(fixture->end_why, "connection reset by peer");
}

/* It has ended its side before, so that reading cannot tell. */
static void test_what_is_written_after_the_end_may_be_lost(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    shutdown(fixture->peer, SHUT_WR);
    RUN_UNTIL(fixture, fixture->ends == 1);
    assert_int_equal(fixture->end_err, TG_ERR_OK);
    assert_int_equal(write_bytes(fixture, 16u << 20), TG_ERR_OK);
    assert_true(tg_stream_is_writing(fixture->stream));
    reset_peer(fixture);
    RUN_UNTIL(fixture, fixture->ends == 2);
    assert_int_equal(fixture->end_err, TG_ERR_SYS);
    assert_false(tg_stream_is_writing(fixture->stream));
}

static void test_close_while_writing(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    assert_int_equal(write_bytes(fixture, 16u << 20), TG_ERR_OK);
    tg_stream_close(fixture->stream);
    assert_int_equal(write_bytes(fixture, 1), TG_ERR_CLOSED);
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_CLOSED);
    RUN_UNTIL(fixture, fixture->closeds == 1);
    assert_int_equal(fixture->ends + fixture->writtens, 0);
}

static void open_pair_with_small_window(struct fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fixture->port)};
    int small = 4096;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fixture->peer = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_not_equal(fixture->peer, -1);
    setsockopt(fixture->peer, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(connect(fixture->peer, (struct sockaddr *)&address, sizeof address), 0);
    RUN_UNTIL(fixture, fixture->stream != NULL);
}

static void test_the_kernel_holds_little_for_a_peer_that_reads_nothing(void **state)
{
    struct fixture *fixture = *state;
    const size_t piece = 65536;
    size_t taken = 0;

    open_pair_with_small_window(fixture);
    while (!tg_stream_is_writing(fixture->stream)) {
        assert_true(taken < 1024 * 1024);
        assert_int_equal(write_bytes(fixture, piece), TG_ERR_OK);
        taken += piece;
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
    /* And no second bite: a kernel without a bound lets its buffer grow with every round trip. */
    for (int i = 0; i < 1000; i++)
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_true(tg_stream_is_writing(fixture->stream));
}

static void test_closing_with_bytes_unsent_resets(void **state)
{
    struct fixture *fixture = *state;
    char got[65536];
    ssize_t n;

    open_pair_with_small_window(fixture);
    assert_int_equal(write_bytes(fixture, 4 * 1024 * 1024), TG_ERR_OK);
    assert_true(tg_stream_is_writing(fixture->stream));
    tg_stream_close(fixture->stream);
    RUN_UNTIL(fixture, fixture->closeds == 1);
    while ((n = recv(fixture->peer, got, sizeof got, 0)) > 0) {
    }
    assert_int_equal(n, -1);
    assert_int_equal(errno, ECONNRESET);
}

static void test_unbound_stream_closes(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    int second = dial(fixture);
    RUN_UNTIL(fixture, fixture->accepted == 2);
    char byte;
    RUN_UNTIL(fixture, recv(second, &byte, 1, MSG_DONTWAIT) == 0);
    close(second);
}

static void test_peer_address(void **state)
{
    struct fixture *fixture = *state;
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    char want[TG_ADDRESS_SIZE];
    char got[TG_ADDRESS_SIZE];

    open_pair(fixture);
    assert_int_equal(getsockname(fixture->peer, (struct sockaddr *)&address, &len), 0);
    snprintf(want, sizeof want, "127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    tg_stream_peer_address(fixture->stream, got);
    assert_string_equal(got, want);
}

struct dialling {
    struct tg_stream *stream;
    int connecteds, closeds;
    enum tg_err err;
};

static void on_connected(void *ctx, enum tg_err err, const char *why)
{
    struct dialling *dialling = ctx;

    assert_non_null(why);
    dialling->connecteds++;
    dialling->err = err;
}

static void on_dialled_end(void *ctx, enum tg_err err, const char *why)
{
    (void)ctx;
    (void)err;
    (void)why;
    fail_msg("on_end after close");
}

static void on_dialled_closed(void *ctx)
{
    ((struct dialling *)ctx)->closeds++;
}

static const struct tg_stream_callbacks dialled = {
    .on_read = NULL, .on_end = on_dialled_end, .on_closed = on_dialled_closed};

static void test_connect(void **state)
{
    struct fixture *fixture = *state;
    struct dialling dialling = {.stream = NULL};
    struct tg_buffer bytes = TG_BUFFER_INIT;
    char address[TG_ADDRESS_SIZE];
    char want[TG_ADDRESS_SIZE];

    assert_int_equal(tg_stream_connect(&dialling.stream, fixture->net, "127.0.0.1", fixture->port,
                                       on_connected, &dialling, NULL),
                     TG_ERR_OK);
    tg_stream_bind(dialling.stream, &dialled, &dialling);
    assert_int_equal(dialling.connecteds, 0);
    RUN_UNTIL(fixture, dialling.connecteds == 1 && fixture->stream != NULL);
    assert_int_equal(dialling.err, TG_ERR_OK);
    tg_stream_peer_address(dialling.stream, address);
    snprintf(want, sizeof want, "127.0.0.1:%u", (unsigned)fixture->port);
    assert_string_equal(address, want);
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    assert_int_equal(tg_buffer_append_str(&bytes, "hi"), TG_ERR_OK);
    assert_int_equal(tg_stream_write(dialling.stream, &bytes), TG_ERR_OK);
    assert_int_equal(bytes.len, 0);
    tg_buffer_fini(&bytes);
    RUN_UNTIL(fixture, fixture->received.len == 2);
    tg_stream_close(dialling.stream);
    RUN_UNTIL(fixture, dialling.closeds == 1 && fixture->ends == 1);
    assert_int_equal(fixture->end_err, TG_ERR_OK);
}

static void test_connect_refused(void **state)
{
    struct fixture *fixture = *state;
    struct dialling dialling = {.stream = NULL};
    char bound[TG_ADDRESS_SIZE];
    int fd;

    /* A port that was free a moment ago. */
    assert_int_equal(tg_listener_bind("127.0.0.1:0", false, &fd, bound, NULL), TG_ERR_OK);
    close(fd);
    uint16_t port = (uint16_t)strtoul(strrchr(bound, ':') + 1, NULL, 10);
    assert_int_equal(tg_stream_connect(&dialling.stream, fixture->net, "127.0.0.1", port,
                                       on_connected, &dialling, NULL),
                     TG_ERR_OK);
    tg_stream_bind(dialling.stream, &dialled, &dialling);
    RUN_UNTIL(fixture, dialling.connecteds == 1);
    assert_int_equal(dialling.err, TG_ERR_SYS);
    tg_stream_close(dialling.stream);
    RUN_UNTIL(fixture, dialling.closeds == 1);
}

static void test_connect_errors(void **state)
{
    struct fixture *fixture = *state;
    struct dialling dialling = {.stream = NULL};
    struct tg_error error;

    assert_int_equal(tg_stream_connect(&dialling.stream, fixture->net, "localhost", 1, on_connected,
                                       &dialling, &error),
                     TG_ERR_INVALID);
    assert_string_equal(error.text, "\"localhost\" is not an IP address");
    for (long allowed = 0; allowed < 2; allowed++) {
        tg_memory_fail_after(allowed, 0);
        assert_int_equal(tg_stream_connect(&dialling.stream, fixture->net, "127.0.0.1", 1,
                                           on_connected, &dialling, &error),
                         TG_ERR_NOMEM);
        tg_memory_fail_after(-1, 0);
    }
    /* Closed while connecting: on_connected does not come any more. */
    assert_int_equal(tg_stream_connect(&dialling.stream, fixture->net, "127.0.0.1", fixture->port,
                                       on_connected, &dialling, &error),
                     TG_ERR_OK);
    tg_stream_bind(dialling.stream, &dialled, &dialling);
    tg_stream_close(dialling.stream);
    RUN_UNTIL(fixture, dialling.closeds == 1);
    assert_int_equal(dialling.connecteds, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_read_and_end),
        TEST(test_stop_reading),
        TEST(test_bytes_behind_an_urgent_one_are_read),
        TEST(test_reset_by_peer),
        TEST(test_close_in_read),
        TEST(test_write_at_once),
        TEST(test_write_big_and_shutdown),
        TEST(test_failed_write_ends),
        TEST(test_a_failed_write_waits_for_what_the_peer_said_before),
        TEST(test_a_write_that_fails_at_once_waits_for_it_as_well),
        TEST(test_what_is_written_after_the_end_may_be_lost),
        TEST(test_a_write_cut_for_want_of_memory_ends),
        TEST(test_failed_pending_write_ends),
        TEST(test_close_while_writing),
        TEST(test_unbound_stream_closes),
        TEST(test_a_fast_peer_gets_one_read_a_turn),
        TEST(test_the_kernel_holds_little_for_a_peer_that_reads_nothing),
        TEST(test_closing_with_bytes_unsent_resets),
        TEST(test_peer_address),
        TEST(test_connect),
        TEST(test_connect_refused),
        TEST(test_connect_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
