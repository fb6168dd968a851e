/* api_task_conn_test.c - tasks of hooks and agents of real connections: what they send, keep and log, and
 * that nothing of them outlives their connection or their version's time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "connection/connection.h"
#include "script/call/call.h"
#include "script/host_internal.h"
#include "support/log_capture.h"
#include "support/stage.h"

static struct bench_client *serve(struct stage *stage, const char *code)
{
    char text[4096];

    (void)snprintf(text, sizeof text,
                   "local tide, time, log = require 'tidegate', require 'tidegate.time', "
                   "require 'tidegate.log'\n"
                   "return { authenticate = function() return {user_id = 'u'} end,\n%s }",
                   code);
    stage_load(stage, text);
    return bench_ready(&stage->bench);
}

static void test_tasks_send_and_see_the_connection(void **state)
{
    stage_run(*state, "local r = tide.all{ id = function() time.sleep(0) return conn.id end,\n"
                      "  sent = function() return conn:send({type = 'from_a_task'}) end,\n"
                      "  other = function() return tide.send(conn.id, 'text') end }\n"
                      "assert(r.id == conn.id and r.sent == true and r.other == true)");
}

static void test_tasks_of_an_agent_stream_and_use_tools(void **state)
{
    char events[4096];
    const char *last = stage_agent(
        *state,
        "local r = tide.all{\n"
        "  function() run:delta('from a task') return 1 end,\n"
        "  function() return run:tool('look', {q = 1}, function() time.sleep(0.01) return 2 end) "
        "end,\n"
        "  function() return run:tool('read', {}, function() time.sleep(0) return 3 end) end }\n"
        "log.info('in a run') return r[1] + r[2] + r[3]",
        events, sizeof events);
    assert_non_null(strstr(last, "\"response\":6"));
    assert_non_null(strstr(events, "from a task"));
    /* Both tools are open at once. */
    const char *read = strstr(events, "\"name\":\"read\"");
    const char *done = strstr(events, "tool_completed");
    assert_true(read != NULL && done != NULL && read < done);
}

static void test_log_lines_of_a_task_name_its_run(void **state)
{
    char events[4096];
    (void)stage_agent(*state, "tide.spawn(function() log.info('from below') end):wait() return 1",
                      events, sizeof events);
    bool named = false;
    for (size_t i = 0; i < log_capture_count(); i++)
        named = named || (strstr(log_capture_line(i), "from below") != NULL &&
                          strstr(log_capture_line(i), " run=") != NULL);
    assert_true(named);
}

/* One table for the hook and its tasks; whoever of them waits or ends writes it back. */
static void test_the_session_is_one_for_a_hook_and_its_tasks(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client =
        serve(stage, "message = function(conn, m)\n"
                     "  local s = conn.session\n"
                     "  s.order = (s.order or '') .. 'm'\n"
                     "  local r = tide.all{\n"
                     "    function() conn.session.order = s.order .. 'a' time.sleep(0.01)\n"
                     "      s.order = s.order .. 'A' s.a = true end,\n"
                     "    function() s.order = conn.session.order .. 'b' time.sleep(0)\n"
                     "      conn.session.order = conn.session.order .. 'B' s.b = true end }\n"
                     "  s.order = s.order .. 'e'\n"
                     "  assert(s == conn.session)\n"
                     "end, binary = function(conn) conn:send(conn.session) end");
    bench_send_text(bench, client, "{\"type\":\"go\"}");
    bench_send_frame(bench, client, 2, "x", 1);
    const char *text = bench_expect(bench, client, "order");
    assert_non_null(strstr(text, "\"order\":\"mabBAe\""));
    assert_non_null(strstr(text, "\"a\":true"));
    assert_non_null(strstr(text, "\"b\":true"));
}

static void test_what_a_task_leaves_in_the_session_is_kept_when_it_waits(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client =
        serve(stage, "message = function(conn)\n"
                     "  local s = conn.session\n"
                     "  tide.spawn(function() s.kept = 1 log.info('kept')\n"
                     "    time.sleep(60) end)\n"
                     "  time.sleep(60) end");
    struct tg_conn *conn = bench_conn(bench);
    uint32_t before = tg_conn_session_revision(conn);
    bench_send_text(bench, client, "{\"type\":\"go\"}");
    BENCH_UNTIL(bench, log_capture_has("kept"));
    bench_turns(bench, 2);
    assert_int_equal(tg_conn_session_revision(conn), before + 2); /* by both */
}

