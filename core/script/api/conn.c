/* conn.c - what scripts see of a connection: the type `conn`.
 *
 * The userdata holds the ID and no pointer: every use asks the hub and may find nothing. What was
 * decoded for scripts is kept in the userdata's environment, beside the bytes it was decoded from, so
 * that a new identity shows at once, also in an older generation.
 *
 * I1  One userdata a connection and state, so conn == conn holds and tables keyed by conn work.
 * I2  Nothing that the core owns can be written; an attempt fails the connection even when the script
 *     catches the error.
 */
#include "script/api/conn.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/utf8.h"
#include "connection/connection.h"
#include "script/api/api.h"
#include "script/api/congestion.h"
#include "script/api/json.h"
#include "script/api/services.h"
#include "script/api/session.h"
#include "script/hooks/credentials.h"
#include "script/hooks/view.h"
#include "script/plain.h"

static char metatable_key;
static char objects_key; /* serial -> userdata, weak values */
static char members_key; /* name -> method, or number of a row in `fields` */

/* conn is at index 1 of the stack, or wherever `self` says. Pushes one value. */
struct field {
    const char *name;
    void (*push)(lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn);
};

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
        lua_pop(L, 1);
        tg_request_push(L, request);
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
    lua_pushlstring(L, ref->text, TG_CONN_ID_LEN);
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

static const struct field fields[] = {
    {"id", push_id},
    {"state", push_state},
    {"user_id", push_user_id},
    {"identity", push_identity},
    {"context", push_context},
    {"request", push_request},
    {"connected_at", push_connected_at},
    {"policy_version", push_policy_version},
    {"session", tg_session_push},
    {"services", tg_services_push},
};
#define FIELDS (sizeof fields / sizeof fields[0])

/* --- methods ----------------------------------------------------------------------------------- */

/* conn:send(table | string) -> true | nil, why */
static int l_conn_send(lua_State *L)
{
    struct tg_error error;
    size_t len = 0;
    struct tg_conn_ref *ref = tg_conn_check(L, 1);
    if (lua_type(L, 2) == LUA_TSTRING) {
        const char *text = lua_tolstring(L, 2, &len);
        if (!tg_utf8_valid(text, len))
            return luaL_error(L,
                              "conn:send: text must be UTF-8 (conn:send_binary sends any bytes)");
        struct tg_conn *conn = tg_api_conn(L, ref->id.serial);
        return tg_api_return_sent(L, conn,
                                  conn ? tg_conn_send_text(conn, text, len) : TG_ERR_CLOSED);
    }
    if (!lua_istable(L, 2) && !tg_view_is(L, 2))
        return luaL_error(L, "conn:send: a table or text expected, got %s", tg_api_type_name(L, 2));
    struct tg_buffer *json = tg_lua_json_scratch(L);
    if (tg_lua_json_encode(L, 2, "message", json, &error) != TG_ERR_OK)
        return luaL_error(L, "conn:send: %s", error.text);
    struct tg_conn *conn = tg_api_conn(L, ref->id.serial);
    if (conn == NULL)
        return tg_api_push_result(L, TG_ERR_CLOSED);
    return tg_api_return_sent(L, conn, tg_conn_send_text(conn, tg_buffer_head(json), json->len));
}

/* conn:send_binary(bytes) -> true | nil, why */
static int l_conn_send_binary(lua_State *L)
{
    size_t len = 0;
    struct tg_conn_ref *ref = tg_conn_check(L, 1);
    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "conn:send_binary: a string expected, got %s", tg_api_type_name(L, 2));
    const char *bytes = lua_tolstring(L, 2, &len);
    struct tg_conn *conn = tg_api_conn(L, ref->id.serial);
    return tg_api_return_sent(L, conn,
                              conn ? tg_conn_send_binary(conn, bytes, len) : TG_ERR_CLOSED);
}

/* conn:close([code [, reason]]) -> true | nil, "closed" */
static int l_conn_close(lua_State *L)
{
    struct tg_conn_ref *ref = tg_conn_check(L, 1);
    const char *reason = "";
    int code = tg_api_check_close(L, "conn:close", 2, &reason);
    struct tg_conn *conn = tg_api_conn(L, ref->id.serial);
    if (conn == NULL || !tg_conn_is_open(conn))
        return tg_api_push_result(L, TG_ERR_CLOSED);
    return tg_api_push_result(L, tg_conn_close(conn, code, reason));
}

static const luaL_Reg methods[] = {
    {"send", l_conn_send},
    {"send_binary", l_conn_send_binary},
    {"close", l_conn_close},
    {NULL, NULL},
};

/* --- access ------------------------------------------------------------------------------------ */

static int raise_unknown_field(lua_State *L, const char *key)
{
    const char *names[FIELDS + sizeof methods / sizeof methods[0]];
    size_t count = 0;
    for (size_t i = 0; i < FIELDS; i++)
        names[count++] = fields[i].name;
    for (const luaL_Reg *row = methods; row->name != NULL; row++)
        names[count++] = row->name;
    const char *near = tg_api_suggest(key, names, count);
    if (near != NULL)
        return luaL_error(L, "conn has no field \"%s\"; did you mean \"%s\"?", key, near);
    return luaL_error(L, "conn has no field \"%s\" (your own data belongs into conn.session)", key);
}

