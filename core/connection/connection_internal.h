/* connection_internal.h - the struct of a connection, shared by the files of this folder only.
 *
 * One file an aspect of the same object:
 *   connection.c  birth, death, reading its fields     handshake.c  HTTP head to 101, or a refusal
 *   client.c      who it is, through proxies; limits   turn_away.c  an answer to those that cannot be one
 *   setup.c       authenticate … connection_ready       receive.c    bytes to messages, pausing
 *   dispatch.c    a message to what answers it          outbox.c     sending, flushing, slow clients
 *   deadlines.c   timers                                ending.c     closing, failing, the last hook
 *   congestion.c  a client that reads too slowly        secure.c     what it has to do with TLS
 *   leaving.c     messages before the peer's good-bye   tampering.c  scripts that write what is ours
 *   asking.c      hooks and their answers               lending.c    parser and decoder, for a while
 *   versions.c    policy versions, each text once
 */
#ifndef TG_CONNECTION_CONNECTION_INTERNAL_H
#define TG_CONNECTION_CONNECTION_INTERNAL_H

#include "base/address.h"
#include "base/buffer.h"
#include "base/list.h"
#include "base/log_gate.h"
#include "connection/connection.h"
#include "connection/facts.h"
#include "connection/hub.h"
#include "connection/inbox.h"
#include "connection/registry.h"
#include "net/stream.h"
#include "net/timer.h"
#include "proto/http.h"
#include "proto/proxy_header.h"
#include "proto/websocket.h"

/* Answers that wait for each other at most, so that each has a room that was used just now. */
#define TG_SPARE_ROOMS 16

struct tg_hub {
    struct tg_hub_options options;
    struct tg_conn_upper upper;
    struct tg_net *net;         /* borrowed */
    struct tg_timers *timers;   /* borrowed */
    struct tg_metrics *metrics; /* borrowed */
    struct tg_conn_id_source ids;
    struct tg_registry registry;
    struct tg_list to_flush;    /* tg_conn.flush_node */
    struct tg_list visitors;    /* turn_away.c's */
    struct tg_list versions;    /* versions.c's */
    struct tg_ws *spare_ws;     /* owned; NULL: lent, or there is none yet (lending.c) */
    struct tg_http *spare_http; /* the same */
    struct tg_buffer spare_rooms[TG_SPARE_ROOMS]; /* empty, with memory: for outboxes (lending.c) */
    size_t spare_room_count;
    size_t visitor_count;
    struct tg_log_gate turned_away_gate, refused_gate, tls_gate;
    uint64_t answers_wait_since; /* tick; with answers_wait > 0 */
    unsigned answers_wait;       /* reads whose answers tg__flush_after_read holds back */
    bool draining;
};

/* The hook whose answer is awaited, or none. */
#define TG_ASKING_NONE TG_HOOKS

/* The message that a hook is asked about. */
struct tg_question {
    const char *data; /* NULL: there is none */
    size_t len;
    char kept[]; /* `data` is here, when the hook has suspended */
};

/* What `prepare` found missing. */
struct tg_degraded {
    uint64_t retry_delay_ms; /* the last one; 0: there was none */
    char reason[];
};

/* What is known of its end, from the first sign of it on. */
struct tg_end {
    size_t unwritten_before; /* what the peer had not taken when the close deadline was last set */
    char reason[];
};

/* Of an identity that ends. */
struct tg_expiry {
    struct tg_conn *conn;  /* borrowed: it owns this */
    struct tg_timer timer; /* auth_expiring due, or expiry */
    double at;             /* unix seconds */
    bool noticed;
};

/* There is one for every idle client, for hours: what is needed only now and then is behind a pointer, and
 * small things stand together. */
struct tg_conn {
    struct tg_conn_id id;
    struct tg_hub *hub;       /* borrowed; outlives its connections */
    struct tg_stream *stream; /* owned until its on_closed; NULL after */
    struct tg_lifecycle lifecycle;

    struct tg_address client; /* the peer, or who is behind it; final once admitted */
    uint32_t runs;
    uint32_t session_revision;
    uint32_t last_read_ms; /* low bits, as of all times here: read with tg__since */
    uint32_t last_message_ms;
    uint32_t midway_since_ms; /* low bits of when deadlines.c first saw the message under way */
    uint32_t midway_after;    /* low bits of messages_in then */
    uint16_t close_code;
    uint8_t closing_from; /* enum tg_state before closing */
    uint8_t stuck_in;     /* 1 + the setup state whose deadline passed; 0: none did */

    struct tg_proxy_parser *proxy; /* owned; while a PROXY header is awaited */
    struct tg_http *http;          /* owned; while its head arrives (lending.c) */
    struct tg_ws *ws;              /* owned; NULL at rest (lending.c) */
    struct tg_request *request;    /* owned; from the complete head on */
    struct tg_version *version;    /* counted there (versions.c); NULL: no hook was asked yet */
    struct tg_facts *facts;        /* owned; NULL before authentication; user_id never changes */

    /* handshake, auth and setup deadline; idle or retry; close deadline */
    struct tg_timer phase_timer;
    /* ping due, or pong deadline; how long it may be leaving */
    struct tg_timer keepalive_timer;
    struct tg_expiry *expiry; /* owned; NULL: the identity has no end */

