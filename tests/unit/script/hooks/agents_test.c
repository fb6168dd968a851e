/* agents_test.c - agents in a real policy: the events a client sees, whatever the agent does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "support/log_capture.h"
#include "support/stage.h"

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

#define EXECUTE "{\"type\":\"agent_execution\",\"data\":{\"message\":\"hello\"}}"

/* code of the agent -> part of its terminal event, and of the log (NULL: no run.failed). */
static const struct {
    const char *code;
    const char *event;
    const char *log;
} rows[] = {
    {"return 'answer'", "\"response\":\"answer\"", NULL},
    {"return {a = {1, 2}}", "\"response\":{\"a\":[1,2]}", NULL},
    {"return 7", "\"response\":7", NULL},
    {"return", "\"response\":null", NULL},
    {"return ('a-b'):gsub('a', 'c')", "\"response\":\"c-b\"", NULL},
    {"return nil, 7", "\"response\":null", NULL},
    {"return false, 'no'", "\"response\":false", NULL},
    {"return nil, 'sold out'", "\"data\":{\"code\":\"agent_failed\",\"message\":\"sold out\"}",
     NULL},
    {"return nil, 'sold out', 'no_stock'",
     "\"data\":{\"code\":\"no_stock\",\"message\":\"sold out\"}", NULL},
    {"return nil, ('x'):rep(600), 'long'", "\"message\":\"xxxx", NULL},
    {"return nil, 'why', 'No Stock'", "\"code\":\"script_error\"", "third result is the code"},
    {"return nil, 'why', {}", "\"code\":\"script_error\"", "third result is the code"},
    {"return nil, 'why', ('x'):rep(65)", "\"code\":\"script_error\"", "third result is the code"},
    {"return 'a', {usage = {total_tokens = 7}}", ",\"usage\":{\"total_tokens\":7}}}", NULL},
    {"return nil, {finish_reason = 'length'}", "\"response\":null,", NULL},
    {"return 'a', {}", "\"response\":\"a\",\"duration_ms\":", NULL},
    {"return 'a', {1, 2}", "\"code\":\"script_error\"", "second result is a list"},
    {"return 'a', {response = 1}", "\"code\":\"script_error\"", "cannot have response"},
    {"return 'a', {usage = print}", "\"code\":\"script_error\"", "details.usage is a function"},
    {"return input.message", "\"response\":\"hello\"", NULL},
    {"return input", "\"response\":{\"message\":\"hello\"}", NULL},
    {"input.message = 'mine' return input.message", "\"response\":\"mine\"", NULL},
    {"return run.agent", "\"response\":\"actor\"", NULL},
    {"return run.conn.user_id", "\"response\":\"ann\"", NULL},
    {"return run.id:match('^run_%x+_%x+$') ~= nil", "\"response\":true", NULL},
    {"return tostring(run) == 'run ' .. run.id", "\"response\":true", NULL},
    {"return {run:thinking('a'), run:delta('b')}", "\"response\":[true,true]", NULL},
    {"return run:cancelled()", "\"response\":false", NULL},
    {"time.sleep(0.001) return 'slept'", "\"response\":\"slept\"", NULL},
    {"error('secret')", "\"code\":\"script_error\"", "secret"},
    {"error('secret')", "\"message\":\"the agent failed\"", "traceback"},
    {"error({})", "\"code\":\"script_error\"", "error object is a table"},
    {"return print", "\"code\":\"script_error\"", "response is a function"},
    {"return {a = {run}}", "\"code\":\"script_error\"", "response.a[1] is userdata"},
    {"while true do end", "\"code\":\"cpu_budget\"", "outcome=cpu_budget"},
    {"local s, t = ('x'):rep(1e6), {} for i = 1, 99 do t[i] = s .. i end", "\"code\":\"memory\"",
     "outcome=memory"},
    {"run.id = 'x'", "\"code\":\"script_error\"", "run.id cannot be set: run is read-only"},
    {"run.note = 'x'", "\"code\":\"script_error\"", "run.note cannot be set"},
    {"return run.idd", "\"code\":\"script_error\"", "did you mean \\\"id\\\"?"},
    {"run.delta('x')", "\"code\":\"script_error\"", "run expected, got string"},
    {"run:delta({})", "\"code\":\"script_error\"", "run:delta: text expected, got table"},
    {"run:tool('name', {})", "\"code\":\"script_error\"", "run:tool: a function expected"},
    {"run:tool('', {}, print)", "\"code\":\"script_error\"", "run:tool: a name"},
    {"run:tool('name', {print}, print)", "\"code\":\"script_error\"", "arguments[1] is a function"},
    {"return run:tool('t', {q = 1}, function(a) return a.q + 1 end)", "\"response\":2", NULL},
    {"return {run:tool('t', nil, function() return 1, 2, 3 end)}", "\"response\":[1,2,3]", NULL},
    {"return {run:tool('t', {}, function() time.sleep(0.001) return 'late' end)}",
     "\"response\":[\"late\"]", NULL},
    {"return select('#', run:tool('t', nil, function() end)) <= 1", "\"response\":true", NULL},
    {"return {pcall(run.tool, run, 't', nil, function() error('boom', 0) end)}",
     "\"response\":[false,\"boom\"]", NULL},
    {"return {pcall(run.tool, run, 't', nil, function() return print end)}", "result is a function",
     NULL},
    {"run:tool('t', nil, function() error('boom') end)", "\"code\":\"script_error\"", "boom"},
    {"run:tool('t', nil, function() while true do end end)", "\"code\":\"cpu_budget\"",
     "outcome=cpu_budget"},
    {"return coroutine.wrap(function() return run:tool('t', nil, function() time.sleep(0) "
     "return 5 end) end)()",
     "\"response\":5", NULL},
};

