/* hooks.c - what a connection asks of the policy: starts the hook, reads its answer, hands it back.
 *
 * One call under way a connection, found by the connection's serial; when the answer comes the
 * connection may be gone, so it is looked up again and the answer dropped when there is none. Most calls
 * end before they ever wait: those are found on the C stack (struct tg_hook_beginning), and only one that
 * waits goes into the map.
 *
 * I1  Every tg_host_hook_start is answered once, or cancelled.
 * I2  Whatever goes wrong on the way to an answer is an outcome other than OK.
 *
 * A connection that comes from another version of the policy goes through migrate.c first.
 */
#include <assert.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/log.h"
#include "base/stopwatch.h"
#include "connection/connection.h"
#include "connection/redact.h"
#include "script/hooks/hook_args.h"
#include "script/hooks/hook_results.h"
#include "script/hooks/hooks_internal.h"
#include "script/host_internal.h"
#include "script/policy/migrate.h"
#include "script/policy/rebuild.h"

enum tg_hook_outcome tg__hook_outcome_of(enum tg_call_outcome outcome)
{
    switch (outcome) {
    case TG_CALL_OK:
        return TG_HOOK_OK_OUTCOME;
    case TG_CALL_CPU_BUDGET:
        return TG_HOOK_CPU_BUDGET_OUTCOME;
    case TG_CALL_WALL_BUDGET:
        return TG_HOOK_WALL_BUDGET_OUTCOME;
    case TG_CALL_MEMORY:
        return TG_HOOK_MEMORY_OUTCOME;
    case TG_CALL_ERROR:
    case TG_CALL_YIELDED:
        break;
    }
    return TG_HOOK_ERROR_OUTCOME;
}

void tg__hook_count(struct tg_host *host, enum tg_hook hook, enum tg_hook_outcome outcome,
                    uint64_t started_ns)
{
    struct tg_metrics *metrics = host->env.metrics;
    if (metrics == NULL)
        return;
    tg_counter_add(&metrics->hook_outcomes[hook][outcome], 1);
    tg_histogram_observe(&metrics->hook_duration[hook], tg_stopwatch_since_ns(started_ns) / 1000);
}

void tg__hook_log_failure(const struct tg_call *call, enum tg_hook_outcome outcome,
                          const char *message, const char *traceback)
{
    char id[TG_CONN_ID_SIZE] = "";
    const struct tg_conn *conn = tg_hub_find_serial(call->generation->env->hub, call->conn_serial);
    if (conn != NULL)
        tg_conn_id_text(conn, id);
    tg_log_about(conn, TG_LOG_ERROR, "hook.failed", tg_log_str("id", id),
                 tg_log_str("hook", tg_hook_names[call->hook]),
                 tg_log_str("policy", call->generation->version),
                 tg_log_str("outcome", tg_hook_outcome_names[outcome]),
                 tg_log_str("message", message), tg_log_str("traceback", traceback));
}

void tg__hook_fail(struct tg_hook_reading *reading, const struct tg_generation *generation,
                   enum tg_hook_outcome outcome)
{
    tg_hook_reading_fail(reading, outcome);
    if (generation->ended)
        reading->result.reason = TG_RELOADED_TEXT;
}

struct results {
    struct tg_call *call;
    int count;
    struct tg_hook_reading *reading;
};

/* A builder for tg_call_protect. */
static int read_results(lua_State *L)
{
    struct results *results = lua_touserdata(L, 1);
    lua_State *co = results->call->co;
    int kept = results->count < 3 ? results->count : 3;
    lua_settop(L, 0);
    /* The third is one too many already. */
    lua_settop(co, lua_gettop(co) - results->count + kept);
    lua_xmove(co, L, kept);
    tg_hook_results_read(L, results->call->hook, results->reading);
    return 0;
}

struct tg_hook_beginning {
    struct tg_hook_beginning *outer;
    uint64_t serial;
    struct tg_call *call; /* NULL: over */
};

static struct tg_call *take_call(struct tg_host *host, uint64_t serial)
{
    for (struct tg_hook_beginning *b = host->beginning; b != NULL; b = b->outer) {
        struct tg_call *call = b->call;
        if (call == NULL || b->serial != serial)
            continue;
        b->call = NULL;
        return call;
    }
    return tg_map_remove(&host->hook_calls, serial);
}

/* A message was taken: what nine of ten hook calls end with, without reading anything. */
static void answer_taken(struct tg_call *call)
{
    static const struct tg_hook_result taken = {.outcome = TG_HOOK_OK_OUTCOME};
    struct tg_host *host = call->owner;
    struct tg_conn *conn = tg_hub_find_serial(host->env.hub, call->conn_serial);

    tg__hook_count(host, call->hook, TG_HOOK_OK_OUTCOME, call->started_ns);
    if (conn != NULL)
        tg_conn_hook_done(conn, call->hook, &taken);
}

