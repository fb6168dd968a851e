/* plain_test.c - plain data: what goes in comes out, and what cannot be kept is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/memory.h"
#include "script/plain.h"
#include "support/bare_lua.h"

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

/* Same structure, same values, same JSON mark. */
static const char same_source[] =
    "function same(a, b)\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then return rawequal(a, b) end\n"
    "  if getmetatable(a) ~= getmetatable(b) then return false end\n"
    "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
    "  for k in pairs(b) do if a[k] == nil then return false end end\n"
    "  return true\n"
    "end";

static enum tg_err encode(lua_State *L, size_t max, struct tg_buffer *out, struct tg_error *error)
{
    int top = lua_gettop(L);
    enum tg_err err = tg_plain_encode(L, -1, "context", max, out, error);
    assert_int_equal(lua_gettop(L), top);
    return err;
}

static void test_round_trip(void **state)
{
    static const char *const values[] = {
        "nil",
        "true",
        "false",
        "0",
        "-1.5",
        "1e300",
        "2^53",
        "1/0",
        "''",
        "'text'",
        "'nul \\0 and \\255 bytes'",
        "('x'):rep(254)",
        "('x'):rep(255)",
        "{[('x'):rep(255)] = ('y'):rep(256), z = 1}",
        "('x'):rep(100000)",
        "{}",
        "{1, 2, 3}",
        "{a = 1, b = {c = {d = 'deep'}}}",
        "{[1] = 'one', two = 2, [true] = 'yes', [false] = 'no', [1.5] = 'half', [-3] = 'neg'}",
        "{nil, nil, 3}",
        "json.null",
        "{json.null, {x = json.null}}",
        "json.array()",
        "json.array({1, 2})",
        "{roles = json.array(), extra = json.object()}",
    };
    lua_State *L = *state;
    bare_lua_run(L, same_source);
    for (size_t i = 0; i < COUNT(values); i++) {
        char code[256];
        struct tg_buffer bytes = TG_BUFFER_INIT;
        snprintf(code, sizeof code, "return %s", values[i]);
        lua_getglobal(L, "same");
        bare_lua_run(L, code);
        assert_int_equal(encode(L, 1 << 20, &bytes, NULL), TG_ERR_OK);
        tg_plain_push(L, tg_buffer_head(&bytes), bytes.len);
        tg_buffer_fini(&bytes);
        lua_call(L, 2, 1);
        if (!lua_toboolean(L, -1))
            fail_msg("changed on the way: %s", values[i]);
        lua_settop(L, 0);
    }
}

static void test_result_is_a_copy(void **state)
{
    lua_State *L = *state;
    struct tg_buffer bytes = TG_BUFFER_INIT;
    bare_lua_run(L, "shared = {1} return {a = shared, b = shared}");
    assert_int_equal(encode(L, 1000, &bytes, NULL), TG_ERR_OK);
    tg_plain_push(L, tg_buffer_head(&bytes), bytes.len);
    lua_setglobal(L, "copy");
    tg_buffer_fini(&bytes);
    bare_lua_run(L, "copy.a[1] = 2; assert(copy.b[1] == 1 and shared[1] == 1)");
}

static void test_views_are_unwrapped(void **state)
{
    lua_State *L = *state;
    struct tg_buffer bytes = TG_BUFFER_INIT;
    bare_lua_run(L, "return {inner = wrap({list = {7}})}");
    assert_int_equal(encode(L, 1000, &bytes, NULL), TG_ERR_OK);
    tg_plain_push(L, tg_buffer_head(&bytes), bytes.len);
    lua_setglobal(L, "copy");
    tg_buffer_fini(&bytes);
    bare_lua_run(L, "assert(type(copy.inner) == 'table' and copy.inner.list[1] == 7)");
}

static void test_no_bytes_are_nil(void **state)
{
    lua_State *L = *state;
    tg_plain_push(L, NULL, 0);
    assert_true(lua_isnil(L, -1));
}

