/* map.h - hash map from uint64 keys to pointers (open addressing). Values are borrowed.
 *
 * Used where a handle that may be stale must find its object or nothing. Iteration order is
 * unspecified; removing during iteration is not allowed.
 */
#ifndef TG_BASE_MAP_H
#define TG_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct tg_map_slot {
    uint64_t key;
    void *value; /* NULL: empty slot */
};

struct tg_map {
    struct tg_map_slot *slots; /* owned; capacity is a power of two, or 0 */
    size_t capacity;
    size_t count;
};

#define TG_MAP_INIT ((struct tg_map){0})

void tg_map_fini(struct tg_map *map);
/* TG_ERR_EXISTS when the key is there (the old value stays), TG_ERR_NOMEM. value is not NULL. */
TG_MUST enum tg_err tg_map_put(struct tg_map *map, uint64_t key, void *value);
void *tg_map_find(const struct tg_map *map, uint64_t key); /* NULL when absent */
void *tg_map_remove(struct tg_map *map, uint64_t key);     /* the removed value, or NULL */

/* Walks the map: start with *cursor = 0; returns NULL at the end. */
void *tg_map_next(const struct tg_map *map, size_t *cursor);

#endif
