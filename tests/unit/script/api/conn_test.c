/* api_conn_test.c - `conn` in a real policy: what can be read, what cannot be written, what is left of
 * it after the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/log_capture.h"
#include "support/stage.h"

#define CHECK_TEXT(text, part)                                                                     \
    do {                                                                                           \
        if (strstr(text, part) == NULL)                                                            \
            fail_msg("\"%s\" is not in: %s", part, text);                                          \
    } while (0)

static void test_fields(void **state)
{
    stage_run(*state,
              "assert(conn.id:match('^ws_%d+_%x+_%x+$') and #conn.id == 46)\n"
              "assert(conn.state == 'processing_ready' and conn.user_id == 'ann')\n"
              "assert(conn.identity.user_id == 'ann' and conn.identity.roles[1] == 'writer')\n"
              "assert(conn.identity.roles.extra.level == 3 and #conn.identity.roles == 1)\n"
              "assert(conn.context.tenant == 'acme')\n"
              "assert(conn.request.method == 'GET' and conn.request.path:sub(1, 1) == '/')\n"
              "assert(conn.request.headers.upgrade:lower() == 'websocket')\n"
              "assert(conn.request.remote_address:match('^127%.0%.0%.1:%d+$'))\n"
              "assert(conn.request.tls == false and type(conn.request.query) == 'table')\n"
              "assert(math.abs(conn.connected_at - time.now()) < 60)\n"
              "assert(conn.policy_version:match('^%x+$'))\n"
              "assert(tostring(conn) == 'conn ' .. conn.id)");
}

static void test_views_are_cached(void **state)
{
    stage_run(*state, "assert(conn.identity == conn.identity and conn.context == conn.context)\n"
                      "assert(conn.identity.roles == conn.identity.roles)\n"
                      "assert(conn.request == conn.request)");
}

static void test_same_object_for_the_same_connection(void **state)
{
    struct stage *stage = *state;
    stage_load(stage,
               "local seen\n"
               "return { authenticate = function(conn) seen = conn return {user_id = 'u'} end,\n"
               "message = function(conn) conn:send({same = conn == seen}) end }");
    struct bench_client *client = bench_ready(&stage->bench);
    bench_send_text(&stage->bench, client, "{\"type\":\"go\"}");
    bench_expect(&stage->bench, client, "{\"same\":true}");
}

static void test_sending(void **state)
{
    struct stage *stage = *state;
    stage_load(stage, "return { authenticate = function() return {user_id = 'u'} end,\n"
                      "message = function(conn, message)\n"
                      "  assert(conn:send({n = 1, list = message.data.list}) == true)\n"
                      "  assert(conn:send('raw text') == true)\n"
                      "  assert(conn:send(conn.identity) == true)\n"
                      "  assert(conn:send_binary('\\0\\255') == true)\n"
                      "end }");
    struct bench_client *client = bench_ready(&stage->bench);
    bench_send_text(&stage->bench, client, "{\"type\":\"go\",\"data\":{\"list\":[]}}");
    const char *first = bench_expect(&stage->bench, client, "\"n\":1");
    CHECK_TEXT(first, "\"list\":[]");
    assert_string_equal(bench_expect(&stage->bench, client, "raw"), "raw text");
    bench_expect(&stage->bench, client, "{\"user_id\":\"u\"}");
    struct bench_frame frame = bench_read(&stage->bench, client);
    assert_int_equal(frame.opcode, 2);
    assert_int_equal(frame.len, 2);
}

static void test_misuse_raises_at_the_line(void **state)
{
    static const struct {
        const char *code;
        const char *text;
    } rows[] = {
        {"conn:send(7)", "policy.lua:2: conn:send: a table or text expected, got number"},
        {"conn:send()", "conn:send: a table or text expected, got nothing"},
        {"conn:send('\\255')", "conn:send: text must be UTF-8"},
        {"conn:send({a = {print}})", "conn:send: message.a[1] is a function"},
        {"conn:send_binary({})", "conn:send_binary: a string expected, got table"},
        {"conn.send({})", "conn expected, got table"},
        {"conn:close(1005)", "conn:close: a close code"},
        {"conn:close(999)", "conn:close: a close code"},
        {"conn:close('1000')", "conn:close: a close code"},
        {"conn:close(1000.5)", "conn:close: a close code"},
        {"conn:close(1000, {})", "conn:close: the reason must be text"},
        {"local x = conn.user", "conn has no field \\\"user\\\"; did you mean \\\"user_id\\\"?"},
        {"local x = conn.zzz", "your own data belongs into conn.session"},
        {"local x = conn[1]", "conn has no field \\\"1\\\""},
        {"conn.name = 'x'", "belongs into conn.session.name"},
        {"conn.session = 7", "conn.session must be a table, got number"},
        {"conn.session = conn.identity", "tide.copy"},
        {"conn.session = {f = print}", "conn.session.f is a function"},
        {"conn.session = {s = ('x'):rep(2000)}", "larger than 1024 bytes"},
        {"message.data.x.y = 1", "policy.lua:2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_TEXT(stage_error(*state, rows[i].code), rows[i].text);
}

/* Not that of what reads the key for it. Most kills strike there, so a few tell. */
static void test_a_loop_over_a_method_names_the_line_of_the_policy(void **state)
{
    for (int i = 0; i < 6; i++)
        CHECK_TEXT(stage_error(*state, "while true do local send = conn.send end"),
                   "policy.lua:2: computed for more than");
}

