/* kv_internal.h - one shard of the store, for kv.c and kv_shard.c. Nothing of it allocates or frees but
 * open and close; the rest wants the shard's lock held.
 */
#ifndef TG_SCRIPT_KV_INTERNAL_H
#define TG_SCRIPT_KV_INTERNAL_H

#include <pthread.h>

#include "base/list.h"
#include "script/kv/kv.h"

struct tg_kv_entry {
    struct tg_kv_entry *next; /* of its chain; once unlinked, of those to be freed */
    struct tg_list used;
    uint64_t hash;
    uint64_t version;
    uint64_t due_ms; /* on the monotonic clock, or TG_KV_FOREVER */
    uint32_t key_len;
    uint32_t value_len;
    char bytes[]; /* key, value */
};

struct tg_kv_shard {
    pthread_mutex_t lock;
    struct tg_kv_entry **chains; /* owned */
    size_t chain_count;          /* a power of two */
    struct tg_list used;         /* entry.used; first: longest ago */
    size_t bytes, bytes_max;
    size_t entries;
    size_t swept; /* next chain to look at */
    bool keep;    /* nothing goes before its time */
    uint64_t last_version;
    uint64_t evictions;
    uint64_t operations[TG_KV_OPERATIONS];
};

/* What one operation works with. */
struct tg_kv_work {
    struct tg_kv_shard *shard;
    struct tg_kv_key key;
    uint64_t hash;
    uint64_t now_ms;
    struct tg_kv_entry *removed; /* to be freed after the lock */
};

static inline size_t tg__kv_size(const struct tg_kv_entry *entry)
{
    return sizeof *entry + entry->key_len + entry->value_len;
}

static inline char *tg__kv_value(struct tg_kv_entry *entry)
{
    return entry->bytes + entry->key_len;
}

TG_MUST bool tg__kv_shard_open(struct tg_kv_shard *shard, size_t bytes_max);
void tg__kv_shard_close(struct tg_kv_shard *shard);

/* Where the pointer to the key's entry is; NULL when there is none that is alive. */
struct tg_kv_entry **tg__kv_find(struct tg_kv_work *work);
/* Takes the entry out; it is freed after the lock. */
void tg__kv_unlink(struct tg_kv_work *work, struct tg_kv_entry **place);
/* It is the one used last now. */
void tg__kv_touch(struct tg_kv_shard *shard, struct tg_kv_entry *entry);
/* Whether an entry of that size may be put under the key without another having to go, or others may go.
 * Places that were found before are void after it: what has expired may go. */
TG_MUST bool tg__kv_has_room(struct tg_kv_work *work, size_t size);
/* The entry fits into an empty shard, and its key is in none. Makes room for it. */
void tg__kv_insert(struct tg_kv_work *work, struct tg_kv_entry *entry);

#endif
