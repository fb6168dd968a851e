/* http.c - what lua/tidegate/_http.lua asks of the core: begin a request, take what has come, wait for
 * more, and raise at the policy's line.
 *
 * The Lua file has checked what a script gave; what is read here is what it made of it.
 */
#include "script/api/http.h"

#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/base64.h"
#include "script/api/api.h"
#include "script/api/http_response.h"
#include "script/api/json.h"
#include "script/policy/loader.h"
#include "script/sandbox/sandbox.h"

#define FILE_NAME "tidegate/_http.lua"
#define HEADERS_MAX 100
#define LINE_MAX_DEFAULT ((size_t)8 << 20)

/* --- for the Lua file --------------------------------------------------------------------------- */

/* raise(text): at the innermost line that is not the Lua file's */
static int l_raise(lua_State *L)
{
    lua_Debug ar;
    int level = 1;

    lua_settop(L, 1);
    while (lua_getstack(L, level, &ar) != 0 && lua_getinfo(L, "S", &ar) != 0 &&
           (ar.what[0] == 'C' || strcmp(ar.source, "@" FILE_NAME) == 0))
        level++;
    luaL_where(L, level);
    lua_insert(L, 1);
    lua_concat(L, 2);
    return lua_error(L);
}

/* What is on top. */
static int raise_top(lua_State *L)
{
    lua_insert(L, 1);
    return l_raise(L);
}

static int raise_text(lua_State *L, const char *text)
{
    lua_pushstring(L, text);
    return raise_top(L);
}

/* unknown_option(name, options, key) */
static int l_unknown_option(lua_State *L)
{
    const char *names[32];
    char key[64];
    size_t count = 0;

    lua_settop(L, 3);
    lua_pushnil(L);
    while (count < sizeof names / sizeof names[0] && lua_next(L, 2) != 0) {
        names[count++] = lua_tostring(L, -2);
        lua_pop(L, 1);
    }
    tg_api_value_text(L, 3, key, sizeof key);
    const char *near = tg_api_suggest(key, names, count);
    lua_pushfstring(L, "%s: there is no option \"%s\"", lua_tostring(L, 1), key);
    if (near != NULL) {
        lua_pushfstring(L, "; did you mean \"%s\"?", near);
        lua_concat(L, 2);
    }
    return raise_top(L);
}

/* describe(value) -> short text */
static int l_describe(lua_State *L)
{
    char text[64];

    tg_api_value_text(L, 1, text, sizeof text);
    lua_pushstring(L, text);
    return 1;
}

/* base64(bytes) -> text */
static int l_base64(lua_State *L)
{
    size_t len;
    const char *bytes = luaL_checklstring(L, 1, &len);
    struct tg_buffer *out = tg_lua_json_scratch(L);

    if (tg_base64_encode(bytes, len, out) != TG_ERR_OK)
        return luaL_error(L, "not enough memory");
    lua_pushlstring(L, out->len == 0 ? "" : (const char *)tg_buffer_head(out), out->len);
    return 1;
}

/* --- requests ----------------------------------------------------------------------------------- */

/* Milliseconds of an optional field of the settings, given in seconds. */
static uint64_t read_ms(lua_State *L, int settings, const char *field, uint64_t fallback)
{
    lua_getfield(L, settings, field);
    lua_Number seconds = lua_isnil(L, -1) ? 0 : lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (!(seconds > 0))
        return fallback;
    return seconds < 0.001 ? 1 : (uint64_t)(seconds * 1000);
}

static uint64_t read_count(lua_State *L, int settings, const char *field, uint64_t fallback)
{
    lua_getfield(L, settings, field);
    uint64_t count = lua_isnil(L, -1) ? fallback : (uint64_t)lua_tonumber(L, -1);
    lua_pop(L, 1);
    return count;
}

static void read_settings(lua_State *L, int settings, struct tg_fetch_request *request)
{
    const struct tg_http_defaults *defaults = &tg_api_env(L)->http_defaults;

    lua_getfield(L, settings, "stream");
    request->stream = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    request->connect_timeout_ms =
        read_ms(L, settings, "connect_timeout", defaults->connect_timeout_ms);
    request->timeout_ms =
        read_ms(L, settings, "timeout", request->stream ? 0 : defaults->timeout_ms);
    request->idle_timeout_ms =
        read_ms(L, settings, "idle_timeout", request->stream ? defaults->idle_timeout_ms : 0);
    request->redirects_max = read_count(L, settings, "redirects", 0);
    request->response_max = read_count(L, settings, "max_response", defaults->response_max);
}

