/* memory_test.c - the allocator of script states and the collector, with no memory left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lua.h>

#include "script/call/memory.h"
#include "support/script_fixture.h"

static struct script_fixture fx;
static int ended;

static int paced_message(lua_State *L)
{
    struct tg_generation *generation = lua_touserdata(L, 1);

    tg_script_keep_pace(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, generation->hook_refs[TG_HOOK_MESSAGE]);
    return 1;
}

static void on_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                    const char *error_text, const char *traceback)
{
    (void)call, (void)results, (void)traceback;
    if (outcome != TG_CALL_OK && outcome != TG_CALL_MEMORY)
        fail_msg("%s", error_text);
    ended++;
}

static const char policy[] =
    "local names, kept = {}, {} "
    "local policy = {} "
    "function policy.authenticate() end "
    "for i = 1, 150000 do names[i] = 'n' .. i end "
    "function policy.message() "
    "names = {} "
    "pcall(function() while true do kept[#kept + 1] = ('x'):rep(6000) .. #kept end end) "
    "end "
    "return policy";

/* The collector makes the state's table of strings smaller, which takes memory first. */
static void a_collection_that_finds_no_memory_fails_that_call_only(void **state)
{
    (void)state;
    fixture_set_budget(&fx, 5000);
    assert_int_equal(fixture_load(&fx, policy), TG_ERR_OK);
    ended = 0;
    for (int i = 1; i <= 60; i++) {
        struct tg_call *call = tg_call_create(fx.generation, TG_CALL_HOOK, 0, 0, on_done, NULL);
        if (call == NULL) { /* no memory even for its coroutine */
            ended++;
            continue;
        }
        fx.generation->memory_large = fx.generation->memory_max; /* a whole cycle */
        tg_call_start(call, paced_message, fx.generation);
        assert_int_equal(ended, i);
        assert_int_equal(lua_gettop(fx.generation->L), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(
            a_collection_that_finds_no_memory_fails_that_call_only, fixture_setup, fixture_teardown,
            &fx),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
