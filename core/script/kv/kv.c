/* kv.c - the store that scripts of all workers share.
 *
 * A key's hash picks its shard (kv_shard.c); each shard has a mutex. The hash is keyed with a secret of the
 * process, so that no client can fill one chain.
 *
 * I1  The mutex is held for one look-up and one copy of at most a value (kv.max_value): never while memory
 *     is asked for, given back, or Lua runs. So no worker waits for more than that, and only a worker
 *     whose script uses the store waits at all.
 */
#include "script/kv/kv.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/siphash.h"
#include "script/kv/kv_internal.h"
#include "script/plain.h"

#define SHARDS_MAX 64

const char *const tg_kv_operation_names[TG_KV_OPERATIONS] = {
    [TG_KV_GET] = "get",       [TG_KV_SET] = "set", [TG_KV_ADD] = "add", [TG_KV_INCR] = "incr",
    [TG_KV_DELETE] = "delete", [TG_KV_CAS] = "cas", [TG_KV_TTL] = "ttl",
};

struct tg_kv {
    struct tg_siphash_key secret;
    size_t value_max;
    size_t shard_count; /* a power of two */
    struct tg_kv_shard shards[SHARDS_MAX];
};

static struct tg_kv_work prepare(struct tg_kv *kv, struct tg_kv_key key)
{
    uint64_t hash = tg_siphash(&kv->secret, key.data, key.len);

    return (struct tg_kv_work){.shard = &kv->shards[hash & (kv->shard_count - 1)],
                               .key = key,
                               .hash = hash,
                               .now_ms = tg_clock_monotonic_ms()};
}

static void lock(struct tg_kv_work *work)
{
    (void)pthread_mutex_lock(&work->shard->lock);
}

static void unlock(struct tg_kv_work *work)
{
    (void)pthread_mutex_unlock(&work->shard->lock);
    while (work->removed != NULL) {
        struct tg_kv_entry *next = work->removed->next;
        tg_free(work->removed);
        work->removed = next;
    }
}

static uint64_t due_of(const struct tg_kv_work *work, uint64_t ttl_ms)
{
    return ttl_ms >= TG_KV_FOREVER - work->now_ms ? TG_KV_FOREVER : work->now_ms + ttl_ms;
}

static enum tg_err make_entry(const struct tg_kv_work *work, const void *value, size_t len,
                              uint64_t ttl_ms, struct tg_kv_entry **out)
{
    size_t size = sizeof **out + work->key.len + len;

    if (len > UINT32_MAX || size > work->shard->bytes_max)
        return TG_ERR_LIMIT;
    struct tg_kv_entry *entry = tg_alloc(size);
    if (entry == NULL)
        return TG_ERR_NOMEM;
    entry->next = NULL;
    tg_list_init(&entry->used);
    entry->hash = work->hash;
    entry->version = 0;
    entry->due_ms = due_of(work, ttl_ms);
    entry->key_len = (uint32_t)work->key.len;
    entry->value_len = (uint32_t)len;
    memcpy(entry->bytes, work->key.data, work->key.len);
    memcpy(tg__kv_value(entry), value, len);
    *out = entry;
    return TG_ERR_OK;
}

enum tg_err tg_kv_get(struct tg_kv *kv, enum tg_kv_operation operation, struct tg_kv_key key,
                      struct tg_buffer *value, uint64_t *version)
{
    struct tg_kv_work work = prepare(kv, key);
    size_t needed = 0;

    for (bool first = true;; first = false) {
        if (needed > 0 && tg_buffer_reserve(value, needed) == NULL)
            return TG_ERR_NOMEM;
        lock(&work);
        work.shard->operations[operation] += first;
        struct tg_kv_entry **place = tg__kv_find(&work);
        if (place == NULL) {
            unlock(&work);
            return TG_ERR_NOT_FOUND;
        }
        struct tg_kv_entry *entry = *place;
        tg__kv_touch(work.shard, entry);
        *version = entry->version;
        needed = entry->value_len;
        bool fits = value->capacity - value->start - value->len >= needed;
        /* There is room, so nothing is allocated. */
        enum tg_err err = fits ? tg_buffer_append(value, tg__kv_value(entry), needed) : TG_ERR_OK;
        unlock(&work);
        if (fits)
            return err;
    }
}

/* Takes the entry. version NULL: whatever is there. */
static enum tg_err put(struct tg_kv_work *work, enum tg_kv_operation operation,
                       const uint64_t *version, struct tg_kv_entry *entry)
{
    enum tg_err err = TG_ERR_OK;

    lock(work);
    work->shard->operations[operation]++;
    bool room = tg__kv_has_room(work, tg__kv_size(entry));
    struct tg_kv_entry **place = tg__kv_find(work);
    if (version != NULL && *version != (place == NULL ? 0 : (*place)->version))
        err = TG_ERR_EXISTS;
    else if (!room)
        err = TG_ERR_LIMIT;
    if (err == TG_ERR_OK && place != NULL)
        tg__kv_unlink(work, place);
    if (err == TG_ERR_OK)
        tg__kv_insert(work, entry);
    unlock(work);
    if (err != TG_ERR_OK)
        tg_free(entry);
    return err;
}