/* What the core owns: a write raises, and fails the connection even when the script catches that. */
static void test_writes_fail_the_connection(void **state)
{
    static const struct {
        const char *code;
        const char *log; /* two parts of the line */
        const char *values;
    } rows[] = {
        {"conn.id = 'ws_other'", "offered=ws_other", "conn.id"},
        {"conn.id = 42", "offered=42", "conn.id"},
        {"conn.id = {}", "offered=table", "conn.id"},
        {"rawset(conn, 'id', 'ws_other')", "offered=ws_other", "conn.id"},
        {"conn.id = conn.id", "conn.id", "offered=ws_"},
        {"conn.user_id = 'root'", "conn.user_id", "offered=root"},
        {"conn.state = 'idle'", "conn.state", "offered=idle"},
        {"conn.identity = {user_id = 'root'}", "conn.identity", "offered=table"},
        {"conn.connected_at = 0", "conn.connected_at", "offered=0"},
        {"rawset(conn, 'user_id', 'root')", "conn.user_id", "offered=root"},
        {"conn.identity.user_id = 'root'", "conn.identity.user_id", "offered=root"},
        {"conn.identity.roles[2] = 'admin'", "conn.identity.roles.2", "offered=admin"},
        {"rawset(conn.identity, 'user_id', 'root')", "conn.identity.user_id", "actual=ann"},
        {"setmetatable(conn.identity, {})", "metatable", "conn.identity"},
        {"setmetatable(conn, {})", "metatable", "conn."},
        {"conn.context.tenant = 'other'", "conn.context.tenant", "actual=acme"},
        {"conn.request.path = '/x'", "request.path", "offered=/x"},
        {"table.insert(conn.identity.roles, 'admin')", "conn.identity.roles", "offered"},
    };
    struct stage *stage = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char code[256];
        struct tg_metrics *metrics = stage->bench.metrics;
        uint64_t before = tg_counter_get(&metrics->script_tampering) +
                          tg_counter_get(&metrics->connection_id_mismatches);
        snprintf(code, sizeof code, "local ok = pcall(function() %s end) assert(not ok)",
                 rows[i].code);
        (void)stage_error(stage, code);
        uint64_t after = tg_counter_get(&metrics->script_tampering) +
                         tg_counter_get(&metrics->connection_id_mismatches);
        if (after == before)
            fail_msg("not counted: %s\n%s", rows[i].code, stage_log());
        if (!log_capture_has(rows[i].log) || !log_capture_has(rows[i].values))
            fail_msg("%s\n%s", rows[i].code, stage_log());
    }
    assert_int_equal(tg_counter_get(&stage->bench.metrics->connection_id_mismatches), 4);
}

static void test_a_kept_conn_is_closed(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage,
               "local kept\n"
               "return { authenticate = function() return {user_id = 'u'} end,\n"
               "message = function(conn, message)\n"
               "  if message.type == 'keep' then kept = conn return end\n"
               "  local ok, why = kept:send({})\n"
               "  assert(ok == nil and why == 'closed')\n"
               "  ok, why = kept:send('x') assert(ok == nil and why == 'closed')\n"
               "  ok, why = kept:send_binary('x') assert(ok == nil and why == 'closed')\n"
               "  ok, why = kept:close() assert(ok == nil and why == 'closed')\n"
               "  assert(kept.id and kept.id ~= conn.id and kept.state == nil)\n"
               "  assert(kept.user_id == nil and kept.identity == nil and kept.session == nil)\n"
               "  kept.session = {}\n"
               "  assert(kept ~= conn)\n"
               "  conn:send('fine')\n"
               "end }");
    struct bench_client *first = bench_ready(bench);
    bench_send_text(bench, first, "{\"type\":\"keep\"}");
    bench_send_text(bench, first, "{\"type\":\"ping\"}");
    bench_expect(bench, first, "pong");
    bench_close_client(first);
    BENCH_UNTIL(bench, tg_hub_count(bench->hub) == 0);
    struct bench_client *second = bench_ready(bench);
    bench_send_text(bench, second, "{\"type\":\"look\"}");
    bench_expect(bench, second, "fine");
}

static void test_close_ends_the_hook_and_the_connection(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage,
               "local log = require 'tidegate.log'\n"
               "return { authenticate = function() return {user_id = 'u'} end,\n"
               "message = function(conn) conn.session.n = 5\n"
               "  assert(conn:close(4001, 'bye')) \n"
               "  local ok, why = conn:send('x') assert(ok == nil and why == 'closed') end,\n"
               "closed = function(conn, info)\n"
               "  log.info('seen', {n = conn.session.n, code = info.code, why = info.reason,\n"
               "    clean = info.clean, from = info.state, user = conn.user_id}) end }");
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, "{\"type\":\"go\"}");
    assert_string_equal(bench_expect_close(bench, client, 4001), "bye");
    bench_send_close(bench, client, 4001, "");
    BENCH_UNTIL(bench, log_capture_has("message=seen"));
    assert_true(log_capture_has("n=5"));
    assert_true(log_capture_has("code=4001"));
    assert_true(log_capture_has("why=bye"));
    assert_true(log_capture_has("clean=true"));
    assert_true(log_capture_has("user=u"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fields),
        TEST(test_views_are_cached),
        TEST(test_same_object_for_the_same_connection),
        TEST(test_sending),
        TEST(test_misuse_raises_at_the_line),
        TEST(test_a_loop_over_a_method_names_the_line_of_the_policy),
        TEST(test_writes_fail_the_connection),
        TEST(test_a_kept_conn_is_closed),
        TEST(test_close_ends_the_hook_and_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
