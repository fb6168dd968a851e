/* id.h - the connection ID: made once, when a socket is accepted, and by nobody else.
 *
 * Text: ws_<unix ms>_<12 hex: worker (2) and sequence (10)>_<16 hex: random>. The worker part lets any
 * thread find the owner; the random part (CSPRNG) makes IDs unguessable and unique across restarts.
 * The serial (worker and sequence) is never used twice in one process, so it also serves as a handle
 * that goes stale instead of dangling.
 */
#ifndef TG_CONNECTION_ID_H
#define TG_CONNECTION_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct tg_conn_id {
    uint64_t time_ms; /* wall clock at accept; 13 digits */
    uint64_t serial;  /* worker << 40 | sequence */
    uint64_t random;
};

#define TG_CONN_ID_LEN 46
#define TG_CONN_ID_SIZE (TG_CONN_ID_LEN + 1)
#define TG_WORKERS_MAX 255

/* The one generator: one per worker. */
struct tg_conn_id_source {
    uint8_t worker; /* 1..255 */
    uint64_t sequence;
};

struct tg_conn_id tg_conn_id_next(struct tg_conn_id_source *source);
void tg_conn_id_format(const struct tg_conn_id *id, char out[TG_CONN_ID_SIZE]);

/* Exact form only (lower-case hex, right lengths); TG_ERR_INVALID otherwise. */
TG_MUST enum tg_err tg_conn_id_parse(const char *text, size_t len, struct tg_conn_id *out);
bool tg_conn_id_equal(const struct tg_conn_id *a, const struct tg_conn_id *b);
static inline uint8_t tg_conn_id_worker(uint64_t serial)
{
    return (uint8_t)(serial >> 40);
}
/* The rest of it, never used twice by one worker. */
static inline uint64_t tg_conn_id_sequence(uint64_t serial)
{
    return serial & ((UINT64_C(1) << 40) - 1);
}

#endif
