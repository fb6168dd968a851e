/* sandbox_basic.c - the functions of the base library that read tables, made to see through what stands
 * in front of one: views (view.h) and frozen tables (frozen.h).
 *
 * I1  None of them hands out the table behind: nested tables come through the view or the frozen table.
 * I2  What writes refuses both, and what belongs to a connection is told to that connection.
 *
 * For plain tables, pairs and ipairs return LuaJIT's own iterators, for which the interpreter has
 * shortcuts.
 */
#include "script/sandbox/sandbox_internal.h"

#include <stdbool.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/log.h"
#include "connection/redact.h"
#include "script/api/api.h"
#include "script/api/conn.h"
#include "script/call/call.h"
#include "script/hooks/view.h"
#include "script/policy/generation.h"
#include "script/sandbox/frozen.h"

enum front { PLAIN, VIEW, FROZEN, OTHER };

static enum front front_of(lua_State *L, int index)
{
    int type = lua_type(L, index);

    if (type == LUA_TTABLE)
        return tg_frozen_is(L, index) ? FROZEN : PLAIN;
    return type == LUA_TUSERDATA && tg_view_is(L, index) ? VIEW : OTHER;
}

/* For functions that take a table: raises for what is none. */
static enum front check_table(lua_State *L, int index)
{
    enum front front = front_of(L, index);

    if (front == OTHER)
        luaL_checktype(L, index, LUA_TTABLE);
    return front;
}

static int l_next(lua_State *L)
{
    enum front front = check_table(L, 1);
    bool more;

    lua_settop(L, 2);
    if (front == VIEW) {
        more = tg_view_next(L, 1) != 0;
    } else {
        if (front == FROZEN) {
            tg_frozen_unwrap(L, 1);
            lua_replace(L, 1);
        }
        more = lua_next(L, 1) != 0;
    }
    if (more)
        return 2;
    lua_pushnil(L);
    return 1;
}

/* Upvalues: LuaJIT's next, ours. */
static int l_pairs(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(check_table(L, 1) == PLAIN ? 1 : 2));
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

static int l_ipairs_step(lua_State *L)
{
    lua_Integer i = luaL_checkinteger(L, 2) + 1;

    (void)check_table(L, 1);
    lua_pushinteger(L, i);
    lua_pushinteger(L, i);
    lua_gettable(L, 1);
    return lua_isnil(L, -1) ? 0 : 2;
}

/* Upvalues: LuaJIT's iterator, ours. */
static int l_ipairs(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(check_table(L, 1) == PLAIN ? 1 : 2));
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 0);
    return 3;
}

static int l_type(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_type(L, 1) == LUA_TUSERDATA && tg_view_is(L, 1))
        lua_pushliteral(L, "table");
    else
        lua_pushstring(L, luaL_typename(L, 1));
    return 1;
}

static int l_unpack(lua_State *L)
{
    bool view = check_table(L, 1) == VIEW;

    lua_Integer first = luaL_optinteger(L, 2, 1);
    if (view)
        tg_view_unwrap(L, 1);
    lua_Integer last = luaL_optinteger(L, 3, (lua_Integer)lua_objlen(L, view ? -1 : 1));
    if (first > last)
        return 0;
    if ((double)last - (double)first >= LUAI_MAXCSTACK ||
        !lua_checkstack(L, (int)(last - first) + 8))
        return luaL_error(L, "too many results to unpack");
    for (lua_Integer i = first; i <= last; i++) {
        lua_pushinteger(L, i);
        if (view)
            tg_view_get(L, 1);
        else
            lua_rawget(L, 1);
    }
    return (int)(last - first) + 1;
}

static int l_rawget(lua_State *L)
{
    enum front front = check_table(L, 1);

    lua_settop(L, 2);
    if (front == VIEW) {
        tg_view_get(L, 1);
        return 1;
    }
    if (front == FROZEN) {
        tg_frozen_unwrap(L, 1);
        lua_replace(L, 1);
    }
    lua_rawget(L, 1);
    return 1;
}

/* A write to what is no plain table; raises. key NULL: the metatable. */
static int refuse_write(lua_State *L, enum front front, const char *key)
{
    if (front == VIEW)
        return tg_view_refuse_write(L, 1, key);
    if (front == FROZEN)
        return tg_frozen_refuse_write(L, 1);
    if (tg_conn_is(L, 1))
        return tg_conn_refuse_write(L, 1, key);
    luaL_checktype(L, 1, LUA_TTABLE);
    return 0;
}

