/* sandbox_test.c - what policy code can reach, and what it is told about the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lua.h>

#include <string.h>

#include "support/log_capture.h"
#include "support/script_fixture.h"

static struct script_fixture fx;

struct row {
    const char *body;
    const char *text; /* part of the error */
};

/* Each row raises, at the policy's line, with a hint. */
static const struct row forbidden[] = {
    {"io.open('/etc/passwd')", "io is not available in policies; use tidegate.log to write"},
    {"return io", "tidegate.http to fetch"},
    {"io.popen('id')", "io is not available"},
    {"os.execute('id')",
     "os.execute is not available in policies; a policy cannot act on the process"},
    {"os.exit(1)", "to end a connection use conn:close"},
    {"os.getenv('HOME')", "read tide.options"},
    {"os.remove('x')", "a policy has no files"},
    {"os.rename('x', 'y')", "a policy has no files"},
    {"os.tmpname()", "a policy has no files"},
    {"os.setlocale('C')", "cannot act on the process"},
    {"package.loadlib('x', 'y')", "require finds the policy's own files"},
    {"package.preload.x = 1", "package is not available"},
    {"ffi.cdef('')", "a policy cannot call C"},
    {"jit.on()", "policies run in the interpreter"},
    {"dofile('x')", "use require for the policy's own files"},
    {"loadfile('x')", "use require for the policy's own files"},
    {"module('x')", "let the file return a table"},
    {"newproxy(true)", "use setmetatable on a table"},
    {"collectgarbage()", "the host looks after memory"},
    {"gcinfo()", "the host looks after memory"},
    {"getfenv(1)", "load takes an environment"},
    {"setfenv(1, {})", "load takes an environment"},
    {"debug.getinfo(1)", "debug.traceback is there"},
    {"debug.sethook()", "cannot look into running code"},
    {"debug.gethook()", "cannot look into running code"},
    {"debug.getlocal(1, 1)", "cannot look into running code"},
    {"debug.setlocal(1, 1, 1)", "cannot look into running code"},
    {"debug.getupvalue(print, 1)", "cannot look into running code"},
    {"debug.setupvalue(print, 1, 1)", "cannot look into running code"},
    {"debug.upvalueid(print, 1)", "cannot look into running code"},
    {"debug.upvaluejoin(print, 1, print, 1)", "cannot look into running code"},
    {"debug.getregistry()", "cannot look into running code"},
    {"debug.getmetatable('')", "use getmetatable"},
    {"debug.setmetatable('', {})", "use setmetatable"},
    {"debug.getfenv(print)", "load takes an environment"},
    {"debug.setfenv(print, {})", "load takes an environment"},
    {"debug.debug()", "cannot look into running code"},
    {"string.dump(print)", "bytecode cannot be loaded again"},
    {"return ('x'):dump()", "bytecode cannot be loaded again"},
    {"math.randomseed(1)", "seeded by the system"},
    {"table.foreach({}, print)", "use for"},
    {"table.getn({})", "use #"},
    {"table.unpack({})", "use unpack"},
    {"table.pack()", "select"},
    {"string.gfind('', '')", "use string.gmatch"},
    {"utf8.char(1)", "LuaJIT has no utf8 library"},
    {"ngx.say('x')", "this is Tidegate"},
    {"return arg", "tide.options"},
    {"return rawlen({})", "use #"},
    /* globals */
    {"return unknown", "undefined global \"unknown\""},
    {"stirng.format('x')", "undefined global \"stirng\"; did you mean \"string\"?"},
    {"x = 1", "cannot set the global \"x\"; write \"local x\""},
    {"function helper() end", "write \"local function helper\""},
    {"_G.x = 1", "cannot set the global \"x\""},
    {"rawset(_G, 'x', 1)", "cannot"},
    {"print = nil", "cannot replace the global \"print\""},
    {"setmetatable(_G, nil)", "cannot"},
    {"_G.string = {}", "cannot replace the global \"string\""},
    {"table.insert(_G, 1)", "cannot"},
    /* library tables */
    {"string.format = nil", "string is read-only"},
    {"string.new = print", "string is read-only"},
    {"math.pi = 3", "math is read-only"},
    {"os.time = nil", "os is read-only"},
    {"coroutine.wrap = nil", "coroutine is read-only"},
    {"debug.traceback = nil", "debug is read-only"},
    {"rawset(string, 'format', nil)", "string is read-only"},
    {"rawset(table, 1, 1)", "table is read-only"},
    {"setmetatable(string, {})", "string is read-only"},
    {"table.insert(string, 1)", "string is read-only"},
    {"table.sort(bit)", "bit is read-only"},
    {"table.remove(bit)", "bit is read-only"},
    {"tide.send = nil", "tidegate is read-only"},
    {"rawset(tide, 'send', nil)", "tidegate is read-only"},
    {"time.sleep = nil", "tidegate.time is read-only"},
    {"local m = getmetatable('') m.__index = nil", "attempt to index"},
    {"getmetatable(string).__index.format = nil", "attempt to index"},
    {"getmetatable(_G).__index = nil", "attempt to index"},
    {"getmetatable(tide.options).__index = nil", "attempt to index"},
    {"setmetatable({}, string)", "cannot be a metatable"},
    {"tide.options.x = 1", "read-only"},
    {"rawset(tide.options, 'x', 1)", "read-only"},
    {"setmetatable(tide.options, {})", "cannot be changed"},
    {"table.insert(tide.options, 1)", "read-only"},
    {"table.sort(tide.options)", "read-only"},
    /* code */
    {"assert(load('\\27LJ\\2\\10'))", "attempt to load chunk with wrong mode"},
    {"assert(loadstring('\\27LJ\\2\\10'))", "attempt to load chunk with wrong mode"},
    {"assert(load('\\27LJ', 'x', 'b'))", "wrong mode"},
    {"assert(load(function() return '\\27LJ' end))", "attempt to load chunk with wrong mode"},
    {"load('x = 1')()", "cannot set the global \"x\""},
    {"load('return io')()", "io is not available"},
    {"loadstring('return dofile')()", "dofile is not available"},
    /* sizes */
    {"local s = ('x'):rep(1e9)", "string.rep: the result would be larger than 16MiB"},
    {"local s = string.rep('x', 1e9)", "larger than 16MiB"},
    {"local s = string.rep('', 1e9, 'xy')", "larger than 16MiB"},
    {"local s = string.rep('x', math.huge)", "larger than 16MiB"},
    {"local s = string.format('%999d', 1)", "invalid"},
    {"local s = string.format('%.999f', 1)", "invalid"},
    /* what LuaJIT raises still names the caller's line and function */
    {"table.insert(nil, 1)", "bad argument #1 to 'insert' (table expected, got nil)"},
    {"table.concat({{}})", "invalid value (table) at index 1"},
    {"table.sort({1, 2, 3}, 5)", "bad argument #2 to 'sort'"},
    {"string.rep({}, 1)", "bad argument #1 to 'rep' (string expected, got table)"},
    {"setmetatable(1, {})", "bad argument #1 to 'setmetatable' (table expected, got number)"},
    {"setmetatable({}, 1)", "bad argument #2 to 'setmetatable' (nil or table expected)"},
    {"setmetatable(setmetatable({}, {__metatable = 1}), {})",
     "cannot change a protected metatable"},
    {"local a = unpack(nil)", "bad argument #1 to 'unpack' (table expected, got nil)"},
    {"local a = unpack({}, 1, 1e6)", "too many results to unpack"},
    {"for k in pairs(nil) do end", "bad argument #1 to 'pairs' (table expected, got nil)"},
    {"for k in ipairs() do end", "bad argument #1 to 'ipairs'"},
    {"load({})", "bad argument #1 to 'load'"},
};

