/* run_test.c - the order of a run's events, whatever its agent does. The executor is a fake that the
 * test drives; the client checks every event that it sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/run.h"
#include "base/memory.h"
#include "support/bench.h"
#include "support/log_capture.h"

#define RUNS 16

struct fixture {
    struct bench bench;
    struct tg_runs_options options;
    struct tg_run_executor executor;
    struct bench_client *client;
    struct tg_run *runs[RUNS]; /* as started; NULL once released */
    int started, cancelled;
    const char *fallback;   /* the only agent */
    bool release_on_cancel; /* at once, as an executor whose script waits does */
    bool finish_in_start;
    int seq; /* of the last event that the client saw */
};

/* --- the executor ---------------------------------------------------------------------------------- */

static const char *default_agent(void *host)
{
    return ((struct fixture *)host)->fallback;
}

static bool find_agent(void *host, const struct tg_run *parent, const char *name,
                       struct tg_run_limits *limits)
{
    (void)parent;
    (void)limits;
    (void)host;
    return strcmp(name, "unknown") != 0;
}

static void finish(struct fixture *f, int i)
{
    tg_run_complete(f->runs[i], "\"done\"", 6);
    tg_run_release(f->runs[i]);
    f->runs[i] = NULL;
}

static void start(void *host, struct tg_run *run, const struct tg_run_request *request)
{
    struct fixture *f = host;
    assert_true(f->started < RUNS);
    assert_non_null(request->input_json);
    assert_false(tg_run_is_over(run));
    tg_run_set_data(run, &f->runs[f->started]);
    f->runs[f->started++] = run;
    if (f->finish_in_start)
        finish(f, f->started - 1);
}

static void cancel(void *host, struct tg_run *run)
{
    struct fixture *f = host;
    struct tg_run **place = tg_run_data(run);
    assert_ptr_equal(*place, run);
    assert_true(tg_run_is_over(run));
    f->cancelled++;
    if (f->release_on_cancel) {
        *place = NULL;
        tg_run_release(run);
    }
}

static void release(struct fixture *f, int i)
{
    tg_run_release(f->runs[i]);
    f->runs[i] = NULL;
}

/* --- the fixture ----------------------------------------------------------------------------------- */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (f == NULL)
        return -1;
    bench_init(&f->bench);
    f->options = (struct tg_runs_options){.max_per_connection = 4};
    f->executor = (struct tg_run_executor){
        .host = f,
        .default_agent = default_agent,
        .find_agent = find_agent,
        .start = start,
        .cancel = cancel,
    };
    f->fallback = "solo";
    f->release_on_cancel = true;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    f->release_on_cancel = true;
    for (int i = 0; i < f->started; i++)
        if (f->runs[i] != NULL && tg_run_is_over(f->runs[i]))
            release(f, i);
    bench_stop(&f->bench);
    free(f);
    return 0;
}

static void begin(struct fixture *f)
{
    bench_start(&f->bench);
    bench_use_runs(&f->bench, &f->options, &f->executor);
    f->client = bench_ready(&f->bench);
}

/* The next event: checks type, seq and run, and returns its text. run NULL: not checked. */
static const char *event(struct fixture *f, const char *type, const char *run_id)
{
    return bench_expect_event(&f->bench, f->client, type, ++f->seq, run_id);
}

/* Nothing was sent that the test has not looked at. */
static void silence(struct fixture *f)
{
    bench_expect_silence(&f->bench, f->client);
}

static void execute(struct fixture *f)
{
    bench_send_text(&f->bench, f->client,
                    "{\"type\":\"agent_execution\",\"id\":\"q\",\"data\":{\"message\":\"m\"}}");
}

static struct tg_run *run(struct fixture *f)
{
    int started = f->started;
    execute(f);
    BENCH_UNTIL(&f->bench, f->started == started + 1);
    struct tg_run *newest = f->runs[started];
    const char *text = event(f, "agent_started", tg_run_id(newest));
    assert_non_null(strstr(text, "\"data\":{\"request_id\":\"q\"}"));
    assert_non_null(strstr(text, "\"agent\":\"solo\""));
    return newest;
}

