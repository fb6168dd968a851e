/* registry.c - one map; what matters is that adding twice is refused, not repaired. */
#include "connection/registry.h"

#include "base/log.h"
#include "connection/connection.h"

void tg_registry_fini(struct tg_registry *registry)
{
    tg_map_fini(&registry->by_serial);
}

enum tg_err tg_registry_add(struct tg_registry *registry, const struct tg_conn_id *id,
                            struct tg_conn *conn, struct tg_metrics *metrics)
{
    enum tg_err err = tg_map_put(&registry->by_serial, id->serial, conn);
    if (err == TG_ERR_EXISTS) {
        char text[TG_CONN_ID_SIZE];
        tg_conn_id_format(id, text);
        tg_counter_add(&metrics->duplicate_registrations, 1);
        tg_log(TG_LOG_ERROR, "conn.duplicate_registration", tg_log_str("id", text));
    }
    return err;
}

void tg_registry_remove(struct tg_registry *registry, const struct tg_conn_id *id)
{
    (void)tg_map_remove(&registry->by_serial, id->serial);
}

struct tg_conn *tg_registry_find_serial(const struct tg_registry *registry, uint64_t serial)
{
    return tg_map_find(&registry->by_serial, serial);
}

struct tg_conn *tg_registry_find(const struct tg_registry *registry, const struct tg_conn_id *id)
{
    struct tg_conn *conn = tg_map_find(&registry->by_serial, id->serial);
    return conn != NULL && tg_conn_id_equal(tg_conn_get_id(conn), id) ? conn : NULL;
}

size_t tg_registry_count(const struct tg_registry *registry)
{
    return registry->by_serial.count;
}

struct tg_conn *tg_registry_next(const struct tg_registry *registry, size_t *cursor)
{
    return tg_map_next(&registry->by_serial, cursor);
}
