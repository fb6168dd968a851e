/* call_test.c - every way in which a call can go, and that the state is as before afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>

#include <string.h>

#include "base/memory.h"
#include "support/script_fixture.h"

static struct script_fixture fx;

static void a_call_that_returns_gives_its_results(void **state)
{
    (void)state;
    fixture_run(&fx, "return 'yes', 2, nil");
    assert_int_equal(fx.outcome, TG_CALL_OK);
    assert_int_equal(fx.results, 3);
    assert_string_equal(fx.result, "yes");
    assert_string_equal(fx.text, "");
    fixture_run(&fx, "");
    assert_int_equal(fx.results, 0);
}

static void an_error_has_place_and_traceback(void **state)
{
    (void)state;
    fixture_run(&fx, "\nlocal function inner() error('no luck') end\ninner()");
    assert_int_equal(fx.outcome, TG_CALL_ERROR);
    assert_text_has(fx.text, "policy.lua:2: no luck");
    assert_text_has(fx.traceback, "stack traceback:");
    assert_text_has(fx.traceback, "policy.lua:3:");
    assert_null(strstr(fx.text, "traceback"));
}

static void error_objects_are_never_asked_for_text(void **state)
{
    static const struct {
        const char *body;
        const char *text;
    } rows[] = {
        {"error(setmetatable({}, {__tostring = function() while true do end end}))",
         "(error object is a table)"},
        {"error(setmetatable({}, {__tostring = function() error('x') end}))",
         "(error object is a table)"},
        {"error(nil)", "(error object is a nil)"},
        {"error(42)", "42"},
        {"error(true)", "(error object is a boolean)"},
        {"error(print)", "(error object is a function)"},
        {"error(tide.options)", "(error object is a userdata)"},
        {"local t = {} error(setmetatable(t, {__index = function() return t.x end}))",
         "(error object is a table)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fixture_run(&fx, rows[i].body);
        assert_int_equal(fx.outcome, TG_CALL_ERROR);
        assert_text_has(fx.text, rows[i].text);
        assert_text_has(fx.traceback, "traceback");
    }
}

static void memory_over_the_limit_ends_the_call_only(void **state)
{
    (void)state;
    fx.env.memory_max = (size_t)2 << 20;
    fixture_load_body(&fx, "local s = ('x'):rep(1e5) while true do s = s .. s end");
    for (int i = 0; i < 3; i++) {
        assert_null(fixture_call(&fx, 0));
        assert_int_equal(fx.outcome, TG_CALL_MEMORY);
        assert_text_has(fx.text, "out of memory: the policy may use 2048KiB");
        assert_true(fx.generation->memory_used < fx.generation->memory_max / 2);
    }
}

static void deep_recursion_is_an_error(void **state)
{
    (void)state;
    fixture_run(&fx, "local function f() return 1 + f() end return f()");
    assert_int_equal(fx.outcome, TG_CALL_ERROR);
    assert_text_has(fx.text, "stack overflow");
    fixture_run(&fx, "local s = ('x'):rep(100) return (s:gsub('.', function(c) return c end))");
    assert_int_equal(fx.outcome, TG_CALL_OK);
}

static void a_coroutine_that_ended_well_is_used_again(void **state)
{
    (void)state;
    fixture_load_body(&fx, "local a, b, c = 1, 2, 3 return a, b, c");
    assert_null(fixture_call(&fx, 0));
    assert_int_equal(fx.generation->pool_count, 1);
    const struct tg_call *pooled = fx.generation->pool[0];
    for (int i = 0; i < 100; i++)
        assert_null(fixture_call(&fx, 0));
    assert_int_equal(fx.generation->pool_count, 1);
    assert_ptr_equal(fx.generation->pool[0], pooled);
    struct tg_call *call = tg_call_create(fx.generation, TG_CALL_HOOK, 0, 0, NULL, NULL);
    assert_ptr_equal(call, pooled);
    assert_int_equal(fx.generation->pool_count, 0);
    assert_int_equal(lua_gettop(call->co), 0);
    assert_null(call->wait);
    assert_int_equal(call->args, 0);
    tg_call_cancel(call);
}

static void a_coroutine_that_failed_is_not_used_again(void **state)
{
    (void)state;
    fixture_load_body(&fx, "error('x')");
    for (int i = 0; i < 50; i++)
        assert_null(fixture_call(&fx, 0));
    assert_int_equal(fx.generation->pool_count, 0);
    fixture_load_body(&fx, "wait()");
    tg_call_cancel(fixture_call(&fx, 0));
    assert_int_equal(fx.generation->pool_count, 0);
}

static void a_wait_gives_what_it_is_woken_with(void **state)
{
    (void)state;
    fixture_load_body(&fx, "local a = wait() local b = wait() return a + b");
    assert_non_null(fixture_call(&fx, 0));
    fixture_wake(40);
    assert_int_equal(fx.done, 0);
    fixture_wake(2);
    assert_int_equal(fx.done, 1);
    assert_string_equal(fx.result, "42");
    assert_int_equal(fixture_cancels, 0);
}

static void a_call_waits_in_every_place(void **state)
{
    static const char *const bodies[] = {
        "return wait()",
        "local ok, v = pcall(wait) return ok and v",
        "local ok, v = pcall(function() return (wait()) end) return ok and v",
        "local ok, v = xpcall(function() return (wait()) end, print) return ok and v",
        "local co = coroutine.wrap(function() return (wait()) end) return co()",
        ("local co = coroutine.create(function() return (wait()) end) "
         "local ok, v = coroutine.resume(co) return ok and coroutine.status(co) == 'dead' and v"),
        ("local co = coroutine.wrap(function() local i = coroutine.wrap(function() return (wait()) "
         "end) "
         "return (i()) end) return co()"),
        ("local co = coroutine.wrap(function() coroutine.yield(1) coroutine.yield(wait()) end) "
         "co() return co()"),
        "local co = coroutine.wrap(function() local _, v = pcall(wait) return v end) return co()",
        "for v in coroutine.wrap(function() coroutine.yield(wait()) end) do return v end",
        "return setmetatable({}, {__index = function() return (wait()) end}).x",
        "return select('#', wait()) == 1 and 7",
        ("local v table.sort({3, 1, 2}, function(a, b) v = v or wait() return a < b end) return "
         "v"),
        "local v local _ = ('x'):gsub('x', function() v = wait() end) return v",
        "return tonumber((('x'):gsub('x', function() return wait() end)))",
        ("local t = setmetatable({}, {__index = function() return wait() end}) "
         "return tonumber((('x'):gsub('x', t)))"),
        ("local v table.sort({2, 1}, function(a, b) v = coroutine.wrap(wait)() return a < b end) "
         "return v"),
        "local n return load(function() if n then return end n = wait() return 'return 7' end)()",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        fixture_load_body(&fx, bodies[i]);
        fx.done = 0;
        if (fixture_call(&fx, 0) == NULL)
            fail_msg("%s: %s", bodies[i], fx.text);
        fixture_wake(7);
        assert_int_equal(fx.done, 1);
        if (fx.outcome != TG_CALL_OK || strcmp(fx.result, "7") != 0)
            fail_msg("%s: %s %s", bodies[i], fx.result, fx.text);
    }
}

static void where_nothing_can_wait_a_wait_is_cancelled_and_raises(void **state)
{
    static const char *const bodies[] = {
        "('%s'):format(setmetatable({}, {__tostring = wait}))",
        "print(setmetatable({}, {__tostring = wait}))",
        "('%s'):format(setmetatable({}, {__tostring = function() coroutine.wrap(wait)() end}))",
        ("coroutine.wrap(function() print(setmetatable({}, {__tostring = coroutine.wrap(wait)})) "
         "end)()"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        int cancels = fixture_cancels;
        fixture_run(&fx, bodies[i]);
        assert_int_equal(fx.outcome, TG_CALL_ERROR);
        assert_text_has(fx.text, "cannot wait here");
        assert_int_equal(fixture_cancels, cancels + 1);
    }
}

static void scripts_cannot_reach_a_coroutine_of_the_host(void **state)
{
    (void)state;
    fixture_run(&fx, "return coroutine.running() == nil and not coroutine.isyieldable()");
    assert_string_equal(fx.result, "true");
    fixture_run(&fx, "coroutine.yield(1)");
    assert_text_has(fx.text, "policy.lua:1: attempt to yield outside a coroutine");
    /* One that waits for the host can be resumed by nobody else. */
    fixture_load_body(&fx, "local co\nlocal function inner()\n"
                           "local me = coroutine.running()\n"
                           "coroutine.wrap(function()\n"
                           "local ok, err = coroutine.resume(me) assert(not ok)\n"
                           "assert(coroutine.status(me) == 'normal') wait()\n"
                           "assert(not coroutine.resume(me)) end)() return 'fine' end\n"
                           "return coroutine.wrap(inner)()");
    assert_non_null(fixture_call(&fx, 0));
    fixture_wake(1);
    assert_string_equal(fx.text, "");
    assert_string_equal(fx.result, "fine");
}

