/* migrate_test.c - a connection's step from one version of the policy to the next, on real connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "connection/connection.h"
#include "script/host_internal.h"
#include "support/log_capture.h"
#include "support/stage.h"

#define HEAD                                                                                       \
    "local time, log = require 'tidegate.time', require 'tidegate.log'\n"                          \
    "local function authenticate() return {user_id = 'ann'} end\n"

/* Counts in an old-fashioned session. */
#define FIRST                                                                                      \
    HEAD "return { authenticate = authenticate,\n"                                                 \
         "message = function(conn, m) conn.session.n = (conn.session.n or 0) + 1\n"                \
         "  conn:send({old = conn.session.n}) end,\n"                                              \
         "agents = { a = function(run, input) return 'old ' .. input.message end } }"

/* What a second version does; it needs the session in its own form. */
#define SECOND(migrate)                                                                            \
    HEAD "return { authenticate = authenticate,\n"                                                 \
         "migrate = function(conn, session, from) " migrate " end,\n"                              \
         "message = function(conn, m) conn:send({total = conn.session.total, m = m.m,\n"           \
         "  from = conn.session.from, version = conn.policy_version}) end,\n"                      \
         "closed = function(conn, info) log.info('bye', {total = conn.session.total or -1,\n"      \
         "  code = info.code, reason = info.reason}) end,\n"                                       \
         "agents = { a = function(run, input)\n"                                                   \
         "  return input.message .. ' ' .. (run.conn.session.total or '?') end } }"

#define RENAME "session.total, session.n, session.from = session.n, nil, from"
#define WAITING "log.info('migrating') time.sleep(session.pause or 0.05) " RENAME

static struct bench_client *serve_first(struct stage *stage)
{
    stage_load(stage, FIRST);
    struct bench_client *client = bench_ready(&stage->bench);
    bench_send_text(&stage->bench, client, "{\"type\":\"x\"}");
    bench_expect(&stage->bench, client, "{\"old\":1}");
    return client;
}

static uint64_t outcomes(const struct stage *stage, enum tg_hook_outcome outcome)
{
    return tg_counter_get(&stage->bench.metrics->hook_outcomes[TG_HOOK_MIGRATE][outcome]);
}

static void send_message(struct stage *stage, struct bench_client *client, const char *m)
{
    char text[128];
    (void)snprintf(text, sizeof text, "{\"type\":\"x\",\"m\":\"%s\"}", m);
    bench_send_text(&stage->bench, client, text);
}

static void send_run(struct stage *stage, struct bench_client *client, const char *m)
{
    char text[128];
    (void)snprintf(text, sizeof text,
                   "{\"type\":\"agent_execution\",\"data\":{\"message\":\"%s\"}}", m);
    bench_send_text(&stage->bench, client, text);
}

static void it_runs_once_and_before_the_first_hook(void **state)
{
    char old[TG_POLICY_VERSION_SIZE], expected[128];
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client = serve_first(stage);
    memcpy(old, tg_host_version(stage->host), sizeof old);
    stage_load(stage, SECOND(RENAME));
    send_message(stage, client, "one");
    const char *got = bench_expect(bench, client, "\"total\":1");
    (void)snprintf(expected, sizeof expected, "\"from\":\"%s\"", old);
    assert_non_null(strstr(got, expected));
    (void)snprintf(expected, sizeof expected, "\"version\":\"%s\"", tg_host_version(stage->host));
    assert_non_null(strstr(got, expected));
    send_message(stage, client, "two");
    bench_expect(bench, client, "\"m\":\"two\"");
    assert_int_equal(outcomes(stage, TG_HOOK_OK_OUTCOME), 1);
    /* A newcomer has nothing to bring along. */
    struct bench_client *other = bench_ready(bench);
    send_message(stage, other, "three");
    assert_null(strstr(bench_expect(bench, other, "\"m\":\"three\""), "total"));
    assert_int_equal(outcomes(stage, TG_HOOK_OK_OUTCOME), 1);
}

static void the_same_version_again_needs_none(void **state)
{
    struct stage *stage = *state;
    struct bench_client *client;
    stage_load(stage, SECOND("error('never')"));
    client = bench_ready(&stage->bench);
    stage_load(stage, SECOND("error('never')"));
    send_message(stage, client, "x");
    bench_expect(&stage->bench, client, "\"m\":\"x\"");
}

