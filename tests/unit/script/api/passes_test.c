/* api_passes_test.c - the module tidegate.passes and tide.close_user in a real policy of one worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "script/passes.h"
#include "support/stage.h"

static struct tg_passes *passes;

static int setup(void **state)
{
    int rc = stage_setup(state);
    struct stage *stage = *state;

    assert_int_equal(tg_passes_create(&passes), TG_ERR_OK);
    stage->passes = passes;
    return rc;
}

static int teardown(void **state)
{
    int rc = stage_teardown(state);

    tg_passes_destroy(passes);
    return rc;
}

static void test_a_ticket_stands_for_its_identity_once(void **state)
{
    stage_run(
        *state,
        "local passes = require 'tidegate.passes'\n"
        "local ticket, at = passes.issue{ identity = { user_id = 'ada', name = 'A \\\"quote\\\" "
        "\\n', roles = json.array() } }\n"
        "assert(#ticket == 43 and not ticket:find '[^%w_-]')\n"
        "assert(math.abs(at - time.now() - 60) < 5)\n"
        "local who = assert(passes.take(ticket))\n"
        "assert(who.user_id == 'ada' and who.name == 'A \"quote\" \\n' and #who.roles == 0)\n"
        "local no, why = passes.take(ticket) assert(no == nil and why == 'replayed')\n"
        "no, why = passes.take(('x'):rep(43)) assert(no == nil and why == 'unknown')\n"
        "ticket = passes.issue{ identity = { user_id = 'ada' }, origin = 'https://a', ttl = 5 }\n"
        "no, why = passes.take(ticket, 'https://b') assert(no == nil and why == 'foreign')");
}

static void test_a_revoked_token_is_known_and_its_connections_are_closed(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage,
               "local passes, log = require 'tidegate.passes', require 'tidegate.log'\n"
               "local names = { 't1', 't2', 't1' }\n"
               "local n = 0\n"
               "return { authenticate = function() n = n + 1\n"
               "  return { user_id = 'u', list = { token_id = 't1' }, token_id = names[n] } end,\n"
               "message = function(conn)\n"
               "  assert(not passes.is_revoked('t1'))\n"
               "  assert(passes.revoke('t1', 60) == 2)\n"
               "  assert(passes.is_revoked('t1') and not passes.is_revoked('t2'))\n"
               "  conn:send('done') end }");
    struct bench_client *one = bench_ready(bench);
    struct bench_client *two = bench_ready(bench);
    struct bench_client *three = bench_ready(bench);
    bench_send_text(bench, two, "{\"type\":\"go\"}");
    bench_expect(bench, two, "done");
    assert_string_equal(bench_expect_close(bench, one, 4401), TG_REVOKED_REASON);
    assert_string_equal(bench_expect_close(bench, three, 4401), TG_REVOKED_REASON);
}

static void test_close_user_closes_all_of_that_user_and_nobody_else(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "local tide = require 'tidegate'\n"
                      "local names = { 'ada', 'bob', 'ada' }\n"
                      "local n = 0\n"
                      "return { authenticate = function() n = n + 1\n"
                      "  return { user_id = names[n] } end,\n"
                      "message = function(conn)\n"
                      "  assert(tide.close_user('nobody') == 0 and tide.close_user('') == 0)\n"
                      "  assert(tide.close_user('ada\\0x') == 0)\n"
                      "  conn:send(tostring(tide.close_user('ada', 4003, 'moved')))\n"
                      "  assert(tide.close_user('ada') == 0)\n"
                      "end }");
    struct bench_client *one = bench_ready(bench);
    struct bench_client *two = bench_ready(bench);
    struct bench_client *three = bench_ready(bench);
    bench_send_text(bench, two, "{\"type\":\"go\"}");
    bench_expect(bench, two, "2");
    assert_string_equal(bench_expect_close(bench, one, 4003), "moved");
    assert_string_equal(bench_expect_close(bench, three, 4003), "moved");
}

static void test_close_user_may_end_the_asking_connection_whose_hook_goes_on(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    stage_load(stage, "local tide, log = require 'tidegate', require 'tidegate.log'\n"
                      "return { authenticate = function() return { user_id = 'ada' } end,\n"
                      "message = function(conn)\n"
                      "  local closed = tide.close_user('ada', 4003, 'bye')\n"
                      "  log.info('closed ' .. closed .. ' ' .. tostring(conn:send('x')))\n"
                      "end }");
    struct bench_client *one = bench_ready(bench);
    bench_send_text(bench, one, "{\"type\":\"go\"}");
    assert_string_equal(bench_expect_close(bench, one, 4003), "bye");
    if (strstr(stage_log(), "closed 1 nil") == NULL)
        fail_msg("%s", stage_log());
}

static void test_misuse_raises_at_the_line(void **state)
{
    static const struct {
        const char *code;
        const char *text;
    } rows[] = {
        {"passes.issue()", "passes.issue: { identity = { user_id = … } } expected, got nothing"},
        {"passes.issue{}", "identity (a table with user_id) expected, got nil"},
        {"passes.issue{ identity = { user_id = 'a' }, orgin = 'https://a' }",
         "; there are identity, origin, ttl"},
        {"passes.issue{ identity = {} }", "identity.user_id (text of 1 to 256 bytes)"},
        {"passes.issue{ identity = { user_id = 7 } }", "identity.user_id (text of 1 to 256 bytes)"},
        {"passes.issue{ identity = { user_id = 'a', x = print } }", "identity.x is a function"},
        {"passes.issue{ identity = { user_id = 'a' }, ttl = 301 }", "at most 300"},
        {"passes.issue{ identity = { user_id = 'a' }, ttl = 0/0 }", "at most 300"},
        {"passes.issue{ identity = { user_id = 'a' }, origin = 7 }", "origin (text) expected"},
        {"passes.take()", "passes.take: a ticket (text) expected, got nothing"},
        {"passes.take('x', 7)", "passes.take: the origin must be text"},
        {"passes.revoke('', 1)", "a token's ID has 1 to 1024 bytes, this one has 0"},
        {"passes.revoke('a\\0', 1)", "has no NUL in it"},
        {"passes.revoke('a')", "passes.revoke: ttl is seconds"},
        {"passes.revoke('a', -1)", "passes.revoke: ttl is seconds"},
        {"passes.is_revoked(7)", "passes.is_revoked: a token's ID (text) expected, got number"},
        {"tide.close_user(7)", "tide.close_user: a user_id (text) expected, got number"},
        {"tide.close_user('a', 1005)", "tide.close_user: a close code"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char code[256];
        snprintf(code, sizeof code, "local passes = require 'tidegate.passes'\n%s", rows[i].code);
        const char *text = stage_error(*state, code);
        if (strstr(text, rows[i].text) == NULL)
            fail_msg("%s: %s", rows[i].code, text);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_ticket_stands_for_its_identity_once),
        TEST(test_a_revoked_token_is_known_and_its_connections_are_closed),
        TEST(test_close_user_closes_all_of_that_user_and_nobody_else),
        TEST(test_close_user_may_end_the_asking_connection_whose_hook_goes_on),
        TEST(test_misuse_raises_at_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