static uint64_t outcomes(struct fixture *f, enum tg_run_outcome outcome)
{
    return tg_counter_get(&tg_metrics_agent(f->bench.metrics, "solo")->outcomes[outcome]);
}

static uint64_t running(struct fixture *f)
{
    return tg_counter_get(&tg_metrics_agent(f->bench.metrics, "solo")->running);
}

/* --- I1, I2: started first, one terminal event last -------------------------------------------------- */

static void started_events_completed(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct tg_run *r = run(f);
    assert_int_equal(bench_state(&f->bench), TG_PROCESSING);
    assert_int_equal(running(f), 1);
    assert_int_equal(tg_run_thinking(r, "hm \xff", 4), TG_ERR_OK);
    assert_non_null(
        strstr(event(f, "agent_thinking", tg_run_id(r)), "\"text\":\"hm \xef\xbf\xbd\""));
    assert_int_equal(tg_run_delta(r, "a\0b", 3), TG_ERR_OK);
    assert_non_null(strstr(event(f, "agent_delta", tg_run_id(r)), "\"text\":\"a\\u0000b\""));
    tg_run_complete(r, "{\"x\":1}", 7);
    const char *text = event(f, "agent_completed", tg_run_id(r));
    assert_non_null(strstr(text, "\"response\":{\"x\":1}"));
    assert_non_null(strstr(text, "\"duration_ms\":"));
    assert_int_equal(bench_state(&f->bench), TG_PROCESSING_READY);
    assert_int_equal(running(f), 0);
    assert_int_equal(outcomes(f, TG_RUN_COMPLETED_OUTCOME), 1);
}

static void details_stand_beside_the_response(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct tg_run *r = run(f);
    tg_run_complete_with(r, "1", 1, "{\"usage\":{\"n\":2},\"b\":3}", 23);
    const char *text = event(f, "agent_completed", tg_run_id(r));
    assert_non_null(strstr(text, "\"data\":{\"response\":1,\"duration_ms\":"));
    assert_non_null(strstr(text, ",\"usage\":{\"n\":2},\"b\":3}}"));
    r = run(f);
    tg_run_complete_with(r, "1", 1, "{}", 2);
    text = event(f, "agent_completed", tg_run_id(r));
    assert_null(strstr(text, ",}"));
}

static void started_comes_before_anything_the_executor_does(void **state)
{
    struct fixture *f = *state;
    f->finish_in_start = true;
    begin(f);
    for (int i = 0; i < 3; i++) {
        execute(f);
        (void)event(f, "agent_started", NULL);
        (void)event(f, "agent_completed", NULL);
    }
    assert_int_equal(tg_runs_count(f->bench.runs), 0);
    assert_int_equal(bench_state(&f->bench), TG_PROCESSING_READY);
}

static void nothing_after_the_terminal_event(void **state)
{
    struct fixture *f = *state;
    uint32_t call = 0;
    begin(f);
    struct tg_run *r = run(f);
    tg_run_fail(r, TG_RUN_FAILED_OUTCOME, "script_error", "the agent failed");
    const char *text = event(f, "agent_error", tg_run_id(r));
    assert_non_null(
        strstr(text, "\"data\":{\"code\":\"script_error\",\"message\":\"the agent failed\"}"));
    assert_true(tg_run_is_over(r));
    assert_int_equal(tg_run_thinking(r, "x", 1), TG_ERR_CLOSED);
    assert_int_equal(tg_run_delta(r, "x", 1), TG_ERR_CLOSED);
    assert_int_equal(tg_run_tool_started(r, "t", NULL, 0, &call), TG_ERR_CLOSED);
    assert_int_equal(tg_run_tool_done(r, 1, "1", 1, NULL), TG_ERR_CLOSED);
    tg_run_complete(r, "1", 1);
    tg_run_fail(r, TG_RUN_BUDGET_OUTCOME, "cpu_budget", "x");
    silence(f);
    assert_int_equal(outcomes(f, TG_RUN_FAILED_OUTCOME), 1);
    assert_int_equal(outcomes(f, TG_RUN_COMPLETED_OUTCOME), 0);
    assert_int_equal(outcomes(f, TG_RUN_BUDGET_OUTCOME), 0);
    assert_int_equal(f->cancelled, 0); /* it ended by itself */
}

