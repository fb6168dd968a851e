/* broken_test.c - a peer that breaks the protocol behind good messages: those are heard first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "connection/connection.h"
#include "support/bench.h"

/* Numbered messages and bytes that are no frame behind them, and a message that nobody may hear. In one write,
 * so that all is there at once. */
static void send_broken(struct bench *b, struct bench_client *client, int count, const char *bad,
                        size_t bad_len)
{
    uint8_t bytes[2000];
    size_t len = 0;
    for (int i = 0; i < count; i++) {
        char text[40];
        int n = snprintf(text, sizeof text, "{\"type\":\"m\",\"n\":%d}", i);
        len += bench_frame_write(bytes + len, 0x81, text, (size_t)n);
    }
    memcpy(bytes + len, bad, bad_len);
    len += bad_len;
    len += bench_frame_write(bytes + len, 0x81, "{\"type\":\"m\",\"n\":99}", 19);
    bench_send(b, client, bytes, len);
}

#define UNMASKED "\x81\x01x"
#define SEND_UNMASKED(b, client, count) send_broken(b, client, count, UNMASKED, 3)

static struct bench_client *ready(struct bench *b)
{
    b->replies[TG_HOOK_MESSAGE].when = BENCH_LATER;
    bench_start(b);
    return bench_ready(b);
}

/* The hook under way sends an answer and is done. */
static void answer_message(struct bench *b)
{
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
    assert_int_equal(tg_conn_send_text(bench_conn(b), "answer", 6), TG_ERR_OK);
    bench_answer(b, TG_HOOK_MESSAGE, bench_yes());
}

static void check_ended(struct bench *b, int code, int heard, uint64_t dropped)
{
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    assert_int_equal(bench_asked(b, TG_HOOK_CLOSED), 1);
    assert_int_equal(bench_last(b, TG_HOOK_CLOSED)->close_code, code);
    assert_false(bench_last(b, TG_HOOK_CLOSED)->clean);
    assert_int_equal(bench_asked(b, TG_HOOK_MESSAGE), heard);
    assert_int_equal(tg_counter_get(&b->metrics->messages_dropped), dropped);
}

static void messages_before_a_bad_frame_are_answered_before_our_close(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = ready(b);
    SEND_UNMASKED(b, client, 3);
    for (int i = 0; i < 3; i++) {
        answer_message(b);
        (void)bench_expect(b, client, "answer");
    }
    (void)bench_expect_close(b, client, 1002);
    bench_expect_eof(b, client);
    bench_close_client(client);
    bench_check_numbered(b, 3);
    check_ended(b, 1002, 3, 0);
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_CLOSING][TG_FAILED]), 1);
}

static void text_that_is_not_utf8_comes_behind_them_too(void **state)
{
    struct bench *b = *state;
    uint8_t bad[16];
    size_t len = bench_frame_write(bad, 0x81, "\xff", 1);
    struct bench_client *client = ready(b);
    send_broken(b, client, 2, (const char *)bad, len);
    answer_message(b);
    answer_message(b);
    (void)bench_expect(b, client, "answer");
    (void)bench_expect(b, client, "answer");
    (void)bench_expect_close(b, client, 1007);
    bench_close_client(client);
    check_ended(b, 1007, 2, 0);
}

static void a_bad_frame_alone_ends_it_at_once(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = ready(b);
    SEND_UNMASKED(b, client, 0);
    (void)bench_expect_close(b, client, 1002);
    bench_expect_eof(b, client);
    bench_close_client(client);
    check_ended(b, 1002, 0, 0);
}

static void a_full_inbox_with_a_bad_frame_behind_it(void **state)
{
    struct bench *b = *state;
    b->options.inbox_messages = 2;
    struct bench_client *client = ready(b);
    SEND_UNMASKED(b, client, 30);
    for (int i = 0; i < 30; i++)
        answer_message(b);
    for (int i = 0; i < 30; i++)
        (void)bench_expect(b, client, "answer");
    (void)bench_expect_close(b, client, 1002);
    bench_close_client(client);
    bench_check_numbered(b, 30);
    check_ended(b, 1002, 30, 0);
}

static void during_setup_messages_are_heard_when_it_is_over(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_PREPARE].when = BENCH_LATER;
    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    bench_start(b);
    struct bench_client *client = bench_open(b);
    SEND_UNMASKED(b, client, 2);
    BENCH_UNTIL(b, tg_conn_stats(bench_conn(b)).inbox_messages == 2);
    bench_turns(b, 5);
    bench_answer(b, TG_HOOK_PREPARE, bench_yes());
    (void)bench_expect(b, client, "connection_ready");
    (void)bench_expect_close(b, client, 1002);
    bench_close_client(client);
    check_ended(b, 1002, 2, 0);
}

static void they_are_waited_for_until_close_timeout(void **state)
{
    struct bench *b = *state;
    b->options.close_timeout_ms = 50;
    struct bench_client *client = ready(b);
    SEND_UNMASKED(b, client, 4);
    (void)bench_expect_close(b, client, 1002);
    bench_close_client(client);
    check_ended(b, 1002, 1, 3);
    assert_true(bench_last(b, TG_HOOK_MESSAGE)->cancelled);
}

static void what_comes_later_is_not_read(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = ready(b);
    SEND_UNMASKED(b, client, 1);
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
    bench_turns(b, 5);
    bench_send_numbered(b, client, 5, 3);
    bench_send_close(b, client, 1000, "bye");
    bench_turns(b, 5);
    answer_message(b);
    (void)bench_expect(b, client, "answer");
    (void)bench_expect_close(b, client, 1002);
    bench_close_client(client);
    check_ended(b, 1002, 1, 0);
}

static void a_fin_or_a_reset_behind_it(void **state)
{
    struct bench *b = *state;
    for (int way = 0; way < 2; way++) {
        struct bench_client *client = ready(b);
        SEND_UNMASKED(b, client, 2);
        BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
        bench_turns(b, 5);
        if (way == 0)
            bench_half_close(client);
        else
            bench_reset_client(client);
        bench_turns(b, 5);
        bench_answer(b, TG_HOOK_MESSAGE, bench_yes());
        BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
        bench_answer(b, TG_HOOK_MESSAGE, bench_yes());
        if (way == 0) {
            (void)bench_expect_close(b, client, 1002);
            bench_close_client(client);
        }
        check_ended(b, 1002, 2, 0);
        bench_stop(b);
        bench_init(b);
    }
}

static void a_hook_that_closes_has_the_last_word(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = ready(b);
    SEND_UNMASKED(b, client, 2);
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
    bench_turns(b, 5);
    assert_int_equal(tg_conn_close(bench_conn(b), 4000, "enough"), TG_ERR_OK);
    assert_string_equal(bench_expect_close(b, client, 4000), "enough");
    bench_expect_eof(b, client);
    bench_close_client(client);
    check_ended(b, 4000, 1, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(messages_before_a_bad_frame_are_answered_before_our_close),
        T(text_that_is_not_utf8_comes_behind_them_too),
        T(a_bad_frame_alone_ends_it_at_once),
        T(a_full_inbox_with_a_bad_frame_behind_it),
        T(during_setup_messages_are_heard_when_it_is_over),
        T(they_are_waited_for_until_close_timeout),
        T(what_comes_later_is_not_read),
        T(a_fin_or_a_reset_behind_it),
        T(a_hook_that_closes_has_the_last_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
