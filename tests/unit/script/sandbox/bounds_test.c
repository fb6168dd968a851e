/* What the sandbox puts in place of LuaJIT's functions does as they do: the same results and the same errors,
 * for the same code in a policy and in a bare state. And what it bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <stdio.h>
#include <string.h>

#include "support/script_fixture.h"

static struct script_fixture fx;

static int setup(void **state)
{
    (void)state;
    fixture_open(&fx);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&fx);
    return 0;
}

#define assert_text_has(text, part)                                                                \
    do {                                                                                           \
        if (strstr((text), (part)) == NULL)                                                        \
            fail_msg("\"%s\" is not in \"%s\"", (part), (text));                                   \
    } while (0)

/* All results of fn(...), or the error without the names of file and function, as one text. */
#define SHOW                                                                                       \
    "local function show(ok, ...) local out = {tostring(ok)} "                                     \
    "for i = 1, select('#', ...) do out[#out + 1] = tostring((select(i, ...))) end "               \
    "return (table.concat(out, ';'):gsub('[^ ;]*policy.lua:', '@'):gsub('@1: attempt', "           \
    "'attempt'):gsub(\"to '[%w?]+'\", 'to "                                                        \
    "it')) end "                                                                                   \
    "return show(pcall(function() "

static const char *const same[] = {
    /* gsub */
    "return ('hello world'):gsub('o', '0')",
    "return ('hello world'):gsub('o', '0', 1)",
    "return ('hello world'):gsub('o', '0', 0)",
    "return ('hello world'):gsub('o', '0', -1)",
    "return ('hello'):gsub('', '-')",
    "return ('hello'):gsub('l*', '-')",
    "return ('hello'):gsub('^h', 'H')",
    "return ('hhh'):gsub('^h', 'H')",
    "return ('abc'):gsub('%w', '%0%0')",
    "return ('abc'):gsub('(%w)', '%1%%')",
    "return ('abc'):gsub('(', 'x')",
    "return ('a b'):gsub('(%w) (%w)', '%2 %1')",
    "local a, b = ('abc'):gsub('%w', '%2') return a, b",
    "local a, b = ('abc'):gsub('(%w)', '%2') return a, b",
    "local a, b = ('abc'):gsub('((%w)', '%1') return a, b",
    "return #('abc'):gsub('b', '%')",
    "return ('abc'):gsub('b', '%x')",
    "return ('abc'):gsub('()', '%1')",
    "return ('abc'):gsub('%w', {a = '1', b = 2, c = false})",
    "return ('abc'):gsub('(%w)(%w)', {a = 'x'})",
    "return ('abc'):gsub('()', {'x', 'y'})",
    "return ('abc'):gsub('%w', setmetatable({}, {__index = function(_, k) return k .. k end}))",
    "return ('abc'):gsub('%w', function(c) return c:upper() end)",
    "return ('abc'):gsub('%w', function() end)",
    "return ('abc'):gsub('%w', function() return false end)",
    "return ('abc'):gsub('(%w)()', function(c, i) return i end)",
    "return ('abc'):gsub('', function() return '.' end)",
    "return ('abc'):gsub('%w', function(c) return c .. c end, 2)",
    "return ('a,b'):gsub('%w', function(c) return (c:gsub('a', function() return 'x' end)) end)",
    "local x = ('abc'):gsub('%w', function() return {} end) return x",
    "local x = ('abc'):gsub('%w', function() return true end) return x",
    "local x = ('abc'):gsub('%w', {a = print}) return x",
    "local x = ('abc'):gsub('[', function() end) return x",
    "local x = ('abc'):gsub('(%w', function() end) return x",
    "local x = ('abc'):gsub('%w', function() error('mine') end) return x",
    "local x = ('abc'):gsub('%w', function() error('mine', 0) end) return x",
    "local x = ('abc'):gsub('%w') return x",
    "local x = ('abc'):gsub('%w', true) return x",
    "local x = ('abc'):gsub({}, 'x') return x",
    "local x = ('abc'):gsub('%w', 'x', {}) return x",
    "local x = ('abc'):gsub('%w', print, {}) return x",
    "local x = string.gsub(nil) return x",
    "local x = string.gsub({}, 'a', print) return x",
    "return string.gsub(123, 2, 4)",
    "return string.gsub(123, 2, function(c) return c + 1 end)",
    "return #('x'):rep(5000):gsub('x', 'yy')",
    "return #('x'):rep(5000):gsub('x', function() return 'yy' end)",
    /* find, match, gmatch */
    "return ('hello'):find('l')",
    "return ('hello'):find('l', -2)",
    "return ('hello'):find('l', 10)",
    "return ('hello'):find('', 10)",
    "return ('hello'):find('', 6)",
    "return ('hello'):find('h', -100)",
    "return ('hello'):find('(l)(l)')",
    "return ('a.b'):find('.', 1, true)",
    "return ('a.b'):find('.b', 1, true)",
    "return ('aab'):rep(50):find('b' .. ('aab'):rep(20) .. 'a', 1, true)",
    "return ('a'):rep(99):find(('a'):rep(40) .. 'b', 1, true)",
    "return (('ab'):rep(1e6) .. 'c'):find('abc', 1, true)",
    "return (('ab'):rep(1e6) .. ('aab'):rep(9)):find('aa', 1, true)",
    "return (('ab'):rep(6e5)):find(('ab'):rep(3e5) .. 'b', 1, true)",
    "return (('ab'):rep(6e5) .. 'b'):find(('ab'):rep(3e5) .. 'b', 1, true)",
    "return ('hello'):find('l', '3')",
    "local x = ('hello'):find('l', {}) return x",
    "local x = ('hello'):find() return x",
    "local x = ('hello'):find('[') return x",
    "local x = ('hello'):match('%') return x",
    "return ('hello'):match('l+')",
    "return ('hello'):match('(h)(.)')",
    "return ('hello'):match('()ll()')",
    "return ('hello'):match('x')",
    "return ('hello'):match('l', 4)",
    "return (123):rep(2):match('%d')",
    "return string.match(123, '%d')",
    ("local t = {} for a, b in ('k=v, x=y'):gmatch('(%w)=(%w)') do t[#t + 1] = a .. b end "
     "return unpack(t)"),
    "local t = {} for a in ('abc'):gmatch('') do t[#t + 1] = a end return #t",
    "local t = {} for a in ('abc'):gmatch('()') do t[#t + 1] = a end return unpack(t)",
    "local t = {} for a in ('aba'):gmatch('^a') do t[#t + 1] = a end return #t",
    "for a in ('abc'):gmatch('(') do end",
    "local x = ('abc'):gmatch() return x",
    "return ('x'):gmatch('.')()",
    /* sort */
    "local t = {3, 1, 2} table.sort(t) return unpack(t)",
    "local t = {'b', 'a', 'c'} table.sort(t) return unpack(t)",
    "local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return unpack(t)",
    "local t = {} table.sort(t) return #t",
    "local t = {1} table.sort(t, error) return #t",
    "table.sort({3, 'a'})",
    "table.sort({{}, {}})",
    "table.sort({true, false})",
    "table.sort({1, 2, 3, 4, 5, 6}, function() return true end)",
    "table.sort({1, 2, 3}, function() error('mine') end)",
    "table.sort({2, 1}, 1)",
    "table.sort(1)",
    "table.sort(nil)",
    ("local m = {__lt = function(a, b) return a.n < b.n end} local t = {} "
     "for i = 1, 9 do t[i] = setmetatable({n = i * 7 % 10}, m) end table.sort(t) "
     "local r = {} for i = 1, 9 do r[i] = t[i].n end return unpack(r)"),
    ("local t = setmetatable({3, 1, 2}, {__index = error, __newindex = error}) table.sort(t) "
     "return unpack(t)"),
    ("local t = {} for i = 1, 40 do t[i] = {i % 5, i} end "
     "table.sort(t, function(a, b) return a[1] < b[1] end) "
     "local r = {} for i = 1, 40 do r[i] = t[i][2] end return unpack(r)"),
    ("local t = {} for i = 1, 3000 do t[i] = i * 7919 % 3001 end table.sort(t) "
     "for i = 2, 3000 do assert(t[i - 1] < t[i]) end return t[1], t[3000]"),
    ("local t = {} for i = 1, 2500 do t[i] = 'k' .. i * 7919 % 2503 end table.sort(t) "
     "for i = 2, 2500 do assert(t[i - 1] <= t[i]) end return t[1], t[2500]"),
    ("local t = {} for i = 1, 1500 do t[i] = i end table.sort(t, function(a, b) return a > b end) "
     "return t[1], t[1500]"),
    /* concat */
    "return table.concat({1, 'a', 2.5}, ', ')",
    "return table.concat({1, 2, 3}, ', ', 2)",
    "return table.concat({1, 2, 3}, ', ', 2, 3)",
    "return table.concat({}, ', ')",
    "return table.concat({1, 2, 3}, ', ', 3, 2)",
    "local x = table.concat({1, {}, 3}) return x",
    "local x = table.concat({1, 2}, ',', 1, 3) return x",
    "local x = table.concat(1) return x",
    "local x = table.concat({1}, {}) return x",
    "local t = {} for i = 1, 9000 do t[i] = i end return #table.concat(t, '; ')",
    "local t = {} for i = 1, 8192 do t[i] = i end return #table.concat(t, ';', 1, 8192)",
    /* the rest */
    "return os.time({year = 2020, month = 1, day = 1, hour = 12})",
    "return os.time(setmetatable({}, {__index = {year = 2020, month = 1, day = 1, hour = 12}}))",
    "return os.date('!%Y-%m-%d %H:%M:%S', 0)",
    "return os.date('!*t', 0).year",
    "return ('%s %5.2f %q %d'):format('a', 1.5, 'b\\n', 3)",
    "return ('%s'):format(setmetatable({}, {__tostring = function() return 'me' end}))",
    "local x = ('%d'):format('x') return x",
    "return load('return ...')(1, 2)",
    "local n = 0 return load(function() n = n + 1 return ({'return ', '4', '2'})[n] end)()",
    "return load(function() return nil end)()",
    "return load('x x', '=name')",
    "local n = 0 return load(function() n = n + 1 return ({'return ', 4})[n] end)()",
    "return load(function() return {} end)",
};

