/* simulation_run.c - what happens in a simulated worker: turns, the clock, versions of the policy; and what
 * it tells of itself.
 *
 * Everything that happens, happens in turns: queues are flushed, clients' bytes move, timers that are due
 * fire, handles that were closed go; again, until nothing moves. Then advance sets the clock to the next due
 * time, lets everything come to rest, and so on: what a second brings happens in its order, in no time.
 */
#include "app/test/simulation_http.h"
#include "app/test/simulation_internal.h"
#include "app/test/simulation_process.h"
#include "app/test/simulation_websocket.h"

#define NS_PER_MS UINT64_C(1000000)
/* Turns and timers without rest until it counts as endless. */
#define EVENTS_MAX 200000

static void set_now(struct tg_sim *sim, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms - tg_timers_now_ms(sim->timers);

    tg_timers_set_now(sim->timers, now_ms);
    sim->clock.monotonic_ns += passed_ms * NS_PER_MS;
    sim->clock.wall_ms += passed_ms;
}

static bool move_clients(struct tg_sim *sim)
{
    bool moved = false;

    for (size_t i = 0; i < sim->client_count; i++) {
        if (tg__sim_client_move(sim->clients[i]))
            moved = true;
    }
    return moved;
}

/* One turn of a loop; *left counts down with each event. False: nothing was to be done. */
static bool turn(struct tg_sim *sim, size_t *left)
{
    bool moved = tg_hub_flush(sim->layers.hub);

    if (move_clients(sim))
        moved = true;
    if (sim->live)
        return moved;
    while (*left > 0 && tg_timers_fire(sim->timers)) {
        moved = true;
        --*left;
    }
    if (uv_loop_alive(&sim->loop)) {
        (void)uv_run(&sim->loop, UV_RUN_NOWAIT);
        moved = true;
    }
    return moved;
}

static bool others_are_asked(const struct tg_sim *sim)
{
    return tg_sim_http_is_asked(sim->http) || tg_sim_ws_has_news(sim->websockets) ||
           tg_sim_processes_have_news(sim->processes);
}

enum tg_sim_rest tg__sim_come_to_rest(struct tg_sim *sim)
{
    for (size_t left = EVENTS_MAX; left > 0; left--) {
        if (!turn(sim, &left))
            return !sim->live && others_are_asked(sim) ? TG_SIM_WANTS_HTTP : TG_SIM_QUIET;
        if (left == 0)
            break;
    }
    return TG_SIM_RESTLESS;
}

enum tg_sim_rest tg_sim_advance(struct tg_sim *sim, uint64_t ms, uint64_t *left_ms)
{
    uint64_t until_ms = tg_timers_now_ms(sim->timers) + ms;
    uint64_t due_ms;
    enum tg_sim_rest rest;

    tg__sim_enter(sim);
    for (;;) {
        rest = tg__sim_come_to_rest(sim);
        *left_ms = until_ms - tg_timers_now_ms(sim->timers);
        if (rest != TG_SIM_QUIET || *left_ms == 0)
            break;
        if (!tg_timers_next_due(sim->timers, &due_ms) || due_ms > until_ms)
            due_ms = until_ms;
        set_now(sim, due_ms);
    }
    tg__sim_leave(sim);
    return rest;
}

uint64_t tg_sim_wall_ms(const struct tg_sim *sim)
{
    return sim->live ? tg_clock_wall_ms() : sim->clock.wall_ms;
}

/* --- the policy ------------------------------------------------------------------------------------ */

static enum tg_err switch_to(struct tg_sim *sim, struct tg_source *source, struct tg_error *error)
{
    tg__sim_enter(sim);
    enum tg_err err = tg_host_prepare(sim->layers.host, source, error);
    if (err == TG_ERR_OK)
        tg_host_commit(sim->layers.host);
    tg__sim_leave(sim);
    return err;
}

enum tg_err tg_sim_load(struct tg_sim *sim, struct tg_source *source, struct tg_error *error)
{
    enum tg_err err = switch_to(sim, source, error);

    if (err != TG_ERR_OK)
        return err;
    tg_source_release(sim->previous);
    sim->previous = sim->current;
    sim->current = tg_source_retain(source);
    return TG_ERR_OK;
}

enum tg_err tg_sim_rollback(struct tg_sim *sim, struct tg_error *error)
{
    struct tg_source *back = sim->previous;

    if (back == NULL)
        return tg_error_set(error, TG_ERR_NOT_FOUND, "there is no earlier version to go back to");
    enum tg_err err = switch_to(sim, back, error);
    if (err != TG_ERR_OK)
        return err;
    sim->previous = sim->current;
    sim->current = back;
    return TG_ERR_OK;
}

const char *tg_sim_version(const struct tg_sim *sim)
{
    return tg_host_version(sim->layers.host);
}

static void on_drain_deadline(struct tg_timer *timer)
{
    struct tg_sim *sim = TG_CONTAINER_OF(timer, struct tg_sim, drain_timer);

    tg_runs_end_all(sim->layers.runs, "draining", "the server is shutting down");
    tg_hub_drain_now(sim->layers.hub);
}

void tg_sim_drain(struct tg_sim *sim)
{
    if (sim->draining)
        return;
    sim->draining = true;
    tg__sim_enter(sim);
    tg_hub_drain(sim->layers.hub);
    tg__sim_must(tg_timer_start(sim->timers, &sim->drain_timer, sim->config.drain_timeout_ms,
                                on_drain_deadline));
    tg__sim_leave(sim);
}

/* --- what it tells ----------------------------------------------------------------------------------- */

size_t tg_sim_next_fetch(struct tg_sim *sim, const struct tg_fetch_request **request)
{
    return tg_sim_http_next(sim->http, request);
}

enum tg_err tg_sim_answer(struct tg_sim *sim, size_t number, const struct tg_sim_piece *piece)
{
    return tg_sim_http_answer(sim->http, number, piece);
}

bool tg_sim_next_websocket(struct tg_sim *sim, struct tg_sim_ws_news *out)
{
    return tg_sim_ws_next(sim->websockets, out);
}

enum tg_err tg_sim_answer_websocket(struct tg_sim *sim, size_t number,
                                    const struct tg_sim_piece *piece)
{
    return tg_sim_ws_answer(sim->websockets, number, piece);
}

bool tg_sim_next_process(struct tg_sim *sim, struct tg_sim_process_news *out)
{
    return tg_sim_processes_next(sim->processes, out);
}

enum tg_err tg_sim_play_process(struct tg_sim *sim, size_t number, const struct tg_sim_act *act)
{
    return tg_sim_processes_play(sim->processes, number, act);
}

enum tg_err tg_sim_metrics(struct tg_sim *sim, struct tg_buffer *out)
{
    const struct tg_metrics *shard = sim->metrics;
    struct tg_metrics_facts facts = {
        .policy_version = tg_host_version(sim->layers.host),
        .uptime_ms = tg_timers_now_ms(sim->timers) - TG__SIM_EPOCH_MS,
    };

    return tg_layers_write_metrics(out, &shard, 1, sim->kv, sim->passes, &facts);
}

const char *tg_sim_log_line(const struct tg_sim *sim, size_t i)
{
    return i < sim->line_count ? sim->lines[i] : NULL;
}
