/* poller_test.c - many streams on one loop: news of several at once, news that come while nobody wants them, and
 * the end of streams when the loop has no more turns. The other ends are plain sockets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "net/net_internal.h"

#define ENDS 3

struct end {
    struct fixture *fixture;
    struct tg_stream *stream; /* NULL once closed */
    int peer;
    size_t received;
    int reads, ends, writtens, closeds;
};

struct fixture {
    uv_loop_t loop;
    struct tg_net *net;
    struct end ends[ENDS];
    bool first_closes_others;
    bool destroyed;
};

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct end *end = ctx;

    assert_int_equal(end->closeds, 0);
    (void)data;
    end->received += len;
    end->reads++;
    if (!end->fixture->first_closes_others)
        return;
    end->fixture->first_closes_others = false;
    for (size_t i = 0; i < ENDS; i++)
        if (&end->fixture->ends[i] != end)
            tg_stream_close(end->fixture->ends[i].stream);
}

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    struct end *end = ctx;

    (void)err;
    (void)why;
    end->ends++;
}

static void on_written(void *ctx)
{
    ((struct end *)ctx)->writtens++;
}

static void on_closed(void *ctx)
{
    struct end *end = ctx;

    end->closeds++;
    end->stream = NULL;
}

static const struct tg_stream_callbacks callbacks = {on_read, on_end, on_written, on_closed};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    if (fixture == NULL || uv_loop_init(&fixture->loop) != 0 ||
        tg_net_create(&fixture->net, &fixture->loop) != TG_ERR_OK)
        return -1;
    for (size_t i = 0; i < ENDS; i++) {
        struct end *end = &fixture->ends[i];
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0 ||
            tg__stream_adopt(&end->stream, fixture->net, pair[0]) != TG_ERR_OK)
            return -1;
        end->fixture = fixture;
        end->peer = pair[1];
        tg_stream_bind(end->stream, &callbacks, end);
    }
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ENDS; i++) {
        if (fixture->ends[i].stream != NULL)
            tg_stream_close(fixture->ends[i].stream);
        close(fixture->ends[i].peer);
    }
    if (!fixture->destroyed)
        tg_net_destroy(fixture->net);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&fixture->loop);
    free(fixture);
    return status;
}

static void turn(struct fixture *fixture)
{
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

static void read_all(struct fixture *fixture)
{
    for (size_t i = 0; i < ENDS; i++)
        assert_int_equal(tg_stream_read_start(fixture->ends[i].stream), TG_ERR_OK);
}

static void say(const struct end *end)
{
    assert_int_equal(send(end->peer, "hello", 5, MSG_NOSIGNAL), 5);
}

/* All of them are in one batch of events, and two of them are closed before their turn in it. */
static void a_stream_that_another_closes_hears_no_news_of_before(void **state)
{
    struct fixture *fixture = *state;
    int reads = 0, closeds = 0;

    read_all(fixture);
    fixture->first_closes_others = true;
    for (size_t i = 0; i < ENDS; i++)
        say(&fixture->ends[i]);
    turn(fixture);
    turn(fixture);
    for (size_t i = 0; i < ENDS; i++) {
        reads += fixture->ends[i].reads;
        closeds += fixture->ends[i].closeds;
    }
    assert_int_equal(reads, 1);
    assert_int_equal(closeds, ENDS - 1);
}

/* The kernel tells of them once; it is the stream that remembers. */
static void bytes_and_the_end_that_came_while_nobody_read_are_there_later(void **state)
{
    struct fixture *fixture = *state;
    struct end *end = &fixture->ends[0];

    read_all(fixture);
    tg_stream_read_stop(end->stream);
    say(end);
    turn(fixture);
    say(end);
    assert_int_equal(shutdown(end->peer, SHUT_WR), 0);
    turn(fixture);
    turn(fixture);
    assert_int_equal(end->reads + end->ends, 0);
    assert_int_equal(tg_stream_read_start(end->stream), TG_ERR_OK);
    assert_int_equal(end->reads, 0); /* from the loop, never from inside */
    for (int i = 0; i < 4; i++)
        turn(fixture);
    assert_int_equal(end->received, 10);
    assert_int_equal(end->ends, 1);
}

/* A Unix socket tells by other rules than TCP when there is room again. */
static void what_a_full_unix_socket_did_not_take_goes_out_when_it_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct end *end = &fixture->ends[0];
    struct tg_buffer bytes = TG_BUFFER_INIT;
    const size_t len = 8u << 20;
    static uint8_t chunk[65536];
    size_t got = 0;

    memset(tg_buffer_reserve(&bytes, len), 'x', len);
    tg_buffer_commit(&bytes, len);
    assert_int_equal(tg_stream_write(end->stream, &bytes), TG_ERR_OK);
    assert_true(tg_stream_is_writing(end->stream));
    for (int turns = 0; got < len; turns++) {
        assert_true(turns < 100000);
        ssize_t n = recv(end->peer, chunk, sizeof chunk, 0);
        got += n > 0 ? (size_t)n : 0;
        turn(fixture);
    }
    assert_int_equal(got, len);
    assert_int_equal(end->writtens, 1);
}

