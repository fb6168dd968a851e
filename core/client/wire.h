/* wire.h - the client's side of a WebSocket connection as bytes: the upgrade, frames, the close
 * handshake. No loop, no socket, no clock: whoever carries the bytes feeds what comes and takes away
 * what is pending, after every call.
 */
#ifndef TG_CLIENT_WIRE_H
#define TG_CLIENT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "net/http_client.h"

struct tg_wire;
struct tg_http;

enum tg_wire_state { TG_WIRE_UPGRADING, TG_WIRE_OPEN, TG_WIRE_CLOSING, TG_WIRE_OVER };

/* How it ended. Borrowed until the wire is destroyed. */
struct tg_client_end {
    /* TG_FETCH_OK: the close handshake, or an answer that is no upgrade. */
    enum tg_fetch_outcome outcome;
    bool opened;                  /* the upgrade was accepted */
    bool clean;                   /* with a close handshake */
    int code;                     /* the peer's close code; 0: none came */
    const char *reason;           /* the peer's close reason, or what went wrong; for people */
    int status;                   /* the HTTP status of a refusal, or 0 */
    const char *connection_id;    /* of a refusal; NULL: it had none */
    const struct tg_buffer *body; /* of a refusal; NULL otherwise */
};

struct tg_wire_callbacks {
    void (*on_open)(void *ctx);
    void (*on_message)(void *ctx, bool text, const uint8_t *data, size_t len);
    /* A close frame is on its way to the server; clean: the server's has come, so that only the end of the
     * connection is awaited. May come twice, then the second time clean. */
    void (*on_closing)(void *ctx, bool clean);
    void (*on_over)(void *ctx); /* last, once */
    void (*on_ping)(void *ctx); /* the server's; it is answered already. NULL: of no interest */
};

/* Texts are copied. */
struct tg_wire_options {
    const char *authority;   /* for Host */
    const char *target;      /* "/path?query" */
    const char *headers;     /* "Name: value\r\n"… */
    const char *subprotocol; /* NULL: none is offered */
    bool compress;           /* offers permessage-deflate */
    size_t message_max;      /* bytes of a message; 0: TG_WIRE_MESSAGE_MAX */
};

#define TG_WIRE_MESSAGE_MAX ((size_t)64 << 20)

/* The upgrade request is pending. callbacks are static. */
TG_MUST enum tg_err tg_wire_create(struct tg_wire **out, const struct tg_wire_options *options,
                                   const struct tg_wire_callbacks *callbacks, void *ctx);
/* NULL is allowed; not from inside a callback. */
void tg_wire_destroy(struct tg_wire *wire);

/* What must go to the server. */
struct tg_buffer *tg_wire_pending(struct tg_wire *wire);
/* What came from it; changed in place. */
void tg_wire_feed(struct tg_wire *wire, uint8_t *data, size_t len);
/* Nothing more comes: it ended the connection (TG_ERR_OK), or that was lost. */
void tg_wire_ended(struct tg_wire *wire, enum tg_err err, const char *why);
/* Gives up; the first reason counts. */
void tg_wire_fail(struct tg_wire *wire, enum tg_fetch_outcome outcome, const char *why);

/* Takes no message until resumed, also when it is asked for inside on_message: what was fed and is not read
 * yet is kept. Nothing should be fed meanwhile. */
void tg_wire_pause(struct tg_wire *wire);
/* Reads what was kept. */
void tg_wire_resume(struct tg_wire *wire);

/* While open, else TG_ERR_CLOSED. TG_ERR_NOMEM: nothing is sent. */
TG_MUST enum tg_err tg_wire_send(struct tg_wire *wire, bool text, const void *data, size_t len);
TG_MUST enum tg_err tg_wire_ping(struct tg_wire *wire);
/* While open, else nothing happens. */
void tg_wire_close(struct tg_wire *wire, int code, const char *reason);

enum tg_wire_state tg_wire_state(const struct tg_wire *wire);
const struct tg_client_end *tg_wire_end(const struct tg_wire *wire); /* once over */
/* The answer to the upgrade, parsed: NULL until it is there whole. */
const struct tg_http *tg_wire_answer(const struct tg_wire *wire);

#endif
