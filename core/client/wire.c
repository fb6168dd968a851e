/* wire.c - the client's side of a WebSocket connection.
 *
 *     upgrading ──> open ──> closing ──> over        any ──> over  [finish]
 *
 * Owns the HTTP parser, the decoder and what is pending. on_over is called in finish() and nowhere else.
 */
#include "client/wire.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "proto/extensions.h"
#include "proto/http.h"
#include "proto/upgrade.h"
#include "proto/websocket.h"

#define HEAD_MAX (64 * 1024)
#define BODY_MAX (64 * 1024)
/* A server that pings and does not read gets no more answers until it reads. */
#define PONGS_MAX (4 * 1024)

struct tg_wire {
    enum tg_wire_state state;
    const struct tg_wire_callbacks *callbacks;
    void *ctx;
    const struct tg_deflate_offer *offer; /* static; NULL: none is made */
    struct tg_deflate_agreement agreed;
    bool compressing; /* as `agreed` says */
    bool answered;    /* the answer to the upgrade is whole */
    bool paused;
    bool feeding; /* inside the decoder */
    size_t message_max;
    char *subprotocol;    /* owned; what was offered; NULL: nothing */
    struct tg_http *http; /* owned */
    struct tg_ws *ws;     /* owned; from open on */
    struct tg_buffer pending;
    struct tg_buffer kept; /* came while paused */
    char key[TG_WS_KEY_LEN + 1];
    char why[512];
    struct tg_client_end end;
};

/* Whatever the server prefers: one connection's memory is no matter to a client. */
static const struct tg_deflate_offer any_deflate = {.client_max_window_bits = TG_DEFLATE_ANY_BITS};

static void finish(struct tg_wire *wire)
{
    if (wire->state == TG_WIRE_OVER)
        return;
    wire->state = TG_WIRE_OVER;
    wire->end.reason = wire->why;
    wire->callbacks->on_over(wire->ctx);
}

void tg_wire_fail(struct tg_wire *wire, enum tg_fetch_outcome outcome, const char *why)
{
    if (wire->state == TG_WIRE_OVER)
        return;
    if (wire->why[0] == '\0') {
        wire->end.outcome = outcome;
        (void)snprintf(wire->why, sizeof wire->why, "%s", why);
    }
    finish(wire);
}

static void out_of_memory(struct tg_wire *wire)
{
    tg_wire_fail(wire, TG_FETCH_CLOSED, "out of memory");
}

/* False: memory is out, and the wire is over. */
static bool queue_close(struct tg_wire *wire, int code, const char *reason)
{
    wire->state = TG_WIRE_CLOSING;
    if (tg_ws_encode_close(&wire->pending, TG_WS_CLIENT, code, reason, strlen(reason)) == TG_ERR_OK)
        return true;
    out_of_memory(wire);
    return false;
}

static bool on_message(void *ctx, enum tg_ws_opcode kind, const uint8_t *data, size_t len)
{
    struct tg_wire *wire = ctx;

    if (wire->state == TG_WIRE_OPEN || wire->state == TG_WIRE_CLOSING)
        wire->callbacks->on_message(wire->ctx, kind == TG_WS_TEXT, data, len);
    return !wire->paused;
}

static void on_ping(void *ctx, const uint8_t *data, size_t len)
{
    struct tg_wire *wire = ctx;

    if (wire->state == TG_WIRE_OPEN && wire->pending.len <= PONGS_MAX &&
        tg_ws_encode(&wire->pending, TG_WS_CLIENT, TG_WS_PONG, data, len) != TG_ERR_OK)
        out_of_memory(wire);
    if (wire->state == TG_WIRE_OPEN && wire->callbacks->on_ping != NULL)
        wire->callbacks->on_ping(wire->ctx);
}

static void on_pong(void *ctx, const uint8_t *data, size_t len)
{
    (void)ctx;
    (void)data;
    (void)len;
}

static void on_close(void *ctx, int code, const char *reason, size_t reason_len)
{
    struct tg_wire *wire = ctx;

    wire->end.clean = true;
    wire->end.code = code;
    (void)snprintf(wire->why, sizeof wire->why, "%.*s", (int)reason_len, reason);
    if (wire->state == TG_WIRE_OPEN && !queue_close(wire, code == 1005 ? 1000 : code, ""))
        return; /* the echo (§5.5.1) */
    if (wire->state == TG_WIRE_CLOSING)
        wire->callbacks->on_closing(wire->ctx, true);
}

static void set_fault(struct tg_wire *wire, const struct tg_ws_fault *fault)
{
    wire->end.outcome = fault->code == 1009   ? TG_FETCH_TOO_LARGE
                        : fault->code == 1011 ? TG_FETCH_CLOSED
                                              : TG_FETCH_PROTOCOL;
    (void)snprintf(wire->why, sizeof wire->why, "the server broke the protocol: %s", fault->why);
    if (wire->state == TG_WIRE_OPEN)
        (void)queue_close(wire, fault->code, fault->why);
    finish(wire);
}