enum tg_err tg_kv_set(struct tg_kv *kv, struct tg_kv_key key, const void *value, size_t len,
                      uint64_t ttl_ms)
{
    struct tg_kv_work work = prepare(kv, key);
    struct tg_kv_entry *entry;
    enum tg_err err = make_entry(&work, value, len, ttl_ms, &entry);

    return err != TG_ERR_OK ? err : put(&work, TG_KV_SET, NULL, entry);
}

enum tg_err tg_kv_set_if(struct tg_kv *kv, enum tg_kv_operation operation, struct tg_kv_key key,
                         uint64_t version, const void *value, size_t len, uint64_t ttl_ms)
{
    struct tg_kv_work work = prepare(kv, key);
    struct tg_kv_entry *entry;
    enum tg_err err = make_entry(&work, value, len, ttl_ms, &entry);

    return err != TG_ERR_OK ? err : put(&work, operation, &version, entry);
}

/* TG_ERR_NOT_FOUND: there is none. */
static enum tg_err add_to(struct tg_kv_work *work, double by, double *result)
{
    struct tg_kv_entry **place = tg__kv_find(work);
    double number;

    if (place == NULL)
        return TG_ERR_NOT_FOUND;
    struct tg_kv_entry *entry = *place;
    if (!tg_plain_read_number(tg__kv_value(entry), entry->value_len, &number))
        return TG_ERR_INVALID;
    *result = number + by;
    tg_plain_write_number(tg__kv_value(entry), *result);
    entry->version = ++work->shard->last_version;
    tg__kv_touch(work->shard, entry);
    return TG_ERR_OK;
}

enum tg_err tg_kv_incr(struct tg_kv *kv, struct tg_kv_key key, double by, uint64_t ttl_ms,
                       double *result)
{
    char number[TG_PLAIN_NUMBER_SIZE];
    struct tg_kv_work work = prepare(kv, key);
    struct tg_kv_entry *fresh = NULL;
    enum tg_err err;

    lock(&work);
    work.shard->operations[TG_KV_INCR]++;
    err = add_to(&work, by, result);
    unlock(&work);
    if (err != TG_ERR_NOT_FOUND)
        return err;
    tg_plain_write_number(number, by);
    err = make_entry(&work, number, sizeof number, ttl_ms, &fresh);
    if (err != TG_ERR_OK)
        return err;
    *result = by;
    lock(&work);
    err = add_to(&work, by, result); /* somebody may have been faster */
    if (err == TG_ERR_NOT_FOUND) {
        tg__kv_insert(&work, fresh);
        fresh = NULL;
        err = TG_ERR_OK;
    }
    unlock(&work);
    tg_free(fresh);
    return err;
}

bool tg_kv_delete(struct tg_kv *kv, struct tg_kv_key key)
{
    struct tg_kv_work work = prepare(kv, key);

    lock(&work);
    work.shard->operations[TG_KV_DELETE]++;
    struct tg_kv_entry **place = tg__kv_find(&work);
    if (place != NULL)
        tg__kv_unlink(&work, place);
    unlock(&work);
    return place != NULL;
}

enum tg_err tg_kv_ttl(struct tg_kv *kv, struct tg_kv_key key, uint64_t *left_ms)
{
    struct tg_kv_work work = prepare(kv, key);

    lock(&work);
    work.shard->operations[TG_KV_TTL]++;
    struct tg_kv_entry **place = tg__kv_find(&work);
    uint64_t due_ms = place == NULL ? 0 : (*place)->due_ms;
    unlock(&work);
    if (place == NULL)
        return TG_ERR_NOT_FOUND;
    *left_ms = due_ms == TG_KV_FOREVER ? TG_KV_FOREVER : due_ms - work.now_ms;
    return TG_ERR_OK;
}

void tg_kv_read_stats(struct tg_kv *kv, struct tg_kv_stats *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < kv->shard_count; i++) {
        struct tg_kv_shard *shard = &kv->shards[i];
        (void)pthread_mutex_lock(&shard->lock);
        out->entries += shard->entries;
        out->bytes += shard->bytes;
        out->evictions += shard->evictions;
        for (int o = 0; o < TG_KV_OPERATIONS; o++)
            out->operations[o] += shard->operations[o];
        (void)pthread_mutex_unlock(&shard->lock);
    }
}

size_t tg_kv_value_max(const struct tg_kv *kv)
{
    return kv->value_max;
}

enum tg_err tg_kv_create(struct tg_kv **out, const struct tg_kv_options *options)
{
    struct tg_kv *kv = tg_calloc(1, sizeof *kv);
    size_t count = SHARDS_MAX;

    if (kv == NULL)
        return TG_ERR_NOMEM;
    /* Fewer where the largest values would crowd each other out. */
    while (count > 1 && options->memory / count < 8 * options->value_max)
        count /= 2;
    kv->secret = tg_siphash_key_new();
    kv->value_max = options->value_max;
    for (; kv->shard_count < count; kv->shard_count++) {
        if (!tg__kv_shard_open(&kv->shards[kv->shard_count], options->memory / count)) {
            tg_kv_destroy(kv);
            return TG_ERR_NOMEM;
        }
        kv->shards[kv->shard_count].keep = options->keep;
    }
    *out = kv;
    return TG_ERR_OK;
}

void tg_kv_destroy(struct tg_kv *kv)
{
    if (kv == NULL)
        return;
    for (size_t i = 0; i < kv->shard_count; i++)
        tg__kv_shard_close(&kv->shards[i]);
    tg_free(kv);
}
