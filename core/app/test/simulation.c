/* simulation.c - the life of a simulated worker.
 *
 *   create ─[set …]─> start ─[load]─> (connect, advance, load, drain …) ─> destroy
 *
 * I1  Between tg__sim_enter and tg__sim_leave, and only then, this thread's clock and log are the
 *     simulation's. A live one leaves both alone.
 * I2  Without live handles the loop is alive exactly while handles are closing.
 */
#include "app/test/simulation.h"

#include "app/config_sources.h"
#include "app/script_options.h"
#include "app/test/simulation_http.h"
#include "app/test/simulation_internal.h"
#include "app/test/simulation_process.h"
#include "app/test/simulation_websocket.h"
#include "base/log.h"
#include "base/memory.h"

#define NS_PER_MS UINT64_C(1000000)
#define LINES_MAX 100000

static void on_log_line(void *ctx, enum tg_log_level level, const char *line, size_t len)
{
    struct tg_sim *sim = ctx;

    (void)level;
    if (sim->line_count == LINES_MAX)
        return;
    char **lines = tg_realloc(sim->lines, (sim->line_count + 1) * sizeof(char *));
    tg__sim_must(lines == NULL ? TG_ERR_NOMEM : TG_ERR_OK);
    sim->lines = lines;
    sim->lines[sim->line_count] = tg_strndup(line, len);
    tg__sim_must(sim->lines[sim->line_count] == NULL ? TG_ERR_NOMEM : TG_ERR_OK);
    sim->line_count++;
}

void tg__sim_enter(struct tg_sim *sim)
{
    if (sim->live)
        return;
    tg_clock_use(&sim->clock);
    tg_log_configure(TG_LOG_DEBUG, TG_LOG_JSON);
    tg_log_set_sink(on_log_line, sim);
}

void tg__sim_leave(struct tg_sim *sim)
{
    if (sim->live)
        return;
    tg_clock_use(NULL);
    tg_log_configure(TG_LOG_INFO, TG_LOG_TEXT);
    tg_log_set_sink(NULL, NULL);
}

/* --- birth ----------------------------------------------------------------------------------------- */

enum tg_err tg_sim_create(struct tg_sim **out, uint64_t wall_ms, struct tg_error *error)
{
    struct tg_sim *sim = tg_calloc(1, sizeof *sim);

    if (sim == NULL)
        return tg_error_set(error, TG_ERR_NOMEM, "out of memory");
    tg_config_init(&sim->config);
    sim->clock.monotonic_ns = TG__SIM_EPOCH_MS * NS_PER_MS;
    sim->clock.wall_ms = wall_ms == 0 ? tg_clock_wall_ms() : wall_ms;
    *out = sim;
    return TG_ERR_OK;
}

enum tg_err tg_sim_set(struct tg_sim *sim, const struct tg_config_leaf *leaf,
                       struct tg_error *error)
{
    return tg_config_take_leaf(&sim->config, leaf, error);
}

/* There are no other workers. */
static enum tg_err post(void *ctx, const struct tg_remote_order *order, uint64_t ticket)
{
    (void)ctx;
    (void)order;
    (void)ticket;
    return TG_ERR_NOT_FOUND;
}

static enum tg_err create_http(struct tg_sim *sim)
{
    struct tg_http_client_options options = tg_layers_http_options(&sim->config);

    enum tg_err err = sim->live
                          ? tg_http_client_create(&sim->http, &sim->loop, sim->timers, &options)
                          : tg_sim_http_create(&sim->http, sim->timers);

    if (err != TG_ERR_OK)
        return err;
    return sim->live ? tg_ws_client_create(&sim->websockets, sim->net, sim->timers, &options)
                     : tg_sim_ws_create(&sim->websockets, sim->timers);
}

static enum tg_err create_processes(struct tg_sim *sim)
{
    struct tg_processes_options options = {.worker = 1, .metrics = sim->metrics};

    if (sim->live)
        return tg_processes_create(&sim->processes, &sim->loop, &options);
    return tg_sim_processes_create(&sim->processes, sim->timers);
}

static enum tg_err create_loop(struct tg_sim *sim)
{
    enum tg_err err = uv_loop_init(&sim->loop) == 0 ? TG_ERR_OK : TG_ERR_SYS;

