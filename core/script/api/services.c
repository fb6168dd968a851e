/* services.c - see services.h. How the checks are run is in lua/tidegate/_services.lua; what they found is
 * kept by the connection, where agents and hooks of every version see it.
 */
#include "script/api/services.h"

#include <lauxlib.h>
#include <lua.h>

#include "connection/connection.h"
#include "script/api/api.h"
#include "script/api/conn.h"
#include "script/api/json.h"
#include "script/hooks/view.h"
#include "script/plain.h"
#include "script/policy/generation.h"
#include "script/policy/loader.h"
#include "script/sandbox/sandbox.h"

#define FOUND_BYTES_MAX ((size_t)64 << 10)
#define CHECK_SECONDS_MAX 5.0

/* keep(conn, found) */
static int l_services_keep(lua_State *L)
{
    struct tg_error error;
    const struct tg_conn_ref *ref = tg_conn_check(L, 1);
    struct tg_buffer *bytes = tg_lua_json_scratch(L);
    if (tg_plain_encode(L, 2, "services", FOUND_BYTES_MAX, bytes, &error) != TG_ERR_OK)
        return luaL_error(L, "%s", error.text);
    struct tg_conn *conn = tg_api_conn(L, ref->id.serial);
    if (conn != NULL &&
        tg_conn_store_services(conn, tg_buffer_head(bytes), bytes->len) != TG_ERR_OK)
        return luaL_error(L, "not enough memory");
    return 0;
}

/* Half of what the whole hook may take: one that hangs is missing, and does not end the connection. */
static double seconds_for_checks(lua_State *L)
{
    double half = (double)tg_api_env(L)->wall_budget_ms / 2000;
    return half > 0 && half < CHECK_SECONDS_MAX ? half : CHECK_SECONDS_MAX;
}

int tg_services_build(lua_State *L, int services, int prepare_ref)
{
    luaL_checkstack(L, 10, "services");
    tg_loader_push_private(L, "tidegate/_services.lua");
    tg_sandbox_push_library(L);
    tg_loader_push_library(L, "tidegate");
    tg_loader_push_library(L, "tidegate.time");
    lua_pushcfunction(L, l_services_keep);
    lua_pushnumber(L, seconds_for_checks(L));
    lua_pushvalue(L, services);
    if (prepare_ref == LUA_NOREF)
        lua_pushnil(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, prepare_ref);
    lua_call(L, 7, 1);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

void tg_services_push(lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn)
{
    struct tg_blob found = tg_conn_services(conn);
    (void)self;
    if (found.data == NULL)
        lua_newtable(L); /* none was asked for yet */
    else
        tg_plain_push(L, found.data, found.len);
    tg_view_wrap(L, "conn.services", ref->id.serial);
}