static void coroutines_of_scripts_behave_as_in_lua(void **state)
{
    static const char *const bodies[] = {
        ("local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 "
         "end) "
         "local _, x = coroutine.resume(co, 1) local _, y = coroutine.resume(co, 10) "
         "return x == 2 and y == 20 and coroutine.status(co) == 'dead'"),
        ("local co = coroutine.create(function() error('oops') end) local ok, e = "
         "coroutine.resume(co) "
         "return not ok and e:find('oops') ~= nil"),
        ("local co = coroutine.create(function() end) coroutine.resume(co) "
         "return select('#', coroutine.resume(co)) == 2 and select(1, coroutine.resume(co)) == "
         "false"),
        "return select('#', coroutine.resume(coroutine.create(function() end))) == 1",
        ("local e = {} local ok, got = pcall(coroutine.wrap(function() error(e) end)) "
         "return not ok and got == e"),
        ("local n = 0 for i in coroutine.wrap(function() for i = 1, 5 do coroutine.yield(i) end "
         "end) "
         "do n = n + i end return n == 15"),
        "return not pcall(coroutine.create, 1) and not pcall(coroutine.resume, {})",
        ("local co co = coroutine.create(function() return coroutine.running() == co end) "
         "local _, same = coroutine.resume(co) return same"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        fixture_run(&fx, bodies[i]);
        if (strcmp(fx.result, "true") != 0)
            fail_msg("%s: %s %s", bodies[i], fx.result, fx.text);
    }
}

static void cancelling_a_suspended_call_drops_it_at_once(void **state)
{
    (void)state;
    fixture_load_body(&fx, "pcall(wait) error('woken')");
    struct tg_call *call = fixture_call(&fx, 10000);
    tg_call_cancel(call);
    assert_int_equal(fixture_cancels, 1);
    assert_int_equal(fx.done, 0);
    assert_int_equal(fx.generation->call_count, 0);
}

static struct tg_call *victim;

static int l_cancel_victim(lua_State *L)
{
    (void)L;
    tg_call_cancel(victim);
    tg_call_cancel(victim); /* harmless */
    return 0;
}

static int build_with_cancel(lua_State *L)
{
    int n;
    lua_rawgeti(L, LUA_REGISTRYINDEX, tg_generation_of(L)->hook_refs[TG_HOOK_MESSAGE]);
    n = lua_gettop(L);
    lua_pushcfunction(L, l_cancel_victim);
    return lua_gettop(L) - n + 1;
}

static void never_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                       const char *error_text, const char *traceback)
{
    (void)call;
    (void)outcome;
    (void)results;
    (void)error_text;
    (void)traceback;
    fail_msg("on_done of a cancelled call");
}

