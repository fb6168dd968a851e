/* state.c - the table of allowed moves and the only function that makes one. */
#include "connection/state.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "connection/hooks.h"
#include "connection/reasons.h"

_Static_assert(TG_STATES <= 16, "a state is kept in four bits");
_Static_assert(TG_STATES == TG_METRICS_STATES, "metrics must have a row for every state");
_Static_assert(TG_HOOKS == TG_METRICS_HOOKS, "metrics must have a row for every hook");
_Static_assert(TG_HOOK_OUTCOMES == TG_METRICS_HOOK_OUTCOMES, "and for every outcome");

const char *const tg_state_names[TG_STATES] = {
    [TG_CONNECTING] = "connecting",
    [TG_ACCEPTED] = "accepted",
    [TG_AUTHENTICATED] = "authenticated",
    [TG_SERVICES_READY] = "services_ready",
    [TG_PROCESSING_READY] = "processing_ready",
    [TG_PROCESSING] = "processing",
    [TG_IDLE] = "idle",
    [TG_DEGRADED] = "degraded",
    [TG_RECONNECTING] = "reconnecting",
    [TG_CLOSING] = "closing",
    [TG_CLOSED] = "closed",
    [TG_FAILED] = "failed",
};

const char *const tg_hook_names[TG_HOOKS] = {
#define X(name, text) [TG_HOOK_##name] = (text),
    TG_HOOK_MAP(X)
#undef X
};

const char *const tg_hook_outcome_names[TG_HOOK_OUTCOMES] = {
#define X(name, text) [TG_HOOK_##name##_OUTCOME] = (text),
    TG_HOOK_OUTCOME_MAP(X)
#undef X
};

#define TIME_BITS 36
#define TIME_MASK ((UINT64_C(1) << TIME_BITS) - 1)
#define CLOCK_SLACK_MS (UINT64_C(24) * 3600 * 1000) /* wall clocks are set back */

#define TO(state) (UINT32_C(1) << TG_##state)
#define TO_OVER (TO(CLOSED) | TO(FAILED))
#define TO_END (TO(CLOSING) | TO_OVER)

static const uint32_t allowed[TG_STATES] = {
    [TG_CONNECTING] = TO(ACCEPTED) | TO_OVER,
    [TG_ACCEPTED] = TO(AUTHENTICATED) | TO_END,
    [TG_AUTHENTICATED] = TO(SERVICES_READY) | TO(DEGRADED) | TO_END,
    [TG_SERVICES_READY] = TO(PROCESSING_READY) | TO(DEGRADED) | TO_END,
    [TG_PROCESSING_READY] = TO(PROCESSING) | TO(IDLE) | TO(DEGRADED) | TO_END,
    [TG_PROCESSING] = TO(PROCESSING_READY) | TO(IDLE) | TO(DEGRADED) | TO_END,
    [TG_IDLE] = TO(PROCESSING) | TO(PROCESSING_READY) | TO(DEGRADED) | TO_END,
    [TG_DEGRADED] = TO(PROCESSING_READY) | TO(PROCESSING) | TO(IDLE) | TO(RECONNECTING) | TO_END,
    [TG_RECONNECTING] = TO(SERVICES_READY) | TO(PROCESSING_READY) | TO(DEGRADED) | TO_END,
    [TG_CLOSING] = TO_OVER,
    [TG_CLOSED] = 0,
    [TG_FAILED] = 0,
};

bool tg_state_allows(enum tg_state from, enum tg_state to)
{
    return from < TG_STATES && to < TG_STATES && (allowed[from] >> to & 1) != 0;
}

bool tg_state_is_operational(enum tg_state state)
{
    return state == TG_PROCESSING_READY || state == TG_PROCESSING || state == TG_IDLE ||
           state == TG_DEGRADED;
}

bool tg_state_is_final(enum tg_state state)
{
    return state == TG_CLOSED || state == TG_FAILED;
}

void tg_lifecycle_init(struct tg_lifecycle *lifecycle, struct tg_metrics *metrics)
{
    memset(lifecycle, 0, sizeof *lifecycle);
    lifecycle->state = TG_CONNECTING;
    tg_counter_add(&metrics->states[TG_CONNECTING], 1);
}

void tg_lifecycle_fini(struct tg_lifecycle *lifecycle, struct tg_metrics *metrics)
{
    tg_counter_sub(&metrics->states[lifecycle->state], 1);
}