static void runs_side_by_side_share_the_sequence(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct tg_run *a = run(f);
    struct tg_run *c = run(f);
    assert_string_not_equal(tg_run_id(a), tg_run_id(c));
    assert_int_equal(tg_conn_runs(bench_conn(&f->bench)), 2);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(tg_run_delta(i % 2 ? a : c, "x", 1), TG_ERR_OK);
        (void)event(f, "agent_delta", tg_run_id(i % 2 ? a : c));
    }
    tg_run_complete(a, "1", 1);
    (void)event(f, "agent_completed", tg_run_id(a));
    assert_int_equal(bench_state(&f->bench), TG_PROCESSING);
    assert_int_equal(tg_run_delta(c, "x", 1), TG_ERR_OK);
    (void)event(f, "agent_delta", tg_run_id(c));
    tg_run_complete(c, "1", 1);
    (void)event(f, "agent_completed", tg_run_id(c));
    assert_int_equal(bench_state(&f->bench), TG_PROCESSING_READY);
}

/* --- I3: tools --------------------------------------------------------------------------------------- */

static uint32_t tool(struct fixture *f, struct tg_run *r, const char *name, const char *arguments)
{
    uint32_t call = 0;
    char part[80];
    assert_int_equal(
        tg_run_tool_started(r, name, arguments, arguments == NULL ? 0 : strlen(arguments), &call),
        TG_ERR_OK);
    (void)snprintf(part, sizeof part,
                   "\"tool_call_id\":\"call_%u\",\"name\":\"%s\",\"arguments\":%s", (unsigned)call,
                   name, arguments == NULL ? "null" : arguments);
    assert_non_null(strstr(event(f, "tool_executing", tg_run_id(r)), part));
    return call;
}

static void tool_done(struct fixture *f, struct tg_run *r, uint32_t call, const char *name,
                      const char *what)
{
    char part[160];
    (void)snprintf(part, sizeof part,
                   "\"tool_call_id\":\"call_%u\",\"name\":\"%s\",%s,\"duration_ms\":",
                   (unsigned)call, name, what);
    assert_non_null(strstr(event(f, "tool_completed", tg_run_id(r)), part));
}

static void tools_come_in_pairs(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct tg_run *r = run(f);
    uint32_t outer = tool(f, r, "search", "{\"q\":1}");
    uint32_t inner = tool(f, r, "fetch", NULL);
    assert_int_not_equal(outer, inner);
    assert_int_equal(tg_run_tool_done(r, inner, NULL, 0, "no such \"page\""), TG_ERR_OK);
    tool_done(f, r, inner, "fetch", "\"error\":\"no such \\\"page\\\"\"");
    assert_int_equal(tg_run_tool_done(r, inner, "1", 1, NULL), TG_ERR_NOT_FOUND);
    assert_int_equal(tg_run_tool_done(r, outer, "[1]", 3, NULL), TG_ERR_OK);
    tool_done(f, r, outer, "search", "\"result\":[1]");
    assert_int_equal(tg_run_tool_done(r, 99, "1", 1, NULL), TG_ERR_NOT_FOUND);
    uint32_t first = tool(f, r, "a", "1");
    uint32_t second = tool(f, r, "b", "2"); /* overlapping, not nested */
    assert_int_equal(tg_run_tool_done(r, first, "1", 1, NULL), TG_ERR_OK);
    tool_done(f, r, first, "a", "\"result\":1");
    assert_int_equal(tg_run_tool_done(r, second, "2", 1, NULL), TG_ERR_OK);
    tool_done(f, r, second, "b", "\"result\":2");
    tg_run_complete(r, "1", 1);
    (void)event(f, "agent_completed", tg_run_id(r));
}

