/* eval.c - see eval.h. */
#include "script/eval.h"

#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/memory.h"
#include "script/api/api.h"
#include "script/api/conn.h"
#include "script/api/json.h"
#include "script/call/call.h"
#include "script/host_internal.h"
#include "script/policy/loader.h"
#include "script/sandbox/sandbox.h"

#define VALUE_SIZE 256

/* Owned by the call. */
struct eval {
    tg_eval_done_fn fn;
    void *ctx;
    char *line;
    struct tg_buffer text;
};

static void free_eval(struct eval *eval)
{
    tg_free(eval->line);
    tg_buffer_fini(&eval->text);
    tg_free(eval);
}

/* A table of the policy's hooks and agents, as its file returned it. */
static void push_policy(lua_State *L, const struct tg_generation *generation)
{
    lua_newtable(L);
    for (int hook = 0; hook < TG_HOOKS; hook++) {
        if (generation->hook_refs[hook] == LUA_NOREF)
            continue;
        lua_rawgeti(L, LUA_REGISTRYINDEX, generation->hook_refs[hook]);
        lua_setfield(L, -2, tg_hook_names[hook]);
    }
    if (generation->agents_ref == LUA_NOREF)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, generation->agents_ref);
    lua_setfield(L, -2, "agents");
}

/* Names of the line's own, in front of the policy's globals. Setting one works, for this line. */
static void push_environment(lua_State *L, struct tg_call *call)
{
    const struct tg_generation *generation = call->generation;
    struct tg_conn *conn = tg_hub_find_serial(generation->env->hub, call->conn_serial);

    lua_newtable(L);
    if (conn != NULL) {
        tg_conn_push(L, conn);
        lua_setfield(L, -2, "conn");
    }
    push_policy(L, generation);
    lua_setfield(L, -2, "policy");
    tg_loader_push_require(L, 0);
    lua_pushliteral(L, "tidegate");
    lua_call(L, 1, 1);
    lua_setfield(L, -2, "tide");
    lua_newtable(L);
    tg_sandbox_push_policy(L);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

static int build_line(lua_State *L)
{
    struct tg_call *call = lua_touserdata(L, 1);
    const struct eval *eval = call->owner;

    lua_pushfstring(L, "return %s", eval->line);
    if (luaL_loadbufferx(L, lua_tostring(L, -1), lua_objlen(L, -1), "=line", "t") != 0 &&
        luaL_loadbufferx(L, eval->line, strlen(eval->line), "=line", "t") != 0)
        return lua_error(L);
    push_environment(L, call);
    (void)lua_setfenv(L, -2);
    return 1;
}

static void add_value(lua_State *L, int index, struct tg_buffer *out)
{
    struct tg_error error;
    char text[VALUE_SIZE];
    enum tg_err err = TG_ERR_INVALID;

    if (lua_isnil(L, index))
        err = tg_buffer_append_str(out, "nil");
    else if (!lua_isuserdata(L, index) || !tg_conn_is(L, index))
        err = tg_lua_json_encode(L, index, "value", out, &error);
    if (err != TG_ERR_OK) {
        tg_api_value_text(L, index, text, sizeof text);
        err = tg_buffer_append_str(out, text);
    }
    if (err == TG_ERR_OK)
        err = tg_buffer_append_str(out, "\n");
    (void)err; /* out of memory: the text is shorter */
}

struct reading {
    struct tg_call *call;
    int count;
};

static int read_values(lua_State *L)
{
    struct reading *reading = lua_touserdata(L, 1);
    struct eval *eval = reading->call->owner;

    lua_settop(L, 0);
    luaL_checkstack(L, reading->count + 8, "too many values");
    lua_xmove(reading->call->co, L, reading->count);
    for (int i = 1; i <= reading->count; i++)
        add_value(L, i, &eval->text);
    return 0;
}

static void on_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                    const char *error_text, const char *traceback)
{
    struct eval *eval = call->owner;
    struct reading reading = {call, results};
    struct tg_error error;

    (void)traceback;
    if (outcome == TG_CALL_OK) {
        outcome = tg_call_protect(call->generation, read_values, &reading, &error);
        error_text = error.text;
    }
    if (outcome == TG_CALL_OK && tg_buffer_append(&eval->text, "", 1) == TG_ERR_OK)
        eval->fn(eval->ctx, true, (const char *)tg_buffer_head(&eval->text));
    else
        eval->fn(eval->ctx, false, error_text != NULL ? error_text : "out of memory");
    free_eval(eval);
}

static void on_dropped(struct tg_call *call)
{
    free_eval(call->owner);
}

enum tg_err tg_host_eval(struct tg_host *host, uint64_t conn_serial, const char *line,
                         tg_eval_done_fn fn, void *ctx)
{
    struct eval *eval;
    struct tg_call *call;

    if (host->current == NULL)
        return TG_ERR_NOT_FOUND;
    eval = tg_xcalloc(1, sizeof *eval);
    eval->fn = fn;
    eval->ctx = ctx;
    eval->line = tg_xstrdup(line);
    call = tg_call_create(host->current, TG_CALL_HOOK, conn_serial, host->env.wall_budget_ms,
                          on_done, eval);
    if (call == NULL) {
        free_eval(eval);
        return TG_ERR_NOMEM;
    }
    call->hook = TG_HOOK_MESSAGE;
    call->on_dropped = on_dropped;
    tg_call_start(call, build_line, call);
    return TG_ERR_OK;
}

static bool has_work(const struct tg_generation *generation)
{
    if (generation == NULL)
        return false;
    TG_LIST_EACH (node, next, &generation->calls) {
        const struct tg_call *call = TG_CONTAINER_OF(node, struct tg_call, node);
        if (call->works_as == TG_CALL_HOOK || call->works_as == TG_CALL_RUN)
            return true;
    }
    return false;
}

bool tg_host_is_busy(const struct tg_host *host)
{
    TG_LIST_EACH (node, next, &host->draining) {
        if (has_work(TG_CONTAINER_OF(node, struct tg_generation, node)))
            return true;
    }
    return has_work(host->current);
}