static void what_is_forbidden_raises_with_a_hint(void **state)
{
    (void)state;
    assert_true(sizeof forbidden / sizeof forbidden[0] >= 60);
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        fixture_run(&fx, forbidden[i].body);
        if (fx.outcome != TG_CALL_ERROR || strstr(fx.text, forbidden[i].text) == NULL)
            fail_msg("%s: %s \"%s\"", forbidden[i].body, tg_call_outcome_names[fx.outcome],
                     fx.text);
        if (strstr(fx.text, "policy.lua:1: ") == NULL && strncmp(fx.text, "[string", 7) != 0)
            fail_msg("%s: no line in \"%s\"", forbidden[i].body, fx.text);
    }
}

/* Each row returns true. */
static const char *const allowed[] = {
    "return type(print) == 'function' and type(string) == 'table'",
    "return ('a,b'):gsub(',', ';') == 'a;b' and ('x'):upper() == 'X' and #('x'):rep(3) == 3",
    "return string.rep('', 1e9) == '' and ('ab'):rep(3, '-') == 'ab-ab-ab'",
    "return math.floor(1.5) == 1 and math.pi > 3 and math.random() ~= math.random()",
    "return bit.band(7, 2) == 2",
    "return type(os.time()) == 'number' and type(os.date()) == 'string' and os.clock() > 0",
    "return debug.traceback('x'):find('^x\\nstack traceback') ~= nil",
    ("local t = {3, 1, 2} table.sort(t) table.insert(t, 4) return table.concat(t, ',') == "
     "'1,2,3,4' "
     "and table.remove(t) == 4"),
    "local n = 0 for k, v in pairs({a = 1, b = 2}) do n = n + v end return n == 3",
    "local n = 0 for i, v in ipairs({1, 2, nil, 4}) do n = n + i * v end return n == 5",
    "local n = 0 for k in pairs(string) do n = n + 1 end return n == 13",
    "local n = 0 for k, v in next, table do n = n + 1 end return n == 6",
    ("local seen for k, v in pairs(_G) do if k == 'print' then seen = v end end return seen == "
     "print"),
    ("return rawget(_G, 'nothing') == nil and rawget(_G, 'print') == print and rawget(string, "
     "'rep') ~= nil"),
    "return _G._G == _G and _VERSION == 'Lua 5.1'",
    "return string.foo == nil and table.whatever == nil",
    "return next(setmetatable({}, {})) == nil and select('#', unpack({1, 2, 3})) == 3",
    ("return getmetatable('') == false and getmetatable(string) == false and getmetatable(_G) == "
     "false"),
    "local m = {} return getmetatable(setmetatable({}, m)) == m",
    "return load('return 1 + 1')() == 2 and loadstring('return ...')(5) == 5",
    ("return load('return x', 'name', 't', {x = 9})() == 9 and load('return x', 'n', 'b', {x = "
     "8})() == 8"),
    "local f, e = load('x x', '=name') return f == nil and e:find('^name:1:') ~= nil",
    ("local parts = {'return ', '4', '2'} local i = 0 "
     "return load(function() i = i + 1 return parts[i] end)() == 42"),
    "return load('return print')() == print and load('return _G')() == _G",
    ("local ok, e = xpcall(error, function(m) return 'h:' .. m end, 'x') return not ok and e == "
     "'h:x'"),
    ("local ok, a, b = xpcall(function(...) return ... end, print, 1, 2) return ok and a == 1 and "
     "b "
     "== 2"),
    "return not pcall(xpcall, print)",
    ("return rawequal(print, print) and not rawequal({}, {}) and rawequal(tide.options, "
     "tide.options)"),
    "return require('tidegate') == tide and require('tidegate.time') == time",
    ("return select(2, pcall(next, {}, 'no such key')) ~= nil and not pcall(pairs) and not "
     "pcall(type)"),
    "return tostring(nil) == 'nil' and tonumber('0x10') == 16",
};

