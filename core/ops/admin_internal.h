/* admin_internal.h - what admin.c (the listener) and admin_connection.c (one client) share.
 */
#ifndef TG_OPS_ADMIN_INTERNAL_H
#define TG_OPS_ADMIN_INTERNAL_H

#include "base/list.h"
#include "base/map.h"
#include "net/listener.h"
#include "ops/admin.h"
#include "ops/admin_access.h"

struct tg_admin {
    struct tg_net *net;                  /* borrowed until destroy has closed the last connection */
    struct tg_timers *timers;            /* borrowed until tg_admin_destroy */
    struct tg_listener *listener;        /* owned; NULL after destroy */
    struct tg_admin_access access;       /* its texts are owned here */
    const struct tg_admin_route *routes; /* borrowed until tg_admin_destroy */
    size_t route_count;
    void *ctx; /* borrowed until tg_admin_destroy */
    uint64_t read_timeout_ms;
    uint64_t reply_timeout_ms;
    struct tg_map tickets; /* ticket -> struct tg_admin_request, in flight only */
    uint64_t last_ticket;
    struct tg_list connections; /* struct tg__admin_conn */
    size_t connection_count;
    uint64_t refusal_logged_ms;
    bool destroyed;
};

struct tg__admin_conn;

/* Takes the stream. */
void tg__admin_conn_start(struct tg_admin *admin, struct tg_stream *stream);
void tg__admin_conn_close_all(struct tg_admin *admin);
/* Called when a connection is gone; frees a destroyed admin with its last one. */
void tg__admin_conn_gone(struct tg_admin *admin);

#endif
