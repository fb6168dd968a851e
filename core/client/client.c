/* client.c - a WebSocket connection as a client: what carries its bytes.
 *
 *     resolving ──> connecting ──> connected ──> over        any ──> over  [finish]
 *                     ^     │ next address
 *                     └─────┘
 *
 * Owns the stream and, once connected, the wire (wire.c), which knows what the bytes mean; how it gets a stream is
 * in client_connect.c, how long all of it may take in client_clock.c. on_end is called in finish() and nowhere else.
 *
 * I1  While `entered`, callbacks of the stream, the clock or the lookup are on the stack: a destroy inside one of
 *     them frees when the last has returned (`doomed`).
 */
#include "client/client.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "client/client_internal.h"
#include "net/tls.h"
#include "proto/http.h"

/* --- lifetime ------------------------------------------------------------------------------------- */

void tg__ws_client_drop_stream(struct tg_client *client)
{
    if (client->stream != NULL)
        tg_stream_close(client->stream);
    client->stream = NULL;
}

static void stop(struct tg_client *client)
{
    client->state = TG__CLIENT_OVER;
    tg__ws_client_stop_clock(client);
    if (client->lookup != NULL)
        tg_lookup_cancel(client->lookup);
    client->lookup = NULL;
    tg__ws_client_drop_stream(client);
}

static void finish(struct tg_client *client, const struct tg_client_end *end)
{
    if (client->state == TG__CLIENT_OVER)
        return;
    stop(client);
    if (!client->doomed)
        client->callbacks->on_end(client->ctx, end);
}

static void free_client(struct tg_client *client)
{
    tg_wire_destroy(client->wire);
    tg_tls_config_release(client->tls);
    tg_free(client->headers);
    tg_free(client->subprotocol);
    tg_free(client);
}

void tg__ws_client_enter(struct tg_client *client)
{
    client->entered++;
}

void tg__ws_client_leave(struct tg_client *client)
{
    if (--client->entered == 0 && client->doomed)
        free_client(client);
}

void tg__ws_client_fail(struct tg_client *client, enum tg_fetch_outcome outcome, const char *why)
{
    struct tg_client_end end = {.outcome = outcome, .reason = why};

    if (client->wire != NULL)
        tg_wire_fail(client->wire, outcome, why);
    else
        finish(client, &end);
}

/* --- the wire ------------------------------------------------------------------------------------- */

/* What the wire wants written, as far as the stream takes it. */
void tg__ws_client_flush(struct tg_client *client)
{
    struct tg_buffer *pending = tg_wire_pending(client->wire);

    if (client->stream == NULL || pending->len == 0 || tg_stream_is_writing(client->stream))
        return;
    /* A failure is told by on_end, and a client at rest is to be small. */
    if (tg_stream_write(client->stream, pending) != TG_ERR_OK || pending->len == 0)
        tg_buffer_fini(pending);
    tg__ws_client_note_write(client);
}

static void on_wire_open(void *ctx)
{
    struct tg_client *client = ctx;

    tg__ws_client_start_quiet(client);
    if (!client->doomed)
        client->callbacks->on_open(client->ctx);
}

static void on_wire_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
    struct tg_client *client = ctx;

    client->spoke_ms = tg_timers_now_ms(client->timers);
    if (!client->doomed)
        client->callbacks->on_message(client->ctx, text, data, len);
}

static void on_wire_ping(void *ctx)
{
    struct tg_client *client = ctx;

    client->spoke_ms = tg_timers_now_ms(client->timers);
}

static void on_wire_closing(void *ctx, bool clean)
{
    struct tg_client *client = ctx;

    tg__ws_client_flush(client);
    tg__ws_client_start_closing(client, clean);
}

static void on_wire_over(void *ctx)
{
    struct tg_client *client = ctx;

    tg__ws_client_flush(client);
    finish(client, tg_wire_end(client->wire));
}

/* --- the stream ----------------------------------------------------------------------------------- */

