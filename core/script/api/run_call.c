/* run_call.c - see run_call.h.
 *
 *   call ─> the child runs, this waits ─[it ended]─> its response, or nil, message, code
 *                   └──[the wait is cancelled]──> the child is given up
 *
 * The wait is a userdata that Lua keeps (`anchor`) while the child is under way: the core points to it. A
 * hand-off waits for its own run to be ended by the core, and is never woken.
 */
#include "script/api/run_call.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "connection/connection.h"
#include "script/api/api.h"
#include "script/api/json.h"
#include "script/api/run.h"
#include "script/api/tide.h"
#include "script/call/call.h"
#include "script/hooks/agents.h"
#include "script/hooks/hook_results.h"
#include "script/plain.h"

#define CODE_SIZE 65
#define MESSAGE_SIZE 513
#define TOKENS_MAX 9007199254740992.0 /* 2^53 */

static char metatable_key;

struct run_wait {
    struct tg_run_watch watch;
    struct tg_call *call; /* borrowed: it ends the wait before it ends; NULL: not suspended */
    int anchor;
    bool ended;
    bool worked;
    struct tg_buffer input, response, details; /* owned */
    char code[CODE_SIZE];
    char message[MESSAGE_SIZE];
};

/* --- the end of the wait ------------------------------------------------------------------------- */

static void drop_anchor(lua_State *L, struct run_wait *wait)
{
    luaL_unref(L, LUA_REGISTRYINDEX, wait->anchor);
    wait->anchor = LUA_NOREF;
}

static void copy_text(char *out, size_t size, const char *text)
{
    size_t len = strlen(text);
    if (len >= size)
        len = size - 1;
    memcpy(out, text, len);
    out[len] = '\0';
}

static void keep_result(struct run_wait *wait, const struct tg_run_result *result)
{
    wait->ended = true;
    wait->worked = result->outcome == TG_RUN_COMPLETED_OUTCOME;
    if (wait->worked &&
        (tg_buffer_append(&wait->response, result->response_json, result->len) != TG_ERR_OK ||
         tg_buffer_append(&wait->details, result->details_json, result->details_len) != TG_ERR_OK))
        wait->worked = false;
    copy_text(wait->code, sizeof wait->code, result->code == NULL ? "memory" : result->code);
    copy_text(wait->message, sizeof wait->message,
              result->message == NULL ? "out of memory for the response" : result->message);
}

static int push_failure(lua_State *L, const char *message, const char *code)
{
    lua_pushnil(L);
    lua_pushstring(L, message);
    lua_pushstring(L, code);
    return 3;
}

static int push_result(lua_State *L, const struct run_wait *wait)
{
    luaL_checkstack(L, 6, "run:call");
    if (!wait->worked)
        return push_failure(L, wait->message, wait->code);
    tg_lua_json_push(L, (const char *)tg_buffer_head(&wait->response), wait->response.len);
    if (wait->details.len == 0)
        return 1;
    tg_lua_json_push(L, (const char *)tg_buffer_head(&wait->details), wait->details.len);
    return 2;
}

/* A builder for tg_call_wake. */
static int build_result(lua_State *L)
{
    return push_result(L, lua_touserdata(L, 1));
}

static void on_ended(struct tg_run_watch *watch, const struct tg_run_result *result)
{
    struct run_wait *wait = TG_CONTAINER_OF(watch, struct run_wait, watch);
    struct tg_call *call = wait->call;
    keep_result(wait, result);
    if (call == NULL)
        return; /* it has not begun to wait: l_run_call sees it */
    lua_State *L = call->generation->L;
    wait->call = NULL;
    tg_call_wake(call, build_result, wait);
    drop_anchor(L, wait);
}

static void stop_waiting(struct tg_call *call, void *ud)
{
    struct run_wait *wait = ud;
    wait->call = NULL;
    tg_run_give_up(&wait->watch);
    drop_anchor(call->generation->L, wait);
}

/* --- the beginning ------------------------------------------------------------------------------- */

static struct tg_run_ref *check_run(lua_State *L, const char *name)
{
    struct tg_run_ref *ref = tg_run_ref_at(L, 1);
    if (ref == NULL)
        luaL_error(L, "%s: run expected, got %s (call it with a colon)", name,
                   tg_api_type_name(L, 1));
    return ref;
}

/* run, agent, input */
static void check_arguments(lua_State *L, const char *name, const struct tg_run_ref *ref)
{
    size_t len = lua_type(L, 2) == LUA_TSTRING ? lua_objlen(L, 2) : 0;
    const struct tg_call *call = tg_call_current(L);
    if (len == 0 || len > TG_AGENT_NAME_BYTES_MAX)
        luaL_error(L, "%s: an agent's name (text of 1 to %d bytes) expected as first argument",
                   name, TG_AGENT_NAME_BYTES_MAX);
    if (call == NULL || (ref->job != NULL && !call->cancelled && call->root != ref->job->call))
        luaL_error(L, "%s: only the agent whose run it is can do this", name);
}

