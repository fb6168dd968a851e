/* setup_test.c - every way from 101 to connection_ready, and every way in which it ends before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "connection/connection.h"
#include "support/bench.h"

static void all_hooks(struct bench *b, enum bench_when when)
{
    b->replies[TG_HOOK_AUTHENTICATE] = (struct bench_reply){when, bench_identity("ann")};
    b->replies[TG_HOOK_CREATE_CONTEXT] = (struct bench_reply){when, bench_yes()};
    b->replies[TG_HOOK_PREPARE] = (struct bench_reply){when, bench_yes()};
}

static void step_by_step(void **state)
{
    struct bench *b = *state;
    all_hooks(b, BENCH_LATER);
    bench_start(b);
    struct bench_client *client = bench_open(b);
    assert_int_equal(bench_last(b, TG_HOOK_AUTHENTICATE)->state, TG_ACCEPTED);
    assert_null(bench_last(b, TG_HOOK_AUTHENTICATE)->data);
    assert_null(tg_conn_user_id(bench_conn(b)));
    bench_answer(b, TG_HOOK_AUTHENTICATE, bench_identity("ann"));
    assert_int_equal(bench_state(b), TG_AUTHENTICATED);
    assert_string_equal(tg_conn_user_id(bench_conn(b)), "ann");
    assert_int_equal(bench_last(b, TG_HOOK_CREATE_CONTEXT)->state, TG_AUTHENTICATED);
    bench_answer(b, TG_HOOK_CREATE_CONTEXT, bench_yes());
    assert_int_equal(bench_last(b, TG_HOOK_PREPARE)->state, TG_AUTHENTICATED);
    bench_answer(b, TG_HOOK_PREPARE, bench_yes());
    assert_int_equal(bench_state(b), TG_PROCESSING_READY);
    (void)bench_expect(b, client, "connection_ready");
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_AUTHENTICATED][TG_SERVICES_READY]),
                     1);
    assert_int_equal(
        tg_counter_get(&b->metrics->transitions[TG_SERVICES_READY][TG_PROCESSING_READY]), 1);
}

static void all_at_once(void **state)
{
    struct bench *b = *state;
    all_hooks(b, BENCH_NOW);
    bench_start(b);
    (void)bench_ready(b);
    assert_int_equal(b->ask_count, 3);
}

/* A no at any step, now or later: a named reason, the fitting code, and `closed` once. */
static void refused_at(struct bench *b, enum tg_hook hook, bool later, struct tg_hook_result result,
                       int code, const char *reason)
{
    all_hooks(b, BENCH_NOW);
    b->replies[hook] = (struct bench_reply){later ? BENCH_LATER : BENCH_NOW, result};
    bench_start(b);
    struct bench_client *client = bench_open(b);
    if (later)
        bench_answer(b, hook, result);
    assert_string_equal(bench_expect_close(b, client, code), reason);
    bench_send_close(b, client, code, "");
    bench_expect_eof(b, client);
    bench_close_client(client);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_CLOSING][TG_FAILED]), 1);
    assert_int_equal(tg_counter_get(&b->metrics->closes[tg_close_slot_of(code)]), 1);
    const struct bench_ask *closed = bench_last(b, TG_HOOK_CLOSED);
    assert_int_equal(closed->close_code, code);
    assert_string_equal(closed->close_reason, reason);
    assert_true(closed->clean);
    assert_int_equal(closed->end_state,
                     hook == TG_HOOK_AUTHENTICATE ? TG_ACCEPTED : TG_AUTHENTICATED);
    bench_stop(b);
    bench_init(b);
}

static const struct {
    enum tg_hook hook;
    int code;
} steps[] = {
    {TG_HOOK_AUTHENTICATE, 4401},
    {TG_HOOK_CREATE_CONTEXT, 4403},
    {TG_HOOK_PREPARE, 1011},
};

