/* api_task_test.c - tide.spawn and tide.all: what goes on beside a call, and that all of it ends with the
 * call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "support/log_capture.h"
#include "support/script_fixture.h"

static struct script_fixture fx;

static int setup(void **state)
{
    (void)state;
    fixture_open(&fx);
    log_capture_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_capture_stop();
    fixture_close(&fx);
    return 0;
}

/* Runs the body to its end. */
static void run(const char *body)
{
    fixture_load_body(&fx, body);
    fx.done = 0;
    if (fixture_call(&fx, 0) != NULL)
        fixture_loop_until(&fx, 1); /* where there are too many turns for one go */
}

static void ends_with(const char *body, const char *result)
{
    run(body);
    if (fx.outcome != TG_CALL_OK || strcmp(fx.result, result) != 0)
        fail_msg("%s: %s, result \"%s\", \"%s\"", body, tg_call_outcome_names[fx.outcome],
                 fx.result, fx.text);
    assert_int_equal(fx.generation->call_count, 0);
}

static void fails_with(const char *body, const char *text)
{
    run(body);
    assert_int_equal(fx.outcome, TG_CALL_ERROR);
    assert_text_has(fx.text, text);
    assert_int_equal(fx.generation->call_count, 0);
}

/* --- spawn and wait -------------------------------------------------------------------------------- */

static void a_task_gives_what_it_returns(void **state)
{
    (void)state;
    ends_with("local t = tide.spawn(function(a, b) return a + b end, 40, 2) return t:wait()", "42");
    ends_with("local t = tide.spawn(function(...) return select('#', ...) end, nil, nil) "
              "return t:wait()",
              "2");
    ends_with("local t = tide.spawn(function() return nil, 'why' end) local a, b = t:wait() "
              "return a == nil and b",
              "why");
    ends_with("return select('#', tide.spawn(function() end):wait())", "0");
    ends_with("return select('#', tide.spawn(function() return nil, nil end):wait())", "2");
    ends_with("local e = {} return tide.spawn(function() return e end):wait() == e", "true");
    ends_with("return tide.spawn(tide.copy, 'c function'):wait()", "c function");
}

static void waiting_twice_gives_the_same(void **state)
{
    (void)state;
    ends_with("local t = tide.spawn(function() return 1, 2 end) "
              "local a, b = t:wait() local c, d = t:wait() return a == c and b == d and d",
              "2");
    ends_with(
        "local e = {} local t = tide.spawn(function() error(e) end) "
        "local _, x = pcall(t.wait, t) local _, y = pcall(t.wait, t) return x == e and y == e",
        "true");
}

static void a_task_begins_when_its_maker_waits(void **state)
{
    (void)state;
    ends_with("local order = '' local t = tide.spawn(function() order = order .. 't' end) "
              "order = order .. 'm' t:wait() return order",
              "mt");
    ends_with("local n, t = 0 for i = 1, 3 do t = tide.spawn(function() n = n * 10 + i end) end "
              "t:wait() return n",
              "123");
}

static void tasks_wait_side_by_side(void **state)
{
    (void)state;
    fixture_load_body(&fx, "local a = tide.spawn(function() time.sleep(0.02) return 'a' end)\n"
                           "local b = tide.spawn(function() time.sleep(0.01) return 'b' end)\n"
                           "local began = time.monotonic()\n"
                           "return a:wait() .. b:wait()");
    assert_non_null(fixture_call(&fx, 1000));
    assert_int_equal(fx.generation->call_count, 3);
    fixture_loop_until(&fx, 1);
    assert_string_equal(fx.result, "ab");
}

static void several_can_wait_for_one(void **state)
{
    (void)state;
    fixture_load_body(&fx, "local t = tide.spawn(wait)\n"
                           "local function add(n) return t:wait() + n end\n"
                           "local a, b = tide.spawn(add, 1), tide.spawn(add, 2)\n"
                           "return a:wait() * 100 + b:wait() + t:wait()");
    assert_non_null(fixture_call(&fx, 0));
    fixture_wake(10);
    assert_string_equal(fx.result, "1122");
}

