/* metrics.h - the numbers of one worker: a shard that its thread writes and any thread reads.
 *
 * Single writer, so an increment is a relaxed load and store: no locked instruction, no shared cache
 * line on the hot path. Readers see each number whole, not all numbers of one instant. Names and
 * label texts live with whoever renders (ops/metrics_text) and whoever defines the enums: this file
 * only fixes how many there are, and those files assert that they agree.
 */
#ifndef TG_BASE_METRICS_H
#define TG_BASE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TG_METRICS_STATES 12
#define TG_METRICS_HOOKS 11
#define TG_METRICS_HOOK_OUTCOMES 8
#define TG_METRICS_RUN_OUTCOMES 6
#define TG_METRICS_HTTP_OUTCOMES 14 /* those of a fetch, then "cancelled" */
#define TG_METRICS_AGENTS 64        /* the last slot collects the rest as "other" */
#define TG_METRICS_DENIALS 32       /* the same */
#define TG_METRICS_BUCKETS 12       /* bounds in tg_metrics_bucket_us, then +Inf */
#define TG_METRICS_HOURS 25

typedef _Atomic uint64_t tg_counter;

enum tg_direction { TG_IN, TG_OUT };
enum tg_message_kind { TG_MESSAGE_TEXT, TG_MESSAGE_BINARY, TG_MESSAGE_CONTROL };
enum tg_compression_stage { TG_PLAIN, TG_COMPRESSED };

/* Counters without labels: name, help. The Prometheus name is tidegate_<name>_total. */
#define TG_COUNTER_MAP(X)                                                                          \
    X(connections_opened, "Sockets accepted.")                                                     \
    X(connections_closed, "Connections whose last byte is freed.")                                 \
    X(handshakes_refused, "Upgrade requests refused before 101.")                                  \
    X(tls_handshake_failures, "Connections lost before their TLS handshake was over.")             \
    X(transitions_attempted, "Moves of the connection state machine tried, legal or not.")         \
    X(invalid_transitions, "Moves that the state table does not allow; nothing changed.")          \
    X(connection_id_mismatches,                                                                    \
      "Connection IDs offered by a script that differ from the real one.")                         \
    X(duplicate_registrations, "Second registrations of a connection ID; refused.")                \
    X(slow_clients, "Connections ended because the client did not read.")                          \
    X(reads_paused, "Times that reading a socket paused because an inbox was full.")               \
    X(messages_dropped, "Messages that still waited for the policy when their connection ended.")  \
    X(accept_failures, "accept(2) errors.")                                                        \
    X(upstream_processes_started, "Child processes of agents that were started.")                  \
    X(timer_ticks_skipped, "Ticks of a timer that found its callback before still under way.")     \
    X(script_tampering, "Writes by a script to something the core owns.")

/* Close codes that have a row of their own; any other counts as "other", none received as 1006. */
#define TG_CLOSE_CODE_MAP(X)                                                                       \
    X(1000)                                                                                        \
    X(1001)                                                                                        \
    X(1002)                                                                                        \
    X(1003)                                                                                        \
    X(1005)                                                                                        \
    X(1006)                                                                                        \
    X(1007)                                                                                        \
    X(1008)                                                                                        \
    X(1009)                                                                                        \
    X(1011)                                                                                        \
    X(1012)                                                                                        \
    X(1013)                                                                                        \
    X(4400)                                                                                        \
    X(4401)                                                                                        \
    X(4403)                                                                                        \
    X(4408)                                                                                        \
    X(4429)                                                                                        \
    X(4503)

enum tg_close_slot {
#define X(code) TG_CLOSE_SLOT_##code,
    TG_CLOSE_CODE_MAP(X)
#undef X
        TG_CLOSE_SLOT_OTHER,
    TG_CLOSE_SLOTS
};

