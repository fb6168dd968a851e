/* admission.c - counting connections, all of them and by address.
 *
 * An address has an entry while it has connections, and after that only while its bucket is not full
 * again. Entries without connections are on the stripe's `idle` list, oldest first; those whose bucket
 * has filled up are dropped from its front whenever a new one is made, so the table shrinks by itself.
 *
 * I1  An entry is on `idle` exactly while its `connections` is 0.
 * I2  The table is keyed by a seeded mix of the address: nobody can aim at one stripe or one slot.
 */
#include "connection/admission.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/random.h"

#define STRIPES 16
#define IDLE_MAX (TG_ADMISSION_REMEMBERED / STRIPES)
#define DROPS_PER_ENTRY 2 /* more than one, so that a full table shrinks */

/* Prefixes that no IPv6 host has (0000::/8 is reserved): where addresses of other kinds are put. */
#define V4_PREFIX UINT64_C(0x0000ffff00000000)
#define UNKNOWN_KEY UINT64_C(0x0000fffe00000000)

struct entry {
    uint64_t key;
    struct tg_list idle_node;
    uint64_t connections;
    uint64_t full_at_ns; /* tg_rate_take's bucket */
};

struct stripe {
    pthread_mutex_t lock;
    struct tg_map map;   /* of struct entry, owned */
    struct tg_list idle; /* entry.idle_node */
    size_t idle_count;
};

struct tg_admission {
    struct tg_admission_options options;
    uint64_t seed;
    _Atomic uint64_t count;
    struct stripe stripes[STRIPES];
};

enum tg_err tg_admission_create(struct tg_admission **out,
                                const struct tg_admission_options *options)
{
    struct tg_admission *admission = tg_calloc(1, sizeof *admission);

    if (admission == NULL)
        return TG_ERR_NOMEM;
    admission->options = *options;
    admission->seed = tg_random_u64();
    for (size_t i = 0; i < STRIPES; i++) {
        (void)pthread_mutex_init(&admission->stripes[i].lock, NULL); /* cannot fail on Linux */
        tg_list_init(&admission->stripes[i].idle);
    }
    *out = admission;
    return TG_ERR_OK;
}

void tg_admission_destroy(struct tg_admission *admission)
{
    if (admission == NULL)
        return;
    for (size_t i = 0; i < STRIPES; i++) {
        struct stripe *stripe = &admission->stripes[i];
        size_t cursor = 0;
        for (struct entry *entry = tg_map_next(&stripe->map, &cursor); entry != NULL;
             entry = tg_map_next(&stripe->map, &cursor))
            tg_free(entry);
        tg_map_fini(&stripe->map);
        (void)pthread_mutex_destroy(&stripe->lock);
    }
    tg_free(admission);
}

bool tg_admission_enter(struct tg_admission *admission)
{
    uint64_t max = admission->options.max_connections;
    uint64_t before = atomic_fetch_add_explicit(&admission->count, 1, memory_order_relaxed);

    if (max == 0 || before < max)
        return true;
    tg_admission_leave(admission);
    return false;
}

void tg_admission_leave(struct tg_admission *admission)
{
    (void)atomic_fetch_sub_explicit(&admission->count, 1, memory_order_relaxed);
}

uint64_t tg_admission_count(const struct tg_admission *admission)
{
    return atomic_load_explicit(&admission->count, memory_order_relaxed);
}

/* Does a limit by address concern this peer at all? */
static bool concerns(const struct tg_admission *admission, const struct tg_address *client)
{
    const struct tg_admission_options *options = &admission->options;

    return client->kind != TG_ADDRESS_UNIX &&
           (options->max_per_address > 0 || tg_rate_limits(&options->rate));
}