static void denied(void **state)
{
    struct bench *b = *state;
    for (size_t i = 0; i < 6; i++) {
        refused_at(b, steps[i / 2].hook, i % 2, bench_denied("no such key"), steps[i / 2].code,
                   "no such key");
        refused_at(b, steps[i / 2].hook, i % 2, bench_denied(NULL), steps[i / 2].code, "refused");
        struct tg_hook_result own = bench_denied("too many");
        own.status = 4429;
        refused_at(b, steps[i / 2].hook, i % 2, own, 4429, "too many");
    }
}

static void a_fault_means_no(void **state)
{
    struct bench *b = *state;
    for (int o = TG_HOOK_ERROR_OUTCOME; o < TG_HOOK_CANCELLED_OUTCOME; o++)
        for (size_t i = 0; i < 6; i++)
            refused_at(b, steps[i / 2].hook, i % 2, bench_fault((enum tg_hook_outcome)o), 1011,
                       "policy failed");
}

/* Nothing that a policy answers may leave the client without a close frame. */
static void a_status_that_is_no_close_code(void **state)
{
    struct bench *b = *state;
    static const int codes[] = {1, 700, 1005, 1006, 1015, 5000, -3};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct tg_hook_result own = bench_denied("odd");
        own.status = codes[i];
        refused_at(b, TG_HOOK_AUTHENTICATE, false, own, 4401, "odd");
    }
}

static void expired_credentials_are_refused(void **state)
{
    struct bench *b = *state;
    struct tg_hook_result result = bench_identity("ann");
    result.expires_at = (double)tg_clock_wall_ms() / 1000.0 - 1;
    refused_at(b, TG_HOOK_AUTHENTICATE, true, result, 4401, "credentials have expired");
}

/* --- deadlines ------------------------------------------------------------------------------------- */

static void stuck_at(struct bench *b, enum tg_hook hook, enum tg_state where)
{
    b->options.auth_timeout_ms = 5;
    b->options.setup_timeout_ms = 5;
    all_hooks(b, BENCH_NOW);
    b->replies[hook].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_open(b);
    (void)bench_expect_close(b, client, 4408);
    assert_true(bench_last(b, hook)->cancelled);
    for (size_t i = 0; i < TG_STATES; i++)
        assert_int_equal(tg_counter_get(&b->metrics->stuck[i]), i == where);
    bench_send_close(b, client, 4408, "");
    bench_expect_eof(b, client);
    bench_close_client(client);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    assert_int_equal(bench_last(b, TG_HOOK_CLOSED)->end_state, where);
    bench_stop(b);
    bench_init(b);
}

static void each_deadline_counts_as_stuck(void **state)
{
    struct bench *b = *state;
    stuck_at(b, TG_HOOK_AUTHENTICATE, TG_ACCEPTED);
    stuck_at(b, TG_HOOK_CREATE_CONTEXT, TG_AUTHENTICATED);
    stuck_at(b, TG_HOOK_PREPARE, TG_AUTHENTICATED);
}

static void waiting_for_the_authenticate_message_has_a_deadline(void **state)
{
    struct bench *b = *state;
    b->options.auth_timeout_ms = 5;
    b->replies[TG_HOOK_AUTHENTICATE].result =
        (struct tg_hook_result){.verdict = TG_VERDICT_NEED_MESSAGE};
    bench_start(b);
    struct bench_client *client = bench_open(b);
    bench_send_text(b, client, "{\"type\":\"ping\"}");
    (void)bench_expect_close(b, client, 4408);
    assert_int_equal(tg_counter_get(&b->metrics->stuck[TG_ACCEPTED]), 1);
}

/* --- need_message ---------------------------------------------------------------------------------- */