static void cancelling_a_running_call_ends_it_at_its_return(void **state)
{
    (void)state;
    fixture_load_body(&fx, "wait() return 1");
    victim = tg_call_create(fx.generation, TG_CALL_HOOK, 0, 1000, never_done, &fx);
    tg_call_start(victim, build_with_cancel, NULL);
    assert_int_equal(fx.generation->call_count, 0);
    fixture_load_body(&fx, "wait() time.sleep(100) error('after')");
    victim = tg_call_create(fx.generation, TG_CALL_HOOK, 0, 1000, never_done, &fx);
    tg_call_start(victim, build_with_cancel,
                  NULL); /* ends at its next wait, and the wait is undone */
    assert_int_equal(fx.generation->call_count, 0);
}

static void a_call_that_never_started_can_be_cancelled(void **state)
{
    (void)state;
    fixture_load_body(&fx, "");
    tg_call_cancel(tg_call_create(fx.generation, TG_CALL_RUN, 0, 0, never_done, &fx));
    assert_int_equal(fx.generation->call_count, 0);
}

static void abandoning_tells_the_owner_why(void **state)
{
    (void)state;
    fixture_load_body(&fx, "pcall(wait) error('woken')");
    struct tg_call *call = fixture_call(&fx, 10000);
    tg_call_abandon(call, "reloaded");
    assert_int_equal(fixture_cancels, 1);
    assert_int_equal(fx.done, 1);
    assert_int_equal(fx.outcome, TG_CALL_ERROR);
    assert_string_equal(fx.text, "reloaded");
}

