/* runs.c - all runs of one worker: starting them within the limits, ending them from outside.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/run_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"

_Static_assert(TG_RUN_OUTCOMES == TG_METRICS_RUN_OUTCOMES, "metrics must have a row for each");

enum tg_err tg_runs_create(struct tg_runs **out, const struct tg_runs_options *options,
                           struct tg_hub *hub)
{
    struct tg_runs *runs = tg_calloc(1, sizeof *runs);
    if (runs == NULL)
        return TG_ERR_NOMEM;
    runs->options = *options;
    runs->hub = hub;
    tg_list_init(&runs->all);
    *out = runs;
    return TG_ERR_OK;
}

void tg_runs_destroy(struct tg_runs *runs)
{
    if (runs == NULL)
        return;
    assert(runs->count == 0);
    tg_free(runs);
}

void tg_runs_set_executor(struct tg_runs *runs, const struct tg_run_executor *executor)
{
    runs->executor = *executor;
}

size_t tg_runs_count(const struct tg_runs *runs)
{
    return runs->count;
}

static struct tg_run *make_run(struct tg_runs *runs, struct tg_run *parent, const char *agent)
{
    struct tg_run *run = tg_calloc(1, sizeof *run);
    if (run == NULL)
        return NULL;
    run->agent = tg_strndup(agent, strlen(agent));
    if (run->agent == NULL) {
        tg_free(run);
        return NULL;
    }
    run->runs = runs;
    run->started_ns = tg_clock_monotonic_ns();
    run->metrics = tg_metrics_agent(tg_hub_get_metrics(runs->hub), agent);
    (void)snprintf(run->id, sizeof run->id, TG_RUN_ID_PREFIX "%02x%010" PRIx64 "_%016" PRIx64,
                   tg_hub_get_options(runs->hub)->worker, ++runs->sequence, tg_random_u64());
    run->parent = parent;
    run->outermost = parent == NULL ? run : parent->outermost;
    run->depth = parent == NULL ? 1 : parent->depth + 1;
    tg_list_init(&run->calls);
    tg_list_init(&run->of_conn);
    tg_list_init(&run->children);
    tg_list_init(&run->sibling);
    tg_list_push(&runs->all, &run->of_runs);
    runs->count++;
    return run;
}

/* Whose it is: a client's connection, or what its parent is of. */
static void set_origin(struct tg_run *run, const struct tg_conn *conn)
{
    const struct tg_run_executor *executor = &run->runs->executor;
    const struct tg_run *parent = run->parent;
    if (parent != NULL) {
        run->conn_serial = parent->conn_serial;
        run->unheard = parent->unheard;
        memcpy(run->parent_id, parent->id, sizeof run->parent_id);
        memcpy(run->policy_version, parent->policy_version, sizeof run->policy_version);
        return;
    }
    run->conn_serial = tg_conn_get_id(conn)->serial;
    if (executor->policy_version != NULL)
        (void)snprintf(run->policy_version, sizeof run->policy_version, "%s",
                       executor->policy_version(executor->host));
}

/* The limits by user: of all runs that clients started, and of this agent's. */
static enum tg_err take_places(struct tg_run *run, const struct tg_conn *conn)
{
    const struct tg_runs_options *options = &run->runs->options;
    const char *user = conn == NULL ? NULL : tg_conn_user_id(conn);
    enum tg_err err = TG_ERR_OK;
    if (options->quota == NULL)
        return TG_ERR_OK;
    if (run->parent == NULL && user != NULL) {
        run->user = tg_strndup(user, strlen(user));
        if (run->user == NULL)
            return TG_ERR_NOMEM;
        if (options->max_per_user > 0)
            err = tg_quota_take(options->quota, user, "", options->max_per_user, &run->of_user);
    }
    user = run->outermost->user;
    if (err == TG_ERR_OK && user != NULL && run->limits.max_per_user > 0)
        err = tg_quota_take(options->quota, user, run->agent, run->limits.max_per_user,
                            &run->of_agent);
    return err;
}

enum tg_err tg__run_create(struct tg_run **out, struct tg_runs *runs, struct tg_run *parent,
                           const struct tg_conn *conn, const char *agent,
                           const struct tg_run_limits *limits)
{
    struct tg_run *run = make_run(runs, parent, agent);
    if (run == NULL)
        return TG_ERR_NOMEM;
    run->limits = *limits;
    set_origin(run, conn);
    enum tg_err err = take_places(run, conn);
    if (err == TG_ERR_OK)
        err = tg__run_arm(run);
    if (err != TG_ERR_OK) {
        tg_run_release(run);
        return err;
    }
    *out = run;
    return TG_ERR_OK;
}

