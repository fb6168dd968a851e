/* budget_test.c - no script keeps its thread, whatever it does; and what an honest one pays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/script_fixture.h"

static struct script_fixture fx;

static uint64_t cpu_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const char *const endless[] = {
    "while true do end",
    "repeat until false",
    "for i = 1, math.huge do end",
    "return pcall(function() while true do end end)",
    "while true do pcall(function() while true do end end) end",
    "while true do pcall(error) end",
    "return xpcall(function() while true do end end, function() while true do end end)",
    "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "xpcall(error, function() while true do end end)",
    "local function f() return pcall(f) end while true do f() end",
    "local function f() return f() end f()",
    "coroutine.wrap(function() while true do end end)()",
    "coroutine.wrap(function() while true do pcall(function() while true do end end) end end)()",
    "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "while true do pcall(coroutine.wrap(function() error('x') end)) end",
    ("local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k + 1] end "
     "while true do pcall(function() return t[1] end) end"),
    "local t = {} t = setmetatable(t, {__index = function() while true do end end}) return t.x",
    "table.sort({3, 2, 1}, function() while true do end end)",
    "('x'):gsub('x', function() while true do end end)",
    "local t = setmetatable({}, {__tostring = function() while true do end end}) tostring(t)",
    ("error(setmetatable({}, {__tostring = function() while true do end end}), "
     "print(setmetatable({}, "
     "{__tostring = function() while true do end end})))"),
    "load(function() while true do end end)",
    "while true do load('return 1') end",
    "while true do setmetatable({}, {}) end",
    "goto a ::a:: goto a",
};

static void every_endless_script_is_stopped(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++) {
        fixture_load_body(&fx, endless[i]);
        uint64_t before = cpu_ms();
        assert_null(fixture_call(&fx, 0));
        uint64_t took = cpu_ms() - before;
        if (fx.outcome != TG_CALL_CPU_BUDGET)
            fail_msg("%s: %s: %s", endless[i], tg_call_outcome_names[fx.outcome], fx.text);
        if (took < 40 || took > 500)
            fail_msg("%s: took %d ms", endless[i], (int)took);
        assert_text_has(fx.text, "computed for more than 50ms without waiting (script.cpu_budget)");
        assert_text_has(fx.traceback, "traceback");
        /* Nothing is left of the kill. */
        fixture_run(&fx, "local n = 0 for i = 1, 1e5 do n = n + i end return n");
        assert_string_equal(fx.result, "5000050000");
    }
}

static void the_error_names_the_line(void **state)
{
    (void)state;
    fixture_run(&fx, "\n\nwhile true do end");
    assert_text_has(fx.text, "policy.lua:3: computed for more than 50ms");
}

static void the_same_state_goes_on_after_a_kill(void **state)
{
    (void)state;
    fixture_load_body(&fx, "local t = {} while true do t[#t % 100 + 1] = {} end");
    for (int i = 0; i < 5; i++) {
        assert_null(fixture_call(&fx, 0));
        assert_int_equal(fx.outcome, TG_CALL_CPU_BUDGET);
    }
}

static void the_budget_is_for_each_resume(void **state)
{
    (void)state;
    /* 8 times 20 ms in one call, with waits between. */
    fixture_load_body(&fx, "for i = 1, 8 do local t0 = os.clock() "
                           "while os.clock() - t0 < 0.02 do end wait() end return 'done'");
    assert_non_null(fixture_call(&fx, 0));
    for (int i = 0; i < 8; i++)
        fixture_wake(0);
    assert_string_equal(fx.text, "");
    assert_string_equal(fx.result, "done");
}

static void a_kill_after_a_wait_names_itself_so(void **state)
{
    (void)state;
    fixture_load_body(&fx, "wait() while true do end");
    assert_non_null(fixture_call(&fx, 10000));
    fixture_wake(0);
    assert_int_equal(fx.outcome, TG_CALL_CPU_BUDGET);
    assert_int_equal(fixture_cancels, 0);
}

static void a_loop_at_load_time_is_stopped(void **state)
{
    (void)state;
    assert_int_equal(fixture_load(&fx, "local x = 1\nwhile true do end"), TG_ERR_BUDGET);
    assert_text_has(fx.error.text, "policy.lua:2: computed for more than 50ms");
}