/* Its timer is set by the first wait, and what the call took before counts: 30 ms at least of 40 on a clock that
 * counts other threads, too. */
static void the_wall_budget_counts_from_the_start(void **state)
{
    (void)state;
    fixture_set_budget(&fx, 5000);
    fixture_load_body(&fx, "local from = os.clock() while os.clock() - from < 0.04 do end wait()");
    struct tg_call *call = fixture_call(&fx, 60000);
    assert_non_null(call);
    uint64_t left_ms = tg_timer_due_ms(&call->wall_timer) - tg_timers_now_ms(fx.env.timers);
    assert_in_range(left_ms, 1, 60000 - 30);
    tg_call_cancel(call);
}

static void the_wall_budget_ends_a_wait(void **state)
{
    (void)state;
    fixture_load_body(&fx, "\nwhile true do pcall(wait) end");
    assert_non_null(fixture_call(&fx, 20));
    fixture_loop_until(&fx, 1);
    assert_int_equal(fx.outcome, TG_CALL_WALL_BUDGET);
    assert_text_has(fx.text, "policy.lua:2: took longer than 20ms in all");
    assert_int_equal(fixture_cancels, 1);
}

static void sleep_wakes_by_the_loop(void **state)
{
    (void)state;
    fixture_load_body(&fx, "time.sleep(0.005) time.sleep(0) return 'slept'");
    assert_non_null(fixture_call(&fx, 1000));
    fixture_loop_until(&fx, 1);
    assert_string_equal(fx.result, "slept");
}

static int build_fails(lua_State *L)
{
    lua_newtable(L);
    return luaL_error(L, "the builder failed");
}

static void a_builder_that_fails_ends_the_call(void **state)
{
    (void)state;
    fixture_load_body(&fx, "return wait()");
    struct tg_call *call = fixture_call(&fx, 0);
    fixture_waiting = NULL;
    tg_call_wake(call, build_fails, NULL);
    assert_int_equal(fx.done, 1);
    assert_int_equal(fx.outcome, TG_CALL_ERROR);
    assert_string_equal(fx.text, "the builder failed");
    assert_int_equal(lua_gettop(fx.generation->L), 0);
}

static void count_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                       const char *error_text, const char *traceback)
{
    (void)results;
    (void)traceback;
    assert_true(outcome == TG_CALL_OK || error_text != NULL);
    *(int *)call->owner = (int)outcome;
}

/* From the n-th allocation on all fail, for each n until the call succeeds. */
static void running_out_of_memory_anywhere_is_an_outcome(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        int outcome = -1;
        fixture_load_body(&fx, "local t = {} for i = 1, 20 do t[i] = {('x'):rep(i)} end "
                               "return coroutine.wrap(function() return #t end)()");
        (void)tg_memory_fail_after(n, 1);
        struct tg_call *call =
            tg_call_create(fx.generation, TG_CALL_HOOK, 0, 1000, count_done, &outcome);
        if (call != NULL)
            tg_call_start(call, build_with_cancel, NULL);
        (void)tg_memory_fail_after(-1, 0);
        assert_int_equal(fx.generation->call_count, 0);
        assert_int_equal(lua_gettop(fx.generation->L), 0);
        if (outcome == TG_CALL_OK)
            return;
        assert_true(call == NULL || outcome == TG_CALL_MEMORY || outcome == TG_CALL_ERROR);
        assert_true(n < 10000);
    }
}

/* --- turns -------------------------------------------------------------------------------------- */

static char order[32];

static int l_note(lua_State *L)
{
    (void)strncat(order, lua_tostring(L, 1), sizeof order - strlen(order) - 1);
    return 0;
}

static int l_start_another(lua_State *L);

