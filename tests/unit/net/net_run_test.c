/* net_run_test.c - a net that leads: its streams and all that the loop has are served, and it sleeps no longer than
 * it may. The other end is a plain socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "net/net_internal.h"

struct led {
    uv_loop_t loop;
    struct tg_net *net;
    struct tg_stream *stream;
    int peer;
    uv_timer_t timer;
    size_t received;
    int closeds, waits;
    /* of one test each: */
    uv_poll_t pipe;
    int pipe_fds[2];
    int again; /* this often before_wait has something left to do */
    uint64_t began_ns;
    uint64_t fired_ms;
};

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    (void)ctx;
    (void)err;
    (void)why;
}

static void on_closed(void *ctx)
{
    ((struct led *)ctx)->closeds++;
}

static void open_led(struct led *led, const struct tg_stream_callbacks *callbacks)
{
    int pair[2];

    assert_int_equal(uv_loop_init(&led->loop), 0);
    assert_int_equal(tg_net_create_leading(&led->net, &led->loop), TG_ERR_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(tg__stream_adopt(&led->stream, led->net, pair[0]), TG_ERR_OK);
    led->peer = pair[1];
    tg_stream_bind(led->stream, callbacks, led);
    assert_int_equal(tg_stream_read_start(led->stream), TG_ERR_OK);
    (void)uv_timer_init(&led->loop, &led->timer);
    led->timer.data = led;
}

static void close_led(struct led *led)
{
    tg_net_destroy(led->net);
    assert_int_equal(uv_run(&led->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&led->loop), 0);
    close(led->peer);
}

/* --- a timer of the loop speaks to the stream; what it reads makes the loop watch a pipe, which ends it all --- */

static void on_pipe(uv_poll_t *pipe, int status, int events)
{
    struct led *led = pipe->data;

    assert_int_equal(status, 0);
    assert_int_equal(events, UV_READABLE);
    uv_close((uv_handle_t *)&led->pipe, NULL);
    uv_close((uv_handle_t *)&led->timer, NULL);
    tg_stream_close(led->stream);
}

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct led *led = ctx;

    (void)data;
    led->received += len;
    assert_int_equal(write(led->pipe_fds[1], "x", 1), 1);
    assert_int_equal(uv_poll_start(&led->pipe, UV_READABLE, on_pipe), 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct led *led = timer->data;

    assert_int_equal(send(led->peer, "hello", 5, MSG_NOSIGNAL), 5);
}

static bool before_wait(void *ctx)
{
    struct led *led = ctx;

    led->waits++;
    if (--led->again == 0)
        (void)uv_timer_start(&led->timer, on_timer, 5, 60000);
    return led->again > 0;
}

static void streams_and_all_that_the_loop_has_are_served(void **state)
{
    static const struct tg_stream_callbacks callbacks = {on_read, on_end, NULL, on_closed};
    struct led led = {.again = 100};

    (void)state;
    open_led(&led, &callbacks);
    assert_int_equal(pipe(led.pipe_fds), 0);
    assert_int_equal(uv_poll_init(&led.loop, &led.pipe, led.pipe_fds[0]), 0);
    led.pipe.data = &led;
    (void)uv_timer_start(&led.timer, on_timer, 60000, 60000); /* the loop has to have something */
    tg_net_run(led.net, before_wait, &led);
    assert_int_equal(led.received, 5);
    assert_int_equal(led.closeds, 1);
    assert_in_range(led.waits, 101, 150); /* it slept when it could */
    close_led(&led);
    close(led.pipe_fds[0]);
    close(led.pipe_fds[1]);
}

/* --- how long it sleeps ------------------------------------------------------------------------------- */

#define BUSY_MS 600 /* that a reader computes */
#define DUE_MS 700  /* since the start */

static uint64_t ms_since_start(const struct led *led)
{
    return (uv_hrtime() - led->began_ns) / 1000000;
}

static void on_busy_read(void *ctx, uint8_t *data, size_t len)
{
    (void)data;
    (void)len;
    while (ms_since_start(ctx) < BUSY_MS) {
    }
}

static void on_due(uv_timer_t *timer)
{
    struct led *led = timer->data;

    led->fired_ms = ms_since_start(led);
    uv_close((uv_handle_t *)timer, NULL);
    tg_stream_close(led->stream);
}

/* The loop has its own first turns, which tell it the time, behind it. */
static bool speaks_before_wait(void *ctx)
{
    struct led *led = ctx;

    if (++led->waits < 5)
        return true;
    if (led->waits == 5)
        assert_int_equal(send(led->peer, "x", 1, MSG_NOSIGNAL), 1);
    return false;
}

static void a_timer_is_on_time_after_a_reader_that_took_long(void **state)
{
    static const struct tg_stream_callbacks callbacks = {on_busy_read, on_end, NULL, on_closed};
    struct led led = {.fired_ms = 0};

    (void)state;
    open_led(&led, &callbacks);
    uv_update_time(&led.loop);
    led.began_ns = uv_hrtime();
    (void)uv_timer_start(&led.timer, on_due, DUE_MS, 0);
    tg_net_run(led.net, speaks_before_wait, &led);
    assert_in_range(led.fired_ms, DUE_MS - 2, DUE_MS + BUSY_MS / 2);
    close_led(&led);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_and_all_that_the_loop_has_are_served),
        cmocka_unit_test(a_timer_is_on_time_after_a_reader_that_took_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