/* Names and values in turn, at `index`, as a list that lies on the stack. */
static const struct tg_fetch_header *read_headers(lua_State *L, int index, const char *name,
                                                  size_t *count)
{
    *count = lua_objlen(L, index) / 2;
    if (*count > HEADERS_MAX) {
        lua_pushfstring(L, "%s: more than %d headers", name, HEADERS_MAX);
        (void)raise_top(L);
    }
    struct tg_fetch_header *list = lua_newuserdata(L, (*count + 1) * sizeof *list);
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, index, (int)(2 * i + 1));
        lua_rawgeti(L, index, (int)(2 * i + 2));
        list[i].name = lua_tostring(L, -2); /* the list holds them */
        list[i].value = lua_tostring(L, -1);
        lua_pop(L, 2);
    }
    return list;
}

static void check_context(lua_State *L, const char *name)
{
    const struct tg_call *call = tg_call_current(L);

    if (call != NULL && call->generation->env->http != NULL)
        return;
    lua_pushfstring(L, "%s cannot be used while the policy is being loaded; call it in a hook",
                    name);
    (void)raise_top(L);
}

/* start(name, method, url, headers, body, settings) -> response | nil, why, code */
static int l_start(lua_State *L)
{
    struct tg_fetch_request request = {.method = lua_tostring(L, 2), .url = lua_tostring(L, 3)};
    const char *name = lua_tostring(L, 1);

    lua_settop(L, 6);
    check_context(L, name);
    if (strlen(request.url) != lua_objlen(L, 3))
        return raise_text(L, "http: the URL holds a zero byte");
    request.headers = read_headers(L, 4, name, &request.header_count);
    request.body = lua_tolstring(L, 5, &request.body_len); /* NULL for nil */
    read_settings(L, 6, &request);
    struct tg_http_response *response = tg_http_response_push(L);
    response->response_max = request.response_max;
    if (request.stream)
        request.response_max = 0; /* it counts for what is held, not for what passes */
    return tg_http_begin(L, lua_gettop(L), &request);
}

/* --- streams ------------------------------------------------------------------------------------ */

static size_t piece_max(const struct tg_http_response *response)
{
    return response->response_max == 0 || response->response_max > LINE_MAX_DEFAULT
               ? LINE_MAX_DEFAULT
               : (size_t)response->response_max;
}

/* claim(response, name, kind): the one way in which it is read from now on */
static int l_claim(lua_State *L)
{
    static const char *const kinds[] = {"", "bytes", "lines", "events", NULL};
    struct tg_http_response *response = tg_http_response_test(L, 1);
    const char *name = lua_tostring(L, 2);
    enum tg_http_reading kind = (enum tg_http_reading)luaL_checkoption(L, 3, NULL, kinds);

    if (response == NULL)
        lua_pushfstring(L, "%s: response expected, got %s (call it with a colon)", name,
                        tg_api_type_name(L, 1));
    else if (!response->stream)
        lua_pushfstring(L, "%s: the answer is whole, in response.body; ask with stream = true",
                        name);
    else if (response->waiter != NULL)
        lua_pushfstring(L, "%s: another task reads from it", name);
    else if (response->reading != TG_HTTP_UNREAD && response->reading != kind)
        lua_pushfstring(L, "%s: its %s are read already", name, kinds[response->reading]);
    else {
        if (response->reading == TG_HTTP_UNREAD) {
            response->reading = kind;
            response->lines.max = piece_max(response);
            tg_event_stream_init(&response->events, piece_max(response));
        }
        return 0;
    }
    return raise_top(L);
}

/* wait(response) */
static int l_wait(lua_State *L)
{
    const struct tg_http_response *response = tg_http_response_check(L, 1);

    if (response->waiter != NULL)
        return raise_text(L, "response: another task reads from it");
    if (tg_call_current(L) == NULL)
        return raise_text(L, "response: nothing can be read while the policy is being loaded");
    return tg_http_wait(L, 1);
}

static int push_wait(lua_State *L)
{
    lua_pushboolean(L, 0);
    return 1;
}

static int push_failure(lua_State *L, const struct tg_http_response *response)
{
    lua_pushnil(L);
    lua_pushstring(L, response->text);
    lua_pushstring(L, tg_fetch_outcome_names[response->outcome]);
    return 3;
}

