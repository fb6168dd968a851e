/* api_tide_test.c - the modules tidegate, tidegate.time and tidegate.log in a real policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support/log_capture.h"
#include "support/stage.h"

#define OTHER_WORKER "ws_1757500188434_010000000a2f_92a8758b5c1f77aa"

static void test_send_and_close_by_id(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage,
               "local tide, first = require 'tidegate'\n"
               "return { authenticate = function() return {user_id = 'u'} end,\n"
               "message = function(conn)\n"
               "  if not first then first = conn.id return end\n"
               "  assert(tide.send(first, {hello = 1}) == true)\n"
               "  assert(tide.send(first, 'text') == true)\n"
               "  assert(tide.close(first, 4002, 'moved') == true)\n"
               "  local ok, why = tide.send(first, 'x') assert(ok == nil and why == 'closed')\n"
               "  ok, why = tide.close(first) assert(ok == nil and why == 'closed')\n"
               "  conn:send('done') end }");
    struct bench_client *one = bench_ready(bench);
    bench_send_text(bench, one, "{\"type\":\"go\"}");
    bench_turns(bench, 3);
    struct bench_client *two = bench_ready(bench);
    bench_send_text(bench, two, "{\"type\":\"go\"}");
    bench_expect(bench, two, "done");
    bench_expect(bench, one, "{\"hello\":1}");
    bench_expect(bench, one, "text");
    assert_string_equal(bench_expect_close(bench, one, 4002), "moved");
}

static void test_unknown_ids_are_closed(void **state)
{
    stage_run(*state, "local function closed(id)\n"
                      "  local ok, why = tide.send(id, 'x') assert(ok == nil and why == 'closed')\n"
                      "  ok, why = tide.close(id) assert(ok == nil and why == 'closed')\n"
                      "end\n"
                      "closed('') closed('ws_1') closed(conn.id .. 'x') closed(conn.id:upper())\n"
                      "closed(conn.id:sub(1, -2) .. (conn.id:sub(-1) == '0' and '1' or '0'))");
}

static void test_misuse_raises_at_the_line(void **state)
{
    static const struct {
        const char *code;
        const char *text;
    } rows[] = {
        {"tide.send(7, 'x')",
         "policy.lua:2: tide.send: a connection ID (text) expected, got number"},
        {"tide.send(conn, 'x')", "tide.send: a connection ID (text) expected, got userdata"},
        {"tide.send(conn.id, 7)", "tide.send: a table or text expected, got number"},
        {"tide.send(conn.id, '\\255')", "tide.send: text must be UTF-8"},
        {"tide.send('x', {print})", "message[1] is a function"},
        {"tide.close(conn.id, 1005)", "tide.close: a close code"},
        {"tide.close('x', 4000, 7)", "tide.close: the reason must be text"},
        {"tide.reject(200)", "tide.reject: an HTTP status from 400 to 599"},
        {"tide.reject('403')", "tide.reject: an HTTP status"},
        {"tide.reject(403, {})", "tide.reject: the reason must be text"},
        {"tide.degraded()", "tide.degraded: say what is missing"},
        {"tide.degraded('')", "tide.degraded: say what is missing"},
        {"tide.copy({print})", "tide.copy: value[1] is a function"},
        {"tide.options.x = 1", "tide.options.x cannot be changed"},
        {"tide.send = print", "policy.lua:2"},
        {"getmetatable(tide.reject(403)).kind = 1", "policy.lua:2"},
        {"time.sleep(-1)", "policy.lua:2: time.sleep: seconds from 0 to 86400"},
        {"time.sleep(0/0)", "time.sleep: seconds"},
        {"time.sleep(1/0)", "time.sleep: seconds"},
        {"time.sleep('1')", "time.sleep: seconds"},
        {"time.sleep(86401)", "time.sleep: seconds"},
        {"print(setmetatable({}, {__tostring = function() time.sleep(0) end}))",
         "cannot wait here"},
        {"log.info()", "policy.lua:2: log.info: a message (text) expected, got nothing"},
        {"log.info({})", "log.info: a message (text) expected, got table"},
        {"log.warn('x', 'y')", "log.warn: fields must be a table, got string"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *text = stage_error(*state, rows[i].code);
        if (strstr(text, rows[i].text) == NULL)
            fail_msg("%s\n%s", rows[i].code, text);
    }
}

static void test_load_time(void **state)
{
    struct stage *stage = *state;
    stage_load(stage,
               "local tide, time = require 'tidegate', require 'tidegate.time'\n"
               "local ok, why = pcall(time.sleep, 1)\n"
               "assert(not ok and why:find('time.sleep cannot be used while the policy is being "
               "loaded'))\n"
               "ok, why = pcall(tide.send, 'x', 'y') assert(not ok and why:find('tide.send'))\n"
               "assert(type(time.now()) == 'number' and time.monotonic() <= time.monotonic())\n"
               "assert(type(tide.version) == 'string' and tide.worker == 3)\n"
               "require('tidegate.log').info('loading', {n = 1})\n"
               "return { authenticate = function() return {user_id = 'u'} end }");
    assert_true(log_capture_has("message=loading n=1"));
}

static void start_remote(struct stage *stage)
{
    stage_load(stage,
               "local tide = require 'tidegate'\n"
               "return { authenticate = function() return {user_id = 'u'} end,\n"
               "message = function(conn, m)\n"
               "  local ok, why\n"
               "  if m.type == 'send' then ok, why = tide.send('" OTHER_WORKER "', {n = 1})\n"
               "  else ok, why = tide.close('" OTHER_WORKER "', 4005, 'bye') end\n"
               "  conn:send({ok = ok or false, why = why}) end }");
}

static void test_remote_orders(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    start_remote(stage);
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, "{\"type\":\"send\"}");
    BENCH_UNTIL(bench, stage->order_count == 1);
    assert_int_equal(stage->orders[0].order.what, TG_REMOTE_TEXT);
    assert_string_equal(stage->orders[0].text, "{\"n\":1}");
    assert_int_equal(tg_conn_id_worker(stage->orders[0].order.id.serial), 1);
    tg_host_remote_done(stage->host, stage->orders[0].ticket, TG_ERR_OK);
    bench_expect(bench, client, "{\"ok\":true}");
    bench_send_text(bench, client, "{\"type\":\"close\"}");
    BENCH_UNTIL(bench, stage->order_count == 2);
    assert_int_equal(stage->orders[1].order.what, TG_REMOTE_CLOSE);
    assert_int_equal(stage->orders[1].order.code, 4005);
    assert_string_equal(stage->orders[1].text, "bye");
    tg_host_remote_done(stage->host, stage->orders[1].ticket, TG_ERR_NOT_FOUND);
    assert_non_null(strstr(bench_expect(bench, client, "\"ok\":false"), "\"why\":\"closed\""));
    tg_host_remote_done(stage->host, stage->orders[1].ticket, TG_ERR_OK); /* twice: nobody waits */
}

