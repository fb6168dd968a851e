/* hub_internal.h - what the connections of one worker share; only for the files of this folder.
 */
#ifndef TG_CONNECTION_HUB_INTERNAL_H
#define TG_CONNECTION_HUB_INTERNAL_H

#include "base/list.h"
#include "base/log_gate.h"
#include "connection/hub.h"
#include "connection/registry.h"
#include "proto/http.h"
#include "proto/websocket.h"

/* Answers that wait for each other at most, so that each has an outbox that was used just now. */
#define TG_SPARE_OUTBOXES 16
/* Of a crowd that one message goes to, as many cost no more than the memory for the bytes: 64 KiB in all. */
#define TG_BARE_OUTBOXES 1024

struct tg_hub {
    struct tg_hub_options options;
    struct tg_conn_upper upper;
    struct tg_net *net;         /* borrowed */
    struct tg_timers *timers;   /* borrowed */
    struct tg_metrics *metrics; /* borrowed */
    struct tg_conn_id_source ids;
    struct tg_registry registry;
    struct tg_list to_flush;    /* tg_outbox.flush_node */
    struct tg_list visitors;    /* turn_away.c's */
    struct tg_ws *spare_ws;     /* owned; NULL: lent, or there is none yet (lending.c) */
    struct tg_http *spare_http; /* the same */
    struct tg_outbox
        *spare_outboxes[TG_SPARE_OUTBOXES]; /* owned; empty, most with memory (lending.c) */
    size_t spare_outbox_count;
    struct tg_list bare_outboxes; /* owned; tg_outbox.flush_node of those without memory, too */
    size_t bare_outbox_count;
    size_t visitor_count;
    struct tg_version **versions; /* owned; versions.c's */
    uint32_t version_count;
    struct tg_log_gate turned_away_gate, refused_gate, tls_gate;
    uint64_t answers_wait_since; /* tick; with answers_wait > 0 */
    unsigned answers_wait;       /* reads whose answers tg__flush_after_read holds back */
    bool draining;
};

#endif