    struct tg_inbox inbox;
    struct tg_buffer outbox;
    struct tg_list flush_node;         /* on hub->to_flush while the outbox waits */
    struct tg_congestion *congestion;  /* owned; NULL while the client keeps up */
    struct tg_deferred_send *deferred; /* borrowed from agent/; NULL: none */

    struct tg_question *question; /* asking.c's, for the time of an answer; NULL: none is awaited */

    struct tg_degraded *degraded; /* owned; NULL: nothing is missing */
    struct tg_end *end;           /* owned; NULL: none is near, or memory is out */
    struct tg_list run_list;      /* agent/'s */
    uint64_t next_seq;
    uint64_t messages_in, messages_out;
    uint64_t messages_full_at_ns; /* the bucket of message_rate */

    uint8_t asking; /* enum tg_hook; TG_ASKING_NONE: no hook under way */

    /* Orthogonal facts, none of them a state of its own. */
    bool upgraded : 1;           /* 101 is written */
    bool question_kept : 1;      /* `question` is owned */
    bool closed_owed : 1;        /* authenticate was asked, so `closed` must be, once */
    bool wants_auth_message : 1; /* authenticate said need_message */
    bool paused : 1;             /* reading stopped because the inbox is full or a 101 is pending */
    bool receiving : 1;          /* inside tg_ws_feed or the pump: do not enter again */
    bool awaiting_pong : 1;      /* the keepalive timer is the pong deadline */
    bool peer_close_seen : 1;
    bool degraded_untold : 1; /* since it was ready; the client is told when it is degraded */
    bool midway : 1;          /* a message was under way when deadlines.c last looked */
    bool broken : 1;          /* what the peer sends cannot be understood any more */
    bool leaving : 1;         /* the peer has said good-bye behind messages that still wait */
    bool gone : 1;            /* it is leaving and the stream is lost: nothing can be sent */
    bool ending : 1;          /* a close has begun: later ones change nothing */
    bool peer_ended : 1;      /* it sent FIN, or is lost; close once all is written */
    bool ends_failed : 1;     /* closing ends in failed, not closed */
    bool clean : 1;           /* both close frames were exchanged */
    bool fin_wanted : 1;      /* shut down once the outbox is written */
    bool via_proxy : 1; /* `client` is a trusted proxy so far: what it says of others is believed */
    bool admitted : 1;  /* `client` counts against the limits by address */
    bool secure : 1;    /* a proxy says that the client spoke TLS to it */
};

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
    return conn->end == NULL ? "" : conn->end->reason;
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

/* asking.c */
/* The policy speaks a protocol of its own: the core sends no JSON. */
bool tg__is_plain(const struct tg_conn *conn);
/* Asks the upper layer; see hooks.h. data is borrowed. */
void tg__ask(struct tg_conn *conn, enum tg_hook hook, const struct tg_hook_input *input);
/* Forgets the hook under way; no answer comes any more. */
void tg__stop_asking(struct tg_conn *conn);
bool tg__hook_defined(const struct tg_conn *conn, enum tg_hook hook);
void tg__drop_question(struct tg_conn *conn);

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
/* It is degraded now: tells the client, if it does not know yet. */
void tg__tell_degraded(struct tg_conn *conn);
void tg__authenticate_answered(struct tg_conn *conn, const struct tg_hook_result *result);
void tg__reauthenticate_answered(struct tg_conn *conn, const struct tg_hook_result *result);
void tg__context_answered(struct tg_conn *conn, const struct tg_hook_result *result);
void tg__prepare_answered(struct tg_conn *conn, const struct tg_hook_result *result);
/* A hook that decides did not say yes: ends the connection with the fitting code. deny_code is for the
 * policy's own no; a fault of the script is 1011. */
void tg__refused_by_hook(struct tg_conn *conn, const char *what, int deny_code,
                         const struct tg_hook_result *result);

/* receive.c */
void tg__receive(struct tg_conn *conn, uint8_t *data, size_t len);
/* Goes on with whatever can go on: queued messages, paused bytes, reading. */
void tg__pump(struct tg_conn *conn);
extern const struct tg_ws_callbacks tg__ws_callbacks;

/* lending.c; the connection's own from here on, or NULL when memory is out */
TG_MUST struct tg_http *tg__parser(struct tg_conn *conn);
void tg__parser_return(struct tg_conn *conn);
TG_MUST struct tg_ws *tg__decoder(struct tg_conn *conn);
/* Gives it back if it is at rest; not from inside tg_ws_feed. */
void tg__decoder_return(struct tg_conn *conn);
/* Memory for what is to be sent, if some is to be had; it may go back when the outbox is empty. */
void tg__outbox_room(struct tg_conn *conn);
void tg__outbox_room_return(struct tg_conn *conn);

/* dispatch.c */
void tg__dispatch(struct tg_conn *conn, enum tg_ws_opcode kind, const char *data, size_t len);
void tg__route_answered(struct tg_conn *conn, const struct tg_hook_result *result);

/* outbox.c */
void tg__send_control(struct tg_conn *conn, enum tg_ws_opcode opcode, const void *data, size_t len);
void tg__flush_later(struct tg_conn *conn);
/* What tg__flush_later put off, if anything: now, or together with what others are answered. */
void tg__flush_after_read(struct tg_conn *conn);
void tg__slow_client(struct tg_conn *conn); /* counts it and ends it with 1008 */
void tg__flush(struct tg_conn *conn);
size_t tg__outbox_bytes(const struct tg_conn *conn);
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
