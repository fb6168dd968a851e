/* memory_test.c - every allocation of a connection's life fails once: the process lives, nothing leaks,
 * no illegal move is tried, and the connection ends or works. A request that is neither answered nor
 * ended would show as a time-out here.
 *
 * The timers of a loop share one array that grows by doubling, so growing it is made to fall on each
 * timer of the connection in turn: `others` is how many timers stand in it already.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "connection/connection.h"
#include "support/bench.h"

#define OTHERS_MAX 64

struct scenario {
    struct bench bench;
    struct bench_client *client;
    struct tg_timer others[OTHERS_MAX];
    struct tg_run *run; /* to be continued by the test */
    bool later;         /* hooks answer later */
};

/* --- the agent --------------------------------------------------------------------------------------- */

static const char *default_agent(void *host)
{
    (void)host;
    return "solo";
}

static bool find_agent(void *host, const struct tg_run *parent, const char *name,
                       struct tg_run_limits *limits)
{
    (void)parent;
    (void)limits;
    (void)host, (void)name;
    return true;
}

static void start(void *host, struct tg_run *run, const struct tg_run_request *request)
{
    (void)request;
    ((struct scenario *)host)->run = run;
}

static void cancel(void *host, struct tg_run *run)
{
    assert_true(tg_run_is_over(run));
    (void)host; /* released by the test: its script is on the stack */
}

/* As a script would: what fails ends the run. */
static void run_agent(struct scenario *s)
{
    struct tg_run *run = s->run;
    uint32_t outer, inner;
    if (run == NULL)
        return;
    s->run = NULL;
    if (tg_run_thinking(run, "hm", 2) == TG_ERR_OK &&
        tg_run_tool_started(run, "outer", "{}", 2, &outer) == TG_ERR_OK &&
        tg_run_tool_started(run, "inner", NULL, 0, &inner) == TG_ERR_OK &&
        tg_run_tool_done(run, inner, "1", 1, NULL) == TG_ERR_OK &&
        tg_run_delta(run, "text", 4) == TG_ERR_OK)
        tg_run_complete(run, "\"done\"", 6);
    else
        tg_run_fail(run, TG_RUN_FAILED_OUTCOME, "script_error", "failed");
    assert_true(tg_run_is_over(run));
    tg_run_release(run);
}

/* --- the scenario ------------------------------------------------------------------------------------ */

static void on_other(struct tg_timer *timer)
{
    (void)timer;
}

static void answer_all(struct scenario *s)
{
    for (int hook = 0; hook < TG_HOOKS; hook++)
        if (bench_asking(&s->bench, (enum tg_hook)hook))
            bench_answer(&s->bench, (enum tg_hook)hook, s->bench.replies[hook].result);
}

/* True: a frame with `part` (or an error instead) has come. False: the connection has ended. */
static bool reached(struct scenario *s, const char *part)
{
    struct bench_client *client = s->client;
    struct bench_frame frame;
    uint64_t give_up_ms = bench_now_ms() + 5000;
    while (bench_now_ms() < give_up_ms) {
        bench_turn(&s->bench);
        if (s->later)
            answer_all(s);
        run_agent(s);
        while (client->status == 101 && bench_take_frame(client, &frame)) {
            if (frame.opcode == 8)
                return false;
            if (strstr(frame.data, part) != NULL || strstr(frame.data, "error\"") != NULL)
                return true;
        }
        if (client->eof || client->reset)
            return false;
    }
    fail_msg("neither %s nor an end", part);
    return false;
}

static bool upgraded(struct scenario *s)
{
    struct bench_client *client = s->client;
    bench_request(&s->bench, client, "");
    BENCH_UNTIL(&s->bench, (answer_all(s), client->eof || client->reset ||
                                               (client->len > 0 && memmem(client->in, client->len,
                                                                          "\r\n\r\n", 4) != NULL)));
    if (client->len == 0)
        return false;
    bench_read_head(&s->bench, client);
    return client->status == 101;
}

/* Takes the place in the array that the idle timer has left, see the head of this file. */
static bool take_place(struct scenario *s)
{
    size_t i = 0;
    while (i < OTHERS_MAX && tg_timer_running(&s->others[i]))
        i++;
    return i == 0 || i == OTHERS_MAX ||
           tg_timer_start(s->bench.timers, &s->others[i], 600000, on_other) == TG_ERR_OK;
}

static bool idled(struct scenario *s)
{
    uint64_t give_up_ms = bench_now_ms() + 5000;
    for (;;) {
        struct tg_conn *conn = bench_conn(&s->bench);
        if (conn == NULL || !tg_conn_is_open(conn))
            return false;
        if (tg_conn_state(conn) == TG_IDLE)
            return true;
        assert_true(bench_now_ms() < give_up_ms);
        bench_turn(&s->bench);
    }
}

