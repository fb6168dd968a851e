/* hooks_test.c - a real policy on real connections: what a client sees of each answer, and what the log
 * and the counters say of each fault.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connection/connection.h"
#include "support/log_capture.h"
#include "support/stage.h"

#define YES "authenticate = function() return {user_id = 'ann'} end"

/* Policies that let nobody in: how the connection ends. */
static const struct {
    const char *policy;
    int code; /* 0: ready all the same; below 1000: HTTP status */
    const char *reason;
    const char *log; /* in the hook.failed line; NULL: there is none */
} rows[] = {
    {YES, 0, NULL, NULL},
    {"upgrade = function(r) assert(r.method == 'GET') end, " YES, 0, NULL, NULL},
    {"upgrade = function() return tide.reject(403, 'origin') end, " YES, 403, NULL, NULL},
    {"upgrade = function() return false end, " YES, 500, NULL, "outcome=bad_result"},
    {"upgrade = function() error('boom') end, " YES, 500, NULL, "outcome=error"},
    {"upgrade = function() while true do end end, " YES, 500, NULL, "outcome=cpu_budget"},
    {"authenticate = function() return nil, 'unknown key' end", 4401, "unknown key", NULL},
    {"authenticate = function() return tide.reject(403, 'banned') end", 4403, "banned", NULL},
    {"authenticate = function() return true end", 1011, "policy gave a wrong answer",
     "outcome=bad_result"},
    {"authenticate = function() end", 1011, "policy gave a wrong answer", "it returned nil"},
    {"authenticate = function() error('secret 123') end", 1011, "policy error", "secret 123"},
    {"authenticate = function() local x = nil; return x.y end", 1011, "policy error",
     "stack traceback"},
    {"authenticate = function() error({}) end", 1011, "policy error", "error object is a table"},
    {"authenticate = function() while true do end end", 1011, "policy computed too long",
     "outcome=cpu_budget"},
    {"authenticate = function() pcall(function() while true do end end) return {user_id='x'} end",
     1011, "policy computed too long", "outcome=cpu_budget"},
    {"authenticate = function() time.sleep(60) return {user_id='x'} end", 1011,
     "policy took too long", "outcome=wall_budget"},
    {"authenticate = function() local s, t = ('x'):rep(1e6), {} for i = 1, 99 do t[i] = s .. i end "
     "end",
     1011, "policy out of memory", "outcome=memory"},
    {"authenticate = function() return {user_id = 'u', connection_id = 'ws_other'} end", 1011, NULL,
     NULL},
    {"authenticate = function(conn) return {user_id = 'u', connection_id = conn.id} end", 0, NULL,
     NULL},
    {YES ", create_context = function() return nil, 'no tenant' end", 4403, "no tenant", NULL},
    {YES ", create_context = function() return {f = print} end", 1011, "policy gave a wrong answer",
     "context.f is a function"},
    {YES ", create_context = function() return {connection_id = 'ws_other'} end", 1011, NULL, NULL},
    {YES ", create_context = function(c, i) assert(i.user_id == 'ann') return {a = 1} end, "
         "prepare = function(c, x) assert(x.a == 1) return true end",
     0, NULL, NULL},
    {YES ", prepare = function(c, x) assert(x == nil) return true end", 0, NULL, NULL},
    {YES ", prepare = function() return nil, 'database down' end", 1011, "database down", NULL},
    {YES ", prepare = function() return false end", 1011, "refused", NULL},
    {YES ", prepare = function() return end", 1011, "policy gave a wrong answer",
     "prepare must return true"},
    {YES ", prepare = function() return tide.degraded('no search') end", 0, NULL, NULL},
};

static void check_log(const char *policy, const char *part)
{
    if (part == NULL ? log_capture_has("hook.failed")
                     : log_capture_matches("hook.failed") != 1 || !log_capture_has(part))
        fail_msg("%s\n%s", policy, stage_log());
}

static void test_every_answer(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage->cpu_budget_ms = 100;
    stage->wall_budget_ms = 200;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char policy[512];
        snprintf(policy, sizeof policy,
                 "local tide, time = require 'tidegate', require 'tidegate.time'\nreturn { %s }",
                 rows[i].policy);
        stage_load(stage, policy);
        log_capture_clear();
        struct bench_client *client = bench_connect(bench);
        bench_request(bench, client, "");
        bench_read_head(bench, client);
        if (rows[i].code == 0) {
            assert_int_equal(client->status, 101);
            bench_expect(bench, client, "connection_ready");
        } else if (rows[i].code < 1000) {
            assert_int_equal(client->status, rows[i].code);
        } else {
            struct bench_frame frame = bench_read(bench, client);
            int code = (uint8_t)frame.data[0] << 8 | (uint8_t)frame.data[1];
            if (frame.opcode != 8 || code != rows[i].code ||
                (rows[i].reason != NULL && strcmp(frame.data + 2, rows[i].reason) != 0))
                fail_msg("%s\nended with %d %s\n%s", policy, code, frame.data + 2, stage_log());
        }
        check_log(policy, rows[i].log);
        stage_send_clients_home(stage);
    }
    assert_int_equal(tg_counter_get(&bench->metrics->connection_id_mismatches), 2);
}

