/* leaving_test.c - a peer that says good-bye behind its messages: they are heard first, within bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "connection/connection.h"
#include "support/bench.h"
#include "support/log_capture.h"

/* Numbered messages, and a close frame behind them. In one write, so that all is there at once. */
static void send_farewell(struct bench *b, struct bench_client *client, int count)
{
    uint8_t bytes[2000];
    size_t len = 0;
    for (int i = 0; i < count; i++) {
        char text[40];
        int n = snprintf(text, sizeof text, "{\"type\":\"m\",\"n\":%d}", i);
        len += bench_frame_write(bytes + len, 0x81, text, (size_t)n);
    }
    len += bench_frame_write(bytes + len, 0x88,
                             "\x03\xe8"
                             "bye",
                             5);
    bench_send(b, client, bytes, len);
}

/* A client whose messages are answered when the test says so. */
static struct bench_client *ready(struct bench *b)
{
    b->replies[TG_HOOK_MESSAGE].when = BENCH_LATER;
    bench_start(b);
    return bench_ready(b);
}

/* And that is leaving: the first of its messages is under way, all the rest has arrived. */
static struct bench_client *leaving(struct bench *b, int count)
{
    struct bench_client *client = ready(b);
    send_farewell(b, client, count);
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
    bench_turns(b, 5);
    return client;
}

static struct bench_client *lost(struct bench *b, int count)
{
    struct bench_client *client = ready(b);
    bench_send_numbered(b, client, 0, count);
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
    bench_turns(b, 5);
    bench_reset_client(client);
    BENCH_UNTIL(b, !tg_conn_is_open(bench_conn(b)));
    return client;
}

static void check_messages(struct bench *b, int count)
{
    bench_check_numbered(b, count);
    for (size_t i = 0; i < b->ask_count; i++)
        assert_false(b->asks[i].cancelled);
    assert_int_equal(tg_counter_get(&b->metrics->messages_dropped), 0);
}

static const struct bench_ask *gone(struct bench *b)
{
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    assert_int_equal(bench_asked(b, TG_HOOK_CLOSED), 1);
    return bench_last(b, TG_HOOK_CLOSED);
}

static void check_closed(struct bench *b, int code, const char *reason, bool clean)
{
    const struct bench_ask *closed = gone(b);
    assert_int_equal(closed->close_code, code);
    assert_string_equal(closed->close_reason, reason);
    assert_int_equal(closed->clean, clean);
}

/* The hook under way sends an answer and is done. */
static void answer_message(struct bench *b, enum tg_err sent)
{
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
    assert_int_equal(tg_conn_send_text(bench_conn(b), "answer", 6), sent);
    bench_answer(b, TG_HOOK_MESSAGE, bench_yes());
}

static void messages_before_a_close_are_answered_before_ours(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = leaving(b, 3);
    for (int i = 0; i < 3; i++) {
        answer_message(b, TG_ERR_OK);
        (void)bench_expect(b, client, "answer");
    }
    assert_string_equal(bench_expect_close(b, client, 1000), "bye");
    bench_expect_eof(b, client);
    bench_close_client(client);
    check_closed(b, 1000, "bye", true);
    check_messages(b, 3);
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_CLOSING][TG_CLOSED]), 1);
}

static void a_hook_under_way_answers_before_the_close(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = leaving(b, 1);
    assert_int_equal(bench_state(b), TG_PROCESSING_READY);
    answer_message(b, TG_ERR_OK);
    (void)bench_expect(b, client, "answer");
    (void)bench_expect_close(b, client, 1000);
    check_messages(b, 1);
}

static void a_close_during_setup_waits_for_messages_that_wait(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_AUTHENTICATE].when = BENCH_LATER;
    b->replies[TG_HOOK_PREPARE].when = BENCH_LATER;
    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    bench_start(b);
    struct bench_client *client = bench_open(b);
    send_farewell(b, client, 2);
    BENCH_UNTIL(b, tg_conn_stats(bench_conn(b)).inbox_messages == 2);
    bench_turns(b, 5);
    bench_answer(b, TG_HOOK_AUTHENTICATE, bench_identity("ann"));
    bench_answer(b, TG_HOOK_PREPARE, bench_yes());
    (void)bench_expect(b, client, "connection_ready");
    (void)bench_expect_close(b, client, 1000);
    bench_close_client(client);
    check_closed(b, 1000, "bye", true);
    check_messages(b, 2);
}

static void a_close_during_setup_without_messages_ends_it_at_once(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_PREPARE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_open(b);
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_PREPARE));
    bench_send_close(b, client, 1000, "bye");
    (void)bench_expect_close(b, client, 1000);
    bench_close_client(client);
    check_closed(b, 1000, "bye", true);
    assert_true(bench_last(b, TG_HOOK_PREPARE)->cancelled);
}