static void test_remote_answer_after_the_hook_is_gone(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    start_remote(stage);
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, "{\"type\":\"send\"}");
    BENCH_UNTIL(bench, stage->order_count == 1);
    bench_reset_client(client);
    BENCH_UNTIL(bench, tg_hub_count(bench->hub) == 0);
    tg_host_remote_done(stage->host, stage->orders[0].ticket, TG_ERR_OK);
}

static void test_no_such_worker(void **state)
{
    struct stage *stage = *state;
    stage->post_error = TG_ERR_NOT_FOUND;
    stage_run(stage, "local ok, why = tide.send('" OTHER_WORKER "', 'x')\n"
                     "assert(ok == nil and why == 'closed')");
}

static void test_markers_cannot_be_made_or_changed(void **state)
{
    stage_run(*state, "local m = tide.need_message()\n"
                      "assert(type(m) == 'userdata' and getmetatable(m) == false)\n"
                      "assert(tostring(m) == 'tide.need_message')\n"
                      "assert(not pcall(function() m.kind = 1 end))\n"
                      "assert(not pcall(setmetatable, {}, getmetatable(m)))");
}

static void test_copy(void **state)
{
    stage_run(*state, "local mine = tide.copy(conn.identity)\n"
                      "mine.roles[1] = 'changed'\n"
                      "assert(conn.identity.roles[1] == 'writer' and mine.user_id == 'ann')\n"
                      "assert(tide.copy('x') == 'x' and tide.copy(nil) == nil)\n"
                      "assert(json.encode(tide.copy(json.array())) == '[]')");
}

