/* worker.c - the life of a worker thread.
 *
 *   create ─> start ─> [prepare, commit] ─> listen ─> … ─> drain ─> drained ─> stop ─> join ─> destroy
 *
 * Everything below the mailbox belongs to the thread from start to join.
 */
#include "app/server/worker.h"

#include <stdio.h>
#include <unistd.h>

#include "app/server/worker_internal.h"
#include "app/task.h"
#include "base/log.h"
#include "base/memory.h"
#include "client/ws_client.h"
#include "net/http_client.h"
#include "net/process.h"
#include "net/tls_config.h"
#include "script/call/budget.h"

/* The end of each turn: writes out, and looks whether the drain is over. */
static bool before_wait(void *ctx)
{
    struct tg_worker *worker = ctx;
    bool more = tg_hub_flush(worker->hub);
    if (!worker->draining || worker->drained_told || tg_hub_count(worker->hub) > 0 ||
        tg_runs_count(worker->runs) > 0)
        return more;
    worker->drained_told = true;
    worker->options.events.drained(worker->options.events.ctx, worker->options.index);
    return more;
}

static struct tg_hub_options hub_options(const struct tg_worker_options *options)
{
    struct tg_hub_options hub = tg_layers_hub_options(options->config, options->index);
    hub.admission = options->admission;
    hub.trusted_proxies = options->trusted_proxies;
    hub.trusted_proxy_count = options->trusted_proxy_count;
    return hub;
}

static struct tg_host_options host_options(struct tg_worker *worker)
{
    struct tg_host_options host = tg_layers_host_options(worker->options.config);
    host.env.worker = (uint8_t)(worker->options.index + 1);
    host.env.timers = worker->timers;
    host.env.hub = worker->hub;
    host.env.runs = worker->runs;
    host.env.metrics = worker->metrics;
    host.env.kv = worker->options.kv;
    host.env.passes = worker->options.passes;
    host.env.http = worker->http;
    host.env.websockets = worker->websockets;
    host.env.processes = worker->processes;
    host.env.meter = worker->meter;
    host.env.options = worker->options.script_options;
    host.env.option_count = worker->options.script_option_count;
    host.env.post_ctx = worker;
    host.env.post = tg__worker_post_order;
    host.env.post_closing = tg__worker_post_closing;
    return host;
}

static enum tg_err create_layers(struct tg_worker *worker)
{
    struct tg_hub_options hub = hub_options(&worker->options);
    struct tg_runs_options runs = tg_layers_runs_options(worker->options.config);
    runs.quota = worker->options.quota;
    struct tg_http_client_options http = tg_layers_http_options(worker->options.config);
    struct tg_processes_options processes = {.worker = worker->options.index + 1,
                                             .metrics = worker->metrics};
    enum tg_err err = tg_net_create_leading(&worker->net, &worker->loop);
    if (err == TG_ERR_OK)
        err = tg_timers_create(&worker->timers, &worker->loop);
    if (err == TG_ERR_OK)
        err = tg_mailbox_create(&worker->mailbox, &worker->loop, worker);
    if (err == TG_ERR_OK)
        err = tg_hub_create(&worker->hub, &hub, worker->net, worker->timers, worker->metrics);
    if (err == TG_ERR_OK)
        err = tg_runs_create(&worker->runs, &runs, worker->hub);
    if (err == TG_ERR_OK)
        err = tg_http_client_create(&worker->http, &worker->loop, worker->timers, &http);
    if (err == TG_ERR_OK)
        err = tg_ws_client_create(&worker->websockets, worker->net, worker->timers, &http);
    if (err == TG_ERR_OK)
        err = tg_processes_create(&worker->processes, &worker->loop, &processes);
    return err;
}

enum tg_err tg_worker_create(struct tg_worker **out, const struct tg_worker_options *options,
                             struct tg_error *error)
{
    struct tg_worker *worker = tg_xcalloc(1, sizeof *worker);
    worker->options = *options;
    worker->metrics = tg_xcalloc(1, sizeof *worker->metrics);
    worker->fds = tg_xcalloc(options->fd_count + 1, sizeof *worker->fds);
    worker->listeners = tg_xcalloc(options->fd_count + 1, sizeof(struct tg_listener *));
    worker->tls_fds = tg_xcalloc(options->fd_count + 1, sizeof *worker->tls_fds);
    for (size_t i = 0; i < options->fd_count; i++) {
        worker->fds[i] = options->fds[i];
        worker->tls_fds[i] = options->tls_fds != NULL && options->tls_fds[i];
    }
    worker->tls = options->tls == NULL ? NULL : tg_tls_config_retain(options->tls);
    if (uv_loop_init(&worker->loop) != 0 || create_layers(worker) != TG_ERR_OK)
        return tg_error_set(error, TG_ERR_SYS,
                            "worker %zu could not be set up (out of file "
                            "descriptors or memory?)",
                            options->index + 1);
    *out = worker;
    return TG_ERR_OK;
}

void tg_worker_set_peers(struct tg_worker *worker, struct tg_worker *const *peers, size_t count)
{
    worker->peers = peers;
    worker->peer_count = count;
}

