/* clock.h - the two clocks: monotonic for durations, wall for what people read.
 */
#ifndef TG_BASE_CLOCK_H
#define TG_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t tg_clock_monotonic_ns(void);
uint64_t tg_clock_monotonic_ms(void);
/* The monotonic clock as it stood at the system's last tick, some milliseconds ago: a third of the price. */
uint64_t tg_clock_tick_ns(void);
uint64_t tg_clock_wall_ms(void); /* since 1970-01-01 UTC */

/* A clock that stands still until somebody moves it, for simulations. */
struct tg_clock_fake {
    uint64_t monotonic_ns;
    uint64_t wall_ms;
};
/* What this thread reads from now on, in place of the clocks above; borrowed. NULL: the clocks again. */
void tg_clock_use(const struct tg_clock_fake *fake);
bool tg_clock_is_fake(void);

/* "2026-01-02T03:04:05.678Z" and a NUL (RFC 3339, UTC, milliseconds). */
#define TG_CLOCK_RFC3339_SIZE 25
void tg_clock_rfc3339(uint64_t wall_ms, char out[TG_CLOCK_RFC3339_SIZE]);

#endif
