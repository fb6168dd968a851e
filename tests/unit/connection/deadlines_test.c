/* deadlines_test.c - what time alone does: idle, ping and pong, expiry. Deadlines of setup and of the
 * close handshake are in setup_test.c and ending_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "connection/connection_internal.h"
#include "support/bench.h"

static void idle_and_back(void **state)
{
    struct bench *b = *state;
    b->options.idle_after_ms = 10;
    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_LATER, bench_yes()};
    bench_start(b);
    uint64_t begin_ms = bench_now_ms(); /* not later: the timer may start before the client reads */
    struct bench_client *client = bench_ready(b);
    BENCH_UNTIL(b, bench_state(b) == TG_IDLE);
    assert_true(bench_now_ms() - begin_ms >= 8);
    bench_send_text(b, client, "{\"type\":\"ping\"}");
    (void)bench_expect(b, client, "pong");
    assert_int_equal(bench_state(b), TG_PROCESSING_READY);
    BENCH_UNTIL(b, bench_state(b) == TG_IDLE);
    bench_send_text(b, client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
    BENCH_UNTIL(b, bench_state(b) == TG_PROCESSING);
    bench_wait_ms(b, 25); /* not while a run is under way */
    assert_int_equal(bench_state(b), TG_PROCESSING);
    bench_run_ended(b, bench_conn(b));
    assert_int_equal(bench_state(b), TG_PROCESSING_READY);
    BENCH_UNTIL(b, bench_state(b) == TG_IDLE);
    bench_send_text(b, client, "{\"type\":\"x\"}");
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
    bench_wait_ms(b, 25); /* nor while a hook is */
    assert_int_equal(bench_state(b), TG_PROCESSING_READY);
    bench_answer(b, TG_HOOK_MESSAGE, bench_yes());
    BENCH_UNTIL(b, bench_state(b) == TG_IDLE);
}

static void messages_keep_it_from_idling(void **state)
{
    struct bench *b = *state;
    b->options.idle_after_ms = 40;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    for (int quick = 0; quick < 15;) {
        uint64_t idled = tg_counter_get(&b->metrics->transitions[TG_PROCESSING_READY][TG_IDLE]);
        uint64_t begin_ms = bench_now_ms();
        bench_send_text(b, client, "{\"type\":\"ping\"}");
        (void)bench_expect(b, client, "pong");
        bench_wait_ms(b, 5);
        if (bench_now_ms() - begin_ms > 35)
            continue; /* the machine was busy; that proves nothing */
        assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_PROCESSING_READY][TG_IDLE]),
                         idled);
        quick++;
    }
}

static void a_silent_peer_is_pinged_and_then_lost(void **state)
{
    struct bench *b = *state;
    b->options.ping_interval_ms = 10;
    b->options.pong_timeout_ms = 500; /* a busy machine must not pass for a silent peer */
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    for (int i = 0; i < 3; i++) {
        struct bench_frame frame = bench_read(b, client);
        assert_int_equal(frame.opcode, 9);
        bench_send_frame(b, client, 10, frame.data, frame.len);
    }
    assert_int_equal(bench_read(b, client).opcode, 9);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    assert_int_equal(bench_last(b, TG_HOOK_CLOSED)->close_code, 1006);
    assert_false(bench_last(b, TG_HOOK_CLOSED)->clean);
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_PROCESSING_READY][TG_FAILED]), 1);
}

static void any_byte_is_as_good_as_a_pong(void **state)
{
    struct bench *b = *state;
    b->options.ping_interval_ms = 30;
    b->options.pong_timeout_ms = 5000;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    for (int quick = 0; quick < 10;) {
        uint64_t begin_ms = bench_now_ms();
        client->len = 0;
        bench_send_frame(b, client, 10, "", 0);
        bench_wait_ms(b, 8);
        if (bench_now_ms() - begin_ms > 25)
            continue;                     /* the machine was busy; that proves nothing */
        assert_int_equal(client->len, 0); /* not one ping */
        quick++;
    }
    assert_true(tg_conn_is_open(bench_conn(b)));
}

static void no_pings_when_the_interval_is_zero(void **state)
{
    struct bench *b = *state;
    b->options.ping_interval_ms = 0;
    b->options.pong_timeout_ms = 1;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_wait_ms(b, 15);
    assert_int_equal(client->len, 0);
    assert_true(tg_conn_is_open(bench_conn(b)));
}