/* What would have let it in cannot come any more. */
static void a_close_instead_of_the_authenticate_message_ends_it_at_once(void **state)
{
    struct bench *b = *state;
    struct tg_hook_result need = bench_yes();
    need.verdict = TG_VERDICT_NEED_MESSAGE;
    b->replies[TG_HOOK_AUTHENTICATE] = (struct bench_reply){BENCH_NOW, need};
    b->replies[TG_HOOK_MESSAGE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_open(b);
    send_farewell(b, client, 2);
    (void)bench_expect_close(b, client, 1000);
    bench_close_client(client);
    check_closed(b, 1000, "bye", true);
    assert_int_equal(tg_counter_get(&b->metrics->messages_dropped), 2);
}

static void a_full_inbox_with_a_close_behind_it(void **state)
{
    struct bench *b = *state;
    b->options.inbox_messages = 2;
    struct bench_client *client = ready(b);
    send_farewell(b, client, 30);
    for (int i = 0; i < 30; i++)
        answer_message(b, TG_ERR_OK);
    for (int i = 0; i < 30; i++)
        (void)bench_expect(b, client, "answer");
    (void)bench_expect_close(b, client, 1000);
    bench_close_client(client);
    check_closed(b, 1000, "bye", true);
    check_messages(b, 30);
}

static void what_comes_behind_a_close_is_not_heard(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = leaving(b, 1);
    send_farewell(b, client, 3);
    bench_turns(b, 5);
    answer_message(b, TG_ERR_OK);
    (void)bench_expect(b, client, "answer");
    (void)bench_expect_close(b, client, 1000);
    check_messages(b, 1);
}

static void messages_are_waited_for_until_close_timeout(void **state)
{
    struct bench *b = *state;
    b->options.close_timeout_ms = 50;
    struct bench_client *client = ready(b);
    log_capture_start();
    send_farewell(b, client, 4);
    (void)bench_expect_close(b, client, 1000);
    bench_close_client(client);
    check_closed(b, 1000, "bye", true);
    assert_int_equal(bench_asked(b, TG_HOOK_MESSAGE), 1);
    assert_true(bench_last(b, TG_HOOK_MESSAGE)->cancelled);
    assert_int_equal(tg_counter_get(&b->metrics->messages_dropped), 3);
    assert_int_equal(log_capture_matches("conn.messages_dropped "), 1);
    assert_true(log_capture_has("messages=3"));
    log_capture_stop();
}

/* The peer has closed already, so nothing more is awaited from it. */
static void a_hook_that_closes_too_has_the_last_word(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = leaving(b, 2);
    assert_int_equal(tg_conn_close(bench_conn(b), 4000, "enough"), TG_ERR_OK);
    assert_string_equal(bench_expect_close(b, client, 4000), "enough");
    bench_expect_eof(b, client);
    bench_close_client(client);
    check_closed(b, 4000, "enough", true);
    assert_int_equal(bench_asked(b, TG_HOOK_MESSAGE), 1);
}

static void a_drain_lets_a_leaving_peer_be_heard(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = leaving(b, 2);
    tg_hub_drain(b->hub);
    answer_message(b, TG_ERR_OK);
    answer_message(b, TG_ERR_OK);
    (void)bench_expect(b, client, "answer");
    (void)bench_expect(b, client, "answer");
    (void)bench_expect_close(b, client, 1000);
    check_messages(b, 2);
}

static void a_drain_deadline_does_not_wait_for_a_leaving_peer(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = leaving(b, 2);
    tg_hub_drain_now(b->hub);
    (void)bench_expect_close(b, client, 1001);
    bench_expect_eof(b, client);
}

static void a_run_under_way_ends_with_the_close(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = ready(b);
    bench_send_text(b, client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
    send_farewell(b, client, 1);
    answer_message(b, TG_ERR_OK);
    (void)bench_expect(b, client, "answer");
    (void)bench_expect_close(b, client, 1000);
    assert_int_equal(b->run_starts, 1);
    bench_close_client(client);
    assert_int_equal(gone(b)->end_state, TG_PROCESSING);
}

/* --- without a close frame ------------------------------------------------------------------------- */

static void messages_before_a_fin_are_heard_and_answered(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = ready(b);
    bench_send_numbered(b, client, 0, 3);
    bench_half_close(client);
    for (int i = 0; i < 3; i++) {
        answer_message(b, TG_ERR_OK);
        (void)bench_expect(b, client, "answer"); /* it may read on */
    }
    bench_expect_eof(b, client);
    check_closed(b, 1006, "end of stream", false);
    check_messages(b, 3);
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_PROCESSING_READY][TG_FAILED]), 1);
}

static void messages_before_a_fin_during_setup_are_heard(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_PREPARE].when = BENCH_LATER;
    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    bench_start(b);
    struct bench_client *client = bench_open(b);
    bench_send_numbered(b, client, 0, 2);
    bench_half_close(client);
    BENCH_UNTIL(b, tg_conn_stats(bench_conn(b)).inbox_messages == 2);
    bench_turns(b, 5);
    bench_answer(b, TG_HOOK_PREPARE, bench_yes());
    check_closed(b, 1006, "end of stream", false);
    check_messages(b, 2);
}

