/* quota.h - how many runs one user has at a time: one table for the whole process.
 *
 * Shared by all workers, locked for a moment when a run with such a limit begins or ends. A place is taken
 * under a user and a name ("" for all the user's runs, or an agent's) and given back as a lease.
 */
#ifndef TG_AGENT_QUOTA_H
#define TG_AGENT_QUOTA_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct tg_quota;
struct tg_quota_lease;

TG_MUST enum tg_err tg_quota_create(struct tg_quota **out);
void tg_quota_destroy(struct tg_quota *quota); /* no lease is out; NULL is allowed */

/* Any thread. TG_ERR_LIMIT: `max` places are taken; TG_ERR_NOMEM. Each lease is given back once. */
TG_MUST enum tg_err tg_quota_take(struct tg_quota *quota, const char *user, const char *name,
                                  uint64_t max, struct tg_quota_lease **out);
void tg_quota_give(struct tg_quota *quota, struct tg_quota_lease *lease);

/* Users and names with a place taken: for tests and accounting. */
size_t tg_quota_entries(struct tg_quota *quota);

#endif
