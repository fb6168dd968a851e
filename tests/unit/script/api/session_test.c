/* api_session_test.c - conn.session: kept by the core, across hooks, waits, runs and reloads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/log_capture.h"
#include "support/stage.h"

#define COUNTER                                                                                    \
    "local time = require 'tidegate.time'\n"                                                       \
    "return { authenticate = function(conn) conn.session.from = 'start'\n"                         \
    "  return {user_id = 'u'} end,\n"                                                              \
    "message = function(conn, message)\n"                                                          \
    "  local s = conn.session\n"                                                                   \
    "  s.n = (s.n or 0) + 1\n"                                                                     \
    "  s.list = s.list or {}\n"                                                                    \
    "  table.insert(s.list, message.type)\n"                                                       \
    "  conn:send({n = s.n, from = s.from, last = s.list[#s.list], version = "

static const char *say(struct stage *stage, struct bench_client *client, const char *expected)
{
    bench_send_text(&stage->bench, client, "{\"type\":\"go\"}");
    return bench_expect(&stage->bench, client, expected);
}

static void test_survives_hooks_and_reloads(void **state)
{
    struct stage *stage = *state;
    stage_load(stage, COUNTER "1}) end }");
    struct bench_client *client = bench_ready(&stage->bench);
    assert_non_null(strstr(say(stage, client, "\"n\":1"), "\"from\":\"start\""));
    say(stage, client, "\"n\":2");
    stage_load(stage, COUNTER "2}) end }");
    const char *text = say(stage, client, "\"n\":3");
    assert_non_null(strstr(text, "\"version\":2"));
    assert_non_null(strstr(text, "\"from\":\"start\""));
}

static void test_written_back_at_each_wait(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "local time = require 'tidegate.time'\n"
                      "return { authenticate = function() return {user_id = 'u'} end,\n"
                      "message = function(conn)\n"
                      "  local s = conn.session\n"
                      "  s.step = 1 time.sleep(0) s.step = 2 time.sleep(0) s.step = 3\n"
                      "  conn:send('done') end }");
    struct bench_client *client = bench_ready(bench);
    struct tg_conn *conn = bench_conn(bench);
    uint32_t before = tg_conn_session_revision(conn);
    say(stage, client, "done");
    bench_turns(bench, 2);
    assert_int_equal(tg_conn_session_revision(conn), before + 3);
}

static void test_reading_stores_nothing(void **state)
{
    struct stage *stage = *state;
    stage_load(stage, "return { authenticate = function(conn) conn.session.a = {1}\n"
                      "  return {user_id = 'u'} end,\n"
                      "message = function(conn) conn:send({a = conn.session.a[1]}) end }");
    struct bench_client *client = bench_ready(&stage->bench);
    struct tg_conn *conn = bench_conn(&stage->bench);
    uint32_t before = tg_conn_session_revision(conn);
    say(stage, client, "\"a\":1");
    say(stage, client, "\"a\":1");
    assert_int_equal(tg_conn_session_revision(conn), before);
}

static void test_one_table_for_all_calls(void **state)
{
    stage_run(*state, "conn.session.a = 1\n"
                      "local s = conn.session\n"
                      "assert(s == conn.session and s.a == 1)\n"
                      "conn.session = {b = 2}\n"
                      "assert(conn.session.b == 2 and conn.session.a == nil and s.a == 1)\n"
                      "local mine = {c = 3} conn.session = mine mine.d = 4\n"
                      "time.sleep(0)\n"
                      "assert(conn.session == mine and conn.session.d == 4)\n"
                      "conn.session = nil\n"
                      "assert(next(conn.session) == nil)");
}

static void test_what_cannot_be_kept_fails_the_hook(void **state)
{
    static const struct {
        const char *code;
        const char *text;
    } rows[] = {
        {"conn.session.f = print", "conn.session.f is a function"},
        {"conn.session.x = {deep = {coroutine.create(print)}}", "conn.session.x.deep[1]"},
        {"conn.session.s = ('x'):rep(5000)", "conn.session is larger than 1024 bytes"},
        {"local t = conn.session t.t = t", "nested too deeply"},
        {"conn.session.f = print time.sleep(0) error('not reached')",
         "conn.session.f is a function"},
        {"conn.session.me = conn", "conn.session.me is userdata"},
    };
    struct stage *stage = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char code[256];
        snprintf(code, sizeof code, "do %s end do return end", rows[i].code);
        const char *text = stage_error(stage, code);
        if (strstr(text, rows[i].text) == NULL)
            fail_msg("%s: %s", rows[i].code, text);
    }
}

static void test_runs_and_hooks_share_it(void **state)
{
    char events[4096];
    const char *last = stage_agent(*state,
                                   "local time = require 'tidegate.time'\n"
                                   "local s = run.conn.session\n"
                                   "s.steps = 1 time.sleep(0.01) s.steps = s.steps + 1\n"
                                   "return {steps = run.conn.session.steps}",
                                   events, sizeof events);
    assert_non_null(strstr(last, "\"steps\":2"));
}

/* A run on the old version and a hook on the new one: the last one to write wins as a whole. */
static void test_two_versions_at_once(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "local time = require 'tidegate.time'\n"
                      "return { authenticate = function() return {user_id = 'u'} end,\n"
                      "agents = { slow = function(run)\n"
                      "  local s = run.conn.session s.run = 'begun'\n"
                      "  while not s.hook do time.sleep(0.005) s = run.conn.session end\n"
                      "  s.run = 'ended' return s end } }");
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"x\"}}");
    bench_expect(bench, client, "agent_started");
    stage_load(stage, "return { authenticate = function() return {user_id = 'u'} end,\n"
                      "message = function(conn) conn.session.hook = true\n"
                      "  conn:send({run = conn.session.run, new = true}) end }");
    say(stage, client, "\"run\":\"begun\"");
    assert_non_null(strstr(bench_expect(bench, client, "agent_completed"), "\"hook\":true"));
    say(stage, client, "\"run\":\"ended\"");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_survives_hooks_and_reloads),
        TEST(test_written_back_at_each_wait),
        TEST(test_reading_stores_nothing),
        TEST(test_one_table_for_all_calls),
        TEST(test_what_cannot_be_kept_fails_the_hook),
        TEST(test_runs_and_hooks_share_it),
        TEST(test_two_versions_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