static void what_is_allowed_works(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        fixture_run(&fx, allowed[i]);
        if (fx.outcome != TG_CALL_OK || strcmp(fx.result, "true") != 0)
            fail_msg("%s: %s %s", allowed[i], fx.result, fx.text);
    }
}

/* tide.options is a view of { list = {10, 20, 30}, sub = { name = "n" } }, near enough: options are no
 * lists, so the list is one of fields. */
static const char *const through_views[] = {
    "return type(tide.options) == 'table' and type(tide.options.sub) == 'table'",
    "local n = 0 for k, v in pairs(tide.options) do n = n + 1 end return n == 2",
    ("for k, v in pairs(tide.options) do if k == 'sub' then return v.name == 'n' and "
     "not pcall(function() v.name = 1 end) end end"),
    ("return next(tide.options.sub) == 'name' and select(2, next(tide.options.sub)) == 'n' "
     "and next(tide.options.sub, 'name') == nil"),
    "return rawget(tide.options, 'top') == 1 and not pcall(rawset, tide.options, 'top', 2)",
    "return rawget(tide.options, 'sub') == tide.options.sub",
    "local o = rawget(tide.options, 'sub') return not pcall(rawset, o, 'x', 1)",
    "return select('#', unpack(tide.options)) == 0 and unpack(tide.options, 1, 2) == nil",
    "return table.concat(tide.options) == '' and #tide.options == 0",
    "for i in ipairs(tide.options) do return false end return true",
    "local f, s = pairs(tide.options) return s == tide.options",
    "return getmetatable(tide.options) == false",
    ("return #tide.server.listen == 2 and tide.server.listen[2] == 'unix:/x' and "
     "#tide.server.allowed_origins == 0 and not pcall(function() tide.server.listen[1] = '' end)"),
    "return tide.server.client_auth == 'optional'",
};

