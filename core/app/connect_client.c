/* connect_client.c - a WebSocket connection as a client.
 *
 *     resolving ──> connecting ──> upgrading ──> open ──> closing ──> over
 *                     ^     │ next address           any ──> over  [finish]
 *                     └─────┘
 *
 * Owns the stream, the HTTP parser until the upgrade, the decoder after it, and what waits to be
 * written. on_end is called in finish() and nowhere else; the memory goes in tg_client_destroy, so
 * callbacks that the loop still delivers find it.
 */
#include "app/connect_client.h"

#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/list.h"
#include "base/memory.h"
#include "net/tls.h"
#include "proto/extensions.h"
#include "proto/http.h"
#include "proto/upgrade.h"
#include "proto/websocket.h"

#define HEAD_MAX (64 * 1024)
#define BODY_MAX (64 * 1024)
#define MESSAGE_MAX (64 * 1024 * 1024)
#define CLOSE_TIMEOUT_MS 3000
#define END_TIMEOUT_MS 1000 /* for the server to end the TCP connection after the close frames */

enum client_state {
    CLIENT_RESOLVING,
    CLIENT_CONNECTING,
    CLIENT_UPGRADING,
    CLIENT_OPEN,
    CLIENT_CLOSING,
    CLIENT_OVER
};

struct tg_client {
    enum client_state state;
    struct tg_net *net;       /* borrowed until destroy */
    struct tg_timers *timers; /* borrowed until on_end */
    const struct tg_client_callbacks *callbacks;
    void *ctx;
    struct tg_connect_url url;
    char *headers; /* owned */
    const char *subprotocol;
    struct tg_tls_config *tls;            /* counted; NULL: ws:// */
    const struct tg_deflate_offer *offer; /* static; NULL: none is made */
    struct tg_deflate_agreement agreed;
    bool compressing; /* as `agreed` says */
    uv_getaddrinfo_t resolver;
    struct addrinfo *addresses;  /* owned; freed by uv_freeaddrinfo */
    const struct addrinfo *next; /* inside addresses */
    struct tg_stream *stream;    /* owned; NULL between attempts and after its close */
    struct tg_http *http;        /* owned; while upgrading */
    struct tg_ws *ws;            /* owned; from open on */
    struct tg_buffer pending;    /* not yet given to the stream */
    struct tg_timer timer;
    char key[TG_WS_KEY_LEN + 1];
    char why[512];
    struct tg_client_end end;
    struct tg_error connect_error;
};

static void try_next_address(struct tg_client *client);

static void drop_stream(struct tg_client *client)
{
    if (client->stream != NULL)
        tg_stream_close(client->stream);
    client->stream = NULL;
}

static void finish(struct tg_client *client)
{
    if (client->state == CLIENT_OVER)
        return;
    client->state = CLIENT_OVER;
    client->end.reason = client->why;
    tg_timer_stop(client->timers, &client->timer);
    drop_stream(client);
    client->callbacks->on_end(client->ctx, &client->end);
}

static void fail(struct tg_client *client, const char *why)
{
    if (client->state == CLIENT_OVER)
        return;
    if (client->why[0] == '\0')
        snprintf(client->why, sizeof client->why, "%s", why);
    finish(client);
}

static void on_timer(struct tg_timer *timer)
{
    struct tg_client *client = TG_CONTAINER_OF(timer, struct tg_client, timer);

    if (client->end.clean) /* only the TCP connection is left */
        finish(client);
    else
        fail(client, "the server did not answer the close");
}

static void flush(struct tg_client *client)
{
    if (client->stream == NULL || client->pending.len == 0 || tg_stream_is_writing(client->stream))
        return;
    if (tg_stream_write(client->stream, &client->pending) != TG_ERR_OK)
        tg_buffer_clear(&client->pending); /* on_end says why */
}

static void queue(struct tg_client *client, enum tg_ws_opcode opcode, const void *data, size_t len)
{
    enum tg_err err = opcode == TG_WS_TEXT
                          ? tg_ws_encode_message(client->ws, &client->pending, opcode, data, len)
                          : tg_ws_encode(&client->pending, TG_WS_CLIENT, opcode, data, len);

    if (err != TG_ERR_OK)
        fail(client, "out of memory");
    else
        flush(client);
}

static void start_closing(struct tg_client *client, int code, const char *reason,
                          uint64_t timeout_ms)
{
    if (client->state != CLIENT_OPEN)
        return;
    client->state = CLIENT_CLOSING;
    if (tg_ws_encode_close(&client->pending, TG_WS_CLIENT, code, reason, strlen(reason)) !=
            TG_ERR_OK ||
        tg_timer_start(client->timers, &client->timer, timeout_ms, on_timer) != TG_ERR_OK) {
        fail(client, "out of memory");
        return;
    }
    flush(client);
}

static bool on_message(void *ctx, enum tg_ws_opcode kind, const uint8_t *data, size_t len)
{
    struct tg_client *client = ctx;

    if (client->state == CLIENT_OPEN || client->state == CLIENT_CLOSING)
        client->callbacks->on_message(client->ctx, kind == TG_WS_TEXT, data, len);
    return true;
}

