/* server.c - the life of the process on its main thread.
 *
 *   create ─> run: [first load] ─> serving ─[signal | POST /drain]─> draining ─> stopped
 *
 * Order of the end: workers drain, are stopped and joined, then the main loop's own handles close. Until
 * the join any worker may post to any mailbox, so mailboxes outlive the threads.
 */
#include "app/server/server.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/script_options.h"
#include "app/server/layers.h"
#include "app/server/server_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/stopwatch.h"

/* How long workers may take, after the last close deadline, to notice that all is over. */
#define STOP_MARGIN_MS 1000

void tg__server_stop(struct tg_server *server)
{
    if (server->stopped)
        return;
    server->stopped = true;
    uv_stop(&server->loop);
}

/* --- reload ------------------------------------------------------------------------------------------ */

static void worker_prepare(void *ctx, size_t index, struct tg_source *source)
{
    struct tg_server *server = ctx;
    tg_worker_prepare(server->workers[index], source);
}

static void worker_commit(void *ctx, size_t index)
{
    struct tg_server *server = ctx;
    tg_worker_commit(server->workers[index]);
}

static void worker_abort(void *ctx, size_t index)
{
    struct tg_server *server = ctx;
    tg_worker_abort(server->workers[index]);
}

static void on_files_changed(void *ctx)
{
    struct tg_server *server = ctx;
    if (!server->draining && !server->stopped)
        tg_reload_request_if_changed(server->reload, "watch", NULL, NULL);
}

static void announce(const struct tg_server *server)
{
    tg__sockets_announce(server);
    if (server->admin != NULL)
        printf("admin http://%s\n", server->admin_bound);
    (void)fflush(stdout);
}

static void on_first_load(void *ctx, const struct tg_reload_result *result)
{
    struct tg_server *server = ctx;
    if (result->err != TG_ERR_OK) {
        (void)fprintf(stderr, "tidegate: the policy did not load: %s\n", result->error.text);
        server->exit_code = 1;
        tg__server_stop(server);
        return;
    }
    for (size_t i = 0; i < server->worker_count; i++)
        tg_worker_listen(server->workers[i]);
    server->serving = true;
    announce(server);
    tg_log(TG_LOG_INFO, "server.ready", tg_log_uint("workers", server->worker_count),
           tg_log_str("policy", result->version));
}

/* --- drain ------------------------------------------------------------------------------------------- */

static void on_hard_deadline(struct tg_timer *timer)
{
    struct tg_server *server = TG_CONTAINER_OF(timer, struct tg_server, deadline);
    tg_log(TG_LOG_WARN, "server.drain_incomplete",
           tg_log_uint("workers_left", server->worker_count - server->drained));
    server->exit_code = 1;
    tg__server_stop(server);
}

static void arm(struct tg_server *server, uint64_t delay_ms, tg_timer_fn fn)
{
    if (tg_timer_start(server->timers, &server->deadline, delay_ms, fn) != TG_ERR_OK)
        tg__server_stop(server); /* without a deadline the drain could last for ever */
}

static void drain_now(struct tg_server *server)
{
    for (size_t i = 0; i < server->worker_count; i++)
        tg_worker_drain_now(server->workers[i]);
    /* One close deadline for the close handshake, one for the peer's FIN. */
    arm(server, 2 * server->config->close_timeout_ms + STOP_MARGIN_MS, on_hard_deadline);
}

static void on_drain_deadline(struct tg_timer *timer)
{
    struct tg_server *server = TG_CONTAINER_OF(timer, struct tg_server, deadline);
    tg_log(TG_LOG_WARN, "server.drain_timeout", tg_log_str("action", "ending what is left"));
    drain_now(server);
}

void tg_server_drain(struct tg_server *server, const char *why)
{
    if (server->stopped)
        return;
    tg_log(TG_LOG_INFO, "server.drain", tg_log_str("why", why),
           tg_log_bool("again", server->draining));
    if (!server->serving) {
        tg__server_stop(server);
        return;
    }
    if (server->draining) {
        drain_now(server);
        return;
    }
    server->draining = true;
    tg_sockets_unlink(&server->sockets); /* before the next server looks whether it is in use */
    for (size_t i = 0; i < server->worker_count; i++)
        tg_worker_drain(server->workers[i]);
    arm(server, server->config->drain_timeout_ms, on_drain_deadline);
}