enum tg_err tg__run_launch(struct tg_run *run, const struct tg_run_request *request,
                           struct tg_run_watch *watch)
{
    const struct tg_run_executor *executor = &run->runs->executor;
    tg_counter_add(&run->metrics->running, 1);
    if (tg__run_send_started(run, request) != TG_ERR_OK && !run->over)
        tg_run_fail(run, TG_RUN_LOST_OUTCOME, "connection_lost", "the connection is over");
    if (run->over) {
        tg_run_release(run);
        return TG_ERR_CLOSED;
    }
    run->watch = watch;
    if (watch != NULL)
        watch->child = run;
    run->executing = true;
    executor->start(executor->host, run, request);
    return TG_ERR_OK;
}

static enum tg_err check_start(struct tg_runs *runs, struct tg_conn *conn,
                               const struct tg_run_request *request, const char **agent,
                               struct tg_run_limits *limits)
{
    const struct tg_run_executor *executor = &runs->executor;
    *agent = request->agent;
    if (*agent == NULL)
        *agent = executor->default_agent(executor->host);
    if (*agent == NULL)
        return TG_ERR_INVALID;
    if (!executor->find_agent(executor->host, NULL, *agent, limits))
        return TG_ERR_NOT_FOUND;
    return tg_conn_runs(conn) >= runs->options.max_per_connection ? TG_ERR_LIMIT : TG_ERR_OK;
}

enum tg_err tg_runs_start(struct tg_runs *runs, struct tg_conn *conn,
                          const struct tg_run_request *request)
{
    const char *agent;
    struct tg_run_limits limits = {0};
    struct tg_run *run = NULL;
    enum tg_err err = check_start(runs, conn, request, &agent, &limits);
    if (err != TG_ERR_OK)
        return err;
    struct tg_list *list = tg_conn_run_list(conn);
    err = list == NULL ? TG_ERR_NOMEM : tg__run_create(&run, runs, NULL, conn, agent, &limits);
    if (err != TG_ERR_OK)
        return err;
    tg_list_push(list, &run->of_conn);
    tg_conn_run_started(conn);
    return tg__run_launch(run, request, NULL);
}

/* At or below `run`. The depth is bounded. */
static struct tg_run *find_below(struct tg_run *run, const char *run_id)
{
    if (strcmp(run->id, run_id) == 0)
        return run;
    TG_LIST_EACH (node, next, &run->children) {
        struct tg_run *found = find_below(TG_CONTAINER_OF(node, struct tg_run, sibling), run_id);
        if (found != NULL)
            return found;
    }
    return NULL;
}

static void end_from_outside(struct tg_run *run, enum tg_run_outcome outcome, const char *code,
                             const char *message)
{
    tg__run_end_from_outside(
        run, &(struct tg_run_result){.outcome = outcome, .code = code, .message = message});
}

enum tg_err tg_runs_cancel(struct tg_runs *runs, struct tg_conn *conn, const char *run_id)
{
    (void)runs;
    if (tg_conn_runs(conn) == 0)
        return TG_ERR_NOT_FOUND;
    TG_LIST_EACH (node, next, tg_conn_run_list(conn)) {
        struct tg_run *run = find_below(TG_CONTAINER_OF(node, struct tg_run, of_conn), run_id);
        if (run == NULL)
            continue;
        end_from_outside(run, TG_RUN_CANCELLED_OUTCOME, "cancelled",
                         "the client cancelled the run");
        return TG_ERR_OK;
    }
    return TG_ERR_NOT_FOUND;
}

static void make_unheard(struct tg_run *run)
{
    tg__run_forget_delta(run);
    run->unheard = true;
    TG_LIST_EACH (node, next, &run->children)
        make_unheard(TG_CONTAINER_OF(node, struct tg_run, sibling));
}

static void detach(struct tg_run *run, struct tg_conn *conn)
{
    make_unheard(run);
    tg_list_remove(&run->of_conn);
    tg_conn_run_ended(conn);
}

void tg_runs_connection_over(struct tg_runs *runs, struct tg_conn *conn)
{
    if (tg_conn_runs(conn) == 0)
        return;
    struct tg_list *list = tg_conn_run_list(conn);
    /* Ending one may end others (a script that closes, a full outbox), so always take the first. */
    while (!tg_list_empty(list)) {
        struct tg_run *run = TG_CONTAINER_OF(list->next, struct tg_run, of_conn);
        if (runs->options.finish_unheard)
            detach(run, conn);
        else
            end_from_outside(run, TG_RUN_LOST_OUTCOME, "connection_lost",
                             "the connection has ended");
    }
}

void tg_runs_end_all(struct tg_runs *runs, const char *code, const char *message)
{
    struct tg_list *node = tg_list_first(&runs->all);
    while (node != NULL) {
        struct tg_run *run = TG_CONTAINER_OF(node, struct tg_run, of_runs);
        if (run->over) { /* ended, its script not yet off the stack */
            node = node->next == &runs->all ? NULL : node->next;
            continue;
        }
        end_from_outside(run, TG_RUN_CANCELLED_OUTCOME, code, message);
        node = tg_list_first(&runs->all);
    }
}