/* More than one read of it. */
static void a_failed_write_waits_for_all_that_the_peer_said_before(void **state)
{
    struct fixture *fixture = *state;
    struct end *end = &fixture->ends[0];
    struct tg_buffer bytes = TG_BUFFER_INIT;
    const size_t len = 8u << 20;
    static uint8_t said[TG_NET_READ_SIZE + 4096];

    read_all(fixture);
    memset(tg_buffer_reserve(&bytes, len), 'x', len);
    tg_buffer_commit(&bytes, len);
    assert_int_equal(tg_stream_write(end->stream, &bytes), TG_ERR_OK);
    assert_true(tg_stream_is_writing(end->stream));
    assert_int_equal(send(end->peer, said, sizeof said, MSG_NOSIGNAL), sizeof said);
    close(end->peer);
    end->peer = -1;
    for (int i = 0; i < 6; i++)
        turn(fixture);
    assert_int_equal(end->received, sizeof said);
    assert_int_equal(end->ends, 1);
    assert_int_equal(end->writtens, 0);
    assert_false(tg_stream_is_writing(end->stream));
}

/* It would wake the loop once more for each message. */
static void a_peer_that_reads_what_was_written_is_no_news(void **state)
{
    struct fixture *fixture = *state;
    struct end *end = &fixture->ends[0];
    struct tg_buffer bytes = TG_BUFFER_INIT;
    struct epoll_event event;
    char got[5];

    read_all(fixture);
    assert_int_equal(tg_buffer_append(&bytes, "hello", 5), TG_ERR_OK);
    assert_int_equal(tg_stream_write(end->stream, &bytes), TG_ERR_OK);
    assert_int_equal(recv(end->peer, got, sizeof got, 0), 5);
    assert_int_equal(epoll_wait(fixture->net->epoll_fd, &event, 1, 0), 0);
    tg_buffer_fini(&bytes);
}

static void closed_streams_go_without_a_turn_of_the_loop_and_others_stay(void **state)
{
    struct fixture *fixture = *state;

    read_all(fixture);
    tg_stream_close(fixture->ends[0].stream);
    tg_stream_close(fixture->ends[2].stream);
    assert_int_equal(fixture->ends[0].closeds, 0);
    tg_net_settle(fixture->net);
    assert_int_equal(fixture->ends[0].closeds, 1);
    assert_int_equal(fixture->ends[1].closeds, 0);
    assert_int_equal(fixture->ends[2].closeds, 1);
    say(&fixture->ends[1]);
    turn(fixture);
    assert_int_equal(fixture->ends[1].received, 5);
}

/* As when there are no more watches; epoll takes no files. */
static void a_descriptor_that_cannot_be_watched_is_let_go(void **state)
{
    struct fixture *fixture = *state;
    struct tg_stream *stream;
    int fd = memfd_create("file", MFD_CLOEXEC);

    assert_int_not_equal(fd, -1);
    assert_int_equal(tg__stream_adopt(&stream, fixture->net, fd), TG_ERR_SYS);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    turn(fixture);
    assert_int_equal(fixture->net->streams, ENDS);
}

