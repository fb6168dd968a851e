/* tide.c - the module `tidegate`: answers that only it can make, and connections by ID.
 *
 * A message for a connection of this worker is sent at once; for one of another worker the call is
 * suspended until that worker has answered, so that both return the same.
 *
 * I1  A malformed ID, one of another process and one that has ended all are "closed": nothing more is
 *     told about connections that a script does not hold.
 */
#include "script/api/tide.h"

#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/utf8.h"
#include "connection/connection.h"
#include "script/api/api.h"
#include "script/api/closing.h"
#include "script/api/json.h"
#include "script/api/options.h"
#include "script/api/task.h"
#include "script/call/call.h"
#include "script/hooks/view.h"
#include "script/host_internal.h"
#include "script/plain.h"

#define COPY_BYTES_MAX ((size_t)2 << 20)

static char marker_key;

/* --- markers ----------------------------------------------------------------------------------- */

const struct tg_marker *tg_marker_at(lua_State *L, int index)
{
    return tg_api_test_userdata(L, index, &marker_key);
}

void tg_reason_copy(char out[TG_REASON_SIZE], const char *text, size_t len)
{
    size_t kept = tg_utf8_cut(text, len, TG_REASON_SIZE - 1);
    for (size_t i = 0; i < kept; i++)
        out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
    out[kept] = '\0';
    if (!tg_utf8_valid(out, kept))
        out[0] = '\0';
}

static int l_marker_tostring(lua_State *L)
{
    static const char *const names[] = {
        [TG_MARKER_REJECT] = "tide.reject",
        [TG_MARKER_NEED_MESSAGE] = "tide.need_message",
        [TG_MARKER_DEGRADED] = "tide.degraded",
    };
    const struct tg_marker *marker = tg_marker_at(L, 1);
    lua_pushstring(L, marker == NULL ? "?" : names[marker->kind]);
    return 1;
}

static const luaL_Reg marker_metamethods[] = {
    {"__tostring", l_marker_tostring},
    {NULL, NULL},
};

void tg_tide_open_types(lua_State *L)
{
    tg_api_set_metatable(L, &marker_key, marker_metamethods);
}

void tg_marker_push(lua_State *L, const struct tg_marker *marker)
{
    struct tg_marker *copy = lua_newuserdata(L, sizeof *copy);
    *copy = *marker;
    tg_api_push_registry(L, &marker_key);
    lua_setmetatable(L, -2);
}

static void set_reason(lua_State *L, int index, struct tg_marker *marker)
{
    size_t len = 0;
    const char *text = lua_tolstring(L, index, &len);
    if (text != NULL)
        tg_reason_copy(marker->reason, text, len);
}

/* tide.reject(status [, reason]): upgrade's no */
static int l_tide_reject(lua_State *L)
{
    lua_settop(L, 2);
    lua_Number status = lua_type(L, 1) == LUA_TNUMBER ? lua_tonumber(L, 1) : 0;
    if (!(status >= 400 && status <= 599) || status != (int)status)
        return luaL_error(L, "tide.reject: an HTTP status from 400 to 599 expected");
    if (!lua_isnil(L, 2) && lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "tide.reject: the reason must be text, got %s",
                          tg_api_type_name(L, 2));
    struct tg_marker marker = {.kind = TG_MARKER_REJECT, .status = (int)status};
    set_reason(L, 2, &marker);
    tg_marker_push(L, &marker);
    return 1;
}

/* tide.need_message(): authenticate wants the client's authenticate message first */
static int l_tide_need_message(lua_State *L)
{
    tg_marker_push(L, &(struct tg_marker){.kind = TG_MARKER_NEED_MESSAGE});
    return 1;
}

/* tide.degraded(why): prepare's "it works, but something is missing" */
static int l_tide_degraded(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_type(L, 1) != LUA_TSTRING || lua_objlen(L, 1) == 0)
        return luaL_error(L, "tide.degraded: say what is missing (text), got %s",
                          tg_api_type_name(L, 1));
    struct tg_marker marker = {.kind = TG_MARKER_DEGRADED};
    set_reason(L, 1, &marker);
    tg_marker_push(L, &marker);
    return 1;
}

/* --- connections by ID ------------------------------------------------------------------------- */

static void cancel_remote(struct tg_call *call, void *wait)
{
    struct tg_host *host = tg__host_of(call->generation);
    (void)tg_map_remove(&host->remote_waits, (uint64_t)(uintptr_t)wait);
}

/* Hands the order to the worker that has the connection and waits for its answer. */
static int order_remote(lua_State *L, const struct tg_remote_order *order)
{
    struct tg_call *call = tg_call_current(L);
    struct tg_host *host = tg__host_of(call->generation);
    struct tg_script_env *env = call->generation->env;
    if (host == NULL || env->post == NULL)
        return tg_api_push_result(L, TG_ERR_CLOSED);
    uint64_t ticket = ++host->next_ticket;
    enum tg_err err = tg_map_put(&host->remote_waits, ticket, call);
    if (err != TG_ERR_OK)
        return tg_api_push_result(L, err);
    err = env->post(env->post_ctx, order, ticket);
    if (err != TG_ERR_OK) {
        (void)tg_map_remove(&host->remote_waits, ticket);
        return tg_api_push_result(L, err == TG_ERR_NOT_FOUND ? TG_ERR_CLOSED : err);
    }
    return tg_call_suspend(L, cancel_remote, (void *)(uintptr_t)ticket);
}

