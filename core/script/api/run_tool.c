/* run_tool.c - run:tool and run:tool_started: the events around a tool call.
 *
 * run:tool is a small Lua function around two C ones, because the function that it calls may wait, and
 * nothing can wait inside a C function. run:tool_started is for tools that somebody else executes; it
 * returns a ToolCall, whose environment holds the run.
 *
 * I1  A ToolCall answers once: later answers raise.
 * I2  What nobody answers is closed by the end of the run; so calls that are open are bounded, as the
 *     core keeps them whether the script still does or not.
 */
#include "script/api/run_tool.h"

#include <ctype.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/api/congestion.h"
#include "script/api/json.h"
#include "script/api/run.h"
#include "script/api/tide.h"
#include "script/hooks/agents.h"
#include "script/sandbox/sandbox.h"

#define TOOL_NAME_BYTES_MAX 128
#define OPEN_CALLS_MAX 256

static char metatable_key;
static char methods_key;

static const char source[] = "local begin, finish, pcall, room, start = ...\n"
                             "local function tool(run, name, arguments, fn)\n"
                             "  room(run)\n"
                             "  local call, why = begin(run, name, arguments, fn)\n"
                             "  if not call then return nil, why end\n"
                             "  return finish(run, call, pcall(fn, arguments))\n"
                             "end\n"
                             "local function tool_started(run, name, arguments)\n"
                             "  room(run)\n"
                             "  local call, why = start(run, name, arguments)\n"
                             "  return call, why\n"
                             "end\n"
                             "return tool, tool_started\n";

/* What is behind a ToolCall. */
struct open_call {
    uint32_t number;
    bool answered;
};

/* room(run): waits until the client has taken what piled up. */
static int l_run_room(lua_State *L)
{
    const struct tg_run_ref *ref = tg_run_ref_at(L, 1);
    if (ref == NULL || ref->job == NULL || ref->job->over)
        return 0;
    uint64_t serial = tg_run_conn_serial(ref->job->run);
    return tg_api_return_sent(L, tg_api_conn(L, serial), TG_ERR_OK);
}

/* The script's line is one level further out than usual: both methods are Lua. */
static int raise_at_caller(lua_State *L, const char *method, const char *text)
{
    luaL_where(L, 2);
    lua_pushfstring(L, "%s: %s", method, text);
    lua_concat(L, 2);
    return lua_error(L);
}

/* Announces a call from (run, name, arguments). */
static enum tg_err announce(lua_State *L, const char *method, uint32_t *number)
{
    struct tg_error error;
    struct tg_run_ref *ref = tg_run_ref_at(L, 1);
    size_t len = lua_type(L, 2) == LUA_TSTRING ? lua_objlen(L, 2) : 0;
    if (len == 0 || len > TOOL_NAME_BYTES_MAX)
        raise_at_caller(L, method, "a name (text of 1 to 128 bytes) expected as first argument");
    struct tg_buffer *json = tg_lua_json_scratch(L);
    if (tg_lua_json_encode(L, 3, "arguments", json, &error) != TG_ERR_OK)
        raise_at_caller(L, method, error.text);
    struct tg_agent_job *job = ref->job;
    struct tg_run *run = tg_agent_enter(ref);
    if (run == NULL)
        return TG_ERR_CLOSED;
    enum tg_err err = tg_run_tool_started(run, lua_tostring(L, 2),
                                          (const char *)tg_buffer_head(json), json->len, number);
    tg_agent_leave(job);
    return err;
}

/* begin(run, name, arguments, fn) -> number | nil, why */
static int l_run_tool_begin(lua_State *L)
{
    static const char method[] = "run:tool";
    uint32_t number = 0;
    if (tg_run_ref_at(L, 1) == NULL)
        return raise_at_caller(L, method, "run expected (call it with a colon)");
    lua_settop(L, 4);
    if (lua_type(L, 4) != LUA_TFUNCTION)
        return raise_at_caller(
            L, method, "a function expected as third argument: run:tool(name, arguments, fn)");
    enum tg_err err = announce(L, method, &number);
    if (err != TG_ERR_OK)
        return tg_api_push_result(L, err);
    lua_pushnumber(L, number);
    return 1;
}

/* *serial: of the run's connection, when there is a run. */
static enum tg_err tool_done(struct tg_run_ref *ref, uint32_t number,
                             const struct tg_buffer *result, const char *error, uint64_t *serial)
{
    struct tg_agent_job *job = ref->job;
    struct tg_run *run = tg_agent_enter(ref);
    if (run == NULL)
        return TG_ERR_CLOSED;
    *serial = tg_run_conn_serial(run);
    const char *json = error == NULL ? (const char *)tg_buffer_head(result) : NULL;
    enum tg_err err = tg_run_tool_done(run, number, json, error == NULL ? result->len : 0, error);
    tg_agent_leave(job);
    return err;
}