/* take(response, nil | number | "all") -> bytes | nil, why, code | false: wait */
static int l_take(lua_State *L)
{
    struct tg_http_response *response = tg_http_response_check(L, 1);
    size_t len = response->body.len;

    if (lua_type(L, 2) == LUA_TSTRING) {
        response->want_all = true;
        if (!response->over)
            return push_wait(L);
        if (response->outcome != TG_FETCH_OK)
            return push_failure(L, response);
    } else if (lua_isnumber(L, 2) && lua_tonumber(L, 2) < (lua_Number)len) {
        len = (size_t)lua_tonumber(L, 2);
    }
    if (len > 0) {
        lua_pushlstring(L, (const char *)tg_buffer_head(&response->body), len);
        tg_http_taken(response, len);
        return 1;
    }
    if (!response->over)
        return push_wait(L);
    if (response->outcome != TG_FETCH_OK)
        return push_failure(L, response);
    lua_pushnil(L);
    return 1;
}

/* Ends a stream in which a line or an event is too long for us. */
static int give_up(lua_State *L, struct tg_http_response *response, const char *what,
                   enum tg_err err)
{
    lua_pushfstring(L, err == TG_ERR_LIMIT ? "%s is larger than max_response" : "no memory for %s",
                    what);
    tg_http_spoil(response, TG_FETCH_TOO_LARGE, lua_tostring(L, -1));
    lua_pushnil(L);
    return 1;
}

/* take_line(response) -> line | nil: the end | false: wait */
static int l_take_line(lua_State *L)
{
    struct tg_http_response *response = tg_http_response_check(L, 1);
    struct tg_line line = {NULL, 0};
    size_t used = 0;
    enum tg_err err = tg_line_splitter_feed(&response->lines, tg_buffer_head(&response->body),
                                            response->body.len, &used, &line);

    if (err != TG_ERR_OK)
        return give_up(L, response, "a line", err);
    if (line.data == NULL && response->over && response->outcome == TG_FETCH_OK)
        line = tg_line_splitter_rest(&response->lines);
    if (line.data != NULL)
        lua_pushlstring(L, line.data, line.len);
    else if (response->over)
        lua_pushnil(L);
    else
        lua_pushboolean(L, 0);
    tg_http_taken(response, used);
    return 1;
}

static void set_text(lua_State *L, const char *field, struct tg_line text)
{
    lua_pushlstring(L, text.data, text.len);
    lua_setfield(L, -2, field);
}

static void push_event(lua_State *L, const struct tg_event *event)
{
    lua_createtable(L, 0, 4);
    set_text(L, "event", event->type);
    set_text(L, "data", event->data);
    if (event->id.len > 0)
        set_text(L, "id", event->id);
    if (event->retry_ms >= 0) {
        lua_pushnumber(L, (lua_Number)event->retry_ms);
        lua_setfield(L, -2, "retry");
    }
}

/* take_event(response) -> event | nil: the end | false: wait */
static int l_take_event(lua_State *L)
{
    struct tg_http_response *response = tg_http_response_check(L, 1);
    struct tg_event event;
    size_t used = 0;
    bool found = false;
    enum tg_err err = tg_event_stream_feed(&response->events, tg_buffer_head(&response->body),
                                           response->body.len, &used, &event, &found);

    if (err != TG_ERR_OK)
        return give_up(L, response, "an event", err);
    if (found)
        push_event(L, &event);
    else if (response->over)
        lua_pushnil(L);
    else
        lua_pushboolean(L, 0);
    tg_http_taken(response, used);
    return 1;
}

/* text(response) -> the whole body; nil: it is a stream */
static int l_text(lua_State *L)
{
    const struct tg_http_response *response = tg_http_response_test(L, 1);

    if (response == NULL)
        return raise_text(L, "response:json: response expected (call it with a colon)");
    if (response->stream)
        return 0;
    lua_getfield(L, 1, "body");
    return 1;
}

static const luaL_Reg core[] = {
    {"raise", l_raise},         {"unknown_option", l_unknown_option},
    {"describe", l_describe},   {"base64", l_base64},
    {"start", l_start},         {"claim", l_claim},
    {"wait", l_wait},           {"take", l_take},
    {"take_line", l_take_line}, {"take_event", l_take_event},
    {"text", l_text},           {NULL, NULL},
};

int tg_http_open(struct lua_State *L)
{
    tg_loader_push_private(L, FILE_NAME);
    tg_sandbox_push_library(L);
    (void)lua_setfenv(L, -2);
    lua_createtable(L, 0, 12);
    tg_api_set_functions(L, core);
    lua_call(L, 1, 2);
    tg_http_response_add_methods(L);
    return 1;
}