/* Who is refused because of a limit or of where it comes from: name, the label `reason`. */
#define TG_REFUSAL_MAP(X)                                                                          \
    X(MAX_CONNECTIONS, "max_connections")                                                          \
    X(MAX_PER_IP, "max_connections_per_ip")                                                        \
    X(CONNECTION_RATE, "connection_rate")                                                          \
    X(MESSAGE_RATE, "message_rate")                                                                \
    X(DESCRIPTORS, "descriptors")                                                                  \
    X(MEMORY, "memory")                                                                            \
    X(ORIGIN, "origin")                                                                            \
    X(PROXY, "proxy")

enum tg_refusal {
#define X(name, text) TG_REFUSAL_##name,
    TG_REFUSAL_MAP(X)
#undef X
        TG_REFUSALS
};
extern const char *const tg_refusal_names[TG_REFUSALS];

/* Why a worker's script state was built anew: name, the label `reason`. */
#define TG_REBUILD_MAP(X)                                                                          \
    X(MEMORY, "memory") /* it ran out, and what the policy keeps fills most of it */               \
    X(KILLED, "killed") /* a CPU budget ended the library's own code half-way */                   \
    X(INTERNAL, "internal_error")

enum tg_rebuild {
#define X(name, text) TG_REBUILD_##name,
    TG_REBUILD_MAP(X)
#undef X
        TG_REBUILDS
};
extern const char *const tg_rebuild_names[TG_REBUILDS];

/* What blocks of tidegate.auth tell of their work: name, the label `event`. */
#define TG_AUTH_EVENT_MAP(X)                                                                       \
    X(CACHE_HIT, "cache_hit")                                                                      \
    X(CACHE_MISS, "cache_miss")                                                                    \
    X(CACHE_SHARED, "cache_shared") /* waited for the answer that another one asked for */         \
    X(RATE_LIMITED, "rate_limited")                                                                \
    X(WEBHOOK_FAULT, "webhook_fault")                                                              \
    X(WEBHOOK_LEFT_ALONE, "webhook_left_alone")

enum tg_auth_event {
#define X(name, text) TG_AUTH_EVENT_##name,
    TG_AUTH_EVENT_MAP(X)
#undef X
        TG_AUTH_EVENTS
};
extern const char *const tg_auth_event_names[TG_AUTH_EVENTS];

/* How child processes of agents ended: name, the label `reason`. */
#define TG_PROCESS_ENDED_MAP(X)                                                                    \
    X(EXITED, "exited")   /* by itself, with status 0 */                                           \
    X(FAILED, "failed")   /* by itself, with another one */                                        \
    X(KILLED, "killed")   /* by a signal that was not ours */                                      \
    X(STOPPED, "stopped") /* it was made to, or not needed any more */                             \
    X(NOT_STARTED, "not_started")

enum tg_process_ended {
#define X(name, text) TG_PROCESS_ENDED_##name,
    TG_PROCESS_ENDED_MAP(X)
#undef X
        TG_PROCESS_ENDED_REASONS
};
extern const char *const tg_process_ended_names[TG_PROCESS_ENDED_REASONS];

struct tg_histogram {
    tg_counter buckets[TG_METRICS_BUCKETS + 1]; /* not cumulative; last is +Inf */
    tg_counter sum_us;
};

/* Events per hour for the last 24, keyed by hours since 1970. */
struct tg_hourly {
    tg_counter hour[TG_METRICS_HOURS];
    tg_counter count[TG_METRICS_HOURS];
};

struct tg_agent_metrics {
    char name[64]; /* written once, before agents_used is raised */
    tg_counter running;
    tg_counter outcomes[TG_METRICS_RUN_OUTCOMES];
};

#define TG_DENIAL_REASON_SIZE 32

struct tg_denial_metrics {
    char reason[TG_DENIAL_REASON_SIZE]; /* written once, before denials_used is raised */
    tg_counter count;
};

