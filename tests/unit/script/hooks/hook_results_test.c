/* hook_results_test.c - what each hook may return, and that everything else means no. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/hooks/hook_results.h"
#include "script/plain.h"
#include "support/bare_lua.h"

#define OK TG_HOOK_OK_OUTCOME
#define DENIED TG_HOOK_DENIED_OUTCOME
#define BAD TG_HOOK_BAD_RESULT_OUTCOME
#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

/* The markers without the module that makes them: as userdata of their metatable. */
static int l_marker(lua_State *L)
{
    struct tg_marker marker = {.kind = (enum tg_marker_kind)lua_tointeger(L, 1),
                               .status = (int)lua_tointeger(L, 2)};
    snprintf(marker.reason, sizeof marker.reason, "%s", luaL_optstring(L, 3, ""));
    tg_marker_push(L, &marker);
    return 1;
}

static void read_code(lua_State *L, enum tg_hook hook, const char *code,
                      struct tg_hook_reading *reading)
{
    char chunk[512];
    snprintf(chunk, sizeof chunk,
             "local reject = function(s, w) return marker(0, s, w) end\n"
             "local need_message = function() return marker(1) end\n"
             "local degraded = function(w) return marker(2, 0, w) end\n"
             "return %s",
             code);
    bare_lua_run(L, chunk);
    tg_hook_results_read(L, hook, reading);
    assert_int_equal(lua_gettop(L), 0);
}

struct row {
    enum tg_hook hook;
    const char *code;
    enum tg_hook_outcome outcome;
    const char *text; /* reason; for BAD_RESULT part of the log's text; NULL: none */
};

