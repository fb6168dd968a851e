/* rate.h - a limit such as 100 a second, and token buckets that keep to it.
 *
 * A bucket is one number: the time at which it would be full again (the generic cell rate algorithm).
 * It gives the same answers as a bucket of tokens that is refilled evenly, and needs no timer.
 */
#ifndef TG_BASE_RATE_H
#define TG_BASE_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct tg_rate {
    uint64_t interval_ns; /* one token; 0: no limit */
    uint64_t burst;       /* tokens that a full bucket holds; at least 1 */
};

/* "100/s", "20/m", "1000/h", with an optional burst: "100/s burst 300". Without one the burst is the
 * number itself. "unlimited": no limit. */
TG_MUST enum tg_err tg_rate_parse(const char *text, struct tg_rate *out, struct tg_error *error);

static inline bool tg_rate_limits(const struct tg_rate *rate)
{
    return rate->interval_ns != 0;
}

/* Takes one token at now_ns. *full_at_ns is the bucket; 0: full. When there is none: false, the bucket is
 * as it was, and *wait_ns (may be NULL) is the time until there is one. */
static inline bool tg_rate_take(const struct tg_rate *rate, uint64_t *full_at_ns, uint64_t now_ns,
                                uint64_t *wait_ns)
{
    uint64_t from = *full_at_ns > now_ns ? *full_at_ns : now_ns;
    uint64_t room = (rate->burst - 1) * rate->interval_ns;

    if (from - now_ns > room) {
        if (wait_ns != NULL)
            *wait_ns = from - now_ns - room;
        return false;
    }
    *full_at_ns = from + rate->interval_ns;
    return true;
}

#endif