static void open_tools_are_closed_before_the_terminal_event(void **state)
{
    static const char error[] = "\"error\":\"the run ended before the tool did\"";
    struct fixture *f = *state;
    begin(f);
    for (int way = 0; way < 3; way++) {
        struct tg_run *r = run(f);
        char id[TG_RUN_ID_SIZE];
        (void)snprintf(id, sizeof id, "%s", tg_run_id(r));
        f->release_on_cancel = false;
        uint32_t outer = tool(f, r, "outer", NULL);
        uint32_t inner = tool(f, r, "inner", NULL);
        if (way == 0)
            tg_run_complete(r, "1", 1);
        else if (way == 1)
            tg_run_fail(r, TG_RUN_FAILED_OUTCOME, "script_error", "x");
        else
            assert_int_equal(tg_runs_cancel(f->bench.runs, bench_conn(&f->bench), id), TG_ERR_OK);
        tool_done(f, r, inner, "inner", error); /* innermost first */
        tool_done(f, r, outer, "outer", error);
        (void)event(f, way == 0 ? "agent_completed" : "agent_error", id);
        silence(f);
    }
}

/* --- ends from outside --------------------------------------------------------------------------------- */

static void the_client_cancels(void **state)
{
    struct fixture *f = *state;
    char text[160];
    char id[TG_RUN_ID_SIZE];
    begin(f);
    struct tg_run *other = run(f);
    struct tg_run *r = run(f);
    (void)snprintf(id, sizeof id, "%s", tg_run_id(r));
    (void)snprintf(text, sizeof text, "{\"type\":\"agent_cancel\",\"data\":{\"run_id\":\"%s\"}}",
                   id);
    bench_send_text(&f->bench, f->client, text);
    assert_non_null(strstr(event(f, "agent_error", id), "\"code\":\"cancelled\""));
    assert_int_equal(f->cancelled, 1);
    assert_null(f->runs[1]);
    assert_int_equal(outcomes(f, TG_RUN_CANCELLED_OUTCOME), 1);
    bench_send_text(&f->bench, f->client, text);
    (void)bench_expect(&f->bench, f->client, "unknown_run");
    assert_int_equal(tg_run_delta(other, "still", 5), TG_ERR_OK);
    (void)event(f, "agent_delta", tg_run_id(other));
}

static void a_run_of_another_connection_cannot_be_cancelled(void **state)
{
    struct fixture *f = *state;
    char text[160];
    begin(f);
    struct tg_run *r = run(f);
    struct bench_client *eve = bench_ready(&f->bench);
    (void)snprintf(text, sizeof text, "{\"type\":\"agent_cancel\",\"data\":{\"run_id\":\"%s\"}}",
                   tg_run_id(r));
    bench_send_text(&f->bench, eve, text);
    (void)bench_expect(&f->bench, eve, "unknown_run");
    assert_false(tg_run_is_over(r));
}

static void a_run_that_takes_too_long(void **state)
{
    struct fixture *f = *state;
    f->options.timeout_ms = 10;
    begin(f);
    struct tg_run *r = run(f);
    char id[TG_RUN_ID_SIZE];
    (void)snprintf(id, sizeof id, "%s", tg_run_id(r));
    assert_non_null(strstr(event(f, "agent_error", id), "\"code\":\"timeout\""));
    assert_int_equal(f->cancelled, 1);
    assert_int_equal(outcomes(f, TG_RUN_TIMEOUT_OUTCOME), 1);
    assert_int_equal(bench_state(&f->bench), TG_PROCESSING_READY);
}

static void no_timeout_fires_after_the_end(void **state)
{
    struct fixture *f = *state;
    f->options.timeout_ms = 10;
    f->finish_in_start = true;
    begin(f);
    execute(f);
    (void)event(f, "agent_started", NULL);
    (void)event(f, "agent_completed", NULL);
    bench_wait_ms(&f->bench, 20);
    silence(f);
}