static void the_authenticate_message_overtakes_nothing_else(void **state)
{
    struct bench *b = *state;
    all_hooks(b, BENCH_LATER);
    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    bench_start(b);
    struct bench_client *client = bench_open(b);
    bench_send_text(b, client, "{\"type\":\"a\"}");
    bench_send_text(b, client, "not json");
    bench_send_frame(b, client, 2, "{\"type\":\"authenticate\"}", 23);
    bench_send_text(b, client, "{\"type\":\"authenticate\",\"data\":{\"token\":\"t1\"}}");
    bench_send_text(b, client, "{\"type\":\"b\"}");
    bench_turns(b, 5);
    bench_answer(b, TG_HOOK_AUTHENTICATE,
                 (struct tg_hook_result){.verdict = TG_VERDICT_NEED_MESSAGE});
    assert_string_equal(bench_last(b, TG_HOOK_AUTHENTICATE)->data,
                        "{\"type\":\"authenticate\",\"data\":{\"token\":\"t1\"}}");
    /* It wants another one, which has not come yet. */
    bench_answer(b, TG_HOOK_AUTHENTICATE,
                 (struct tg_hook_result){.verdict = TG_VERDICT_NEED_MESSAGE});
    assert_int_equal(bench_asked(b, TG_HOOK_AUTHENTICATE), 2);
    bench_send_text(b, client, "{\"type\":\"auth\\u0065nticate\",\"data\":{\"token\":\"t2\"}}");
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_AUTHENTICATE) == 3);
    assert_non_null(strstr(bench_last(b, TG_HOOK_AUTHENTICATE)->data, "t2"));
    bench_answer(b, TG_HOOK_AUTHENTICATE, bench_identity("ann"));
    bench_answer(b, TG_HOOK_CREATE_CONTEXT, bench_yes());
    bench_answer(b, TG_HOOK_PREPARE, bench_yes());
    (void)bench_expect(b, client, "connection_ready");
    (void)bench_expect(b, client, "bad_json");
    (void)bench_expect(b, client, "binary"); /* no binary hook */
    assert_int_equal(bench_asked(b, TG_HOOK_MESSAGE), 2);
    assert_string_equal(bench_last(b, TG_HOOK_MESSAGE)->data, "{\"type\":\"b\"}");
}

/* Each byte that arrives must not cost another look at everything that waits. */
static void waiting_messages_are_looked_at_once(void **state)
{
    enum { MESSAGES = 60, SIZE = 16000, READS = 400 };
    struct bench *b = *state;
    char text[SIZE + 1];
    b->replies[TG_HOOK_AUTHENTICATE].result =
        (struct tg_hook_result){.verdict = TG_VERDICT_NEED_MESSAGE};
    bench_start(b);
    struct bench_client *client = bench_open(b);
    /* Costly to read: many small values. */
    (void)snprintf(text, sizeof text, "{\"type\":\"x\",\"d\":[0");
    for (size_t at = strlen(text); at < SIZE - 4; at += 2)
        memcpy(text + at, ",0", 3);
    (void)strcat(text, "]}");
    for (int i = 0; i < MESSAGES; i++)
        bench_send_text(b, client, text);
    BENCH_UNTIL(b, tg_conn_stats(bench_conn(b)).inbox_messages == MESSAGES);
    clock_t begin = clock(); /* of this process, whatever else the machine does */
    for (int i = 0; i < READS; i++) {
        bench_send_frame(b, client, 10, "", 0);
        bench_turn(b);
    }
    /* About a megabyte 400 times over would take many seconds here. */
    assert_true(clock() - begin < 3 * CLOCKS_PER_SEC / 2);
    bench_send_text(b, client, "{\"type\":\"authenticate\"}");
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_AUTHENTICATE) == 2);
}

/* --- degraded and back ----------------------------------------------------------------------------- */