static int l_conn_index(lua_State *L)
{
    char key[64];
    struct tg_conn_ref *ref = tg_conn_check(L, 1);
    lua_settop(L, 2);
    tg_api_push_registry(L, &members_key);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    if (lua_isfunction(L, -1))
        return 1;
    if (!lua_isnumber(L, -1)) {
        tg_api_value_text(L, 2, key, sizeof key);
        return raise_unknown_field(L, key);
    }
    const struct field *field = &fields[lua_tointeger(L, -1)];
    struct tg_conn *conn = tg_api_conn(L, ref->id.serial);
    if (conn == NULL && field->push != push_id)
        return tg_api_push_failure(L, "closed");
    field->push(L, ref, 1, conn);
    return 1;
}

static bool is_field(const char *key)
{
    for (size_t i = 0; i < FIELDS; i++) {
        if (strcmp(fields[i].name, key) == 0)
            return true;
    }
    return false;
}

/* conn.key = value */
static int l_conn_newindex(lua_State *L)
{
    char key[64];
    struct tg_conn_ref *ref = tg_conn_check(L, 1);
    lua_settop(L, 3);
    tg_api_value_text(L, 2, key, sizeof key);
    if (lua_type(L, 2) == LUA_TSTRING && strcmp(key, "session") == 0)
        return tg_session_replace(L, ref);
    return tg_conn_refuse_write(L, 1, key);
}

static int l_conn_tostring(lua_State *L)
{
    lua_pushfstring(L, "conn %s", tg_conn_check(L, 1)->text);
    return 1;
}

static const luaL_Reg metamethods[] = {
    {"__index", l_conn_index},
    {"__newindex", l_conn_newindex},
    {"__tostring", l_conn_tostring},
    {NULL, NULL},
};

void tg_conn_open_type(lua_State *L)
{
    tg_api_set_metatable(L, &metatable_key, metamethods);

    lua_pushlightuserdata(L, &members_key);
    lua_newtable(L);
    tg_api_set_functions(L, methods);
    for (size_t i = 0; i < FIELDS; i++) {
        lua_pushnumber(L, (lua_Number)i);
        lua_setfield(L, -2, fields[i].name);
    }
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    tg_api_declare_class(L, "tidegate.Conn", &metatable_key, &members_key);

    lua_pushlightuserdata(L, &objects_key);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void push_new(lua_State *L, struct tg_conn *conn)
{
    struct tg_conn_ref *ref = lua_newuserdata(L, sizeof *ref);
    memset(ref, 0, sizeof *ref);
    ref->id = *tg_conn_get_id(conn);
    tg_conn_id_format(&ref->id, ref->text);
    lua_createtable(L, TG_CONN_SLOTS, 0);
    lua_setfenv(L, -2);
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
}

void tg_conn_push(lua_State *L, struct tg_conn *conn)
{
    lua_Number serial = (lua_Number)tg_conn_get_id(conn)->serial; /* 48 bits: exact */
    luaL_checkstack(L, 8, "conn");
    tg_api_push_registry(L, &objects_key);
    lua_pushnumber(L, serial);
    lua_rawget(L, -2);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        push_new(L, conn);
        lua_pushnumber(L, serial);
        lua_pushvalue(L, -2);
        lua_rawset(L, -4);
    }
    lua_remove(L, -2);
}

bool tg_conn_is(lua_State *L, int index)
{
    return tg_api_test_userdata(L, index, &metatable_key) != NULL;
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

/* Fails the connection; `value` is the index of what was offered. */
static void punish(lua_State *L, struct tg_conn_ref *ref, int self, const char *key, int value)
{
    char offered[64], actual[64], name[80];
    struct tg_conn *conn = tg_api_conn(L, ref->id.serial);
    if (conn == NULL)
        return;
    snprintf(name, sizeof name, "conn.%s", key == NULL ? "metatable" : key);
    tg_api_value_text(L, value, offered, sizeof offered);
    if (key != NULL && strcmp(key, "id") == 0 && strcmp(offered, ref->text) != 0) {
        tg_conn_id_mismatch(conn, offered, strlen(offered), name);
        return;
    }
    snprintf(actual, sizeof actual, "none");
    for (size_t i = 0; key != NULL && i < FIELDS; i++) {
        if (strcmp(fields[i].name, key) == 0) {
            fields[i].push(L, ref, self, conn);
            tg_api_value_text(L, lua_gettop(L), actual, sizeof actual);
        }
    }
    tg_conn_tampered(conn, name, actual, offered);
}

int tg_conn_refuse_write(lua_State *L, int index, const char *key)
{
    struct tg_conn_ref *ref = lua_touserdata(L, index);
    luaL_checkstack(L, 12, "conn");
    int value = lua_gettop(L);
    if (index < 0 && index > LUA_REGISTRYINDEX)
        index += value + 1;
    if (key != NULL && !is_field(key))
        return luaL_error(L,
                          "conn has no field \"%s\" to set; your own data belongs into "
                          "conn.session.%s",
                          key, key);
    punish(L, ref, index, key, value);
    if (key == NULL)
        return luaL_error(L, "the metatable of conn cannot be changed");
    return luaL_error(L, "conn.%s cannot be changed: it belongs to the core", key);
}

struct tg_conn_ref *tg_conn_check(lua_State *L, int index)
{
    struct tg_conn_ref *ref = tg_api_test_userdata(L, index, &metatable_key);
    if (ref == NULL)
        luaL_error(L, "conn expected, got %s (call methods with a colon: conn:send(…))",
                   tg_api_type_name(L, index));
    return ref;
}