static uint64_t read_u64(const uint8_t *bytes, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* A bijection of 64 bits (the finaliser of SplitMix64), so two addresses never share a key. */
static uint64_t key_of(const struct tg_admission *admission, const struct tg_address *client)
{
    uint64_t key = UNKNOWN_KEY;

    if (client->kind == TG_ADDRESS_V6)
        key = read_u64(client->bytes, 8);
    else if (client->kind == TG_ADDRESS_V4)
        key = V4_PREFIX | read_u64(client->bytes, 4);
    key ^= admission->seed;
    key = (key ^ key >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    key = (key ^ key >> 27) * UINT64_C(0x94d049bb133111eb);
    return key ^ key >> 31;
}

static struct stripe *stripe_of(struct tg_admission *admission, uint64_t key)
{
    return &admission->stripes[key % STRIPES];
}

static void set_idle(struct stripe *stripe, struct entry *entry)
{
    tg_list_push(&stripe->idle, &entry->idle_node);
    stripe->idle_count++;
}

static void unset_idle(struct stripe *stripe, struct entry *entry)
{
    tg_list_remove(&entry->idle_node);
    stripe->idle_count--;
}

static void forget(struct stripe *stripe, struct entry *entry)
{
    unset_idle(stripe, entry);
    (void)tg_map_remove(&stripe->map, entry->key);
    tg_free(entry);
}

/* The oldest entries that say nothing any more; one in any case when there are too many. */
static void make_room(struct stripe *stripe, uint64_t now_ns)
{
    for (int i = 0; i < DROPS_PER_ENTRY; i++) {
        struct tg_list *node = tg_list_first(&stripe->idle);
        if (node == NULL)
            return;
        struct entry *oldest = TG_CONTAINER_OF(node, struct entry, idle_node);
        if (oldest->full_at_ns > now_ns && stripe->idle_count < IDLE_MAX)
            return;
        forget(stripe, oldest);
    }
}

/* Its entry, made when there is none (then idle); NULL when memory is out. */
static struct entry *entry_of(struct stripe *stripe, uint64_t key, uint64_t now_ns)
{
    struct entry *entry = tg_map_find(&stripe->map, key);

    if (entry != NULL)
        return entry;
    make_room(stripe, now_ns);
    entry = tg_calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->key = key;
    tg_list_init(&entry->idle_node);
    if (tg_map_put(&stripe->map, key, entry) != TG_ERR_OK) {
        tg_free(entry);
        return NULL;
    }
    set_idle(stripe, entry);
    return entry;
}

static enum tg_admission_verdict admit(const struct tg_admission *admission, struct stripe *stripe,
                                       uint64_t key, uint64_t now_ns, uint64_t *wait_ns)
{
    const struct tg_admission_options *options = &admission->options;
    struct entry *entry = entry_of(stripe, key, now_ns);

    if (entry == NULL)
        return TG_ADMISSION_TOO_MANY;
    if (options->max_per_address > 0 && entry->connections >= options->max_per_address)
        return TG_ADMISSION_TOO_MANY;
    if (tg_rate_limits(&options->rate) &&
        !tg_rate_take(&options->rate, &entry->full_at_ns, now_ns, wait_ns)) {
        if (entry->connections == 0) { /* seen again */
            unset_idle(stripe, entry);
            set_idle(stripe, entry);
        }
        return TG_ADMISSION_TOO_FAST;
    }
    if (entry->connections++ == 0)
        unset_idle(stripe, entry);
    return TG_ADMITTED;
}

enum tg_admission_verdict tg_admission_admit(struct tg_admission *admission,
                                             const struct tg_address *client, uint64_t now_ms,
                                             uint64_t *wait_ms)
{
    uint64_t wait_ns = 0;

    *wait_ms = 0;
    if (!concerns(admission, client))
        return TG_ADMITTED;
    uint64_t key = key_of(admission, client);
    struct stripe *stripe = stripe_of(admission, key);
    (void)pthread_mutex_lock(&stripe->lock);
    enum tg_admission_verdict verdict =
        admit(admission, stripe, key, now_ms * UINT64_C(1000000), &wait_ns);
    (void)pthread_mutex_unlock(&stripe->lock);
    *wait_ms = (wait_ns + 999999) / 1000000;
    return verdict;
}

void tg_admission_release(struct tg_admission *admission, const struct tg_address *client)
{
    if (!concerns(admission, client))
        return;
    uint64_t key = key_of(admission, client);
    struct stripe *stripe = stripe_of(admission, key);
    (void)pthread_mutex_lock(&stripe->lock);
    struct entry *entry = tg_map_find(&stripe->map, key);
    if (entry != NULL && entry->connections > 0 && --entry->connections == 0) {
        set_idle(stripe, entry);
        if (!tg_rate_limits(&admission->options.rate) || stripe->idle_count > IDLE_MAX)
            forget(stripe, TG_CONTAINER_OF(tg_list_first(&stripe->idle), struct entry, idle_node));
    }
    (void)pthread_mutex_unlock(&stripe->lock);
}

size_t tg_admission_addresses(struct tg_admission *admission)
{
    size_t count = 0;

    for (size_t i = 0; i < STRIPES; i++) {
        struct stripe *stripe = &admission->stripes[i];
        (void)pthread_mutex_lock(&stripe->lock);
        count += stripe->map.count;
        (void)pthread_mutex_unlock(&stripe->lock);
    }
    return count;
}
