/* api_json_test.c - tidegate.json: what it writes reads back as it was, and what cannot be written is
 * named.
 */
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
#include "script/api/json.h"
#include "support/bare_lua.h"

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static void test_encode(void **state)
{
    static const struct {
        const char *value;
        const char *json;
    } rows[] = {
        {"nil", "null"},
        {"json.null", "null"},
        {"true", "true"},
        {"false", "false"},
        {"0", "0"},
        {"-0", "0"},
        {"-7", "-7"},
        {"1757500188434", "1757500188434"},
        {"9007199254740991", "9007199254740991"},
        {"123456789012345", "123456789012345"},
        {"0.1", "0.1"},
        {"1/3", "0.3333333333333333"},
        {"1e300", "1e+300"},
        {"5e-324", "4.94065645841247e-324"},
        {"'text'", "\"text\""},
        {"''", "\"\""},
        {"'a/b'", "\"a/b\""},
        {"'q\"b\\\\'", "\"q\\\"b\\\\\""},
        {"'\\n\\r\\t\\1\\31'", "\"\\n\\r\\t\\u0001\\u001f\""},
        {"'nul\\0'", "\"nul\\u0000\""},
        {"'\\195\\169'", "\"\xc3\xa9\""},
        {"{}", "{}"},
        {"json.array()", "[]"},
        {"json.array({})", "[]"},
        {"json.object()", "{}"},
        {"{1, 2, 3}", "[1,2,3]"},
        {"{{}, {{}}}", "[{},[{}]]"},
        {"{1, nil, 3}", "[1,null,3]"},
        {"{[1] = 1, [4] = 4}", "[1,null,null,4]"},
        {"{a = 1}", "{\"a\":1}"},
        {"{a = {b = {1}}}", "{\"a\":{\"b\":[1]}}"},
        {"json.object({[1] = 'x'})", "{\"1\":\"x\"}"},
        {"json.object({[1000] = 'x'})", "{\"1000\":\"x\"}"},
        {"wrap({a = {1, 2}})", "{\"a\":[1,2]}"},
        {"{view = wrap({1})}", "{\"view\":[1]}"},
        {"setmetatable({1}, {__index = error, __tostring = error})", "[1]"},
        {"json.decode('[]')", "[]"},
        {"json.decode('{\"a\":[],\"b\":{}}').a", "[]"},
    };
    lua_State *L = *state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char code[256];
        snprintf(code, sizeof code, "return json.encode(%s)", rows[i].value);
        bare_lua_run(L, code);
        assert_int_equal(lua_gettop(L), 1);
        if (strcmp(lua_tostring(L, 1), rows[i].json) != 0)
            fail_msg("%s gave %s", rows[i].value, lua_tostring(L, 1));
        lua_settop(L, 0);
    }
}

static void test_encode_refuses(void **state)
{
    static const struct {
        const char *value;
        const char *text;
    } rows[] = {
        {"print", "value is a function"},
        {"{a = {print}}", "value.a[1] is a function"},
        {"{co = coroutine.create(print)}", "value.co cannot be written"},
        {"{file = io.stdout}", "value.file is userdata"},
        {"0/0", "value is not a finite number"},
        {"{x = 1/0}", "value.x is not a finite number"},
        {"'\\255'", "value is not UTF-8"},
        {"{name = '\\237\\160\\128'}", "value.name is not UTF-8"},
        {"{['\\255'] = 1}", "is not UTF-8"},
        {"{1, x = 2}", "mixes list items and named fields"},
        {"{x = 2, [1] = 1}", "mixes list items and named fields"},
        {"{[1.5] = 1}", "number key that is no list index"},
        {"{[0] = 1}", "number key that is no list index"},
        {"{[-1] = 1}", "number key that is no list index"},
        {"{[1000] = 1}", "too many holes"},
        {"{[2^40] = 1}", "very large index"},
        {"{[true] = 1}", "has a key that is no text"},
        {"json.array({x = 1})", "mixes"},
        {"(function() local t = {} t.t = t return t end)()", "nested too deeply"},
        {"('x'):rep(9 * 1024 * 1024)", "larger than 8388608 bytes"},
        {"(function() local t = ('x'):rep(99) for i = 1, 40 do t = {t, t} end return t end)()",
         "larger than 8388608 bytes"},
    };
    lua_State *L = *state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char code[256];
        snprintf(code, sizeof code, "return json.encode(%s)", rows[i].value);
        bare_lua_run(L, code);
        assert_true(lua_isnil(L, 1));
        if (strstr(lua_tostring(L, 2), rows[i].text) == NULL)
            fail_msg("%s: \"%s\"", rows[i].value, lua_tostring(L, 2));
        lua_settop(L, 0);
    }
}