static enum tg_err order_local(struct tg_conn *conn, const struct tg_remote_order *order)
{
    switch (order->what) {
    case TG_REMOTE_TEXT:
        return tg_conn_send_text(conn, order->data, order->len);
    case TG_REMOTE_BINARY:
        return tg_conn_send_binary(conn, order->data, order->len);
    case TG_REMOTE_CLOSE:
        if (!tg_conn_is_open(conn))
            return TG_ERR_CLOSED;
        return tg_conn_close(conn, order->code, order->data);
    }
    return TG_ERR_INVALID;
}

static int give_order(lua_State *L, const struct tg_remote_order *order)
{
    struct tg_script_env *env = tg_api_env(L);
    if (tg_conn_id_worker(order->id.serial) != env->worker)
        return order_remote(L, order);
    struct tg_conn *conn = env->hub == NULL ? NULL : tg_hub_find(env->hub, &order->id);
    return tg_api_push_result(L, conn == NULL ? TG_ERR_CLOSED : order_local(conn, order));
}

/* false: no such connection can exist. */
static bool check_id(lua_State *L, const char *name, struct tg_conn_id *id)
{
    size_t len = 0;
    if (lua_type(L, 1) != LUA_TSTRING)
        luaL_error(L, "%s: a connection ID (text) expected, got %s", name, tg_api_type_name(L, 1));
    const char *text = lua_tolstring(L, 1, &len);
    return tg_conn_id_parse(text, len, id) == TG_ERR_OK;
}

/* tide.send(connection_id, table | string) -> true | nil, why */
static int l_tide_send(lua_State *L)
{
    struct tg_error error;
    struct tg_remote_order order = {.what = TG_REMOTE_TEXT};
    tg_api_contexts(L, "tide.send", TG_IN_CALL);
    bool known = check_id(L, "tide.send", &order.id);
    if (lua_type(L, 2) == LUA_TSTRING) {
        order.data = lua_tolstring(L, 2, &order.len);
        if (!tg_utf8_valid(order.data, order.len))
            return luaL_error(L, "tide.send: text must be UTF-8");
    } else if (lua_istable(L, 2) || tg_view_is(L, 2)) {
        struct tg_buffer *json = tg_lua_json_scratch(L);
        if (tg_lua_json_encode(L, 2, "message", json, &error) != TG_ERR_OK)
            return luaL_error(L, "tide.send: %s", error.text);
        order.data = tg_buffer_head(json);
        order.len = json->len;
    } else {
        return luaL_error(L, "tide.send: a table or text expected, got %s", tg_api_type_name(L, 2));
    }
    return known ? give_order(L, &order) : tg_api_push_result(L, TG_ERR_CLOSED);
}

/* tide.close(connection_id [, code [, reason]]) -> true | nil, why */
static int l_tide_close(lua_State *L)
{
    const char *reason = "";
    struct tg_remote_order order = {.what = TG_REMOTE_CLOSE};
    tg_api_contexts(L, "tide.close", TG_IN_CALL);
    bool known = check_id(L, "tide.close", &order.id);
    order.code = tg_api_check_close(L, "tide.close", 2, &reason);
    order.data = reason;
    order.len = strlen(reason);
    return known ? give_order(L, &order) : tg_api_push_result(L, TG_ERR_CLOSED);
}

static int push_remote_result(lua_State *L)
{
    const enum tg_err *err = lua_touserdata(L, 1);
    return tg_api_push_result(L, *err);
}

void tg_host_remote_done(struct tg_host *host, uint64_t ticket, enum tg_err err)
{
    struct tg_call *call = tg_map_remove(&host->remote_waits, ticket);
    if (err == TG_ERR_NOT_FOUND)
        err = TG_ERR_CLOSED;
    if (call != NULL)
        tg_call_wake(call, push_remote_result, &err);
}

/* --- the rest ---------------------------------------------------------------------------------- */

/* tide.copy(value) -> a table of the script's own */
static int l_tide_copy(lua_State *L)
{
    struct tg_error error;
    luaL_checkany(L, 1);
    struct tg_buffer *bytes = tg_lua_json_scratch(L);
    if (tg_plain_encode(L, 1, "value", COPY_BYTES_MAX, bytes, &error) != TG_ERR_OK)
        return luaL_error(L, "tide.copy: %s", error.text);
    tg_plain_push(L, tg_buffer_head(bytes), bytes->len);
    return 1;
}

static const luaL_Reg functions[] = {
    {"reject", l_tide_reject},     {"need_message", l_tide_need_message},
    {"degraded", l_tide_degraded}, {"send", l_tide_send},
    {"close", l_tide_close},       {"close_user", tg_api_close_user},
    {"copy", l_tide_copy},         {NULL, NULL},
};

int tg_tide_open(lua_State *L)
{
    lua_createtable(L, 0, 10);
    tg_api_set_functions(L, functions);
    tg_task_add_functions(L);
    tg_options_push(L, tg_api_env(L));
    lua_setfield(L, -2, "options");
    tg_options_push_server(L, tg_api_env(L));
    lua_setfield(L, -2, "server");
    lua_pushinteger(L, tg_api_env(L)->worker);
    lua_setfield(L, -2, "worker");
    lua_pushliteral(L, TG_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}
