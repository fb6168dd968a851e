/* receive_test.c - no message is lost, doubled or reordered, and memory stays bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <stdlib.h>

#include "connection/connection.h"
#include "support/bench.h"

#define MESSAGES 100

static void messages_before_ready_are_delivered_in_order(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_AUTHENTICATE].when = BENCH_LATER;
    b->replies[TG_HOOK_PREPARE].when = BENCH_LATER;
    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    bench_start(b);
    struct bench_client *client = bench_open(b);
    bench_send_numbered(b, client, 0, 20);
    BENCH_UNTIL(b, tg_conn_stats(bench_conn(b)).inbox_messages == 20);
    bench_answer(b, TG_HOOK_AUTHENTICATE, bench_identity("ann"));
    bench_send_numbered(b, client, 20, 40);
    BENCH_UNTIL(b, tg_conn_stats(bench_conn(b)).inbox_messages == 40);
    assert_int_equal(bench_asked(b, TG_HOOK_MESSAGE), 0);
    bench_answer(b, TG_HOOK_PREPARE, bench_yes());
    bench_check_numbered(b, 40);
    bench_send_numbered(b, client, 40, 50);
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_MESSAGE) == 50);
    bench_check_numbered(b, 50);
}

/* The inbox is full before setup ends and again and again after it. */
static void a_full_inbox_pauses_reading_and_loses_nothing(void **state)
{
    struct bench *b = *state;
    b->options.inbox_messages = 4;
    b->replies[TG_HOOK_PREPARE].when = BENCH_LATER;
    b->replies[TG_HOOK_MESSAGE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_open(b);
    bench_send_numbered(b, client, 0, MESSAGES);
    BENCH_UNTIL(b, tg_conn_stats(bench_conn(b)).inbox_messages == 4);
    bench_turns(b, 10);
    assert_int_equal(tg_conn_stats(bench_conn(b)).inbox_messages, 4);
    assert_true(tg_counter_get(&b->metrics->reads_paused) >= 1);
    bench_answer(b, TG_HOOK_PREPARE, bench_yes());
    for (int i = 0; i < MESSAGES; i++) {
        BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
        assert_true(tg_conn_stats(bench_conn(b)).inbox_messages <= 4);
        bench_answer(b, TG_HOOK_MESSAGE, bench_yes());
    }
    bench_check_numbered(b, MESSAGES);
    bench_send_numbered(b, client, MESSAGES, MESSAGES + 1);
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_MESSAGE) == MESSAGES + 1);
}

static void the_inbox_is_bounded_in_bytes_too(void **state)
{
    struct bench *b = *state;
    static char big[10000];
    b->options.inbox_bytes = 30000;
    b->replies[TG_HOOK_BINARY].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    for (int i = 0; i < 40; i++) {
        memset(big, i, sizeof big);
        bench_send_frame(b, client, 2, big, sizeof big);
    }
    for (int i = 0; i < 40; i++) {
        BENCH_UNTIL(b, bench_asking(b, TG_HOOK_BINARY));
        bench_turns(b, 3);
        /* One message over the limit, and what one read brought. */
        assert_true(tg_conn_stats(bench_conn(b)).inbox_bytes <= 30000 + 10000 + TG_NET_READ_SIZE);
        assert_int_equal(bench_last(b, TG_HOOK_BINARY)->len, sizeof big);
        assert_int_equal(bench_last(b, TG_HOOK_BINARY)->data[0], i);
        bench_answer(b, TG_HOOK_BINARY, bench_yes());
    }
}

/* The peer feels it: it cannot send without end while nothing is taken. */
static void back_pressure_reaches_the_peer(void **state)
{
    struct bench *b = *state;
    b->options.inbox_messages = 2;
    b->replies[TG_HOOK_BINARY].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_frame(b, client, 2, "first", 5);
    bench_send_frame(b, client, 2, "second", 6);
    bench_send_frame(b, client, 2, "third", 5);
    BENCH_UNTIL(b, tg_conn_stats(bench_conn(b)).inbox_messages == 2);
    bench_turns(b, 3);
    uint64_t before = tg_counter_get(&b->metrics->bytes[TG_IN]);
    bench_send_frame(b, client, 2, "fourth", 6);
    bench_turns(b, 10);
    assert_int_equal(tg_counter_get(&b->metrics->bytes[TG_IN]), before);
    bench_answer(b, TG_HOOK_BINARY, bench_yes());
    bench_answer(b, TG_HOOK_BINARY, bench_yes());
    bench_answer(b, TG_HOOK_BINARY, bench_yes());
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_BINARY) == 4);
    assert_memory_equal(bench_last(b, TG_HOOK_BINARY)->data, "fourth", 6);
}