/* --- create, run, destroy ---------------------------------------------------------------------------- */

static enum tg_err create_worker(struct tg_server *server, size_t index, struct tg_error *error)
{
    size_t count = server->sockets.count;
    int *fds = tg_xcalloc(count + 1, sizeof *fds);
    bool *tls_fds = tg_xcalloc(count + 1, sizeof *tls_fds);
    struct tg_worker_options options = {
        .index = index,
        .config = server->config,
        .admission = server->admission,
        .kv = server->kv,
        .passes = server->passes,
        .quota = server->quota,
        .trusted_proxies = server->trusted_proxies,
        .trusted_proxy_count = server->trusted_proxy_count,
        .script_options = server->script_options,
        .script_option_count = server->config->options_count,
        .fds = fds,
        .tls = server->tls,
        .tls_fds = tls_fds,
        .fd_count = count,
        .events = tg__reports_of_workers(server),
    };
    for (size_t i = 0; i < count; i++)
        tls_fds[i] = server->sockets.items[i].is_tls;
    enum tg_err err = tg__sockets_of_worker(server, fds, error);
    if (err == TG_ERR_OK)
        err = tg_worker_create(&server->workers[index], &options, error);
    tg_free(fds);
    tg_free(tls_fds);
    return err;
}

static enum tg_err create_workers(struct tg_server *server, struct tg_error *error)
{
    enum tg_err err = tg__sockets_open(server, error);
    for (size_t i = 0; i < server->worker_count && err == TG_ERR_OK; i++)
        err = create_worker(server, i, error);
    tg_sockets_handed_over(&server->sockets);
    return err;
}

static enum tg_err start_threads(struct tg_server *server, struct tg_error *error)
{
    enum tg_err err = TG_ERR_OK;
    for (size_t i = 0; i < server->worker_count; i++)
        tg_worker_set_peers(server->workers[i], server->workers, server->worker_count);
    for (size_t i = 0; i < server->worker_count && err == TG_ERR_OK; i++)
        err = tg_worker_start(server->workers[i], error);
    return err;
}

static enum tg_err create_reload(struct tg_server *server)
{
    const struct tg_config *config = server->config;
    struct tg_reload_workers workers = {
        .ctx = server,
        .count = server->worker_count,
        .prepare = worker_prepare,
        .commit = worker_commit,
        .abort = worker_abort,
        .prepare_rest = tg__tls_prepare,
        .switch_rest = tg__tls_switch,
    };
    enum tg_err err = tg_meter_create(&server->meter, config->script_cpu_budget_ms);
    if (err != TG_ERR_OK)
        return err;
    server->probe = (struct tg_script_env){
        .meter = server->meter,
        .wall_budget_ms = config->script_wall_budget_ms,
        .memory_max = config->script_memory,
        .options = server->script_options,
        .option_count = config->options_count,
        .server = tg_layers_script_server(config),
        .programs = tg_layers_script_programs(config),
    };
    err = tg_reload_create(&server->reload, config->policy, &server->probe, &workers);
    if (err == TG_ERR_OK && config->watch)
        err = tg_watch_create(&server->watch, &server->loop, server->timers, config->policy,
                              on_files_changed, server);
    return err;
}

static enum tg_err create_loop(struct tg_server *server, struct tg_error *error)
{
    enum tg_err err = TG_ERR_SYS;
    server->loop_open = uv_loop_init(&server->loop) == 0;
    if (server->loop_open)
        err = tg_net_create(&server->net, &server->loop);
    if (err == TG_ERR_OK)
        err = tg_timers_create(&server->timers, &server->loop);
    if (err == TG_ERR_OK)
        err = tg_mailbox_create(&server->mailbox, &server->loop, server);
    if (err == TG_ERR_OK)
        err = create_reload(server);
    if (err != TG_ERR_OK)
        return tg_error_set(error, err, "the server could not be set up: %s", tg_err_text(err));
    return TG_ERR_OK;
}

