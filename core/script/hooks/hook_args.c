/* hook_args.c - what each hook is called with: conn first (but for upgrade), then what the hook is about.
 */
#include "script/hooks/hook_args.h"

#include <lauxlib.h>
#include <lua.h>

#include "connection/connection.h"
#include "script/api/conn.h"
#include "script/api/json.h"
#include "script/api/session.h"
#include "script/call/collector.h"
#include "script/hooks/credentials.h"
#include "script/hooks/view.h"

static void push_request(lua_State *L, const struct tg_hook_args *args)
{
    char remote[TG_ADDRESS_SIZE];
    tg_conn_remote(args->conn, remote);
    tg_request_push(L, tg_conn_request(args->conn), remote);
    tg_view_wrap(L, "request", tg_conn_get_id(args->conn)->serial);
}

static void push_credentials(lua_State *L, const struct tg_hook_args *args)
{
    char remote[TG_ADDRESS_SIZE];
    tg_conn_remote(args->conn, remote);
    tg_credentials_push(L, tg_conn_request(args->conn), remote, args->input->data,
                        args->input->len);
    tg_view_wrap(L, "credentials", tg_conn_get_id(args->conn)->serial);
}

static void push_identity(lua_State *L, const struct tg_hook_args *args)
{
    tg_conn_push_identity(L, args->conn);
}

static void push_context(lua_State *L, const struct tg_hook_args *args)
{
    tg_conn_push_context(L, args->conn);
}

static void push_document(lua_State *L, const struct tg_hook_args *args)
{
    tg_lua_json_push(L, args->input->data, args->input->len);
}

static void push_bytes(lua_State *L, const struct tg_hook_args *args)
{
    lua_pushlstring(L, args->input->data == NULL ? "" : args->input->data, args->input->len);
}

static void push_end(lua_State *L, const struct tg_hook_args *args)
{
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, args->input->close_code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, args->input->close_reason == NULL ? "" : args->input->close_reason);
    lua_setfield(L, -2, "reason");
    lua_pushboolean(L, args->input->clean);
    lua_setfield(L, -2, "clean");
    lua_pushstring(L, tg_state_names[args->input->state]);
    lua_setfield(L, -2, "state");
}

static void push_session(lua_State *L, const struct tg_hook_args *args)
{
    tg_session_give(L, args->call, args->conn);
    lua_pushstring(L, args->from_version);
}

static void (*const pushers[TG_HOOKS])(lua_State *L, const struct tg_hook_args *args) = {
    [TG_HOOK_UPGRADE] = push_request,
    [TG_HOOK_AUTHENTICATE] = push_credentials,
    [TG_HOOK_REAUTHENTICATE] = push_credentials,
    [TG_HOOK_CREATE_CONTEXT] = push_identity,
    [TG_HOOK_PREPARE] = push_context,
    [TG_HOOK_ROUTE] = push_document,
    [TG_HOOK_MESSAGE] = push_document,
    [TG_HOOK_BINARY] = push_bytes,
    [TG_HOOK_TEXT] = push_bytes,
    [TG_HOOK_CLOSED] = push_end,
    [TG_HOOK_MIGRATE] = push_session,
};

int tg_hook_args_build(lua_State *L)
{
    const struct tg_hook_args *args = lua_touserdata(L, 1);
    lua_settop(L, 0);
    tg_collector_keep_pace(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, args->function_ref);
    if (args->hook != TG_HOOK_UPGRADE)
        tg_conn_push(L, args->conn);
    pushers[args->hook](L, args);
    return lua_gettop(L);
}