static void on_ping(void *ctx, const uint8_t *data, size_t len)
{
    struct tg_client *client = ctx;

    if (client->state == CLIENT_OPEN)
        queue(client, TG_WS_PONG, data, len);
}

static void on_pong(void *ctx, const uint8_t *data, size_t len)
{
    (void)ctx;
    (void)data;
    (void)len;
}

static void on_close(void *ctx, int code, const char *reason, size_t reason_len)
{
    struct tg_client *client = ctx;

    client->end.clean = true;
    client->end.code = code;
    snprintf(client->why, sizeof client->why, "%.*s", (int)reason_len, reason);
    start_closing(client, code == 1005 ? 1000 : code, "", END_TIMEOUT_MS); /* the echo (§5.5.1) */
    if (client->state != CLIENT_OVER &&
        tg_timer_start(client->timers, &client->timer, END_TIMEOUT_MS, on_timer) != TG_ERR_OK)
        finish(client);
}

static void feed_frames(struct tg_client *client, uint8_t *data, size_t len)
{
    struct tg_ws_fault fault;
    size_t consumed;

    if (client->end.clean || tg_ws_feed(client->ws, data, len, &consumed, &fault) == TG_ERR_OK)
        return;
    if (client->state == CLIENT_OVER)
        return;
    snprintf(client->why, sizeof client->why, "the server broke the protocol: %s", fault.why);
    if (client->state == CLIENT_OPEN)
        start_closing(client, fault.code, fault.why, CLOSE_TIMEOUT_MS);
    finish(client);
}

static void open_now(struct tg_client *client)
{
    static const struct tg_ws_callbacks frames = {on_message, on_ping, on_pong, on_close};
    static const struct tg_deflate_tuning tuning = {.level = 6, .memory_level = 8};

    tg_http_destroy(client->http);
    client->http = NULL;
    if (tg_ws_create(&client->ws, TG_WS_CLIENT, MESSAGE_MAX, &frames, client) != TG_ERR_OK ||
        (client->compressing &&
         tg_ws_use_deflate(client->ws, &client->agreed, &tuning, NULL) != TG_ERR_OK)) {
        fail(client, "out of memory");
        return;
    }
    client->state = CLIENT_OPEN;
    client->end.opened = true;
    client->callbacks->on_open(client->ctx);
}

static void refused(struct tg_client *client)
{
    client->end.status = tg_http_response_status(client->http);
    client->end.connection_id = tg_http_find(client->http, "tidegate-connection-id", NULL).data;
    client->end.body = tg_http_body(client->http);
    fail(client, tg_http_reason(client->end.status));
}

static void feed_response(struct tg_client *client, uint8_t *data, size_t len)
{
    struct tg_error error;
    const char *why;
    size_t consumed = 0;

    switch (tg_http_feed(client->http, data, len, &consumed)) {
    case TG_HTTP_MORE:
        return;
    case TG_HTTP_BAD:
        (void)tg_http_refusal(client->http, &why);
        snprintf(client->why, sizeof client->why, "the answer is no HTTP: %s", why);
        finish(client);
        return;
    case TG_HTTP_DONE:
        break;
    }
    if (tg_http_response_status(client->http) != 101) {
        refused(client);
    } else if (tg_upgrade_verify(client->http, client->key, &error) != TG_ERR_OK ||
               tg_extensions_verify(client->http, client->offer, &client->compressing,
                                    &client->agreed, &error) != TG_ERR_OK) {
        fail(client, error.text);
    } else {
        open_now(client);
        if (consumed < len && client->state == CLIENT_OPEN)
            feed_frames(client, data + consumed, len - consumed);
    }
}

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct tg_client *client = ctx;

    if (client->state == CLIENT_UPGRADING)
        feed_response(client, data, len);
    else if (client->state == CLIENT_OPEN || client->state == CLIENT_CLOSING)
        feed_frames(client, data, len);
}

static void fail_tls(struct tg_client *client, const char *why)
{
    char text[400];

    snprintf(text, sizeof text, "TLS: %s", why);
    fail(client, text);
}

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    struct tg_client *client = ctx;

    if (client->end.clean)
        finish(client);
    else if (err == TG_ERR_PROTO)
        fail_tls(client, why);
    else if (client->state == CLIENT_UPGRADING && err == TG_ERR_OK)
        fail(client, "the server closed the connection without an answer");
    else
        fail(client,
             err == TG_ERR_OK ? "the server closed the connection without a close frame" : why);
}

static void on_written(void *ctx)
{
    flush(ctx);
}

static void on_closed(void *ctx)
{
    (void)ctx;
}

static void start_upgrade(struct tg_client *client)
{
    enum tg_err err = tg_http_create(&client->http, TG_HTTP_RESPONSE, HEAD_MAX, BODY_MAX);

    tg_upgrade_make_key(client->key);
    if (err == TG_ERR_OK)
        err = tg_upgrade_request(&client->pending, client->url.authority, client->url.target,
                                 client->key, client->subprotocol, client->headers);
    if (err == TG_ERR_OK)
        err = tg_stream_read_start(client->stream);
    if (err != TG_ERR_OK) {
        fail(client, tg_err_text(err));
        return;
    }
    client->state = CLIENT_UPGRADING;
    flush(client);
}