/* For run:tool: the script learns from its next event when nobody listens any more. */
static void tool_done_unheard(struct tg_run_ref *ref, uint32_t number,
                              const struct tg_buffer *result, const char *error)
{
    uint64_t serial = 0;
    enum tg_err err = tool_done(ref, number, result, error, &serial);
    (void)err;
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
        tool_done_unheard(ref, number, NULL, text);
        return lua_error(L);
    }
    if (lua_gettop(L) == 3)
        lua_pushnil(L);
    struct tg_buffer *json = tg_lua_json_scratch(L);
    if (tg_lua_json_encode(L, 4, "result", json, &error) != TG_ERR_OK) {
        tool_done_unheard(ref, number, NULL, "the tool's result cannot be sent");
        return luaL_error(L, "run:tool: %s", error.text);
    }
    tool_done_unheard(ref, number, json, NULL);
    return lua_gettop(L) - 3;
}

/* --- calls that are answered later ------------------------------------------------------------------ */

/* Leaves the new ToolCall of the run at 1 on top. */
static struct open_call *push_open_call(lua_State *L)
{
    struct open_call *call = lua_newuserdata(L, sizeof *call);
    *call = (struct open_call){.answered = false};
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, -2);
    return call;
}

/* start(run, name, arguments) -> call | nil, why */
static int l_run_tool_start(lua_State *L)
{
    static const char method[] = "run:tool_started";
    const struct tg_run_ref *ref = tg_run_ref_at(L, 1);
    if (ref == NULL)
        return raise_at_caller(L, method, "run expected (call it with a colon)");
    lua_settop(L, 3);
    if (ref->job != NULL && ref->job->open_calls >= OPEN_CALLS_MAX)
        return tg_api_push_failure(L, "too many tool calls are open");
    struct open_call *call = push_open_call(L);
    enum tg_err err = announce(L, method, &call->number);
    if (err != TG_ERR_OK)
        return tg_api_push_result(L, err);
    if (ref->job != NULL)
        ref->job->open_calls++;
    return 1;
}

static struct open_call *check_open_call(lua_State *L, const char *method)
{
    struct open_call *call = tg_api_test_userdata(L, 1, &metatable_key);
    if (call == NULL)
        luaL_error(L, "%s: a tool call expected, got %s (call methods with a colon)", method,
                   tg_api_type_name(L, 1));
    else if (call->answered)
        luaL_error(L, "%s: this tool call has its answer already", method);
    return call;
}

static int answer(lua_State *L, struct open_call *call, const struct tg_buffer *result,
                  const char *error)
{
    uint64_t serial = 0;
    lua_getfenv(L, 1);
    lua_rawgeti(L, -1, 1);
    struct tg_run_ref *ref = lua_touserdata(L, -1);
    call->answered = true;
    if (ref->job != NULL)
        ref->job->open_calls--;
    enum tg_err err = tool_done(ref, call->number, result, error, &serial);
    return tg_api_return_sent(L, tg_api_conn(L, serial), err);
}

/* call:completed(result) -> true | nil, why */
static int l_tool_call_completed(lua_State *L)
{
    static const char method[] = "call:completed";
    struct tg_error error;
    struct open_call *call = check_open_call(L, method);
    lua_settop(L, 2);
    struct tg_buffer *json = tg_lua_json_scratch(L);
    if (tg_lua_json_encode(L, 2, "result", json, &error) != TG_ERR_OK)
        return luaL_error(L, "%s: %s", method, error.text);
    return answer(L, call, json, NULL);
}

/* call:failed(error) -> true | nil, why */
static int l_tool_call_failed(lua_State *L)
{
    char text[TG_REASON_SIZE];
    struct open_call *call = check_open_call(L, "call:failed");
    lua_settop(L, 2);
    copy_tool_error(L, 2, text);
    return answer(L, call, NULL, text);
}

static int l_tool_call_index(lua_State *L)
{
    return tg_api_index_method(L, &methods_key, "a tool call",
                               "call:completed(result), call:failed(error)");
}

static int l_tool_call_tostring(lua_State *L)
{
    const struct open_call *call = tg_api_test_userdata(L, 1, &metatable_key);
    lua_pushfstring(L, "tool call %d", call == NULL ? 0 : (int)call->number);
    return 1;
}

static const luaL_Reg methods[] = {
    {"completed", l_tool_call_completed},
    {"failed", l_tool_call_failed},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__index", l_tool_call_index},
    {"__tostring", l_tool_call_tostring},
    {NULL, NULL},
};

void tg_run_tool_open_type(lua_State *L)
{
    tg_api_open_methods(L, "tidegate.ToolCall", &metatable_key, metamethods, &methods_key, methods);
}

void tg_run_tool_add(lua_State *L)
{
    int table = lua_gettop(L);
    if (luaL_loadbuffer(L, source, sizeof source - 1, "=tidegate") != 0)
        lua_error(L);
    lua_pushcfunction(L, l_run_tool_begin);
    lua_pushcfunction(L, l_run_tool_finish);
    tg_sandbox_push_library(L);
    lua_getfield(L, -1, "pcall");
    lua_remove(L, -2);
    lua_pushcfunction(L, l_run_room);
    lua_pushcfunction(L, l_run_tool_start);
    lua_call(L, 5, 2);
    lua_setfield(L, table, "tool_started");
    lua_setfield(L, table, "tool");
}