    sim->loop_open = err == TG_ERR_OK;
    if (err == TG_ERR_OK)
        err = tg_net_create(&sim->net, &sim->loop);
    if (err == TG_ERR_OK)
        err = sim->live ? tg_timers_create(&sim->timers, &sim->loop)
                        : tg_timers_create_manual(&sim->timers, TG__SIM_EPOCH_MS);
    if (err == TG_ERR_OK)
        err = create_http(sim);
    if (err == TG_ERR_OK)
        err = create_processes(sim);
    return err;
}

static enum tg_err create_hub(struct tg_sim *sim, struct tg_error *error)
{
    struct tg_hub_options hub = tg_layers_hub_options(&sim->config, 0);
    struct tg_runs_options runs = tg_layers_runs_options(&sim->config);
    enum tg_err err = tg_layers_trusted_proxies(&sim->config, &sim->trusted_proxies,
                                                &hub.trusted_proxy_count, error);

    if (err == TG_ERR_OK)
        err = tg_layers_admission(&sim->config, &sim->admission, error);
    if (err == TG_ERR_OK)
        err = tg_layers_stores(&sim->config, &sim->kv, &sim->passes, error);
    if (err == TG_ERR_OK)
        err = tg_layers_quota(&sim->quota, error);
    if (err != TG_ERR_OK)
        return err;
    hub.trusted_proxies = sim->trusted_proxies;
    hub.admission = sim->admission;
    runs.quota = sim->quota;
    hub.proxy_protocol = false; /* it belongs to what carries bytes */
    err = tg_hub_create(&sim->layers.hub, &hub, sim->net, sim->timers, sim->metrics);
    if (err == TG_ERR_OK)
        err = tg_runs_create(&sim->layers.runs, &runs, sim->layers.hub);
    return err == TG_ERR_OK ? err : tg_error_set(error, err, "%s", tg_err_text(err));
}

static enum tg_err create_host(struct tg_sim *sim)
{
    struct tg_host_options host = tg_layers_host_options(&sim->config);
    enum tg_err err = tg_meter_create(&sim->meter, sim->config.script_cpu_budget_ms);

    host.env.worker = 1;
    host.env.timers = sim->timers;
    host.env.hub = sim->layers.hub;
    host.env.runs = sim->layers.runs;
    host.env.metrics = sim->metrics;
    host.env.http = sim->http;
    host.env.processes = sim->processes;
    host.env.programs.any = !sim->live;
    host.env.server.client_auth = NULL; /* a client has the certificate that its test gives it */
    host.env.websockets = sim->websockets;
    host.env.kv = sim->kv;
    host.env.passes = sim->passes;
    host.env.meter = sim->meter;
    host.env.options = sim->script_options;
    host.env.option_count = sim->config.options_count;
    host.env.post_ctx = sim;
    host.env.post = post;
    if (err == TG_ERR_OK)
        err = tg_host_create(&sim->layers.host, &host);
    if (err != TG_ERR_OK)
        return err;
    sim->layers.conn_over = tg__sim_conn_over;
    sim->layers.over_ctx = sim;
    tg_layers_connect(&sim->layers);
    return TG_ERR_OK;
}

static enum tg_err start(struct tg_sim *sim, struct tg_error *error)
{
    enum tg_err err = tg_watchdog_start(error);

    sim->watched = err == TG_ERR_OK;
    if (err != TG_ERR_OK)
        return err;
    sim->metrics = tg_xcalloc(1, sizeof *sim->metrics);
    sim->script_options = tg_script_options_from(&sim->config);
    err = create_loop(sim);
    if (err != TG_ERR_OK)
        return tg_error_set(error, err, "the simulation cannot be set up: %s", tg_err_text(err));
    err = create_hub(sim, error);
    if (err != TG_ERR_OK)
        return err;
    err = create_host(sim);
    return err == TG_ERR_OK ? err : tg_error_set(error, err, "%s", tg_err_text(err));
}

enum tg_err tg_sim_start(struct tg_sim *sim, struct tg_error *error)
{
    enum tg_err err = tg_config_complete(&sim->config, error);

    if (err != TG_ERR_OK)
        return err;
    tg__sim_enter(sim);
    err = start(sim, error);
    tg__sim_leave(sim);
    return err;
}

static void on_turn(uv_prepare_t *handle)
{
    struct tg_sim *sim = handle->data;

    (void)tg__sim_come_to_rest(sim);
    sim->on_live.on_turn(sim->on_live.ctx);
}

