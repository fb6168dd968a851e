/* websocket.c - the private module tidegate._websocket: WebSockets that agents of the library open to other
 * servers. Functions take the object as their first argument; it has no fields and no methods.
 *
 * The Lua around it has checked what a policy gave (lua/tidegate/agent/websocket.lua).
 */
#include "script/api/websocket.h"

#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/policy/generation.h"

#define HEADERS_MAX 100
#define REST_SECONDS_MAX 86400

static char metatable_key;

static struct tg_websocket *check_socket(lua_State *L)
{
    struct tg_websocket *socket = tg_api_test_userdata(L, 1, &metatable_key);

    if (socket == NULL)
        luaL_error(L, "WebSocket expected, got %s", tg_api_type_name(L, 1));
    return socket;
}

/* Only a call can wait, or have something that ends with it. */
static void check_context(lua_State *L, const char *name)
{
    tg_api_contexts(L, name, TG_IN_CALL);
}

/* For what only one can do at a time. */
static struct tg_websocket *check_free(lua_State *L, const char *name)
{
    struct tg_websocket *socket = check_socket(L);

    check_context(L, name);
    if (socket->waiter != NULL)
        luaL_error(L, "%s: another task waits for it", name);
    if (socket->resting)
        luaL_error(L, "%s: it rests", name);
    return socket;
}

static struct tg_websocket *push_socket(lua_State *L)
{
    struct tg_websocket *socket = lua_newuserdata(L, sizeof *socket);

    memset(socket, 0, sizeof *socket);
    socket->generation = tg_generation_of(L);
    socket->ref = LUA_NOREF;
    tg_list_init(&socket->held.node);
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
    return socket;
}

/* --- opening ------------------------------------------------------------------------------------ */

/* Milliseconds of an optional field in seconds. */
static uint64_t read_ms(lua_State *L, int settings, const char *field, uint64_t fallback)
{
    lua_getfield(L, settings, field);
    lua_Number seconds = lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (!(seconds > 0))
        return fallback;
    return seconds < 0.001 ? 1 : (uint64_t)(seconds * 1000);
}

/* A text of the list at -2 that cannot break out of its line. */
static const char *check_text(lua_State *L, int at)
{
    const char *text = lua_tostring(L, at);

    if (text == NULL || strlen(text) != lua_objlen(L, at))
        luaL_error(L, "headers: texts without zero bytes expected");
    for (const char *c = text; *c != '\0'; c++) {
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
            luaL_error(L, "headers: a control character");
    }
    return text;
}

/* Names and values in turn, at `index`, as a list that lies on the stack. */
static const struct tg_fetch_header *read_headers(lua_State *L, int index, size_t *count)
{
    luaL_checktype(L, index, LUA_TTABLE);
    *count = lua_objlen(L, index) / 2;
    if (*count > HEADERS_MAX)
        luaL_error(L, "headers: more than %d", HEADERS_MAX);
    struct tg_fetch_header *list = lua_newuserdata(L, (*count + 1) * sizeof *list);
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, index, (int)(2 * i + 1));
        lua_rawgeti(L, index, (int)(2 * i + 2));
        list[i].name = check_text(L, -2); /* the list holds them */
        list[i].value = check_text(L, -1);
        lua_pop(L, 2);
    }
    return list;
}

/* open(url, headers, settings) -> socket | nil, why, how, status
 * settings: connect_timeout, idle_timeout, ping_interval (seconds), max_message (bytes) */
static int l_websocket_open(lua_State *L)
{
    check_context(L, "websocket.open");
    const struct tg_script_env *env = tg_api_env(L);
    struct tg_ws_request request = {.url = luaL_checkstring(L, 1)};

    lua_settop(L, 3);
    luaL_checktype(L, 3, LUA_TTABLE);
    if (strlen(request.url) != lua_objlen(L, 1))
        return luaL_error(L, "websocket.open: the URL holds a zero byte");
    request.headers = read_headers(L, 2, &request.header_count);
    request.connect_timeout_ms =
        read_ms(L, 3, "connect_timeout", env->http_defaults.connect_timeout_ms);
    request.idle_timeout_ms = read_ms(L, 3, "idle_timeout", env->http_defaults.idle_timeout_ms);
    request.ping_interval_ms = read_ms(L, 3, "ping_interval", 0);
    lua_getfield(L, 3, "max_message");
    request.message_max = (size_t)lua_tonumber(L, -1);
    lua_pop(L, 1);
    (void)push_socket(L);
    return tg_websocket_begin(L, lua_gettop(L), &request);
}

/* --- messages ----------------------------------------------------------------------------------- */

/* farewell(socket, text): what is sent when it ends because its call did */
static int l_websocket_farewell(lua_State *L)
{
    struct tg_websocket *socket = check_socket(L);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);

    tg_buffer_clear(&socket->farewell);
    if (tg_buffer_append(&socket->farewell, text, len) != TG_ERR_OK || !tg_websocket_charge(socket))
        return luaL_error(L, "not enough memory");
    return 0;
}

/* send(socket, text) -> true | nil, why, how, code */
static int l_websocket_send(lua_State *L)
{
    (void)check_free(L, "websocket.send");
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);

    return tg_websocket_send(L, 1, text, len);
}

/* receive(socket) -> message, is text | nil, why, how, code */
static int l_websocket_receive(lua_State *L)
{
    (void)check_free(L, "websocket.receive");
    return tg_websocket_receive(L, 1);
}

/* close(socket, code) */
static int l_websocket_close(lua_State *L)
{
    struct tg_websocket *socket = check_socket(L);
    int code = (int)luaL_optinteger(L, 2, 1000);

    if (socket->waiter != NULL)
        return luaL_error(L, "websocket.close: a task waits for it; cancel the task");
    tg_websocket_end(socket, code, "");
    return 0;
}

/* --- between two calls -------------------------------------------------------------------------- */

/* rest(socket, seconds) -> whether it stays open, for so long and without a call */
static int l_websocket_rest(lua_State *L)
{
    struct tg_websocket *socket = check_free(L, "websocket.rest");
    lua_Number seconds = luaL_checknumber(L, 2);

    if (!(seconds > 0 && seconds <= REST_SECONDS_MAX))
        return luaL_error(L, "websocket.rest: seconds up to 86400 expected");
    lua_pushboolean(L, tg_websocket_rest(socket, (uint64_t)(seconds * 1000)));
    return 1;
}

/* wake(socket) -> whether it is still open; it is the current call's now */
static int l_websocket_wake(lua_State *L)
{
    struct tg_websocket *socket = check_socket(L);

    check_context(L, "websocket.wake");
    lua_pushboolean(L, tg_websocket_wake(socket, tg_call_current(L)));
    return 1;
}

static int l_websocket_gc(lua_State *L)
{
    tg_websocket_free(lua_touserdata(L, 1));
    return 0;
}

static const luaL_Reg functions[] = {
    {"open", l_websocket_open},   {"farewell", l_websocket_farewell},
    {"send", l_websocket_send},   {"receive", l_websocket_receive},
    {"close", l_websocket_close}, {"rest", l_websocket_rest},
    {"wake", l_websocket_wake},   {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_websocket_gc},
    {NULL, NULL},
};

void tg_websocket_open_type(struct lua_State *L)
{
    tg_api_set_metatable(L, &metatable_key, metamethods);
}

int tg_websocket_open(struct lua_State *L)
{
    lua_createtable(L, 0, 8);
    tg_api_set_functions(L, functions);
    return 1;
}