static void test_outcomes_are_counted(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    struct tg_metrics *metrics = bench->metrics;
    stage_load(stage, "return { authenticate = function() return nil, 'no' end }");
    bench_expect_close(bench, bench_open(bench), 4401);
    assert_int_equal(
        tg_counter_get(&metrics->hook_outcomes[TG_HOOK_AUTHENTICATE][TG_HOOK_DENIED_OUTCOME]), 1);
    uint64_t observed = 0;
    for (size_t i = 0; i <= TG_METRICS_BUCKETS; i++)
        observed += tg_counter_get(&metrics->hook_duration[TG_HOOK_AUTHENTICATE].buckets[i]);
    assert_int_equal(observed, 1);
}

static void test_need_message(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage,
               "local tide = require 'tidegate'\n"
               "return { authenticate = function(conn, credentials)\n"
               "  if not credentials.message then return tide.need_message() end\n"
               "  if credentials.message.data.token ~= 't' then return nil, 'bad token' end\n"
               "  return {user_id = 'ann'} end }");
    struct bench_client *client = bench_open(bench);
    bench_send_text(bench, client, "{\"type\":\"authenticate\",\"data\":{\"token\":\"t\"}}");
    bench_expect(bench, client, "connection_ready");
    struct bench_client *other = bench_open(bench);
    bench_send_text(bench, other, "{\"type\":\"authenticate\",\"data\":{\"token\":\"x\"}}");
    assert_string_equal(bench_expect_close(bench, other, 4401), "bad token");
}

static void test_reauthenticate_shows_the_new_identity(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "local n = 0\n"
                      "return { authenticate = function(conn, credentials)\n"
                      "  n = n + 1 return {user_id = 'ann', n = n} end,\n"
                      "message = function(conn) conn:send({n = conn.identity.n}) end }");
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, "{\"type\":\"go\"}");
    bench_expect(bench, client, "{\"n\":1}");
    bench_send_text(bench, client, "{\"type\":\"authenticate\",\"data\":{}}");
    bench_expect(bench, client, "\"authenticated\"");
    bench_send_text(bench, client, "{\"type\":\"go\"}");
    bench_expect(bench, client, "{\"n\":2}");
}

static void test_credentials_and_request_are_read_only(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    static const char *const hooks[] = {
        "authenticate = function(conn, c) c.bearer = 'x' end",
        "authenticate = function(conn, c) c.query.a = 'x' end",
        YES ", create_context = function(conn, identity) identity.user_id = 'root' return {} end",
        YES ", create_context = function(conn, identity) return {} end,"
            "prepare = function(conn, context) context.x = 1 return true end",
    };
    for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++) {
        char policy[256];
        snprintf(policy, sizeof policy, "return { %s }", hooks[i]);
        stage_load(stage, policy);
        uint64_t before = tg_counter_get(&bench->metrics->script_tampering);
        bench_expect_close(bench, bench_open(bench), 1011);
        assert_int_equal(tg_counter_get(&bench->metrics->script_tampering), before + 1);
        stage_send_clients_home(stage);
    }
}

static void test_credentials_reach_authenticate(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "return { authenticate = function(conn, c)\n"
                      "  if c.bearer ~= 'tok' or c.cookies.a ~= '1' then return nil, 'no' end\n"
                      "  return {user_id = 'ann'} end }");
    struct bench_client *client = bench_connect(bench);
    bench_request(bench, client, "Authorization: Bearer tok\r\nCookie: a=1\r\n");
    bench_read_head(bench, client);
    bench_expect(bench, client, "connection_ready");
    assert_false(log_capture_has("tok"));
}

static void test_text_and_binary(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "return { " YES ",\n"
                      "text = function(conn, text) conn:send('text ' .. text) end,\n"
                      "binary = function(conn, bytes) conn:send('bytes ' .. #bytes) end }");
    struct bench_client *client = bench_open(bench);
    bench_send_text(bench, client, "hello");
    bench_expect(bench, client, "text hello");
    bench_send_frame(bench, client, 2, "\0\1\2", 3);
    bench_expect(bench, client, "bytes 3");
    bench_send_text(bench, client, "");
    bench_expect(bench, client, "text ");
}

static void test_messages_are_plain_tables(void **state)
{
    stage_run(*state, "assert(message.type == 'go' and message.data.none == json.null)\n"
                      "message.extra = 1 message.data.list[1] = 'x'\n"
                      "assert(json.encode(message.data.list) == '[\"x\"]')");
}

