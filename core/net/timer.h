/* timer.h - many cheap deadlines on one loop: an intrusive heap behind a single loop timer.
 *
 * A tg_timer costs 16 bytes in its owner, 8 in the heap and no allocation of its own (the heap array
 * grows by doubling). Loop thread only. Callbacks run from the loop; a timer may be started, stopped or its
 * owner freed inside any callback.
 */
#ifndef TG_NET_TIMER_H
#define TG_NET_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct uv_loop_s;
struct tg_timers; /* opaque: one per loop */
struct tg_timer;

typedef void (*tg_timer_fn)(struct tg_timer *timer);

/* Embedded by the owner; zero-initialise. The owner is reached with TG_CONTAINER_OF. */
struct tg_timer {
    /* Due on the clock of its tg_timers, in ms, above its 1-based place in the heap; place 0: not running.
     * There are two in every idle connection, so one word holds both: enough for 34 years of the clock and
     * 16 million timers a loop. */
    uint64_t due_and_place;
    tg_timer_fn fn;
};

#define TG_TIMER_PLACE_BITS 24
#define TG_TIMER_PLACE_MAX ((UINT64_C(1) << TG_TIMER_PLACE_BITS) - 1)

TG_MUST enum tg_err tg_timers_create(struct tg_timers **out, struct uv_loop_s *loop);
/* The same without a loop, for simulations: time is what it is set to, and due timers wait to be fired. */
TG_MUST enum tg_err tg_timers_create_manual(struct tg_timers **out, uint64_t now_ms);
/* When the first of them is due; false: none runs. Manual only, as the two below. */
bool tg_timers_next_due(const struct tg_timers *timers, uint64_t *due_ms);
void tg_timers_set_now(struct tg_timers *timers, uint64_t now_ms); /* never back */
/* Fires the first one if it is due; false: none is. */
bool tg_timers_fire(struct tg_timers *timers);
/* No timer fires after this. Memory is freed when the loop has run the close callback, without a
 * loop at once. */
void tg_timers_destroy(struct tg_timers *timers);

/* The loop's monotonic clock: cached once per loop iteration. */
uint64_t tg_timers_now_ms(const struct tg_timers *timers);

/* Starts or restarts. TG_ERR_NOMEM, also when there are too many, leaves a running timer as it was. A
 * delay that is longer than there are bits is the longest there is. */
TG_MUST enum tg_err tg_timer_start(struct tg_timers *timers, struct tg_timer *timer,
                                   uint64_t delay_ms, tg_timer_fn fn);
void tg_timer_stop(struct tg_timers *timers, struct tg_timer *timer); /* idempotent */
static inline bool tg_timer_running(const struct tg_timer *timer)
{
    return (timer->due_and_place & TG_TIMER_PLACE_MAX) != 0;
}
/* Of one that runs, or has just fired. */
static inline uint64_t tg_timer_due_ms(const struct tg_timer *timer)
{
    return timer->due_and_place >> TG_TIMER_PLACE_BITS;
}

#endif
