/* conn.c - what scripts see of a connection: the type `conn`.
 *
 * The userdata holds the ID and no pointer: every use asks the hub and may find nothing. What it tells of the
 * connection is in conn_fields.c.
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
#include "script/api/conn_fields.h"
#include "script/api/json.h"
#include "script/api/session.h"
#include "script/api/tide.h"
#include "script/hooks/view.h"
#include "script/policy/generation.h"

static char metatable_key;
static char members_key; /* name -> method, or number of a row in tg__conn_fields */

/* `conn.key` begins in Lua: a function of C costs a message 150 instructions more of the 4,600, and nearly every
 * message has a `conn:send`. The tail call keeps it out of positions and tracebacks, and its name keeps a kill that
 * strikes inside from being reported as there and not in the policy (call/trace.h). */
#define INDEX_NAME "=tidegate/_conn"
static const char index_source[] = "local methods, field = ...\n"
                                   "return function(conn, key)\n"
                                   "    local method = methods[key]\n"
                                   "    if method then return method end\n"
                                   "    return field(conn, key)\n"
                                   "end\n";

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

/* conn:degrade(why) -> true | nil, why not */
static int l_conn_degrade(lua_State *L)
{
    char why[TG_REASON_SIZE];
    size_t len = 0;
    struct tg_conn_ref *ref = tg_conn_check(L, 1);
    if (lua_type(L, 2) != LUA_TSTRING || lua_objlen(L, 2) == 0)
        return luaL_error(L, "conn:degrade: a text that says what is missing expected, got %s",
                          tg_api_type_name(L, 2));
    const char *text = lua_tolstring(L, 2, &len);
    tg_reason_copy(why, text, len);
    struct tg_conn *conn = tg_api_conn(L, ref->id.serial);
    if (conn == NULL)
        return tg_api_push_result(L, TG_ERR_CLOSED);
    enum tg_err err = tg_conn_degrade(conn, why);
    if (err == TG_ERR_ILLEGAL)
        return tg_api_push_failure(L, "not ready");
    return tg_api_push_result(L, err);
}

static const luaL_Reg methods[] = {
    {"send", l_conn_send},
    {"send_binary", l_conn_send_binary},
    {"close", l_conn_close},
    {"degrade", l_conn_degrade},
    {NULL, NULL},
};

/* --- access ------------------------------------------------------------------------------------ */

static int raise_unknown_field(lua_State *L, const char *key)
{
    const char *names[TG__CONN_FIELDS + sizeof methods / sizeof methods[0]];
    size_t count = 0;
    for (size_t i = 0; i < TG__CONN_FIELDS; i++)
        names[count++] = tg__conn_fields[i].name;
    for (const luaL_Reg *row = methods; row->name != NULL; row++)
        names[count++] = row->name;
    const char *near = tg_api_suggest(key, names, count);
    if (near != NULL)
        return luaL_error(L, "conn has no field \"%s\"; did you mean \"%s\"?", key, near);
    return luaL_error(L, "conn has no field \"%s\" (your own data belongs into conn.session)", key);
}

static int l_conn_field(lua_State *L)
{
    char key[64];
    /* Nothing else can be there: no script gets at this function or at its caller, index_source, which Lua calls
     * for this type only. */
    struct tg_conn_ref *ref = lua_touserdata(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1)); /* members */
    if (!lua_isnumber(L, -1)) {
        tg_api_value_text(L, 2, key, sizeof key);
        return raise_unknown_field(L, key);
    }
    const struct tg__conn_field *field = &tg__conn_fields[lua_tointeger(L, -1)];
    struct tg_conn *conn = tg_api_conn(L, ref->id.serial);
    if (conn == NULL && !field->outlives)
        return tg_api_push_failure(L, "closed");
    field->push(L, ref, 1, conn);
    return 1;
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
    lua_pushfstring(L, "conn %s", tg_conn_ref_text(tg_conn_check(L, 1)));
    return 1;
}