static void on_connected(void *ctx, enum tg_err err, const char *why)
{
    struct tg_client *client = ctx;

    if (client->state != CLIENT_CONNECTING)
        return;
    if (err == TG_ERR_OK) {
        if (client->tls == NULL ||
            tg_stream_start_tls_client(client->stream, client->tls, client->url.host) == TG_ERR_OK)
            start_upgrade(client);
        else
            fail(client, "TLS does not start");
        return;
    }
    tg_error_set(&client->connect_error, err, "%s port %u: %s", client->url.host,
                 (unsigned)client->url.port, why);
    drop_stream(client);
    try_next_address(client);
}

static void try_next_address(struct tg_client *client)
{
    static const struct tg_stream_callbacks callbacks = {on_read, on_end, on_written, on_closed};

    client->state = CLIENT_CONNECTING;
    while (client->next != NULL) {
        const struct addrinfo *info = client->next;
        char address[64];

        client->next = info->ai_next;
        if (uv_ip_name(info->ai_addr, address, sizeof address) != 0)
            continue;
        if (tg_stream_connect(&client->stream, client->net, address, client->url.port, on_connected,
                              client, &client->connect_error) == TG_ERR_OK) {
            tg_stream_bind(client->stream, &callbacks, client);
            return;
        }
    }
    fail(client, client->connect_error.text);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct tg_client *client = request->data;
    char why[320];

    client->addresses = found;
    if (client->state != CLIENT_RESOLVING)
        return;
    if (status != 0) {
        snprintf(why, sizeof why, "cannot find %s: %s", client->url.host, uv_strerror(status));
        fail(client, why);
        return;
    }
    client->next = found;
    try_next_address(client);
}

/* Whatever the server prefers: one connection's memory is no matter to a client. */
static const struct tg_deflate_offer offer = {.client_max_window_bits = TG_DEFLATE_ANY_BITS};

/* Start-up memory. */
static char *with_offer(const char *headers)
{
    char value[TG_EXTENSIONS_SIZE];
    size_t size = strlen(headers) + sizeof TG_EXTENSIONS_HEADER "\r\n" + sizeof value;
    char *out = tg_xcalloc(size, 1);

    tg_extensions_write_offer(&offer, value);
    (void)snprintf(out, size, "%s" TG_EXTENSIONS_HEADER "%s\r\n", headers, value);
    return out;
}

enum tg_err tg_client_create(struct tg_client **out, struct tg_net *net, struct tg_timers *timers,
                             const struct tg_client_options *options,
                             const struct tg_client_callbacks *callbacks, void *ctx)
{
    struct tg_client *client = tg_xcalloc(1, sizeof *client);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int status;

    client->net = net;
    client->timers = timers;
    client->callbacks = callbacks;
    client->ctx = ctx;
    client->url = *options->url;
    client->offer = options->compress ? &offer : NULL;
    client->headers =
        options->compress ? with_offer(options->headers) : tg_xstrdup(options->headers);
    client->subprotocol = options->subprotocol;
    client->tls = options->tls == NULL ? NULL : tg_tls_config_retain(options->tls);
    client->resolver.data = client;
    tg_error_set(&client->connect_error, TG_ERR_SYS, "%s has no usable address", client->url.host);
    status = uv_getaddrinfo(tg_net_loop(net), &client->resolver, on_resolved, client->url.host,
                            NULL, &hints);
    if (status != 0) {
        tg_tls_config_release(client->tls);
        tg_free(client->headers);
        tg_free(client);
        return TG_ERR_SYS;
    }
    *out = client;
    return TG_ERR_OK;
}

void tg_client_send(struct tg_client *client, const void *text, size_t len)
{
    if (client->state == CLIENT_OPEN)
        queue(client, TG_WS_TEXT, text, len);
}

void tg_client_close(struct tg_client *client, int code)
{
    switch (client->state) {
    case CLIENT_OPEN:
        start_closing(client, code, "", CLOSE_TIMEOUT_MS);
        return;
    case CLIENT_RESOLVING:
        (void)uv_cancel(
            (uv_req_t *)&client->resolver); /* too late to cancel: its answer is ignored */
        fail(client, "given up");
        return;
    case CLIENT_CONNECTING:
    case CLIENT_UPGRADING:
        fail(client, "given up");
        return;
    case CLIENT_CLOSING:
    case CLIENT_OVER:
        return;
    }
}

void tg_client_destroy(struct tg_client *client)
{
    if (client == NULL)
        return;
    assert(client->state == CLIENT_OVER);
    uv_freeaddrinfo(client->addresses);
    tg_http_destroy(client->http);
    tg_ws_destroy(client->ws);
    tg_buffer_fini(&client->pending);
    tg_tls_config_release(client->tls);
    tg_free(client->headers);
    tg_free(client);
}
