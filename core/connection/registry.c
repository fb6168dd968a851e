/* registry.c - a table of connections by serial; what matters is that adding twice is refused, not repaired.
 *
 * Open addressing with linear probing, as base/map.c has it, but a connection knows its serial: a slot is the
 * pointer alone, which is half the memory of a map's, for each of the connections that do nothing else. At
 * most three quarters of the slots are taken, so that every search ends. Slots are not given back while there
 * is a worker: those who came may come again.
 *
 * A worker's serials follow each other. With their low bits as places they would stand in one row without a
 * gap, and whoever comes when the count has gone round would have to walk along all of it. Multiplied by the
 * golden ratio they lie evenly over the table, however many there are.
 */
#include "connection/registry.h"

#include "base/log.h"
#include "base/memory.h"
#include "connection/connection.h"

#define FIRST_BITS 4
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15) /* 2^64 / 1.618… */

static size_t capacity_of(const struct tg_registry *registry)
{
    return registry->slots == NULL ? 0 : (size_t)1 << registry->bits;
}

static size_t mask_of(const struct tg_registry *registry)
{
    return ((size_t)1 << registry->bits) - 1;
}

static size_t home_of(const struct tg_registry *registry, uint64_t serial)
{
    return (size_t)(serial * GOLDEN >> (64 - registry->bits));
}

static uint64_t serial_of(const struct tg_conn *conn)
{
    return tg_conn_get_id(conn)->serial;
}

/* The place of `serial`, or the empty one where it belongs. There are slots. */
static size_t place_of(const struct tg_registry *registry, uint64_t serial)
{
    size_t at = home_of(registry, serial);
    while (registry->slots[at] != NULL && serial_of(registry->slots[at]) != serial)
        at = (at + 1) & mask_of(registry);
    return at;
}

static void put(struct tg_registry *registry, struct tg_conn *conn)
{
    registry->slots[place_of(registry, serial_of(conn))] = conn;
    registry->count++;
}

static enum tg_err make_room_for_one(struct tg_registry *registry)
{
    size_t capacity = capacity_of(registry);
    if (registry->count < capacity / 4 * 3)
        return TG_ERR_OK;
    struct tg_registry bigger = {.bits = capacity == 0 ? FIRST_BITS : registry->bits + 1};
    bigger.slots = tg_calloc((size_t)1 << bigger.bits, sizeof(struct tg_conn *));
    if (bigger.slots == NULL)
        return TG_ERR_NOMEM;
    for (size_t at = 0; at < capacity; at++) {
        if (registry->slots[at] != NULL)
            put(&bigger, registry->slots[at]);
    }
    tg_registry_fini(registry);
    *registry = bigger;
    return TG_ERR_OK;
}

void tg_registry_fini(struct tg_registry *registry)
{
    tg_free(registry->slots);
    *registry = (struct tg_registry){0};
}

enum tg_err tg_registry_add(struct tg_registry *registry, struct tg_conn *conn,
                            struct tg_metrics *metrics)
{
    if (tg_registry_find_serial(registry, serial_of(conn)) != NULL) {
        char text[TG_CONN_ID_SIZE];
        tg_conn_id_format(tg_conn_get_id(conn), text);
        tg_counter_add(&metrics->duplicate_registrations, 1);
        tg_log(TG_LOG_ERROR, "conn.duplicate_registration", tg_log_str("id", text));
        return TG_ERR_EXISTS;
    }
    enum tg_err err = make_room_for_one(registry);
    if (err == TG_ERR_OK)
        put(registry, conn);
    return err;
}

/* Those behind it move up, so that no search meets a gap before what it looks for. */
void tg_registry_remove(struct tg_registry *registry, const struct tg_conn_id *id)
{
    if (registry->count == 0)
        return;
    size_t mask = mask_of(registry);
    size_t gap = place_of(registry, id->serial);
    if (registry->slots[gap] == NULL)
        return;
    for (size_t at = (gap + 1) & mask; registry->slots[at] != NULL; at = (at + 1) & mask) {
        size_t home = home_of(registry, serial_of(registry->slots[at]));
        /* Not those whose home lies after the gap. */
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            registry->slots[gap] = registry->slots[at];
            gap = at;
        }
    }
    registry->slots[gap] = NULL;
    registry->count--;
}

struct tg_conn *tg_registry_find_serial(const struct tg_registry *registry, uint64_t serial)
{
    return registry->count == 0 ? NULL : registry->slots[place_of(registry, serial)];
}

struct tg_conn *tg_registry_find(const struct tg_registry *registry, const struct tg_conn_id *id)
{
    struct tg_conn *conn = tg_registry_find_serial(registry, id->serial);
    return conn != NULL && tg_conn_id_equal(tg_conn_get_id(conn), id) ? conn : NULL;
}

size_t tg_registry_count(const struct tg_registry *registry)
{
    return registry->count;
}

struct tg_conn *tg_registry_next(const struct tg_registry *registry, size_t *cursor)
{
    while (*cursor < capacity_of(registry)) {
        struct tg_conn *conn = registry->slots[(*cursor)++];
        if (conn != NULL)
            return conn;
    }
    return NULL;
}