static void test_every_end(void **state)
{
    struct stage *stage = *state;
    stage->cpu_budget_ms = 200;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char events[4096];
        log_capture_clear();
        const char *last = stage_agent(stage, rows[i].code, events, sizeof events);
        if (strstr(last, rows[i].event) == NULL)
            fail_msg("%s\ngave %s\n%s", rows[i].code, last, stage_log());
        if (strstr(last, "secret") != NULL || strstr(last, "policy.lua:") != NULL)
            assert_non_null(strstr(rows[i].code, "pcall"));
        if (rows[i].log == NULL ? log_capture_has("run.failed")
                                : !log_capture_has("run.failed") || !log_capture_has(rows[i].log))
            fail_msg("%s\n%s", rows[i].code, stage_log());
    }
}

static void test_misuse_of_tool_is_at_the_callers_line(void **state)
{
    char events[1024];
    (void)stage_agent(*state, "local x\nrun:tool('name', {})\nreturn x", events, sizeof events);
    assert_true(log_capture_has("policy.lua:3: run:tool: a function expected"));
    log_capture_clear();
    (void)stage_agent(*state,
                      "\n\nlocal r = run:tool('t', nil, function() return print end)\nreturn r",
                      events, sizeof events);
    if (!log_capture_has("policy.lua:4: run:tool: result is a function"))
        fail_msg("%s", stage_log());
}

/* The types of the events, in order. */
static void types_of(const char *events, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (const char *at = strstr(events, "\"type\":\""); at != NULL && used < size;
         at = strstr(at + 1, "\"type\":\""))
        used +=
            (size_t)snprintf(out + used, size - used, "%.*s ", (int)strcspn(at + 8, "\""), at + 8);
}