static struct tg_packed_transition pack(uint64_t at_ms, enum tg_state to, uint8_t reason)
{
    uint64_t bits = (at_ms & TIME_MASK) | (uint64_t)to << TIME_BITS | (uint64_t)reason << 40;
    return (struct tg_packed_transition){
        {(uint16_t)bits, (uint16_t)(bits >> 16), (uint16_t)(bits >> 32)}};
}

/* All but `from`. */
static struct tg_transition unpack(const struct tg_packed_transition *packed)
{
    uint64_t bits =
        packed->bits[0] | (uint64_t)packed->bits[1] << 16 | (uint64_t)packed->bits[2] << 32;
    uint64_t latest = tg_clock_wall_ms() + CLOCK_SLACK_MS;
    return (struct tg_transition){
        .at_ms = latest - ((latest - bits) & TIME_MASK),
        .reason = tg__reason_text((uint8_t)(bits >> 40)),
        .to = (enum tg_state)(bits >> TIME_BITS & 0xf),
    };
}

static void record(struct tg_lifecycle *lifecycle, enum tg_state to, const char *reason)
{
    if (lifecycle->kept > 0)
        lifecycle->newest = (uint8_t)((lifecycle->newest + 1) % TG_TRANSITIONS_KEPT);
    struct tg_packed_transition *place = &lifecycle->ring[lifecycle->newest];
    if (lifecycle->kept < TG_TRANSITIONS_KEPT)
        lifecycle->kept++;
    else
        lifecycle->before = (uint8_t)unpack(place).to;
    *place = pack(tg_clock_wall_ms(), to, tg__reason_number(reason));
}

static void refuse(const struct tg_lifecycle *lifecycle, enum tg_state to, const char *reason,
                   const struct tg_conn_id *id, struct tg_metrics *metrics)
{
    char id_text[TG_CONN_ID_SIZE];
    tg_conn_id_format(id, id_text);
    tg_counter_add(&metrics->invalid_transitions, 1);
    tg_hourly_add(&metrics->invalid_transitions_by_hour, tg_clock_wall_ms());
    tg_log(TG_LOG_ERROR, "conn.invalid_transition", tg_log_str("id", id_text),
           tg_log_str("from", tg_state_names[lifecycle->state]),
           tg_log_str("to", to < TG_STATES ? tg_state_names[to] : "unknown"),
           tg_log_str("reason", reason));
}

enum tg_err tg_lifecycle_move(struct tg_lifecycle *lifecycle, enum tg_state to, const char *reason,
                              const struct tg_conn_id *id, struct tg_metrics *metrics)
{
    enum tg_state from = tg_lifecycle_state(lifecycle);
    tg_counter_add(&metrics->transitions_attempted, 1);
    if (!tg_state_allows(from, to)) {
        refuse(lifecycle, to, reason, id, metrics);
        return TG_ERR_ILLEGAL;
    }
    record(lifecycle, to, reason);
    lifecycle->state = (uint8_t)to;
    tg_counter_sub(&metrics->states[from], 1);
    tg_counter_add(&metrics->states[to], 1);
    tg_counter_add(&metrics->transitions[from][to], 1);
    if (tg_log_enabled(TG_LOG_DEBUG)) {
        char id_text[TG_CONN_ID_SIZE];
        tg_conn_id_format(id, id_text);
        tg_log(TG_LOG_DEBUG, "conn.transition", tg_log_str("id", id_text),
               tg_log_str("from", tg_state_names[from]), tg_log_str("to", tg_state_names[to]),
               tg_log_str("reason", reason));
    }
    return TG_ERR_OK;
}

bool tg_lifecycle_transition(const struct tg_lifecycle *lifecycle, size_t i,
                             struct tg_transition *out)
{
    if (i >= lifecycle->kept)
        return false;
    size_t oldest = lifecycle->newest + 1u + TG_TRANSITIONS_KEPT - lifecycle->kept;
    *out = unpack(&lifecycle->ring[(oldest + i) % TG_TRANSITIONS_KEPT]);
    out->from = i == 0 ? (enum tg_state)lifecycle->before
                       : unpack(&lifecycle->ring[(oldest + i - 1) % TG_TRANSITIONS_KEPT]).to;
    return true;
}