static void test_refusals_name_the_place(void **state)
{
    static const struct {
        const char *value;
        enum tg_err err;
        const char *text;
    } rows[] = {
        {"print", TG_ERR_INVALID, "context is a function"},
        {"{db = print}", TG_ERR_INVALID, "context.db is a function"},
        {"{a = {b = {print}}}", TG_ERR_INVALID, "context.a.b[1] is a function"},
        {"{['two words'] = print}", TG_ERR_INVALID, "context[\"two words\"] is a function"},
        {"{['a\\nb'] = print}", TG_ERR_INVALID, "context[\"a?b\"]"},
        {"{co = coroutine.create(print)}", TG_ERR_INVALID, "context.co is a coroutine"},
        {"{file = io.stdout}", TG_ERR_INVALID, "context.file is userdata"},
        {"{[print] = 1}", TG_ERR_INVALID, "has a key that is no text"},
        {"{[{}] = 1}", TG_ERR_INVALID, "has a key that is no text"},
        {"(function() local t = {} t.me = t return t end)()", TG_ERR_LIMIT,
         "nested too deeply (a table that contains itself?)"},
        {"('x'):rep(5000)", TG_ERR_LIMIT, "context is larger than 4096 bytes"},
        {"(function() local t = {} for i = 1, 5000 do t[i] = i end return t end)()", TG_ERR_LIMIT,
         "larger than 4096"},
        {"(function() local t = {1} for i = 1, 25 do t = {t, t} end return t end)()", TG_ERR_LIMIT,
         "larger than 4096"},
    };
    lua_State *L = *state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char code[256];
        struct tg_error error;
        struct tg_buffer bytes = TG_BUFFER_INIT;
        assert_int_equal(tg_buffer_append(&bytes, "keep", 4), TG_ERR_OK);
        snprintf(code, sizeof code, "return %s", rows[i].value);
        bare_lua_run(L, code);
        assert_int_equal(encode(L, 4096, &bytes, &error), rows[i].err);
        if (strstr(error.text, rows[i].text) == NULL)
            fail_msg("%s: \"%s\"", rows[i].value, error.text);
        assert_int_equal(bytes.len, 4); /* as it was */
        tg_buffer_fini(&bytes);
        lua_settop(L, 0);
    }
}

static void test_depth_limit_is_exact(void **state)
{
    lua_State *L = *state;
    struct tg_buffer bytes = TG_BUFFER_INIT;
    bare_lua_run(L, "local t = 1 for i = 1, 32 do t = {t} end return t");
    assert_int_equal(encode(L, 4096, &bytes, NULL), TG_ERR_OK);
    bare_lua_run(L, "local t = 1 for i = 1, 33 do t = {t} end return t");
    assert_int_equal(encode(L, 4096, &bytes, NULL), TG_ERR_LIMIT);
    tg_buffer_fini(&bytes);
}

static void test_metamethods_do_not_run(void **state)
{
    lua_State *L = *state;
    struct tg_buffer bytes = TG_BUFFER_INIT;
    bare_lua_run(L,
                 "return setmetatable({a = 1}, {__index = error, __len = error, __pairs = error})");
    assert_int_equal(encode(L, 1000, &bytes, NULL), TG_ERR_OK);
    tg_plain_push(L, tg_buffer_head(&bytes), bytes.len);
    lua_setglobal(L, "copy");
    tg_buffer_fini(&bytes);
    bare_lua_run(L, "assert(copy.a == 1 and getmetatable(copy) == nil)");
}

static void test_core_memory_runs_out(void **state)
{
    lua_State *L = *state;
    struct tg_buffer bytes = TG_BUFFER_INIT;
    bare_lua_run(L, "return {('x'):rep(3000), ('y'):rep(3000)}");
    enum tg_err err = TG_ERR_NOMEM;
    for (long n = 0; err != TG_ERR_OK; n++) {
        (void)tg_memory_fail_after(n, 1);
        err = encode(L, 100000, &bytes, NULL);
        (void)tg_memory_fail_after(-1, 0);
        assert_true(err == TG_ERR_OK || err == TG_ERR_NOMEM);
        assert_true(n < 50);
    }
    tg_buffer_fini(&bytes);
}

