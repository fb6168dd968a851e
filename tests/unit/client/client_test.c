/* client_test.c - one connection against a server of raw bytes: how long it may take, what holds it back, and
 * that nothing is left of it however it ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "client/client.h"
#include "support/outgoing.h"

struct fixture {
    struct outgoing out;
    struct tg_client *client;
    int opens, messages, writes, ends;
    bool destroys, pauses; /* in on_message */
    enum tg_fetch_outcome outcome;
    int code;
    char why[256];
};

static void on_open(void *ctx)
{
    ((struct fixture *)ctx)->opens++;
}

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
    struct fixture *fixture = ctx;

    (void)text;
    (void)data;
    (void)len;
    fixture->messages++;
    if (fixture->pauses)
        tg_client_pause(fixture->client);
    if (fixture->destroys) {
        tg_client_destroy(fixture->client);
        fixture->client = NULL;
    }
}

static void on_written(void *ctx)
{
    ((struct fixture *)ctx)->writes++;
}

static void on_end(void *ctx, const struct tg_client_end *end)
{
    struct fixture *fixture = ctx;

    fixture->ends++;
    fixture->outcome = end->outcome;
    fixture->code = end->code;
    (void)snprintf(fixture->why, sizeof fixture->why, "%s", end->reason);
}

static struct fixture *create_fixture(void)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    if (fixture == NULL)
        abort();
    outgoing_open(&fixture->out);
    return fixture;
}

static int setup(void **state)
{
    *state = create_fixture();
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    tg_client_destroy(fixture->client);
    outgoing_close(&fixture->out);
    free(fixture);
    return 0;
}

static const struct tg_client_callbacks callbacks = {on_open, on_message, on_written, on_end};

/* To the upstream, whatever `url` says of the port: "%u" in it. */
static void start(struct fixture *fixture, const char *host, struct tg_client_options *options)
{
    struct tg_ws_url url;
    struct tg_error error;
    char text[128];

    (void)snprintf(text, sizeof text, "ws://%s:%u/x", host, (unsigned)fixture->out.up.port);
    assert_int_equal(tg_ws_url_parse(text, &url, &error), TG_ERR_OK);
    options->url = &url;
    options->headers = "";
    assert_int_equal(tg_client_create(&fixture->client, fixture->out.net, fixture->out.timers,
                                      options, &callbacks, fixture),
                     TG_ERR_OK);
    assert_int_equal(fixture->ends, 0);
}

static void open_client(struct fixture *fixture, struct tg_client_options *options)
{
    start(fixture, "127.0.0.1", options);
    OUTGOING_UNTIL(&fixture->out, fixture->opens > 0 || fixture->ends > 0);
    assert_int_equal(fixture->opens, 1);
}

static void run_to_the_end(struct fixture *fixture)
{
    OUTGOING_UNTIL(&fixture->out, fixture->ends > 0);
    assert_int_equal(fixture->ends, 1);
}

static void nobody_listens(void **state)
{
    struct fixture *fixture = *state;
    struct tg_client_options options = {.connect_timeout_ms = 20000};

    upstream_close(&fixture->out.up);
    (void)uv_run(&fixture->out.loop, UV_RUN_NOWAIT);
    start(fixture, "127.0.0.1", &options);
    run_to_the_end(fixture);
    assert_int_equal(fixture->outcome, TG_FETCH_REFUSED);
}

static void an_address_that_is_not_public_is_refused_also_behind_a_name(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "127.1", "0x7f000001", "[::1]"};
    struct fixture *fixture = *state;
    struct tg_client_options options = {.public_only = true};

    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        start(fixture, hosts[i], &options);
        run_to_the_end(fixture);
        assert_int_equal(fixture->outcome, TG_FETCH_FORBIDDEN);
        tg_client_destroy(fixture->client);
        fixture->client = NULL;
        fixture->ends = 0;
    }
    assert_int_equal(fixture->out.up.accepted, 0);
}

static void no_answer_to_the_upgrade(void **state)
{
    struct fixture *fixture = *state;
    struct tg_client_options options = {.connect_timeout_ms = 50};

    fixture->out.up.silent = true;
    start(fixture, "127.0.0.1", &options);
    run_to_the_end(fixture);
    assert_int_equal(fixture->outcome, TG_FETCH_TIMEOUT);
    assert_int_equal(fixture->opens, 0);
}