static void test_options(void **state)
{
    static const struct tg_script_option options[] = {
        {"api_key", TG_SCRIPT_OPTION_STRING, "0012", true},
        {"upstream.url", TG_SCRIPT_OPTION_STRING, "http://x", false},
        {"upstream.retries", TG_SCRIPT_OPTION_NUMBER, "3", false},
        {"upstream.tls", TG_SCRIPT_OPTION_BOOL, "true", false},
    };
    struct stage *stage = *state;
    stage->options = options;
    stage->option_count = 4;
    stage_run(stage,
              "local o = tide.options\n"
              "assert(o.api_key == '0012' and o.upstream.url == 'http://x')\n"
              "assert(o.upstream.retries == 3 and o.upstream.tls == true and o.none == nil)");
}

static void test_sleep_really_waits(void **state)
{
    stage_run(*state,
              "local before = time.monotonic()\n"
              "time.sleep(0.03)\n"
              "local took = time.monotonic() - before\n"
              "assert(took >= 0.028, took)\n"
              "assert(select('#', time.sleep(0)) == 0)\n"
              "assert(coroutine.wrap(function() time.sleep(0) return 'inside' end)() == 'inside')\n"
              "assert(pcall(time.sleep, 0))");
}

static void test_log_lines(void **state)
{
    struct stage *stage = *state;
    stage_run(stage,
              "log.info('hello', {n = 1.5, ok = true, s = 'two words', t = {}})\n"
              "log.error('line\\nbreak')\n"
              "log.debug('redacted', {token = 'sss1', Password = 'sss2', x_api_key = 'sss3'})\n"
              "log.warn('fields', {id = 'forged', message = 'm', ['sp ace'] = 1})\n"
              "log.info('view', conn.identity)\n"
              "log.info(('long'):rep(5000), {v = ('v'):rep(5000)})\n"
              "local many = {} for i = 1, 40 do many['k' .. i] = i end log.info('many', many)\n"
              "log.info(42)");
    static const char *const parts[] = {
        "info  policy.log policy=",
        "message=hello",
        "n=1.5",
        "ok=true",
        "s=\"two words\"",
        "t=table",
        "error policy.log",
        "line\\nbreak",
        "token=(redacted)",
        "Password=(redacted)",
        "x_api_key=(redacted)",
        "field_id=forged",
        "field_message=m",
        "sp_ace=1",
        "user_id=ann",
        "omitted=true",
        "message=42",
    };
    const char *all = stage_log();
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!log_capture_has(parts[i]))
            fail_msg("%s\n%s", parts[i], all);
    }
    assert_false(log_capture_has("sss"));
    assert_int_equal(log_capture_matches("policy.log"), 8);
    for (size_t i = 0; i < log_capture_count(); i++)
        assert_true(strlen(log_capture_line(i)) < 4096);
}

/* Of this thread, so that what else the machine does is left out. */
static uint64_t cpu_ms(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* One C function that would run for half a second: it asks the budget itself. */
static void test_json_keeps_the_cpu_budget(void **state)
{
    struct stage *stage = *state;
    uint64_t before_ms = cpu_ms();
    stage->cpu_budget_ms = 20;
    const char *text = stage_error(stage, "local t, u = {}, {}\n"
                                          "for i = 1, 500 do t[i] = i + 1/3 end\n"
                                          "for i = 1, 900 do u[i] = t end\n"
                                          "json.encode(u)");
    if (strstr(text, "outcome=cpu_budget") == NULL)
        fail_msg("%s", text);
    assert_in_range(cpu_ms() - before_ms, 20, 250);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_send_and_close_by_id),
        TEST(test_unknown_ids_are_closed),
        TEST(test_misuse_raises_at_the_line),
        TEST(test_load_time),
        TEST(test_remote_orders),
        TEST(test_remote_answer_after_the_hook_is_gone),
        TEST(test_no_such_worker),
        TEST(test_markers_cannot_be_made_or_changed),
        TEST(test_copy),
        TEST(test_options),
        TEST(test_sleep_really_waits),
        TEST(test_log_lines),
        TEST(test_json_keeps_the_cpu_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
