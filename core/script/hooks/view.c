/* view.c - read-only tables: a userdata in front of a table that scripts cannot reach.
 *
 * The table is the userdata's environment. Views of nested tables are made when they are read and
 * remembered in a table with weak values, so that reading a field twice gives the same object and
 * comparing two reads works as on a plain table.
 *
 * I1  No metamethod of ours hands out the table itself.
 * I2  A nested view carries the path and the connection of the view it was read from.
 */
#include "script/hooks/view.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/utf8.h"
#include "connection/connection.h"
#include "script/policy/generation.h"
#include "script/policy/path.h"

#define PATH_MAX_BYTES 96

struct view {
    uint64_t conn_serial; /* 0: nobody's */
    char path[];          /* "conn.identity.roles" */
};

static char metatable_key;
static char nested_key; /* table -> its view */

static void push_registry(lua_State *L, char *key)
{
    lua_pushlightuserdata(L, key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

static struct view *view_at(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
        return NULL;
    push_registry(L, &metatable_key);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same ? lua_touserdata(L, index) : NULL;
}

/* Replaces the table on top by a new view of it. */
static void wrap(lua_State *L, const char *path, uint64_t conn_serial)
{
    size_t len = strlen(path);
    struct view *view = lua_newuserdata(L, sizeof *view + len + 1);
    view->conn_serial = conn_serial;
    memcpy(view->path, path, len + 1);
    push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
    lua_insert(L, -2);
    lua_setfenv(L, -2);
}

/* "conn.identity" and the key at `key_index` -> "conn.identity.roles". */
static void child_path(lua_State *L, const struct view *parent, int key_index,
                       char out[PATH_MAX_BYTES])
{
    size_t used = strnlen(parent->path, PATH_MAX_BYTES - 40);
    memcpy(out, parent->path, used);
    tg_path_append_key(L, key_index, out + used, PATH_MAX_BYTES - used);
}

/* The key is at -2, the value on top: a table there becomes a view. */
static void wrap_nested(lua_State *L, const struct view *parent)
{
    if (!lua_istable(L, -1))
        return;
    push_registry(L, &nested_key);
    lua_pushvalue(L, -2);
    lua_rawget(L, -2);
    if (lua_isnil(L, -1)) {
        char path[PATH_MAX_BYTES];
        lua_pop(L, 1);
        child_path(L, parent, lua_gettop(L) - 2, path);
        lua_pushvalue(L, -2);
        wrap(L, path, parent->conn_serial); /* key, table, cache, view */
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -2);
        lua_rawset(L, -4);
    }
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static const struct view *check_view(lua_State *L, int index)
{
    const struct view *view = view_at(L, index);
    if (view == NULL)
        luaL_error(L, "a read-only table expected, got %s", luaL_typename(L, index));
    return view;
}

static int l_view_index(lua_State *L)
{
    check_view(L, 1);
    lua_settop(L, 2);
    tg_view_get(L, 1);
    return 1;
}

static int l_view_newindex(lua_State *L)
{
    char key[64];
    check_view(L, 1);
    tg_path_key_text(L, 2, key, sizeof key);
    lua_settop(L, 3);
    return tg_view_refuse_write(L, 1, key);
}

static int l_view_len(lua_State *L)
{
    check_view(L, 1);
    lua_getfenv(L, 1);
    lua_pushnumber(L, (lua_Number)lua_objlen(L, -1));
    return 1;
}

static int l_view_tostring(lua_State *L)
{
    lua_pushfstring(L, "%s (read-only)", check_view(L, 1)->path);
    return 1;
}

static const luaL_Reg metamethods[] = {
    {"__index", l_view_index},
    {"__newindex", l_view_newindex},
    {"__len", l_view_len},
    {"__tostring", l_view_tostring},
    {NULL, NULL},
};

void tg_view_open(lua_State *L)
{
    lua_pushlightuserdata(L, &metatable_key);
    lua_createtable(L, 0, 6);
    for (const luaL_Reg *row = metamethods; row->name != NULL; row++) {
        lua_pushcfunction(L, row->func);
        lua_setfield(L, -2, row->name);
    }
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_rawset(L, LUA_REGISTRYINDEX);

    lua_pushlightuserdata(L, &nested_key);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v"); /* a view holds its table, so weak keys would never let go */
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void tg_view_wrap(lua_State *L, const char *name, uint64_t conn_serial)
{
    wrap(L, name, conn_serial);
}

bool tg_view_is(lua_State *L, int index)
{
    return view_at(L, index) != NULL;
}

void tg_view_unwrap(lua_State *L, int index)
{
    lua_getfenv(L, index);
}

int tg_view_next(lua_State *L, int index)
{
    const struct view *view = lua_touserdata(L, index);
    luaL_checkstack(L, 6, "view");
    lua_getfenv(L, index);
    lua_insert(L, -2);
    if (lua_next(L, -2) == 0) {
        lua_pop(L, 1);
        return 0;
    }
    wrap_nested(L, view);
    lua_remove(L, -3);
    return 1;
}

void tg_view_get(lua_State *L, int index)
{
    const struct view *view = lua_touserdata(L, index);
    luaL_checkstack(L, 6, "view");
    lua_getfenv(L, index);
    lua_pushvalue(L, -2);
    lua_rawget(L, -2); /* key, table, value */
    lua_remove(L, -2);
    wrap_nested(L, view);
    lua_remove(L, -2);
}

/* The value at `index` as a log line may show it. */
static const char *value_text(lua_State *L, int index)
{
    int type = lua_type(L, index);
    if (type == LUA_TSTRING || type == LUA_TNUMBER) {
        lua_pushvalue(L, index);
        return lua_tostring(L, -1);
    }
    if (type == LUA_TBOOLEAN)
        return lua_toboolean(L, index) ? "true" : "false";
    return lua_typename(L, type);
}

static void tampered(lua_State *L, const struct view *view, int index, const char *key,
                     const char *field)
{
    struct tg_generation *generation = tg_generation_of(L);
    struct tg_conn *conn = NULL;
    int value = lua_gettop(L);
    if (generation != NULL && generation->env->hub != NULL)
        conn = tg_hub_find_serial(generation->env->hub, view->conn_serial);
    if (conn == NULL)
        return;
    const char *offered = key == NULL ? "a metatable" : value_text(L, value);
    const char *actual = "none";
    if (key != NULL) {
        lua_getfenv(L, index);
        lua_getfield(L, -1, key);
        actual = value_text(L, lua_gettop(L));
    }
    tg_conn_tampered(conn, field, actual, offered);
}

int tg_view_refuse_write(lua_State *L, int index, const char *key)
{
    const struct view *view = view_at(L, index);
    char field[PATH_MAX_BYTES + 64];
    if (index < 0 && index > LUA_REGISTRYINDEX)
        index += lua_gettop(L) + 1;
    luaL_checkstack(L, 8, "view");
    if (key == NULL)
        snprintf(field, sizeof field, "%s's metatable", view->path);
    else
        snprintf(field, sizeof field, "%s.%s", view->path, key);
    if (view->conn_serial != 0)
        tampered(L, view, index, key, field);
    luaL_where(L, 1);
    lua_pushfstring(L,
                    "%s cannot be changed: %s is read-only (tide.copy makes a table of your own)",
                    field, view->path);
    lua_concat(L, 2);
    return lua_error(L);
}
