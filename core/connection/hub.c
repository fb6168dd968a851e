/* hub.c - one worker's connections as a set. */
#include "connection/hub.h"

#include <assert.h>

#include "base/log.h"
#include "base/memory.h"
#include "connection/client.h"

enum tg_err tg_hub_create(struct tg_hub **out, const struct tg_hub_options *options,
                          struct tg_net *net, struct tg_timers *timers, struct tg_metrics *metrics)
{
    struct tg_hub *hub = tg_calloc(1, sizeof *hub);
    if (hub == NULL)
        return TG_ERR_NOMEM;
    hub->options = *options;
    hub->net = net;
    hub->timers = timers;
    hub->metrics = metrics;
    hub->ids.worker = options->worker;
    tg_list_init(&hub->to_flush);
    tg_list_init(&hub->visitors);
    tg_list_init(&hub->bare_outboxes);
    *out = hub;
    return TG_ERR_OK;
}

void tg_hub_destroy(struct tg_hub *hub)
{
    if (hub == NULL)
        return;
    assert(tg_registry_count(&hub->registry) == 0 && hub->visitor_count == 0);
    tg_registry_fini(&hub->registry);
    tg_ws_destroy(hub->spare_ws);
    tg_http_destroy(hub->spare_http);
    tg__versions_fini(hub);
    tg__outboxes_fini(hub);
    tg_free(hub);
}

void tg_hub_set_upper(struct tg_hub *hub, const struct tg_conn_upper *upper)
{
    hub->upper = *upper;
}

void tg_hub_accept(struct tg_hub *hub, struct tg_stream *stream)
{
    struct tg_address peer = tg_stream_peer(stream);
    enum tg_refusal why;
    uint64_t wait_ms;
    if (!tg__client_enter(hub, &peer, &why, &wait_ms)) {
        tg__turn_away(hub, stream, &peer, why, wait_ms);
        return;
    }
    if (tg__conn_create(hub, stream, &peer) == TG_ERR_OK)
        return;
    tg__client_abandon(hub, &peer);
    tg__turn_away(hub, stream, &peer, TG_REFUSAL_MEMORY, 0);
}

size_t tg_hub_count(const struct tg_hub *hub)
{
    return tg_registry_count(&hub->registry);
}

const struct tg_hub_options *tg_hub_get_options(const struct tg_hub *hub)
{
    return &hub->options;
}

struct tg_metrics *tg_hub_get_metrics(const struct tg_hub *hub)
{
    return hub->metrics;
}

struct tg_timers *tg_hub_get_timers(const struct tg_hub *hub)
{
    return hub->timers;
}

struct tg_conn *tg_hub_find(const struct tg_hub *hub, const struct tg_conn_id *id)
{
    return tg_registry_find(&hub->registry, id);
}

struct tg_conn *tg_hub_find_serial(const struct tg_hub *hub, uint64_t serial)
{
    return tg_registry_find_serial(&hub->registry, serial);
}

struct tg_conn *tg_hub_next(const struct tg_hub *hub, size_t *cursor)
{
    return tg_registry_next(&hub->registry, cursor);
}

bool tg_hub_flush(struct tg_hub *hub)
{
    struct tg_list now;
    hub->answers_wait = 0;
    if (tg_list_empty(&hub->to_flush))
        return false;
    /* Moved to a list of its own: what the flushes queue anew waits for the next round. */
    now = hub->to_flush;
    now.next->prev = &now;
    now.prev->next = &now;
    tg_list_init(&hub->to_flush);
    for (struct tg_list *node = tg_list_first(&now); node != NULL; node = tg_list_first(&now)) {
        struct tg_outbox *outbox = TG_CONTAINER_OF(node, struct tg_outbox, flush_node);
        tg_list_remove(node);
        tg__flush(outbox->conn);
    }
    return !tg_list_empty(&hub->to_flush);
}

/* Ending a connection may run hooks, which may add or remove entries: walk a copy of the serials. */
static void each_conn(struct tg_hub *hub, void (*fn)(struct tg_conn *conn))
{
    size_t count = 0;
    size_t cursor = 0;
    uint64_t *serials = tg_xcalloc(tg_registry_count(&hub->registry) + 1, sizeof *serials);
    for (struct tg_conn *conn = tg_hub_next(hub, &cursor); conn != NULL;
         conn = tg_hub_next(hub, &cursor))
        serials[count++] = conn->id.serial;
    for (size_t i = 0; i < count; i++) {
        struct tg_conn *conn = tg_hub_find_serial(hub, serials[i]);
        if (conn != NULL)
            fn(conn);
    }
    tg_free(serials);
}

void tg_hub_drain(struct tg_hub *hub)
{
    if (hub->draining)
        return;
    hub->draining = true;
    each_conn(hub, tg__drain);
}

static void drain_now(struct tg_conn *conn)
{
    if (tg_conn_close(conn, 1001, "server is shutting down; reconnect") != TG_ERR_OK)
        tg__lose(conn, 1006, "drain deadline");
}

void tg_hub_drain_now(struct tg_hub *hub)
{
    hub->draining = true;
    each_conn(hub, drain_now);
}

static void drop(struct tg_conn *conn)
{
    tg__lose(conn, 1006, "server stops");
    tg__stop_asking(conn);
    tg__conn_maybe_free(conn);
}

void tg_hub_drop_all(struct tg_hub *hub)
{
    hub->draining = true;
    tg__turn_away_end(hub);
    each_conn(hub, drop);
}