/* Reads while nobody has asked for a pause. */
static void set_reading(struct tg_client *client)
{
    if (client->state != TG__CLIENT_CONNECTED || client->stream == NULL)
        return;
    if (client->paused)
        tg_stream_read_stop(client->stream);
    else if (tg_stream_read_start(client->stream) == TG_ERR_SYS)
        tg__ws_client_fail(client, TG_FETCH_RESET, "the connection cannot be read");
}

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct tg_client *client = ctx;

    if (client->state != TG__CLIENT_CONNECTED)
        return;
    tg__ws_client_enter(client);
    client->heard_ms = tg_timers_now_ms(client->timers);
    tg_wire_feed(client->wire, data, len);
    tg__ws_client_flush(client);
    tg__ws_client_leave(client);
}

/* A session that breaks later, or ends without a word, is a connection that was lost. */
static void fail_tls(struct tg_client *client, const char *why)
{
    bool at_first = client->stream != NULL && tg_stream_is_handshaking(client->stream);
    char text[400];

    snprintf(text, sizeof text, "TLS: %s", why);
    tg__ws_client_fail(client, at_first ? TG_FETCH_TLS : TG_FETCH_RESET, text);
}

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    struct tg_client *client = ctx;

    tg__ws_client_enter(client);
    if (err == TG_ERR_PROTO && !tg_wire_end(client->wire)->clean)
        fail_tls(client, why);
    else
        tg_wire_ended(client->wire, err, why);
    tg__ws_client_leave(client);
}

static void on_written(void *ctx)
{
    struct tg_client *client = ctx;

    tg__ws_client_enter(client);
    tg__ws_client_flush(client);
    if (client->state == TG__CLIENT_CONNECTED && tg_client_unwritten(client) == 0 &&
        client->callbacks->on_written != NULL && !client->doomed)
        client->callbacks->on_written(client->ctx);
    tg__ws_client_leave(client);
}

static void on_closed(void *ctx)
{
    (void)ctx; /* the client may be gone */
}

const struct tg_stream_callbacks tg__ws_client_stream_callbacks = {on_read, on_end, on_written,
                                                                   on_closed};

/* --- beginning ------------------------------------------------------------------------------------ */

void tg__ws_client_start_wire(struct tg_client *client)
{
    static const struct tg_wire_callbacks callbacks = {on_wire_open, on_wire_message,
                                                       on_wire_closing, on_wire_over, on_wire_ping};
    struct tg_wire_options options = {
        .authority = client->url.authority,
        .target = client->url.target,
        .headers = client->headers,
        .subprotocol = client->subprotocol,
        .compress = client->compress,
        .message_max = client->message_max,
    };
    enum tg_err err = tg_wire_create(&client->wire, &options, &callbacks, client);

    if (err == TG_ERR_OK)
        err = tg_stream_read_start(client->stream);
    if (err != TG_ERR_OK) {
        tg__ws_client_fail(client, TG_FETCH_CLOSED, tg_err_text(err));
        return;
    }
    client->state = TG__CLIENT_CONNECTED;
    tg__ws_client_flush(client);
}

static struct tg_client *client_new(const struct tg_client_options *options)
{
    struct tg_client *client = tg_calloc(1, sizeof *client);

    if (client == NULL)
        return NULL;
    client->url = *options->url;
    client->compress = options->compress;
    client->public_only = options->public_only;
    client->message_max = options->message_max;
    client->connect_timeout_ms = options->connect_timeout_ms;
    client->idle_timeout_ms = options->idle_timeout_ms;
    client->ping_interval_ms = options->ping_interval_ms;
    client->headers = tg_strndup(options->headers, strlen(options->headers));
    if (options->subprotocol != NULL)
        client->subprotocol = tg_strndup(options->subprotocol, strlen(options->subprotocol));
    client->tls = options->tls == NULL ? NULL : tg_tls_config_retain(options->tls);
    client->connect_outcome = TG_FETCH_CONNECT;
    if (client->headers == NULL || (options->subprotocol != NULL && client->subprotocol == NULL)) {
        free_client(client);
        return NULL;
    }
    return client;
}

