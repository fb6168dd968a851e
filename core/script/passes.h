/* passes.h - what the process knows of passes: the tickets that it has issued and nobody has used yet, and
 * the tokens that it does not take any more. Shared by all workers; outlives every version of the policy
 * and not the process. Any thread.
 *
 * A ticket is 256 random bits that stand for an identity once, within a few minutes. Only its SHA-256 is
 * kept. What is kept has stores of its own: scripts can neither read nor fill them through tidegate.kv, and
 * when one is full, what is new is refused; nothing is forgotten before its time.
 */
#ifndef TG_SCRIPT_PASSES_H
#define TG_SCRIPT_PASSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define TG_TICKET_SIZE 44 /* base64url of 32 bytes, and a NUL */
#define TG_TICKET_TTL_MS 60000
#define TG_TICKET_TTL_MAX_MS 300000
#define TG_TICKET_IDENTITY_MAX 4096
#define TG_TICKET_ORIGIN_MAX 255
#define TG_TOKEN_ID_MAX 1024
#define TG_REVOKED_REASON "the token has been revoked"

struct tg_passes; /* opaque */

enum tg_ticket_outcome {
    TG_TICKET_ISSUED,
    TG_TICKET_USED,
    TG_TICKET_UNKNOWN,
    TG_TICKET_EXPIRED,
    TG_TICKET_REPLAYED,
    TG_TICKET_FOREIGN, /* shown by another origin than it was issued for */
    TG_TICKET_OUTCOMES
};
extern const char *const tg_ticket_outcome_names[TG_TICKET_OUTCOMES];

struct tg_ticket_order {
    const void *identity; /* a JSON object with a user_id, checked by the caller */
    size_t identity_len;  /* at most TG_TICKET_IDENTITY_MAX */
    const char *origin;   /* NULL: any; at most TG_TICKET_ORIGIN_MAX */
    size_t origin_len;
    uint64_t ttl_ms; /* 1 to TG_TICKET_TTL_MAX_MS */
};

struct tg_passes_stats {
    uint64_t tickets[TG_TICKET_OUTCOMES];
    uint64_t revocations;
};

TG_MUST enum tg_err tg_passes_create(struct tg_passes **out);
void tg_passes_destroy(struct tg_passes *passes); /* nobody uses it any more; NULL is allowed */

/* *expires_at: unix seconds. TG_ERR_LIMIT: too many are out, or the identity is too large; TG_ERR_INVALID;
 * TG_ERR_NOMEM. */
TG_MUST enum tg_err tg_passes_issue(struct tg_passes *passes, const struct tg_ticket_order *order,
                                    char ticket[TG_TICKET_SIZE], double *expires_at);
/* Of many who show the same ticket, on whatever worker, exactly one gets TG_TICKET_USED, and the identity
 * appended. A ticket that another origin shows has leaked and is void from then on. On an error
 * (TG_ERR_NOMEM) nothing has happened. */
TG_MUST enum tg_err tg_passes_take(struct tg_passes *passes, const char *ticket, size_t len,
                                   const char *origin, size_t origin_len,
                                   struct tg_buffer *identity, enum tg_ticket_outcome *outcome);

/* For ttl_ms at least, also if it was revoked for less before. TG_ERR_LIMIT: too many are. */
TG_MUST enum tg_err tg_passes_revoke(struct tg_passes *passes, const char *token_id, size_t len,
                                     uint64_t ttl_ms);
bool tg_passes_is_revoked(struct tg_passes *passes, const char *token_id, size_t len);

void tg_passes_read_stats(const struct tg_passes *passes, struct tg_passes_stats *out);

#endif