static void send_first_fragment(struct bench *b, struct bench_client *client)
{
    uint8_t frame[32];
    bench_send(b, client, frame, bench_frame_write(frame, 0x01, "{\"type\":", 8));
}

/* Half a message, then what keeps a connection alive, until the close frame comes. */
static void stall_until_closed(struct bench *b, uint64_t ping_interval_ms)
{
    b->options.ping_interval_ms = ping_interval_ms;
    b->options.pong_timeout_ms = 5000;
    b->options.message_timeout_ms = 100;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    send_first_fragment(b, client);
    uint64_t begin_ms = bench_now_ms();
    while (tg_conn_is_open(bench_conn(b)) && bench_now_ms() - begin_ms < 10000) {
        bench_send_frame(b, client, 10, "", 0);
        bench_wait_ms(b, 5);
    }
    assert_in_range(bench_now_ms() - begin_ms, 100, 9999);
    struct bench_frame frame = bench_read(b, client);
    while (frame.opcode == 9)
        frame = bench_read(b, client);
    assert_int_equal(frame.opcode, 8);
    assert_memory_equal(frame.data, "\x11\x38" /* 4408 */, 2);
}

static void a_message_that_does_not_end_has_a_deadline(void **state)
{
    stall_until_closed(*state, 20);
}

static void it_has_one_where_nobody_is_pinged(void **state)
{
    stall_until_closed(*state, 0);
}

static void messages_that_end_have_none(void **state)
{
    struct bench *b = *state;
    uint8_t frame[64];
    size_t len = bench_frame_write(frame, 0x81, "{\"type\":\"m\"}", 12);
    b->options.ping_interval_ms = 5;
    b->options.pong_timeout_ms = 5000;
    b->options.message_timeout_ms = 1000; /* as long as a busy machine may hold one up */
    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send(b, client, frame, len / 2);
    uint64_t begin_ms = bench_now_ms();
    for (size_t sent = 0; bench_now_ms() - begin_ms < 2500; sent++) {
        /* Whenever it is looked at, one is under way: but never the same for long. */
        bench_send(b, client, frame + len / 2, len - len / 2);
        bench_send(b, client, frame, len / 2);
        BENCH_UNTIL(b, bench_asked(b, TG_HOOK_MESSAGE) == sent + 1);
        bench_wait_ms(b, 20);
    }
    assert_true(tg_conn_is_open(bench_conn(b)));
}

static void a_message_may_take_for_ever_where_there_is_no_limit(void **state)
{
    struct bench *b = *state;
    b->options.ping_interval_ms = 5;
    b->options.pong_timeout_ms = 5000;
    b->options.message_timeout_ms = 0;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    send_first_fragment(b, client);
    for (int i = 0; i < 20; i++) {
        bench_send_frame(b, client, 10, "", 0);
        bench_wait_ms(b, 5);
    }
    assert_true(tg_conn_is_open(bench_conn(b)));
}

/* Until it can be remembered it has begun just now, whenever it is looked at. */
static void without_memory_to_remember_it_a_message_has_more_time(void **state)
{
    struct bench *b = *state;
    b->options.ping_interval_ms = 0;
    b->options.message_timeout_ms = 20;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    send_first_fragment(b, client);
    BENCH_UNTIL(b, tg__ws(bench_conn(b)) != NULL && tg_ws_is_midway(tg__ws(bench_conn(b))));
    (void)tg_memory_fail_after(0, 1);
    bench_wait_ms(b, 200);
    (void)tg_memory_fail_after(-1, 0);
    assert_true(tg_conn_is_open(bench_conn(b)));
    BENCH_UNTIL(b, !tg_conn_is_open(bench_conn(b)));
    struct bench_frame frame = bench_read(b, client);
    assert_int_equal(frame.opcode, 8);
    assert_memory_equal(frame.data, "\x11\x38" /* 4408 */, 2);
}