enum tg_err tg_client_create(struct tg_client **out, struct tg_net *net, struct tg_timers *timers,
                             const struct tg_client_options *options,
                             const struct tg_client_callbacks *callbacks, void *ctx)
{
    struct tg_client *client = client_new(options);

    if (client == NULL)
        return TG_ERR_NOMEM;
    client->net = net;
    client->timers = timers;
    client->callbacks = callbacks;
    client->ctx = ctx;
    enum tg_err err = tg_lookup_start(&client->lookup, tg_net_loop(net), client->url.host,
                                      client->url.port, tg__ws_client_on_found, client);
    if (err == TG_ERR_OK)
        err = tg__ws_client_start_connecting(client);
    if (err != TG_ERR_OK) {
        stop(client);
        free_client(client);
        return err;
    }
    *out = client;
    return TG_ERR_OK;
}

/* --- what owners do ------------------------------------------------------------------------------- */

enum tg_err tg_client_send(struct tg_client *client, bool text, const void *data, size_t len)
{
    if (client->state != TG__CLIENT_CONNECTED)
        return TG_ERR_CLOSED;
    enum tg_err err = tg_wire_send(client->wire, text, data, len);
    if (err == TG_ERR_OK)
        tg__ws_client_flush(client);
    return err;
}

size_t tg_client_unwritten(const struct tg_client *client)
{
    size_t pending = client->wire == NULL ? 0 : tg_wire_pending(client->wire)->len;

    return pending + (client->stream == NULL ? 0 : tg_stream_unwritten(client->stream));
}

void tg_client_pause(struct tg_client *client)
{
    client->paused = true;
    if (client->wire != NULL)
        tg_wire_pause(client->wire);
    set_reading(client);
}

void tg__ws_client_go_on(struct tg_client *client)
{
    if (client->paused || client->state != TG__CLIENT_CONNECTED)
        return;
    tg_wire_resume(client->wire);
    tg__ws_client_flush(client);
    set_reading(client);
}

void tg_client_resume(struct tg_client *client)
{
    if (!client->paused)
        return;
    client->paused = false;
    if (client->state != TG__CLIENT_CONNECTED)
        return;
    tg__ws_client_enter(client);
    tg__ws_client_start_going_on(client);
    tg__ws_client_leave(client);
}

void tg_client_set_idle_timeout(struct tg_client *client, uint64_t ms)
{
    client->idle_timeout_ms = ms;
    if (client->state != TG__CLIENT_CONNECTED || tg_wire_state(client->wire) != TG_WIRE_OPEN)
        return;
    tg__ws_client_enter(client);
    tg__ws_client_start_silence(client);
    tg__ws_client_leave(client);
}

void tg_client_close(struct tg_client *client, int code, const char *reason)
{
    tg__ws_client_enter(client);
    if (client->state == TG__CLIENT_CONNECTED && tg_wire_state(client->wire) != TG_WIRE_UPGRADING) {
        tg_client_resume(client); /* the answer must be read */
        tg_wire_close(client->wire, code, reason);
    } else {
        tg__ws_client_fail(client, TG_FETCH_CLOSED, "given up");
    }
    tg__ws_client_leave(client);
}

void tg_client_destroy(struct tg_client *client)
{
    if (client == NULL)
        return;
    client->doomed = true;
    tg__ws_client_enter(client);
    if (client->state == TG__CLIENT_CONNECTED)
        tg_wire_close(client->wire, 1001, "");
    if (client->state != TG__CLIENT_OVER)
        stop(client);
    tg__ws_client_leave(client);
}

const char *tg_client_subprotocol(const struct tg_client *client)
{
    const struct tg_http *answer = client->wire == NULL ? NULL : tg_wire_answer(client->wire);
    const char *name =
        answer == NULL ? NULL : tg_http_find(answer, TG_HEADER_SEC_WEBSOCKET_PROTOCOL, NULL).data;

    return name == NULL ? "" : name;
}
