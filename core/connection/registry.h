/* registry.h - the connections of one worker, by ID. A connection is in it from accept until its last
 * byte is freed; everyone outside connection/ names one by ID or serial and may find nothing.
 */
#ifndef TG_CONNECTION_REGISTRY_H
#define TG_CONNECTION_REGISTRY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/metrics.h"
#include "connection/id.h"

struct tg_conn;

/* Zero-initialise. */
struct tg_registry {
    struct tg_conn **slots; /* owned; NULL: none yet. Those in it remove themselves */
    size_t count;
    unsigned bits; /* there are 2^bits slots */
};

void tg_registry_fini(struct tg_registry *registry);
/* By the ID that it has, which stays. TG_ERR_EXISTS: one with that serial is registered; the first stays,
 * the second is counted and logged. */
TG_MUST enum tg_err tg_registry_add(struct tg_registry *registry, struct tg_conn *conn,
                                    struct tg_metrics *metrics);
void tg_registry_remove(struct tg_registry *registry, const struct tg_conn_id *id);
struct tg_conn *tg_registry_find_serial(const struct tg_registry *registry, uint64_t serial);
/* All parts of the ID must match. */
struct tg_conn *tg_registry_find(const struct tg_registry *registry, const struct tg_conn_id *id);
size_t tg_registry_count(const struct tg_registry *registry);
/* Walks them: start with *cursor = 0; returns NULL at the end. Nobody may come or go meanwhile. */
struct tg_conn *tg_registry_next(const struct tg_registry *registry, size_t *cursor);

#endif
