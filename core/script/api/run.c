/* run.c - what an agent sees of its run: the type `run`.
 *
 * The fields live in the userdata's environment, so they can be read after the run; events go through
 * the job, which the end of the run takes away.
 *
 * run:tool is a small Lua function around two C ones, because the function it calls may wait, and
 * nothing can wait inside a C function.
 */
#include "script/api/run.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/agents.h"
#include "script/api/api.h"
#include "script/api/congestion.h"
#include "script/api/conn.h"
#include "script/api/json.h"
#include "script/api/tide.h"
#include "script/sandbox.h"

#define TOOL_NAME_BYTES_MAX 128

static char metatable_key;
static char methods_key;

static const char tool_source[] = "local begin, finish, pcall, room = ...\n"
                                  "return function(run, name, arguments, fn)\n"
                                  "  room(run)\n"
                                  "  local call, why = begin(run, name, arguments, fn)\n"
                                  "  if not call then return nil, why end\n"
                                  "  return finish(run, call, pcall(fn, arguments))\n"
                                  "end\n";

static struct tg_run_ref *check_run(lua_State *L)
{
    struct tg_run_ref *ref = tg_api_test_userdata(L, 1, &metatable_key);
    if (ref == NULL)
        luaL_error(L, "run expected, got %s (call methods with a colon: run:delta(…))",
                   tg_api_type_name(L, 1));
    return ref;
}

typedef enum tg_err (*text_event_fn)(struct tg_run *run, const char *text, size_t len);

static int send_text(lua_State *L, const char *name, text_event_fn send)
{
    size_t len = 0;
    struct tg_run_ref *ref = check_run(L);
    if (lua_type(L, 2) != LUA_TSTRING && lua_type(L, 2) != LUA_TNUMBER)
        return luaL_error(L, "%s: text expected, got %s", name, tg_api_type_name(L, 2));
    const char *text = lua_tolstring(L, 2, &len);
    struct tg_agent_job *job = ref->job;
    struct tg_run *run = tg_agent_enter(ref);
    if (run == NULL)
        return tg_api_push_result(L, TG_ERR_CLOSED);
    enum tg_err err = send(run, text, len);
    uint64_t serial = tg_run_conn_serial(run);
    tg_agent_leave(job);
    return tg_api_return_sent(L, tg_api_conn(L, serial), err);
}

/* room(run): waits until the client has taken what piled up. */
static int l_run_room(lua_State *L)
{
    const struct tg_run_ref *ref = tg_api_test_userdata(L, 1, &metatable_key);
    if (ref == NULL || ref->job == NULL || ref->job->over)
        return 0;
    uint64_t serial = tg_run_conn_serial(ref->job->run);
    return tg_api_return_sent(L, tg_api_conn(L, serial), TG_ERR_OK);
}

/* run:thinking(text) -> true | nil, why */
static int l_run_thinking(lua_State *L)
{
    return send_text(L, "run:thinking", tg_run_thinking);
}

/* run:delta(text) -> true | nil, why */
static int l_run_delta(lua_State *L)
{
    return send_text(L, "run:delta", tg_run_delta);
}

/* run:cancelled() -> boolean */
static int l_run_cancelled(lua_State *L)
{
    const struct tg_run_ref *ref = check_run(L);
    lua_pushboolean(L, ref->job == NULL || ref->job->over || tg_run_is_over(ref->job->run));
    return 1;
}

/* --- tool -------------------------------------------------------------------------------------- */

/* The script's line is one level further out than usual: run:tool is Lua. */
static int raise_at_caller(lua_State *L, const char *text)
{
    luaL_where(L, 2);
    lua_pushfstring(L, "run:tool: %s", text);
    lua_concat(L, 2);
    return lua_error(L);
}

static void check_tool_arguments(lua_State *L)
{
    size_t len = lua_type(L, 2) == LUA_TSTRING ? lua_objlen(L, 2) : 0;
    if (len == 0 || len > TOOL_NAME_BYTES_MAX)
        raise_at_caller(L, "a name (text of 1 to 128 bytes) expected as first argument");
    if (lua_type(L, 4) != LUA_TFUNCTION)
        raise_at_caller(L, "a function expected as third argument: run:tool(name, arguments, fn)");
}

/* begin(run, name, arguments, fn) -> number | nil, why */
static int l_run_tool_begin(lua_State *L)
{
    struct tg_error error;
    uint32_t number = 0;
    struct tg_run_ref *ref = tg_api_test_userdata(L, 1, &metatable_key);
    if (ref == NULL)
        return raise_at_caller(L, "run expected (call it with a colon)");
    lua_settop(L, 4);
    check_tool_arguments(L);
    struct tg_buffer *json = tg_lua_json_scratch(L);
    if (tg_lua_json_encode(L, 3, "arguments", json, &error) != TG_ERR_OK)
        return raise_at_caller(L, error.text);
    struct tg_agent_job *job = ref->job;
    struct tg_run *run = tg_agent_enter(ref);
    if (run == NULL)
        return tg_api_push_result(L, TG_ERR_CLOSED);
    enum tg_err err = tg_run_tool_started(run, lua_tostring(L, 2),
                                          (const char *)tg_buffer_head(json), json->len, &number);
    tg_agent_leave(job);
    if (err != TG_ERR_OK)
        return tg_api_push_result(L, err);
    lua_pushnumber(L, number);
    return 1;
}

static void tool_done(struct tg_run_ref *ref, uint32_t number, const struct tg_buffer *result,
                      const char *error)
{
    struct tg_agent_job *job = ref->job;
    struct tg_run *run = tg_agent_enter(ref);
    if (run == NULL)
        return;
    const char *json = error == NULL ? (const char *)tg_buffer_head(result) : NULL;
    enum tg_err err = tg_run_tool_done(run, number, json, error == NULL ? result->len : 0, error);
    (void)err; /* nobody listens any more: the script learns that from its next event */
    tg_agent_leave(job);
}