static int l_rawset(lua_State *L)
{
    enum front front = front_of(L, 1);

    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (front != PLAIN)
        return refuse_write(L, front, lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?");
    lua_rawset(L, 1);
    return 1;
}

static int l_rawequal(lua_State *L)
{
    luaL_checkany(L, 1);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    for (int i = 1; i <= 2; i++) {
        if (front_of(L, i) == VIEW) {
            tg_view_unwrap(L, i);
            lua_replace(L, i);
        }
    }
    lua_pushboolean(L, lua_rawequal(L, 1, 2));
    return 1;
}

static int l_setmetatable(lua_State *L)
{
    enum front front = front_of(L, 1), meta;

    lua_settop(L, 2);
    if (front != PLAIN)
        return refuse_write(L, front, NULL);
    meta = front_of(L, 2);
    if (meta == FROZEN || meta == VIEW)
        return luaL_error(L, "a read-only table cannot be a metatable");
    luaL_argcheck(L, meta == PLAIN || lua_isnil(L, 2), 2, "nil or table expected");
    if (luaL_getmetafield(L, 1, "__metatable"))
        return luaL_error(L, "cannot change a protected metatable");
    lua_setmetatable(L, 1);
    return 1;
}

static int l_getmetatable(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_type(L, 1) == LUA_TUSERDATA)
        lua_pushboolean(L, 0);
    else if (!luaL_getmetafield(L, 1, "__metatable") && !lua_getmetatable(L, 1))
        lua_pushnil(L);
    return 1;
}

/* The texts from index 1 to `count`, joined; apart, since a buffer takes much of the thread's stack. */
__attribute__((noinline)) static void push_joined(lua_State *L, int count)
{
    luaL_Buffer buffer;

    luaL_buffinit(L, &buffer);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addchar(&buffer, '\t');
        lua_pushvalue(L, i);
        luaL_addvalue(&buffer);
    }
    luaL_pushresult(&buffer);
}

/* Upvalue 1: tostring */
static int l_print(lua_State *L)
{
    int count = lua_gettop(L);

    tg_api_check_nesting(L, 1);
    luaL_checkstack(L, 4, "print");
    for (int i = 1; i <= count; i++) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushvalue(L, i);
        lua_call(L, 1, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            return luaL_error(L, "'tostring' must return a string to 'print'");
        lua_replace(L, i);
    }
    push_joined(L, count);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    const struct tg_call *call = tg_call_current(L);
    const struct tg_conn *conn = call == NULL ? NULL : tg_api_conn(L, call->conn_serial);
    tg_log_about(conn, TG_LOG_INFO, "policy.print", tg_log_strn("text", text, len),
                 tg_log_uint("worker", tg_generation_of(L)->env->worker));
    return 0;
}

static void add_iterators(lua_State *L, int globals, int base)
{
    lua_getfield(L, base, "next");
    lua_pushcfunction(L, l_next);
    lua_pushvalue(L, -1);
    lua_setfield(L, globals, "next");
    lua_pushcclosure(L, l_pairs, 2);
    lua_setfield(L, globals, "pairs");

    lua_getfield(L, base, "ipairs");
    lua_newtable(L);
    lua_call(L, 1, 1); /* its iterator */
    lua_pushcfunction(L, l_ipairs_step);
    lua_pushcclosure(L, l_ipairs, 2);
    lua_setfield(L, globals, "ipairs");
}

void tg__sandbox_add_basic(struct lua_State *L, int globals, int base)
{
    static const luaL_Reg plain[] = {
        {"getmetatable", l_getmetatable},
        {"rawequal", l_rawequal},
        {"rawget", l_rawget},
        {"rawset", l_rawset},
        {"setmetatable", l_setmetatable},
        {"type", l_type},
        {"unpack", l_unpack},
        {NULL, NULL},
    };

    add_iterators(L, globals, base);
    for (const luaL_Reg *row = plain; row->name != NULL; row++) {
        lua_pushcfunction(L, row->func);
        lua_setfield(L, globals, row->name);
    }
    lua_getfield(L, base, "tostring");
    lua_pushcclosure(L, l_print, 1);
    lua_setfield(L, globals, "print");
}
