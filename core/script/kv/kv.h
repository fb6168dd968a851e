/* kv.h - a small store of the process that scripts of all workers share: text keys, encoded values, an
 * optional time to live, bounded memory. It outlives every version of the policy and not the process.
 *
 * Any thread. Values are bytes that plain.h has encoded; only tg_kv_incr looks inside.
 */
#ifndef TG_SCRIPT_KV_H
#define TG_SCRIPT_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define TG_KV_KEY_MAX 256
#define TG_KV_FOREVER UINT64_MAX

struct tg_kv; /* opaque */

struct tg_kv_options {
    size_t memory; /* kv.memory: of entries with their keys; the tables of the store come on top */
    size_t value_max; /* kv.max_value */
    bool keep;        /* full: what is new is refused (TG_ERR_LIMIT); else the oldest goes */
};

enum tg_kv_operation {
    TG_KV_GET,
    TG_KV_SET,
    TG_KV_ADD,
    TG_KV_INCR,
    TG_KV_DELETE,
    TG_KV_CAS,
    TG_KV_TTL,
    TG_KV_OPERATIONS
};
extern const char *const tg_kv_operation_names[TG_KV_OPERATIONS];

struct tg_kv_stats {
    uint64_t entries; /* also those that have expired and that nobody has met since */
    uint64_t bytes;
    uint64_t evictions; /* entries that had to go before their time */
    uint64_t operations[TG_KV_OPERATIONS];
};

/* 1 to TG_KV_KEY_MAX bytes. */
struct tg_kv_key {
    const char *data;
    size_t len;
};

TG_MUST enum tg_err tg_kv_create(struct tg_kv **out, const struct tg_kv_options *options);
void tg_kv_destroy(struct tg_kv *kv); /* nobody uses it any more; NULL is allowed */
size_t tg_kv_value_max(const struct tg_kv *kv);

/* Appends the value. *version changes whenever the entry does and is never given twice, nor 0.
 * TG_ERR_NOT_FOUND, TG_ERR_NOMEM. */
TG_MUST enum tg_err tg_kv_get(struct tg_kv *kv, enum tg_kv_operation operation,
                              struct tg_kv_key key, struct tg_buffer *value, uint64_t *version);
/* In place of what was there, its time to live included. ttl_ms: TG_KV_FOREVER: none. TG_ERR_LIMIT: larger
 * than fits; TG_ERR_NOMEM: what was there stays. */
TG_MUST enum tg_err tg_kv_set(struct tg_kv *kv, struct tg_kv_key key, const void *value, size_t len,
                              uint64_t ttl_ms);
/* The same if the entry still has this version, 0 meaning that there is none; else TG_ERR_EXISTS. */
TG_MUST enum tg_err tg_kv_set_if(struct tg_kv *kv, enum tg_kv_operation operation,
                                 struct tg_kv_key key, uint64_t version, const void *value,
                                 size_t len, uint64_t ttl_ms);
/* Adds to the number there and leaves its time to live; makes it from 0, with `ttl_ms`, when there is none.
 * TG_ERR_INVALID: what is there is no number. Not for a store that keeps: it may make others go. */
TG_MUST enum tg_err tg_kv_incr(struct tg_kv *kv, struct tg_kv_key key, double by, uint64_t ttl_ms,
                               double *result);
/* True when it was there. */
bool tg_kv_delete(struct tg_kv *kv, struct tg_kv_key key);
/* *left_ms: until it goes, or TG_KV_FOREVER. TG_ERR_NOT_FOUND. */
TG_MUST enum tg_err tg_kv_ttl(struct tg_kv *kv, struct tg_kv_key key, uint64_t *left_ms);

void tg_kv_read_stats(struct tg_kv *kv, struct tg_kv_stats *out);

#endif
