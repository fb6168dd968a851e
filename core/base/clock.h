/* clock.h - the two clocks: monotonic for durations, wall for what people read.
 */
#ifndef TG_BASE_CLOCK_H
#define TG_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t tg_clock_monotonic_ns(void);
uint64_t tg_clock_monotonic_ms(void);
uint64_t tg_clock_wall_ms(void); /* since 1970-01-01 UTC */

/* "2026-01-02T03:04:05.678Z" and a NUL (RFC 3339, UTC, milliseconds). */
#define TG_CLOCK_RFC3339_SIZE 25
void tg_clock_rfc3339(uint64_t wall_ms, char out[TG_CLOCK_RFC3339_SIZE]);

#endif
