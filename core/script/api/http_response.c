/* http_response.c - the type `response`: what a script sees of an answer.
 *
 * Fields are made when they are asked for; the table of headers is then kept in the object's environment.
 * What waits (read, lines, events, json) is in lua/tidegate/_http.lua, around functions of http.c.
 */
#include "script/api/http_response.h"

#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"

static char metatable_key;
static char methods_key;

enum { SLOT_HEADERS = 1, SLOT_BODY };

struct tg_http_response *tg_http_response_test(lua_State *L, int index)
{
    return tg_api_test_userdata(L, index, &metatable_key);
}

struct tg_http_response *tg_http_response_check(lua_State *L, int index)
{
    struct tg_http_response *response = tg_http_response_test(L, index);

    if (response == NULL)
        luaL_error(L, "response expected, got %s (call methods with a colon: response:read(…))",
                   tg_api_type_name(L, index));
    return response;
}

struct tg_http_response *tg_http_response_push(lua_State *L)
{
    struct tg_http_response *response = lua_newuserdata(L, sizeof *response);

    memset(response, 0, sizeof *response);
    response->generation = tg_generation_of(L);
    response->ref = LUA_NOREF;
    tg_list_init(&response->held.node);
    lua_createtable(L, 2, 0);
    lua_setfenv(L, -2);
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
    return response;
}

/* --- fields ------------------------------------------------------------------------------------- */

static const char *url_of(const struct tg_http_response *response)
{
    return response->head.len == 0 ? "" : (const char *)tg_buffer_head(&response->head);
}

typedef void (*header_fn)(lua_State *L, const char *name, const char *value, void *ctx);

/* fn leaves the stack as it was. */
static void each_header(lua_State *L, const struct tg_http_response *response, header_fn fn,
                        void *ctx)
{
    const char *text = url_of(response);

    for (size_t i = 0; i < response->header_count && !tg_api_out_of_time(L); i++) {
        const char *name = text + strlen(text) + 1;
        text = name + strlen(name) + 1;
        fn(L, name, text, ctx);
    }
}

/* The table of headers is on top. Repeated ones are one list, but for Set-Cookie, whose values may hold
 * commas: the first; header_list has them all. */
static void set_header(lua_State *L, const char *name, const char *value, void *ctx)
{
    (void)ctx;
    lua_getfield(L, -1, name);
    bool first = lua_isnil(L, -1);
    if (!first && strcmp(name, "set-cookie") == 0) {
        lua_pop(L, 1);
        return;
    }
    if (first) {
        lua_pop(L, 1);
        lua_pushstring(L, value);
    } else {
        lua_pushliteral(L, ", ");
        lua_pushstring(L, value);
        lua_concat(L, 3);
    }
    lua_setfield(L, -2, name);
}

static void push_headers(lua_State *L, struct tg_http_response *response)
{
    lua_getfenv(L, 1);
    lua_rawgeti(L, -1, SLOT_HEADERS);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    each_header(L, response, set_header, NULL);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, SLOT_HEADERS);
}

/* From the core's memory to the script's, once. */
static void push_body(lua_State *L, struct tg_http_response *response)
{
    if (response->stream)
        luaL_error(L, "response.body: a stream has none; use response:read(\"all\")");
    lua_getfenv(L, 1);
    lua_rawgeti(L, -1, SLOT_BODY);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    const char *data = response->body.len == 0 ? "" : (const char *)tg_buffer_head(&response->body);
    lua_pushlstring(L, data, response->body.len);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, SLOT_BODY);
    tg_buffer_fini(&response->body);
    (void)tg_http_charge(response);
}

static void push_status(lua_State *L, struct tg_http_response *response)
{
    lua_pushnumber(L, response->status);
}

static void push_ok(lua_State *L, struct tg_http_response *response)
{
    lua_pushboolean(L, response->status >= 200 && response->status < 300);
}

static void push_url(lua_State *L, struct tg_http_response *response)
{
    lua_pushstring(L, url_of(response));
}

static void push_version(lua_State *L, struct tg_http_response *response)
{
    lua_pushstring(L, response->version);
}

static const struct {
    const char *name;
    void (*push)(lua_State *L, struct tg_http_response *response);
} fields[] = {
    {"status", push_status}, {"ok", push_ok},   {"headers", push_headers},
    {"body", push_body},     {"url", push_url}, {"http_version", push_version},
};
#define FIELDS (sizeof fields / sizeof fields[0])

/* --- methods ------------------------------------------------------------------------------------ */

struct wanted {
    const char *name;
    int count;
};

