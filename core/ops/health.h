/* health.h - the body of GET /health, from worker shards and the facts that app/ knows.
 */
#ifndef TG_OPS_HEALTH_H
#define TG_OPS_HEALTH_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/metrics.h"

struct tg_health_facts {
    const char *status; /* "ok", "degraded", "draining" */
    uint64_t uptime_ms;
    const char *version;
    size_t workers;
    const char *policy_version;
    const char *policy_path;
    uint64_t policy_loaded_at_ms;   /* wall clock */
    const char *policy_previous;    /* that a rollback would take; NULL: none */
    const char *last_reload_result; /* "ok", "failed", or NULL when there was none */
    const char *last_reload_why;    /* who asked */
    const char *last_reload_error;  /* NULL unless failed */
    uint64_t last_reload_at_ms;
    const char *const *state_names; /* TG_METRICS_STATES */
    size_t connecting_state;        /* index of "connecting" */
    size_t setup_state_count;       /* the first n states are setup */
    uint64_t now_wall_ms;
};

/* Writes the object of DESIGN §9: status, uptime_seconds, version, workers, policy{version, path,
 * loaded_at, previous, last_reload}, websocket{connections, states, stuck_in_connecting, stuck_in_setup,
 * state_transition_success_rate, invalid_state_transitions_24h, connection_id_mismatches}. */
TG_MUST enum tg_err tg_health_write(struct tg_buffer *out, const struct tg_metrics *const *shards,
                                    size_t shard_count, const struct tg_health_facts *facts);

#endif