static void limits_and_names(void **state)
{
    struct fixture *f = *state;
    f->options.max_per_connection = 2;
    begin(f);
    (void)run(f);
    struct tg_run *second = run(f);
    execute(f);
    (void)bench_expect(&f->bench, f->client, "too_many_runs");
    struct bench_client *other = bench_ready(&f->bench); /* the limit is each connection's own */
    bench_send_text(
        &f->bench, other,
        "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\",\"agent_type\":\"x\"}}");
    (void)bench_expect(&f->bench, other, "agent_started");
    tg_run_complete(second, "1", 1);
    (void)event(f, "agent_completed", tg_run_id(second));
    (void)run(f);
    bench_send_text(&f->bench, other,
                    "{\"type\":\"agent_execution\","
                    "\"data\":{\"message\":\"m\",\"agent_type\":\"unknown\"}}");
    (void)bench_expect(&f->bench, other, "unknown_agent");
    f->fallback = NULL;
    bench_send_text(&f->bench, other,
                    "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
    (void)bench_expect(&f->bench, other, "name an agent");
    assert_int_equal(f->started, 4);
}

/* --- I4: the connection is over ------------------------------------------------------------------------- */

static void close_while_running(void **state)
{
    struct fixture *f = *state;
    f->release_on_cancel = false;
    begin(f);
    struct tg_run *r = run(f);
    (void)tool(f, r, "t", NULL);
    assert_int_equal(tg_conn_close(bench_conn(&f->bench), 1000, ""), TG_ERR_OK);
    (void)event(f, "tool_completed", tg_run_id(r)); /* the end is still heard */
    assert_non_null(strstr(event(f, "agent_error", tg_run_id(r)), "connection_lost"));
    (void)bench_expect_close(&f->bench, f->client, 1000);
    assert_int_equal(f->cancelled, 1);
    assert_int_equal(tg_run_delta(r, "x", 1), TG_ERR_CLOSED);
    assert_int_equal(outcomes(f, TG_RUN_LOST_OUTCOME), 1);
}

static void a_lost_connection_cancels(void **state)
{
    struct fixture *f = *state;
    begin(f);
    (void)run(f);
    (void)run(f);
    bench_reset_client(f->client);
    BENCH_UNTIL(&f->bench, f->cancelled == 2);
    assert_int_equal(tg_runs_count(f->bench.runs), 0);
    assert_int_equal(outcomes(f, TG_RUN_LOST_OUTCOME), 2);
    assert_int_equal(running(f), 0);
    BENCH_UNTIL(&f->bench, tg_hub_count(f->bench.hub) == 0);
}

/* The connection is freed while the script that was cancelled is still on the stack. */
static void a_run_may_outlive_its_connection(void **state)
{
    struct fixture *f = *state;
    f->release_on_cancel = false;
    begin(f);
    struct tg_run *r = run(f);
    bench_reset_client(f->client);
    BENCH_UNTIL(&f->bench, tg_hub_count(f->bench.hub) == 0);
    assert_int_equal(tg_run_delta(r, "x", 1), TG_ERR_CLOSED);
    tg_run_complete(r, "1", 1);
    assert_null(tg_hub_find_serial(f->bench.hub, tg_run_conn_serial(r)));
    assert_int_equal(tg_runs_count(f->bench.runs), 1);
    release(f, 0);
    assert_int_equal(tg_runs_count(f->bench.runs), 0);
}

static void or_it_goes_on_unheard(void **state)
{
    struct fixture *f = *state;
    uint32_t call;
    f->options.finish_unheard = true;
    begin(f);
    struct tg_run *r = run(f);
    bench_reset_client(f->client);
    BENCH_UNTIL(&f->bench, tg_hub_count(f->bench.hub) == 0);
    assert_int_equal(f->cancelled, 0);
    assert_int_equal(running(f), 1);
    assert_false(tg_run_is_over(r));
    assert_int_equal(tg_run_delta(r, "x", 1), TG_ERR_OK);
    assert_int_equal(tg_run_tool_started(r, "t", NULL, 0, &call), TG_ERR_OK);
    assert_int_equal(tg_run_tool_done(r, call + 1, "1", 1, NULL), TG_ERR_NOT_FOUND);
    assert_int_equal(tg_run_tool_done(r, call, "1", 1, NULL), TG_ERR_OK);
    assert_int_equal(tg_run_tool_started(r, "left open", NULL, 0, &call), TG_ERR_OK);
    tg_run_complete(r, "1", 1);
    assert_int_equal(running(f), 0);
    assert_int_equal(outcomes(f, TG_RUN_COMPLETED_OUTCOME), 1);
}

static void an_unheard_run_can_time_out(void **state)
{
    struct fixture *f = *state;
    f->options.finish_unheard = true;
    f->options.timeout_ms = 15;
    begin(f);
    (void)run(f);
    bench_reset_client(f->client);
    BENCH_UNTIL(&f->bench, f->cancelled == 1);
    assert_int_equal(outcomes(f, TG_RUN_TIMEOUT_OUTCOME), 1);
    assert_int_equal(tg_runs_count(f->bench.runs), 0);
}

/* Fills the outbox up to `bytes`, all of it waiting behind a socket that takes nothing. */
static void fill_outbox(struct fixture *f, size_t bytes)
{
    static char text[3000];
    struct tg_conn *conn = bench_conn(&f->bench);
    f->client->deaf = true;
    while (tg_conn_stats(conn).outbox_bytes + 10 < bytes) {
        size_t room = bytes - tg_conn_stats(conn).outbox_bytes;
        assert_int_equal(tg_conn_send_binary(conn, text, room > 3000 ? 3000 : room - 9), TG_ERR_OK);
        bench_turn(&f->bench);
    }
}

static void a_client_too_slow_for_events(void **state)
{
    struct fixture *f = *state;
    static char text[20000];
    memset(text, 'x', sizeof text);
    f->bench.options.outbox_bytes = 100000;
    begin(f);
    struct tg_run *r = run(f);
    (void)tool(f, r, "t", NULL);
    f->client->deaf = true;
    enum tg_err err = TG_ERR_OK;
    while (err == TG_ERR_OK && f->runs[0] != NULL) {
        err = tg_run_delta(r, text, sizeof text); /* in the end frees the run from inside */
        bench_turn(&f->bench);
    }
    assert_int_equal(err, TG_ERR_LIMIT);
    assert_null(f->runs[0]);
    assert_int_equal(f->cancelled, 1);
    assert_int_equal(outcomes(f, TG_RUN_LOST_OUTCOME), 1);
}

/* The same, with a tool's answer and a terminal event as the last straw. */
static void the_last_straw(void **state)
{
    struct fixture *f = *state;
    static char text[20003];
    const size_t len = sizeof text - 1;
    memset(text, '1', len);
    f->bench.options.outbox_bytes = 100000;
    for (int way = 0; way < 3; way++) {
        begin(f);
        struct tg_run *r = run(f);
        uint32_t call = tool(f, r, "t", NULL);
        f->client->deaf = true;
        /* As much as fits, so that the next is too much. */
        while (tg_conn_stats(bench_conn(&f->bench)).outbox_bytes < 85000) {
            assert_int_equal(tg_run_delta(r, text, 3000), TG_ERR_OK);
            bench_turn(&f->bench);
        }
        if (way == 0)
            assert_int_equal(tg_run_tool_done(r, call, text, len, NULL), TG_ERR_LIMIT);
        else if (way == 1)
            assert_int_equal(tg_run_tool_started(r, text, NULL, 0, &call), TG_ERR_LIMIT);
        else
            tg_run_complete(r, text, len);
        assert_int_equal(bench_state(&f->bench), TG_CLOSING);
        assert_int_equal(f->cancelled, way < 2);
        if (way == 2)
            release(f, 0);
        bench_stop(&f->bench);
        bench_init(&f->bench);
        f->bench.options.outbox_bytes = 100000;
        f->started = f->cancelled = f->seq = 0;
    }
}

static void started_that_cannot_be_sent(void **state)
{
    struct fixture *f = *state;
    for (int unheard = 0; unheard < 2; unheard++) {
        f->options.finish_unheard = unheard;
        f->bench.options.outbox_bytes = 100000;
        begin(f);
        fill_outbox(f, 99950);
        execute(f);
        BENCH_UNTIL(&f->bench, bench_state(&f->bench) == TG_CLOSING);
        assert_int_equal(f->started, 0);
        assert_int_equal(tg_runs_count(f->bench.runs), 0);
        assert_int_equal(running(f), 0);
        bench_stop(&f->bench);
        bench_init(&f->bench);
    }
}

/* --- deltas that are joined ----------------------------------------------------------------------------- */

static void deltas_are_joined_while_the_client_does_not_read(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct tg_run *r = run(f);
    fill_outbox(f, 500000);
    assert_true(tg_conn_is_writing(bench_conn(&f->bench)));
    for (int i = 0; i < 10; i++)
        assert_int_equal(tg_run_delta(r, "ab ", 3), TG_ERR_OK);
    assert_int_equal(tg_run_thinking(r, "hm", 2), TG_ERR_OK);
    assert_int_equal(tg_run_delta(r, "c", 1), TG_ERR_OK);
    assert_int_equal(tg_run_delta(r, "d", 1), TG_ERR_OK);
    tg_run_complete(r, "1", 1);
    f->client->deaf = false;
    struct bench_frame frame = bench_read(&f->bench, f->client);
    while (frame.opcode == 2 && f->client->len > 0 && f->client->in[0] != 0x81)
        frame = bench_read(&f->bench, f->client);
    assert_int_equal(frame.opcode, 2); /* the last of what filled it */
    assert_non_null(strstr(event(f, "agent_delta", tg_run_id(r)),
                           "\"text\":\"ab ab ab ab ab ab ab ab ab ab \""));
    (void)event(f, "agent_thinking", tg_run_id(r));
    assert_non_null(strstr(event(f, "agent_delta", tg_run_id(r)), "\"text\":\"cd\""));
    (void)event(f, "agent_completed", tg_run_id(r));
    silence(f);
}

/* The client reads again: what comes behind that which filled the outbox. */
static struct bench_frame read_on(struct fixture *f)
{
    f->client->deaf = false;
    struct bench_frame frame = bench_read(&f->bench, f->client);
    while (frame.opcode == 2)
        frame = bench_read(&f->bench, f->client);
    return frame;
}

/* What was put off is the last straw for something else that is sent. */
static void a_joined_delta_that_does_not_fit(void **state)
{
    struct fixture *f = *state;
    static char text[2000];
    f->bench.options.outbox_bytes = 100000;
    begin(f);
    log_capture_start(); /* at level debug */
    struct tg_run *r = run(f);
    memset(text, 'x', sizeof text);
    fill_outbox(f, 99900);
    struct tg_conn *conn = bench_conn(&f->bench);
    assert_int_equal(tg_run_delta(r, text, sizeof text), TG_ERR_OK);
    assert_int_equal(tg_conn_send_text(conn, "x", 1), TG_ERR_CLOSED);
    assert_int_equal(tg_conn_state(conn), TG_CLOSING);
    assert_int_equal(f->cancelled, 1);
    assert_int_equal(read_on(f).opcode, 8); /* and nothing after it */
    assert_int_equal(f->client->len, 0);
    log_capture_stop();
}

/* What is put off for one run makes way for another's, and does not fit: that ends the connection. */
static void a_delta_is_not_put_off_on_a_connection_that_ends_meanwhile(void **state)
{
    struct fixture *f = *state;
    static char text[8000];
    f->options.finish_unheard = true;
    f->bench.options.outbox_bytes = 100000;
    begin(f);
    struct tg_run *first = run(f);
    struct tg_run *second = run(f);
    memset(text, 'x', sizeof text);
    fill_outbox(f, 99000);
    struct tg_conn *conn = bench_conn(&f->bench);
    assert_int_equal(tg_run_delta(first, text, sizeof text), TG_ERR_OK);
    assert_int_equal(tg_run_delta(second, "unheard", 7), TG_ERR_OK);
    assert_int_equal(tg_conn_state(conn), TG_CLOSING);
    assert_int_equal(f->cancelled, 0);
    assert_ptr_equal(first, f->runs[0]);
    finish(f, 0);
    finish(f, 1);
    assert_int_equal(read_on(f).opcode, 8); /* the connection goes on writing, without them */
}

static void joined_deltas_are_forgotten_with_the_connection(void **state)
{
    struct fixture *f = *state;
    for (int unheard = 0; unheard < 2; unheard++) {
        f->options.finish_unheard = unheard;
        begin(f);
        struct tg_run *r = run(f);
        fill_outbox(f, 500000);
        assert_int_equal(tg_run_delta(r, "lost", 4), TG_ERR_OK);
        bench_reset_client(f->client);
        BENCH_UNTIL(&f->bench, tg_hub_count(f->bench.hub) == 0);
        if (unheard) {
            assert_int_equal(tg_run_delta(r, "unheard", 7), TG_ERR_OK);
            finish(f, 0);
        }
        assert_int_equal(tg_runs_count(f->bench.runs), 0);
        bench_stop(&f->bench);
        bench_init(&f->bench);
        f->started = f->cancelled = f->seq = 0;
    }
}

static void the_drain_deadline_ends_all(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct tg_run *a = run(f);
    f->release_on_cancel = false;
    tg_run_complete(a, "1", 1); /* over, but still on a stack somewhere */
    (void)event(f, "agent_completed", tg_run_id(a));
    (void)run(f);
    (void)run(f);
    tg_runs_end_all(f->bench.runs, "drain", "the server is shutting down");
    for (int i = 0; i < 2; i++)
        assert_non_null(strstr(event(f, "agent_error", NULL), "\"code\":\"drain\""));
    assert_int_equal(f->cancelled, 2);
    assert_int_equal(bench_state(&f->bench), TG_PROCESSING_READY);
    assert_int_equal(tg_runs_count(f->bench.runs), 3);
}

static void no_memory_for_a_run(void **state)
{
    struct fixture *f = *state;
    begin(f);
    for (long n = 0;; n++) {
        struct tg_run_request request = {.input_json = "{}", .input_json_len = 2};
        (void)tg_memory_fail_after(n, 0);
        enum tg_err err = tg_runs_start(f->bench.runs, bench_conn(&f->bench), &request);
        bool injected = tg_memory_fail_after(-1, 0) > (size_t)n;
        if (!injected) {
            assert_int_equal(err, TG_ERR_OK);
            break;
        }
        assert_int_not_equal(err, TG_ERR_OK);
        assert_int_equal(f->started, 0);
        assert_int_equal(tg_runs_count(f->bench.runs), 0);
        if (!tg_conn_is_open(bench_conn(&f->bench))) {
            bench_reset_client(f->client);
            BENCH_UNTIL(&f->bench, tg_hub_count(f->bench.hub) == 0);
            f->client = bench_ready(&f->bench);
        }
    }
    assert_int_equal(f->started, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(started_events_completed),
        T(details_stand_beside_the_response),
        T(started_comes_before_anything_the_executor_does),
        T(nothing_after_the_terminal_event),
        T(runs_side_by_side_share_the_sequence),
        T(tools_come_in_pairs),
        T(open_tools_are_closed_before_the_terminal_event),
        T(the_client_cancels),
        T(a_run_of_another_connection_cannot_be_cancelled),
        T(a_run_that_takes_too_long),
        T(no_timeout_fires_after_the_end),
        T(limits_and_names),
        T(close_while_running),
        T(a_lost_connection_cancels),
        T(a_run_may_outlive_its_connection),
        T(or_it_goes_on_unheard),
        T(an_unheard_run_can_time_out),
        T(a_client_too_slow_for_events),
        T(the_last_straw),
        T(started_that_cannot_be_sent),
        T(deltas_are_joined_while_the_client_does_not_read),
        T(a_joined_delta_that_does_not_fit),
        T(a_delta_is_not_put_off_on_a_connection_that_ends_meanwhile),
        T(joined_deltas_are_forgotten_with_the_connection),
        T(the_drain_deadline_ends_all),
        T(no_memory_for_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
