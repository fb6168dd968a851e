/* conn_fields.c - what scripts read of a connection: conn.identity, conn.request and so on.
 *
 * What was decoded for scripts is kept in the userdata's environment, beside the bytes it was decoded from, so
 * that a new identity shows at once, also in an older generation.
 */
#include "script/api/conn_fields.h"

#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "connection/connection.h"
#include "script/api/services.h"
#include "script/api/session.h"
#include "script/hooks/credentials.h"
#include "script/hooks/view.h"
#include "script/plain.h"

/* --- cached views ------------------------------------------------------------------------------ */

static bool same_bytes(lua_State *L, struct tg_blob blob)
{
    size_t len = 0;
    const char *data = lua_tolstring(L, -1, &len);
    return data != NULL && len == blob.len && memcmp(data, blob.data, len) == 0;
}

/* Pushes a view of plain data, decoded again only when the bytes have changed. */
static void push_blob(lua_State *L, const struct tg_conn_ref *ref, int self, struct tg_blob blob,
                      int slot, const char *name)
{
    if (blob.data == NULL) {
        lua_pushnil(L);
        return;
    }
    lua_getfenv(L, self);
    lua_rawgeti(L, -1, slot + 1);
    bool fresh = same_bytes(L, blob);
    lua_pop(L, 1);
    if (!fresh) {
        tg_plain_push(L, blob.data, blob.len);
        if (lua_istable(L, -1))
            tg_view_wrap(L, name, ref->id.serial);
        lua_rawseti(L, -2, slot);
        lua_pushlstring(L, (const char *)blob.data, blob.len);
        lua_rawseti(L, -2, slot + 1);
    }
    lua_rawgeti(L, -1, slot);
    lua_remove(L, -2);
}

static void push_identity(lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn)
{
    push_blob(L, ref, self, tg_conn_identity(conn), TG_CONN_IDENTITY, "conn.identity");
}

static void push_context(lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn)
{
    push_blob(L, ref, self, tg_conn_context(conn), TG_CONN_CONTEXT, "conn.context");
}

static void push_request(lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn)
{
    const struct tg_request *request = tg_conn_request(conn);
    if (request == NULL) {
        lua_pushnil(L);
        return;
    }
    lua_getfenv(L, self);
    lua_rawgeti(L, -1, TG_CONN_REQUEST);
    if (lua_isnil(L, -1)) {
        char remote[TG_ADDRESS_SIZE];
        lua_pop(L, 1);
        tg_conn_remote(conn, remote);
        tg_request_push(L, request, remote);
        tg_view_wrap(L, "request", ref->id.serial);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, TG_CONN_REQUEST);
    }
    lua_remove(L, -2);
}

/* --- other fields ------------------------------------------------------------------------------ */

static void push_id(lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn)
{
    (void)self;
    (void)conn;
    lua_pushlstring(L, tg_conn_ref_text(ref), TG_CONN_ID_LEN);
}

static void push_state(lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn)
{
    (void)ref;
    (void)self;
    lua_pushstring(L, tg_state_names[tg_conn_state(conn)]);
}

static void push_user_id(lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn)
{
    (void)ref;
    (void)self;
    lua_pushstring(L, tg_conn_user_id(conn)); /* NULL pushes nil */
}

static void push_connected_at(lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn)
{
    (void)ref;
    (void)self;
    lua_pushnumber(L, (lua_Number)tg_conn_connected_at_ms(conn) / 1000);
}

static void push_policy_version(lua_State *L, struct tg_conn_ref *ref, int self,
                                struct tg_conn *conn)
{
    (void)ref;
    (void)self;
    lua_pushstring(L, tg_conn_policy_version(conn));
}

const struct tg__conn_field tg__conn_fields[TG__CONN_FIELDS] = {
    {"id", true, push_id},
    {"state", false, push_state},
    {"user_id", false, push_user_id},
    {"identity", false, push_identity},
    {"context", false, push_context},
    {"request", false, push_request},
    {"connected_at", false, push_connected_at},
    {"policy_version", false, push_policy_version},
    {"session", false, tg_session_push},
    {"services", false, tg_services_push},
};

const struct tg__conn_field *tg__conn_field_find(const char *name)
{
    for (size_t i = 0; i < TG__CONN_FIELDS; i++) {
        if (strcmp(tg__conn_fields[i].name, name) == 0)
            return &tg__conn_fields[i];
    }
    return NULL;
}

void tg_conn_push_identity(lua_State *L, struct tg_conn *conn)
{
    tg_conn_push(L, conn);
    push_identity(L, lua_touserdata(L, -1), lua_gettop(L), conn);
    lua_remove(L, -2);
}

void tg_conn_push_context(lua_State *L, struct tg_conn *conn)
{
    tg_conn_push(L, conn);
    push_context(L, lua_touserdata(L, -1), lua_gettop(L), conn);
    lua_remove(L, -2);
}