static void degraded_works_and_is_retried_with_back_off(void **state)
{
    struct bench *b = *state;
    uint64_t asked_ms[6];
    all_hooks(b, BENCH_NOW);
    b->options.prepare_retry_ms = 8;
    b->options.prepare_retry_max_ms = 20;
    b->replies[TG_HOOK_PREPARE].result = bench_degraded("search is down");
    bench_start(b);
    struct bench_client *client = bench_open(b);
    const char *ready = bench_expect(b, client, "connection_ready");
    assert_non_null(strstr(ready, "\"state\":\"degraded\""));
    assert_non_null(strstr(ready, "\"reason\":\"search is down\""));
    assert_string_equal(tg_conn_stats(bench_conn(b)).degraded_reason, "search is down");
    for (size_t i = 1; i < 5; i++) {
        BENCH_UNTIL(b, bench_asked(b, TG_HOOK_PREPARE) == i + 1);
        assert_int_equal(bench_last(b, TG_HOOK_PREPARE)->state, TG_RECONNECTING);
        assert_int_equal(bench_state(b), TG_DEGRADED);
        asked_ms[i] = bench_last(b, TG_HOOK_PREPARE)->at_ms;
        bench_send_text(b, client, "{\"type\":\"ping\"}");
        (void)bench_expect(b, client, "pong");
    }
    assert_true(asked_ms[2] - asked_ms[1] >= 16); /* 8, 16, 20, 20 */
    assert_true(asked_ms[3] - asked_ms[2] >= 20);
    b->replies[TG_HOOK_PREPARE].result = bench_denied("still down");
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_PREPARE) == 6);
    assert_int_equal(bench_state(b), TG_DEGRADED);
    assert_string_equal(tg_conn_stats(bench_conn(b)).degraded_reason, "still down");
    b->replies[TG_HOOK_PREPARE].result = bench_yes();
    assert_non_null(strstr(bench_expect(b, client, "connection_ready"), "processing_ready"));
    assert_null(tg_conn_stats(bench_conn(b)).degraded_reason);
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_RECONNECTING][TG_PROCESSING_READY]),
                     1);
}

static void messages_wait_while_a_retry_is_under_way(void **state)
{
    struct bench *b = *state;
    all_hooks(b, BENCH_NOW);
    b->options.prepare_retry_ms = 5;
    b->replies[TG_HOOK_PREPARE].result = bench_degraded("down");
    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    b->replies[TG_HOOK_PREPARE].when = BENCH_LATER;
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_PREPARE));
    bench_send_text(b, client, "{\"type\":\"a\"}");
    bench_turns(b, 5);
    assert_int_equal(bench_asked(b, TG_HOOK_MESSAGE), 0);
    bench_answer(b, TG_HOOK_PREPARE, bench_degraded("down"));
    assert_int_equal(bench_asked(b, TG_HOOK_MESSAGE), 1);
}

static void a_fault_while_reconnecting_ends_it(void **state)
{
    struct bench *b = *state;
    all_hooks(b, BENCH_NOW);
    b->options.prepare_retry_ms = 5;
    b->replies[TG_HOOK_PREPARE].result = bench_degraded(NULL);
    bench_start(b);
    struct bench_client *client = bench_open(b);
    assert_non_null(strstr(bench_expect(b, client, "connection_ready"), "a service is missing"));
    b->replies[TG_HOOK_PREPARE].result = bench_fault(TG_HOOK_ERROR_OUTCOME);
    (void)bench_expect_close(b, client, 1011);
}

static void the_hook_may_go_away_with_a_reload(void **state)
{
    struct bench *b = *state;
    all_hooks(b, BENCH_NOW);
    b->options.prepare_retry_ms = 5;
    b->replies[TG_HOOK_PREPARE].result = bench_degraded("down");
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    b->replies[TG_HOOK_PREPARE].when = BENCH_UNDEFINED;
    (void)bench_expect(b, client, "processing_ready");
}

static void runs_while_degraded(void **state)
{
    struct bench *b = *state;
    all_hooks(b, BENCH_NOW);
    b->options.prepare_retry_ms = 30;
    b->replies[TG_HOOK_PREPARE].result = bench_degraded("down");
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_text(b, client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
    BENCH_UNTIL(b, b->run_starts == 1);
    assert_int_equal(bench_state(b), TG_PROCESSING);
    size_t asked = bench_asked(b, TG_HOOK_PREPARE);
    bench_wait_ms(b, 40); /* the retry comes due and has to wait for the run */
    assert_int_equal(bench_asked(b, TG_HOOK_PREPARE), asked);
    bench_run_ended(b, bench_conn(b));
    assert_int_equal(bench_state(b), TG_DEGRADED);
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_PREPARE) == asked + 1);
}

