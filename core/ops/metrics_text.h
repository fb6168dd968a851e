/* metrics_text.h - worker shards summed up and written as Prometheus text (exposition format 0.0.4).
 */
#ifndef TG_OPS_METRICS_TEXT_H
#define TG_OPS_METRICS_TEXT_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/metrics.h"

/* Label texts of the enums that index the shards; each array has as many items as the metric. */
struct tg_metrics_labels {
    const char *const *states;        /* TG_METRICS_STATES */
    const char *const *hooks;         /* TG_METRICS_HOOKS */
    const char *const *hook_outcomes; /* TG_METRICS_HOOK_OUTCOMES */
    const char *const *run_outcomes;  /* TG_METRICS_RUN_OUTCOMES */
};

/* The store that scripts share. */
struct tg_metrics_kv {
    uint64_t entries, bytes, evictions;
    const char *const *operation_names; /* operation_count of them */
    const uint64_t *operations;
    size_t operation_count;
};

/* Tickets by what became of them, and tokens that were revoked. */
struct tg_metrics_passes {
    const char *const *outcome_names; /* outcome_count of them */
    const uint64_t *tickets;
    size_t outcome_count;
    uint64_t revocations;
};

/* What is not in a shard. */
struct tg_metrics_facts {
    const char *version;
    const char *build;
    const char *policy_version;
    uint64_t reloads_ok;
    uint64_t reloads_failed;
    uint64_t uptime_ms;
    struct tg_metrics_kv kv;
    struct tg_metrics_passes passes;
};

/* Labelled rows that are zero are left out, apart from tidegate_connections{state}, so that the text
 * stays short. script_memory_bytes is one row per worker (from 1). TG_ERR_NOMEM leaves `out` partly
 * written. */
TG_MUST enum tg_err tg_metrics_write(struct tg_buffer *out, const struct tg_metrics *const *shards,
                                     size_t shard_count, const struct tg_metrics_labels *labels,
                                     const struct tg_metrics_facts *facts);

#endif