static const struct row rows[] = {
    /* upgrade: silence is a yes, only reject is a no */
    {TG_HOOK_UPGRADE, "", OK, NULL},
    {TG_HOOK_UPGRADE, "nil", OK, NULL},
    {TG_HOOK_UPGRADE, "nil, nil, nil", OK, NULL},
    {TG_HOOK_UPGRADE, "reject(403, 'origin not allowed')", DENIED, "origin not allowed"},
    {TG_HOOK_UPGRADE, "reject(503)", DENIED, "refused"},
    {TG_HOOK_UPGRADE, "nil, 'no'", BAD, "upgrade must return nothing, or tide.reject"},
    {TG_HOOK_UPGRADE, "false", BAD, "it returned boolean"},
    {TG_HOOK_UPGRADE, "true", BAD, "it returned boolean"},
    {TG_HOOK_UPGRADE, "403", BAD, "it returned number"},
    {TG_HOOK_UPGRADE, "{status = 403}", BAD, "it returned table"},
    {TG_HOOK_UPGRADE, "degraded('x')", BAD, "it returned tide.degraded"},
    {TG_HOOK_UPGRADE, "reject(403, 'x'), 'y'", BAD, "and string"},
    {TG_HOOK_UPGRADE, "nil, nil, 'x'", BAD, "more than two"},
    /* authenticate */
    {TG_HOOK_AUTHENTICATE, "{user_id = 'u'}", OK, NULL},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'u'}, nil", OK, NULL},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'u', roles = {'a'}, expires_at = 1e9}", OK, NULL},
    {TG_HOOK_AUTHENTICATE, "wrap({user_id = 'u', n = {}})", OK, NULL},
    {TG_HOOK_AUTHENTICATE, "{user_id = ('u'):rep(256)}", OK, NULL},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'z\\195\\188rich'}", OK, NULL},
    {TG_HOOK_AUTHENTICATE, "nil, 'unknown key'", DENIED, "unknown key"},
    {TG_HOOK_AUTHENTICATE, "nil, ''", DENIED, "refused"},
    {TG_HOOK_AUTHENTICATE, "nil, 'two\\nlines\\0'", DENIED, "two lines "},
    {TG_HOOK_AUTHENTICATE, "nil, '\\255'", DENIED, "refused"},
    {TG_HOOK_AUTHENTICATE, "reject(403, 'no')", DENIED, "no"},
    {TG_HOOK_AUTHENTICATE, "nil, 'no', 403", DENIED, "no"},
    {TG_HOOK_AUTHENTICATE, "nil, 'no', 'expired', nil", DENIED, "no"},
    {TG_HOOK_AUTHENTICATE, "nil, 'no', 200", BAD, "more than two"},
    {TG_HOOK_AUTHENTICATE, "nil, 'no', 403.5", BAD, "more than two"},
    {TG_HOOK_AUTHENTICATE, "nil, 'no', {}", BAD, "more than two"},
    {TG_HOOK_AUTHENTICATE, "nil, 'no', true", BAD, "more than two"},
    {TG_HOOK_AUTHENTICATE, "nil, 'no', 403, 'x'", BAD, "more than two"},
    {TG_HOOK_AUTHENTICATE, "nil, nil, 403", BAD, "more than two"},
    {TG_HOOK_AUTHENTICATE, "reject(403, 'no'), nil, 403", BAD, "more than two"},
    {TG_HOOK_AUTHENTICATE, "need_message(), nil, 403", BAD, "more than two"},
    {TG_HOOK_CREATE_CONTEXT, "nil, 'no', 403", BAD, "more than two"},
    {TG_HOOK_AUTHENTICATE, "need_message()", OK, NULL},
    {TG_HOOK_AUTHENTICATE, "need_message(), 'x'", BAD, "tide.need_message() and string"},
    {TG_HOOK_AUTHENTICATE, "", BAD, "must return a table with user_id"},
    {TG_HOOK_AUTHENTICATE, "nil", BAD, "it returned nil"},
    {TG_HOOK_AUTHENTICATE, "nil, {}", BAD, "nil and table"},
    {TG_HOOK_AUTHENTICATE, "nil, 42", BAD, "nil and number"},
    {TG_HOOK_AUTHENTICATE, "true", BAD, "it returned boolean"},
    {TG_HOOK_AUTHENTICATE, "true, {user_id = 'u'}", BAD, "boolean and table"},
    {TG_HOOK_AUTHENTICATE, "false, 'no'", BAD, "boolean and string"},
    {TG_HOOK_AUTHENTICATE, "'u'", BAD, "it returned string"},
    {TG_HOOK_AUTHENTICATE, "7", BAD, "it returned number"},
    {TG_HOOK_AUTHENTICATE, "print", BAD, "it returned function"},
    {TG_HOOK_AUTHENTICATE, "json.null", BAD, "it returned json.null"},
    {TG_HOOK_AUTHENTICATE, "io.stdout", BAD, "it returned userdata"},
    {TG_HOOK_AUTHENTICATE, "degraded('x')", BAD, "it returned tide.degraded"},
    {TG_HOOK_AUTHENTICATE, "{}", BAD, "user_id is missing"},
    {TG_HOOK_AUTHENTICATE, "{user_id = ''}", BAD, "user_id is empty"},
    {TG_HOOK_AUTHENTICATE, "{user_id = 7}", BAD, "user_id is a number"},
    {TG_HOOK_AUTHENTICATE, "{user_id = true}", BAD, "user_id is missing or no text"},
    {TG_HOOK_AUTHENTICATE, "{user_id = ('u'):rep(257)}", BAD, "longer than 256"},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'root\\0x'}", BAD, "control character"},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'a\\nb'}", BAD, "control character"},
    {TG_HOOK_AUTHENTICATE, "{user_id = '\\255'}", BAD, "not UTF-8"},
    {TG_HOOK_AUTHENTICATE, "setmetatable({}, {__index = {user_id = 'u'}})", BAD, "missing"},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'u'}, 'warning'", BAD, "table and string"},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'u'}, nil, 'x'", BAD, "more than two"},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'u', expires_at = '1'}", BAD, "expires_at must be a number"},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'u', expires_at = 0}", BAD, "positive"},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'u', expires_at = -5}", BAD, "positive"},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'u', expires_at = 0/0}", BAD, "positive"},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'u', expires_at = math.huge}", BAD, "leave it out"},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'u', db = print}", BAD, "identity.db is a function"},
    {TG_HOOK_AUTHENTICATE, "{user_id = 'u', x = ('x'):rep(70000)}", BAD, "larger than 65536"},
    /* reauthenticate is read as authenticate */
    {TG_HOOK_REAUTHENTICATE, "{user_id = 'u'}", OK, NULL},
    {TG_HOOK_REAUTHENTICATE, "nil, 'expired'", DENIED, "expired"},
    {TG_HOOK_REAUTHENTICATE, "true", BAD, "reauthenticate must return"},
    /* create_context */
    {TG_HOOK_CREATE_CONTEXT, "{}", OK, NULL},
    {TG_HOOK_CREATE_CONTEXT, "{tenant = {id = 7}}", OK, NULL},
    {TG_HOOK_CREATE_CONTEXT, "wrap({a = 1})", OK, NULL},
    {TG_HOOK_CREATE_CONTEXT, "nil, 'no tenant'", DENIED, "no tenant"},
    {TG_HOOK_CREATE_CONTEXT, "reject(403, 'no tenant')", DENIED, "no tenant"},
    {TG_HOOK_CREATE_CONTEXT, "", BAD, "create_context must return a table"},
    {TG_HOOK_CREATE_CONTEXT, "nil", BAD, "it returned nil"},
    {TG_HOOK_CREATE_CONTEXT, "false", BAD, "it returned boolean"},
    {TG_HOOK_CREATE_CONTEXT, "'text'", BAD, "it returned string"},
    {TG_HOOK_CREATE_CONTEXT, "{}, 'but'", BAD, "table and string"},
    {TG_HOOK_CREATE_CONTEXT, "{db = {handle = print}}", BAD, "context.db.handle is a function"},
    {TG_HOOK_CREATE_CONTEXT, "need_message()", BAD, "tide.need_message()"},
    /* prepare */
    {TG_HOOK_PREPARE, "true", OK, NULL},
    {TG_HOOK_PREPARE, "degraded('no search')", OK, "no search"},
    {TG_HOOK_PREPARE, "nil, 'database down'", DENIED, "database down"},
    {TG_HOOK_PREPARE, "false", DENIED, "refused"},
    {TG_HOOK_PREPARE, "false, 'database down'", DENIED, "database down"},
    {TG_HOOK_PREPARE, "reject(503, 'later')", DENIED, "later"},
    {TG_HOOK_PREPARE, "", BAD, "prepare must return true"},
    {TG_HOOK_PREPARE, "nil", BAD, "it returned nil"},
    {TG_HOOK_PREPARE, "true, 'but no'", BAD, "boolean and string"},
    {TG_HOOK_PREPARE, "false, {}", BAD, "boolean and table"},
    {TG_HOOK_PREPARE, "1", BAD, "it returned number"},
    {TG_HOOK_PREPARE, "{}", BAD, "it returned table"},
    {TG_HOOK_PREPARE, "'degraded'", BAD, "it returned string"},
    {TG_HOOK_PREPARE, "need_message()", BAD, "tide.need_message()"},
    /* route */
    {TG_HOOK_ROUTE, "'writer'", OK, NULL},
    {TG_HOOK_ROUTE, "'writer', {message = 'x'}", OK, NULL},
    {TG_HOOK_ROUTE, "", OK, NULL},
    {TG_HOOK_ROUTE, "nil", OK, NULL},
    {TG_HOOK_ROUTE, "json.null", OK, NULL},
    {TG_HOOK_ROUTE, "nil, 'not for you'", DENIED, "not for you"},
    {TG_HOOK_ROUTE, "''", BAD, "text of 1 to 63"},
    {TG_HOOK_ROUTE, "('x'):rep(64)", BAD, "text of 1 to 63"},
    {TG_HOOK_ROUTE, "'a\\0b'", BAD, "text of 1 to 63"},
    {TG_HOOK_ROUTE, "7", BAD, "it returned number"},
    {TG_HOOK_ROUTE, "true", BAD, "it returned boolean"},
    {TG_HOOK_ROUTE, "{}", BAD, "it returned table"},
    {TG_HOOK_ROUTE, "nil, {}", BAD, "nil and table"},
    {TG_HOOK_ROUTE, "'writer', print", BAD, "input is a function"},
    {TG_HOOK_ROUTE, "'writer', {}, 'x'", BAD, "more than two"},
    /* the rest may return anything */
    {TG_HOOK_MESSAGE, "false, print, 7", OK, NULL},
    {TG_HOOK_BINARY, "nil, 'x'", OK, NULL},
    {TG_HOOK_TEXT, "{}", OK, NULL},
    {TG_HOOK_CLOSED, "print", OK, NULL},
};