static void going_back_migrates_too(void **state)
{
    struct stage *stage = *state;
    struct bench_client *client;
    stage_load(stage, SECOND("session.from = 'a'"));
    client = bench_ready(&stage->bench);
    stage_load(stage, SECOND("session.from = 'b'"));
    send_message(stage, client, "x");
    bench_expect(&stage->bench, client, "\"from\":\"b\"");
    stage_load(stage, SECOND("session.from = 'a'"));
    send_message(stage, client, "x");
    bench_expect(&stage->bench, client, "\"from\":\"a\"");
}

static void what_came_meanwhile_waits_in_order(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client = serve_first(stage);
    stage_load(stage, SECOND(WAITING));
    send_run(stage, client, "run one");
    send_run(stage, client, "run two");
    send_message(stage, client, "last");
    bench_expect(bench, client, "agent_started");
    bench_expect(bench, client, "agent_started");
    bench_expect(bench, client, "\"response\":\"run one 1\"");
    bench_expect(bench, client, "\"response\":\"run two 1\"");
    bench_expect(bench, client, "\"m\":\"last\"");
    assert_int_equal(outcomes(stage, TG_HOOK_OK_OUTCOME), 1);
}

static void a_message_that_waits_keeps_its_bytes(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client = serve_first(stage);
    stage_load(stage, SECOND(WAITING));
    send_message(stage, client, "kept");
    BENCH_UNTIL(bench, log_capture_has("migrating"));
    send_message(stage, client, "over what was read before");
    bench_expect(bench, client, "\"m\":\"kept\"");
    bench_expect(bench, client, "\"m\":\"over what");
}

static void a_hook_that_is_cancelled_takes_its_migration_along(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client = serve_first(stage);
    stage_load(
        stage,
        SECOND("session.seen = (session.seen or 0) + 1 "
               "if session.seen == 1 then log.info('migrating') time.sleep(60) end " RENAME));
    send_message(stage, client, "x");
    BENCH_UNTIL(bench, log_capture_has("migrating"));
    struct tg_conn *conn = bench_conn(bench);
    assert_int_equal(tg_conn_close(conn, 4000, "enough"), TG_ERR_OK);
    bench_expect_close(bench, client, 4000);
    bench_close_client(client);
    /* `closed` needs a session that is migrated, and the first attempt counts for nothing. */
    BENCH_UNTIL(bench, log_capture_has("message=bye"));
    assert_true(log_capture_has("total=1"));
    assert_true(log_capture_has("reason=enough"));
    BENCH_UNTIL(bench, tg_hub_count(bench->hub) == 0);
    assert_int_equal(outcomes(stage, TG_HOOK_CANCELLED_OUTCOME), 1);
    assert_int_equal(outcomes(stage, TG_HOOK_OK_OUTCOME), 1);
    assert_int_equal(stage->host->migrations.count, 0);
}

static void a_run_that_is_cancelled_takes_it_along_too(void **state)
{
    char cancel[128];
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client = serve_first(stage);
    stage_load(stage, SECOND("session.seen = (session.seen or 0) + 1 "
                             "if session.seen == 1 then time.sleep(60) end " RENAME));
    send_run(stage, client, "x");
    const char *started = bench_expect(bench, client, "agent_started");
    const char *id = strstr(started, "run_id") + strlen("run_id\":\"");
    (void)snprintf(cancel, sizeof cancel,
                   "{\"type\":\"agent_cancel\",\"data\":{\"run_id\":\"%.*s\"}}",
                   (int)strcspn(id, "\""), id);
    bench_send_text(bench, client, cancel);
    bench_expect(bench, client, "\"code\":\"cancelled\"");
    assert_int_equal(outcomes(stage, TG_HOOK_CANCELLED_OUTCOME), 1);
    send_message(stage, client, "then");
    bench_expect(bench, client, "\"total\":1");
    assert_int_equal(outcomes(stage, TG_HOOK_OK_OUTCOME), 1);
}

/* How a migration fails, and what the log says. */
static const struct {
    const char *policy;
    const char *reason;
    const char *log;
} faults[] = {
    {SECOND("error('cannot')"), "policy error", "cannot"},
    {SECOND("while true do end"), "policy computed too long", "outcome=cpu_budget"},
    {SECOND("time.sleep(60)"), "policy took too long", "outcome=wall_budget"},
    {SECOND("session.f = print"), "policy error", "session"},
};

