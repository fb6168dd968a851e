/* frozen.c - library tables that scripts read and cannot change.
 *
 * The metatable of a frozen table carries the readable table under a private key, which is how the
 * sandbox's pairs and next find it. Where a table holds other tables, the readable one is a copy with
 * these frozen, and what is added later is found behind it.
 *
 * I1  No script reaches a readable table: it only stands in the metatable, which is locked.
 */
#include "script/sandbox/frozen.h"

#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>

#define NAME_SIZE 96

static char readable_key; /* in the metatable: the table behind */
static char name_key;     /* in the metatable: what errors call it */
static char frozen_key;   /* registry: table -> its frozen one */

int tg_frozen_refuse_write(struct lua_State *L, int index)
{
    (void)lua_getmetatable(L, index);
    lua_pushlightuserdata(L, &name_key);
    lua_rawget(L, -2);
    return luaL_error(L,
                      "%s is read-only: a policy cannot change the library; keep your own "
                      "functions in a table of your own",
                      lua_tostring(L, -1));
}

static int l_frozen_newindex(lua_State *L)
{
    return tg_frozen_refuse_write(L, 1);
}

void tg_frozen_open(struct lua_State *L)
{
    lua_pushlightuserdata(L, &frozen_key);
    lua_newtable(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void tg_frozen_wrap_with(struct lua_State *L, const char *name)
{
    lua_newtable(L); /* readable, newindex, frozen */
    lua_createtable(L, 0, 5);
    lua_pushvalue(L, -4);
    lua_setfield(L, -2, "__index");
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushlightuserdata(L, &readable_key);
    lua_pushvalue(L, -5);
    lua_rawset(L, -3);
    lua_pushlightuserdata(L, &name_key);
    lua_pushstring(L, name);
    lua_rawset(L, -3);
    lua_setmetatable(L, -2);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static bool is_plain_table(lua_State *L, int index)
{
    if (!lua_istable(L, index))
        return false;
    if (!lua_getmetatable(L, index))
        return true;
    lua_pop(L, 1);
    return false;
}

static bool holds_tables(lua_State *L, int table)
{
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        if (is_plain_table(L, -1)) {
            lua_pop(L, 2);
            return true;
        }
        lua_pop(L, 1);
    }
    return false;
}

/* Pushes an empty table that falls back on the table. */
static void push_fallback(lua_State *L, int table)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, table);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

/* Copies the table into `copy`, with the tables in it frozen. */
static void copy_frozen(lua_State *L, int table, int copy, const char *name)
{
    char inner[NAME_SIZE];

    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        if (is_plain_table(L, -1)) {
            (void)snprintf(inner, sizeof inner, "%s.%s", name,
                           lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?");
            tg_frozen_wrap(L, inner);
        }
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, copy);
    }
}

/* Pushes the frozen table of `table` and remembers it in `cache`, before its content is made: a table
 * that holds itself finds it. */
static void push_frozen(lua_State *L, int table, int cache, const char *name)
{
    bool copied = holds_tables(L, table);

    if (copied)
        push_fallback(L, table);
    else
        lua_pushvalue(L, table);
    int readable = lua_gettop(L);
    lua_pushvalue(L, readable);
    lua_pushcfunction(L, l_frozen_newindex);
    tg_frozen_wrap_with(L, name);
    lua_pushvalue(L, table);
    lua_pushvalue(L, -2);
    lua_rawset(L, cache);
    if (copied)
        copy_frozen(L, table, readable, name);
}

void tg_frozen_wrap(struct lua_State *L, const char *name)
{
    int table = lua_gettop(L);

    luaL_checkstack(L, 16, "library");
    if (tg_frozen_is(L, table))
        return;
    lua_pushlightuserdata(L, &frozen_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, table);
    lua_rawget(L, table + 1);
    if (lua_isnil(L, -1))
        push_frozen(L, table, table + 1, name);
    lua_replace(L, table);
    lua_settop(L, table);
}

bool tg_frozen_is(struct lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return false;
    lua_pushlightuserdata(L, &readable_key);
    lua_rawget(L, -2);
    bool frozen = !lua_isnil(L, -1);
    lua_pop(L, 2);
    return frozen;
}

void tg_frozen_unwrap(struct lua_State *L, int index)
{
    (void)lua_getmetatable(L, index);
    lua_pushlightuserdata(L, &readable_key);
    lua_rawget(L, -2);
    lua_remove(L, -2);
}
