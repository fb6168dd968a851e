/* agents.c - executes agents: one call (a coroutine of the current generation) a run.
 *
 *   start ─> under way ─[returns, raises, over budget]─> complete or fail ─> released
 *     └─> waits ─┘└──[cancelled, timed out, connection lost]──> call cancelled ──> released
 *
 * It waits while its connection is taken to another version of the policy (migrate.c).
 *
 * I1  A run is released once: by its call's end or by its cancel, never while a C function of the
 *     script API is using it (job.busy).
 * I2  After that the Lua object has no job, and every use of it answers "closed".
 */
#include "script/hooks/agents.h"

#include <assert.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/log.h"
#include "base/memory.h"
#include "connection/redact.h"
#include "script/api/json.h"
#include "script/api/run.h"
#include "script/hooks/agent_result.h"
#include "script/hooks/agents_internal.h"
#include "script/host_internal.h"
#include "script/plain.h"
#include "script/policy/migrate.h"
#include "script/policy/rebuild.h"

static void release(struct tg_agent_job *job)
{
    if (job->ref != NULL)
        job->ref->job = NULL;
    tg_run_set_data(job->run, NULL);
    tg_run_release(job->run);
    tg_free(job->kept_block);
    tg_free(job);
}

struct tg_run *tg_agent_enter(struct tg_run_ref *ref)
{
    if (ref->job == NULL || ref->job->over || tg_run_is_over(ref->job->run))
        return NULL;
    ref->job->busy++;
    return ref->job->run;
}

void tg_agent_leave(struct tg_agent_job *job)
{
    assert(job->busy > 0);
    job->busy--;
    if (job->busy == 0 && job->over)
        release(job);
}

/* --- the end ----------------------------------------------------------------------------------- */

static void log_failure(const struct tg_call *call, const struct tg_run *run, const char *outcome,
                        const char *message, const char *traceback)
{
    char id[TG_CONN_ID_SIZE] = "";
    const struct tg_conn *conn = tg_hub_find_serial(call->generation->env->hub, call->conn_serial);
    if (conn != NULL)
        tg_conn_id_text(conn, id);
    tg_log_about(conn, TG_LOG_ERROR, "run.failed", tg_log_str("run", tg_run_id(run)),
                 tg_log_str("agent", tg_run_agent(run)), tg_log_str("id", id),
                 tg_log_str("policy", call->generation->version), tg_log_str("outcome", outcome),
                 tg_log_str("message", message), tg_log_str("traceback", traceback));
}

/* What the client is told; the rest is in the log. */
static void fail_run(struct tg_run *run, enum tg_call_outcome outcome)
{
    switch (outcome) {
    case TG_CALL_CPU_BUDGET:
        tg_run_fail(run, TG_RUN_BUDGET_OUTCOME, "cpu_budget",
                    "the agent computed too long without waiting");
        return;
    case TG_CALL_WALL_BUDGET:
        tg_run_fail(run, TG_RUN_TIMEOUT_OUTCOME, "timeout", "the agent took too long");
        return;
    case TG_CALL_MEMORY:
        tg_run_fail(run, TG_RUN_BUDGET_OUTCOME, "memory", "the agent ran out of memory");
        return;
    case TG_CALL_ERROR:
    case TG_CALL_YIELDED:
    case TG_CALL_OK:
        tg_run_fail(run, TG_RUN_FAILED_OUTCOME, "script_error", "the agent failed");
        return;
    }
}

/* It ended as its author meant it to: nothing for an operator to look into. */
static void log_named_failure(const struct tg_call *call, const struct tg_run *run,
                              const struct tg_agent_result *result)
{
    char id[TG_CONN_ID_SIZE] = "";
    const struct tg_conn *conn = tg_hub_find_serial(call->generation->env->hub, call->conn_serial);
    if (conn != NULL)
        tg_conn_id_text(conn, id);
    tg_log_about(conn, TG_LOG_INFO, "run.ended", tg_log_str("run", tg_run_id(run)),
                 tg_log_str("agent", tg_run_agent(run)), tg_log_str("id", id),
                 tg_log_str("policy", call->generation->version), tg_log_str("code", result->code),
                 tg_log_str("message", result->message));
}

/* The agent has returned. */
static void finish_run(struct tg_run *run, const struct tg_agent_result *result)
{
    if (result->failed) {
        tg_run_fail(run, TG_RUN_FAILED_OUTCOME, result->code, result->message);
        return;
    }
    const struct tg_buffer *details = result->details.len == 0 ? NULL : &result->details;
    tg_run_complete_with(run, (const char *)tg_buffer_head(&result->response), result->response.len,
                         details == NULL ? NULL : (const char *)tg_buffer_head(details),
                         details == NULL ? 0 : details->len);
}

static void on_agent_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                          const char *error_text, const char *traceback)
{
    struct tg_agent_job *job = call->owner;
    struct tg_agent_result result = {.failed = false};
    struct tg_error error;
    tg_run_set_data(job->run, NULL); /* from here on a cancel has nothing to do */
    call->run = NULL;
    if (outcome == TG_CALL_OK) {
        outcome = tg_agent_result_read(call, results, &result, &error);
        error_text = error.text;
    }
    if (outcome == TG_CALL_OK) {
        if (result.failed)
            log_named_failure(call, job->run, &result);
        finish_run(job->run, &result);
    } else {
        log_failure(call, job->run, tg_call_outcome_names[outcome], error_text, traceback);
        fail_run(job->run, outcome);
    }
    tg_agent_result_fini(&result);
    release(job);
}