/* A client that is busy all the time must not put the retry off for ever. */
static void runs_do_not_put_the_retry_off(void **state)
{
    struct bench *b = *state;
    all_hooks(b, BENCH_NOW);
    b->options.prepare_retry_ms = 40;
    b->replies[TG_HOOK_PREPARE].result = bench_degraded("down");
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    uint64_t give_up_ms = bench_now_ms() + 5000;
    while (bench_asked(b, TG_HOOK_PREPARE) < 3) { /* at 0, 40, 120 */
        assert_true(bench_now_ms() < give_up_ms);
        int starts = b->run_starts;
        bench_send_text(b, client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
        BENCH_UNTIL(b, b->run_starts == starts + 1);
        bench_run_ended(b, bench_conn(b));
        bench_wait_ms(b, 4);
    }
}

/* --- what the answer leads to, in awkward places --------------------------------------------------- */

/* `create_context` answers at once inside the late answer to `authenticate`; `route` then suspends. */
static void a_question_survives_the_answers_around_it(void **state)
{
    struct bench *b = *state;
    all_hooks(b, BENCH_NOW);
    b->replies[TG_HOOK_AUTHENTICATE].when = BENCH_LATER;
    b->replies[TG_HOOK_ROUTE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_open(b);
    bench_send_text(b, client,
                    "{\"type\":\"agent_execution\",\"id\":7,\"data\":{\"message\":\"hello\"}}");
    BENCH_UNTIL(b, tg_conn_stats(bench_conn(b)).inbox_messages == 1);
    bench_answer(b, TG_HOOK_AUTHENTICATE, bench_identity("ann"));
    struct tg_hook_result route = bench_yes();
    route.agent = "supervisor";
    bench_answer(b, TG_HOOK_ROUTE, route);
    assert_string_equal(b->run_agent, "supervisor");
    assert_string_equal(b->run_input, "{\"message\":\"hello\"}");
    assert_string_equal(b->run_request_id, "7");
}

/* connection_ready does not fit: the connection is closing and must keep its close deadline. */
static void ending_while_it_becomes_ready(void **state)
{
    struct bench *b = *state;
    for (int degraded = 0; degraded < 2; degraded++) {
        all_hooks(b, BENCH_NOW);
        if (degraded)
            b->replies[TG_HOOK_PREPARE].result = bench_degraded("down");
        b->options.outbox_bytes = 10;
        b->options.close_timeout_ms = 5;
        bench_start(b);
        struct bench_client *client = bench_connect(b);
        bench_request(b, client, "");
        BENCH_UNTIL(b, tg_counter_get(&b->metrics->connections_closed) == 1);
        assert_int_equal(bench_last(b, TG_HOOK_CLOSED)->close_code, 1008);
        bench_stop(b);
        bench_init(b);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(step_by_step),
        T(all_at_once),
        T(denied),
        T(a_fault_means_no),
        T(a_status_that_is_no_close_code),
        T(expired_credentials_are_refused),
        T(each_deadline_counts_as_stuck),
        T(waiting_for_the_authenticate_message_has_a_deadline),
        T(the_authenticate_message_overtakes_nothing_else),
        T(waiting_messages_are_looked_at_once),
        T(degraded_works_and_is_retried_with_back_off),
        T(messages_wait_while_a_retry_is_under_way),
        T(a_fault_while_reconnecting_ends_it),
        T(the_hook_may_go_away_with_a_reload),
        T(runs_while_degraded),
        T(runs_do_not_put_the_retry_off),
        T(a_question_survives_the_answers_around_it),
        T(ending_while_it_becomes_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
