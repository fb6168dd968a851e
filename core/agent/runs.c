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

/* The terminal event first, then the executor: nothing it still does can be heard. */
static void end_from_outside(struct tg_run *run, enum tg_run_outcome outcome, const char *code,
                             const char *message)
{
    const struct tg_run_executor *executor = &run->runs->executor;
    if (run->over)
        return;
    tg_run_fail(run, outcome, code, message);
    if (run->executing)
        executor->cancel(executor->host, run);
}

static void on_timeout(struct tg_timer *timer)
{
    struct tg_run *run = TG_CONTAINER_OF(timer, struct tg_run, timeout);
    end_from_outside(run, TG_RUN_TIMEOUT_OUTCOME, "timeout", "the run took longer than it may");
}

static struct tg_run *create_run(struct tg_runs *runs, const struct tg_conn *conn,
                                 const char *agent)
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
    run->conn_serial = tg_conn_get_id(conn)->serial;
    run->started_ns = tg_clock_monotonic_ns();
    if (runs->executor.policy_version != NULL)
        (void)snprintf(run->policy_version, sizeof run->policy_version, "%s",
                       runs->executor.policy_version(runs->executor.host));
    run->metrics = tg_metrics_agent(tg_hub_get_metrics(runs->hub), agent);
    (void)snprintf(run->id, sizeof run->id, "run_%02x%010" PRIx64 "_%016" PRIx64,
                   tg_hub_get_options(runs->hub)->worker, ++runs->sequence, tg_random_u64());
    tg_list_init(&run->calls);
    tg_list_init(&run->of_conn);
    tg_list_push(&runs->all, &run->of_runs);
    runs->count++;
    return run;
}

static enum tg_err check_start(struct tg_runs *runs, struct tg_conn *conn,
                               const struct tg_run_request *request, const char **agent)
{
    const struct tg_run_executor *executor = &runs->executor;
    *agent = request->agent;
    if (*agent == NULL)
        *agent = executor->default_agent(executor->host);
    if (*agent == NULL)
        return TG_ERR_INVALID;
    if (!executor->has_agent(executor->host, *agent))
        return TG_ERR_NOT_FOUND;
    return tg_conn_runs(conn) >= runs->options.max_per_connection ? TG_ERR_LIMIT : TG_ERR_OK;
}

enum tg_err tg_runs_start(struct tg_runs *runs, struct tg_conn *conn,
                          const struct tg_run_request *request)
{
    const struct tg_run_executor *executor = &runs->executor;
    const char *agent;
    enum tg_err err = check_start(runs, conn, request, &agent);
    if (err != TG_ERR_OK)
        return err;
    struct tg_run *run = create_run(runs, conn, agent);
    if (run == NULL)
        return TG_ERR_NOMEM;
    if (runs->options.timeout_ms > 0 &&
        tg_timer_start(tg_hub_get_timers(runs->hub), &run->timeout, runs->options.timeout_ms,
                       on_timeout) != TG_ERR_OK) {
        tg_run_release(run);
        return TG_ERR_NOMEM;
    }
    tg_list_push(tg_conn_run_list(conn), &run->of_conn);
    tg_counter_add(&run->metrics->running, 1);
    tg_conn_run_started(conn);
    if (tg__run_send_started(run, request) != TG_ERR_OK && !run->over)
        tg_run_fail(run, TG_RUN_LOST_OUTCOME, "connection_lost", "the connection is over");
    if (run->over) {
        tg_run_release(run);
        return TG_ERR_CLOSED;
    }
    run->executing = true;
    executor->start(executor->host, run, request);
    return TG_ERR_OK;
}

enum tg_err tg_runs_cancel(struct tg_runs *runs, struct tg_conn *conn, const char *run_id)
{
    (void)runs;
    TG_LIST_EACH (node, next, tg_conn_run_list(conn)) {
        struct tg_run *run = TG_CONTAINER_OF(node, struct tg_run, of_conn);
        if (strcmp(run->id, run_id) != 0)
            continue;
        end_from_outside(run, TG_RUN_CANCELLED_OUTCOME, "cancelled",
                         "the client cancelled the run");
        return TG_ERR_OK;
    }
    return TG_ERR_NOT_FOUND;
}

static void detach(struct tg_run *run, struct tg_conn *conn)
{
    tg__run_forget_delta(run);
    run->unheard = true;
    tg_list_remove(&run->of_conn);
    tg_conn_run_ended(conn);
}

void tg_runs_connection_over(struct tg_runs *runs, struct tg_conn *conn)
{
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
