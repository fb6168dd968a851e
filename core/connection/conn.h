/* conn.h - the struct of a connection and what hangs on it; only for the files of this folder, which see it
 * through connection_internal.h.
 */
#ifndef TG_CONNECTION_CONN_H
#define TG_CONNECTION_CONN_H

#include "base/address.h"
#include "base/buffer.h"
#include "base/list.h"
#include "connection/attachment.h"
#include "connection/connection.h"
#include "connection/facts.h"
#include "connection/hub_internal.h"
#include "connection/inbox.h"
#include "net/stream.h"
#include "net/timer.h"
#include "proto/http.h"
#include "proto/proxy_header.h"
#include "proto/websocket.h"

/* The hook whose answer is awaited, or none. */
#define TG_ASKING_NONE TG_HOOKS

/* --- attached now and then (attachment.h) ------------------------------------------------------------ */

/* Messages that wait for their turn (waiting.c). */
struct tg_conn_inbox {
    struct tg_attachment attachment;
    struct tg_inbox inbox;
};

/* The message that `route` is asked about. */
struct tg_question {
    struct tg_attachment attachment;
    const char *data; /* NULL: it has been answered */
    size_t len;
    bool kept;    /* owned; else on the stack of tg__ask */
    char bytes[]; /* `data` is here, when it is kept */
};

/* Once it had a run. */
struct tg_conn_runs {
    struct tg_attachment attachment;
    struct tg_list list; /* agent/'s */
    uint64_t next_seq;
    uint32_t count;
};

/* Of an identity that ends. */
struct tg_expiry {
    struct tg_attachment attachment;
    struct tg_conn *conn;  /* borrowed: it owns this */
    struct tg_timer timer; /* auth_expiring due, or expiry */
    double at;             /* unix seconds */
    bool noticed;
};

/* What `prepare` found missing. */
struct tg_degraded {
    struct tg_attachment attachment;
    uint64_t retry_delay_ms; /* the last one; 0: there was none */
    bool untold;             /* since it was ready; the client is told when it is degraded */
    char reason[];
};

/* What is known of its end, from the first sign of it on. Without memory for it there is none. */
struct tg_end {
    struct tg_attachment attachment;
    size_t unwritten_before; /* what the peer had not taken when the close deadline was last set */
    char reason[];
};

/* --- the connection ---------------------------------------------------------------------------------- */

/* What is to be sent, while there is something (lending.c). */
struct tg_outbox {
    struct tg_conn *conn; /* borrowed: whose it is */
    struct tg_buffer bytes;
    struct tg_list
        flush_node; /* on hub->to_flush, or nowhere: then the stream is still writing. Not lent:
                                * perhaps on hub->bare_outboxes */
};

/* What takes in the peer's bytes: one after the other, and never two at a time. */
union tg_intake {
    struct tg_proxy_parser *proxy; /* owned; with proxy_awaited: while a PROXY header is */
    struct tg_http *http; /* owned; then, until `upgraded`: while its head arrives (lending.c) */
    struct tg_ws *ws;     /* owned; then: NULL at rest (lending.c) */
};

/* There is one for every idle client, for hours, and malloc adds 8 bytes and rounds up to 16: 248 are 256.
 * What is needed only now and then is attached or lent, and small things stand together. What every message
 * touches comes first. */
struct tg_conn {
    struct tg_hub *hub;       /* borrowed; outlives its connections */
    struct tg_stream *stream; /* owned until its on_closed; NULL after */
    union tg_intake intake;
    struct tg_outbox *outbox;          /* lent; NULL: nothing is to be sent */
    struct tg_attachment *attachments; /* attachment.c's */

