/* health.c - the body of GET /health: worker shards summed up, beside the facts that app/ knows. */
#include "ops/health.h"

#include "base/json_writer.h"

struct totals {
    uint64_t states[TG_METRICS_STATES];
    uint64_t connections;
    uint64_t stuck_setup;
    uint64_t stuck_connecting;
    uint64_t attempted;
    uint64_t invalid;
    uint64_t invalid_day;
    uint64_t mismatches;
    uint64_t runs;
};

static void add_shard(struct totals *totals, const struct tg_metrics *shard,
                      const struct tg_health_facts *facts)
{
    for (size_t i = 0; i < TG_METRICS_STATES; i++)
        totals->states[i] += tg_counter_get(&shard->states[i]);
    for (size_t i = 0; i < facts->setup_state_count; i++)
        totals->stuck_setup += tg_counter_get(&shard->stuck_now[i]);
    for (size_t i = 0; i < tg_metrics_agents_used(shard); i++)
        totals->runs += tg_counter_get(&shard->agents[i].running);
    totals->stuck_connecting += tg_counter_get(&shard->stuck_now[facts->connecting_state]);
    totals->attempted += tg_counter_get(&shard->transitions_attempted);
    totals->invalid += tg_counter_get(&shard->invalid_transitions);
    totals->mismatches += tg_counter_get(&shard->connection_id_mismatches);
    totals->invalid_day +=
        tg_hourly_last_day(&shard->invalid_transitions_by_hour, facts->now_wall_ms);
}

/* The two counters are read at different instants, so the quotient is kept within 0 and 1. */
static double success_rate(const struct totals *totals)
{
    if (totals->attempted == 0)
        return 1.0;
    if (totals->invalid >= totals->attempted)
        return 0.0;
    return 1.0 - (double)totals->invalid / (double)totals->attempted;
}

static void write_policy(struct tg_json_writer *w, const struct tg_health_facts *facts)
{
    tg_json_key(w, "policy");
    tg_json_begin_object(w);
    tg_json_member_str(w, "version", facts->policy_version);
    tg_json_member_str(w, "path", facts->policy_path);
    tg_json_member_time(w, "loaded_at", facts->policy_loaded_at_ms);
    tg_json_member_str(w, "previous", facts->policy_previous);
    tg_json_key(w, "last_reload");
    if (facts->last_reload_result == NULL) {
        tg_json_null(w);
    } else {
        tg_json_begin_object(w);
        tg_json_member_str(w, "result", facts->last_reload_result);
        tg_json_member_str(w, "why", facts->last_reload_why);
        tg_json_member_str(w, "error", facts->last_reload_error);
        tg_json_member_time(w, "at", facts->last_reload_at_ms);
        tg_json_end_object(w);
    }
    tg_json_end_object(w);
}

static void write_websocket(struct tg_json_writer *w, const struct totals *totals,
                            const struct tg_health_facts *facts)
{
    tg_json_key(w, "websocket");
    tg_json_begin_object(w);
    tg_json_member_uint(w, "connections", totals->connections);
    tg_json_key(w, "states");
    tg_json_begin_object(w);
    for (size_t i = 0; i < TG_METRICS_STATES; i++)
        tg_json_member_uint(w, facts->state_names[i], totals->states[i]);
    tg_json_end_object(w);
    tg_json_member_uint(w, "runs", totals->runs);
    tg_json_member_uint(w, "stuck_in_connecting", totals->stuck_connecting);
    tg_json_member_uint(w, "stuck_in_setup", totals->stuck_setup);
    tg_json_member_real(w, "state_transition_success_rate", success_rate(totals));
    tg_json_member_uint(w, "invalid_state_transitions_24h", totals->invalid_day);
    tg_json_member_uint(w, "connection_id_mismatches", totals->mismatches);
    tg_json_end_object(w);
}

enum tg_err tg_health_write(struct tg_buffer *out, const struct tg_metrics *const *shards,
                            size_t shard_count, const struct tg_health_facts *facts)
{
    struct tg_json_writer w = tg_json_writer_on(out);
    struct totals totals = {0};

    for (size_t i = 0; i < shard_count; i++)
        add_shard(&totals, shards[i], facts);
    for (size_t i = 0; i < TG_METRICS_STATES; i++)
        totals.connections += totals.states[i];
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "status", facts->status);
    tg_json_member_real(&w, "uptime_seconds", (double)facts->uptime_ms / 1000.0);
    tg_json_member_str(&w, "version", facts->version);
    tg_json_member_uint(&w, "workers", facts->workers);
    write_policy(&w, facts);
    write_websocket(&w, &totals, facts);
    tg_json_end_object(&w);
    return tg_json_writer_failed(&w) ? TG_ERR_NOMEM : TG_ERR_OK;
}