static void test_what_cannot_be_kept_is_the_task_s_error(void **state)
{
    stage_run(*state, "local ok, why = pcall(tide.all, {function() conn.session.f = print end})\n"
                      "assert(not ok and why:find('conn.session.f is a function', 1, true), why)\n"
                      "conn.session.f = nil");
}

static void test_a_lost_connection_ends_the_tasks_of_its_agents(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client =
        serve(stage, "agents = { actor = function(run)\n"
                     "  tide.all{ function() log.info('begun') time.sleep(60) end,\n"
                     "    function() while run:delta('x') do time.sleep(0.005) end end } end }");
    bench_send_text(bench, client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"x\"}}");
    BENCH_UNTIL(bench, log_capture_has("begun"));
    assert_int_equal(stage->host->current->call_count, 3);
    bench_reset_client(client);
    BENCH_UNTIL(bench, stage->host->current->call_count == 0);
    assert_false(log_capture_has("run.failed"));
}

/* The hook is cancelled while one of its tasks runs: it ends where it waits next. */
static void test_a_task_can_fail_its_connection(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client = serve(
        stage,
        "message = function(conn)\n"
        "  tide.all{ function() time.sleep(60) end, function()\n"
        "    pcall(function() conn.id = 'mine' end) log.info('failed it')\n"
        "    local t = tide.spawn(print) conn:send('x') tide.all{print} t:wait() time.sleep(0)\n"
        "    log.info('not reached') end } end");
    bench_send_text(bench, client, "{\"type\":\"go\"}");
    BENCH_UNTIL(bench, log_capture_has("failed it") && stage->host->current->call_count == 0);
    assert_false(log_capture_has("not reached"));
    assert_false(log_capture_has("task.failed"));
}

static void test_tasks_drain_with_their_version(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct bench_client *client = serve(
        stage, "message = function(conn)\n"
               "  local r = tide.all{ function() log.info('begun') time.sleep(0.02)\n"
               "    return tide.spawn(function() time.sleep(0.01) return 'old' end):wait() end }\n"
               "  conn:send(r[1]) end");
    bench_send_text(bench, client, "{\"type\":\"go\"}");
    BENCH_UNTIL(bench, log_capture_has("begun"));
    stage_load(stage, "return { authenticate = function() return {user_id = 'u'} end }");
    assert_int_equal(tg_host_generations(stage->host), 2);
    bench_expect(bench, client, "old");
    BENCH_UNTIL(bench, tg_host_generations(stage->host) == 1);
}

/* Two tasks and their agent send to a client that takes nothing, and all go on when it reads again. */
static void test_tasks_wait_for_a_slow_client(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage->wall_budget_ms = 400;
    struct bench_client *client =
        serve(stage, "message = function(conn)\n"
                     "  local text, sent, slept = ('x'):rep(60000), 0, false\n"
                     "  local function send() for i = 1, 100 do assert(conn:send(text)) sent = "
                     "sent + 1 end end\n"
                     "  tide.all{ send, send, function() time.sleep(0.01) slept = true end }\n"
                     "  conn:send('sent ' .. sent .. tostring(slept)) end");
    client->deaf = true;
    bench_send_text(bench, client, "{\"type\":\"go\"}");
    uint64_t until = tg_timers_now_ms(bench->timers) + 600; /* longer than the wall budget */
    BENCH_UNTIL(bench, tg_timers_now_ms(bench->timers) > until);
    assert_int_equal(stage->host->current->call_count, 3); /* the sleeper has ended */
    client->deaf = false;
    int texts = 0;
    struct bench_frame frame = bench_read(bench, client);
    for (; frame.data[0] == 'x'; frame = bench_read(bench, client))
        texts++;
    assert_string_equal(frame.data, "sent 200true");
    assert_int_equal(texts, 200);
    assert_false(log_capture_has("hook.failed"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tasks_send_and_see_the_connection),
        TEST(test_tasks_of_an_agent_stream_and_use_tools),
        TEST(test_log_lines_of_a_task_name_its_run),
        TEST(test_the_session_is_one_for_a_hook_and_its_tasks),
        TEST(test_what_a_task_leaves_in_the_session_is_kept_when_it_waits),
        TEST(test_what_cannot_be_kept_is_the_task_s_error),
        TEST(test_a_lost_connection_ends_the_tasks_of_its_agents),
        TEST(test_a_task_can_fail_its_connection),
        TEST(test_tasks_drain_with_their_version),
        TEST(test_tasks_wait_for_a_slow_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
