/* migrate.c - the step of a connection from the version of the policy that served it to the current one.
 *
 *   first hook or run under another version ─> migrate under way ─[returns]──> runs that wait, then the hook
 *                                                   │ └──────────[fails]──> both fail, the connection with 1011
 *                                                   └─[nothing waits any more]─> cancelled, version restored
 *
 * Runs that wait have come before the hook that waits: while a connection asks it dispatches nothing.
 *
 * I1  A migration is in host->migrations from its start until what waited for it has been begun.
 * I2  It begins once a connection and version. One that is cancelled while it waits counts for nothing: the
 *     connection is what it was, and the next hook, perhaps `closed`, starts it again.
 * I3  `closed` runs also when migrate fails: it comes once for every connection.
 * I4  What waited runs on the generation that it was migrated to, whatever has become current meanwhile.
 */
#include "script/policy/migrate.h"

#include <assert.h>
#include <string.h>

#include <lauxlib.h>

#include "base/memory.h"
#include "connection/connection.h"
#include "script/hooks/agents_internal.h"
#include "script/hooks/hook_args.h"
#include "script/hooks/hooks_internal.h"
#include "script/host_internal.h"

struct migration {
    struct tg_host *host;
    struct tg_call *call;             /* NULL: it has ended, and what waited is being begun */
    struct tg_generation *generation; /* borrowed; the call keeps it alive */
    uint64_t serial;
    char from[TG_POLICY_VERSION_SIZE];
    enum tg_hook hook; /* that waits; TG_HOOKS: none */
    struct tg_hook_input input;
    char *kept;          /* owned; what `input` points to */
    struct tg_list jobs; /* tg_agent_job.waits; runs that wait, in order */
};

static struct migration *find(struct tg_host *host, uint64_t serial)
{
    return tg_map_find(&host->migrations, serial);
}

static void forget_hook(struct migration *m)
{
    m->hook = TG_HOOKS;
    tg_free(m->kept);
    m->kept = NULL;
}

static void destroy(struct migration *m)
{
    (void)tg_map_remove(&m->host->migrations, m->serial);
    tg_free(m->kept);
    tg_free(m);
}

/* The input is borrowed until hook_start returns. */
static enum tg_err keep_hook(struct migration *m, enum tg_hook hook,
                             const struct tg_hook_input *input)
{
    const char *reason = input->close_reason == NULL ? "" : input->close_reason;
    size_t reason_size = strlen(reason) + 1;
    assert(m->hook == TG_HOOKS);
    m->kept = tg_alloc(input->len + reason_size);
    if (m->kept == NULL)
        return TG_ERR_NOMEM;
    m->hook = hook;
    m->input = *input;
    memcpy(m->kept, reason, reason_size);
    m->input.close_reason = m->kept;
    if (input->data != NULL) {
        memcpy(m->kept + reason_size, input->data, input->len);
        m->input.data = m->kept + reason_size;
    }
    return TG_ERR_OK;
}

/* --- the end ----------------------------------------------------------------------------------- */

/* A state that was rebuilt while the migration waited has a successor of the same version. */
static struct tg_generation *serving(const struct migration *m)
{
    struct tg_generation *current = m->host->current;
    if (m->generation->retired && current != NULL &&
        strcmp(current->version, m->generation->version) == 0)
        return current;
    return m->generation;
}

static struct tg_agent_job *take_job(struct migration *m)
{
    struct tg_list *node = tg_list_first(&m->jobs);
    if (node == NULL)
        return NULL;
    tg_list_remove(node);
    return TG_CONTAINER_OF(node, struct tg_agent_job, waits);
}

/* Takes the hook out: beginning it may lead to the next question at once. */
static void begin_hook(struct migration *m, struct tg_generation *generation)
{
    struct tg_host *host = m->host;
    struct tg_conn *conn = tg_hub_find_serial(host->env.hub, m->serial);
    struct tg_hook_input input = m->input;
    enum tg_hook hook = m->hook;
    char *kept = m->kept;
    m->kept = NULL;
    destroy(m);
    if (hook != TG_HOOKS && conn != NULL)
        tg__hook_begin(host, generation, conn, hook, &input);
    tg_free(kept);
}