static void test_every_result(void **state)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *row = &rows[i];
        struct tg_hook_reading r;
        read_code(*state, row->hook, row->code, &r);
        if (r.result.outcome != row->outcome)
            fail_msg("%s: return %s: %s (%s)", tg_hook_names[row->hook], row->code,
                     tg_hook_outcome_names[r.result.outcome], r.wrong.text);
        if (row->outcome == BAD && strstr(r.wrong.text, row->text) == NULL)
            fail_msg("%s: return %s: \"%s\"", tg_hook_names[row->hook], row->code, r.wrong.text);
        if (row->outcome == BAD) {
            assert_string_equal(r.result.reason, "policy gave a wrong answer");
            assert_null(r.result.user_id);
            assert_null(r.result.agent);
        } else if (row->text == NULL) {
            assert_null(r.result.reason);
        } else {
            assert_string_equal(r.result.reason, row->text);
        }
        tg_hook_reading_fini(&r);
    }
}

static void test_identity_is_kept(void **state)
{
    lua_State *L = *state;
    struct tg_hook_reading r;
    read_code(L, TG_HOOK_AUTHENTICATE, "{user_id = 'ann', expires_at = 1234.5, roles = {'x'}}", &r);
    assert_string_equal(r.result.user_id, "ann");
    assert_true(r.result.expires_at == 1234.5);
    assert_int_equal(r.result.verdict, TG_VERDICT_YES);
    assert_null(r.result.offered_id);
    tg_plain_push(L, r.result.identity.data, r.result.identity.len);
    lua_setglobal(L, "kept");
    bare_lua_run(L, "assert(kept.user_id == 'ann' and kept.roles[1] == 'x')");
    tg_hook_reading_fini(&r);
}

