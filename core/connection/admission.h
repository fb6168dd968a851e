/* admission.h - how many may be connected, and how fast they may come: one table for the whole process.
 *
 * Shared by all workers. Touched when a connection comes and when it goes, never for a message. The
 * count of all is one atomic number; addresses are in a striped table that is locked for a moment,
 * and not at all when no limit is by address. An IPv6 client is its /64, since it can pick any
 * address in it. Peers on a Unix socket have no address, so limits by address leave them alone.
 */
#ifndef TG_CONNECTION_ADMISSION_H
#define TG_CONNECTION_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/error.h"
#include "base/rate.h"

struct tg_admission;

struct tg_admission_options {
    uint64_t max_connections; /* 0: no limit */
    uint64_t max_per_address; /* 0: no limit */
    struct tg_rate rate;      /* new connections of one address */
};

enum tg_admission_verdict {
    TG_ADMITTED,
    TG_ADMISSION_TOO_MANY, /* from this address; also when memory is out */
    TG_ADMISSION_TOO_FAST  /* from this address */
};

/* Addresses that are remembered only for their rate, at most, in the whole table. When there are more,
 * those seen longest ago are forgotten. */
#define TG_ADMISSION_REMEMBERED 65536

TG_MUST enum tg_err tg_admission_create(struct tg_admission **out,
                                        const struct tg_admission_options *options);
void tg_admission_destroy(struct tg_admission *admission); /* NULL is allowed */

/* Any thread. Every enter that was true is followed by one leave, every TG_ADMITTED by one release with
 * the same address. */
TG_MUST bool tg_admission_enter(struct tg_admission *admission); /* false: full */
void tg_admission_leave(struct tg_admission *admission);
TG_MUST enum tg_admission_verdict tg_admission_admit(struct tg_admission *admission,
                                                     const struct tg_address *client,
                                                     uint64_t now_ms, uint64_t *wait_ms);
void tg_admission_release(struct tg_admission *admission, const struct tg_address *client);

uint64_t tg_admission_count(const struct tg_admission *admission);
/* Addresses in the table now: for tests and accounting. */
size_t tg_admission_addresses(struct tg_admission *admission);

#endif
