/* connect_client.c - a WebSocket connection as a client: what carries its bytes.
 *
 *     resolving ──> connecting ──> connected ──> over        any ──> over  [finish]
 *                     ^     │ next address
 *                     └─────┘
 *
 * Owns the stream and, once connected, the wire (client_wire.c), which knows what the bytes mean. on_end
 * is called in finish() and nowhere else; the memory goes in tg_client_destroy, so callbacks that the
 * loop still delivers find it.
 */
#include "app/connect/connect_client.h"

#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/list.h"
#include "base/memory.h"
#include "net/tls.h"

#define CLOSE_TIMEOUT_MS 3000
#define END_TIMEOUT_MS 1000 /* for the server to end the TCP connection after the close frames */

enum client_state { CLIENT_RESOLVING, CLIENT_CONNECTING, CLIENT_CONNECTED, CLIENT_OVER };

struct tg_client {
    enum client_state state;
    struct tg_net *net;       /* borrowed until destroy */
    struct tg_timers *timers; /* borrowed until on_end */
    const struct tg_client_callbacks *callbacks;
    void *ctx;
    struct tg_connect_url url;
    char *headers; /* owned */
    const char *subprotocol;
    bool compress;
    struct tg_tls_config *tls; /* counted; NULL: ws:// */
    uv_getaddrinfo_t resolver;
    struct addrinfo *addresses;  /* owned; freed by uv_freeaddrinfo */
    const struct addrinfo *next; /* inside addresses */
    struct tg_stream *stream;    /* owned; NULL between attempts and after its close */
    struct tg_wire *wire;        /* owned; from connected on */
    struct tg_timer timer;
    struct tg_error connect_error;
};

static void try_next_address(struct tg_client *client);

static void drop_stream(struct tg_client *client)
{
    if (client->stream != NULL)
        tg_stream_close(client->stream);
    client->stream = NULL;
}

static void finish(struct tg_client *client, const struct tg_client_end *end)
{
    if (client->state == CLIENT_OVER)
        return;
    client->state = CLIENT_OVER;
    tg_timer_stop(client->timers, &client->timer);
    drop_stream(client);
    client->callbacks->on_end(client->ctx, end);
}

/* What the wire wants written, as far as the stream takes it. */
static void flush(struct tg_client *client)
{
    struct tg_buffer *pending = tg_wire_pending(client->wire);

    if (client->stream == NULL || pending->len == 0 || tg_stream_is_writing(client->stream))
        return;
    if (tg_stream_write(client->stream, pending) != TG_ERR_OK)
        tg_buffer_clear(pending); /* on_end says why */
}

static void fail(struct tg_client *client, const char *why)
{
    struct tg_client_end end = {.reason = why};

    if (client->wire != NULL)
        tg_wire_fail(client->wire, why);
    else
        finish(client, &end);
}

static void on_timer(struct tg_timer *timer)
{
    /* After a clean close only the TCP connection is left, and it counts as ended. */
    tg_wire_ended(TG_CONTAINER_OF(timer, struct tg_client, timer)->wire, TG_ERR_SYS,
                  "the server did not answer the close");
}

static void on_wire_open(void *ctx)
{
    struct tg_client *client = ctx;

    client->callbacks->on_open(client->ctx);
}

static void on_wire_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
    struct tg_client *client = ctx;

    client->callbacks->on_message(client->ctx, text, data, len);
}

static void on_wire_closing(void *ctx, bool clean)
{
    struct tg_client *client = ctx;

    flush(client);
    if (tg_timer_start(client->timers, &client->timer, clean ? END_TIMEOUT_MS : CLOSE_TIMEOUT_MS,
                       on_timer) != TG_ERR_OK)
        tg_wire_fail(client->wire, "out of memory");
}

static void on_wire_over(void *ctx)
{
    struct tg_client *client = ctx;

    flush(client);
    finish(client, tg_wire_end(client->wire));
}

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct tg_client *client = ctx;

    if (client->state != CLIENT_CONNECTED)
        return;
    tg_wire_feed(client->wire, data, len);
    flush(client);
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

    if (err == TG_ERR_PROTO && !tg_wire_end(client->wire)->clean)
        fail_tls(client, why);
    else
        tg_wire_ended(client->wire, err, why);
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
    static const struct tg_wire_callbacks callbacks = {on_wire_open, on_wire_message,
                                                       on_wire_closing, on_wire_over};
    struct tg_wire_options options = {
        .authority = client->url.authority,
        .target = client->url.target,
        .headers = client->headers,
        .subprotocol = client->subprotocol,
        .compress = client->compress,
    };
    enum tg_err err = tg_wire_create(&client->wire, &options, &callbacks, client);

    if (err == TG_ERR_OK)
        err = tg_stream_read_start(client->stream);
    if (err != TG_ERR_OK) {
        fail(client, tg_err_text(err));
        return;
    }
    client->state = CLIENT_CONNECTED;
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
    client->compress = options->compress;
    client->headers = tg_xstrdup(options->headers);
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
    if (client->state != CLIENT_CONNECTED)
        return;
    tg_wire_send(client->wire, true, text, len);
    flush(client);
}

void tg_client_close(struct tg_client *client, int code)
{
    if (client->state == CLIENT_RESOLVING)
        (void)uv_cancel(
            (uv_req_t *)&client->resolver); /* too late to cancel: its answer is ignored */
    if (client->state == CLIENT_CONNECTED && tg_wire_state(client->wire) != TG_WIRE_UPGRADING)
        tg_wire_close(client->wire, code, "");
    else
        fail(client, "given up");
}

void tg_client_destroy(struct tg_client *client)
{
    if (client == NULL)
        return;
    assert(client->state == CLIENT_OVER);
    uv_freeaddrinfo(client->addresses);
    tg_wire_destroy(client->wire);
    tg_tls_config_release(client->tls);
    tg_free(client->headers);
    tg_free(client);
}
