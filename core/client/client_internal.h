/* client_internal.h - what the files of one connection share: client.c carries its bytes,
 * client_connect.c gets the stream for that, client_clock.c says how long it may take. */
#ifndef TG_CLIENT_CLIENT_INTERNAL_H
#define TG_CLIENT_CLIENT_INTERNAL_H

#include "client/client.h"
#include "net/resolver.h"

enum tg__ws_client_state {
    TG__CLIENT_RESOLVING,
    TG__CLIENT_CONNECTING,
    TG__CLIENT_CONNECTED,
    TG__CLIENT_OVER
};

struct tg_client {
    enum tg__ws_client_state state;
    struct tg_net *net;       /* borrowed until over */
    struct tg_timers *timers; /* borrowed until over */
    const struct tg_client_callbacks *callbacks;
    void *ctx;
    struct tg_ws_url url;
    char *headers;     /* owned */
    char *subprotocol; /* owned; NULL: none */
    bool compress, public_only;
    size_t message_max;
    uint64_t connect_timeout_ms, idle_timeout_ms, ping_interval_ms;
    struct tg_tls_config *tls; /* counted; NULL: ws:// */
    struct tg_lookup *lookup;  /* owned; NULL: over, or not begun */
    struct tg_address addresses[TG_LOOKUP_ADDRESSES_MAX];
    size_t address_count, next;
    struct tg_stream *stream;              /* owned; NULL between attempts and after its close */
    struct tg_wire *wire;                  /* owned; from connected on */
    enum tg_fetch_outcome connect_outcome; /* of the last attempt that failed */
    struct tg_error connect_error;
    bool paused;
    bool doomed;
    unsigned entered;

    struct tg_timer deadline; /* to the answer to the upgrade; then of the close handshake */
    struct tg_timer attempt;  /* of one address */
    struct tg_timer quiet;    /* looks whether the server is still there */
    struct tg_timer going_on; /* what came during a pause is told */
    uint64_t deadline_due_ms;
    uint64_t heard_ms;   /* the last byte */
    uint64_t spoke_ms;   /* the last message or ping */
    uint64_t pinged_ms;  /* 0: no ping of ours is under way */
    uint64_t written_ms; /* when the kernel last took something; 0: it has all */
    size_t unwritten;
};

/* --- client.c ------------------------------------------------------------------------------------- */
/* Around whatever the loop calls. */
void tg__ws_client_enter(struct tg_client *client);
void tg__ws_client_leave(struct tg_client *client);
void tg__ws_client_fail(struct tg_client *client, enum tg_fetch_outcome outcome, const char *why);
void tg__ws_client_flush(struct tg_client *client);
void tg__ws_client_go_on(struct tg_client *client); /* after a pause */

/* It is connected: the upgrade. */
void tg__ws_client_start_wire(struct tg_client *client);
void tg__ws_client_drop_stream(struct tg_client *client);
extern const struct tg_stream_callbacks tg__ws_client_stream_callbacks;

/* --- client_connect.c ----------------------------------------------------------------------------- */
void tg__ws_client_on_found(void *client, const struct tg_address *found, size_t count,
                            const char *why); /* of the lookup */
void tg__ws_client_give_up_attempt(struct tg_client *client);

/* --- client_clock.c ------------------------------------------------------------------------------- */
TG_MUST enum tg_err tg__ws_client_start_connecting(struct tg_client *client);
/* `left`: addresses that have not been tried. */
void tg__ws_client_start_attempt(struct tg_client *client, size_t left);
void tg__ws_client_start_quiet(struct tg_client *client); /* it is open */
void tg__ws_client_start_closing(struct tg_client *client, bool clean);
void tg__ws_client_start_silence(struct tg_client *client); /* it counts from now */
void tg__ws_client_start_going_on(struct tg_client *client);
void tg__ws_client_note_write(struct tg_client *client); /* something was handed to the stream */
void tg__ws_client_stop_clock(struct tg_client *client);

#endif