/* Nobody is there for the answers, which is no reason not to hear what was asked. */
static void messages_before_a_reset_are_heard(void **state)
{
    struct bench *b = *state;
    (void)lost(b, 3);
    for (int i = 0; i < 3; i++)
        answer_message(b, TG_ERR_CLOSED);
    assert_int_equal(gone(b)->close_code, 1006);
    check_messages(b, 3);
}

/* Its first answer is what makes the peer's kernel say that nobody is there. */
static void messages_of_a_client_that_left_are_heard_although_answers_fail(void **state)
{
    struct bench *b = *state;
    b->options.close_timeout_ms = 1000000;
    struct bench_client *client = ready(b);
    bench_send_numbered(b, client, 0, 5);
    bench_close_client(client);
    for (int i = 0; i < 5; i++) {
        BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
        enum tg_err err = tg_conn_send_text(bench_conn(b), "answer", 6);
        assert_true(err == TG_ERR_OK || err == TG_ERR_CLOSED);
        if (i < 4) /* the last answer is on its way when all is over */
            bench_turns(b, 3);
        bench_answer(b, TG_HOOK_MESSAGE, bench_yes());
    }
    assert_int_equal(gone(b)->close_code, 1006); /* and does not linger until a deadline */
    check_messages(b, 5);
}

static void runs_end_when_the_peer_is_lost(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = ready(b);
    bench_send_text(b, client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
    bench_send_numbered(b, client, 0, 1);
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
    assert_int_equal(tg_conn_runs(bench_conn(b)), 1);
    bench_reset_client(client);
    BENCH_UNTIL(b, !tg_conn_is_open(bench_conn(b)));
    assert_int_equal(tg_conn_runs(bench_conn(b)), 0); /* while the message is still heard */
    bench_answer(b, TG_HOOK_MESSAGE, bench_yes());
    assert_int_equal(gone(b)->close_code, 1006);
}

static void a_lost_peer_is_not_heard_for_longer_than_close_timeout(void **state)
{
    struct bench *b = *state;
    for (int way = 0; way < 2; way++) {
        b->options.close_timeout_ms = 50;
        struct bench_client *client = ready(b);
        bench_send_numbered(b, client, 0, 3);
        BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
        if (way == 0)
            bench_half_close(client);
        else
            bench_reset_client(client);
        assert_int_equal(gone(b)->close_code, 1006);
        assert_true(bench_last(b, TG_HOOK_MESSAGE)->cancelled);
        bench_stop(b);
        bench_init(b);
    }
}

static void a_close_frame_and_a_fin_behind_it(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = leaving(b, 2);
    bench_half_close(client);
    bench_turns(b, 5);
    answer_message(b, TG_ERR_OK);
    answer_message(b, TG_ERR_OK);
    (void)bench_expect(b, client, "answer");
    (void)bench_expect(b, client, "answer");
    (void)bench_expect_close(b, client, 1000);
    bench_expect_eof(b, client);
    check_closed(b, 1000, "bye", true);
}

static void a_close_frame_and_a_reset_behind_it(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = leaving(b, 2);
    bench_reset_client(client);
    BENCH_UNTIL(b, !tg_conn_is_open(bench_conn(b)));
    answer_message(b, TG_ERR_CLOSED);
    answer_message(b, TG_ERR_CLOSED);
    check_closed(b, 1000, "bye", false); /* the peer's word counts, though ours never reached it */
    check_messages(b, 2);
}

static void what_ends_a_lost_connection_meanwhile_changes_nothing(void **state)
{
    struct bench *b = *state;
    (void)lost(b, 2);
    assert_int_equal(tg_conn_close(bench_conn(b), 4000, "too late"), TG_ERR_OK);
    assert_int_equal(gone(b)->close_code, 1006);
    assert_int_equal(bench_asked(b, TG_HOOK_MESSAGE), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(messages_before_a_close_are_answered_before_ours),
        T(a_hook_under_way_answers_before_the_close),
        T(a_close_during_setup_waits_for_messages_that_wait),
        T(a_close_during_setup_without_messages_ends_it_at_once),
        T(a_close_instead_of_the_authenticate_message_ends_it_at_once),
        T(a_full_inbox_with_a_close_behind_it),
        T(what_comes_behind_a_close_is_not_heard),
        T(messages_are_waited_for_until_close_timeout),
        T(a_hook_that_closes_too_has_the_last_word),
        T(a_drain_lets_a_leaving_peer_be_heard),
        T(a_drain_deadline_does_not_wait_for_a_leaving_peer),
        T(a_run_under_way_ends_with_the_close),
        T(messages_before_a_fin_are_heard_and_answered),
        T(messages_before_a_fin_during_setup_are_heard),
        T(messages_before_a_reset_are_heard),
        T(messages_of_a_client_that_left_are_heard_although_answers_fail),
        T(runs_end_when_the_peer_is_lost),
        T(a_lost_peer_is_not_heard_for_longer_than_close_timeout),
        T(a_close_frame_and_a_fin_behind_it),
        T(a_close_frame_and_a_reset_behind_it),
        T(what_ends_a_lost_connection_meanwhile_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