/* Each may end the connection, and with it what still waits. */
static void begin_all(struct migration *m)
{
    struct tg_generation *generation = serving(m);
    for (struct tg_agent_job *job = take_job(m); job != NULL; job = take_job(m))
        tg__agent_begin(m->host, generation, job);
    begin_hook(m, generation);
}

static void fail_all(struct migration *m, enum tg_call_outcome outcome)
{
    struct tg_hook_reading reading;
    struct tg_host *host = m->host;
    tg__hook_fail(&reading, m->generation, tg__hook_outcome_of(outcome));
    for (struct tg_agent_job *job = take_job(m); job != NULL; job = take_job(m))
        tg__agent_refuse(job, outcome);
    if (m->hook == TG_HOOK_CLOSED && host->current != NULL) {
        begin_hook(m, host->current);
        return;
    }
    struct tg_conn *conn = tg_hub_find_serial(host->env.hub, m->serial);
    enum tg_hook hook = m->hook;
    destroy(m);
    if (conn != NULL && hook != TG_HOOKS)
        tg_conn_hook_done(conn, hook, &reading.result);
    else if (conn != NULL)
        tg_conn_fail(conn, 1011, "migrate failed", reading.result.reason);
}

static void on_migrated(struct tg_call *call, enum tg_call_outcome outcome, int results,
                        const char *error_text, const char *traceback)
{
    struct migration *m = call->owner;
    (void)results; /* what it returns does not matter */
    m->call = NULL;
    tg__hook_count(m->host, TG_HOOK_MIGRATE, tg__hook_outcome_of(outcome), call->started_ns);
    if (outcome == TG_CALL_OK) {
        begin_all(m);
        return;
    }
    tg__hook_log_failure(call, tg__hook_outcome_of(outcome), error_text, traceback);
    fail_all(m, outcome);
}

/* Cancels a migration that nothing waits for. */
static void drop_if_forsaken(struct migration *m)
{
    struct tg_call *call = m->call;
    struct tg_host *host = m->host;
    struct tg_conn *conn = tg_hub_find_serial(host->env.hub, m->serial);
    if (call == NULL || m->hook != TG_HOOKS || !tg_list_empty(&m->jobs))
        return;
    tg__hook_count(host, TG_HOOK_MIGRATE, TG_HOOK_CANCELLED_OUTCOME, call->started_ns);
    if (conn != NULL && !call->running)
        tg_conn_set_policy_version(conn, m->from);
    destroy(m);
    tg_call_cancel(call);
}

/* --- the beginning ----------------------------------------------------------------------------- */

/* NULL: none is needed, or there is no memory for it (*err). Not begun yet. */
static struct migration *create(struct tg_host *host, const struct tg_conn *conn, enum tg_err *err)
{
    const char *from = tg_conn_policy_version(conn);
    struct tg_generation *generation = host->current;
    *err = TG_ERR_OK;
    if (from[0] == '\0' || strcmp(from, generation->version) == 0 ||
        generation->hook_refs[TG_HOOK_MIGRATE] == LUA_NOREF)
        return NULL;
    *err = TG_ERR_NOMEM;
    struct migration *m = tg_calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->host = host;
    m->generation = generation;
    m->serial = tg_conn_get_id(conn)->serial;
    m->hook = TG_HOOKS;
    memcpy(m->from, from, sizeof m->from);
    tg_list_init(&m->jobs);
    m->call = tg_call_create(generation, TG_CALL_HOOK, m->serial, host->env.wall_budget_ms,
                             on_migrated, m);
    if (m->call != NULL && tg_map_put(&host->migrations, m->serial, m) == TG_ERR_OK) {
        m->call->hook = TG_HOOK_MIGRATE;
        *err = TG_ERR_OK;
        return m;
    }
    if (m->call != NULL)
        tg_call_cancel(m->call);
    tg_free(m);
    return NULL;
}

/* Gives up one that has not begun. */
static void abort_migration(struct migration *m)
{
    struct tg_call *call = m->call;
    destroy(m);
    tg_call_cancel(call);
}

