/* connection_internal.h - what the files of this folder share about a connection (its struct is in conn.h).
 *
 * One file an aspect of the same object:
 *   connection.c  birth, death, reading its fields     handshake.c  HTTP head to 101, or a refusal
 *   client.c      who it is, through proxies; limits   turn_away.c  an answer to those that cannot be one
 *   setup.c       authenticate … connection_ready       receive.c    bytes to messages, pausing
 *   dispatch.c    a message to what answers it          outbox.c     sending, flushing, slow clients
 *   deadlines.c   timers                                ending.c     closing, failing, the last hook
 *   congestion.c  a client that reads too slowly        secure.c     what it has to do with TLS
 *   leaving.c     messages before the peer's good-bye   tampering.c  scripts that write what is ours
 *   asking.c      hooks and their answers               lending.c    parser, decoder, outbox, for a while
 *   versions.c    policy versions, each text once       waiting.c    messages whose turn has not come
 *   attachment.c  what it has only now and then        running.c    that runs of agents are under way
 *   degraded.c    that a service is missing
 */
#ifndef TG_CONNECTION_CONNECTION_INTERNAL_H
#define TG_CONNECTION_CONNECTION_INTERNAL_H

#include "connection/conn.h"

static inline struct tg_metrics *tg__metrics(const struct tg_conn *conn)
{
    return conn->hub->metrics;
}
/* accepted … reconnecting, whether something can still be sent or not. */
static inline bool tg__is_up(const struct tg_conn *conn)
{
    return conn->lifecycle.state > TG_CONNECTING && conn->lifecycle.state < TG_CLOSING;
}
/* Milliseconds since a time that was stored in 32 bits; right for seven weeks, and limits are shorter
 * (SILENCE_MS_MAX in ops/config_rows.c). */
static inline uint32_t tg__since(const struct tg_conn *conn, uint32_t then_ms)
{
    return (uint32_t)tg_timers_now_ms(conn->hub->timers) - then_ms;
}
static inline const char *tg__close_reason(const struct tg_conn *conn)
{
    const struct tg_end *end = tg__end(conn);
    return end == NULL ? "" : end->reason;
}
/* NULL: the head is not being read. */
static inline struct tg_http *tg__http(const struct tg_conn *conn)
{
    return conn->upgraded || conn->proxy_awaited ? NULL : conn->intake.http;
}
/* NULL: none is lent, or it is no WebSocket yet. */
static inline struct tg_ws *tg__ws(const struct tg_conn *conn)
{
    return conn->upgraded ? conn->intake.ws : NULL;
}
static inline size_t tg__inbox_count(const struct tg_conn *conn)
{
    const struct tg_inbox *inbox = tg__inbox(conn);
    return inbox == NULL ? 0 : inbox->count;
}
static inline size_t tg__inbox_unread(const struct tg_conn *conn)
{
    const struct tg_inbox *inbox = tg__inbox(conn);
    return inbox == NULL ? 0 : inbox->unread.len;
}
static inline const struct tg_hub_options *tg__options(const struct tg_conn *conn)
{
    return &conn->hub->options;
}

/* connection.c */
TG_MUST enum tg_err tg__conn_create(struct tg_hub *hub, struct tg_stream *stream,
                                    const struct tg_address *peer);
TG_MUST enum tg_err tg__move(struct tg_conn *conn, enum tg_state to, const char *reason);
/* Frees the connection when nothing refers to it any more; the pointer may be gone after. */
void tg__conn_maybe_free(struct tg_conn *conn);

/* versions.c */
void tg__version_release(struct tg_conn *conn);
void tg__versions_fini(struct tg_hub *hub);