/* At the top of the stack, with the input at 3 taken. */
static struct run_wait *push_wait(lua_State *L, const char *name)
{
    struct tg_error error;
    struct run_wait *wait = lua_newuserdata(L, sizeof *wait);
    memset(wait, 0, sizeof *wait);
    wait->anchor = LUA_NOREF;
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
    if (!lua_isnil(L, 3) &&
        tg_plain_encode(L, 3, "input", TG_INPUT_BYTES_MAX, &wait->input, &error) != TG_ERR_OK)
        luaL_error(L, "%s: %s", name, error.text);
    lua_pushvalue(L, -1);
    wait->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    return wait;
}

static int refuse(lua_State *L, enum tg_err err)
{
    switch (err) {
    case TG_ERR_NOT_FOUND:
        lua_pushnil(L);
        lua_pushfstring(L, "there is no agent \"%s\"", lua_tostring(L, 2));
        lua_pushliteral(L, "unknown_agent");
        return 3;
    case TG_ERR_LIMIT:
        return push_failure(L, "too many runs at once; wait for one to end", "too_many_runs");
    case TG_ERR_ILLEGAL:
        return push_failure(L, "runs call each other too deep", "too_deep");
    case TG_ERR_OK:
    case TG_ERR_CLOSED:
        return push_failure(L, "closed", "closed");
    case TG_ERR_INVALID:
    case TG_ERR_PROTO:
    case TG_ERR_SCRIPT:
    case TG_ERR_BUDGET:
    case TG_ERR_NOMEM:
    case TG_ERR_SYS:
    case TG_ERR_EXISTS:
        break;
    }
    return push_failure(L, "the run could not be started", "overloaded");
}

static int start_child(lua_State *L, const char *name,
                       void (*ended)(struct tg_run_watch *, const struct tg_run_result *))
{
    struct tg_run_ref *ref = check_run(L, name);
    lua_settop(L, 3);
    check_arguments(L, name, ref);
    struct run_wait *wait = push_wait(L, name);
    struct tg_run_request request = {.agent = lua_tostring(L, 2)};
    if (wait->input.len > 0)
        request.input = (struct tg_blob){tg_buffer_head(&wait->input), wait->input.len};
    wait->watch.ended = ended;
    struct tg_agent_job *job = ref->job;
    struct tg_call *call = tg_call_current(L);
    struct tg_run *run = call->cancelled ? NULL : tg_agent_enter(ref);
    enum tg_err err = TG_ERR_CLOSED;
    if (run != NULL) {
        err = tg_runs_call(run, &request, &wait->watch);
        tg_agent_leave(job);
    }
    if (err != TG_ERR_OK || wait->ended)
        drop_anchor(L, wait);
    if (err != TG_ERR_OK)
        return refuse(L, err);
    if (wait->ended)
        return push_result(L, wait);
    wait->call = call;
    return tg_call_suspend(L, stop_waiting, wait);
}

/* run:call(agent [, input]) -> response [, details] | nil, message, code */
static int l_run_call(lua_State *L)
{
    return start_child(L, "run:call", on_ended);
}

/* run:hand_off(agent [, input]) -> nil, message, code; does not return when the other has begun */
static int l_run_hand_off(lua_State *L)
{
    return start_child(L, "run:hand_off", NULL);
}

/* run:spend{ tokens = n } -> how many are left | nil, "closed" */
static int l_run_spend(lua_State *L)
{
    uint64_t left = 0;
    struct tg_run_ref *ref = check_run(L, "run:spend");
    double tokens = -1;
    if (lua_istable(L, 2)) {
        lua_getfield(L, 2, "tokens");
        if (lua_type(L, -1) == LUA_TNUMBER)
            tokens = ceil(lua_tonumber(L, -1));
    }
    if (!(tokens >= 0 && tokens <= TOKENS_MAX))
        return luaL_error(L, "run:spend: { tokens = NUMBER } expected, from 0 on");
    struct tg_agent_job *job = ref->job;
    struct tg_run *run = tg_agent_enter(ref);
    if (run == NULL)
        return tg_api_push_result(L, TG_ERR_CLOSED);
    enum tg_err err = tg_run_spend(run, (uint64_t)tokens, &left);
    tg_agent_leave(job);
    if (err != TG_ERR_OK)
        return tg_api_push_result(L, err);
    lua_pushnumber(L, left == UINT64_MAX ? HUGE_VAL : (lua_Number)left);
    return 1;
}

static int l_wait_gc(lua_State *L)
{
    struct run_wait *wait = lua_touserdata(L, 1);
    tg_buffer_fini(&wait->input);
    tg_buffer_fini(&wait->response);
    tg_buffer_fini(&wait->details);
    return 0;
}

static const luaL_Reg methods[] = {
    {"call", l_run_call},
    {"hand_off", l_run_hand_off},
    {"spend", l_run_spend},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_wait_gc},
    {NULL, NULL},
};

void tg_run_call_open_type(lua_State *L)
{
    tg_api_set_metatable(L, &metatable_key, metamethods);
}

void tg_run_call_add(lua_State *L)
{
    tg_api_set_functions(L, methods);
}