static void test_tool_events_come_in_pairs(void **state)
{
    char events[4096], types[512];
    (void)stage_agent(*state,
                      "run:thinking('hm')\n"
                      "run:tool('outer', {q = 'x'}, function()\n"
                      "  run:delta('d')\n"
                      "  pcall(run.tool, run, 'inner', nil, function() error('no such row') end)\n"
                      "  return {rows = 2} end)\n"
                      "return 'done'",
                      events, sizeof events);
    types_of(events, types, sizeof types);
    assert_string_equal(types, "agent_started agent_thinking tool_executing agent_delta "
                               "tool_executing tool_completed tool_completed ");
    assert_non_null(strstr(events, "\"arguments\":{\"q\":\"x\"}"));
    assert_non_null(strstr(events, "\"error\":\"no such row\"")); /* without file and line */
    assert_non_null(strstr(events, "\"result\":{\"rows\":2}"));
}

static void test_tool_calls_overlap(void **state)
{
    char events[4096];
    const char *last =
        stage_agent(*state,
                    "local a = coroutine.create(function() return run:tool('a', nil, function()\n"
                    "  coroutine.yield() return 'ra' end) end)\n"
                    "local b = coroutine.create(function() return run:tool('b', nil, function()\n"
                    "  coroutine.yield() return 'rb' end) end)\n"
                    "coroutine.resume(a) coroutine.resume(b)\n"
                    "local _, ra = coroutine.resume(a) local _, rb = coroutine.resume(b)\n"
                    "return {ra, rb}",
                    events, sizeof events);
    assert_non_null(strstr(last, "[\"ra\",\"rb\"]"));
}

static void test_cancel_while_waiting(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    char run_id[64], message[128];
    stage_load(stage,
               "local time, kept = require 'tidegate.time'\n"
               "return { authenticate = function() return {user_id = 'u'} end,\n"
               "agents = { slow = function(run) kept = run\n"
               "  run:tool('t', nil, function() time.sleep(60) end) end },\n"
               "message = function(conn)\n"
               "  local ok, why = kept:delta('x') assert(ok == nil and why == 'closed')\n"
               "  ok, why = kept:thinking('x') assert(ok == nil and why == 'closed')\n"
               "  ok, why = kept:tool('t', nil, error) assert(ok == nil and why == 'closed')\n"
               "  assert(kept:cancelled() and kept.agent == 'slow' and kept.conn == conn)\n"
               "  conn:send('fine') end }");
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, EXECUTE);
    const char *started = bench_expect(bench, client, "agent_started");
    const char *id = strstr(started, "\"run_id\":\"") + 10;
    snprintf(run_id, sizeof run_id, "%.*s", (int)strcspn(id, "\""), id);
    bench_expect(bench, client, "tool_executing");
    snprintf(message, sizeof message, "{\"type\":\"agent_cancel\",\"data\":{\"run_id\":\"%s\"}}",
             run_id);
    bench_send_text(bench, client, message);
    bench_expect(bench, client, "tool_completed");
    bench_expect(bench, client, "\"code\":\"cancelled\"");
    assert_int_equal(tg_runs_count(bench->runs), 0);
    bench_send_text(bench, client, "{\"type\":\"go\"}");
    bench_expect(bench, client, "fine");
}

static void test_the_connection_ends_under_the_agent(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage,
               "local log = require 'tidegate.log'\n"
               "return { authenticate = function() return {user_id = 'u'} end,\n"
               "agents = { closer = function(run)\n"
               "  run.conn:close(4000, 'enough')\n"
               "  local ok, why = run:delta('x')\n"
               "  assert(ok == nil and why == 'closed' and run:cancelled())\n"
               "  ok, why = run:tool('t', nil, error) assert(ok == nil and why == 'closed')\n"
               "  log.info('agent reached its end') end } }");
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, EXECUTE);
    bench_expect(bench, client, "agent_started");
    bench_expect(bench, client, "\"code\":\"connection_lost\"");
    bench_expect_close(bench, client, 4000);
    assert_true(log_capture_has("agent reached its end"));
    assert_int_equal(tg_runs_count(bench->runs), 0);
}