/* An error as the client may see it: without the place in the policy. */
static void copy_tool_error(lua_State *L, int index, char out[TG_REASON_SIZE])
{
    static const char fallback[] = "the tool failed";
    size_t len = 0;
    const char *text = fallback;
    if (lua_type(L, index) == LUA_TSTRING)
        text = lua_tolstring(L, index, &len);
    else
        len = sizeof fallback - 1;
    const char *colon = strchr(text, ':');
    const char *after = colon == NULL ? NULL : colon + 1;
    while (after != NULL && isdigit((unsigned char)*after))
        after++;
    if (after != NULL && after > colon + 1 && after[0] == ':' && after[1] == ' ') {
        len -= (size_t)(after + 2 - text);
        text = after + 2;
    }
    const char *line_end = memchr(text, '\n', len); /* a traceback may follow */
    tg_reason_copy(out, text, line_end == NULL ? len : (size_t)(line_end - text));
}

/* finish(run, number, true, results…) -> results…; finish(run, number, false, error) raises it on */
static int l_run_tool_finish(lua_State *L)
{
    struct tg_error error;
    char text[TG_REASON_SIZE];
    struct tg_run_ref *ref = lua_touserdata(L, 1);
    uint32_t number = (uint32_t)lua_tonumber(L, 2);
    if (!lua_toboolean(L, 3)) {
        lua_settop(L, 4);
        copy_tool_error(L, 4, text);
        tool_done(ref, number, NULL, text);
        return lua_error(L);
    }
    if (lua_gettop(L) == 3)
        lua_pushnil(L);
    struct tg_buffer *json = tg_lua_json_scratch(L);
    if (tg_lua_json_encode(L, 4, "result", json, &error) != TG_ERR_OK) {
        tool_done(ref, number, NULL, "the tool's result cannot be sent");
        return luaL_error(L, "run:tool: %s", error.text);
    }
    tool_done(ref, number, json, NULL);
    return lua_gettop(L) - 3;
}

/* --- access ------------------------------------------------------------------------------------ */

static const char *const names[] = {"id",    "agent", "conn",     "thinking",
                                    "delta", "tool",  "cancelled"};

static int l_run_index(lua_State *L)
{
    char key[64];
    check_run(L);
    lua_settop(L, 2);
    lua_getfenv(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, 3);
    if (!lua_isnil(L, -1))
        return 1;
    tg_api_push_registry(L, &methods_key);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    if (!lua_isnil(L, -1))
        return 1;
    tg_api_value_text(L, 2, key, sizeof key);
    if (strcmp(key, "conn") == 0)
        return 1; /* its connection ended before the run began */
    const char *near = tg_api_suggest(key, names, sizeof names / sizeof names[0]);
    if (near != NULL)
        return luaL_error(L, "run has no field \"%s\"; did you mean \"%s\"?", key, near);
    return luaL_error(L, "run has no field \"%s\"", key);
}

static int l_run_newindex(lua_State *L)
{
    char key[64];
    tg_api_value_text(L, 2, key, sizeof key);
    return luaL_error(L, "run.%s cannot be set: run is read-only", key);
}

static int l_run_tostring(lua_State *L)
{
    check_run(L);
    lua_getfenv(L, 1);
    lua_getfield(L, -1, "id");
    lua_pushfstring(L, "run %s", lua_tostring(L, -1));
    return 1;
}

static int l_run_gc(lua_State *L)
{
    struct tg_run_ref *ref = lua_touserdata(L, 1);
    if (ref->job != NULL)
        ref->job->ref = NULL;
    ref->job = NULL;
    return 0;
}

static const luaL_Reg methods[] = {
    {"thinking", l_run_thinking},
    {"delta", l_run_delta},
    {"cancelled", l_run_cancelled},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__index", l_run_index},
    {"__newindex", l_run_newindex},
    {"__tostring", l_run_tostring},
    {"__gc", l_run_gc},
    {NULL, NULL},
};

static void push_tool(lua_State *L)
{
    if (luaL_loadbuffer(L, tool_source, sizeof tool_source - 1, "=tidegate") != 0)
        lua_error(L);
    lua_pushcfunction(L, l_run_tool_begin);
    lua_pushcfunction(L, l_run_tool_finish);
    tg_sandbox_push_library(L);
    lua_getfield(L, -1, "pcall");
    lua_remove(L, -2);
    lua_pushcfunction(L, l_run_room);
    lua_call(L, 4, 1);
}

void tg_run_open_type(lua_State *L)
{
    tg_api_set_metatable(L, &metatable_key, metamethods);
    lua_pushlightuserdata(L, &methods_key);
    lua_createtable(L, 0, 4);
    tg_api_set_functions(L, methods);
    push_tool(L);
    lua_setfield(L, -2, "tool");
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, names[i]);
    }
    tg_api_declare_class(L, "tidegate.Run", &metatable_key, &methods_key);
}

void tg_run_push(lua_State *L, struct tg_agent_job *job)
{
    struct tg_run_ref *ref = lua_newuserdata(L, sizeof *ref);
    ref->job = NULL;
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, tg_run_id(job->run));
    lua_setfield(L, -2, "id");
    lua_pushstring(L, tg_run_agent(job->run));
    lua_setfield(L, -2, "agent");
    struct tg_conn *conn = tg_api_conn(L, tg_run_conn_serial(job->run));
    if (conn != NULL) {
        tg_conn_push(L, conn);
        lua_setfield(L, -2, "conn");
    }
    lua_setfenv(L, -2);
    ref->job = job;
    job->ref = ref;
}
