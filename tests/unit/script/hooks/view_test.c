/* view_test.c - read-only tables: they read as tables do and cannot be written, at any depth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/hooks/view.h"
#include "support/bare_lua.h"

static void test_reads_as_a_table(void **state)
{
    bare_lua_run(*state, "local v = wrap({a = 1, list = {10, 20}, [3] = 'three'})\n"
                         "assert(v.a == 1 and v[3] == 'three' and v.none == nil)\n"
                         "assert(v.list[2] == 20 and #v.list == 2)");
}

static void test_nested_views_are_the_same_object(void **state)
{
    bare_lua_run(*state, "local v = wrap({inner = {deep = {}}})\n"
                         "assert(v.inner == v.inner and v.inner.deep == v.inner.deep)\n"
                         "local t = {[v.inner] = 'found'}\n"
                         "collectgarbage()\n"
                         "assert(t[v.inner] == 'found')");
}

static void test_views_are_collected(void **state)
{
    bare_lua_run(*state, "local gone = setmetatable({}, {__mode = 'k'})\n"
                         "do local v = wrap({inner = {}}) gone[v] = true gone[v.inner] = true end\n"
                         "collectgarbage() collectgarbage()\n"
                         "assert(next(gone) == nil)");
}

static void test_writes_raise(void **state)
{
    static const struct {
        const char *code;
        const char *text;
    } rows[] = {
        {"wrap({}).x = 1", "test:1: thing.x cannot be changed: thing is read-only"},
        {"wrap({a = {b = {}}}).a.b.c = 1", "thing.a.b.c cannot be changed"},
        {"wrap({{}})[1].x = 1", "thing[1].x cannot be changed"},
        {"wrap({})[1] = 1", "thing.1 cannot be changed"},
        {"wrap({['a b'] = {}})['a b'].c = 1", "thing[\"a b\"].c"},
        {"setmetatable(wrap({}), {})", "table expected"},
        {"rawset(wrap({}), 'x', 1)", "table expected"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *text = bare_lua_error(*state, rows[i].code);
        if (strstr(text, rows[i].text) == NULL)
            fail_msg("%s: \"%s\"", rows[i].code, text);
    }
}

static void test_nothing_hands_out_the_table(void **state)
{
    bare_lua_run(*state, "local v = wrap({})\n"
                         "assert(getmetatable(v) == false)\n"
                         "assert(tostring(v) == 'thing (read-only)')\n"
                         "assert(not pcall(next, v) and not pcall(rawget, v, 1))");
}

static void test_next_walks_with_nested_views(void **state)
{
    lua_State *L = *state;
    size_t pairs = 0;
    bare_lua_run(L, "return wrap({a = {}, b = {}, c = 3})");
    lua_pushnil(L);
    while (tg_view_next(L, 1) != 0) {
        assert_int_equal(lua_gettop(L), 3);
        assert_int_equal(tg_view_is(L, 3), lua_tostring(L, 2)[0] != 'c');
        lua_pop(L, 1);
        pairs++;
    }
    assert_int_equal(pairs, 3);
    assert_int_equal(lua_gettop(L), 1);
}

static void test_get_and_unwrap(void **state)
{
    lua_State *L = *state;
    bare_lua_run(L, "inner = {7} return wrap({inner = inner})");
    lua_pushliteral(L, "inner");
    tg_view_get(L, 1);
    assert_int_equal(lua_gettop(L), 2);
    assert_true(tg_view_is(L, 2));
    tg_view_unwrap(L, 2);
    lua_getglobal(L, "inner");
    assert_true(lua_rawequal(L, -1, -2));
}

static void test_other_userdata_is_no_view(void **state)
{
    lua_State *L = *state;
    bare_lua_run(L, "return io.stdout, {}, 'text', newproxy(true)");
    for (int i = 1; i <= 5; i++)
        assert_false(tg_view_is(L, i));
    lua_settop(L, 0);
}

static void test_refuse_write_names_the_metatable(void **state)
{
    lua_State *L = *state;
    bare_lua_run(L, "return wrap({})");
    lua_setglobal(L, "v");
    assert_non_null(strstr(bare_lua_error(L, "refuse(v)"), "thing's metatable cannot be changed"));
}

static int l_refuse(lua_State *L)
{
    return tg_view_refuse_write(L, 1, NULL);
}

static int setup(void **state)
{
    lua_State *L = bare_lua_open();
    lua_pushcfunction(L, l_refuse);
    lua_setglobal(L, "refuse");
    *state = L;
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, bare_lua_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reads_as_a_table),
        TEST(test_nested_views_are_the_same_object),
        TEST(test_views_are_collected),
        TEST(test_writes_raise),
        TEST(test_nothing_hands_out_the_table),
        TEST(test_next_walks_with_nested_views),
        TEST(test_get_and_unwrap),
        TEST(test_other_userdata_is_no_view),
        TEST(test_refuse_write_names_the_metatable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
