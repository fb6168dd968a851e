/* options.c - what scripts see of the configuration: tide.options, and tide.server. */
#include "script/api/options.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/json_marks.h"
#include "script/hooks/view.h"
#include "script/policy/generation.h"

static void push_value(lua_State *L, const struct tg_script_option *option)
{
    switch (option->kind) {
    case TG_SCRIPT_OPTION_STRING:
        lua_pushstring(L, option->text);
        return;
    case TG_SCRIPT_OPTION_NUMBER:
        lua_pushnumber(L, strtod(option->text, NULL));
        return;
    case TG_SCRIPT_OPTION_BOOL:
        lua_pushboolean(L, strcmp(option->text, "true") == 0);
        return;
    }
}

/* The root table is on top. */
static void set_option(lua_State *L, const struct tg_script_option *option)
{
    const char *part = option->path;
    int root = lua_gettop(L);
    lua_pushvalue(L, root);
    for (const char *dot = strchr(part, '.'); dot != NULL; dot = strchr(part, '.')) {
        lua_pushlstring(L, part, (size_t)(dot - part));
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (!lua_istable(L, -1)) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
        }
        lua_replace(L, root + 1);
        lua_settop(L, root + 1);
        part = dot + 1;
    }
    push_value(L, option);
    lua_setfield(L, root + 1, part);
    lua_settop(L, root);
}

void tg_options_push(lua_State *L, const struct tg_script_env *env)
{
    luaL_checkstack(L, 10, "options");
    lua_newtable(L);
    for (size_t i = 0; i < env->option_count; i++)
        set_option(L, &env->options[i]);
    tg_view_wrap(L, "tide.options", 0);
}

static void set_texts(lua_State *L, const char *name, struct tg_script_texts texts)
{
    lua_createtable(L, (int)texts.count, 0);
    for (size_t i = 0; i < texts.count; i++) {
        lua_pushstring(L, texts.items[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    tg_json_mark(L, -1, TG_JSON_MARKED_ARRAY);
    lua_setfield(L, -2, name);
}

void tg_options_push_server(lua_State *L, const struct tg_script_env *env)
{
    luaL_checkstack(L, 10, "server");
    lua_createtable(L, 0, 4);
    set_texts(L, "listen", env->server.listen);
    set_texts(L, "allowed_origins", env->server.allowed_origins);
    set_texts(L, "trusted_proxies", env->server.trusted_proxies);
    lua_pushstring(L, env->server.client_auth);
    lua_setfield(L, -2, "client_auth");
    tg_view_wrap(L, "tide.server", 0);
}
