/* connection.h - one WebSocket connection, from accepted socket to last freed byte.
 *
 * Owned by its hub; freed when its stream has closed. Others hold the ID or the serial and ask the
 * hub. Every function here is for the worker's thread only and may be called in any state: what a
 * state does not allow returns TG_ERR_CLOSED or does nothing, as said.
 */
#ifndef TG_CONNECTION_CONNECTION_H
#define TG_CONNECTION_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/list.h"
#include "connection/attachment.h"
#include "connection/hooks.h"
#include "connection/hub.h"
#include "connection/id.h"
#include "connection/request.h"
#include "connection/state.h"

/* --- what it is ---------------------------------------------------------------------------- */
const struct tg_conn_id *tg_conn_get_id(const struct tg_conn *conn);
void tg_conn_id_text(const struct tg_conn *conn, char out[TG_CONN_ID_SIZE]);
struct tg_hub *tg_conn_hub(const struct tg_conn *conn);
enum tg_state tg_conn_state(const struct tg_conn *conn);
const struct tg_lifecycle *tg_conn_lifecycle(const struct tg_conn *conn);
const char *tg_conn_user_id(const struct tg_conn *conn); /* NULL before authentication */
struct tg_blob tg_conn_identity(const struct tg_conn *conn);
struct tg_blob tg_conn_context(const struct tg_conn *conn);
/* What the policy found of its services when it looked last: plain data of its own. */
struct tg_blob tg_conn_services(const struct tg_conn *conn);
TG_MUST enum tg_err tg_conn_store_services(struct tg_conn *conn, const void *data, size_t len);
const struct tg_request *tg_conn_request(
    const struct tg_conn *conn);                              /* NULL before the head is in */
uint64_t tg_conn_connected_at_ms(const struct tg_conn *conn); /* wall clock */
double tg_conn_expires_at(const struct tg_conn *conn);        /* unix seconds; 0: never */
/* The client's address and port; "" before the head is in. */
void tg_conn_remote(const struct tg_conn *conn, char out[TG_ADDRESS_SIZE]);
bool tg_conn_is_open(const struct tg_conn *conn); /* accepted … reconnecting: sends are possible */

/* Short text of the policy version that served it last; "" before the first hook. */
#define TG_POLICY_VERSION_SIZE 17
const char *tg_conn_policy_version(const struct tg_conn *conn);
void tg_conn_set_policy_version(struct tg_conn *conn, const char *version);

/* What the admin interface shows of the queues. */
struct tg_conn_stats {
    size_t inbox_messages, inbox_bytes, outbox_bytes, runs;
    uint64_t messages_in, messages_out;
    const char *degraded_reason; /* NULL unless degraded */
};
struct tg_conn_stats tg_conn_stats(const struct tg_conn *conn);

/* --- session: mutable plain data, kept here so that it outlives any script state ----------------- */
struct tg_blob tg_conn_session(const struct tg_conn *conn);
uint32_t tg_conn_session_revision(const struct tg_conn *conn); /* raised by each store */
/* Copies. TG_ERR_LIMIT over session_bytes, TG_ERR_NOMEM; the old value stays on error. */
TG_MUST enum tg_err tg_conn_store_session(struct tg_conn *conn, const void *data, size_t len);

/* --- sending ------------------------------------------------------------------------------------
 * Copies into the outbox. TG_ERR_CLOSED before the upgrade is answered and once closing;
 * TG_ERR_LIMIT: the outbox is over its limit and the connection is being ended with 1008. */
TG_MUST enum tg_err tg_conn_send_text(struct tg_conn *conn, const void *data, size_t len);
TG_MUST enum tg_err tg_conn_send_binary(struct tg_conn *conn, const void *data, size_t len);
/* More waits to be sent than a client in good health lets pile up: senders that can wait should. */
bool tg_conn_is_congested(const struct tg_conn *conn);
/* One who waits for room; embed it. fn runs once, from the loop, with open false when the connection has
 * ended. */
struct tg_drain_waiter {
    struct tg_list node;
    void (*fn)(struct tg_drain_waiter *waiter, bool open);
};
/* Borrows the waiter until fn or tg_conn_stop_waiting; on an error (TG_ERR_CLOSED, TG_ERR_NOMEM) not at
 * all. Nothing moving for limits.outbox_timeout while somebody waits ends the connection with 1008. */
TG_MUST enum tg_err tg_conn_wait_drained(struct tg_conn *conn, struct tg_drain_waiter *waiter);
void tg_conn_stop_waiting(struct tg_drain_waiter *waiter);

/* Something that is written out only when the socket takes more, or before anything else is sent on the
 * connection, so that what piles up meanwhile can be joined. At most one a connection; borrowed until
 * `send` has run or it is cancelled, and not at all when one that was deferred before, which is sent then,
 * ends the connection. */
struct tg_deferred_send {
    struct tg_attachment attachment; /* the connection's */
    void (*send)(struct tg_deferred_send *deferred);
};
bool tg_conn_is_writing(const struct tg_conn *conn); /* the socket does not take more right now */
void tg_conn_defer_send(struct tg_conn *conn, struct tg_deferred_send *deferred);
void tg_conn_send_deferred(struct tg_conn *conn);
void tg_conn_cancel_deferred(struct tg_conn *conn, struct tg_deferred_send *deferred);

/* A service that was there is missing now: degraded at once, or when the last run has ended, and `prepare` is
 * asked again with back-off until it is well. TG_ERR_ILLEGAL during setup, TG_ERR_CLOSED after it. */
TG_MUST enum tg_err tg_conn_degrade(struct tg_conn *conn, const char *why);

/* {"type":"error",…}; id is JSON or NULL. */
void tg_conn_send_error(struct tg_conn *conn, const char *code, const char *message, const char *id,
                        size_t id_len);
/* The next number for an event of a run on its list (from 1, no gaps); take it only for one that is sent. */
uint64_t tg_conn_next_seq(struct tg_conn *conn);

/* --- ending -------------------------------------------------------------------------------------- */
/* Orderly: close frame, answer awaited until close_timeout, then closed. Before the upgrade: 503. Later
 * calls do nothing. TG_ERR_INVALID for a code that must not be sent (RFC 6455 §7.4). */
TG_MUST enum tg_err tg_conn_close(struct tg_conn *conn, int code, const char *reason);
/* The same, but it ends in failed. `what` is static and names the transition; `reason` goes to the peer.
 * A script's hook or run under way is cancelled. */
void tg_conn_fail(struct tg_conn *conn, int code, const char *what, const char *reason);

/* A script offered or wrote another ID: counted, logged with both values, fails with 1011 (I3). */
void tg_conn_id_mismatch(struct tg_conn *conn, const char *offered, size_t offered_len,
                         const char *where);
/* A script wrote something that the core owns (`field`): counted, logged with both values, fails with
 * 1011. Values are cut to 64 bytes. */
void tg_conn_tampered(struct tg_conn *conn, const char *field, const char *actual,
                      const char *offered);

/* --- runs (agent/ keeps its own list; the connection only counts, to know processing from ready) ---- */
/* Head for agent/, made when it is first asked for, which is before the first run starts; NULL: memory is out. */
struct tg_list *tg_conn_run_list(struct tg_conn *conn);
void tg_conn_run_started(struct tg_conn *conn); /* processing_ready|idle|degraded -> processing */
void tg_conn_run_ended(
    struct tg_conn *conn); /* the last one: back to processing_ready or degraded */
size_t tg_conn_runs(const struct tg_conn *conn);

#endif