static void create_host(struct tg_worker *worker)
{
    const struct tg_config *config = worker->options.config;
    struct tg_host_options options;
    if (tg_meter_create(&worker->meter, config->script_cpu_budget_ms) != TG_ERR_OK)
        return;
    options = host_options(worker);
    if (tg_host_create(&worker->host, &options) != TG_ERR_OK)
        return;
    worker->layers =
        (struct tg_layers){.hub = worker->hub, .runs = worker->runs, .host = worker->host};
    tg_layers_connect(&worker->layers);
}

static void close_handles(struct tg_worker *worker)
{
    tg__worker_stop_listening(worker);
    tg_mailbox_close(worker->mailbox);
}

static void tear_down(struct tg_worker *worker)
{
    tg_host_destroy(worker->host);
    tg_http_client_destroy(worker->http);
    tg_ws_client_destroy(worker->websockets);
    tg_processes_destroy(worker->processes);
    tg_runs_destroy(worker->runs);
    tg_hub_destroy(worker->hub);
    tg_timers_destroy(worker->timers);
    tg_net_destroy(worker->net);
    close_handles(worker);
    while (uv_run(&worker->loop, UV_RUN_DEFAULT) != 0) {
        /* until the last close callback */
    }
    tg_meter_destroy(worker->meter);
}

static void run_thread(void *arg)
{
    struct tg_worker *worker = arg;
    create_host(worker);
    tg_net_run(worker->net, before_wait, worker); /* until stop */
    tear_down(worker);
}

enum tg_err tg_worker_start(struct tg_worker *worker, struct tg_error *error)
{
    int rc = uv_thread_create(&worker->thread, run_thread, worker);
    if (rc != 0)
        return tg_error_set(error, TG_ERR_SYS, "a worker thread could not be started: %s",
                            uv_strerror(rc));
    worker->started = true;
    return TG_ERR_OK;
}

void tg_worker_join(struct tg_worker *worker)
{
    if (!worker->started || worker->joined)
        return;
    tg_worker_stop(worker);
    (void)uv_thread_join(&worker->thread);
    worker->joined = true;
}

void tg_worker_destroy(struct tg_worker *worker)
{
    if (!worker->started)
        tear_down(worker);
    tg_mailbox_destroy(worker->mailbox);
    if (uv_loop_close(&worker->loop) != 0)
        tg_log(TG_LOG_ERROR, "worker.handles_left",
               tg_log_uint("worker", worker->options.index + 1));
    for (size_t i = 0; i < worker->options.fd_count; i++)
        if (worker->fds[i] >= 0)
            (void)close(worker->fds[i]);
    tg_free(worker->fds);
    tg_free(worker->tls_fds);
    tg_tls_config_release(worker->tls);
    tg_free(worker->listeners);
    tg_free(worker->metrics);
    tg_free(worker);
}

const struct tg_metrics *tg_worker_metrics(const struct tg_worker *worker)
{
    return worker->metrics;
}

/* --- orders from the main thread ------------------------------------------------------------------ */

static void do_prepare(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    struct tg_source *source = arg;
    struct tg_error error = {0};
    if (!lost) {
        const struct tg_worker_events *events = &worker->options.events;
        enum tg_err err = worker->host == NULL
                              ? tg_error_set(&error, TG_ERR_NOMEM, "worker has no script host")
                              : tg_host_prepare(worker->host, source, &error);
        events->prepared(events->ctx, worker->options.index, err, &error);
    }
    tg_source_release(source);
}

void tg_worker_prepare(struct tg_worker *worker, struct tg_source *source)
{
    tg_task_post(worker->mailbox, do_prepare, tg_source_retain(source));
}

static void do_commit(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    (void)arg;
    if (lost)
        return;
    tg_host_commit(worker->host);
    worker->options.events.switched(worker->options.events.ctx, worker->options.index);
}

void tg_worker_commit(struct tg_worker *worker)
{
    tg_task_post(worker->mailbox, do_commit, NULL);
}

static void do_abort(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    (void)arg;
    if (lost)
        return;
    if (worker->host != NULL)
        tg_host_abort(worker->host);
    worker->options.events.switched(worker->options.events.ctx, worker->options.index);
}

void tg_worker_abort(struct tg_worker *worker)
{
    tg_task_post(worker->mailbox, do_abort, NULL);
}

static void do_drain(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    (void)arg;
    if (lost)
        return;
    tg__worker_stop_listening(worker);
    tg_hub_drain(worker->hub);
    worker->draining = true;
}

void tg_worker_drain(struct tg_worker *worker)
{
    tg_task_post(worker->mailbox, do_drain, NULL);
}

static void do_drain_now(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    (void)arg;
    if (lost)
        return;
    tg_runs_end_all(worker->runs, "draining", "the server is shutting down");
    tg_hub_drain_now(worker->hub);
}

void tg_worker_drain_now(struct tg_worker *worker)
{
    tg_task_post(worker->mailbox, do_drain_now, NULL);
}

static void on_end_of_thread(uv_handle_t *handle, void *arg)
{
    (void)arg;
    uv_unref(handle);
}

static void do_stop(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    (void)arg;
    if (lost)
        return;
    tg__worker_stop_listening(worker);
    tg_runs_end_all(worker->runs, "draining", "the server is shutting down");
    tg_hub_drop_all(worker->hub);
    tg_processes_stop(worker->processes);
    uv_walk(&worker->loop, on_end_of_thread, NULL);
    tg_net_settle(worker->net);
}

void tg_worker_stop(struct tg_worker *worker)
{
    tg_task_post(worker->mailbox, do_stop, NULL);
}