static void every_split_of_two_messages(void **state)
{
    struct bench *b = *state;
    uint8_t bytes[200];
    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    size_t len = bench_frame_write(bytes, 0x81, "{\"type\":\"one\"}", 14);
    len += bench_frame_write(bytes + len, 0x01, "{\"type\":", 8);
    len += bench_frame_write(bytes + len, 0x89, "", 0);
    len += bench_frame_write(bytes + len, 0x80, "\"two\"}", 6);
    for (size_t split = 1; split < len; split++) {
        size_t asked = bench_asked(b, TG_HOOK_MESSAGE);
        bench_send(b, client, bytes, split);
        bench_turn(b);
        bench_send(b, client, bytes + split, len - split);
        BENCH_UNTIL(b, bench_asked(b, TG_HOOK_MESSAGE) == asked + 2);
        assert_string_equal(bench_last(b, TG_HOOK_MESSAGE)->data, "{\"type\":\"two\"}");
        assert_int_equal(bench_read(b, client).opcode, 10);
    }
}

static void ping_is_answered_with_its_payload(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_AUTHENTICATE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_open(b);
    bench_send_frame(b, client, 9, "abc", 3); /* during setup too */
    struct bench_frame frame = bench_read(b, client);
    assert_int_equal(frame.opcode, 10);
    assert_string_equal(frame.data, "abc");
    assert_int_equal(tg_counter_get(&b->metrics->messages[TG_IN][TG_MESSAGE_CONTROL]), 1);
    assert_int_equal(tg_counter_get(&b->metrics->messages[TG_OUT][TG_MESSAGE_CONTROL]), 1);
}

/* --- what cannot be decoded ------------------------------------------------------------------------ */

static void bad_bytes(struct bench *b, const uint8_t *bytes, size_t len, int code)
{
    struct bench_client *client = bench_ready(b);
    uint64_t failed = tg_counter_get(&b->metrics->transitions[TG_CLOSING][TG_FAILED]);
    bench_send(b, client, bytes, len);
    (void)bench_expect_close(b, client, code);
    bench_expect_eof(b, client); /* nothing it could say now would be understood */
    bench_close_client(client);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    assert_int_equal(bench_last(b, TG_HOOK_CLOSED)->close_code, code);
    assert_false(bench_last(b, TG_HOOK_CLOSED)->clean);
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_CLOSING][TG_FAILED]), failed + 1);
}

static void what_cannot_be_decoded_ends_it(void **state)
{
    struct bench *b = *state;
    uint8_t bytes[400];
    b->options.max_message = 100;
    bench_start(b);
    bad_bytes(b, (const uint8_t *)"\x81\x01x", 3, 1002); /* not masked */
    bad_bytes(b, bytes, bench_frame_write(bytes, 0xc1, "x", 1), 1002);
    bad_bytes(b, bytes, bench_frame_write(bytes, 0x83, "x", 1), 1002);
    bad_bytes(b, bytes, bench_frame_write(bytes, 0x81, "\xff", 1), 1007);
    bad_bytes(b, bytes, bench_frame_write(bytes, 0x88, "\x03", 1), 1002);
    memset(bytes + 200, 'x', 101);
    bad_bytes(b, bytes, bench_frame_write(bytes, 0x81, bytes + 200, 101), 1009);
}

static void good_messages_before_a_bad_frame_are_answered(void **state)
{
    struct bench *b = *state;
    uint8_t bytes[100];
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    size_t len = bench_frame_write(bytes, 0x81, "{\"type\":\"ping\"}", 15);
    len += bench_frame_write(bytes + len, 0x83, "x", 1);
    len += bench_frame_write(bytes + len, 0x81, "{\"type\":\"ping\"}", 15);
    bench_send(b, client, bytes, len);
    (void)bench_expect(b, client, "pong");
    (void)bench_expect_close(b, client, 1002);
    bench_expect_eof(b, client);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(messages_before_ready_are_delivered_in_order),
        T(a_full_inbox_pauses_reading_and_loses_nothing),
        T(the_inbox_is_bounded_in_bytes_too),
        T(back_pressure_reaches_the_peer),
        T(every_split_of_two_messages),
        T(ping_is_answered_with_its_payload),
        T(what_cannot_be_decoded_ends_it),
        T(good_messages_before_a_bad_frame_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