static void test_round_trip(void **state)
{
    static const char *const documents[] = {
        "null",
        "true",
        "[]",
        "{}",
        "[[],{},[null]]",
        "{\"a\":[1,2.5,-3,\"x\"]}",
        "\"\\u0000\\n\"",
        "0.30000000000000004",
        "[1,null,null,null,null,null,null,null,null,null,null,null,null,null,null,null,null,2]",
        "9007199254740991",
    };
    lua_State *L = *state;
    for (size_t i = 0; i < COUNT(documents); i++) {
        lua_getglobal(L, "json");
        lua_getfield(L, -1, "encode");
        lua_getfield(L, -2, "decode");
        lua_pushstring(L, documents[i]);
        lua_call(L, 1, 1);
        lua_call(L, 1, 1);
        assert_string_equal(lua_tostring(L, -1), documents[i]);
        lua_settop(L, 0);
    }
}

static void test_decode(void **state)
{
    bare_lua_run(
        *state,
        "local d = json.decode\n"
        "assert(d('null') == json.null and d(' true ') == true and d('false') == false)\n"
        "assert(d('-12.5e2') == -1250 and d('0') == 0 and d('123456789012345') == "
        "123456789012345)\n"
        "assert(d('12345678901234567890') == 12345678901234567890)\n"
        "assert(d('\"\\\\u00e9\\\\ud83d\\\\ude00\\\\\"\"') == '\\195\\169\\240\\159\\152\\128\"')\n"
        "local v = d(' { \"a\" : [ 1 , { } , \"x\" ] , \"b\" : null , \"\" : 2 } ')\n"
        "assert(v.a[1] == 1 and next(v.a[2]) == nil and v.a[3] == 'x' and #v.a == 3)\n"
        "assert(v.b == json.null and v[''] == 2)\n"
        "assert(d('{\"k\":1,\"k\":2}').k == 2)\n"
        "assert(d('{\"\\\\u0061\":1}').a == 1)");
}

/* Values wait on the stack for the table they go into, some dozen at a time. */
static void test_decode_of_every_size(void **state)
{
    bare_lua_run(
        *state,
        "for n = 0, 200 do\n"
        "  local list, object = {}, {}\n"
        "  for i = 1, n do\n"
        "    list[i] = i % 3 == 0 and '[' .. i .. ',[]]' or tostring(i)\n"
        "    object[i] = ('\"k%d\":%s'):format(i, i % 3 == 0 and '{\"x\":' .. i .. '}' or i)\n"
        "  end\n"
        "  local array = json.decode('[' .. table.concat(list, ',') .. ']')\n"
        "  assert(#array == n)\n"
        "  local map = json.decode('{' .. table.concat(object, ' , ') .. '}')\n"
        "  for i = 1, n do\n"
        "    local a, m = array[i], map['k' .. i]\n"
        "    if i % 3 == 0 then a, m = a[1], m.x end\n"
        "    assert(a == i and m == i)\n"
        "    map['k' .. i] = nil\n"
        "  end\n"
        "  assert(next(map) == nil)\n"
        "  assert(json.encode(array) == '[' .. table.concat(list, ',') .. ']')\n"
        "end\n"
        "for n = 1, 60 do\n"
        "  local text = '{\"same\":0' .. (',\"other\":1'):rep(n) .. ',\"same\":2}'\n"
        "  assert(json.decode(text).same == 2, 'the last of equal keys wins')\n"
        "end");
}

/* Text is read and written by the word: what matters is seen at every place of every length. */
static void test_text_of_every_length(void **state)
{
    bare_lua_run(
        *state,
        "local rows = {['\"'] = '\\\\\"', ['\\\\'] = '\\\\\\\\', ['\\n'] = '\\\\n', ['\\1'] = "
        "'\\\\u0001',\n"
        "  ['\\127'] = '\\127', ['\\195\\169'] = '\\195\\169', [' '] = ' '}\n"
        "for len = 0, 40 do\n"
        "  local plain = ('a'):rep(len)\n"
        "  assert(json.encode(plain) == '\"' .. plain .. '\"')\n"
        "  assert(json.decode('\"' .. plain .. '\"') == plain)\n"
        "  for at = 0, len do\n"
        "    local from, to = plain:sub(1, at), plain:sub(at + 1)\n"
        "    for raw, written in pairs(rows) do\n"
        "      local text = '\"' .. from .. written .. to .. '\"'\n"
        "      assert(json.encode(from .. raw .. to) == text)\n"
        "      assert(json.decode(text) == from .. raw .. to)\n"
        "      assert(json.encode({[from .. raw .. to] = true}) == '{' .. text .. ':true}')\n"
        "    end\n"
        "    assert(not json.encode(from .. '\\195' .. to))\n"
        "    assert(not json.encode({from .. '\\255' .. to}))\n"
        "  end\n"
        "end");
}

