/* api.c - small things that every file of the script API uses. */
#include "script/api/api.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/suggest.h"
#include "connection/hub.h"
#include "proto/websocket.h"
#include "script/hooks/view.h"
#include "script/policy/generation.h"
#include "script/policy/path.h"

static char classes_key; /* registry: name of a class -> { metatable, its methods' key, fields } */
enum { CLASS_METATABLE = 1, CLASS_METHODS, CLASS_FIELDS };

struct tg_script_env *tg_api_env(lua_State *L)
{
    return tg_generation_of(L)->env;
}

struct tg_conn *tg_api_conn(lua_State *L, uint64_t serial)
{
    struct tg_script_env *env = tg_api_env(L);
    return env->hub == NULL ? NULL : tg_hub_find_serial(env->hub, serial);
}

bool tg_api_out_of_time(lua_State *L)
{
    const struct tg_generation *generation = tg_generation_of(L);
    return generation != NULL && generation->env->meter != NULL &&
           tg_meter_expired(generation->env->meter);
}

int tg_api_raise_out_of_time(lua_State *L)
{
    return tg_meter_raise(tg_api_env(L)->meter, L);
}

void tg_api_check_nesting(lua_State *L, int level)
{
    const struct tg_generation *generation = tg_generation_of(L);

    if (generation->env->meter == NULL || !tg_meter_nests_deeply(generation->env->meter))
        return;
    luaL_where(L, level);
    lua_pushliteral(L, "stack overflow (functions of the library that call each other through "
                       "__tostring, an error handler or the like)");
    lua_concat(L, 2);
    lua_error(L);
}

