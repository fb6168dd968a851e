/* state.h - the connection state machine: one table of allowed moves, and the record of those made.
 *
 *   connecting ─> accepted ─> authenticated ─> services_ready ─> processing_ready <─> processing
 *                                   │                 │              │  ^  ^            │  ^
 *                                   └──> degraded <───┴──────────────┘  │  └── idle <───┘  │
 *                                         │    ^  └──────────────────── │ ───────┴─────────┘
 *                                         v    │                        │
 *                                       reconnecting ───────────────────┘
 *   any but connecting ─> closing ─> closed | failed          any ─> closed | failed
 *
 * The machine is embedded in its connection and never made anew. A move that the table does not
 * allow changes nothing, is counted and logged, and is reported to the caller, also when the caller
 * is the core itself.
 */
#ifndef TG_CONNECTION_STATE_H
#define TG_CONNECTION_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/metrics.h"
#include "connection/id.h"

enum tg_state {
    TG_CONNECTING, /* the first four are setup; ops/health counts on it */
    TG_ACCEPTED,
    TG_AUTHENTICATED,
    TG_SERVICES_READY,
    TG_PROCESSING_READY,
    TG_PROCESSING,
    TG_IDLE,
    TG_DEGRADED,
    TG_RECONNECTING,
    TG_CLOSING,
    TG_CLOSED,
    TG_FAILED,
    TG_STATES
};
#define TG_SETUP_STATES 4

extern const char *const tg_state_names[TG_STATES];

bool tg_state_allows(enum tg_state from, enum tg_state to);
static inline bool tg_state_is_setup(enum tg_state state)
{
    return state < TG_SETUP_STATES;
}
bool tg_state_is_operational(enum tg_state state);
bool tg_state_is_final(enum tg_state state);

struct tg_transition {
    uint64_t at_ms;     /* wall clock */
    const char *reason; /* static text */
    enum tg_state from;
    enum tg_state to;
};

/* The same as it is kept, in what an idle connection can afford for each: the reason in 8 bits (reasons.h),
 * `to` in 4, the low 36 of the time, which say it for two years. `from` is the `to` of the one before. */
struct tg_packed_transition {
    uint16_t bits[3];
};

#define TG_TRANSITIONS_KEPT 12

struct tg_lifecycle {
    uint8_t
        state; /* enum tg_state; read with tg_lifecycle_state, written by tg_lifecycle_move only */
    uint8_t kept;
    uint8_t newest; /* place of the latest in ring */
    uint8_t before; /* enum tg_state before the oldest kept */
    struct tg_packed_transition ring[TG_TRANSITIONS_KEPT];
};

/* Begins in connecting; counts it in the gauge. */
void tg_lifecycle_init(struct tg_lifecycle *lifecycle, struct tg_metrics *metrics);
/* Takes the connection out of the gauge; at the very end. */
void tg_lifecycle_fini(struct tg_lifecycle *lifecycle, struct tg_metrics *metrics);

static inline enum tg_state tg_lifecycle_state(const struct tg_lifecycle *lifecycle)
{
    return (enum tg_state)lifecycle->state;
}

/* TG_ERR_ILLEGAL: not allowed; nothing changed, counted and logged. `reason` is static text. */
TG_MUST enum tg_err tg_lifecycle_move(struct tg_lifecycle *lifecycle, enum tg_state to,
                                      const char *reason, const struct tg_conn_id *id,
                                      struct tg_metrics *metrics);

/* i = 0 is the oldest kept; false, and *out as it was: there is none. */
TG_MUST bool tg_lifecycle_transition(const struct tg_lifecycle *lifecycle, size_t i,
                                     struct tg_transition *out);

#endif
