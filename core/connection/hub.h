/* hub.h - all connections of one worker and what they share: options, clocks, metrics, the ID
 * generator, the registry, and the list of those with bytes to flush.
 */
#ifndef TG_CONNECTION_HUB_H
#define TG_CONNECTION_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cidr.h"
#include "base/metrics.h"
#include "base/rate.h"
#include "connection/admission.h"
#include "connection/hooks.h"
#include "connection/id.h"
#include "net/stream.h"
#include "net/timer.h"
#include "proto/extensions.h"

struct tg_hub;
struct tg_conn;

struct tg_hub_options {
    uint8_t worker; /* 1..255 */
    uint64_t handshake_timeout_ms, auth_timeout_ms, setup_timeout_ms, idle_after_ms;
    uint64_t ping_interval_ms, pong_timeout_ms, close_timeout_ms;
    uint64_t message_timeout_ms; /* from the first byte of a message to the last; 0: no limit */
    uint64_t outbox_timeout_ms;  /* nothing written while senders wait */
    uint64_t expiry_notice_ms, prepare_retry_ms, prepare_retry_max_ms;
    size_t max_message, max_header;
    size_t inbox_messages, inbox_bytes, outbox_bytes, session_bytes;
    struct tg_admission *admission;        /* of the process; borrowed; NULL: everybody may come */
    struct tg_rate message_rate;           /* of one connection */
    const struct tg_cidr *trusted_proxies; /* borrowed */
    size_t trusted_proxy_count;
    bool proxy_protocol; /* they begin with a PROXY header */
    bool strict;
    bool compression; /* permessage-deflate is agreed to, within these terms */
    struct tg_deflate_terms deflate_terms;
    struct tg_deflate_tuning deflate_tuning;
    /* Origins that browsers may connect from; none: any. Borrowed. */
    const char *const *allowed_origins;
    size_t allowed_origin_count;
};

/* Borrowed until destroy: net, timers, metrics. */
TG_MUST enum tg_err tg_hub_create(struct tg_hub **out, const struct tg_hub_options *options,
                                  struct tg_net *net, struct tg_timers *timers,
                                  struct tg_metrics *metrics);
/* When tg_hub_count is 0. NULL is allowed. */
void tg_hub_destroy(struct tg_hub *hub);
/* Before the first accept. Copied. */
void tg_hub_set_upper(struct tg_hub *hub, const struct tg_conn_upper *upper);

/* Takes the stream: assigns the ID, registers, starts the handshake; or turns it away with an answer when
 * a limit or memory is exceeded. */
void tg_hub_accept(struct tg_hub *hub, struct tg_stream *stream);

size_t tg_hub_count(const struct tg_hub *hub);
const struct tg_hub_options *tg_hub_get_options(const struct tg_hub *hub);
struct tg_metrics *tg_hub_get_metrics(const struct tg_hub *hub);
struct tg_timers *tg_hub_get_timers(const struct tg_hub *hub);

/* NULL when there is no such connection (any more). */
struct tg_conn *tg_hub_find(const struct tg_hub *hub, const struct tg_conn_id *id);
struct tg_conn *tg_hub_find_serial(const struct tg_hub *hub, uint64_t serial);
struct tg_conn *tg_hub_next(const struct tg_hub *hub, size_t *cursor);

/* Writes out everything that was queued since the last call: at the end of each loop iteration, so that
 * all answers to one read leave in one write. True when more was queued meanwhile (scripts that waited
 * for room went on): call again soon, after the loop has looked at its other events. */
bool tg_hub_flush(struct tg_hub *hub);

/* Begins the drain: connections without runs are closed with 1001 now, others when their last run
 * ends; new runs are refused; setup is cut short with 1001. Idempotent. */
void tg_hub_drain(struct tg_hub *hub);
/* The drain's deadline: ends what is left with 1001. */
void tg_hub_drain_now(struct tg_hub *hub);
/* Closes every stream without a word and cancels every hook; the connections are freed as the loop
 * runs their close callbacks. */
void tg_hub_drop_all(struct tg_hub *hub);

#endif