static void run_bare(const char *body, char *out, size_t size)
{
    char code[2048];
    lua_State *L = luaL_newstate();

    assert_non_null(L);
    luaL_openlibs(L);
    snprintf(code, sizeof code, "%s%s\nend))", SHOW, body);
    if (luaL_loadbuffer(L, code, strlen(code), "@policy.lua") != 0 || lua_pcall(L, 0, 1, 0) != 0)
        fail_msg("%s: %s", body, lua_tostring(L, -1));
    snprintf(out, size, "%s", lua_tostring(L, -1));
    lua_close(L);
}

static void functions_answer_as_those_of_luajit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        char wanted[512], code[2048];
        run_bare(same[i], wanted, sizeof wanted);
        snprintf(code, sizeof code, "%s%s\nend))", SHOW, same[i]);
        fixture_run(&fx, code);
        if (fx.outcome != TG_CALL_OK || strcmp(fx.result, wanted) != 0)
            fail_msg("%s:\nLuaJIT %s\nours   %s%s", same[i], wanted, fx.result, fx.text);
    }
}

static void errors_name_the_caller_s_line(void **state)
{
    static const struct {
        const char *body;
        const char *text;
    } rows[] = {
        {"\nlocal x = ('a'):find('[')", "policy.lua:2: malformed pattern (missing ']')"},
        {"\nlocal x = ('a'):gsub('(', '%1')", "policy.lua:2: unfinished capture"},
        {"\nlocal x = ('a'):gsub('[', print)", "policy.lua:2: malformed pattern"},
        {"\nlocal x = ('a'):gsub('a', function() return {} end)",
         "policy.lua:2: invalid replacement value (a table)"},
        {"\nlocal x = ('ab'):gsub('.', {a = 'x', b = {}})",
         "policy.lua:2: invalid replacement value (a table)"},
        {"\nfor a in ('a'):gmatch('(') do end", "policy.lua:2: unfinished capture"},
        {"\ntable.sort({1, {}})", "policy.lua:2: attempt to compare table with number"},
        {"\ntable.sort({1, 2, 3, 4, 5}, function() return true end)",
         "policy.lua:2: invalid order function for sorting"},
        {"\nos.date(('x'):rep(2000))",
         "policy.lua:2: os.date: the format is longer than 1000 bytes"},
        {"\nlocal function f()\nreturn 1 + f() end f()",
         "policy.lua:3: stack overflow (a function"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fixture_run(&fx, rows[i].body);
        assert_int_equal(fx.outcome, TG_CALL_ERROR);
        assert_text_has(fx.text, rows[i].text);
    }
}

static void calls_through_c_nest_only_so_deep(void **state)
{
    static const char *const bodies[] = {
        "local t t = setmetatable({}, {__tostring = function() print(t) return '' end}) print(t)",
        "local t t = setmetatable({}, {__tostring = function() return ('%s'):format(t) .. '' end}) "
        "return ('%s'):format(t)",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        fixture_run(&fx, bodies[i]);
        assert_int_equal(fx.outcome, TG_CALL_ERROR);
        assert_text_has(fx.text, "policy.lua:1: stack overflow (functions of the library");
    }
    fixture_run(&fx, "local function f(n) return n == 0 and 7 or coroutine.wrap(f)(n - 1) end "
                     "return f(179)");
    assert_string_equal(fx.result, "7");
    fixture_run(&fx, "local function f() return coroutine.wrap(f)() end return f()");
    assert_text_has(fx.text, "coroutines resume each other more than 180 deep");
}

static void a_chunk_to_load_is_bounded(void **state)
{
    (void)state;
    fixture_run(&fx, "return select(2, load(('x = 1 '):rep(50000)))");
    assert_string_equal(fx.result, "the text to load is larger than 256KiB");
    fixture_run(&fx, "return select(2, load(function() return ('x = 1 '):rep(1000) end))");
    assert_string_equal(fx.result, "the text to load is larger than 256KiB");
    fixture_run(&fx, "return select(2, load('local a return a' .. (' or a'):rep(2501)))");
    assert_text_has(fx.result, "more than 2500 times and, or, elseif");
    fixture_run(&fx, "return load('local a = 5 return a' .. (' and a'):rep(2500))()");
    assert_string_equal(fx.result, "5");
    fixture_run(&fx, "return load(('x=1 '):rep(60000)) ~= nil");
    assert_string_equal(fx.result, "true");
}

static void a_string_has_a_limit_and_a_table_another(void **state)
{
    (void)state;
    fx.env.memory_max = (size_t)256 << 20;
    fixture_set_budget(&fx, 5000); /* strings of 16 MiB take their time */
    fixture_load_body(&fx, "local s = ('x'):rep(2^24) local ok, why = pcall(function() "
                           "return s .. ('y'):rep(9000) end) return tostring(ok) .. why");
    assert_null(fixture_call(&fx, 0));
    assert_string_equal(fx.result, "falsenot enough memory");
    fixture_run(&fx, "local s = ('x'):rep(2^23) return #(s .. s)");
    assert_string_equal(fx.result, "16777216");
    fixture_run(
        &fx, "local y = ('y'):rep(2^20) local ok, why = pcall(string.gsub, ('x'):rep(17), 'x', y)\n"
             "return tostring(ok) .. why");
    assert_text_has(fx.result, "string.gsub: the result would be larger than 16MiB");
    fixture_run(&fx, "local t = {} table.move({1}, 1, 1, 1, t) return 1");
    assert_string_equal(fx.result, "1");
}

static void a_kill_shows_the_innermost_coroutine(void **state)
{
    (void)state;
    fixture_run(&fx, "local function inner()\nwhile true do end\nend\n"
                     "coroutine.wrap(function()\n  pcall(coroutine.wrap(function()\n"
                     "    inner()\n  end))\nend)()");
    assert_int_equal(fx.outcome, TG_CALL_CPU_BUDGET);
    assert_text_has(fx.text, "policy.lua:2: computed for more than");
    const char *inner = strstr(fx.traceback, "policy.lua:2: in function 'inner'");
    const char *middle = strstr(fx.traceback, "policy.lua:6: in function");
    const char *outer = strstr(fx.traceback, "policy.lua:5: in function");
    assert_non_null(inner);
    assert_true(inner < middle && middle < outer);
    assert_text_has(fx.traceback, "resumed by:");
}

static void a_kill_in_the_library_names_the_policy_s_line(void **state)
{
    (void)state;
    fixture_run(&fx, "local t = {} for i = 1, 1e4 do t[i] = ('x'):rep(300) .. i % 9 end\n"
                     "while true do table.sort(t) end");
    assert_int_equal(fx.outcome, TG_CALL_CPU_BUDGET);
    assert_text_has(fx.text, "policy.lua:2: computed for more than");
    fixture_run(&fx, "\nlocal s = ('a'):rep(1e5)\nreturn s:find('a*a*a*a*b')");
    assert_text_has(fx.text, "computed for more than");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(functions_answer_as_those_of_luajit, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_name_the_caller_s_line, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_through_c_nest_only_so_deep, setup, teardown),
        cmocka_unit_test_setup_teardown(a_chunk_to_load_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_string_has_a_limit_and_a_table_another, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kill_shows_the_innermost_coroutine, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kill_in_the_library_names_the_policy_s_line, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
