/* quota.c - counting runs by user, over all workers.
 *
 * An entry lives while places are taken under it, so the table is as large as what runs now. It is found by a
 * keyed hash of 64 bits, which stands for the user and the name: nobody can aim at another's entry.
 */
#include "agent/quota.h"

#include <pthread.h>
#include <string.h>

#include "base/map.h"
#include "base/memory.h"
#include "base/siphash.h"

struct tg_quota_lease {
    uint64_t key;
    uint64_t taken;
};

struct tg_quota {
    pthread_mutex_t lock;
    struct tg_siphash_key key;
    struct tg_map map; /* of struct tg_quota_lease, owned */
};

enum tg_err tg_quota_create(struct tg_quota **out)
{
    struct tg_quota *quota = tg_calloc(1, sizeof *quota);

    if (quota == NULL)
        return TG_ERR_NOMEM;
    (void)pthread_mutex_init(&quota->lock, NULL); /* cannot fail on Linux */
    quota->key = tg_siphash_key_new();
    *out = quota;
    return TG_ERR_OK;
}

void tg_quota_destroy(struct tg_quota *quota)
{
    size_t cursor = 0;

    if (quota == NULL)
        return;
    for (struct tg_quota_lease *lease = tg_map_next(&quota->map, &cursor); lease != NULL;
         lease = tg_map_next(&quota->map, &cursor))
        tg_free(lease);
    tg_map_fini(&quota->map);
    (void)pthread_mutex_destroy(&quota->lock);
    tg_free(quota);
}

/* The hash of one is the key of the other, so that no text has to be joined. */
static uint64_t key_of(const struct tg_quota *quota, const char *user, const char *name)
{
    uint64_t of_user = tg_siphash(&quota->key, user, strlen(user));
    struct tg_siphash_key key = {quota->key.k0 ^ of_user, quota->key.k1 + of_user};

    return tg_siphash(&key, name, strlen(name));
}

/* Locked. NULL: no memory. */
static struct tg_quota_lease *find_or_make(struct tg_quota *quota, uint64_t key)
{
    struct tg_quota_lease *lease = tg_map_find(&quota->map, key);

    if (lease != NULL)
        return lease;
    lease = tg_calloc(1, sizeof *lease);
    if (lease == NULL)
        return NULL;
    lease->key = key;
    if (tg_map_put(&quota->map, key, lease) == TG_ERR_OK)
        return lease;
    tg_free(lease);
    return NULL;
}

enum tg_err tg_quota_take(struct tg_quota *quota, const char *user, const char *name, uint64_t max,
                          struct tg_quota_lease **out)
{
    enum tg_err err = TG_ERR_OK;
    uint64_t key = key_of(quota, user, name);

    (void)pthread_mutex_lock(&quota->lock);
    struct tg_quota_lease *lease = find_or_make(quota, key);
    if (lease == NULL)
        err = TG_ERR_NOMEM;
    else if (lease->taken >= max)
        err = TG_ERR_LIMIT; /* others hold places, so the entry is not an empty one */
    else
        lease->taken++;
    (void)pthread_mutex_unlock(&quota->lock);
    if (err == TG_ERR_OK)
        *out = lease;
    return err;
}

void tg_quota_give(struct tg_quota *quota, struct tg_quota_lease *lease)
{
    (void)pthread_mutex_lock(&quota->lock);
    if (--lease->taken == 0) {
        (void)tg_map_remove(&quota->map, lease->key);
        tg_free(lease);
    }
    (void)pthread_mutex_unlock(&quota->lock);
}

size_t tg_quota_entries(struct tg_quota *quota)
{
    (void)pthread_mutex_lock(&quota->lock);
    size_t count = quota->map.count;
    (void)pthread_mutex_unlock(&quota->lock);
    return count;
}