/* The send inside run:delta is what ends the connection: the run goes away below a C function. */
static void test_the_outbox_overflows_in_delta(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "local log = require 'tidegate.log'\n"
                      "return { authenticate = function() return {user_id = 'u'} end,\n"
                      "agents = { flood = function(run)\n"
                      "  assert(run:delta(('x'):rep(400000)))\n" /* not yet so much that it waits */
                      "  local ok, why = run:delta(('x'):rep(800000))\n"
                      "  assert(not ok and run:cancelled() and run:delta('y') == nil)\n"
                      "  log.info('flooded', {why = why}) end } }");
    struct bench_client *client = bench_ready(bench);
    client->deaf = true;
    bench_send_text(bench, client, EXECUTE);
    BENCH_UNTIL(bench, log_capture_has("message=flooded"));
    assert_int_equal(tg_runs_count(bench->runs), 0);
}

static void test_reload_leaves_a_run_alone(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "local time = require 'tidegate.time'\n"
                      "return { authenticate = function() return {user_id = 'u'} end,\n"
                      "agents = { slow = function(run) time.sleep(0.02) return 'old' end } }");
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, EXECUTE);
    bench_expect(bench, client, "agent_started");
    stage_load(stage, "return { authenticate = function() return {user_id = 'u'} end,\n"
                      "agents = { fast = function(run) return 'new' end } }");
    bench_expect(bench, client, "\"response\":\"old\"");
    bench_send_text(bench, client, EXECUTE);
    bench_expect(bench, client, "agent_started");
    bench_expect(bench, client, "\"response\":\"new\"");
}

static void test_many_runs_at_once(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "local time = require 'tidegate.time'\n"
                      "return { authenticate = function() return {user_id = 'u'} end,\n"
                      "agents = { slow = function(run) time.sleep(0.01) return 1 end } }");
    struct bench_client *client = bench_ready(bench);
    for (int i = 0; i < 5; i++)
        bench_send_text(bench, client, EXECUTE);
    int completed = 0, refused = 0;
    while (completed < 4 || refused < 1) {
        struct bench_frame frame = bench_read(bench, client);
        completed += strstr(frame.data, "agent_completed") != NULL;
        refused += strstr(frame.data, "too_many_runs") != NULL;
    }
}

/* Whichever allocation fails: every run ends, and with it all that it has called. */
static void test_no_memory_for_runs_that_call_runs(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "local tide = require 'tidegate'\n"
                      "local time = require 'tidegate.time'\n"
                      "return { authenticate = function() return {user_id = 'u'} end,\n"
                      "route = function() return 'all' end,\n"
                      "agents = { child = function(run, input) time.sleep(0) return input end,\n"
                      "over = function(run, input) return run:hand_off('child', input) end,\n"
                      "all = function(run) return tide.all {\n"
                      "  function() return run:call('child', {n = 1}) end,\n"
                      "  function() return run:call('over', 'x') end } end } }");
    bool injected = true;
    for (long n = 0; injected; n++) {
        struct bench_client *client = bench_ready(bench);
        bench_send_text(bench, client, EXECUTE);
        (void)tg_memory_fail_after(n, 0);
        for (int i = 0; i < 6; i++)
            bench_turn(bench);
        injected = tg_memory_fail_after(-1, 0) > (size_t)n;
        BENCH_UNTIL(bench, tg_runs_count(bench->runs) == 0);
        if (!injected)
            bench_expect(bench, client, "agent_started");
        stage_send_clients_home(stage);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_end),
        TEST(test_misuse_of_tool_is_at_the_callers_line),
        TEST(test_tool_events_come_in_pairs),
        TEST(test_tool_calls_overlap),
        TEST(test_cancel_while_waiting),
        TEST(test_the_connection_ends_under_the_agent),
        TEST(test_the_outbox_overflows_in_delta),
        TEST(test_reload_leaves_a_run_alone),
        TEST(test_many_runs_at_once),
        TEST(test_no_memory_for_runs_that_call_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
