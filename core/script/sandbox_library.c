/* sandbox_library.c - functions of the libraries that need a bound or must know read-only tables; and
 * load, which takes text only.
 *
 * The place for what makes other C functions of LuaJIT answerable to the budget (patterns, sort): one
 * wrapper and one line in a table below.
 */
#include "script/sandbox_internal.h"

#include <stdbool.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/frozen.h"
#include "script/view.h"

/* What one string function may make; larger results are mistakes or attacks. */
#define STRING_BYTES_MAX ((size_t)16 << 20)

struct wrapper {
    const char *name;
    lua_CFunction function; /* upvalue 1: LuaJIT's own */
};

static int call_original(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static void wrap(lua_State *L, const struct wrapper *rows)
{
    for (; rows->name != NULL; rows++) {
        lua_getfield(L, -1, rows->name);
        lua_pushcclosure(L, rows->function, 1);
        lua_setfield(L, -2, rows->name);
    }
}

/* string.rep(s, n [, sep]) */
static int l_string_rep(lua_State *L)
{
    size_t len, sep_len = 0;

    (void)luaL_checklstring(L, 1, &len);
    lua_Number count = luaL_checknumber(L, 2);
    if (!lua_isnoneornil(L, 3))
        (void)luaL_checklstring(L, 3, &sep_len);
    if (count > 0 && count * (lua_Number)(len + sep_len) > (lua_Number)STRING_BYTES_MAX)
        return luaL_error(L, "string.rep: the result would be larger than %dMiB",
                          (int)(STRING_BYTES_MAX >> 20));
    /* Nothing for ever is as long as nothing once. */
    if (len + sep_len == 0 && count > 1) {
        lua_pushliteral(L, "");
        return 1;
    }
    return call_original(L);
}

/* table.concat(list [, sep [, i [, j]]]); the elements of a view are strings and numbers, so LuaJIT's
 * own may read the table behind it. The size is bounded by script.memory. */
static int l_table_concat(lua_State *L)
{
    if (tg_view_is(L, 1)) {
        tg_view_unwrap(L, 1);
        lua_replace(L, 1);
    } else if (tg_frozen_is(L, 1)) {
        tg_frozen_unwrap(L, 1);
        lua_replace(L, 1);
    }
    return call_original(L);
}

/* insert, remove, sort: they write to their first argument without asking its metatable. */
static int l_table_writer(lua_State *L)
{
    if (tg_view_is(L, 1)) {
        lua_settop(L, 2);
        return tg_view_refuse_write(L, 1, "?");
    }
    if (tg_frozen_is(L, 1))
        return tg_frozen_refuse_write(L, 1);
    return call_original(L);
}

void tg__sandbox_bound_string(struct lua_State *L)
{
    static const struct wrapper rows[] = {{"rep", l_string_rep}, {NULL, NULL}};

    wrap(L, rows);
}

void tg__sandbox_guard_table(struct lua_State *L)
{
    static const struct wrapper rows[] = {
        {"concat", l_table_concat}, {"insert", l_table_writer}, {"remove", l_table_writer},
        {"sort", l_table_writer},   {NULL, NULL},
    };

    wrap(L, rows);
}

/* load(chunk [, name [, mode [, env]]]); upvalues: LuaJIT's own, the globals. */
static int l_load(lua_State *L)
{
    bool has_env = lua_gettop(L) >= 4;

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
