/* sandbox_library.c - functions of the libraries that need a bound or must know read-only tables; and
 * load, which takes text only.
 *
 * The place for what makes other C functions of LuaJIT answerable to the budget (patterns, sort). The
 * wrappers are in lua/tidegate/_library.lua; here is what only C can answer them.
 */
#include "script/sandbox_internal.h"

#include <stdbool.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/frozen.h"
#include "script/loader.h"
#include "script/view.h"

/* What one string function may make; larger results are mistakes or attacks. */
#define STRING_BYTES_MAX ((size_t)16 << 20)

static int l_is_read_only(lua_State *L)
{
    lua_pushboolean(L, tg_view_is(L, 1) || tg_frozen_is(L, 1));
    return 1;
}

static int l_refuse(lua_State *L)
{
    if (!tg_view_is(L, 1))
        return tg_frozen_refuse_write(L, 1);
    lua_settop(L, 2);
    return tg_view_refuse_write(L, 1, "?");
}

static int l_readable(lua_State *L)
{
    if (tg_view_is(L, 1))
        tg_view_unwrap(L, 1);
    else
        tg_frozen_unwrap(L, 1);
    return 1;
}

/* Bytes of the argument as string.rep takes it; 0 for what it will not take. */
static double length_of(lua_State *L, int index)
{
    int type = lua_type(L, index);

    if (type == LUA_TSTRING)
        return (double)lua_objlen(L, index);
    return type == LUA_TNUMBER ? 32 : 0;
}

/* too_large(s, n, sep): whether string.rep would make more than it may */
static int l_too_large(lua_State *L)
{
    double size = lua_tonumber(L, 2) * (length_of(L, 1) + length_of(L, 3));

    lua_pushboolean(L, size > (double)STRING_BYTES_MAX);
    return 1;
}

static int l_refuse_size(lua_State *L)
{
    return luaL_error(L, "string.rep: the result would be larger than %dMiB",
                      (int)(STRING_BYTES_MAX >> 20));
}

void tg__sandbox_guard_libraries(struct lua_State *L, int globals, int base)
{
    static const luaL_Reg core[] = {
        {"is_read_only", l_is_read_only}, {"refuse", l_refuse},           {"readable", l_readable},
        {"too_large", l_too_large},       {"refuse_size", l_refuse_size}, {NULL, NULL},
    };

    tg_loader_push_private(L, "tidegate/_library.lua");
    lua_pushvalue(L, base);
    lua_getfield(L, globals, "table");
    lua_getfield(L, globals, "string");
    lua_newtable(L);
    for (const luaL_Reg *row = core; row->name != NULL; row++) {
        lua_pushcfunction(L, row->func);
        lua_setfield(L, -2, row->name);
    }
    lua_call(L, 4, 0);
}

static int call_original(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* load(chunk [, name [, mode [, env]]]); upvalues: LuaJIT's own, the globals. */
static int l_load(lua_State *L)
{
    bool has_env = lua_gettop(L) >= 4;

    if (!lua_isfunction(L, 1))
        (void)luaL_checkstring(L, 1);
    (void)luaL_optstring(L, 2, NULL);
    lua_settop(L, 4);
    if (!has_env) {
        lua_pushvalue(L, lua_upvalueindex(2));
        lua_replace(L, 4);
    }
    if (lua_isnil(L, 2) && lua_type(L, 1) == LUA_TSTRING) {
        lua_pushvalue(L, 1);
        lua_replace(L, 2);
    }
    lua_pushliteral(L, "t");
    lua_replace(L, 3);
    return call_original(L);
}

/* loadstring(text [, name]) */
static int l_loadstring(lua_State *L)
{
    (void)luaL_checkstring(L, 1);
    lua_settop(L, 2);
    return l_load(L);
}

void tg__sandbox_add_load(struct lua_State *L, int globals, int base)
{
    static const luaL_Reg rows[] = {{"load", l_load}, {"loadstring", l_loadstring}, {NULL, NULL}};

    for (const luaL_Reg *row = rows; row->name != NULL; row++) {
        lua_getfield(L, base, "load");
        lua_pushvalue(L, -2);
        lua_pushcclosure(L, row->func, 2);
        lua_setfield(L, globals, row->name);
    }
}
