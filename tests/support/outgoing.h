/* outgoing.h - a loop with what an outgoing WebSocket stands on, and an upstream that it can reach. For the
 * fixture of a test, which destroys its client before it closes this.
 */
#ifndef TG_TESTS_OUTGOING_H
#define TG_TESTS_OUTGOING_H

#include <stdint.h>

#include <uv.h>

#include "base/clock.h"
#include "net/stream.h"
#include "net/timer.h"
#include "support/upstream.h"

struct outgoing {
    uv_loop_t loop;
    uv_timer_t tick; /* so that no turn of the loop waits for long */
    struct tg_net *net;
    struct tg_timers *timers;
    struct upstream up;
};

void outgoing_open(struct outgoing *out);
/* Fails the test when a handle is left, which keeps the loop from closing. */
void outgoing_close(struct outgoing *out);
void outgoing_turn(struct outgoing *out);
void outgoing_wait_ms(struct outgoing *out, uint64_t ms);

#define OUTGOING_UNTIL(out, condition)                                                             \
    do {                                                                                           \
        uint64_t outgoing_give_up_ms = tg_clock_monotonic_ms() + 30000;                            \
        while (!(condition)) {                                                                     \
            if (tg_clock_monotonic_ms() > outgoing_give_up_ms)                                     \
                fail_msg("gave up waiting for: %s", #condition);                                   \
            outgoing_turn(out);                                                                    \
        }                                                                                          \
    } while (0)

#endif