int tg_api_push_failure(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

int tg_api_push_result(lua_State *L, enum tg_err err)
{
    if (err != TG_ERR_OK)
        return tg_api_push_failure(L, tg_err_text(err));
    lua_pushboolean(L, 1);
    return 1;
}

int tg_api_check_close(lua_State *L, const char *name, int index, const char **reason)
{
    int code = 1000;
    if (!lua_isnoneornil(L, index)) {
        lua_Number number = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : 0;
        code = number >= 1000 && number < 5000 ? (int)number : 0;
        if (code != number || !tg_ws_close_code_valid(code))
            return luaL_error(
                L, "%s: a close code that may be sent expected (1000 or 3000 to 4999)", name);
    }
    if (lua_isnoneornil(L, index + 1)) {
        *reason = "";
    } else if (lua_type(L, index + 1) == LUA_TSTRING) {
        *reason = lua_tostring(L, index + 1);
    } else {
        return luaL_error(L, "%s: the reason must be text, got %s", name,
                          tg_api_type_name(L, index + 1));
    }
    return code;
}

void tg_api_set_functions(lua_State *L, const luaL_Reg *rows)
{
    for (; rows->name != NULL; rows++) {
        lua_pushcfunction(L, rows->func);
        lua_setfield(L, -2, rows->name);
    }
}

void tg_api_value_text(lua_State *L, int index, char *out, size_t size)
{
    int type = lua_type(L, index);
    if (type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN)
        tg_path_key_text(L, index, out, size);
    else
        snprintf(out, size, "%s", tg_api_type_name(L, index));
}

const char *tg_api_type_name(lua_State *L, int index)
{
    int type = lua_type(L, index);
    if (type == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL)
        return "json.null";
    if (type == LUA_TUSERDATA && tg_view_is(L, index))
        return "a read-only table";
    return type == LUA_TNONE ? "nothing" : lua_typename(L, type);
}

const char *tg_api_suggest(const char *key, const char *const *names, size_t count)
{
    const char *near = tg_suggest(key, names, count);
    for (size_t i = 0; near == NULL && strlen(key) > 2 && i < count; i++) {
        if (strncmp(names[i], key, strlen(key)) == 0)
            near = names[i];
    }
    return near;
}

void tg_api_set_metatable(lua_State *L, char *key, const luaL_Reg *metamethods)
{
    lua_pushlightuserdata(L, key);
    lua_createtable(L, 0, 6);
    tg_api_set_functions(L, metamethods);
    lua_pushboolean(L, 0); /* getmetatable shows false, setmetatable refuses */
    lua_setfield(L, -2, "__metatable");
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void tg_api_push_registry(lua_State *L, char *key)
{
    lua_pushlightuserdata(L, key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

static void push_class_records(lua_State *L)
{
    tg_api_push_registry(L, &classes_key);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushlightuserdata(L, &classes_key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void tg_api_declare_class(lua_State *L, const char *name, char *metatable_key, char *methods_key)
{
    int fields = lua_gettop(L);

    push_class_records(L);
    lua_createtable(L, 3, 0);
    tg_api_push_registry(L, metatable_key);
    lua_rawseti(L, -2, CLASS_METATABLE);
    lua_pushlightuserdata(L, methods_key);
    lua_rawseti(L, -2, CLASS_METHODS);
    lua_pushvalue(L, fields);
    lua_rawseti(L, -2, CLASS_FIELDS);
    lua_setfield(L, -2, name);
    lua_settop(L, fields - 1);
}

void tg_api_open_methods(lua_State *L, const char *name, char *metatable_key,
                         const luaL_Reg *metamethods, char *methods_key, const luaL_Reg *methods)
{
    tg_api_set_metatable(L, metatable_key, metamethods);
    lua_pushlightuserdata(L, methods_key);
    lua_newtable(L);
    tg_api_set_functions(L, methods);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    tg_api_declare_class(L, name, metatable_key, methods_key);
}

int tg_api_index_method(lua_State *L, char *methods_key, const char *what, const char *has)
{
    char key[64];

    lua_settop(L, 2);
    tg_api_push_registry(L, methods_key);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    if (!lua_isnil(L, -1))
        return 1;
    tg_api_value_text(L, 2, key, sizeof key);
    return luaL_error(L, "%s has no field \"%s\"; it has %s", what, key, has);
}

int tg_api_raise_outside(lua_State *L, const char *files)
{
    lua_Debug ar;
    size_t len = strlen(files);
    int level = 1;

    lua_settop(L, 1);
    while (lua_getstack(L, level, &ar) != 0 && lua_getinfo(L, "S", &ar) != 0 &&
           (ar.what[0] == 'C' || strncmp(ar.source, files, len) == 0))
        level++;
    luaL_where(L, level);
    lua_insert(L, 1);
    lua_concat(L, 2);
    return lua_error(L);
}

/* Adds the keys of the table on top, if it is one, to the table below it; pops it. */
static void add_keys(lua_State *L)
{
    int from = lua_gettop(L);

    if (lua_istable(L, from)) {
        lua_pushnil(L);
        while (lua_next(L, from) != 0) {
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            lua_pushboolean(L, 1);
            lua_rawset(L, from - 1);
        }
    }
    lua_settop(L, from - 1);
}

void tg_api_push_members(lua_State *L, const char *name)
{
    luaL_checkstack(L, 8, "class");
    push_class_records(L);
    lua_getfield(L, -1, name);
    lua_newtable(L); /* records, record, members */
    if (lua_istable(L, -2)) {
        lua_rawgeti(L, -2, CLASS_FIELDS);
        add_keys(L);
        lua_rawgeti(L, -2, CLASS_METHODS);
        lua_rawget(L, LUA_REGISTRYINDEX);
        add_keys(L);
    }
    lua_replace(L, -3);
    lua_pop(L, 1);
}

void tg_api_push_classes(lua_State *L)
{
    luaL_checkstack(L, 8, "class");
    lua_newtable(L);
    int classes = lua_gettop(L);
    push_class_records(L);
    lua_pushnil(L);
    while (lua_next(L, classes + 1) != 0) {
        lua_rawgeti(L, -1, CLASS_METATABLE);
        lua_setfield(L, classes, lua_tostring(L, -3));
        lua_pop(L, 1);
    }
    lua_settop(L, classes);
}

void *tg_api_test_userdata(lua_State *L, int index, char *key)
{
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
        return NULL;
    tg_api_push_registry(L, key);
    bool same = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return same ? lua_touserdata(L, index) : NULL;
}

void tg_api_push_kept(lua_State *L, int *ref)
{
    int kept = *ref;

    lua_rawgeti(L, LUA_REGISTRYINDEX, kept);
    luaL_unref(L, LUA_REGISTRYINDEX, kept);
    *ref = LUA_NOREF;
}
