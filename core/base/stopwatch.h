/* stopwatch.h - durations of what happens hundreds of thousands of times a second.
 *
 * Reading the monotonic clock twice was a quarter of a hook call (2 x 46 ns of 380, measured); the processor's
 * own counter takes a third of that. Where it cannot be trusted the clock is read after all.
 */
#ifndef TG_BASE_STOPWATCH_H
#define TG_BASE_STOPWATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Sets it against the clock, which takes some milliseconds; once, so before there are other threads. Until
 * then the stopwatch is the clock. */
void tg_stopwatch_calibrate(void);

/* Whether Linux, which tells the time by this, takes it from the same counter of x86. It has seen what the
 * processor does not say of itself: cores that disagree, a counter that stopped in between. */
bool tg_stopwatch_trusts(const char *clocksource);

/* Only the difference of two readings says something: it runs beside the monotonic clock and slowly drifts
 * from it. A later one on another thread may be smaller by a few nanoseconds. A simulation's clock is read in
 * its place, too. */
uint64_t tg_stopwatch_ns(void);

/* Since an earlier reading; 0 rather than less. */
static inline uint64_t tg_stopwatch_since_ns(uint64_t earlier_ns)
{
    uint64_t now_ns = tg_stopwatch_ns();

    return now_ns > earlier_ns ? now_ns - earlier_ns : 0;
}

#endif
