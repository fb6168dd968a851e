/* trusted_test.c - the door for states that run no policy: what goes through it has no budget, and calls of
 * policies inside it have theirs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <string.h>

#include "base/clock.h"
#include "script/call/call.h"
#include "script/policy/generation_internal.h"
#include "support/script_fixture.h"

struct trusted {
    struct tg_script_env env;
    struct tg_generation generation;
    struct script_fixture fx;
};

static int setup(void **state)
{
    static struct trusted trusted;
    memset(&trusted, 0, sizeof trusted);
    fixture_open(&trusted.fx);
    trusted.generation.env = &trusted.env;
    *state = &trusted;
    return tg__generation_open(&trusted.generation) == TG_ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct trusted *trusted = *state;
    tg__generation_close(&trusted->generation);
    fixture_close(&trusted->fx);
    return 0;
}

static int call_the_policy(lua_State *L)
{
    struct script_fixture *fx = lua_touserdata(L, lua_upvalueindex(1));
    (void)fixture_call(fx, 0);
    lua_pushinteger(L, fx->outcome);
    return 1;
}

static int run_both(lua_State *L)
{
    struct script_fixture *fx = lua_touserdata(L, 1);
    luaL_openlibs(L);
    lua_pushlightuserdata(L, fx);
    lua_pushcclosure(L, call_the_policy, 1);
    lua_setglobal(L, "call_the_policy");
    if (luaL_loadstring(L, "local ok, why = pcall(error, 'mine') "
                           "local first = call_the_policy() "
                           "assert(not ok and why == 'mine') "
                           "return first, call_the_policy()") != 0)
        return lua_error(L);
    lua_call(L, 0, 2);
    assert_int_equal(lua_tointeger(L, -2), TG_CALL_CPU_BUDGET);
    assert_int_equal(lua_tointeger(L, -1), TG_CALL_CPU_BUDGET);
    return 0;
}

static void policies_inside_it_are_killed_on_their_own_budget(void **state)
{
    struct trusted *trusted = *state;
    struct tg_error error = {.text = ""};
    fixture_load_body(&trusted->fx, "while true do pcall(function() while true do end end) end");
    if (tg_call_trusted(&trusted->generation, run_both, &trusted->fx, &error) != TG_CALL_OK)
        fail_msg("%s", error.text);
    assert_int_equal(trusted->fx.done, 2);
    assert_non_null(strstr(trusted->fx.text, "script.cpu_budget"));
    assert_int_equal(lua_gettop(trusted->generation.L), 0);
}

static int load_a_loop(lua_State *L)
{
    struct script_fixture *fx = lua_touserdata(L, 1);
    lua_pushboolean(L, fixture_load(fx, "while true do end") == TG_ERR_BUDGET);
    assert_true(lua_toboolean(L, -1));
    return 0;
}

static void policies_that_are_loaded_inside_it_as_well(void **state)
{
    struct trusted *trusted = *state;
    struct tg_error error = {.text = ""};
    assert_int_equal(tg_call_trusted(&trusted->generation, load_a_loop, &trusted->fx, &error),
                     TG_CALL_OK);
    assert_non_null(strstr(trusted->fx.error.text, "script.cpu_budget"));
}

static int compute(lua_State *L)
{
    luaL_openlibs(L);
    uint64_t until_ms = tg_clock_monotonic_ms() + 200;
    while (tg_clock_monotonic_ms() < until_ms) {
        if (luaL_loadstring(L, "local x = 0 for i = 1, 1e5 do x = x + i end return x") != 0)
            return lua_error(L);
        lua_call(L, 0, 0);
    }
    return 0;
}

static void what_runs_in_it_may_take_its_time(void **state)
{
    struct trusted *trusted = *state;
    struct tg_error error = {.text = ""};
    assert_int_equal(tg_call_trusted(&trusted->generation, compute, NULL, &error), TG_CALL_OK);
}

static int raise_error(lua_State *L)
{
    return luaL_error(L, "went %s", "wrong");
}

static void errors_in_it_are_told(void **state)
{
    struct trusted *trusted = *state;
    struct tg_error error = {.text = ""};
    assert_int_equal(tg_call_trusted(&trusted->generation, raise_error, NULL, &error),
                     TG_CALL_ERROR);
    assert_non_null(strstr(error.text, "went wrong"));
    assert_int_equal(lua_gettop(trusted->generation.L), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(policies_inside_it_are_killed_on_their_own_budget),
        TEST(policies_that_are_loaded_inside_it_as_well),
        TEST(what_runs_in_it_may_take_its_time),
        TEST(errors_in_it_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