static void silence_ends_it_and_pings_of_ours_are_no_speech(void **state)
{
    struct fixture *fixture = *state;
    struct tg_client_options options = {.idle_timeout_ms = 1000, .ping_interval_ms = 200};

    open_client(fixture, &options);
    while (fixture->ends == 0) {
        outgoing_turn(&fixture->out);
        if (fixture->out.up.frames_len > 0) { /* only pings come */
            assert_int_equal(fixture->out.up.frames[0], 0x89);
            fixture->out.up.frames_len = 0;
            upstream_send(&fixture->out.up, "\x8a\x00", 2);
        }
    }
    assert_int_equal(fixture->outcome, TG_FETCH_TIMEOUT);
    assert_non_null(strstr(fixture->why, "sent nothing"));
}

static void messages_and_pings_of_the_server_are_speech(void **state)
{
    static const char *const frames[] = {"\x81\x01x", "\x89\x01x"};
    struct fixture *fixture = *state;
    struct tg_client_options options = {.idle_timeout_ms = 800};

    open_client(fixture, &options);
    for (int kind = 0; kind < 2; kind++) {
        uint64_t until = uv_now(&fixture->out.loop) + 1200;
        uint64_t next = 0;
        while (uv_now(&fixture->out.loop) < until) {
            if (uv_now(&fixture->out.loop) >= next) {
                upstream_send(&fixture->out.up, frames[kind], 3);
                next = uv_now(&fixture->out.loop) + 50;
            }
            outgoing_turn(&fixture->out);
        }
        assert_int_equal(fixture->ends, 0);
    }
}

static void a_ping_without_an_answer_ends_it(void **state)
{
    struct fixture *fixture = *state;
    struct tg_client_options options = {.idle_timeout_ms = 60000, .ping_interval_ms = 50};

    open_client(fixture, &options);
    run_to_the_end(fixture);
    assert_int_equal(fixture->outcome, TG_FETCH_TIMEOUT);
    assert_non_null(strstr(fixture->why, "ping"));
}

static void what_is_sent_waits_for_a_server_that_does_not_read(void **state)
{
    struct fixture *fixture = *state;
    struct tg_client_options options = {.message_max = 100};
    size_t len = (size_t)32 << 20;
    char *data = calloc(1, len);

    assert_non_null(data);
    fixture->out.up.stalled = true;
    open_client(fixture, &options);
    assert_int_equal(tg_client_send(fixture->client, false, data, len), TG_ERR_OK);
    free(data);
    for (int i = 0; i < 20; i++)
        (void)uv_run(&fixture->out.loop, UV_RUN_NOWAIT);
    assert_int_equal(fixture->writes, 0);
    assert_true(tg_client_unwritten(fixture->client) > 0);
    upstream_read(&fixture->out.up);
    OUTGOING_UNTIL(&fixture->out, fixture->writes > 0 || fixture->ends > 0);
    assert_int_equal(fixture->ends, 0);
    assert_int_equal(tg_client_unwritten(fixture->client), 0);
    OUTGOING_UNTIL(&fixture->out, fixture->out.up.received >= len);
}

static void a_server_that_takes_nothing_is_given_up(void **state)
{
    struct fixture *fixture = *state;
    struct tg_client_options options = {.idle_timeout_ms = 200};
    size_t len = (size_t)32 << 20;
    char *data = calloc(1, len);

    assert_non_null(data);
    fixture->out.up.stalled = true;
    open_client(fixture, &options);
    assert_int_equal(tg_client_send(fixture->client, false, data, len), TG_ERR_OK);
    free(data);
    run_to_the_end(fixture);
    assert_int_equal(fixture->outcome, TG_FETCH_TIMEOUT);
}

static void pause_stops(struct fixture *fixture, uint64_t ping_interval_ms)
{
    struct tg_client_options options = {.idle_timeout_ms = 400,
                                        .ping_interval_ms = ping_interval_ms};

    fixture->pauses = true;
    open_client(fixture, &options);
    upstream_send(&fixture->out.up,
                  "\x81\x01"
                  "a"
                  "\x81\x01"
                  "b",
                  6);
    OUTGOING_UNTIL(&fixture->out, fixture->messages > 0 || fixture->ends > 0);
    outgoing_wait_ms(&fixture->out, 1000);
    assert_int_equal(fixture->messages, 1);
    assert_int_equal(fixture->ends, 0);
    fixture->pauses = false;
    tg_client_resume(fixture->client);
    assert_int_equal(fixture->messages, 1); /* from the loop only */
    OUTGOING_UNTIL(&fixture->out, fixture->messages >= 2 || fixture->ends > 0);
    assert_int_equal(fixture->messages, 2);
    run_to_the_end(fixture);
    assert_int_equal(fixture->outcome, TG_FETCH_TIMEOUT);
}

