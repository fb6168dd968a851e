/* run.c - what an agent sees of its run: the type `run`.
 *
 * The fields live in the userdata's environment, so they can be read after the run; events go through
 * the job, which the end of the run takes away.
 * run:tool and run:tool_started are in run_tool.c.
 */
#include "script/api/run.h"

#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/api/congestion.h"
#include "script/api/conn.h"
#include "script/api/run_call.h"
#include "script/api/run_tool.h"
#include "script/hooks/agents.h"

static char metatable_key;
static char methods_key;

struct tg_run_ref *tg_run_ref_at(lua_State *L, int index)
{
    return tg_api_test_userdata(L, index, &metatable_key);
}

static struct tg_run_ref *check_run(lua_State *L)
{
    struct tg_run_ref *ref = tg_run_ref_at(L, 1);
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

/* --- access ------------------------------------------------------------------------------------ */

static const char *const names[] = {"id",    "agent",    "conn",         "thinking",
                                    "delta", "tool",     "tool_started", "cancelled",
                                    "call",  "hand_off", "spend"};

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

void tg_run_open_type(lua_State *L)
{
    tg_api_set_metatable(L, &metatable_key, metamethods);
    tg_run_tool_open_type(L);
    tg_run_call_open_type(L);
    lua_pushlightuserdata(L, &methods_key);
    lua_createtable(L, 0, 5);
    tg_api_set_functions(L, methods);
    tg_run_tool_add(L);
    tg_run_call_add(L);
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