enum tg_err tg_sim_create_live(struct tg_sim **out, struct tg_config *config,
                               const struct tg_sim_live *live, struct tg_error *error)
{
    struct tg_sim *sim = tg_xcalloc(1, sizeof *sim);

    sim->config = *config;
    tg_config_init(config);
    sim->live = true;
    sim->on_live = *live;
    enum tg_err err = start(sim, error);
    if (err != TG_ERR_OK) {
        tg_sim_destroy(sim);
        return err;
    }
    sim->turn.data = sim;
    (void)uv_prepare_init(&sim->loop, &sim->turn);
    (void)uv_prepare_start(&sim->turn, on_turn);
    *out = sim;
    return TG_ERR_OK;
}

struct uv_loop_s *tg_sim_loop(struct tg_sim *sim)
{
    return &sim->loop;
}

struct tg_host *tg_sim_host(struct tg_sim *sim)
{
    return sim->layers.host;
}

/* --- death ----------------------------------------------------------------------------------------- */

/* A stream is freed by the loop, and its connection with it. */
static void end_connections(struct tg_sim *sim)
{
    if (sim->layers.runs != NULL)
        tg_runs_end_all(sim->layers.runs, "draining", "the simulation is over");
    if (sim->layers.hub == NULL)
        return;
    tg_hub_drop_all(sim->layers.hub);
    while (tg_hub_count(sim->layers.hub) > 0 || (!sim->live && uv_loop_alive(&sim->loop)))
        (void)uv_run(&sim->loop, UV_RUN_NOWAIT);
}

static void close_loop(struct tg_sim *sim)
{
    if (!sim->loop_open)
        return;
    tg_net_destroy(sim->net);
    while (uv_run(&sim->loop, UV_RUN_DEFAULT) != 0) {
        /* until the last close callback */
    }
    if (uv_loop_close(&sim->loop) != 0)
        tg_log(TG_LOG_ERROR, "simulation.handles_left", tg_log_uint("worker", 1));
}

static void free_memory(struct tg_sim *sim)
{
    for (size_t i = 0; i < sim->client_count; i++)
        tg__sim_client_destroy(sim->clients[i]);
    for (size_t i = 0; i < sim->line_count; i++)
        tg_free(sim->lines[i]);
    tg_free(sim->clients);
    tg_free(sim->lines);
    tg_source_release(sim->current);
    tg_source_release(sim->previous);
    tg_admission_destroy(sim->admission);
    tg_kv_destroy(sim->kv);
    tg_passes_destroy(sim->passes);
    tg_quota_destroy(sim->quota);
    tg_free(sim->trusted_proxies);
    tg_free(sim->script_options);
    tg_free(sim->metrics);
    tg_config_fini(&sim->config);
    tg_free(sim);
}

void tg_sim_destroy(struct tg_sim *sim)
{
    if (sim == NULL)
        return;
    tg__sim_enter(sim);
    if (sim->turn.data != NULL)
        uv_close((uv_handle_t *)&sim->turn, NULL);
    end_connections(sim);
    tg_host_destroy(sim->layers.host);
    tg_runs_destroy(sim->layers.runs);
    tg_hub_destroy(sim->layers.hub);
    tg_http_client_destroy(sim->http);
    tg_processes_destroy(sim->processes);
    tg_ws_client_destroy(sim->websockets);
    tg_timers_destroy(sim->timers);
    close_loop(sim);
    tg_meter_destroy(sim->meter);
    if (sim->watched)
        tg_watchdog_stop();
    tg__sim_leave(sim);
    free_memory(sim);
}

const struct tg_testing_backend tg_simulation_backend = {
    .create = tg_sim_create,
    .set = tg_sim_set,
    .start = tg_sim_start,
    .destroy = tg_sim_destroy,
    .load = tg_sim_load,
    .rollback = tg_sim_rollback,
    .version = tg_sim_version,
    .drain = tg_sim_drain,
    .advance = tg_sim_advance,
    .wall_ms = tg_sim_wall_ms,
    .connect = tg_sim_connect,
    .facts = tg_sim_client_facts,
    .header = tg_sim_client_header,
    .send = tg_sim_client_send,
    .close = tg_sim_client_close,
    .drop = tg_sim_client_drop,
    .stall = tg_sim_client_stall,
    .resume = tg_sim_client_resume,
    .take = tg_sim_client_take,
    .next_fetch = tg_sim_next_fetch,
    .answer = tg_sim_answer,
    .next_process = tg_sim_next_process,
    .play_process = tg_sim_play_process,
    .next_websocket = tg_sim_next_websocket,
    .answer_websocket = tg_sim_answer_websocket,
    .metrics = tg_sim_metrics,
    .log_line = tg_sim_log_line,
};
