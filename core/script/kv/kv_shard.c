/* kv_shard.c - one shard of the store: a chained hash table, and a list from the entry used longest ago to
 * the last one.
 *
 * I2  shard->bytes is the sum of its entries' sizes and never above bytes_max: what was used longest ago
 *     goes first.
 * I3  No version is given twice in a shard, so an equal version means an unchanged entry.
 *
 * What has expired goes when somebody meets it: by its key, or by the sweep of a few chains that every
 * insertion makes. The table does not grow: it has a chain for every BYTES_PER_CHAIN of memory.
 */
#include <string.h>

#include "base/memory.h"
#include "script/kv/kv_internal.h"

#define BYTES_PER_CHAIN 256
#define SWEEP_CHAINS 2

bool tg__kv_shard_open(struct tg_kv_shard *shard, size_t bytes_max)
{
    shard->bytes_max = bytes_max;
    tg_list_init(&shard->used);
    for (shard->chain_count = 1; shard->chain_count < bytes_max / BYTES_PER_CHAIN;)
        shard->chain_count *= 2;
    shard->chains = tg_calloc(shard->chain_count, sizeof(struct tg_kv_entry *));
    if (shard->chains == NULL)
        return false;
    (void)pthread_mutex_init(&shard->lock, NULL); /* a plain one cannot fail */
    return true;
}

void tg__kv_shard_close(struct tg_kv_shard *shard)
{
    TG_LIST_EACH (node, next, &shard->used)
        tg_free(TG_CONTAINER_OF(node, struct tg_kv_entry, used));
    tg_free(shard->chains);
    (void)pthread_mutex_destroy(&shard->lock);
}

static struct tg_kv_entry **chain_of(const struct tg_kv_shard *shard, uint64_t hash)
{
    size_t chain =
        (size_t)(hash >> 6) & (shard->chain_count - 1); /* the low bits chose the shard */

    return &shard->chains[chain];
}

void tg__kv_unlink(struct tg_kv_work *work, struct tg_kv_entry **place)
{
    struct tg_kv_entry *entry = *place;

    *place = entry->next;
    tg_list_remove(&entry->used);
    work->shard->bytes -= tg__kv_size(entry);
    work->shard->entries--;
    entry->next = work->removed;
    work->removed = entry;
}

struct tg_kv_entry **tg__kv_find(struct tg_kv_work *work)
{
    struct tg_kv_entry **place = chain_of(work->shard, work->hash);

    for (; *place != NULL; place = &(*place)->next) {
        const struct tg_kv_entry *entry = *place;
        if (entry->hash != work->hash || entry->key_len != work->key.len ||
            memcmp(entry->bytes, work->key.data, work->key.len) != 0)
            continue;
        if (entry->due_ms > work->now_ms)
            return place;
        tg__kv_unlink(work, place);
        return NULL;
    }
    return NULL;
}

void tg__kv_touch(struct tg_kv_shard *shard, struct tg_kv_entry *entry)
{
    tg_list_remove(&entry->used);
    tg_list_push(&shard->used, &entry->used);
}

static void sweep(struct tg_kv_work *work, size_t chains)
{
    struct tg_kv_shard *shard = work->shard;

    for (size_t i = 0; i < chains; i++) {
        struct tg_kv_entry **place = &shard->chains[shard->swept];
        while (*place != NULL) {
            if ((*place)->due_ms <= work->now_ms)
                tg__kv_unlink(work, place);
            else
                place = &(*place)->next;
        }
        shard->swept = (shard->swept + 1) & (shard->chain_count - 1);
    }
}

static void evict_oldest(struct tg_kv_work *work)
{
    struct tg_kv_shard *shard = work->shard;
    struct tg_kv_entry *oldest = TG_CONTAINER_OF(shard->used.next, struct tg_kv_entry, used);
    struct tg_kv_entry **place = chain_of(shard, oldest->hash);

    while (*place != oldest)
        place = &(*place)->next;
    if (oldest->due_ms > work->now_ms)
        shard->evictions++;
    tg__kv_unlink(work, place);
}

bool tg__kv_has_room(struct tg_kv_work *work, size_t size)
{
    struct tg_kv_shard *shard = work->shard;

    if (!shard->keep || shard->bytes + size <= shard->bytes_max)
        return true;
    sweep(work, shard->chain_count);
    struct tg_kv_entry **place = tg__kv_find(work);
    size_t replaced = place == NULL ? 0 : tg__kv_size(*place);
    return shard->bytes - replaced + size <= shard->bytes_max;
}

void tg__kv_insert(struct tg_kv_work *work, struct tg_kv_entry *entry)
{
    struct tg_kv_shard *shard = work->shard;
    struct tg_kv_entry **chain = chain_of(shard, entry->hash);

    sweep(work, SWEEP_CHAINS);
    while (shard->bytes + tg__kv_size(entry) > shard->bytes_max)
        evict_oldest(work);
    entry->version = ++shard->last_version;
    entry->next = *chain;
    *chain = entry;
    tg_list_push(&shard->used, &entry->used);
    shard->bytes += tg__kv_size(entry);
    shard->entries++;
}