static void functions_see_through_views(void **state)
{
    static const struct tg_script_option options[] = {
        {.path = "sub.name", .kind = TG_SCRIPT_OPTION_STRING, .text = "n"},
        {.path = "top", .kind = TG_SCRIPT_OPTION_NUMBER, .text = "1"},
    };
    (void)state;
    fx.env.options = options;
    fx.env.option_count = 2;
    static const char *const listen[] = {"127.0.0.1:1", "unix:/x"};
    fx.env.server.listen = (struct tg_script_texts){listen, 2};
    fx.env.server.client_auth = "optional";
    for (size_t i = 0; i < sizeof through_views / sizeof through_views[0]; i++) {
        fixture_run(&fx, through_views[i]);
        if (fx.outcome != TG_CALL_OK || strcmp(fx.result, "true") != 0)
            fail_msg("%s: %s %s", through_views[i], fx.result, fx.text);
    }
}

static void print_goes_to_the_log(void **state)
{
    (void)state;
    log_capture_start();
    fixture_run(&fx,
                "print('a', 1, nil, setmetatable({}, {__tostring = function() return 'T' end}))");
    assert_true(log_capture_has("policy.print text=\"a\\t1\\tnil\\tT\""));
    fixture_run(&fx, "print(setmetatable({}, {__tostring = function() return 1 end}))");
    assert_int_equal(fx.outcome, TG_CALL_ERROR);
    log_capture_stop();
}

static void states_share_no_random_sequence(void **state)
{
    char first[64];
    (void)state;
    fixture_run(&fx, "return math.random()");
    memcpy(first, fx.result, sizeof first);
    first[sizeof first - 1] = '\0';
    fixture_run(&fx, "return math.random()");
    assert_string_not_equal(first, fx.result);
}

static void strings_cannot_be_poisoned_for_others(void **state)
{
    (void)state;
    fixture_run(&fx, "pcall(function() getmetatable('').__index.upper = print end) "
                     "pcall(function() string.upper = print end) "
                     "pcall(rawset, string, 'upper', print) return ('x'):upper()");
    assert_string_equal(fx.result, "X");
}

static void upvalues_of_one_call_are_seen_by_the_next_but_globals_never(void **state)
{
    (void)state;
    fixture_load_body(&fx, "policy._n = (policy._n or 0) + 1 return policy._n, rawget(_G, 'n')");
    assert_null(fixture_call(&fx, 0));
    assert_null(fixture_call(&fx, 0));
    assert_string_equal(fx.result, "2");
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_prestate_setup_teardown(name, fixture_setup, fixture_teardown, &fx)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_forbidden_raises_with_a_hint),
        TEST(what_is_allowed_works),
        TEST(functions_see_through_views),
        TEST(print_goes_to_the_log),
        TEST(states_share_no_random_sequence),
        TEST(strings_cannot_be_poisoned_for_others),
        TEST(upvalues_of_one_call_are_seen_by_the_next_but_globals_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