/* asking.c */
/* The policy speaks a protocol of its own: the core sends no JSON. */
bool tg__is_plain(const struct tg_conn *conn);
/* Asks the upper layer; see hooks.h. data is borrowed. */
void tg__ask(struct tg_conn *conn, enum tg_hook hook, const struct tg_hook_input *input);
/* Forgets the hook under way; no answer comes any more. */
void tg__stop_asking(struct tg_conn *conn);
bool tg__hook_defined(const struct tg_conn *conn, enum tg_hook hook);
void tg__question_free(struct tg_conn *conn); /* there is one */
static inline void tg__drop_question(struct tg_conn *conn)
{
    if (tg__is_attached(conn, TG_ATTACHED_QUESTION))
        tg__question_free(conn);
}

/* handshake.c */
void tg__handshake_read(struct tg_conn *conn, const uint8_t *data, size_t len);
void tg__upgrade_answered(struct tg_conn *conn, const struct tg_hook_result *result);
/* Answers the HTTP request and ends in `to`. what is static. */
void tg__handshake_refuse(struct tg_conn *conn, int status, const char *why, const char *extra,
                          enum tg_state to, const char *what);

/* setup.c */
void tg__setup_start(struct tg_conn *conn);
/* Finds the client's `authenticate` message in the inbox and asks with it; false: none is there yet. */
bool tg__setup_take_auth_message(struct tg_conn *conn);
/* Tells the client that setup is done: connection_ready, with the reason if it is degraded. */
void tg__send_ready(struct tg_conn *conn);
void tg__authenticate_answered(struct tg_conn *conn, const struct tg_hook_result *result);
void tg__reauthenticate_answered(struct tg_conn *conn, const struct tg_hook_result *result);
void tg__context_answered(struct tg_conn *conn, const struct tg_hook_result *result);
void tg__prepare_answered(struct tg_conn *conn, const struct tg_hook_result *result);
/* A hook that decides did not say yes: ends the connection with the fitting code. deny_code is for the
 * policy's own no; a fault of the script is 1011. */
void tg__refused_by_hook(struct tg_conn *conn, const char *what, int deny_code,
                         const struct tg_hook_result *result);

/* degraded.c */
void tg__become_degraded(struct tg_conn *conn, const char *why); /* NULL: `prepare` did not say */
/* It is degraded now: tells the client, if it does not know yet. */
void tg__tell_degraded(struct tg_conn *conn);

/* receive.c */
void tg__receive(struct tg_conn *conn, uint8_t *data, size_t len);
/* Goes on with whatever can go on: queued messages, paused bytes, reading. */
void tg__pump(struct tg_conn *conn);
extern const struct tg_ws_callbacks tg__ws_callbacks;

/* waiting.c: the inbox, see inbox.h for each */
TG_MUST enum tg_err tg__inbox_push(struct tg_conn *conn, enum tg_ws_opcode kind, const void *data,
                                   size_t len);
struct tg_inbox_message *tg__inbox_pop(struct tg_conn *conn);
void tg__inbox_take(struct tg_conn *conn, struct tg_inbox_message *message);
TG_MUST enum tg_err tg__inbox_keep_unread(struct tg_conn *conn, const void *data, size_t len);
struct tg_buffer tg__inbox_take_unread(struct tg_conn *conn);
void tg__inbox_drop_messages(struct tg_conn *conn);
void tg__inbox_drop(struct tg_conn *conn); /* and the bytes behind them */

/* lending.c; the connection's own from here on, or NULL when memory is out */
TG_MUST struct tg_http *tg__parser(struct tg_conn *conn);
void tg__parser_return(struct tg_conn *conn);
TG_MUST struct tg_ws *tg__decoder(struct tg_conn *conn);
/* One that is not the connection's yet: it reads no head any more when it takes it as its intake. */
TG_MUST struct tg_ws *tg__decoder_borrow(struct tg_conn *conn);
/* Gives it back if it is at rest; not from inside tg_ws_feed. */
void tg__decoder_return(struct tg_conn *conn);
TG_MUST struct tg_outbox *tg__outbox_lend(struct tg_conn *conn); /* to one that has none */
TG_MUST static inline struct tg_outbox *tg__outbox(struct tg_conn *conn)
{
    return conn->outbox == NULL ? tg__outbox_lend(conn) : conn->outbox;
}
/* Gives it back if nothing is in it and no flush is due. */
void tg__outbox_return(struct tg_conn *conn);
/* What it holds is not sent. */
void tg__outbox_drop(struct tg_conn *conn);
/* Frees those that are not lent. */
void tg__outboxes_fini(struct tg_hub *hub);