static void test_verdicts_and_statuses(void **state)
{
    struct tg_hook_reading r;
    read_code(*state, TG_HOOK_AUTHENTICATE, "need_message()", &r);
    assert_int_equal(r.result.verdict, TG_VERDICT_NEED_MESSAGE);
    tg_hook_reading_fini(&r);
    read_code(*state, TG_HOOK_PREPARE, "degraded('x')", &r);
    assert_int_equal(r.result.verdict, TG_VERDICT_DEGRADED);
    tg_hook_reading_fini(&r);
    read_code(*state, TG_HOOK_UPGRADE, "reject(429, 'slow down')", &r);
    assert_int_equal(r.result.status, 429);
    tg_hook_reading_fini(&r);
    read_code(*state, TG_HOOK_AUTHENTICATE, "reject(403, 'no')", &r);
    assert_int_equal(r.result.status, 4403);
    tg_hook_reading_fini(&r);
    read_code(*state, TG_HOOK_REAUTHENTICATE, "nil, 'no', 429", &r);
    assert_int_equal(r.result.status, 4429);
    tg_hook_reading_fini(&r);
    read_code(*state, TG_HOOK_AUTHENTICATE, "nil, 'no', 'expired'", &r);
    assert_int_equal(r.result.status, 0);
    tg_hook_reading_fini(&r);
    read_code(*state, TG_HOOK_AUTHENTICATE, "nil, 'no'", &r);
    assert_int_equal(r.result.status, 0);
    tg_hook_reading_fini(&r);
}