static int build_notes(lua_State *L)
{
    const char *name = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, tg_generation_of(L)->hook_refs[TG_HOOK_MESSAGE]);
    lua_pushcfunction(L, l_note);
    lua_pushstring(L, name);
    lua_pushcfunction(L, l_start_another);
    return 4;
}

static void note_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                      const char *error_text, const char *traceback)
{
    (void)results;
    (void)error_text;
    (void)traceback;
    assert_int_equal(outcome, TG_CALL_OK);
    (void)strncat(order, "D", sizeof order - strlen(order) - 1);
    if (call->kind == TG_CALL_RUN) { /* from an on_done, too */
        struct tg_call *last =
            tg_call_create(call->generation, TG_CALL_HOOK, 0, 0, note_done, NULL);
        tg_call_start(last, build_notes, (void *)(uintptr_t) "c");
        (void)strncat(order, ".", sizeof order - strlen(order) - 1);
    }
}

static int l_start_another(lua_State *L)
{
    struct tg_call *call = tg_call_create(tg_generation_of(L), TG_CALL_RUN, 0, 0, note_done, NULL);
    tg_call_start(call, build_notes, (void *)(uintptr_t) "b");
    return 0;
}

static void a_call_started_inside_another_waits_for_its_turn(void **state)
{
    (void)state;
    order[0] = '\0';
    fixture_load_body(&fx, "local note, name, start = wait, ... note(name) "
                           "if name == 'a' then start() end note(name)");
    struct tg_call *call = tg_call_create(fx.generation, TG_CALL_HOOK, 0, 0, note_done, NULL);
    tg_call_start(call, build_notes, (void *)(uintptr_t) "a");
    assert_string_equal(order, "aaDbbD.ccD");
}

static int read_results_badly(lua_State *L)
{
    return luaL_error(L, "cannot read");
}

static void protect_leaves_the_stack_as_it_was(void **state)
{
    struct tg_error error;
    (void)state;
    fixture_load_body(&fx, "");
    assert_int_equal(tg_call_protect(fx.generation, read_results_badly, NULL, &error),
                     TG_CALL_ERROR);
    assert_string_equal(error.text, "cannot read");
    assert_int_equal(lua_gettop(fx.generation->L), 0);
    assert_int_equal(tg_call_protect(fx.generation, read_results_badly, NULL, NULL), TG_CALL_ERROR);
}

static void an_api_can_say_where_it_belongs(void **state)
{
    (void)state;
    assert_int_equal(fixture_load(&fx, "require('tidegate.time').sleep(1)"), TG_ERR_SCRIPT);
    assert_text_has(fx.error.text,
                    "policy.lua:1: time.sleep cannot be used while the policy is being "
                    "loaded");
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_prestate_setup_teardown(name, fixture_setup, fixture_teardown, &fx)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_that_returns_gives_its_results),
        TEST(an_error_has_place_and_traceback),
        TEST(error_objects_are_never_asked_for_text),
        TEST(memory_over_the_limit_ends_the_call_only),
        TEST(deep_recursion_is_an_error),
        TEST(a_coroutine_that_ended_well_is_used_again),
        TEST(a_coroutine_that_failed_is_not_used_again),
        TEST(a_wait_gives_what_it_is_woken_with),
        TEST(a_call_waits_in_every_place),
        TEST(where_nothing_can_wait_a_wait_is_cancelled_and_raises),
        TEST(scripts_cannot_reach_a_coroutine_of_the_host),
        TEST(coroutines_of_scripts_behave_as_in_lua),
        TEST(cancelling_a_suspended_call_drops_it_at_once),
        TEST(cancelling_a_running_call_ends_it_at_its_return),
        TEST(a_call_that_never_started_can_be_cancelled),
        TEST(abandoning_tells_the_owner_why),
        TEST(the_wall_budget_counts_from_the_start),
        TEST(the_wall_budget_ends_a_wait),
        TEST(sleep_wakes_by_the_loop),
        TEST(a_builder_that_fails_ends_the_call),
        TEST(running_out_of_memory_anywhere_is_an_outcome),
        TEST(a_call_started_inside_another_waits_for_its_turn),
        TEST(protect_leaves_the_stack_as_it_was),
        TEST(an_api_can_say_where_it_belongs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