static void keep(struct tg_wire *wire, const uint8_t *data, size_t len)
{
    if (len > 0 && tg_buffer_append(&wire->kept, data, len) != TG_ERR_OK)
        out_of_memory(wire);
}

static void feed_frames(struct tg_wire *wire, uint8_t *data, size_t len)
{
    struct tg_ws_fault fault;
    size_t consumed;

    if (wire->end.clean)
        return;
    if (wire->paused) {
        keep(wire, data, len);
        return;
    }
    wire->feeding = true;
    enum tg_err err = tg_ws_feed(wire->ws, data, len, &consumed, &fault);
    wire->feeding = false;
    if (wire->state == TG_WIRE_OVER || wire->end.clean)
        return;
    if (err != TG_ERR_OK)
        set_fault(wire, &fault);
    else if (consumed < len)
        keep(wire, data + consumed, len - consumed);
}

static void open_now(struct tg_wire *wire)
{
    static const struct tg_ws_callbacks frames = {on_message, on_ping, on_pong, on_close};
    static const struct tg_deflate_tuning tuning = {.level = 6, .memory_level = 8};

    if (tg_ws_create(&wire->ws, TG_WS_CLIENT, wire->message_max, &frames, wire) != TG_ERR_OK ||
        (wire->compressing &&
         tg_ws_use_deflate(wire->ws, &wire->agreed, &tuning, NULL) != TG_ERR_OK)) {
        out_of_memory(wire);
        return;
    }
    wire->state = TG_WIRE_OPEN;
    wire->end.opened = true;
    wire->callbacks->on_open(wire->ctx);
}

/* whole: all of the answer is there. */
static void refused(struct tg_wire *wire, bool whole)
{
    wire->end.status = tg_http_response_status(wire->http);
    if (whole) {
        wire->end.connection_id =
            tg_http_find(wire->http, TG_HEADER_TIDEGATE_CONNECTION_ID, NULL).data;
        wire->end.body = tg_http_body(wire->http);
    }
    tg_wire_fail(wire, TG_FETCH_OK, tg_http_reason(wire->end.status));
}

/* §4.1: the server may choose one of those that were offered, or none. */
static enum tg_err verify_subprotocol(const struct tg_wire *wire, struct tg_error *error)
{
    struct tg_http_text chosen = tg_http_find(wire->http, TG_HEADER_SEC_WEBSOCKET_PROTOCOL, NULL);
    const char *offered = wire->subprotocol;

    if (chosen.data == NULL)
        return TG_ERR_OK;
    while (offered != NULL) {
        offered += strspn(offered, ", ");
        size_t len = strcspn(offered, ", ");
        if (len > 0 && len == chosen.len && memcmp(offered, chosen.data, len) == 0)
            return TG_ERR_OK;
        offered = len == 0 ? NULL : offered + len;
    }
    return tg_error_set(error, TG_ERR_PROTO, "the server chose a subprotocol that was not offered");
}

static void feed_answer(struct tg_wire *wire, uint8_t *data, size_t len)
{
    struct tg_error error;
    const char *why;
    size_t consumed = 0;

    switch (tg_http_feed(wire->http, data, len, &consumed)) {
    case TG_HTTP_MORE:
        return;
    case TG_HTTP_BAD:
        /* A good head with a body that is too large, or broken, refuses all the same. */
        if (tg_http_response_status(wire->http) >= 200) {
            refused(wire, false);
            return;
        }
        (void)tg_http_refusal(wire->http, &why);
        wire->end.outcome = TG_FETCH_PROTOCOL;
        (void)snprintf(wire->why, sizeof wire->why, "the answer is no HTTP: %s", why);
        finish(wire);
        return;
    case TG_HTTP_DONE:
        break;
    }
    wire->answered = true;
    if (tg_http_response_status(wire->http) != 101) {
        refused(wire, true);
    } else if (tg_upgrade_verify(wire->http, wire->key, &error) != TG_ERR_OK ||
               tg_extensions_verify(wire->http, wire->offer, &wire->compressing, &wire->agreed,
                                    &error) != TG_ERR_OK ||
               verify_subprotocol(wire, &error) != TG_ERR_OK) {
        tg_wire_fail(wire, TG_FETCH_PROTOCOL, error.text);
    } else {
        open_now(wire);
        if (consumed < len && wire->state == TG_WIRE_OPEN)
            feed_frames(wire, data + consumed, len - consumed);
    }
}

static enum tg_err write_request(struct tg_wire *wire, const struct tg_wire_options *options)
{
    struct tg_buffer headers = TG_BUFFER_INIT;
    char value[TG_EXTENSIONS_SIZE];
    enum tg_err err = tg_buffer_append_str(&headers, options->headers);