/* dispatch.c */
void tg__dispatch(struct tg_conn *conn, enum tg_ws_opcode kind, const char *data, size_t len);
void tg__route_answered(struct tg_conn *conn, const struct tg_hook_result *result);

/* outbox.c */
void tg__send_control(struct tg_conn *conn, enum tg_ws_opcode opcode, const void *data, size_t len);
/* At the end of the loop iteration. */
static inline void tg__flush_later(struct tg_outbox *outbox)
{
    if (tg_list_empty(&outbox->flush_node))
        tg_list_push(&outbox->conn->hub->to_flush, &outbox->flush_node);
}
void tg__flush_now(struct tg_conn *conn); /* if tg__flush_later has put it off */
/* What tg__flush_later put off, if anything: now, or together with what others are answered. */
void tg__flush_after_read(struct tg_conn *conn);
void tg__slow_client(struct tg_conn *conn); /* counts it and ends it with 1008 */
void tg__flush(struct tg_conn *conn);
static inline size_t tg__outbox_bytes(const struct tg_conn *conn)
{
    size_t unwritten = conn->stream == NULL ? 0 : tg_stream_unwritten(conn->stream);
    return (conn->outbox == NULL ? 0 : conn->outbox->bytes.len) + unwritten;
}
/* Sends the JSON in `body` unless the policy is plain; frees it. Empty: it could not be written, which
 * ends the connection. */
void tg__send_json(struct tg_conn *conn, struct tg_buffer *body);

/* deadlines.c */
void tg__arm_phase(struct tg_conn *conn, uint64_t delay_ms, tg_timer_fn fn);
void tg__on_setup_deadline(struct tg_timer *timer);
void tg__on_close_deadline(struct tg_timer *timer);
void tg__arm_idle(struct tg_conn *conn);
void tg__arm_retry(struct tg_conn *conn);
/* After a run, while degraded: goes on with the retry that was pending before it. */
void tg__resume_retry(struct tg_conn *conn);
void tg__arm_keepalive(struct tg_conn *conn);
/* When the identity ends, in unix seconds; not more than 0: never. The timer is as it was, or stopped. */
TG_MUST enum tg_err tg__set_expiry(struct tg_conn *conn, double expires_at);
void tg__arm_expiry(struct tg_conn *conn);
void tg__stop_expiry(struct tg_conn *conn);
void tg__heard_from_peer(struct tg_conn *conn);

/* leaving.c */
/* True: messages of the peer come first, and tg__peer_left when they are done or out of time. */
TG_MUST bool tg__leave_later(struct tg_conn *conn);
/* Nothing is left of what the peer sent before it left, or no more of it can be dealt with. */
bool tg__is_done_leaving(const struct tg_conn *conn);

/* ending.c */
/* Ends it with the close_code and close_reason that the peer's good-bye has left. */
void tg__peer_left(struct tg_conn *conn);
void tg__peer_closed(struct tg_conn *conn, int code, const char *reason, size_t reason_len);
/* It broke the protocol: what it sent before is dealt with, then it is told `code` and `why`. */
void tg__peer_broke(struct tg_conn *conn, int code, const char *why);
void tg__stream_ended(struct tg_conn *conn, enum tg_err err, const char *why);
/* No close handshake is possible: final state now, stream closed. code 0: was no WebSocket yet. */
void tg__lose(struct tg_conn *conn, int code, const char *what);
/* Into the final state (from closing, or from connecting once answered), then FIN and a bounded wait. */
void tg__finish(struct tg_conn *conn, enum tg_state to, const char *what);
void tg__drain(struct tg_conn *conn);

#endif