static void walk_through(struct scenario *s)
{
    struct bench *b = &s->bench;
    uint8_t bytes[200];
    s->client = bench_connect(b);
    if (!upgraded(s))
        return;
    bench_send_text(b, s->client, "{\"type\":\"authenticate\",\"data\":{}}");
    bench_send_text(b, s->client, "{\"type\":\"hello\"}");
    if (!reached(s, "connection_ready"))
        return;
    bench_send_text(b, s->client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
    if (!reached(s, "agent_completed"))
        return;
    size_t len = bench_frame_write(bytes, 0x01, "{\"type\":\"pi", 11);
    len += bench_frame_write(bytes + len, 0x89, "x", 1);
    len += bench_frame_write(bytes + len, 0x80, "ng\"}", 4);
    bench_send(b, s->client, bytes, len);
    if (!reached(s, "pong") || !idled(s) || !take_place(s))
        return;
    bench_send_text(b, s->client, "{\"type\":\"authenticate\",\"data\":{}}");
    if (!reached(s, "authenticated"))
        return;
    bench_send_text(b, s->client, "no json");
    if (!reached(s, "bad_json"))
        return;
    bench_send_close(b, s->client, 1000, "bye");
    (void)reached(s, "nothing");
}

static void prepare(struct scenario *s, bool later, size_t others)
{
    static const struct tg_runs_options options = {.max_per_connection = 4, .timeout_ms = 60000};
    struct tg_run_executor executor = {
        .host = s,
        .default_agent = default_agent,
        .find_agent = find_agent,
        .start = start,
        .cancel = cancel,
    };
    struct bench *b = &s->bench;
    memset(s, 0, sizeof *s);
    bench_init(b);
    s->later = later;
    b->options.idle_after_ms = 1;
    b->options.close_timeout_ms = 3000;
    struct tg_hook_result identity = bench_identity("ann");
    identity.expires_at = (double)tg_clock_wall_ms() / 1000.0 + 1000;
    struct tg_hook_result context = bench_yes();
    context.context = (struct tg_blob){(const uint8_t *)"ctx", 3};
    for (int hook = 0; hook < TG_HOOKS; hook++)
        if (hook != TG_HOOK_TEXT)
            b->replies[hook] = (struct bench_reply){later ? BENCH_LATER : BENCH_NOW, bench_yes()};
    b->replies[TG_HOOK_AUTHENTICATE].result = identity;
    b->replies[TG_HOOK_REAUTHENTICATE].result = identity;
    b->replies[TG_HOOK_CREATE_CONTEXT].result = context;
    bench_start(b);
    bench_use_runs(b, &options, &executor);
    for (size_t i = 0; i < others; i++)
        assert_int_equal(tg_timer_start(b->timers, &s->others[i], 600000, on_other), TG_ERR_OK);
}

/* Returns whether the n-th allocation was reached. */
static bool fail_one(struct scenario *s, long n, int forever, bool later, size_t others)
{
    prepare(s, later, others);
    (void)tg_memory_fail_after(n, forever);
    walk_through(s);
    bool injected = tg_memory_fail_after(-1, 0) > (size_t)n;
    bench_close_client(s->client);
    BENCH_UNTIL(&s->bench, (answer_all(s), run_agent(s), tg_hub_count(s->bench.hub) == 0));
    if (!injected) { /* and then everything has worked */
        assert_int_equal(bench_last(&s->bench, TG_HOOK_CLOSED)->close_code, 1000);
        assert_int_equal(bench_asked(&s->bench, TG_HOOK_MESSAGE), 1);
    }
    bench_stop(&s->bench);
    return injected;
}

static void fail_each(int forever, bool later, size_t others)
{
    struct scenario *s = calloc(1, sizeof *s);
    assert_non_null(s);
    long n = 0;
    while (fail_one(s, n, forever, later, others))
        n++;
    assert_in_range(n, 30, 1000);
    free(s);
}

static void hooks_that_answer_now(void **state)
{
    (void)state;
    fail_each(0, false, 0);
}

static void hooks_that_answer_later(void **state)
{
    (void)state;
    fail_each(0, true, 0);
}

static void memory_stays_out(void **state)
{
    (void)state;
    fail_each(1, false, 0);
    fail_each(1, true, 0);
}

static void growing_the_array_of_timers(void **state)
{
    (void)state;
    for (size_t others = OTHERS_MAX - 4; others < OTHERS_MAX; others++)
        fail_each(0, others % 2 == 0, others);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hooks_that_answer_now),
        cmocka_unit_test(hooks_that_answer_later),
        cmocka_unit_test(memory_stays_out),
        cmocka_unit_test(growing_the_array_of_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
