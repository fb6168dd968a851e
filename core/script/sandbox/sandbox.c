/* sandbox.c - the globals of a script state, built from allow-lists.
 *
 * LuaJIT's libraries are opened once into a table that is thrown away; from it the rows below take what
 * is allowed. The library's Lua gets plain tables, policy code gets the same ones frozen, behind globals
 * that are frozen themselves.
 *
 *     policy globals ─(frozen)─> allowed names ─> string, table, … (frozen) ─> the library's tables
 *     library globals ─────────> the same names ─────────────────────────────> the library's tables
 *
 * I1  The state's own global table, from which C functions and stray chunks get their environment, is
 *     empty.
 * I2  Every chunk is loaded as text, and gets one of the two environments or one that a script made.
 * I3  The metatable of strings is locked, and what it points to is only reachable frozen.
 */
#include "script/sandbox/sandbox.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>

#include "base/random.h"
#include "base/suggest.h"
#include "script/call/coroutine.h"
#include "script/policy/loader.h"
#include "script/sandbox/frozen.h"
#include "script/sandbox/sandbox_internal.h"

#define NAMES_MAX 64

static char policy_key;
static char library_key;

static const char *const basic_names[] = {"assert",   "error",    "pcall",    "select",
                                          "tonumber", "tostring", "_VERSION", NULL};

/* NULL: everything that the library has. */
struct library {
    const char *name;
    lua_CFunction open;
    const char *const *allowed;
};

static const char *const string_names[] = {"byte",    "char", "find",  "format", "gmatch",
                                           "gsub",    "len",  "lower", "match",  "rep",
                                           "reverse", "sub",  "upper", NULL};
static const char *const table_names[] = {"concat", "insert", "maxn", "move",
                                          "remove", "sort",   NULL};
static const char *const math_names[] = {
    "abs",   "acos", "asin",  "atan",   "atan2", "ceil", "cos",   "cosh", "deg",  "exp",
    "floor", "fmod", "frexp", "huge",   "ldexp", "log",  "log10", "max",  "min",  "modf",
    "pi",    "pow",  "rad",   "random", "sin",   "sinh", "sqrt",  "tan",  "tanh", NULL};
static const char *const bit_names[] = {"arshift", "band",   "bnot", "bor", "bswap",
                                        "bxor",    "lshift", "rol",  "ror", "rshift",
                                        "tobit",   "tohex",  NULL};
static const char *const os_names[] = {"clock", "date", "difftime", "time", NULL};
static const char *const debug_names[] = {"traceback", NULL};

static const struct library libraries[] = {
    {"string", luaopen_string, string_names},
    {"table", luaopen_table, table_names},
    {"math", luaopen_math, math_names},
    {"bit", luaopen_bit, bit_names},
    {"os", luaopen_os, os_names},
    {"debug", luaopen_debug, debug_names},
};
#define LIBRARIES (sizeof libraries / sizeof libraries[0])

/* --- what is not there -------------------------------------------------------------------------- */

/* A field of a library that it does not have: nil, as in Lua, but with a hint for what was left out. */
static int l_missing_field(lua_State *L)
{
    char name[96];

    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    (void)snprintf(name, sizeof name, "%s.%s", lua_tostring(L, lua_upvalueindex(1)),
                   lua_tostring(L, 2));
    const char *hint = tg__sandbox_hint(name);
    if (hint == NULL)
        return 0;
    return luaL_error(L, "%s is not available in policies; %s", name, hint);
}

static const char *suggest_global(lua_State *L, int names, const char *name)
{
    const char *candidates[NAMES_MAX];
    size_t count = 0;

    lua_pushnil(L);
    while (lua_next(L, names) != 0) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING && count < NAMES_MAX)
            candidates[count++] = lua_tostring(L, -1); /* stays: it is a key of the table */
    }
    return tg_suggest(name, candidates, count);
}

/* The __index of the allowed names. */
static int l_undefined_global(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    const char *name = lua_tostring(L, 2);
    const char *hint = tg__sandbox_hint(name);
    if (hint != NULL)
        return luaL_error(L, "%s is not available in policies; %s", name, hint);
    const char *near = suggest_global(L, 1, name);
    if (near != NULL)
        return luaL_error(L, "undefined global \"%s\"; did you mean \"%s\"?", name, near);
    return luaL_error(L, "undefined global \"%s\"", name);
}

/* Upvalue 1: the allowed names. */
static int l_set_global(lua_State *L)
{
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);

    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1))
        return luaL_error(L, "cannot replace the global \"%s\"", name);
    if (lua_isfunction(L, 3))
        return luaL_error(L,
                          "cannot set the global \"%s\"; write \"local function %s\", or put it in "
                          "a table that a module returns",
                          name, name);
    return luaL_error(L,
                      "cannot set the global \"%s\"; write \"local %s\" (what must outlive a hook "
                      "belongs in conn.session or tidegate.kv)",
                      name, name);
}