static const luaL_Reg metamethods[] = {
    {"__newindex", l_conn_newindex},
    {"__tostring", l_conn_tostring},
    {NULL, NULL},
};

/* The function that reads a key; the members are on top of the stack. */
static void push_index(lua_State *L)
{
    if (luaL_loadbuffer(L, index_source, sizeof index_source - 1, INDEX_NAME) != 0)
        lua_error(L);
    lua_newtable(L);
    for (const luaL_Reg *row = methods; row->name != NULL; row++) {
        lua_getfield(L, -3, row->name);
        lua_setfield(L, -2, row->name);
    }
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, l_conn_field, 1);
    lua_call(L, 2, 1);
}

void tg_conn_open_type(lua_State *L)
{
    struct tg_generation *generation = tg_generation_of(L);

    tg_api_set_metatable(L, &metatable_key, metamethods);
    lua_pushlightuserdata(L, &members_key);
    lua_newtable(L);
    tg_api_set_functions(L, methods);
    for (size_t i = 0; i < TG__CONN_FIELDS; i++) {
        lua_pushnumber(L, (lua_Number)i);
        lua_setfield(L, -2, tg__conn_fields[i].name);
    }
    push_index(L);
    tg_api_push_registry(L, &metatable_key);
    generation->conn_metatable = lua_topointer(L, -1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    tg_api_declare_class(L, "tidegate.Conn", &metatable_key, &members_key);

    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v"); /* an object that no script holds may go */
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    generation->conn_objects_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void push_new(lua_State *L, struct tg_conn *conn)
{
    struct tg_conn_ref *ref = lua_newuserdata(L, sizeof *ref);
    memset(ref, 0, sizeof *ref);
    ref->id = *tg_conn_get_id(conn);
    lua_createtable(L, TG_CONN_SLOTS, 0);
    lua_setfenv(L, -2);
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
}

void tg_conn_push(lua_State *L, struct tg_conn *conn)
{
    /* The serial without its worker, of which a state has one: LuaJIT finds small integers three times faster. */
    lua_Number number = (lua_Number)tg_conn_id_sequence(tg_conn_get_id(conn)->serial);
    lua_rawgeti(L, LUA_REGISTRYINDEX, tg_generation_of(L)->conn_objects_ref);
    lua_pushnumber(L, number);
    lua_rawget(L, -2);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        push_new(L, conn);
        lua_pushnumber(L, number);
        lua_pushvalue(L, -2);
        lua_rawset(L, -4);
    }
    lua_remove(L, -2);
}

/* The conn at `index`, or NULL. Every use of a conn asks, so the metatable is compared by its address, which a
 * state keeps to its end: half the instructions of tg_api_test_userdata. */
static struct tg_conn_ref *conn_at(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return NULL;
    bool same = lua_topointer(L, -1) == tg_generation_of(L)->conn_metatable;
    lua_pop(L, 1);
    return same ? lua_touserdata(L, index) : NULL;
}

bool tg_conn_is(lua_State *L, int index)
{
    return conn_at(L, index) != NULL;
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
    if (key != NULL && strcmp(key, "id") == 0 && strcmp(offered, tg_conn_ref_text(ref)) != 0) {
        tg_conn_id_mismatch(conn, offered, strlen(offered), name);
        return;
    }
    snprintf(actual, sizeof actual, "none");
    const struct tg__conn_field *field = key == NULL ? NULL : tg__conn_field_find(key);
    if (field != NULL) {
        field->push(L, ref, self, conn);
        tg_api_value_text(L, lua_gettop(L), actual, sizeof actual);
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
    if (key != NULL && tg__conn_field_find(key) == NULL)
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
    struct tg_conn_ref *ref = conn_at(L, index);
    if (ref == NULL)
        luaL_error(L, "conn expected, got %s (call methods with a colon: conn:send(…))",
                   tg_api_type_name(L, index));
    return ref;
}

const char *tg_conn_ref_text(struct tg_conn_ref *ref)
{
    if (ref->text[0] == '\0')
        tg_conn_id_format(&ref->id, ref->text);
    return ref->text;
}