    /* Orthogonal facts, none of them a state of its own. */
    bool upgraded : 1;           /* 101 is written */
    bool proxy_awaited : 1;      /* nothing but a PROXY header may come */
    bool closed_owed : 1;        /* authenticate was asked, so `closed` must be, once */
    bool wants_auth_message : 1; /* authenticate said need_message */
    bool paused : 1;             /* reading stopped because the inbox is full or a 101 is pending */
    bool receiving : 1;          /* inside tg_ws_feed or the pump: do not enter again */
    bool awaiting_pong : 1;      /* the keepalive timer is the pong deadline */
    bool peer_close_seen : 1;
    bool broken : 1;      /* what the peer sends cannot be understood any more */
    bool leaving : 1;     /* the peer has said good-bye behind messages that still wait */
    bool gone : 1;        /* it is leaving and the stream is lost: nothing can be sent */
    bool ending : 1;      /* a close has begun: later ones change nothing */
    bool peer_ended : 1;  /* it sent FIN, or is lost; close once all is written */
    bool ends_failed : 1; /* closing ends in failed, not closed */
    bool clean : 1;       /* both close frames were exchanged */
    bool fin_wanted : 1;  /* shut down once the outbox is written */
    bool stuck : 1;       /* the deadline of the setup state closing_from passed */
    bool via_proxy : 1; /* `client` is a trusted proxy so far: what it says of others is believed */
    bool admitted : 1;  /* `client` counts against the limits by address */
    unsigned closing_from : 4; /* enum tg_state before closing */
    uint8_t asking;            /* enum tg_hook; TG_ASKING_NONE: no hook under way */
    uint16_t attached;         /* bits of enum tg_attachment_kind */
    uint16_t close_code;

    uint32_t last_read_ms; /* low bits, as of all times here: read with tg__since */
    uint32_t last_message_ms;
    uint64_t messages_in, messages_out;
    uint32_t version; /* counted there (versions.c); 0: no hook was asked yet */
    uint32_t session_revision;
    struct tg_facts *facts; /* owned; NULL before authentication; user_id never changes */
    struct tg_conn_id id;
    struct tg_lifecycle lifecycle;
    struct tg_address client;   /* the peer, or who is behind it; final once admitted */
    struct tg_request *request; /* owned; from the complete head on */
    /* handshake, auth and setup deadline; idle or retry; close deadline */
    struct tg_timer phase_timer;
    /* ping due, or pong deadline; how long it may be leaving */
    struct tg_timer keepalive_timer;
    uint64_t message_bucket[]; /* of message_rate: one, or none if there is no such limit */
};

/* --- attachment.c -------------------------------------------------------------------------------------- */

/* Of a kind that is attached. */
struct tg_attachment *tg__attachment_find(const struct tg_conn *conn, enum tg_attachment_kind kind);
/* Of a kind that is not. */
void tg__attach(struct tg_conn *conn, enum tg_attachment_kind kind,
                struct tg_attachment *attachment);
/* What it was, or NULL. */
struct tg_attachment *tg__detach(struct tg_conn *conn, enum tg_attachment_kind kind);
/* The same, for what was allocated; none is fine. */
void tg__free_attached(struct tg_conn *conn, enum tg_attachment_kind kind);

static inline bool tg__is_attached(const struct tg_conn *conn, enum tg_attachment_kind kind)
{
    return (conn->attached >> kind & 1) != 0;
}
/* NULL: there is none. */
static inline struct tg_attachment *tg__attached(const struct tg_conn *conn,
                                                 enum tg_attachment_kind kind)
{
    return tg__is_attached(conn, kind) ? tg__attachment_find(conn, kind) : NULL;
}
/* As an attachment is the first member of what it is embedded in, their pointers are the same, NULL too. */
static inline struct tg_inbox *tg__inbox(const struct tg_conn *conn)
{
    struct tg_attachment *attachment = tg__attached(conn, TG_ATTACHED_INBOX);
    return attachment == NULL ? NULL : &((struct tg_conn_inbox *)(void *)attachment)->inbox;
}
static inline struct tg_question *tg__question(const struct tg_conn *conn)
{
    return (struct tg_question *)(void *)tg__attached(conn, TG_ATTACHED_QUESTION);
}
static inline struct tg_conn_runs *tg__runs(const struct tg_conn *conn)
{
    return (struct tg_conn_runs *)(void *)tg__attached(conn, TG_ATTACHED_RUNS);
}
static inline struct tg_expiry *tg__expiry(const struct tg_conn *conn)
{
    return (struct tg_expiry *)(void *)tg__attached(conn, TG_ATTACHED_EXPIRY);
}
static inline struct tg_degraded *tg__degraded(const struct tg_conn *conn)
{
    return (struct tg_degraded *)(void *)tg__attached(conn, TG_ATTACHED_DEGRADED);
}
static inline struct tg_end *tg__end(const struct tg_conn *conn)
{
    return (struct tg_end *)(void *)tg__attached(conn, TG_ATTACHED_END);
}

#endif