static void the_watchdog_wakes_from_its_sleep(void **state)
{
    (void)state;
    fixture_load_body(&fx, "while true do end");
    /* Longer than it stays awake without work. */
    struct timespec idle = {.tv_nsec = 700 * 1000000L};
    (void)nanosleep(&idle, NULL);
    assert_null(fixture_call(&fx, 0));
    assert_int_equal(fx.outcome, TG_CALL_CPU_BUDGET);
}

/* --- meters alone ------------------------------------------------------------------------------- */

static void a_late_signal_does_nothing(void **state)
{
    (void)state;
    fixture_load_body(&fx, "return 1");
    for (int i = 0; i < 100; i++) {
        assert_int_equal(pthread_kill(pthread_self(), SIGVTALRM), 0);
        assert_null(fixture_call(&fx, 0));
        assert_int_equal(fx.outcome, TG_CALL_OK);
        assert_null(lua_gethook(fx.generation->L));
    }
}

static void a_thread_that_does_not_run_is_not_charged(void **state)
{
    (void)state;
    fixture_load_body(&fx, "");
    tg_meter_begin(fx.env.meter, fx.generation->L);
    struct timespec idle = {.tv_nsec = 150 * 1000000L}; /* asleep, three budgets long */
    while (nanosleep(&idle, &idle) != 0)
        ;
    assert_false(tg_meter_expired(fx.env.meter));
    assert_false(tg_meter_end(fx.env.meter));
}

static void outside_lua_nothing_expires(void **state)
{
    struct tg_meter *meter;
    (void)state;
    assert_int_equal(tg_meter_create(&meter, 1), TG_ERR_OK);
    assert_false(tg_meter_expired(meter));
    uint64_t until = cpu_ms() + 30;
    while (cpu_ms() < until)
        assert_false(tg_meter_expired(meter));
    tg_meter_destroy(meter);
}

/* --- several threads ---------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 300

struct thread {
    pthread_t id;
    int kills;
    int ok;
};

/* Short scripts and endless ones in turn, each on a state of its own. */
static void *run_thread(void *arg)
{
    struct thread *thread = arg;
    struct tg_meter *meter;
    lua_State *L;

    if (tg_meter_create(&meter, 2) != TG_ERR_OK || (L = luaL_newstate()) == NULL)
        return NULL;
    for (int i = 0; i < ROUNDS; i++) {
        bool forever = i % 50 == 7;
        if (luaL_loadstring(L, forever ? "while true do end"
                                       : "local n = 0 for i = 1, 100 do n = n + i end") != 0)
            break;
        tg_meter_begin(meter, L);
        int status = lua_pcall(L, 0, 0, 0);
        bool expired = tg_meter_end(meter);
        lua_settop(L, 0);
        if (expired && forever && status != 0)
            thread->kills++;
        else if (!expired && !forever && status == 0)
            thread->ok++;
        if (lua_gethook(L) != NULL)
            break;
    }
    lua_close(L);
    tg_meter_destroy(meter);
    return NULL;
}

static void threads_are_metered_apart(void **state)
{
    struct thread threads[THREADS] = {0};
    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i].id, NULL, run_thread, &threads[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i].id, NULL), 0);
        assert_int_equal(threads[i].kills, ROUNDS / 50);
        assert_int_equal(threads[i].ok, ROUNDS - ROUNDS / 50);
    }
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_prestate_setup_teardown(name, fixture_setup, fixture_teardown, &fx)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_endless_script_is_stopped),
        TEST(the_error_names_the_line),
        TEST(the_same_state_goes_on_after_a_kill),
        TEST(the_budget_is_for_each_resume),
        TEST(a_kill_after_a_wait_names_itself_so),
        TEST(a_loop_at_load_time_is_stopped),
        TEST(the_watchdog_wakes_from_its_sleep),
        TEST(a_late_signal_does_nothing),
        TEST(a_thread_that_does_not_run_is_not_charged),
        TEST(outside_lua_nothing_expires),
        TEST(threads_are_metered_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