static void test_denials_have_a_code(void **state)
{
    static const struct {
        enum tg_hook hook;
        const char *code;
        const char *word; /* NULL: none */
        int status;
    } cases[] = {
        {TG_HOOK_AUTHENTICATE, "nil, 'no', 'expired'", "expired", 0},
        {TG_HOOK_REAUTHENTICATE, "nil, 'no', 'not_yet_valid'", "not_yet_valid", 0},
        {TG_HOOK_AUTHENTICATE, "nil, 'no', 'unavailable'", "unavailable", 4503},
        {TG_HOOK_AUTHENTICATE, "nil, 'no'", NULL, 0},
        {TG_HOOK_AUTHENTICATE, "nil, 'no', 403", "forbidden", 4403},
        {TG_HOOK_AUTHENTICATE, "nil, 'no', 429", "rate_limited", 4429},
        {TG_HOOK_AUTHENTICATE, "nil, 'no', 418", "other", 4418},
        {TG_HOOK_AUTHENTICATE, "reject(503, 'later')", "unavailable", 4503},
        /* what could be a secret, or would make a page of its own of the metrics */
        {TG_HOOK_AUTHENTICATE, "nil, 'no', 'k-7f3a09'", "other", 0},
        {TG_HOOK_AUTHENTICATE, "nil, 'no', 'Expired'", "other", 0},
        {TG_HOOK_AUTHENTICATE, "nil, 'no', ''", "other", 0},
        {TG_HOOK_AUTHENTICATE, "nil, 'no', 'expired\\0x'", "other", 0},
        {TG_HOOK_AUTHENTICATE, "nil, 'no', ('x'):rep(32)", "other", 0},
        {TG_HOOK_AUTHENTICATE, "{user_id = 'u'}", NULL, 0},
        {TG_HOOK_CREATE_CONTEXT, "reject(403, 'no')", NULL, 4403},
        {TG_HOOK_PREPARE, "nil, 'no'", NULL, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tg_hook_reading r;
        read_code(*state, cases[i].hook, cases[i].code, &r);
        assert_int_equal(r.result.status, cases[i].status);
        if (cases[i].word == NULL)
            assert_null(r.result.code);
        else
            assert_string_equal(r.result.code, cases[i].word);
        tg_hook_reading_fini(&r);
    }
}

static void test_route_keeps_agent_and_input(void **state)
{
    lua_State *L = *state;
    struct tg_hook_reading r;
    read_code(L, TG_HOOK_ROUTE, "'writer', {topic = {'x'}}", &r);
    assert_string_equal(r.result.agent, "writer");
    tg_plain_push(L, r.result.input.data, r.result.input.len);
    lua_setglobal(L, "kept");
    bare_lua_run(L, "assert(kept.topic[1] == 'x')");
    tg_hook_reading_fini(&r);
    read_code(L, TG_HOOK_ROUTE, "'writer'", &r);
    assert_null(r.result.input.data);
    tg_hook_reading_fini(&r);
    read_code(L, TG_HOOK_ROUTE, "json.null", &r);
    assert_null(r.result.agent);
    tg_hook_reading_fini(&r);
}

static void test_offered_ids_are_passed_on(void **state)
{
    static const struct {
        enum tg_hook hook;
        const char *code;
        const char *offered;
    } cases[] = {
        {TG_HOOK_AUTHENTICATE, "{user_id = 'u', connection_id = 'ws_1'}", "ws_1"},
        {TG_HOOK_AUTHENTICATE, "{user_id = 'u', connection_id = 42}", "42"},
        {TG_HOOK_AUTHENTICATE, "{user_id = 'u', connection_id = {}}", "table"},
        {TG_HOOK_AUTHENTICATE, "{user_id = 'u', connection_id = false}", "false"},
        {TG_HOOK_AUTHENTICATE, "wrap({user_id = 'u', connection_id = 'ws_1'})", "ws_1"},
        {TG_HOOK_AUTHENTICATE, "{user_id = 7, connection_id = 'ws_1'}", "ws_1"},
        {TG_HOOK_REAUTHENTICATE, "{user_id = 'u', connection_id = 'ws_1'}", "ws_1"},
        {TG_HOOK_CREATE_CONTEXT, "{connection_id = 'ws_1'}", "ws_1"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tg_hook_reading r;
        read_code(*state, cases[i].hook, cases[i].code, &r);
        assert_non_null(r.result.offered_id);
        assert_string_equal(r.result.offered_id, cases[i].offered);
        tg_hook_reading_fini(&r);
    }
}

static void test_reasons_are_short(void **state)
{
    struct tg_hook_reading r;
    read_code(*state, TG_HOOK_AUTHENTICATE, "nil, ('\\195\\169'):rep(500)", &r);
    assert_int_equal(strlen(r.result.reason), 120);
    tg_hook_reading_fini(&r);
    read_code(*state, TG_HOOK_AUTHENTICATE, "nil, 'x' .. ('\\195\\169'):rep(500)", &r);
    assert_int_equal(strlen(r.result.reason), 119); /* no half a character */
    tg_hook_reading_fini(&r);
}

static void test_failures_say_no(void **state)
{
    (void)state;
    for (int outcome = DENIED; outcome <= TG_HOOK_BAD_RESULT_OUTCOME; outcome++) {
        struct tg_hook_reading r;
        tg_hook_reading_fail(&r, (enum tg_hook_outcome)outcome);
        assert_int_equal(r.result.outcome, outcome);
        assert_non_null(r.result.reason);
        assert_null(r.result.user_id);
        tg_hook_reading_fini(&r);
    }
}

static int setup(void **state)
{
    lua_State *L = bare_lua_open();
    tg_tide_open_types(L);
    lua_pushcfunction(L, l_marker);
    lua_setglobal(L, "marker");
    *state = L;
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, bare_lua_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_result),
        TEST(test_identity_is_kept),
        TEST(test_verdicts_and_statuses),
        TEST(test_denials_have_a_code),
        TEST(test_route_keeps_agent_and_input),
        TEST(test_offered_ids_are_passed_on),
        TEST(test_reasons_are_short),
        TEST(test_failures_say_no),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