struct tg_metrics {
#define X(name, help) tg_counter name;
    TG_COUNTER_MAP(X)
#undef X
    tg_counter states[TG_METRICS_STATES]; /* gauge */
    tg_counter transitions[TG_METRICS_STATES][TG_METRICS_STATES];
    tg_counter stuck[TG_METRICS_STATES];
    tg_counter stuck_now[TG_METRICS_STATES]; /* gauge: past their deadline and not yet closed */
    tg_counter closes[TG_CLOSE_SLOTS];
    tg_counter refusals[TG_REFUSALS];
    tg_counter messages[2][3]; /* [tg_direction][tg_message_kind] */
    tg_counter bytes[2];
    tg_counter compression_bytes[2][2]; /* [tg_direction][tg_compression_stage] */
    struct tg_histogram hook_duration[TG_METRICS_HOOKS];
    tg_counter hook_outcomes[TG_METRICS_HOOKS][TG_METRICS_HOOK_OUTCOMES];
    tg_counter timer_outcomes[TG_METRICS_HOOK_OUTCOMES];
    struct tg_agent_metrics agents[TG_METRICS_AGENTS];
    tg_counter agents_used;
    struct tg_denial_metrics denials[TG_METRICS_DENIALS];
    tg_counter denials_used;
    tg_counter auth_events[TG_AUTH_EVENTS];
    tg_counter script_memory_bytes; /* gauge: all generations of this worker */
    tg_counter script_rebuilds[TG_REBUILDS];
    tg_counter http_requests[TG_METRICS_HTTP_OUTCOMES];
    tg_counter http_in_flight; /* gauge */
    struct tg_histogram http_duration;
    tg_counter websockets_out; /* gauge: to other servers */
    tg_counter websockets_out_ended[TG_METRICS_HTTP_OUTCOMES];
    tg_counter processes; /* gauge: children of agents that have not been waited for */
    tg_counter processes_ended[TG_PROCESS_ENDED_REASONS];
    tg_counter process_restarts_waiting; /* gauge: agents whose process is to be started later */
    struct tg_hourly invalid_transitions_by_hour;
};

/* Upper bounds of the histogram buckets in microseconds, rising. */
extern const uint64_t tg_metrics_bucket_us[TG_METRICS_BUCKETS];

static inline void tg_counter_add(tg_counter *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void tg_counter_sub(tg_counter *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) - n,
                          memory_order_relaxed);
}

static inline void tg_counter_set(tg_counter *counter, uint64_t n)
{
    atomic_store_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t tg_counter_get(const tg_counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Rows of `agents` that any thread may read now. Pairs with the writer: their names are there. */
static inline size_t tg_metrics_agents_used(const struct tg_metrics *metrics)
{
    return (size_t)atomic_load_explicit(&metrics->agents_used, memory_order_acquire);
}

static inline size_t tg_metrics_denials_used(const struct tg_metrics *metrics)
{
    return (size_t)atomic_load_explicit(&metrics->denials_used, memory_order_acquire);
}

/* All below: the owning thread only, apart from the readers that say so. */
void tg_histogram_observe(struct tg_histogram *histogram, uint64_t us);
void tg_hourly_add(struct tg_hourly *hourly, uint64_t wall_ms);
uint64_t tg_hourly_last_day(const struct tg_hourly *hourly, uint64_t wall_ms); /* any thread */
enum tg_close_slot tg_close_slot_of(int code);

/* The row of an agent name (cut to 63 bytes), made on first use; "other" when the table is full. */
struct tg_agent_metrics *tg_metrics_agent(struct tg_metrics *metrics, const char *name);

/* Counts a client that authentication turned away. NULL: no reason code was given. */
void tg_metrics_count_denial(struct tg_metrics *metrics, const char *reason);

/* May a text be a reason code, and so a label? Lower-case letters and underscores: a secret that a policy
 * returns there by mistake is hardly ever one. */
bool tg_denial_reason_valid(const char *text, size_t len);

#endif