static void answer(struct tg_call *call, enum tg_call_outcome ended, int count_of_results,
                   const char *error_text, const char *traceback)
{
    struct tg_hook_reading reading;
    struct tg_error error;
    struct tg_host *host = call->owner;
    struct results results = {call, count_of_results, &reading};
    tg_hook_reading_fail(&reading, TG_HOOK_ERROR_OUTCOME);
    if (ended == TG_CALL_OK) {
        ended = tg_call_protect(call->generation, read_results, &results, &error);
        error_text = error.text;
    }
    if (ended != TG_CALL_OK) {
        tg_hook_reading_fini(&reading);
        tg__hook_fail(&reading, call->generation, tg__hook_outcome_of(ended));
    }
    enum tg_hook_outcome outcome = reading.result.outcome;
    struct tg_conn *conn = tg_hub_find_serial(host->env.hub, call->conn_serial);
    tg__hook_count(host, call->hook, outcome, call->started_ns);
    if (outcome != TG_HOOK_OK_OUTCOME && outcome != TG_HOOK_DENIED_OUTCOME)
        tg__hook_log_failure(
            call, outcome, outcome == TG_HOOK_BAD_RESULT_OUTCOME ? reading.wrong.text : error_text,
            traceback);
    if (conn != NULL)
        tg_conn_hook_done(conn, call->hook, &reading.result);
    tg_hook_reading_fini(&reading);
}

static void on_hook_done(struct tg_call *call, enum tg_call_outcome ended, int count_of_results,
                         const char *error_text, const char *traceback)
{
    (void)take_call(call->owner, call->conn_serial);
    if (ended == TG_CALL_OK && !tg_hook_results_matter(call->hook))
        answer_taken(call);
    else
        answer(call, ended, count_of_results, error_text, traceback);
}

/* The policy's function, or LUA_NOREF. A policy without reauthenticate is asked again as at first. */
static int function_of(const struct tg_generation *generation, enum tg_hook hook)
{
    if (hook == TG_HOOK_REAUTHENTICATE && generation->hook_refs[hook] == LUA_NOREF)
        hook = TG_HOOK_AUTHENTICATE;
    if (hook == TG_HOOK_PREPARE && generation->services_ref != LUA_NOREF)
        return generation->services_ref; /* it calls the policy's own */
    return generation->hook_refs[hook];
}

void tg__hook_answer_failed(struct tg_host *host, struct tg_conn *conn, enum tg_hook hook,
                            enum tg_hook_outcome outcome, const char *why)
{
    struct tg_hook_reading reading;
    char id[TG_CONN_ID_SIZE];
    tg_conn_id_text(conn, id);
    tg_hook_reading_fail(&reading, outcome);
    tg__hook_count(host, hook, outcome, tg_stopwatch_ns());
    tg_log_about(conn, TG_LOG_ERROR, "hook.failed", tg_log_str("id", id),
                 tg_log_str("hook", tg_hook_names[hook]),
                 tg_log_str("policy", tg_host_version(host)),
                 tg_log_str("outcome", tg_hook_outcome_names[outcome]), tg_log_str("message", why));
    tg_conn_hook_done(conn, hook, &reading.result);
}

bool tg_host_hook_defined(void *host_ptr, enum tg_hook hook)
{
    const struct tg_host *host = host_ptr;
    return host->current != NULL && function_of(host->current, hook) != LUA_NOREF;
}

void tg__hook_begin(struct tg_host *host, struct tg_generation *generation, struct tg_conn *conn,
                    enum tg_hook hook, const struct tg_hook_input *input)
{
    uint64_t serial = tg_conn_get_id(conn)->serial;
    if (generation == NULL || function_of(generation, hook) == LUA_NOREF) {
        tg__hook_answer_failed(host, conn, hook, TG_HOOK_ERROR_OUTCOME,
                               "no policy defines this hook");
        return;
    }
    struct tg_hook_args args = {
        .conn = conn, .hook = hook, .input = input, .function_ref = function_of(generation, hook)};
    struct tg_call *call = tg_call_create(generation, TG_CALL_HOOK, serial,
                                          host->env.wall_budget_ms, on_hook_done, host);
    if (call == NULL) {
        tg__hook_answer_failed(host, conn, hook, TG_HOOK_MEMORY_OUTCOME, "out of memory");
        return;
    }
    call->hook = hook;
    struct tg_hook_beginning beginning = {.outer = host->beginning, .serial = serial, .call = call};
    host->beginning = &beginning;
    tg_call_start(call, tg_hook_args_build, &args);
    host->beginning = beginning.outer;
    if (beginning.call == NULL) /* answered or cancelled; perhaps the connection is gone, too */
        return;
    enum tg_err err = tg_map_put(&host->hook_calls, serial, call);
    assert(err != TG_ERR_EXISTS);
    if (err != TG_ERR_OK) {
        tg_call_cancel(call);
        tg__hook_answer_failed(host, conn, hook, TG_HOOK_MEMORY_OUTCOME, "out of memory");
    }
}

void tg_host_hook_start(void *host_ptr, struct tg_conn *conn, enum tg_hook hook,
                        const struct tg_hook_input *input)
{
    struct tg_host *host = host_ptr;
    tg__rebuild_if_due(host);
    if (host->current != NULL && tg__migrate_before_hook(host, conn, hook, input))
        return;
    tg__hook_begin(host, host->current, conn, hook, input);
}

void tg_host_hook_cancel(void *host_ptr, struct tg_conn *conn)
{
    struct tg_host *host = host_ptr;
    struct tg_call *call = take_call(host, tg_conn_get_id(conn)->serial);
    if (call == NULL) {
        (void)tg__migrate_cancel_hook(host, conn);
        return;
    }
    tg__hook_count(host, call->hook, TG_HOOK_CANCELLED_OUTCOME, call->started_ns);
    tg_call_cancel(call);
}