static void check_fault(struct stage *stage, size_t i, bool by_run)
{
    struct bench *bench = &stage->bench;
    struct bench_client *client = serve_first(stage);
    stage_load(stage, faults[i].policy);
    log_capture_clear();
    if (by_run) {
        send_run(stage, client, "x");
        bench_expect(bench, client, "agent_started");
        bench_expect(bench, client, "agent_error");
    } else {
        send_message(stage, client, "x");
    }
    assert_string_equal(bench_expect_close(bench, client, 1011), faults[i].reason);
    stage_send_clients_home(stage);
    if (!log_capture_has(faults[i].log) || log_capture_matches("hook=migrate") != 1)
        fail_msg("%s\n%s", faults[i].policy, stage_log());
    assert_int_equal(log_capture_matches("message=bye"), 1); /* comes whatever happens */
    assert_true(log_capture_has("code=1011"));
}

static void one_that_fails_fails_the_connection(void **state)
{
    struct stage *stage = *state;
    stage->cpu_budget_ms = 100;
    stage->wall_budget_ms = 200;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        check_fault(stage, i, false);
        check_fault(stage, i, true);
    }
}

static void closed_comes_even_when_it_is_what_migrates(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client = serve_first(stage);
    stage_load(stage, SECOND("error('cannot')"));
    bench_send_close(bench, client, 1000, "done");
    bench_expect_close(bench, client, 1000);
    bench_close_client(client);
    BENCH_UNTIL(bench, tg_hub_count(bench->hub) == 0);
    assert_int_equal(log_capture_matches("message=bye"), 1);
    assert_true(log_capture_has("reason=done"));
    assert_int_equal(outcomes(stage, TG_HOOK_ERROR_OUTCOME), 1);
}

static void what_waits_runs_on_the_version_it_was_migrated_to(void **state)
{
    char second[TG_POLICY_VERSION_SIZE], expected[64];
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client = serve_first(stage);
    stage_load(stage, SECOND(WAITING));
    memcpy(second, tg_host_version(stage->host), sizeof second);
    send_message(stage, client, "x");
    BENCH_UNTIL(bench, log_capture_has("migrating"));
    stage_load(stage, SECOND("session.total = 'third'"));
    (void)snprintf(expected, sizeof expected, "\"version\":\"%s\"", second);
    bench_expect(bench, client, expected);
    send_message(stage, client, "y");
    bench_expect(bench, client, "\"total\":\"third\"");
    assert_int_equal(outcomes(stage, TG_HOOK_OK_OUTCOME), 2);
    BENCH_UNTIL(bench, tg_host_generations(stage->host) == 1);
}

static void one_whose_version_is_ended_fails_with_the_reason(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client = serve_first(stage);
    stage_load(stage, SECOND("log.info('migrating') time.sleep(60)"));
    send_message(stage, client, "x");
    BENCH_UNTIL(bench, log_capture_has("migrating"));
    stage->host->options.max_generations = 1;
    stage_load(stage, FIRST);
    assert_non_null(strstr(bench_expect_close(bench, client, 1011), "reloaded"));
}

/* Each allocation in turn fails: the hook or run is answered one way or another, and nothing leaks. */
static void without_memory_nothing_is_left_over(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    for (long n = 0; n < 12; n++) {
        struct bench_client *client = serve_first(stage);
        struct tg_hook_input input = {.data = "{\"type\":\"x\"}", .len = 12};
        struct tg_conn *conn = bench_conn(bench);
        stage_load(stage, SECOND(WAITING));
        (void)tg_memory_fail_after(n, 0);
        tg_host_hook_start(stage->host, conn, TG_HOOK_MESSAGE, &input);
        (void)tg_memory_fail_after(-1, 0);
        tg_host_hook_cancel(stage->host, conn);
        assert_int_equal(stage->host->migrations.count, 0);
        assert_int_equal(stage->host->hook_calls.count, 0);
        bench_close_client(client);
        stage_send_clients_home(stage);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_runs_once_and_before_the_first_hook),
        TEST(the_same_version_again_needs_none),
        TEST(going_back_migrates_too),
        TEST(what_came_meanwhile_waits_in_order),
        TEST(a_message_that_waits_keeps_its_bytes),
        TEST(a_hook_that_is_cancelled_takes_its_migration_along),
        TEST(a_run_that_is_cancelled_takes_it_along_too),
        TEST(one_that_fails_fails_the_connection),
        TEST(closed_comes_even_when_it_is_what_migrates),
        TEST(what_waits_runs_on_the_version_it_was_migrated_to),
        TEST(one_whose_version_is_ended_fails_with_the_reason),
        TEST(without_memory_nothing_is_left_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
