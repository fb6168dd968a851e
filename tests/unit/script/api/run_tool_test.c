/* api_run_tool_test.c - run:tool_started: tools that somebody else executes come in pairs all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/log_capture.h"
#include "support/stage.h"

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

#define STARTED "agent_started "
#define PAIR "tool_executing tool_completed "

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

/* code of the agent -> types of its events but the last, and parts of them (NULL: no more). */
static const struct {
    const char *code;
    const char *types;
    const char *parts[3];
} rows[] = {
    {"local c = run:tool_started('look', {q = 1}) return c:completed({n = 2})",
     STARTED PAIR,
     {"\"name\":\"look\",\"arguments\":{\"q\":1}", "\"result\":{\"n\":2}"}},
    {"local c = run:tool_started('look') c:completed()",
     STARTED PAIR,
     {"\"arguments\":null", "\"result\":null"}},
    {"local c = run:tool_started('look') assert(c:failed('no such row') == true)",
     STARTED PAIR,
     {"\"error\":\"no such row\""}},
    {"local c = run:tool_started('look') c:failed(select(2, pcall(error, 'file.lua:7: lost', 0)))",
     STARTED PAIR,
     {"\"error\":\"lost\""}},
    {"local c = run:tool_started('look') c:failed({})",
     STARTED PAIR,
     {"\"error\":\"the tool failed\""}},
    {"local a, b = run:tool_started('a'), run:tool_started('b') a:completed('ra') "
     "b:completed('rb')",
     STARTED "tool_executing tool_executing tool_completed tool_completed ",
     {"\"tool_call_id\":\"call_1\",\"name\":\"a\",\"result\":\"ra\"",
      "\"tool_call_id\":\"call_2\",\"name\":\"b\",\"result\":\"rb\""}},
    {"run:tool_started('left open')",
     STARTED PAIR,
     {"\"error\":\"the run ended before the tool did\""}},
    {"run:tool_started('left open') collectgarbage() error('x')",
     STARTED PAIR,
     {"\"error\":\"the run ended before the tool did\""}},
    {"local c = run:tool_started('t') run:tool('inner', nil, function() end) c:completed(1)",
     STARTED "tool_executing " PAIR "tool_completed ",
     {"\"name\":\"inner\""}},
    {"local c = run:tool_started('t') assert(not pcall(c.completed, c, print)) c:completed(1)",
     STARTED PAIR,
     {"\"result\":1"}},
};

static void calls_are_answered_once_and_in_pairs(void **state)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        char events[4096], types[512];
        log_capture_clear();
        (void)stage_agent(*state, rows[i].code, events, sizeof events);
        types_of(events, types, sizeof types);
        if (strcmp(types, rows[i].types) != 0)
            fail_msg("%s\ngave %s\n%s", rows[i].code, types, stage_log());
        for (size_t part = 0; part < COUNT(rows[i].parts) && rows[i].parts[part] != NULL; part++) {
            if (strstr(events, rows[i].parts[part]) == NULL)
                fail_msg("%s\nhas no %s in\n%s", rows[i].code, rows[i].parts[part], events);
        }
    }
}

/* code of the agent -> what the log says, at its line. */
static const struct {
    const char *code;
    const char *log;
} mistakes[] = {
    {"local c\nrun:tool_started('')", "policy.lua:3: run:tool_started: a name"},
    {"local c\nrun:tool_started(nil, {})", "policy.lua:3: run:tool_started: a name"},
    {"local c\nrun:tool_started('t', {print})",
     "policy.lua:3: run:tool_started: arguments[1] is a"},
    {"run.tool_started('t')", "run:tool_started: run expected"},
    {"local c = run:tool_started('t')\nc:completed(1)\nc:completed(1)",
     "policy.lua:4: call:completed: this tool call has its answer already"},
    {"local c = run:tool_started('t')\nc:completed(1)\nc:failed('x')",
     "policy.lua:4: call:failed: this tool call has its answer already"},
    {"local c = run:tool_started('t')\nc:completed(print)",
     "policy.lua:3: call:completed: result is a function"},
    {"run:tool_started('t').completed({}, 1)", "a tool call expected, got table"},
    {"local c = run:tool_started('t')\nreturn c.result", "a tool call has no field"},
    {"local c = run:tool_started('t')\nc.result = 1", "policy.lua:3:"},
};

static void misuse_raises_at_the_callers_line(void **state)
{
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        char events[4096];
        log_capture_clear();
        const char *last = stage_agent(*state, mistakes[i].code, events, sizeof events);
        if (strstr(last, "\"code\":\"script_error\"") == NULL || !log_capture_has(mistakes[i].log))
            fail_msg("%s\ngave %s\n%s", mistakes[i].code, last, stage_log());
    }
}

static void open_calls_are_bounded(void **state)
{
    char events[1 << 17];
    const char *last =
        stage_agent(*state,
                    "local calls = {}\n"
                    "for i = 1, 256 do calls[i] = assert(run:tool_started('t')) end\n"
                    "local one, why = run:tool_started('t')\n"
                    "calls[1]:completed(1)\n"
                    "return {one == nil, why, run:tool_started('t') ~= nil}",
                    events, sizeof events);
    if (strstr(last, "[true,\"too many tool calls are open\",true]") == NULL)
        fail_msg("%s\n%s", last, stage_log());
}

static void after_the_end_of_the_run_there_is_nobody_to_tell(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "local run, call\n"
                      "return { authenticate = function() return {user_id = 'u'} end,\n"
                      "agents = { a = function(r) run, call = r, r:tool_started('t') end },\n"
                      "message = function(conn)\n"
                      "  local ok, why = call:completed(1) assert(ok == nil and why == 'closed')\n"
                      "  ok, why = run:tool_started('t') assert(ok == nil and why == 'closed')\n"
                      "  conn:send('fine ' .. tostring(call)) end }");
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"x\"}}");
    bench_expect(bench, client, "agent_started");
    bench_expect(bench, client, "tool_executing");
    bench_expect(bench, client, "tool_completed");
    bench_expect(bench, client, "agent_completed");
    bench_send_text(bench, client, "{\"type\":\"go\"}");
    bench_expect(bench, client, "fine tool call 1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(calls_are_answered_once_and_in_pairs),
        TEST(misuse_raises_at_the_callers_line),
        TEST(open_calls_are_bounded),
        TEST(after_the_end_of_the_run_there_is_nobody_to_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