static void test_decode_refuses(void **state)
{
    static const char *const texts[] = {
        "''",
        "' '",
        "'{'",
        "'[1,]'",
        "'{\"a\":}'",
        "'01'",
        "'NaN'",
        "'nul'",
        "'1 2'",
        "'[1] x'",
        "'\"\\255\"'",
        "'\"\\\\ud800\"'",
        "'-'",
        "'1e'",
        "'Infinity'",
        "'{a:1}'",
        "\"'x'\"",
        "'[1}'",
        "('['):rep(65) .. (']'):rep(65)",
        "('x'):rep(9 * 1024 * 1024)",
    };
    lua_State *L = *state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        char code[256];
        snprintf(code, sizeof code, "return json.decode(%s)", texts[i]);
        bare_lua_run(L, code);
        if (!lua_isnil(L, 1) || lua_type(L, 2) != LUA_TSTRING)
            fail_msg("accepted: %s", texts[i]);
        lua_settop(L, 0);
    }
    bare_lua_run(L, "assert(json.decode(('['):rep(64) .. (']'):rep(64)))");
}

static void test_misuse_raises_at_the_caller(void **state)
{
    static const struct {
        const char *code;
        const char *text;
    } rows[] = {
        {"\njson.encode()", "test:2: bad argument #1"},
        {"json.decode(nil)", "test:1: bad argument #1"},
        {"json.decode(7)", "string expected, got number"},
        {"json.array('x')", "table expected"},
        {"json.array(setmetatable({}, {}))", "metatable of its own"},
        {"setmetatable(json.array(), {})", "protected metatable"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *text = bare_lua_error(*state, rows[i].code);
        if (strstr(text, rows[i].text) == NULL)
            fail_msg("%s: \"%s\"", rows[i].code, text);
    }
    bare_lua_run(*state, "local t = {} assert(json.array(t) == t and json.object(t) == t)\n"
                         "assert(json.encode(t) == '{}')");
}

static void test_encode_leaves_the_buffer_on_error(void **state)
{
    lua_State *L = *state;
    struct tg_error error;
    struct tg_buffer out = TG_BUFFER_INIT;
    assert_int_equal(tg_buffer_append(&out, "keep", 4), TG_ERR_OK);
    bare_lua_run(L, "return {1, 2, print}");
    assert_int_equal(tg_lua_json_encode(L, 1, "message", &out, &error), TG_ERR_INVALID);
    assert_string_equal(error.text, "message[3] is a function and cannot be written as JSON");
    assert_int_equal(out.len, 4);
    assert_int_equal(lua_gettop(L), 1);
    tg_buffer_fini(&out);
}

static void test_memory_runs_out(void **state)
{
    lua_State *L = *state;
    bare_lua_run(
        L, "text = '{\"a\":[1,2,{\"b\":\"\\\\u0041\\\\n\"}],\"c\":\"' .. ('x'):rep(200) .. '\"}'\n"
           "function go() return json.encode(json.decode(text)) end");
    int status = LUA_ERRMEM;
    for (long n = 0; status != 0; n++) {
        lua_getglobal(L, "go");
        bare_lua_fail_after(n);
        status = lua_pcall(L, 0, 1, 0);
        bare_lua_fail_after(-1);
        assert_true(status == 0 || status == LUA_ERRMEM);
        assert_true(n < 200);
        lua_settop(L, 0);
    }
    bare_lua_run(L, "return {('y'):rep(100000)}");
    struct tg_buffer out = TG_BUFFER_INIT;
    (void)tg_memory_fail_after(0, 1);
    assert_int_equal(tg_lua_json_encode(L, 1, "value", &out, NULL), TG_ERR_NOMEM);
    (void)tg_memory_fail_after(-1, 0);
    tg_buffer_fini(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bare_lua_setup, bare_lua_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_encode),
        TEST(test_encode_refuses),
        TEST(test_round_trip),
        TEST(test_decode),
        TEST(test_decode_of_every_size),
        TEST(test_text_of_every_length),
        TEST(test_decode_refuses),
        TEST(test_misuse_raises_at_the_caller),
        TEST(test_encode_leaves_the_buffer_on_error),
        TEST(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
