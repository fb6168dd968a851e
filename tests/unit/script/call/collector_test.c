/* When a cycle of the collector begins, and that it keeps up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include <lua.h>

#include "script/call/collector.h"
#include "support/script_fixture.h"

static struct script_fixture fx;
static int ended, failed_calls;

static int paced_message(lua_State *L)
{
    struct tg_generation *generation = lua_touserdata(L, 1);

    tg_collector_keep_pace(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, generation->hook_refs[TG_HOOK_MESSAGE]);
    return 1;
}

static void on_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                    const char *error_text, const char *traceback)
{
    (void)call, (void)results, (void)traceback;
    if (outcome != TG_CALL_OK && outcome != TG_CALL_MEMORY)
        fail_msg("%s", error_text);
    failed_calls += outcome != TG_CALL_OK;
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
    ended = failed_calls = 0;
    for (int i = 1; i <= 60; i++) {
        struct tg_call *call = tg_call_create(fx.generation, TG_CALL_HOOK, 0, 0, on_done, NULL);
        if (call == NULL) { /* no memory even for its coroutine */
            ended++;
            continue;
        }
        fx.generation->collector.large = fx.generation->memory_max; /* a whole cycle */
        tg_call_start(call, paced_message, fx.generation);
        assert_int_equal(ended, i);
        assert_int_equal(lua_gettop(fx.generation->L), 0);
    }
}

#define KIB ((size_t)1024)

static void call_message(void)
{
    struct tg_call *call = tg_call_create(fx.generation, TG_CALL_HOOK, 0, 0, on_done, NULL);
    int before = ended;

    assert_non_null(call);
    tg_call_start(call, paced_message, fx.generation);
    assert_int_equal(ended, before + 1);
}

struct course {
    size_t least, most; /* bytes used after a call, once the first cycles are through */
    int cycles;
};

static struct course run(const char *body, int calls)
{
    struct course course = {.least = SIZE_MAX};
    size_t before = 0;
    char text[512];

    (void)snprintf(
        text, sizeof text,
        "local kept, n = {}, 0 return { authenticate = function() end, message = function() %s "
        "end }",
        body);
    fixture_set_budget(&fx, 5000);
    assert_int_equal(fixture_load(&fx, text), TG_ERR_OK);
    failed_calls = 0;
    for (int i = 0; i < 2 * calls; i++) {
        call_message();
        size_t used = fx.generation->memory_used;
        if (i >= calls) {
            course.cycles += used < before && before - used > 16 * KIB;
            course.least = used < course.least ? used : course.least;
            course.most = used > course.most ? used : course.most;
        }
        before = used;
    }
    return course;
}

static void garbage_of_large_blocks_may_reach_half_a_mebibyte(void **state)
{
    (void)state;
    struct course course = run("n = n + 1; local s = ('x'):rep(16000) .. n", 1000);

    assert_in_range(course.most, 512 * KIB, course.least + 1536 * KIB);
    /* 31 MiB of garbage, as rep makes as much again. */
    assert_in_range(course.cycles, 20, 120);
}

static void garbage_of_small_blocks_may_reach_what_is_alive(void **state)
{
    (void)state;
    struct course course =
        run("for i = 1, 100 do n = n + 1; local s = 'a string, ' .. n end", 1000);

    assert_in_range(course.most, course.least + 16 * KIB, 3 * course.least + 128 * KIB);
    assert_true(course.cycles >= 5);
}

static void very_large_blocks_do_not_run_ahead(void **state)
{
    (void)state;
    struct course course = run("n = n + 1; local s = ('x'):rep(200000) .. n", 200);

    assert_in_range(course.most, 512 * KIB, course.least + 2560 * KIB);
}

/* The limit is 16 MiB: as much garbage as is alive would be too much. */
#define KEEP "if #kept < 100 then kept[#kept + 1] = ('x'):rep(100000) .. #kept end n = n + 1 "

static void much_that_is_alive_leaves_room_for_large_garbage(void **state)
{
    (void)state;
    /* Small objects: what a cycle takes long to go through. */
    struct course course =
        run("if #kept < 100000 then for i = 1, 1000 do kept[#kept + 1] = {i} end end n = n + 1 "
            "local s = ('x'):rep(1000000) .. n",
            150);

    assert_in_range(course.least, 9000 * KIB, 16384 * KIB);
    assert_int_equal(failed_calls, 0);
}

static void much_that_is_alive_leaves_room_for_the_garbage_of_one_call(void **state)
{
    (void)state;
    struct course course =
        run(KEEP "for i = 1, n < 200 and 0 or 4000 do local s = ('x'):rep(3000) .. i end", 105);

    assert_in_range(course.least, 9000 * KIB, 16384 * KIB);
    assert_int_equal(failed_calls, 0);
}

static void a_watcher_that_found_no_memory_is_made_by_the_next_call(void **state)
{
    (void)state;
    (void)run("local s = ('x'):rep(16000)", 1);
    assert_true(fx.generation->collector.watched);
    fx.generation->collector.watched = false;
    call_message();
    assert_true(fx.generation->collector.watched);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_prestate_setup_teardown(name, fixture_setup, fixture_teardown, &fx)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_collection_that_finds_no_memory_fails_that_call_only),
        TEST(garbage_of_large_blocks_may_reach_half_a_mebibyte),
        TEST(garbage_of_small_blocks_may_reach_what_is_alive),
        TEST(very_large_blocks_do_not_run_ahead),
        TEST(much_that_is_alive_leaves_room_for_large_garbage),
        TEST(much_that_is_alive_leaves_room_for_the_garbage_of_one_call),
        TEST(a_watcher_that_found_no_memory_is_made_by_the_next_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