/* It may be over when this returns. */
static void start(struct migration *m, struct tg_conn *conn)
{
    char from[TG_POLICY_VERSION_SIZE];
    struct tg_hook_args args = {.conn = conn,
                                .hook = TG_HOOK_MIGRATE,
                                .function_ref = m->generation->hook_refs[TG_HOOK_MIGRATE],
                                .call = m->call,
                                .from_version = from};
    memcpy(from, m->from, sizeof from);
    tg_conn_set_policy_version(conn, m->generation->version);
    tg_call_start(m->call, tg_hook_args_build, &args);
}

/* What a hook or run has to wait for. */
struct wait {
    struct migration *m; /* NULL: there is no memory for it */
    bool under_way;      /* it was before, for others */
    enum tg_err err;
};

/* False: there is nothing to wait for, and from now on the connection is of the current version. */
static bool must_wait(struct tg_host *host, struct tg_conn *conn, struct wait *wait)
{
    struct migration *m = find(host, tg_conn_get_id(conn)->serial);
    *wait = (struct wait){.m = m, .under_way = m != NULL, .err = TG_ERR_OK};
    if (m == NULL)
        wait->m = create(host, conn, &wait->err);
    if (wait->m == NULL && wait->err == TG_ERR_OK) {
        tg_conn_set_policy_version(conn, host->current->version);
        return false;
    }
    return true;
}

/* Once what waits is kept, or could not be (wait->err). False: it will never be called. */
static bool begin_waiting(const struct wait *wait, struct tg_conn *conn)
{
    if (wait->err != TG_ERR_OK) {
        if (wait->m != NULL && !wait->under_way)
            abort_migration(wait->m);
        return false;
    }
    if (!wait->under_way)
        start(wait->m, conn);
    return true;
}

bool tg__migrate_before_hook(struct tg_host *host, struct tg_conn *conn, enum tg_hook hook,
                             const struct tg_hook_input *input)
{
    struct wait wait;
    if (host->migrations.count == 0 &&
        strcmp(tg_conn_policy_version(conn), host->current->version) == 0)
        return false; /* every message */
    if (!must_wait(host, conn, &wait))
        return false;
    if (wait.m != NULL)
        wait.err = keep_hook(wait.m, hook, input);
    if (!begin_waiting(&wait, conn))
        tg__hook_answer_failed(host, conn, hook, TG_HOOK_MEMORY_OUTCOME, "out of memory");
    return true;
}

bool tg__migrate_before_run(struct tg_host *host, struct tg_agent_job *job,
                            const struct tg_run_request *request)
{
    struct wait wait;
    struct tg_conn *conn = tg_hub_find_serial(host->env.hub, tg_run_conn_serial(job->run));
    if (conn == NULL || !must_wait(host, conn, &wait))
        return false;
    if (wait.m != NULL)
        wait.err = tg__agent_keep_request(job, request);
    if (wait.err == TG_ERR_OK)
        tg_list_push(&wait.m->jobs, &job->waits);
    if (!begin_waiting(&wait, conn))
        tg__agent_refuse(job, TG_CALL_MEMORY);
    return true;
}

bool tg__migrate_cancel_hook(struct tg_host *host, struct tg_conn *conn)
{
    struct migration *m = find(host, tg_conn_get_id(conn)->serial);
    if (m == NULL || m->hook == TG_HOOKS)
        return false;
    forget_hook(m);
    drop_if_forsaken(m);
    return true;
}

void tg__migrate_forsaken(struct tg_host *host, uint64_t serial)
{
    struct migration *m = find(host, serial);
    if (m != NULL)
        drop_if_forsaken(m);
}

void tg__migrations_drop(struct tg_host *host)
{
    struct migration *m;
    size_t cursor = 0;
    while ((m = tg_map_next(&host->migrations, &cursor)) != NULL) {
        assert(tg_list_empty(&m->jobs)); /* runs are ended before the host is */
        tg_free(m->kept);
        tg_free(m);
    }
    tg_map_fini(&host->migrations);
}