static void a_wait_works_inside_a_script_s_coroutine(void **state)
{
    (void)state;
    fixture_load_body(&fx, "local t = tide.spawn(function() return coroutine.wrap(wait)() end)\n"
                           "return coroutine.wrap(function() return t:wait() end)()");
    assert_non_null(fixture_call(&fx, 0));
    fixture_wake(7);
    assert_string_equal(fx.result, "7");
}

static void tasks_make_tasks(void **state)
{
    (void)state;
    ends_with("local function deep(n) if n == 0 then return 0 end "
              "return 1 + tide.spawn(deep, n - 1):wait() end return deep(50)",
              "50");
    /* What a task made ends with it. */
    ends_with("local inner local outer = tide.spawn(function() "
              "inner = tide.spawn(wait) time.sleep(0) end) "
              "tide.spawn(function() end):wait() outer:cancel() "
              "local ok, why = inner:wait() return ok == nil and why",
              "cancelled");
    assert_int_equal(fixture_cancels, 1);
}

/* --- errors ---------------------------------------------------------------------------------------- */

static void an_error_is_raised_where_it_is_waited_for(void **state)
{
    (void)state;
    fails_with("\n\nlocal t = tide.spawn(function()\nerror('no luck') end)\nt:wait()",
               "policy.lua:4: no luck");
    assert_text_has(fx.traceback, "policy.lua:5:");
    ends_with("local t = tide.spawn(error, 'x', 0) local ok, e = pcall(t.wait, t) return e", "x");
    ends_with("local ok, e = pcall(function() tide.spawn(function() error() end):wait() end) "
              "return tostring(ok) .. tostring(e)",
              "falsenil");
    assert_false(log_capture_has("task.failed"));
}

static void an_error_that_nobody_waits_for_is_logged_at_the_end(void **state)
{
    (void)state;
    ends_with("local t = tide.spawn(function() error('unheard') end) "
              "tide.spawn(function() end):wait() return 'fine'",
              "fine");
    assert_true(log_capture_has("task.failed"));
    assert_true(log_capture_has("policy.lua:1: unheard"));
    assert_true(log_capture_has("stack traceback:"));
    log_capture_stop();
    log_capture_start();
    fixture_load_body(&fx, "for i = 1, 40 do tide.spawn(error, '<' .. i .. '>', 0) end wait()");
    assert_non_null(fixture_call(&fx, 0));
    assert_true(log_capture_has("<1>"));
    assert_true(log_capture_has("<24>"));
    assert_false(log_capture_has("<25>"));
    fixture_wake(0);
    assert_true(log_capture_has("<40>"));
}