static int push_again(lua_State *L)
{
    const struct tg_buffer *bytes = lua_touserdata(L, 1);
    tg_plain_push(L, tg_buffer_head(bytes), bytes->len);
    return 1;
}

static void test_script_memory_runs_out(void **state)
{
    lua_State *L = *state;
    struct tg_buffer bytes = TG_BUFFER_INIT;
    bare_lua_run(L, "return {list = {1, 2, {'fresh ' .. tostring({})}}, json.array({1})}");
    assert_int_equal(encode(L, 1000, &bytes, NULL), TG_ERR_OK);
    int status = LUA_ERRMEM;
    for (long n = 0; status != 0; n++) {
        bare_lua_fail_after(n);
        status = lua_cpcall(L, push_again, &bytes);
        bare_lua_fail_after(-1);
        assert_true(status == 0 || status == LUA_ERRMEM);
        assert_true(n < 100);
        lua_settop(L, 0);
    }
    tg_buffer_fini(&bytes);
}

/* There is one for every idle client: see also facts_test.c. */
static void test_a_small_identity_is_small(void **state)
{
    lua_State *L = *state;
    struct tg_buffer bytes = TG_BUFFER_INIT;
    bare_lua_run(L, "return {user_id = 'bench'}");
    assert_int_equal(encode(L, 100, &bytes, NULL), TG_ERR_OK);
    assert_int_equal(bytes.len, 22);
    tg_buffer_fini(&bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bare_lua_setup, bare_lua_teardown)

static void test_a_field_is_found_without_a_state(void **state)
{
    static const struct {
        const char *code;
        const char *text; /* of the field jti; NULL: none */
    } rows[] = {
        {"{jti = 'a1'}", "a1"},
        {"{user_id = 'u', n = 7, list = {'jti', 'x', {jti = 'inner'}}, yes = true, jti = 'a1'}",
         "a1"},
        {"{inner = {jti = 'inner'}, json.null, 'jti', 'x'}", NULL},
        {"{jti = ''}", ""},
        {"{jti = 7}", NULL},
        {"{[('x'):rep(300)] = ('jti'):rep(100), jti = 'a1'}", "a1"},
        {"{jti = {'x'}}", NULL},
        {"{jtix = 'x', jt = 'y', [1] = 'jti', [true] = 'jti'}", NULL},
        {"json.object{jti = 'a1'}", "a1"},
        {"{}", NULL},
        {"'jti'", NULL},
        {"nil", NULL},
    };
    lua_State *L = *state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char code[256];
        struct tg_buffer bytes = TG_BUFFER_INIT;
        struct tg_error error;
        size_t len = 0;
        snprintf(code, sizeof code, "return %s", rows[i].code);
        bare_lua_run(L, code);
        assert_int_equal(encode(L, 1 << 20, &bytes, &error), TG_ERR_OK);
        const char *text = tg_plain_find_string(tg_buffer_head(&bytes), bytes.len, "jti", &len);
        assert_int_equal(text != NULL, rows[i].text != NULL);
        if (text != NULL && rows[i].text != NULL) {
            assert_int_equal(len, strlen(rows[i].text));
            assert_memory_equal(text, rows[i].text, len);
        }
        tg_buffer_fini(&bytes);
        lua_pop(L, 1);
    }
    assert_null(tg_plain_find_string("", 0, "jti", &(size_t){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_result_is_a_copy),
        TEST(test_views_are_unwrapped),
        TEST(test_no_bytes_are_nil),
        TEST(test_a_field_is_found_without_a_state),
        TEST(test_refusals_name_the_place),
        TEST(test_depth_limit_is_exact),
        TEST(test_metamethods_do_not_run),
        TEST(test_core_memory_runs_out),
        TEST(test_a_small_identity_is_small),
        TEST(test_script_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
