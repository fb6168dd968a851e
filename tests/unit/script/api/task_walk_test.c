/* task_walk_test.c - random trees of tasks: they spawn, wait, raise, give up each other and themselves,
 * while somebody outside wakes, cancels and abandons. Whatever happens, nothing is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

#include "support/log_capture.h"
#include "support/script_fixture.h"

#define WALKS 400
#define ROOTS 3
#define WAITS_MAX 256

static const char policy[] =
    "local tide, time = require 'tidegate', require 'tidegate.time'\n"
    "local known, random, collect = {}\n"
    "local function any() return known[random(#known)] end\n"
    "local act\n"
    "local function child(wait, depth) return function() return act(wait, depth - 1) end end\n"
    "local acts = {\n"
    "  function(wait) wait() end,\n"
    "  function(wait) return wait() end,\n"
    "  function() time.sleep(0) end,\n"
    "  function() error('on purpose', 0) end,\n"
    "  function() error({}) end,\n"
    "  function(wait, depth) known[#known % 40 + 1] = tide.spawn(child(wait, depth)) end,\n"
    "  function(wait, depth) known[random(40) % (#known + 1) + 1] =\n"
    "      tide.spawn(child(wait, depth)) end,\n"
    "  function(wait, depth) local t = tide.spawn(child(wait, depth)) t:wait() end,\n"
    "  function() local t = any() if t then pcall(t.wait, t) end end,\n"
    "  function() local t = any() if t then t:wait() end end,\n"
    "  function() local t = any() if t then t:cancel() end end,\n"
    "  function(wait, depth) tide.all { child(wait, depth), x = child(wait, depth) } end,\n"
    "  function(wait, depth) pcall(tide.all, { child(wait, depth), child(wait, depth) }) end,\n"
    "  function(wait, depth) coroutine.wrap(child(wait, depth))() end,\n"
    "  function() return 1, 2, 3 end,\n"
    "  function() collect() end,\n"
    "}\n"
    "function act(wait, depth)\n"
    "  if depth <= 0 then return wait() end\n"
    "  local result\n"
    "  for _ = 1, random(6) do\n"
    "    local one = acts[random(#acts)]\n"
    "    if random(10) == 1 then result = one(wait, depth) else pcall(one, wait, depth) end\n"
    "  end\n"
    "  return result\n"
    "end\n"
    "return { authenticate = print, message = function(wait, below, full)\n"
    "  random, collect = below, full\n"
    "  return act(wait, 5) end }\n";

static struct script_fixture fx;
static struct tg_call *waiting[WAITS_MAX];
static size_t waiting_count;
static struct tg_call *roots[ROOTS];
static uint64_t seed;
static size_t waits, most_calls; /* of all walks: that they go anywhere */

static size_t random_below(size_t bound)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(seed >> 33) % bound;
}

static void forget_wait(const struct tg_call *call)
{
    for (size_t i = 0; i < waiting_count; i++) {
        if (waiting[i] == call) {
            waiting[i] = waiting[--waiting_count];
            return;
        }
    }
    fail_msg("a wait ends that nobody knows");
}

static void on_wait_cancelled(struct tg_call *call, void *wait)
{
    (void)wait;
    forget_wait(call);
}

static int l_wait(lua_State *L)
{
    assert_true(waiting_count < WAITS_MAX);
    waiting[waiting_count++] = tg_call_current(L);
    waits++;
    return tg_call_suspend(L, on_wait_cancelled, &waiting_count);
}

/* random(n) -> 1 … n, the same in every run of a walk; also for n = 0 */
static int l_random(lua_State *L)
{
    lua_Number most = lua_tonumber(L, 1);

    lua_pushnumber(L, (lua_Number)random_below(most < 1 ? 1 : (size_t)most) + 1);
    return 1;
}

/* So that what lists still point to and nobody holds is gone at once. */
static int l_collect(lua_State *L)
{
    (void)lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

static int build(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, tg_generation_of(L)->hook_refs[TG_HOOK_MESSAGE]);
    lua_pushcfunction(L, l_wait);
    lua_pushcfunction(L, l_random);
    lua_pushcfunction(L, l_collect);
    return 4;
}

static int build_value(lua_State *L)
{
    lua_pushliteral(L, "woken");
    return 1;
}

static void on_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                    const char *error_text, const char *traceback)
{
    (void)results;
    (void)traceback;
    bool meant =
        outcome == TG_CALL_OK ||
        (outcome == TG_CALL_ERROR &&
         (strstr(error_text, "on purpose") != NULL || strstr(error_text, "is a table") != NULL ||
          strstr(error_text, "task:wait: ") != NULL || strcmp(error_text, "given up") == 0));
    if (!meant)
        fail_msg("%s: %s", tg_call_outcome_names[outcome], error_text);
    for (int i = 0; i < ROOTS; i++)
        if (roots[i] == call)
            roots[i] = NULL;
}

static void wake_one(void)
{
    if (waiting_count == 0)
        return;
    struct tg_call *call = waiting[random_below(waiting_count)];
    forget_wait(call);
    tg_call_wake(call, build_value, NULL);
}

static void step(void)
{
    struct tg_call **root = &roots[random_below(ROOTS)];
    struct tg_call *call = *root;

    switch (random_below(40)) {
    case 0:
        *root = NULL;
        if (call != NULL)
            tg_call_cancel(call);
        return;
    case 1:
        if (call != NULL)
            tg_call_abandon(call, "given up");
        return;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
        (void)uv_run(&fx.loop, UV_RUN_NOWAIT);
        return;
    default:
        wake_one();
    }
}

static void begin_root(struct tg_call **root)
{
    *root = tg_call_create(fx.generation, TG_CALL_HOOK, 0, 0, on_done, NULL);
    assert_non_null(*root);
    tg_call_start(*root, build, NULL);
}

static void walk(uint64_t number)
{
    seed = number;
    for (int i = 0; i < 100; i++) {
        size_t next = random_below(ROOTS);
        if (roots[next] == NULL)
            begin_root(&roots[next]);
        step();
        if (fx.generation->call_count > most_calls)
            most_calls = fx.generation->call_count;
    }
    /* The rest may end by itself, as far as it can. */
    for (int i = 0; i < 200 && fx.generation->call_count > 0; i++) {
        wake_one();
        (void)uv_run(&fx.loop, UV_RUN_NOWAIT);
    }
    for (int i = 0; i < ROOTS; i++) {
        struct tg_call *call = roots[i];
        roots[i] = NULL;
        if (call != NULL)
            tg_call_cancel(call);
    }
    if (fx.generation->call_count != 0 || waiting_count != 0)
        fail_msg("walk %d: %zu calls and %zu waits are left", (int)number,
                 fx.generation->call_count, waiting_count);
    assert_int_equal(lua_gettop(fx.generation->L), 0);
}

static void random_trees_leave_nothing(void **state)
{
    (void)state;
    fixture_open(&fx);
    log_capture_start();
    fx.env.memory_max = (size_t)64 << 20;
    assert_int_equal(fixture_load(&fx, policy), TG_ERR_OK);
    for (uint64_t i = 1; i <= WALKS; i++) {
        walk(i);
        log_capture_clear();
    }
    log_capture_stop();
    fixture_close(&fx);
    assert_true(waits > 50 * WALKS && most_calls > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_trees_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
