/* log.c - the module tidegate.log: one line `policy.log` a call, with what the core knows first.
 *
 * Sizes are bounded here and once more by base/log. Fields whose name says secret are written as
 * "(redacted)": people log whole credential tables.
 */
#include "script/api/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <lauxlib.h>
#include <lua.h>

#include "agent/run.h"
#include "base/log.h"
#include "base/utf8.h"
#include "connection/connection.h"
#include "connection/redact.h"
#include "script/api/api.h"
#include "script/call/call.h"
#include "script/hooks/view.h"

#define FIELDS_MAX 16
#define CORE_FIELDS 4 /* policy, message, id, run */
#define MESSAGE_BYTES_MAX 2048
#define VALUE_BYTES_MAX 512
#define KEY_SIZE 48

struct line {
    struct tg_log_field fields[CORE_FIELDS + FIELDS_MAX + 1];
    size_t count;
    char id[TG_CONN_ID_SIZE];
    char keys[FIELDS_MAX][KEY_SIZE];
};

static bool is_secret(const char *key)
{
    static const char *const words[] = {"token",   "password", "secret", "authorization",
                                        "api_key", "apikey",   "cookie", "bearer"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasestr(key, words[i]) != NULL)
            return true;
    }
    return false;
}

static bool is_reserved(const char *key)
{
    static const char *const names[] = {"policy", "message", "id",   "run",
                                        "level",  "event",   "time", "omitted"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(key, names[i]) == 0)
            return true;
    }
    return false;
}

/* Names that keep a line readable by machines: letters, digits and _ . - only. */
static void make_key(lua_State *L, int index, char out[KEY_SIZE])
{
    char text[KEY_SIZE - 8];
    tg_api_value_text(L, index, text, sizeof text);
    for (char *c = text; *c != '\0'; c++) {
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", *c) == NULL)
            *c = '_';
    }
    snprintf(out, KEY_SIZE, "%s%s", is_reserved(text) ? "field_" : "", text);
}

static struct tg_log_field make_field(lua_State *L, const char *key, int value)
{
    size_t len = 0;
    const char *text;
    if (is_secret(key))
        return tg_log_str(key, "(redacted)");
    switch (lua_type(L, value)) {
    case LUA_TNUMBER:
        return tg_log_real(key, lua_tonumber(L, value));
    case LUA_TBOOLEAN:
        return tg_log_bool(key, lua_toboolean(L, value) != 0);
    case LUA_TSTRING:
        text = lua_tolstring(L, value, &len);
        return tg_log_strn(key, text, tg_utf8_cut(text, len, VALUE_BYTES_MAX));
    default:
        return tg_log_str(key, tg_api_type_name(L, value));
    }
}

/* The table at `index`; string values stay on its own stack or in it, so they live until the line is
 * written. */
static void add_fields(lua_State *L, int index, struct line *line)
{
    size_t used = 0;
    bool more = false;
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        int value = lua_gettop(L);
        if (used == FIELDS_MAX) {
            more = true;
            lua_pop(L, 2);
            break;
        }
        make_key(L, value - 1, line->keys[used]);
        line->fields[line->count++] = make_field(L, line->keys[used], value);
        used++;
        lua_settop(L, value - 1);
    }
    if (more)
        line->fields[line->count++] = tg_log_bool("omitted", true);
}

/* The connection that the script runs for, or NULL. */
static const struct tg_conn *add_origin(lua_State *L, struct line *line)
{
    const struct tg_generation *generation = tg_generation_of(L);
    const struct tg_call *call = tg_call_current(L);
    line->fields[line->count++] = tg_log_str("policy", generation->version);
    if (call == NULL)
        return NULL;
    const struct tg_conn *conn = tg_api_conn(L, call->conn_serial);
    if (conn != NULL) {
        tg_conn_id_text(conn, line->id);
        line->fields[line->count++] = tg_log_str("id", line->id);
    }
    if (call->root->run != NULL)
        line->fields[line->count++] = tg_log_str("run", tg_run_id(call->root->run));
    return conn;
}

static int write_line(lua_State *L, enum tg_log_level level, const char *name)
{
    struct line line = {.count = 0};
    size_t len = 0;
    if (lua_type(L, 1) != LUA_TSTRING && lua_type(L, 1) != LUA_TNUMBER)
        return luaL_error(L, "%s: a message (text) expected, got %s", name, tg_api_type_name(L, 1));
    if (!lua_isnoneornil(L, 2) && !lua_istable(L, 2) && !tg_view_is(L, 2))
        return luaL_error(L, "%s: fields must be a table, got %s", name, tg_api_type_name(L, 2));
    if (!tg_log_enabled(level))
        return 0;
    const char *message = lua_tolstring(L, 1, &len);
    const struct tg_conn *conn = add_origin(L, &line);
    line.fields[line.count++] =
        tg_log_strn("message", message, tg_utf8_cut(message, len, MESSAGE_BYTES_MAX));
    lua_settop(L, 2);
    if (tg_view_is(L, 2)) {
        tg_view_unwrap(L, 2);
        lua_replace(L, 2);
    }
    if (lua_istable(L, 2))
        add_fields(L, 2, &line);
    tg_redact_log(conn == NULL ? NULL : tg_conn_request(conn), level, "policy.log", line.fields,
                  line.count);
    return 0;
}

/* log.debug(message [, fields]) */
static int l_log_debug(lua_State *L)
{
    return write_line(L, TG_LOG_DEBUG, "log.debug");
}

/* log.info(message [, fields]) */
static int l_log_info(lua_State *L)
{
    return write_line(L, TG_LOG_INFO, "log.info");
}

/* log.warn(message [, fields]) */
static int l_log_warn(lua_State *L)
{
    return write_line(L, TG_LOG_WARN, "log.warn");
}

/* log.error(message [, fields]) */
static int l_log_error(lua_State *L)
{
    return write_line(L, TG_LOG_ERROR, "log.error");
}

static const luaL_Reg functions[] = {
    {"debug", l_log_debug}, {"info", l_log_info}, {"warn", l_log_warn},
    {"error", l_log_error}, {NULL, NULL},
};

int tg_log_open(lua_State *L)
{
    lua_createtable(L, 0, 4);
    tg_api_set_functions(L, functions);
    return 1;
}