enum tg_err tg_server_create(struct tg_server **out, const struct tg_config *config,
                             struct tg_error *error)
{
    struct tg_server *server = tg_xcalloc(1, sizeof *server);
    tg_stopwatch_calibrate();
    server->config = config;
    server->started_ms = tg_clock_monotonic_ms();
    server->worker_count = (size_t)config->workers;
    server->workers = tg_xcalloc(server->worker_count, sizeof(struct tg_worker *));
    server->script_options = tg_script_options_from(config);
    enum tg_err err = tg_watchdog_start(error);
    server->watched = err == TG_ERR_OK;
    if (err == TG_ERR_OK)
        err = create_loop(server, error);
    if (err == TG_ERR_OK)
        err = tg_layers_trusted_proxies(config, &server->trusted_proxies,
                                        &server->trusted_proxy_count, error);
    if (err == TG_ERR_OK)
        err = tg_layers_admission(config, &server->admission, error);
    if (err == TG_ERR_OK)
        err = tg_layers_stores(config, &server->kv, &server->passes, error);
    if (err == TG_ERR_OK)
        err = tg_layers_quota(&server->quota, error);
    if (err == TG_ERR_OK)
        err = tg__tls_start(server, error);
    if (err == TG_ERR_OK)
        err = create_workers(server, error);
    if (err == TG_ERR_OK)
        err = tg__signals_start(server, error);
    if (err == TG_ERR_OK)
        err = tg__admin_start(server, error);
    if (err == TG_ERR_OK)
        err = start_threads(server, error);
    if (err == TG_ERR_OK)
        *out = server;
    else
        tg_server_destroy(server);
    return err;
}

static void join_workers(struct tg_server *server)
{
    for (size_t i = 0; i < server->worker_count; i++)
        if (server->workers[i] != NULL)
            tg_worker_stop(server->workers[i]); /* all at once, then wait for each */
    for (size_t i = 0; i < server->worker_count; i++)
        if (server->workers[i] != NULL)
            tg_worker_join(server->workers[i]);
}

int tg_server_run(struct tg_server *server)
{
    tg_reload_request(server->reload, "start", on_first_load, server);
    while (!server->stopped)
        (void)uv_run(&server->loop, UV_RUN_DEFAULT);
    join_workers(server);
    tg_log(TG_LOG_INFO, "server.stopped", tg_log_int("exit", server->exit_code));
    return server->exit_code;
}

static void close_loop(struct tg_server *server)
{
    tg_admin_destroy(server->admin);
    tg__signals_stop(server);
    if (server->mailbox != NULL)
        tg_mailbox_close(server->mailbox);
    tg_watch_destroy(server->watch);
    tg_reload_destroy(server->reload);
    if (server->timers != NULL) {
        tg_timer_stop(server->timers, &server->deadline);
        tg_timers_destroy(server->timers);
    }
    tg_net_destroy(server->net);
    while (uv_run(&server->loop, UV_RUN_DEFAULT) != 0) {
        /* until the last close callback: an earlier uv_stop ends one round early */
    }
}

void tg_server_destroy(struct tg_server *server)
{
    if (server == NULL)
        return;
    server->stopped = true;
    join_workers(server);
    tg_sockets_fini(&server->sockets);
    if (server->loop_open)
        close_loop(server);
    for (size_t i = 0; i < server->worker_count; i++)
        if (server->workers[i] != NULL)
            tg_worker_destroy(server->workers[i]);
    if (server->mailbox != NULL)
        tg_mailbox_destroy(server->mailbox);
    tg_meter_destroy(server->meter);
    if (server->watched)
        tg_watchdog_stop();
    if (server->loop_open && uv_loop_close(&server->loop) != 0)
        tg_log(TG_LOG_ERROR, "server.handles_left");
    tg_free(server->workers);
    tg_admission_destroy(server->admission);
    tg_kv_destroy(server->kv);
    tg_passes_destroy(server->passes);
    tg_quota_destroy(server->quota);
    tg_tls_config_release(server->tls);
    tg_free(server->trusted_proxies);
    tg_free(server->script_options);
    tg_free(server);
}