static void a_pause_stops_messages_and_silence(void **state)
{
    pause_stops(*state, 200);
}

static void a_pause_does_so_without_pings(void **state)
{
    pause_stops(*state, 0);
}

static void the_idle_time_out_can_be_changed(void **state)
{
    struct fixture *fixture = *state;
    struct tg_client_options options = {.idle_timeout_ms = 100};

    open_client(fixture, &options);
    tg_client_set_idle_timeout(fixture->client, 0);
    outgoing_wait_ms(&fixture->out, 300);
    assert_int_equal(fixture->ends, 0);
    tg_client_set_idle_timeout(fixture->client, 50);
    run_to_the_end(fixture);
    assert_int_equal(fixture->outcome, TG_FETCH_TIMEOUT);
}

static void a_reset_is_told_once(void **state)
{
    struct fixture *fixture = *state;
    struct tg_client_options options = {.idle_timeout_ms = 20000};

    open_client(fixture, &options);
    upstream_reset(&fixture->out.up);
    run_to_the_end(fixture);
    assert_int_equal(fixture->outcome, TG_FETCH_RESET);
    assert_int_equal(tg_client_send(fixture->client, true, "x", 1), TG_ERR_CLOSED);
}

static void its_close_waits_for_the_servers_but_not_for_ever(void **state)
{
    struct fixture *fixture = *state;
    struct tg_client_options options = {.idle_timeout_ms = 0};

    open_client(fixture, &options);
    tg_client_close(fixture->client, 1000, "bye");
    tg_client_close(fixture->client, 1000, "bye");
    OUTGOING_UNTIL(&fixture->out, fixture->out.up.frames_len > 0);
    assert_int_equal(fixture->out.up.frames[0], 0x88);
    assert_int_equal(fixture->ends, 0);
    upstream_send(&fixture->out.up, "\x88\x02\x03\xe8", 4);
    /* The server keeps the TCP connection open: a second, and it is over. */
    run_to_the_end(fixture);
    assert_int_equal(fixture->outcome, TG_FETCH_OK);
    assert_int_equal(fixture->code, 1000);
}

/* 0: resolving, 1: connecting, 2: upgrading, 3: open, 4: inside on_message */
static void it_can_be_destroyed_at_any_time_and_says_goodbye(void **state)
{
    for (int point = 0; point < 5; point++) {
        struct fixture *fixture = create_fixture();
        struct tg_client_options options = {.connect_timeout_ms = 20000};
        fixture->out.up.silent = point == 2;
        fixture->destroys = point == 4;
        start(fixture, "127.0.0.1", &options);
        if (point == 1)
            outgoing_turn(&fixture->out);
        if (point == 2)
            OUTGOING_UNTIL(&fixture->out, fixture->out.up.head_len > 0);
        if (point >= 3)
            OUTGOING_UNTIL(&fixture->out, fixture->opens > 0);
        if (point == 4) {
            upstream_send(&fixture->out.up,
                          "\x81\x01"
                          "a"
                          "\x81\x01"
                          "b",
                          6);
            OUTGOING_UNTIL(&fixture->out, fixture->messages > 0);
        }
        tg_client_destroy(fixture->client);
        fixture->client = NULL;
        if (point >= 2)
            OUTGOING_UNTIL(&fixture->out, fixture->out.up.gone);
        if (point >= 3)
            assert_int_equal(fixture->out.up.frames[0], 0x88);
        assert_int_equal(fixture->ends, 0);
        assert_int_equal(fixture->messages, point == 4 ? 1 : 0);
        assert_int_equal(teardown((void **)&fixture), 0);
    }
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nobody_listens),
        TEST(an_address_that_is_not_public_is_refused_also_behind_a_name),
        TEST(no_answer_to_the_upgrade),
        TEST(silence_ends_it_and_pings_of_ours_are_no_speech),
        TEST(messages_and_pings_of_the_server_are_speech),
        TEST(a_ping_without_an_answer_ends_it),
        TEST(what_is_sent_waits_for_a_server_that_does_not_read),
        TEST(a_server_that_takes_nothing_is_given_up),
        TEST(a_pause_stops_messages_and_silence),
        TEST(a_pause_does_so_without_pings),
        TEST(the_idle_time_out_can_be_changed),
        TEST(a_reset_is_told_once),
        TEST(its_close_waits_for_the_servers_but_not_for_ever),
        cmocka_unit_test(it_can_be_destroyed_at_any_time_and_says_goodbye),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