static void misuse_names_the_script_s_line(void **state)
{
    static const struct {
        const char *body;
        const char *text;
    } rows[] = {
        {"\ntide.spawn(1)", "policy.lua:2: tide.spawn: a function expected, got number"},
        {"\ntide.spawn(print, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17)",
         "policy.lua:2: tide.spawn: 16 arguments at most"},
        {"\ntide.spawn(function() return 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17 end):wait()",
         "a task may return 16 values at most"},
        {"local t = tide.spawn(print)\nt.wait(1)", "policy.lua:2: task:wait: a task expected"},
        {"local t = tide.spawn(print)\nt.cancel()", "policy.lua:2: task expected, got nothing"},
        {"local t = tide.spawn(print)\nprint(t.done)",
         "policy.lua:2: a task has no field \"done\""},
        {"local t t = tide.spawn(function()\nt:wait() end) t:wait()",
         "policy.lua:2: task:wait: a task cannot wait for itself"},
        {"local t t = tide.spawn(function() tide.spawn(function()\nt:wait() end):wait() end) "
         "t:wait()",
         "policy.lua:2: task:wait: a task cannot wait for itself, nor for one that made it"},
        {"\ntide.all()", "policy.lua:2: tide.all: a table of functions expected, got nil"},
        {"\ntide.all{a = 1}", "policy.lua:2: tide.all: \"a\" is a number; functions expected"},
        {"\nfor i = 1, 1001 do tide.spawn(wait) end",
         "policy.lua:2: tide.spawn: more than 1000 tasks at a time"},
        {"local f = {} for i = 1, 1001 do f[i] = wait end\ntide.all(f)",
         "policy.lua:2: tide.all: more than 1000 tasks at a time"},
        {"print(setmetatable({}, {__tostring = function() tide.spawn(print):wait() end}))",
         "cannot wait here"},
        {"print(setmetatable({}, {__tostring = function() tide.all{print} end}))",
         "cannot wait here"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        fails_with(rows[i].body, rows[i].text);
    assert_int_equal(fixture_load(&fx, "\nrequire('tidegate').spawn(print)"), TG_ERR_SCRIPT);
    assert_text_has(fx.error.text, "policy.lua:2: tide.spawn: cannot be used while the policy is");
    assert_int_equal(fixture_load(&fx, "\nrequire('tidegate').all{print}"), TG_ERR_SCRIPT);
    assert_text_has(fx.error.text, "policy.lua:2: tide.all: cannot be used while the policy is");
}

static void a_task_of_another_call_cannot_be_waited_for(void **state)
{
    (void)state;
    assert_int_equal(fixture_load(&fx,
                                  "local tide = require 'tidegate' local kept\n"
                                  "return { authenticate = print, message = function(wait)\n"
                                  "if not kept then kept = tide.spawn(wait) wait() return end\n"
                                  "local a, b = kept:wait() return a, b end }"),
                     TG_ERR_OK);
    struct tg_call *first = fixture_call(&fx, 0);
    assert_null(fixture_call(&fx, 0));
    assert_text_has(fx.text, "policy.lua:4: task:wait: the task belongs to another hook, run or");
    tg_call_cancel(first);
    assert_null(fixture_call(&fx, 0)); /* it has ended: anybody may look at that */
    assert_int_equal(fx.outcome, TG_CALL_OK);
    assert_int_equal(fx.results, 2);
}

/* --- the end --------------------------------------------------------------------------------------- */

static void tasks_end_with_their_maker(void **state)
{
    static const char *const bodies[] = {
        "tide.spawn(wait) tide.spawn(function() end):wait()",            /* returns */
        "tide.spawn(wait) tide.spawn(function() end):wait() error('x')", /* raises */
        ("tide.spawn(function() tide.spawn(wait) wait() end) tide.spawn(function() "
         "tide.spawn(function() end):wait() end):wait()"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        int waits = fixture_waits, cancels = fixture_cancels;
        fixture_run(&fx, bodies[i]);
        assert_int_equal(fx.generation->call_count, 0);
        assert_true(fixture_waits > waits);
        assert_int_equal(fixture_waits - waits, fixture_cancels - cancels);
    }
}

static void cancelling_the_root_ends_all_of_it(void **state)
{
    (void)state;
    fixture_load_body(&fx, "local a = tide.spawn(function() tide.spawn(wait) wait() end)\n"
                           "local b = tide.spawn(function() return a:wait() end)\n"
                           "tide.all{wait, function() b:wait() end, wait}");
    struct tg_call *root = fixture_call(&fx, 10000);
    assert_non_null(root);
    assert_int_equal(fx.generation->call_count, 7);
    assert_int_equal(root->task_count, 6);
    tg_call_cancel(root);
    assert_int_equal(fx.done, 0);
    assert_int_equal(fx.generation->call_count, 0);
    assert_int_equal(fixture_cancels, fixture_waits);
    assert_int_equal(fixture_waits, 4);
}

static void abandoning_the_root_ends_all_of_it(void **state)
{
    (void)state;
    fixture_load_body(&fx, "tide.all{wait, wait}");
    tg_call_abandon(fixture_call(&fx, 10000), "reloaded");
    assert_int_equal(fx.done, 1);
    assert_string_equal(fx.text, "reloaded");
    assert_int_equal(fx.generation->call_count, 0);
    assert_int_equal(fixture_cancels, 2);
}

static void the_wall_budget_is_the_root_s(void **state)
{
    (void)state;
    fixture_load_body(&fx, "\npcall(tide.all, {function() while true do pcall(wait) end end})");
    assert_non_null(fixture_call(&fx, 20));
    fixture_loop_until(&fx, 1);
    assert_int_equal(fx.outcome, TG_CALL_WALL_BUDGET);
    assert_text_has(fx.text, "took longer than 20ms in all");
    assert_int_equal(fx.generation->call_count, 0);
    assert_int_equal(fixture_cancels, 1);
}

static void a_paused_wall_budget_stands_still(void **state)
{
    (void)state;
    fixture_load_body(&fx, "wait() wait()");
    struct tg_call *root = fixture_call(&fx, 5000);
    uint64_t due = tg_timer_due_ms(&root->wall_timer);
    tg_call_pause_wall(root);
    tg_call_pause_wall(root); /* two of its tasks */
    assert_true(tg_timer_due_ms(&root->wall_timer) > due + 1000000);
    tg_call_resume_wall(root);
    assert_true(tg_timer_due_ms(&root->wall_timer) > due + 1000000);
    tg_call_resume_wall(root);
    assert_in_range(tg_timer_due_ms(&root->wall_timer), due, due + 2000);
    tg_call_cancel(root);
}

static void a_task_over_its_cpu_budget_ends_the_whole_call(void **state)
{
    (void)state;
    fixture_run(&fx, "local other = tide.spawn(wait)\n"
                     "local t = tide.spawn(function()\npcall(function() while true do end end)\n"
                     "while true do end end)\n"
                     "while true do pcall(t.wait, t) end");
    assert_int_equal(fx.done, 1);
    assert_int_equal(fx.outcome, TG_CALL_CPU_BUDGET);
    assert_text_has(fx.text, "computed for more than 50ms");
    assert_int_equal(fx.generation->call_count, 0);
    assert_int_equal(fixture_cancels, 1);
}

static void a_task_out_of_memory_ends_the_whole_call(void **state)
{
    (void)state;
    fx.env.memory_max = (size_t)2 << 20;
    fixture_load_body(&fx, "local t = tide.spawn(function() local s = ('x'):rep(1e5) "
                           "while true do s = s .. s end end) "
                           "while true do pcall(t.wait, t) end");
    for (int i = 0; i < 3; i++) {
        assert_null(fixture_call(&fx, 0));
        assert_int_equal(fx.outcome, TG_CALL_MEMORY);
        assert_int_equal(fx.generation->call_count, 0);
        assert_true(fx.generation->memory_used < fx.generation->memory_max / 2);
    }
}

/* Spawning and waiting for ever never leaves the turns: only the loop can end it. */
static void tasks_that_keep_each_other_ready_leave_room_for_the_loop(void **state)
{
    (void)state;
    fixture_load_body(&fx, "while true do tide.spawn(function() end):wait() end");
    assert_non_null(fixture_call(&fx, 50)); /* it comes back, that is what is shown */
    fixture_loop_until(&fx, 1);
    assert_int_equal(fx.outcome, TG_CALL_WALL_BUDGET);
    assert_int_equal(fx.generation->call_count, 0);
}

static void a_cancelled_task_gives_nil(void **state)
{
    (void)state;
    ends_with("local t = tide.spawn(wait) tide.spawn(function() end):wait() "
              "assert(t:cancel() == true and t:cancel() == false) "
              "local v, why = t:wait() return v == nil and why",
              "cancelled");
    assert_int_equal(fixture_cancels, 1);
    /* Before its first turn, and by itself: it stops where it waits next. */
    ends_with("local t = tide.spawn(function() error('begun') end) t:cancel() "
              "return select(2, t:wait())",
              "cancelled");
    ends_with("local n, t = 0 t = tide.spawn(function() t:cancel() n = 1 time.sleep(0) n = 2 end) "
              "local _, why = t:wait() return why .. n",
              "cancelled1");
    ends_with("local t = tide.spawn(function() return 1 end) t:wait() "
              "return tostring(t:cancel()) .. t:wait()",
              "false1");
    /* Somebody waits for it already. */
    ends_with(
        "local t = tide.spawn(wait) local w = tide.spawn(function() return select(2, t:wait()) "
        "end) tide.spawn(function() t:cancel() end) return w:wait()",
        "cancelled");
}

static struct tg_call *root_call;

static int l_cancel_root(lua_State *L)
{
    (void)L;
    tg_call_cancel(root_call);
    return 0;
}

static int build_with_cancel(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, tg_generation_of(L)->hook_refs[TG_HOOK_MESSAGE]);
    lua_pushcfunction(L, l_cancel_root);
    return 2;
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

/* `wait` cancels the root from inside a task: what a lost connection does. */
static void the_root_ends_while_its_task_runs(void **state)
{
    static const char *const bodies[] = {
        "tide.spawn(function() wait() end):wait() error('not reached')",
        "tide.spawn(function() wait() time.sleep(1) error('not reached') end):wait()",
        "tide.spawn(function() wait() tide.spawn(error, 'x'):wait() end):wait()",
        "tide.spawn(function() wait() tide.all{print, print} end):wait()",
        "tide.spawn(function() wait() while true do end end):wait()",
        "tide.spawn(function() wait() error('x') end):wait()",
        "tide.all{function() wait() error('x') end, function() time.sleep(1) end}",
        ("tide.all{function() time.sleep(1) end, function() tide.spawn(time.sleep, 1) "
         "wait() time.sleep(1) end}"),
        "local t = tide.spawn(time.sleep, 1) tide.spawn(function() wait() t:wait() end):wait()",
        "wait() tide.spawn(print) tide.all{print} time.sleep(1)",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        fixture_load_body(&fx, bodies[i]);
        root_call = tg_call_create(fx.generation, TG_CALL_HOOK, 0, 1000, never_done, &fx);
        tg_call_start(root_call, build_with_cancel, NULL);
        assert_int_equal(fx.generation->call_count, 0);
        assert_int_equal(lua_gettop(fx.generation->L), 0);
    }
}

/* --- all ------------------------------------------------------------------------------------------- */

static void all_gives_a_result_for_each_key(void **state)
{
    (void)state;
    ends_with("local r, e = tide.all{function() return 1 end, function() return 2, 'ignored' end} "
              "return #r == 2 and r[1] + r[2] == 3 and e == nil",
              "true");
    ends_with(
        "local r = tide.all{a = function() return 'A' end, [7] = function() return false end} "
        "return r.a == 'A' and r[7] == false",
        "true");
    ends_with("local r, e = tide.all{} return next(r) == nil and e == nil", "true");
    ends_with("local r, e = tide.all{a = function() end, b = function() return nil, 'down' end, "
              "c = function() return nil, nil end, d = function() return 1 end} "
              "return r.a == nil and r.b == nil and r.d == 1 and e.b == 'down' and "
              "e.a == nil and e.c == nil and e.d == nil",
              "true");
    ends_with("local f = {} for i = 1, 1000 do f[i] = function() return i end end "
              "local r = tide.all(f) return #r == 1000 and r[1000]",
              "1000");
    ends_with("return tide.all{function() return tide.all{function() return 5 end}[1] end}[1]",
              "5");
}

static void all_runs_them_at_once(void **state)
{
    (void)state;
    fixture_load_body(&fx, "local r = tide.all{a = wait, b = function() return 2 end, "
                           "c = function() time.sleep(0.01) return 3 end} return r.a + r.b + r.c");
    assert_non_null(fixture_call(&fx, 0));
    assert_int_equal(fx.generation->call_count, 3);
    fixture_wake(1);
    assert_int_equal(fx.done, 0);
    fixture_loop_until(&fx, 1);
    assert_string_equal(fx.result, "6");
}

static void the_first_error_of_all_cancels_the_others(void **state)
{
    (void)state;
    fixture_run(&fx,
                "local ok, e = pcall(tide.all, {wait, function() error('second', 0) end, wait, "
                "function() error('never', 0) end}) "
                "return tostring(ok) .. ' ' .. e");
    assert_string_equal(fx.result, "false second");
    assert_int_equal(fixture_cancels, fixture_waits);
    assert_int_equal(fx.generation->call_count, 0);
    assert_false(log_capture_has("task.failed"));
    fails_with("\ntide.all{wait,\nfunction() error('bang') end}", "policy.lua:3: bang");
}

static void note_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                      const char *error_text, const char *traceback)
{
    (void)results;
    (void)traceback;
    *(bool *)call->owner = outcome == TG_CALL_OK;
    fx.done++;
    (void)snprintf(fx.text, sizeof fx.text, "%s", error_text != NULL ? error_text : "");
}

/* From the n-th allocation on all fail, for each n until the call succeeds. */
static void running_out_of_memory_anywhere_is_an_outcome(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        fixture_load_body(&fx, "local t = tide.spawn(function(a) return {a} end, 1) "
                               "local r = tide.all{a = function() return t:wait() end, "
                               "b = function() return {} end} return #r.a");
        bool well = false;
        (void)tg_memory_fail_after(n, 1);
        root_call = tg_call_create(fx.generation, TG_CALL_HOOK, 0, 1000, note_done, &well);
        bool created = root_call != NULL;
        if (created)
            tg_call_start(root_call, build_with_cancel, NULL);
        (void)tg_memory_fail_after(-1, 0);
        assert_int_equal(fx.generation->call_count, 0);
        assert_int_equal(lua_gettop(fx.generation->L), 0);
        if (well)
            return;
        assert_true(!created || fx.text[0] != '\0');
        assert_true(n < 10000);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_task_gives_what_it_returns),
        TEST(waiting_twice_gives_the_same),
        TEST(a_task_begins_when_its_maker_waits),
        TEST(tasks_wait_side_by_side),
        TEST(several_can_wait_for_one),
        TEST(a_wait_works_inside_a_script_s_coroutine),
        TEST(tasks_make_tasks),
        TEST(an_error_is_raised_where_it_is_waited_for),
        TEST(an_error_that_nobody_waits_for_is_logged_at_the_end),
        TEST(misuse_names_the_script_s_line),
        TEST(a_task_of_another_call_cannot_be_waited_for),
        TEST(tasks_end_with_their_maker),
        TEST(cancelling_the_root_ends_all_of_it),
        TEST(abandoning_the_root_ends_all_of_it),
        TEST(the_wall_budget_is_the_root_s),
        TEST(a_paused_wall_budget_stands_still),
        TEST(a_task_over_its_cpu_budget_ends_the_whole_call),
        TEST(a_task_out_of_memory_ends_the_whole_call),
        TEST(tasks_that_keep_each_other_ready_leave_room_for_the_loop),
        TEST(a_cancelled_task_gives_nil),
        TEST(the_root_ends_while_its_task_runs),
        TEST(all_gives_a_result_for_each_key),
        TEST(all_runs_them_at_once),
        TEST(the_first_error_of_all_cancels_the_others),
        TEST(running_out_of_memory_anywhere_is_an_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