static void test_a_waiting_hook_is_cancelled_with_its_connection(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "local time, log = require 'tidegate.time', require 'tidegate.log'\n"
                      "return { " YES ",\n"
                      "message = function(conn) log.info('waits') time.sleep(60) end,\n"
                      "closed = function() log.info('over') end }");
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, "{\"type\":\"go\"}");
    BENCH_UNTIL(bench, log_capture_has("waits"));
    /* Not by a client that leaves: what came from that is still answered. */
    assert_int_equal(tg_conn_close(bench_conn(bench), 4000, "enough"), TG_ERR_OK);
    bench_expect_close(bench, client, 4000);
    bench_close_client(client);
    BENCH_UNTIL(bench, log_capture_has("over"));
    BENCH_UNTIL(bench, tg_hub_count(bench->hub) == 0);
    assert_int_equal(
        tg_counter_get(&bench->metrics->hook_outcomes[TG_HOOK_MESSAGE][TG_HOOK_CANCELLED_OUTCOME]),
        1);
    assert_false(log_capture_has("hook.failed"));
}

static void test_reload_serves_the_next_hook(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "local time = require 'tidegate.time' return { " YES ",\n"
                      "message = function(conn) time.sleep(0.02) conn:send('old') end }");
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, "{\"type\":\"a\"}");
    bench_turns(bench, 3);
    stage_load(stage, "return { " YES ", message = function(conn) conn:send('new') end }");
    bench_send_text(bench, client, "{\"type\":\"b\"}");
    bench_expect(bench, client, "old");
    bench_expect(bench, client, "new");
    assert_int_equal(tg_host_generations(stage->host), 2);
    BENCH_UNTIL(bench, tg_host_generations(stage->host) == 1);
}

/* 18 MB of messages through a state of 16 MiB, of which the policy keeps about 9. */
static void test_large_messages_leave_room_for_each_other(void **state)
{
    enum { LARGE = 60000, MESSAGES = 300 };
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    char *bytes = calloc(1, LARGE);
    assert_non_null(bytes);
    stage_load(stage, "local kept = {} for i = 1, 70000 do kept[i] = {i, 'k' .. i} end\n"
                      "return { " YES ", binary = function(conn, bytes)\n"
                      "  conn:send({kept = #kept, len = #bytes}) end }");
    struct bench_client *client = bench_ready(bench);
    for (int i = 0; i < MESSAGES; i++) {
        bytes[0] = (char)i;
        bench_send_frame(bench, client, 2, bytes, LARGE);
        (void)bench_expect(bench, client, "\"len\":60000");
    }
    assert_int_equal(
        tg_counter_get(&bench->metrics->hook_outcomes[TG_HOOK_BINARY][TG_HOOK_OK_OUTCOME]),
        MESSAGES);
    free(bytes);
}

static void test_route(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(
        stage,
        "return { " YES ",\n"
        "route = function(conn, m)\n"
        "  if m.data.message == 'no' then return nil, 'not today' end\n"
        "  if m.data.message == 'bad' then return 7 end\n"
        "  return m.data.agent_type, m.data.message == 'swap' and {x = 'y'} or nil end,\n"
        "agents = { a = function(run, input) return {run.agent, input.x or input.message} end,\n"
        "  b = function() return 'b' end } }");
    struct bench_client *client = bench_ready(bench);
    bench_send_text(
        bench, client,
        "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\",\"agent_type\":\"a\"}}");
    bench_expect(bench, client, "agent_started");
    bench_expect(bench, client, "\"response\":[\"a\",\"m\"]");
    bench_send_text(
        bench, client,
        "{\"type\":\"agent_execution\",\"data\":{\"message\":\"swap\",\"agent_type\":\"a\"}}");
    bench_expect(bench, client, "agent_started");
    bench_expect(bench, client, "\"response\":[\"a\",\"y\"]");
    bench_send_text(
        bench, client,
        "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\",\"agent_type\":null}}");
    bench_expect(bench, client, "unknown_agent");
    bench_send_text(bench, client,
                    "{\"type\":\"agent_execution\",\"id\":5,\"data\":{\"message\":\"no\"}}");
    assert_non_null(strstr(bench_expect(bench, client, "not today"), "\"id\":5"));
    bench_send_text(bench, client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"bad\"}}");
    bench_expect_close(bench, client, 1011);
    assert_true(log_capture_has("route must return an agent's name"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_answer),
        TEST(test_outcomes_are_counted),
        TEST(test_need_message),
        TEST(test_reauthenticate_shows_the_new_identity),
        TEST(test_credentials_and_request_are_read_only),
        TEST(test_credentials_reach_authenticate),
        TEST(test_text_and_binary),
        TEST(test_messages_are_plain_tables),
        TEST(test_a_waiting_hook_is_cancelled_with_its_connection),
        TEST(test_reload_serves_the_next_hook),
        TEST(test_large_messages_leave_room_for_each_other),
        TEST(test_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