/* Whoever has the loop runs it until it has nothing more to do. */
static void the_loop_lives_as_long_as_streams_and_the_net_goes_after_the_last(void **state)
{
    struct fixture *fixture = *state;

    turn(fixture);
    assert_true(uv_loop_alive(&fixture->loop));
    tg_net_destroy(fixture->net);
    fixture->destroyed = true;
    say(&fixture->ends[0]);
    assert_int_equal(tg_stream_read_start(fixture->ends[0].stream), TG_ERR_OK);
    turn(fixture);
    assert_int_equal(fixture->ends[0].received, 5);
    for (size_t i = 0; i < ENDS; i++)
        tg_stream_close(fixture->ends[i].stream);
    assert_int_equal(uv_run(&fixture->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(fixture->ends[0].closeds, 1);
}

/* --- a net that leads --------------------------------------------------------------------------------- */

/* A timer of the loop speaks to a stream; what the stream reads makes the loop watch a pipe, from inside the turn;
 * the pipe ends it all. */
struct led {
    struct fixture fixture;
    uv_timer_t timer;
    uv_poll_t pipe;
    int pipe_fds[2];
    int waits;
    int again; /* this often before_wait has something left to do */
};

static void on_pipe(uv_poll_t *pipe, int status, int events)
{
    struct led *led = pipe->data;

    assert_int_equal(status, 0);
    assert_int_equal(events, UV_READABLE);
    uv_close((uv_handle_t *)&led->pipe, NULL);
    uv_close((uv_handle_t *)&led->timer, NULL);
    tg_stream_close(led->fixture.ends[0].stream);
}

static void on_led_read(void *ctx, uint8_t *data, size_t len)
{
    struct led *led = ctx;

    (void)data;
    led->fixture.ends[0].received += len;
    assert_int_equal(write(led->pipe_fds[1], "x", 1), 1);
    assert_int_equal(uv_poll_start(&led->pipe, UV_READABLE, on_pipe), 0);
}

static void on_led_end(void *ctx, enum tg_err err, const char *why)
{
    (void)ctx;
    (void)err;
    (void)why;
}

static void on_led_closed(void *ctx)
{
    ((struct led *)ctx)->fixture.ends[0].closeds++;
}

static void on_timer(uv_timer_t *timer)
{
    struct led *led = timer->data;

    say(&led->fixture.ends[0]);
}

static bool before_wait(void *ctx)
{
    struct led *led = ctx;

    led->waits++;
    if (--led->again == 0)
        (void)uv_timer_start(&led->timer, on_timer, 5, 60000);
    return led->again > 0;
}

static void a_net_that_leads_serves_its_streams_and_all_that_the_loop_has(void **state)
{
    static const struct tg_stream_callbacks led_callbacks = {on_led_read, on_led_end, NULL,
                                                             on_led_closed};
    struct led led = {.again = 100};
    struct fixture *fixture = &led.fixture;
    struct end *end = &fixture->ends[0];
    int pair[2];

    (void)state;
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    assert_int_equal(tg_net_create_leading(&fixture->net, &fixture->loop), TG_ERR_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(tg__stream_adopt(&end->stream, fixture->net, pair[0]), TG_ERR_OK);
    end->peer = pair[1];
    tg_stream_bind(end->stream, &led_callbacks, &led);
    assert_int_equal(tg_stream_read_start(end->stream), TG_ERR_OK);
    assert_int_equal(pipe(led.pipe_fds), 0);
    assert_int_equal(uv_poll_init(&fixture->loop, &led.pipe, led.pipe_fds[0]), 0);
    led.pipe.data = &led;
    (void)uv_timer_init(&fixture->loop, &led.timer);
    led.timer.data = &led;
    (void)uv_timer_start(&led.timer, on_timer, 60000, 60000); /* the loop has to have something */
    tg_net_run(fixture->net, before_wait, &led);
    assert_int_equal(end->received, 5);
    assert_int_equal(end->closeds, 1);
    assert_in_range(led.waits, 101, 150); /* it slept when it could */
    tg_net_destroy(fixture->net);
    assert_int_equal(uv_run(&fixture->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    close(pair[1]);
    close(led.pipe_fds[0]);
    close(led.pipe_fds[1]);
}

/* --- how long it sleeps ------------------------------------------------------------------------------- */

#define BUSY_MS 600 /* that a reader computes */
#define DUE_MS 700  /* since the start */

struct sleeper {
    uv_loop_t loop;
    struct tg_net *net;
    struct tg_stream *stream;
    uv_timer_t timer;
    int peer;
    int waits;
    uint64_t began_ns;
    uint64_t fired_ms;
};

static uint64_t ms_since_start(const struct sleeper *sleeper)
{
    return (uv_hrtime() - sleeper->began_ns) / 1000000;
}

static void on_busy_read(void *ctx, uint8_t *data, size_t len)
{
    struct sleeper *sleeper = ctx;

    (void)data;
    (void)len;
    while (ms_since_start(sleeper) < BUSY_MS) {
    }
}

static void on_due(uv_timer_t *timer)
{
    struct sleeper *sleeper = timer->data;

    sleeper->fired_ms = ms_since_start(sleeper);
    uv_close((uv_handle_t *)timer, NULL);
    tg_stream_close(sleeper->stream);
}

/* The loop has its own first turns, which tell it the time, behind it. */
static bool speaks_before_wait(void *ctx)
{
    struct sleeper *sleeper = ctx;

    if (++sleeper->waits < 5)
        return true;
    if (sleeper->waits == 5)
        assert_int_equal(send(sleeper->peer, "x", 1, MSG_NOSIGNAL), 1);
    return false;
}

static void on_sleeper_closed(void *ctx)
{
    (void)ctx;
}

/* What a callback took of the time is not slept once more. */
static void a_net_that_leads_is_on_time_after_a_reader_that_took_long(void **state)
{
    static const struct tg_stream_callbacks busy = {on_busy_read, on_led_end, NULL,
                                                    on_sleeper_closed};
    struct sleeper sleeper = {.fired_ms = 0};
    int pair[2];

    (void)state;
    assert_int_equal(uv_loop_init(&sleeper.loop), 0);
    assert_int_equal(tg_net_create_leading(&sleeper.net, &sleeper.loop), TG_ERR_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(tg__stream_adopt(&sleeper.stream, sleeper.net, pair[0]), TG_ERR_OK);
    tg_stream_bind(sleeper.stream, &busy, &sleeper);
    assert_int_equal(tg_stream_read_start(sleeper.stream), TG_ERR_OK);
    sleeper.peer = pair[1];
    (void)uv_timer_init(&sleeper.loop, &sleeper.timer);
    sleeper.timer.data = &sleeper;
    uv_update_time(&sleeper.loop);
    sleeper.began_ns = uv_hrtime();
    (void)uv_timer_start(&sleeper.timer, on_due, DUE_MS, 0);
    tg_net_run(sleeper.net, speaks_before_wait, &sleeper);
    assert_in_range(sleeper.fired_ms, DUE_MS - 2, DUE_MS + BUSY_MS / 2);
    tg_net_destroy(sleeper.net);
    assert_int_equal(uv_run(&sleeper.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&sleeper.loop), 0);
    close(pair[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_stream_that_another_closes_hears_no_news_of_before),
        TEST(bytes_and_the_end_that_came_while_nobody_read_are_there_later),
        TEST(what_a_full_unix_socket_did_not_take_goes_out_when_it_is_read),
        TEST(a_failed_write_waits_for_all_that_the_peer_said_before),
        TEST(a_peer_that_reads_what_was_written_is_no_news),
        TEST(closed_streams_go_without_a_turn_of_the_loop_and_others_stay),
        TEST(a_descriptor_that_cannot_be_watched_is_let_go),
        TEST(the_loop_lives_as_long_as_streams_and_the_net_goes_after_the_last),
        cmocka_unit_test(a_net_that_leads_serves_its_streams_and_all_that_the_loop_has),
        cmocka_unit_test(a_net_that_leads_is_on_time_after_a_reader_that_took_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
