/* session.c - conn.session: a plain Lua table for scripts, plain data in the core.
 *
 * Which sessions a call has read is kept in a table keyed by its coroutine, with weak keys: a call that
 * is dropped takes its entry along.
 */
#include "script/api/session.h"

#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "connection/connection.h"
#include "script/api/api.h"
#include "script/api/conn.h"
#include "script/api/json.h"
#include "script/call/call.h"
#include "script/hooks/view.h"
#include "script/plain.h"

static char touched_key; /* coroutine -> { conn -> true } */

void tg_session_open_type(lua_State *L)
{
    lua_pushlightuserdata(L, &touched_key);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void touch(lua_State *L, struct tg_call *call, int self)
{
    if (call == NULL)
        return;
    call = call->root; /* its tasks share what it has read */
    call->sessions_read = true;
    tg_api_push_registry(L, &touched_key);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->co_ref);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3); /* touched, co, set */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, -5);
    }
    lua_pushvalue(L, self);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 3);
}

/* The userdata's environment is on top. */
static void decode(lua_State *L, struct tg_conn_ref *ref, const struct tg_conn *conn)
{
    struct tg_blob blob = tg_conn_session(conn);
    if (blob.len == 0)
        lua_newtable(L);
    else
        tg_plain_push(L, blob.data, blob.len);
    lua_rawseti(L, -2, TG_CONN_SESSION);
    lua_pushlstring(L, blob.len == 0 ? "" : (const char *)blob.data, blob.len);
    lua_rawseti(L, -2, TG_CONN_SESSION_BYTES);
    ref->session_revision = tg_conn_session_revision(conn);
}

static void push(lua_State *L, struct tg_conn_ref *ref, int self, const struct tg_conn *conn)
{
    lua_getfenv(L, self);
    lua_rawgeti(L, -1, TG_CONN_SESSION);
    if (lua_isnil(L, -1) || ref->session_revision != tg_conn_session_revision(conn)) {
        lua_pop(L, 1);
        decode(L, ref, conn);
        lua_rawgeti(L, -1, TG_CONN_SESSION);
    }
    lua_remove(L, -2);
}

void tg_session_push(lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn)
{
    touch(L, tg_call_current(L), self);
    push(L, ref, self, conn);
}

void tg_session_give(lua_State *L, struct tg_call *call, struct tg_conn *conn)
{
    tg_conn_push(L, conn);
    int self = lua_gettop(L);
    touch(L, call, self);
    push(L, lua_touserdata(L, self), self, conn);
    lua_remove(L, self);
}

/* The table `table` as the session of `conn`, when it differs from what was read or stored last. */
static enum tg_err store(lua_State *L, struct tg_conn_ref *ref, struct tg_conn *conn, int env,
                         int table, struct tg_error *error)
{
    size_t old_len = 0;
    struct tg_buffer *bytes = tg_lua_json_scratch(L);
    size_t max = tg_hub_get_options(tg_conn_hub(conn))->session_bytes;
    enum tg_err err = tg_plain_encode(L, table, "conn.session", max, bytes, error);
    if (err != TG_ERR_OK)
        return err;
    lua_rawgeti(L, env, TG_CONN_SESSION_BYTES);
    const char *old = lua_tolstring(L, -1, &old_len);
    const uint8_t *data = tg_buffer_head(bytes);
    bool same = old != NULL && old_len == bytes->len && memcmp(old, data, old_len) == 0;
    lua_pop(L, 1);
    if (same)
        return TG_ERR_OK;
    lua_pushlstring(L, (const char *)data, bytes->len);
    lua_rawseti(L, env, TG_CONN_SESSION_BYTES);
    err = tg_conn_store_session(conn, data, bytes->len);
    if (err != TG_ERR_OK)
        return tg_error_set(error, err, "conn.session cannot be kept: %s", tg_err_text(err));
    ref->session_revision = tg_conn_session_revision(conn);
    return TG_ERR_OK;
}

int tg_session_replace(lua_State *L, struct tg_conn_ref *ref)
{
    struct tg_error error;
    struct tg_conn *conn = tg_api_conn(L, ref->id.serial);
    if (conn == NULL)
        return 0;
    if (lua_isnil(L, 3)) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    if (!lua_istable(L, 3))
        return luaL_error(L, "conn.session must be a table, got %s%s", tg_api_type_name(L, 3),
                          tg_view_is(L, 3) ? " (tide.copy makes a table of your own)" : "");
    touch(L, tg_call_current(L), 1);
    lua_getfenv(L, 1);
    if (store(L, ref, conn, lua_gettop(L), 3, &error) != TG_ERR_OK)
        return luaL_error(L, "%s", error.text);
    lua_pushvalue(L, 3);
    lua_rawseti(L, -2, TG_CONN_SESSION);
    ref->session_revision = tg_conn_session_revision(conn);
    return 0;
}

/* The conn object is on top. */
static enum tg_err keep_one(lua_State *L, struct tg_error *error)
{
    int top = lua_gettop(L);
    enum tg_err err = TG_ERR_OK;
    struct tg_conn_ref *ref = lua_touserdata(L, top);
    struct tg_conn *conn = tg_api_conn(L, ref->id.serial);
    if (conn == NULL)
        return TG_ERR_OK;
    lua_getfenv(L, top);
    lua_rawgeti(L, top + 1, TG_CONN_SESSION);
    if (lua_istable(L, -1))
        err = store(L, ref, conn, top + 1, top + 2, error);
    lua_settop(L, top);
    return err;
}

struct keeping {
    struct tg_call *call;
    bool ended;
    enum tg_err err;
    struct tg_error *error;
};

/* A builder for tg_call_protect. Goes on after a session that cannot be kept: others may. */
static int keep_all(lua_State *L)
{
    struct tg_error later;
    struct keeping *keeping = lua_touserdata(L, 1);
    lua_settop(L, 0);
    tg_api_push_registry(L, &touched_key);
    lua_rawgeti(L, LUA_REGISTRYINDEX, keeping->call->co_ref);
    lua_pushvalue(L, 2);
    lua_rawget(L, 1);
    if (lua_istable(L, 3)) {
        lua_pushnil(L);
        while (lua_next(L, 3) != 0) {
            lua_pop(L, 1);
            bool first = keeping->err == TG_ERR_OK;
            enum tg_err err = keep_one(L, first ? keeping->error : &later);
            keeping->err = first ? err : keeping->err;
        }
    }
    if (keeping->ended) {
        lua_pushvalue(L, 2);
        lua_pushnil(L);
        lua_rawset(L, 1);
    }
    return 0;
}

enum tg_err tg_session_keep(struct tg_call *call, bool ended, struct tg_error *error)
{
    struct keeping keeping = {.call = call, .ended = ended, .error = error};
    if (tg_call_protect(call->generation, keep_all, &keeping, error) != TG_CALL_OK)
        return TG_ERR_NOMEM;
    return keeping.err;
}