static void add_to_list(lua_State *L, const char *name, const char *value, void *ctx)
{
    struct wanted *wanted = ctx;

    if (strcmp(name, wanted->name) != 0)
        return;
    lua_pushstring(L, value);
    lua_rawseti(L, -2, ++wanted->count);
}

/* response:header_list(name) -> every value of that header */
static int l_response_header_list(lua_State *L)
{
    const struct tg_http_response *response = tg_http_response_check(L, 1);
    luaL_Buffer lower;

    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "response:header_list: a name (text) expected, got %s",
                          tg_api_type_name(L, 2));
    luaL_buffinit(L, &lower);
    for (const char *at = lua_tostring(L, 2); *at != '\0'; at++)
        luaL_addchar(&lower, *at >= 'A' && *at <= 'Z' ? (char)(*at + ('a' - 'A')) : *at);
    luaL_pushresult(&lower);
    struct wanted wanted = {.name = lua_tostring(L, -1)};
    lua_newtable(L);
    each_header(L, response, add_to_list, &wanted);
    return 1;
}

/* response:error() -> nil, or text and code of what ended it badly */
static int l_response_error(lua_State *L)
{
    const struct tg_http_response *response = tg_http_response_check(L, 1);

    if (!response->over || response->outcome == TG_FETCH_OK)
        return 0;
    lua_pushstring(L, response->text);
    lua_pushstring(L, tg_fetch_outcome_names[response->outcome]);
    return 2;
}

/* response:close() */
static int l_response_close(lua_State *L)
{
    struct tg_http_response *response = tg_http_response_check(L, 1);

    if (response->waiter != NULL)
        return luaL_error(L, "response:close: a task reads from it; cancel the task");
    tg_http_end(response, TG_FETCH_CLOSED, "closed");
    return 0;
}

static const luaL_Reg methods[] = {
    {"header_list", l_response_header_list},
    {"error", l_response_error},
    {"close", l_response_close},
    {NULL, NULL},
};

/* --- access ------------------------------------------------------------------------------------- */

static int raise_unknown(lua_State *L, int known)
{
    const char *names[FIELDS + 16];
    char key[64];
    size_t count = 0;

    for (size_t i = 0; i < FIELDS; i++)
        names[count++] = fields[i].name;
    lua_pushnil(L);
    while (count < sizeof names / sizeof names[0] && lua_next(L, known) != 0) {
        names[count++] = lua_tostring(L, -2);
        lua_pop(L, 1);
    }
    tg_api_value_text(L, 2, key, sizeof key);
    const char *near = tg_api_suggest(key, names, count);
    if (near != NULL)
        return luaL_error(L, "response has no field \"%s\"; did you mean \"%s\"?", key, near);
    return luaL_error(L, "response has no field \"%s\"", key);
}

static int l_response_index(lua_State *L)
{
    struct tg_http_response *response = tg_http_response_check(L, 1);

    lua_settop(L, 2);
    tg_api_push_registry(L, &methods_key);
    lua_pushvalue(L, 2);
    lua_rawget(L, 3);
    if (!lua_isnil(L, -1))
        return 1;
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    for (size_t i = 0; i < FIELDS; i++) {
        if (strcmp(fields[i].name, key) == 0) {
            fields[i].push(L, response);
            return 1;
        }
    }
    return raise_unknown(L, 3);
}

static int l_response_newindex(lua_State *L)
{
    char key[64];

    tg_api_value_text(L, 2, key, sizeof key);
    return luaL_error(L, "response.%s cannot be set: response is read-only", key);
}

static int l_response_tostring(lua_State *L)
{
    lua_pushfstring(L, "response %d", tg_http_response_check(L, 1)->status);
    return 1;
}

static int l_response_gc(lua_State *L)
{
    tg_http_free(lua_touserdata(L, 1));
    return 0;
}

static const luaL_Reg metamethods[] = {
    {"__index", l_response_index},
    {"__newindex", l_response_newindex},
    {"__tostring", l_response_tostring},
    {"__gc", l_response_gc},
    {NULL, NULL},
};

void tg_http_response_open_type(lua_State *L)
{
    tg_api_set_metatable(L, &metatable_key, metamethods);
    lua_pushlightuserdata(L, &methods_key);
    lua_createtable(L, 0, 8);
    tg_api_set_functions(L, methods);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_createtable(L, 0, FIELDS);
    for (size_t i = 0; i < FIELDS; i++) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, fields[i].name);
    }
    tg_api_declare_class(L, "tidegate.HttpResponse", &metatable_key, &methods_key);
}

void tg_http_response_add_methods(lua_State *L)
{
    tg_api_push_registry(L, &methods_key);
    lua_pushnil(L);
    while (lua_next(L, -3) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_pop(L, 2);
}