/* The pong may be among the bytes that we do not read. */
static void nobody_is_lost_while_reading_is_paused(void **state)
{
    struct bench *b = *state;
    b->options.inbox_messages = 1;
    b->options.ping_interval_ms = 50;
    b->options.pong_timeout_ms = 100;
    b->replies[TG_HOOK_MESSAGE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    for (int i = 0; i < 4; i++)
        bench_send_text(b, client, "{\"type\":\"x\"}");
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
    bench_wait_ms(b, 200);
    assert_true(tg_conn_is_open(bench_conn(b)));
    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    bench_answer(b, TG_HOOK_MESSAGE, bench_yes());
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_MESSAGE) == 4);
}

/* --- expiry ---------------------------------------------------------------------------------------- */

static struct tg_hook_result expires_in(int64_t ms)
{
    struct tg_hook_result result = bench_identity("ann");
    result.expires_at = (double)((int64_t)tg_clock_wall_ms() + ms) / 1000.0;
    return result;
}

static void notice_then_end(void **state)
{
    struct bench *b = *state;
    b->options.expiry_notice_ms = 250;
    bench_start(b);
    struct tg_hook_result identity = expires_in(300);
    b->replies[TG_HOOK_AUTHENTICATE].result = identity;
    struct bench_client *client = bench_ready(b);
    assert_non_null(strstr(bench_expect(b, client, "auth_expiring"), "\"expires_at\":"));
    assert_true((double)tg_clock_wall_ms() >= identity.expires_at * 1000.0 - 251);
    (void)bench_expect_close(b, client, 4401);
    assert_true((double)tg_clock_wall_ms() >= identity.expires_at * 1000.0 - 1);
}

static void a_renewal_puts_it_off_and_notices_again(void **state)
{
    struct bench *b = *state;
    b->options.expiry_notice_ms = 400;
    b->replies[TG_HOOK_REAUTHENTICATE].when = BENCH_NOW;
    bench_start(b);
    b->replies[TG_HOOK_AUTHENTICATE].result = expires_in(420);
    struct bench_client *client = bench_ready(b);
    (void)bench_expect(b, client, "auth_expiring");
    b->replies[TG_HOOK_REAUTHENTICATE].result = expires_in(450);
    bench_send_text(b, client, "{\"type\":\"authenticate\"}");
    (void)bench_expect(b, client, "\"authenticated\"");
    (void)bench_expect(b, client, "auth_expiring");
    b->replies[TG_HOOK_REAUTHENTICATE].result = bench_identity("ann"); /* for ever */
    bench_send_text(b, client, "{\"type\":\"authenticate\"}");
    (void)bench_expect(b, client, "{\"type\":\"authenticated\",\"data\":{\"user_id\":\"ann\"}}");
    bench_wait_ms(b, 60);
    assert_true(tg_conn_is_open(bench_conn(b)));
    assert_true(tg_conn_expires_at(bench_conn(b)) == 0);
}

static void it_can_expire_during_setup(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_PREPARE].when = BENCH_LATER;
    bench_start(b);
    b->replies[TG_HOOK_AUTHENTICATE].result = expires_in(20);
    struct bench_client *client = bench_open(b);
    (void)bench_expect_close(b, client, 4401); /* no notice before connection_ready */
}

static void far_and_odd_times_are_no_deadline_now(void **state)
{
    struct bench *b = *state;
    static const double times[] = {1e300, 4e9, 1.0 / 0.0, -5, 0};
    bench_start(b);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        b->replies[TG_HOOK_AUTHENTICATE].result = bench_identity("ann");
        b->replies[TG_HOOK_AUTHENTICATE].result.expires_at = times[i];
        struct bench_client *client = bench_ready(b);
        bench_send_text(b, client, "{\"type\":\"ping\"}");
        (void)bench_expect(b, client, "pong");
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(idle_and_back),
        T(messages_keep_it_from_idling),
        T(a_silent_peer_is_pinged_and_then_lost),
        T(any_byte_is_as_good_as_a_pong),
        T(no_pings_when_the_interval_is_zero),
        T(a_message_that_does_not_end_has_a_deadline),
        T(it_has_one_where_nobody_is_pinged),
        T(messages_that_end_have_none),
        T(a_message_may_take_for_ever_where_there_is_no_limit),
        T(without_memory_to_remember_it_a_message_has_more_time),
        T(nobody_is_lost_while_reading_is_paused),
        T(notice_then_end),
        T(a_renewal_puts_it_off_and_notices_again),
        T(it_can_expire_during_setup),
        T(far_and_odd_times_are_no_deadline_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
