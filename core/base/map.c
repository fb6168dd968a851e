/* map.c - open addressing with linear probing.
 *
 * A removal moves later entries of the same run back over the hole, so there are no tombstones and a
 * long-lived map does not slow down. At most three quarters of the slots are taken, so every search
 * ends at an empty one.
 */
#include "base/map.h"

#include <assert.h>
#include <stdbool.h>

#include "base/memory.h"

#define SMALLEST 16

/* Spreads keys that differ only in their high bits, as handles do (the finaliser of MurmurHash3). */
static size_t home_of(const struct tg_map *map, uint64_t key)
{
    key ^= key >> 33;
    key *= UINT64_C(0xff51afd7ed558ccd);
    key ^= key >> 33;
    key *= UINT64_C(0xc4ceb9fe1a85ec53);
    key ^= key >> 33;
    return (size_t)key & (map->capacity - 1);
}

/* The slot of `key`, or the empty one where it belongs. The map has slots. */
static struct tg_map_slot *slot_of(const struct tg_map *map, uint64_t key)
{
    size_t at = home_of(map, key);
    while (map->slots[at].value != NULL && map->slots[at].key != key)
        at = (at + 1) & (map->capacity - 1);
    return &map->slots[at];
}

static bool grow(struct tg_map *map)
{
    struct tg_map bigger = {.capacity = map->capacity == 0 ? SMALLEST : map->capacity * 2,
                            .count = map->count};
    bigger.slots = tg_calloc(bigger.capacity, sizeof *bigger.slots);
    if (bigger.slots == NULL)
        return false;
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].value != NULL)
            *slot_of(&bigger, map->slots[i].key) = map->slots[i];
    }
    tg_free(map->slots);
    *map = bigger;
    return true;
}

void tg_map_fini(struct tg_map *map)
{
    tg_free(map->slots);
    *map = TG_MAP_INIT;
}

enum tg_err tg_map_put(struct tg_map *map, uint64_t key, void *value)
{
    assert(value != NULL);
    if (tg_map_find(map, key) != NULL)
        return TG_ERR_EXISTS;
    if (map->count >= map->capacity / 4 * 3 && !grow(map))
        return TG_ERR_NOMEM;
    *slot_of(map, key) = (struct tg_map_slot){key, value};
    map->count++;
    return TG_ERR_OK;
}

void *tg_map_find(const struct tg_map *map, uint64_t key)
{
    return map->count == 0 ? NULL : slot_of(map, key)->value;
}

void *tg_map_remove(struct tg_map *map, uint64_t key)
{
    if (map->count == 0)
        return NULL;
    struct tg_map_slot *slot = slot_of(map, key);
    void *removed = slot->value;
    if (removed == NULL)
        return NULL;

    size_t mask = map->capacity - 1;
    size_t hole = (size_t)(slot - map->slots);
    for (size_t at = (hole + 1) & mask; map->slots[at].value != NULL; at = (at + 1) & mask) {
        size_t home = home_of(map, map->slots[at].key);
        /* An entry may move back to the hole unless its home lies after it. */
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole].value = NULL;
    map->count--;
    return removed;
}

void *tg_map_next(const struct tg_map *map, size_t *cursor)
{
    while (*cursor < map->capacity) {
        void *value = map->slots[(*cursor)++].value;
        if (value != NULL)
            return value;
    }
    return NULL;
}