    if (err == TG_ERR_OK && options->compress) {
        tg_extensions_write_offer(wire->offer, value);
        err = tg_buffer_printf(&headers, TG_EXTENSIONS_HEADER "%s\r\n", value);
    }
    if (err == TG_ERR_OK)
        err = tg_buffer_append(&headers, "", 1);
    if (err == TG_ERR_OK)
        err = tg_upgrade_request(&wire->pending, options->authority, options->target, wire->key,
                                 options->subprotocol, (const char *)tg_buffer_head(&headers));
    tg_buffer_fini(&headers);
    return err;
}

enum tg_err tg_wire_create(struct tg_wire **out, const struct tg_wire_options *options,
                           const struct tg_wire_callbacks *callbacks, void *ctx)
{
    struct tg_wire *wire = tg_calloc(1, sizeof *wire);
    enum tg_err err;

    if (wire == NULL)
        return TG_ERR_NOMEM;
    wire->callbacks = callbacks;
    wire->ctx = ctx;
    wire->offer = options->compress ? &any_deflate : NULL;
    wire->message_max = options->message_max == 0 ? TG_WIRE_MESSAGE_MAX : options->message_max;
    tg_upgrade_make_key(wire->key);
    if (options->subprotocol != NULL)
        wire->subprotocol = tg_strndup(options->subprotocol, strlen(options->subprotocol));
    if (options->subprotocol != NULL && wire->subprotocol == NULL) {
        tg_wire_destroy(wire);
        return TG_ERR_NOMEM;
    }
    err = tg_http_create(&wire->http, TG_HTTP_RESPONSE, HEAD_MAX, BODY_MAX);
    if (err == TG_ERR_OK)
        err = write_request(wire, options);
    if (err != TG_ERR_OK) {
        tg_wire_destroy(wire);
        return err;
    }
    *out = wire;
    return TG_ERR_OK;
}

void tg_wire_destroy(struct tg_wire *wire)
{
    if (wire == NULL)
        return;
    tg_http_destroy(wire->http);
    tg_ws_destroy(wire->ws);
    tg_buffer_fini(&wire->pending);
    tg_buffer_fini(&wire->kept);
    tg_free(wire->subprotocol);
    tg_free(wire);
}

struct tg_buffer *tg_wire_pending(struct tg_wire *wire)
{
    return &wire->pending;
}

void tg_wire_feed(struct tg_wire *wire, uint8_t *data, size_t len)
{
    if (wire->state == TG_WIRE_UPGRADING)
        feed_answer(wire, data, len);
    else if (wire->state == TG_WIRE_OPEN || wire->state == TG_WIRE_CLOSING)
        feed_frames(wire, data, len);
}

void tg_wire_ended(struct tg_wire *wire, enum tg_err err, const char *why)
{
    if (wire->end.clean)
        finish(wire);
    else if (wire->state == TG_WIRE_UPGRADING && err == TG_ERR_OK)
        tg_wire_fail(wire, TG_FETCH_RESET, "the server closed the connection without an answer");
    else
        tg_wire_fail(wire, TG_FETCH_RESET,
                     err == TG_ERR_OK ? "the server closed the connection without a close frame"
                                      : why);
}

void tg_wire_pause(struct tg_wire *wire)
{
    wire->paused = true;
}

void tg_wire_resume(struct tg_wire *wire)
{
    struct tg_buffer kept = wire->kept;

    wire->paused = false;
    /* Inside the decoder it goes on by itself. */
    if (wire->feeding || kept.len == 0)
        return;
    wire->kept = TG_BUFFER_INIT;
    feed_frames(wire, tg_buffer_head(&kept), kept.len);
    tg_buffer_fini(&kept);
}

enum tg_err tg_wire_send(struct tg_wire *wire, bool text, const void *data, size_t len)
{
    if (wire->state != TG_WIRE_OPEN)
        return TG_ERR_CLOSED;
    return tg_ws_encode_message(wire->ws, &wire->pending, text ? TG_WS_TEXT : TG_WS_BINARY, data,
                                len);
}

enum tg_err tg_wire_ping(struct tg_wire *wire)
{
    if (wire->state != TG_WIRE_OPEN)
        return TG_ERR_CLOSED;
    return tg_ws_encode(&wire->pending, TG_WS_CLIENT, TG_WS_PING, "", 0);
}

void tg_wire_close(struct tg_wire *wire, int code, const char *reason)
{
    if (wire->state == TG_WIRE_OPEN && queue_close(wire, code, reason))
        wire->callbacks->on_closing(wire->ctx, false);
}

enum tg_wire_state tg_wire_state(const struct tg_wire *wire)
{
    return wire->state;
}

const struct tg_client_end *tg_wire_end(const struct tg_wire *wire)
{
    return &wire->end;
}

const struct tg_http *tg_wire_answer(const struct tg_wire *wire)
{
    return wire->answered ? wire->http : NULL;
}