static int l_set_library_global(lua_State *L)
{
    return luaL_error(L, "the library sets the global \"%s\"", luaL_checkstring(L, 2));
}

/* --- building ----------------------------------------------------------------------------------- */

/* Calls luaopen_x and pushes what it leaves: the library's table. */
static void push_opened(lua_State *L, lua_CFunction open, const char *name)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
}

/* Pushes a new table with the allowed fields of the table on top, in place of that. */
static void keep_allowed(lua_State *L, const char *const *names)
{
    int from = lua_gettop(L);

    lua_newtable(L);
    for (; *names != NULL; names++) {
        lua_getfield(L, from, *names);
        lua_setfield(L, -2, *names);
    }
    lua_remove(L, from);
}

/* What is missing in the table on top raises by hint. */
static void add_hints(lua_State *L, const char *name)
{
    lua_createtable(L, 0, 1);
    lua_pushstring(L, name);
    lua_pushcclosure(L, l_missing_field, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

/* Methods of strings come from the allowed table; its metatable shows itself to nobody. */
static void seal_strings(lua_State *L)
{
    lua_pushliteral(L, "");
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

/* The table of math is on top. */
static void seed_random(lua_State *L)
{
    lua_getfield(L, -1, "randomseed");
    lua_pushnumber(L, (lua_Number)(tg_random_u64() >> 11));
    lua_call(L, 1, 0);
}

static void push_library(lua_State *L, const struct library *library)
{
    push_opened(L, library->open, library->name);
    if (library->open == luaopen_math)
        seed_random(L);
    keep_allowed(L, library->allowed);
    if (library->open == luaopen_string)
        seal_strings(L);
    add_hints(L, library->name);
}

/* The names that both environments have, into the table at `globals`; libraries unfrozen. */
static void add_names(lua_State *L, int globals, int base)
{
    for (const char *const *name = basic_names; *name != NULL; name++) {
        lua_getfield(L, base, *name);
        lua_setfield(L, globals, *name);
    }
    tg__sandbox_add_basic(L, globals, base);
    for (size_t i = 0; i < LIBRARIES; i++) {
        push_library(L, &libraries[i]);
        lua_setfield(L, globals, libraries[i].name);
    }
    tg__sandbox_use_clock(L, globals);
    tg__sandbox_guard_libraries(L, globals, base);
    tg_coroutine_push(L, base);
    lua_setfield(L, globals, "xpcall");
    lua_setfield(L, globals, "coroutine");
}

static void set_index_error(lua_State *L, lua_CFunction newindex)
{
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, l_undefined_global);
    lua_setfield(L, -2, "__index");
    if (newindex != NULL) {
        lua_pushcfunction(L, newindex);
        lua_setfield(L, -2, "__newindex");
    }
    lua_setmetatable(L, -2);
}

/* Pushes a copy of the names in which the libraries are frozen. */
static void push_frozen_names(lua_State *L, int names)
{
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, names) != 0) {
        if (lua_istable(L, -1))
            tg_frozen_wrap(L, lua_tostring(L, -2));
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

/* Replaces the allowed names on top by the globals of policy code. */
static void freeze_globals(lua_State *L, int base)
{
    int names = lua_gettop(L);

    lua_pushvalue(L, names);
    lua_pushvalue(L, names);
    lua_pushcclosure(L, l_set_global, 1);
    tg_frozen_wrap_with(L, "_G"); /* names, globals */
    lua_pushvalue(L, -1);
    lua_setfield(L, names, "_G");
    tg__sandbox_add_load(L, names, base);
    lua_insert(L, names);
    set_index_error(L, NULL);
    lua_pop(L, 1);
}

static void keep(lua_State *L, char *key)
{
    lua_pushlightuserdata(L, key);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void tg_sandbox_open(struct lua_State *L, bool with_library)
{
    int base = lua_gettop(L) + 1;
    int library = base + 1;

    luaL_checkstack(L, 20, "sandbox");
    (void)luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    tg_frozen_open(L);
    push_opened(L, luaopen_base, "");
    lua_newtable(L);
    add_names(L, library, base);

    push_frozen_names(L, library);
    if (with_library) {
        tg_loader_push_require(L, 0);
        lua_setfield(L, -2, "require");
    } else {
        lua_pushnil(L);
        lua_setfield(L, -2, "print");
    }
    freeze_globals(L, base);
    keep(L, &policy_key);

    if (with_library) {
        tg_loader_push_require(L, 1);
        lua_setfield(L, library, "require");
    }
    lua_pushvalue(L, library);
    tg__sandbox_add_load(L, library, base);
    set_index_error(L, l_set_library_global);
    keep(L, &library_key);

    lua_newtable(L);
    lua_replace(L, LUA_GLOBALSINDEX);
    lua_settop(L, base - 1);
}

void tg_sandbox_push_policy(struct lua_State *L)
{
    lua_pushlightuserdata(L, &policy_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

void tg_sandbox_push_library(struct lua_State *L)
{
    lua_pushlightuserdata(L, &library_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}