/* --- the executor ------------------------------------------------------------------------------ */

/* A builder for tg_call_start: the agent's function, run, input. */
static int build_agent_call(lua_State *L)
{
    struct tg_agent_job *job = lua_touserdata(L, 1);
    const struct tg_run_request *request = job->request;
    luaL_checkstack(L, 20, "agent");
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->call->generation->agents_ref);
    lua_pushstring(L, tg_run_agent(job->run));
    lua_rawget(L, -2);
    lua_remove(L, -2);
    tg_run_push(L, job);
    if (request->input.data != NULL)
        tg_plain_push(L, request->input.data, request->input.len);
    else if (request->input_json != NULL)
        tg_lua_json_push(L, request->input_json, request->input_json_len);
    else
        lua_newtable(L);
    return 3;
}

static const char *default_agent(void *host_ptr)
{
    const struct tg_host *host = host_ptr;
    return host->current == NULL ? NULL : host->current->default_agent;
}

/* A run executes on the version that it began with, and so does all that it calls. */
static struct tg_generation *generation_for(struct tg_host *host, const struct tg_run *parent)
{
    const struct tg_agent_job *job = parent == NULL ? NULL : tg_run_data(parent);
    return job == NULL || job->call == NULL ? host->current : job->call->generation;
}

static bool find_agent(void *host_ptr, const struct tg_run *parent, const char *name,
                       struct tg_run_limits *limits)
{
    const struct tg_generation *generation = generation_for(host_ptr, parent);
    if (generation == NULL)
        return false;
    TG_LIST_EACH (node, next, &generation->agents) {
        const struct tg_agent_row *row = TG_CONTAINER_OF(node, struct tg_agent_row, node);
        if (strcmp(row->name, name) == 0) {
            *limits = row->limits;
            return true;
        }
    }
    return false;
}

static const char *policy_version(void *host_ptr)
{
    return tg_host_version(host_ptr);
}

enum tg_err tg__agent_keep_request(struct tg_agent_job *job, const struct tg_run_request *request)
{
    size_t json_len = request->input_json == NULL ? 0 : request->input_json_len;
    char *block = tg_alloc(request->input.len + json_len + 1);
    if (block == NULL)
        return TG_ERR_NOMEM;
    job->kept_block = block;
    job->kept = (struct tg_run_request){.input = request->input};
    if (request->input.data != NULL) {
        memcpy(block, request->input.data, request->input.len);
        job->kept.input.data = (const uint8_t *)block;
    }
    if (request->input_json != NULL) {
        job->kept.input_json = memcpy(block + request->input.len, request->input_json, json_len);
        job->kept.input_json_len = json_len;
    }
    job->request = &job->kept;
    return TG_ERR_OK;
}

void tg__agent_refuse(struct tg_agent_job *job, enum tg_call_outcome outcome)
{
    tg_run_set_data(job->run, NULL);
    fail_run(job->run, outcome);
    release(job);
}

void tg__agent_begin(struct tg_host *host, struct tg_generation *generation,
                     struct tg_agent_job *job)
{
    (void)host;
    /* No wall budget: the run has a time-out of its own. */
    job->call = tg_call_create(generation, TG_CALL_RUN, tg_run_conn_serial(job->run), 0,
                               on_agent_done, job);
    if (job->call == NULL) {
        tg_run_set_data(job->run, NULL);
        tg_run_fail(job->run, TG_RUN_FAILED_OUTCOME, "overloaded",
                    "the agent could not be started");
        release(job);
        return;
    }
    job->call->run = job->run;
    tg_call_start(job->call, build_agent_call, job);
}

static void start(void *host_ptr, struct tg_run *run, const struct tg_run_request *request)
{
    struct tg_host *host = host_ptr;
    struct tg_agent_job *job = tg_calloc(1, sizeof *job);
    if (job == NULL) {
        tg_run_fail(run, TG_RUN_FAILED_OUTCOME, "overloaded", "the agent could not be started");
        tg_run_release(run);
        return;
    }
    job->run = run;
    job->request = request;
    tg_list_init(&job->waits);
    tg_run_set_data(run, job);
    struct tg_run *parent = tg_run_parent(run);
    if (parent != NULL) {
        tg__agent_begin(host, generation_for(host, parent), job);
        return;
    }
    tg__rebuild_if_due(host);
    if (!tg__migrate_before_run(host, job, request))
        tg__agent_begin(host, host->current, job);
}

/* It waits behind a migration of its connection. */
static void cancel_waiting(struct tg_host *host, struct tg_agent_job *job)
{
    uint64_t serial = tg_run_conn_serial(job->run);
    tg_list_remove(&job->waits);
    release(job);
    tg__migrate_forsaken(host, serial);
}

static void cancel(void *host_ptr, struct tg_run *run)
{
    struct tg_agent_job *job = tg_run_data(run);
    if (job == NULL)
        return; /* it is ending by itself this moment */
    struct tg_call *call = job->call;
    if (call == NULL) {
        cancel_waiting(host_ptr, job);
        return;
    }
    tg_run_set_data(run, NULL);
    call->run = NULL;
    if (job->busy > 0)
        job->over = true;
    else
        release(job);
    tg_call_cancel(call);
}

struct tg_run_executor tg_host_executor(struct tg_host *host)
{
    return (struct tg_run_executor){
        .host = host,
        .default_agent = default_agent,
        .find_agent = find_agent,
        .policy_version = policy_version,
        .start = start,
        .cancel = cancel,
    };
}
