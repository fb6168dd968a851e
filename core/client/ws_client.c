/* ws_client.c - outgoing WebSockets over the network: the rules of the configuration, around client.c.
 *
 *   start ─> client ─> on_done, freed          [close] client ends by itself ─> freed
 *      └─[not allowed, no URL, no CA, too many]─> told by the loop ─> freed
 *
 * I1  A link whose owner has closed it has no callbacks any more, and goes when its client has ended.
 * I2  What is refused before there is a client is told by a timer, so that nothing is told inside start.
 */
#include "client/ws_client.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "base/list.h"
#include "base/memory.h"
#include "client/client.h"
#include "net/stream.h"
#include "net/timer.h"
#include "net/tls_config.h"

#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"
#define USER_AGENT "User-Agent: tidegate/" TG_VERSION "\r\n"

struct ws_client {
    struct tg_ws_client base;
    struct tg_net *net;       /* borrowed until destroy */
    struct tg_timers *timers; /* borrowed until destroy */
    struct tg_http_client_options options;
    struct tg_tls_config *tls; /* counted; read when first needed */
    struct tg_list links;      /* link.node; owned */
    size_t count;
};

struct link {
    struct tg_ws_link base;
    struct tg_list node;
    const struct tg_ws_link_callbacks *callbacks; /* NULL: its owner has closed it */
    void *ctx;
    char host[TG_FETCH_HOST_SIZE]; /* for people, and to count them */
    struct tg_client *client;      /* owned; NULL: refused before there was one */
    struct tg_timer refusal;
    enum tg_fetch_outcome outcome; /* of the refusal */
    char why[256];
};

static struct ws_client *client_of(const struct link *link)
{
    return TG_CONTAINER_OF(link->base.client, struct ws_client, base);
}

static struct link *link_of(struct tg_ws_link *base)
{
    return TG_CONTAINER_OF(base, struct link, base);
}

static void free_link(struct link *link)
{
    struct ws_client *client = client_of(link);

    tg_list_remove(&link->node);
    client->count--;
    tg_timer_stop(client->timers, &link->refusal);
    tg_client_destroy(link->client);
    tg_free(link);
}

/* --- from the client ------------------------------------------------------------------------------ */

static void on_open(void *ctx)
{
    struct link *link = ctx;

    if (link->callbacks != NULL)
        link->callbacks->on_open(link->ctx, tg_client_subprotocol(link->client));
}

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
    struct link *link = ctx;

    if (link->callbacks != NULL)
        link->callbacks->on_message(link->ctx, text, data, len);
}

static void on_written(void *ctx)
{
    struct link *link = ctx;

    if (link->callbacks != NULL)
        link->callbacks->on_written(link->ctx);
}

static void tell_done(struct link *link, const struct tg_ws_done *done)
{
    const struct tg_ws_link_callbacks *callbacks = link->callbacks;

    link->callbacks = NULL;
    if (callbacks != NULL)
        callbacks->on_done(link->ctx, done);
    free_link(link);
}

/* What client.c says of these begins with host and port. */
static bool says_host(enum tg_fetch_outcome outcome)
{
    return outcome == TG_FETCH_REFUSED || outcome == TG_FETCH_CONNECT ||
           outcome == TG_FETCH_RESOLVE || outcome == TG_FETCH_FORBIDDEN;
}

static void on_end(void *ctx, const struct tg_client_end *end)
{
    struct link *link = ctx;
    char text[TG_FETCH_HOST_SIZE + 520];
    bool clean = end->outcome == TG_FETCH_OK && end->status == 0;

    if (end->status != 0)
        (void)snprintf(text, sizeof text, "%s: answered HTTP %d", link->host, end->status);
    else if (clean)
        (void)snprintf(text, sizeof text, "%s: closed with %d", link->host, end->code);
    else if (says_host(end->outcome))
        (void)snprintf(text, sizeof text, "%s", end->reason);
    else
        (void)snprintf(text, sizeof text, "%s: %s", link->host, end->reason);
    struct tg_ws_done done = {
        .outcome = end->outcome,
        .text = text,
        .status = end->status,
        .code = end->code,
        .reason = clean ? end->reason : "",
    };
    tell_done(link, &done);
}

/* --- beginning ------------------------------------------------------------------------------------ */

static void on_refusal(struct tg_timer *timer)
{
    struct link *link = TG_CONTAINER_OF(timer, struct link, refusal);
    char text[TG_FETCH_HOST_SIZE + 260];
    struct tg_ws_done done = {.outcome = link->outcome, .text = text, .reason = ""};

    (void)snprintf(text, sizeof text, "%s: %s", link->host, link->why);
    tell_done(link, &done);
}

static enum tg_err refuse(struct link *link, enum tg_fetch_outcome outcome, const char *why)
{
    link->outcome = outcome;
    (void)snprintf(link->why, sizeof link->why, "%.*s", (int)sizeof link->why - 1, why);
    return tg_timer_start(client_of(link)->timers, &link->refusal, 0, on_refusal);
}

static size_t count_to(const struct ws_client *client, const char *host)
{
    size_t count = 0;

    TG_LIST_EACH (node, next, &client->links) {
        count += strcmp(TG_CONTAINER_OF(node, struct link, node)->host, host) == 0;
    }
    return count;
}

/* NULL: there is room for one more; the link itself is counted already. */
static const char *no_room(const struct ws_client *client, const char *host)
{
    const struct tg_http_client_options *options = &client->options;

    if (options->max_connections != 0 && client->count > options->max_connections)
        return "as many WebSockets are open as there may be (http.max_connections)";
    if (options->max_connections_per_host != 0 &&
        count_to(client, host) > options->max_connections_per_host)
        return "as many WebSockets are open to it as there may be (http.max_connections_per_host)";
    return NULL;
}

static void to_lower(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text + ('a' - 'A'));
    }
}

static enum tg_err read_tls(struct ws_client *client, struct tg_error *error)
{
    const char *file = client->options.ca_file;
    struct tg_tls_client_options options = {
        .ca = file == NULL || file[0] == '\0' ? SYSTEM_CA : file,
    };

    if (client->tls != NULL)
        return TG_ERR_OK;
    return tg_tls_config_create_client(&client->tls, &options, error);
}

/* "Name: value\r\n"…, which nothing can break out of: names and values hold no control characters. */
static enum tg_err write_headers(const struct tg_ws_request *request, struct tg_buffer *out)
{
    enum tg_err err = TG_ERR_OK;
    bool own_agent = false;

    for (size_t i = 0; err == TG_ERR_OK && i < request->header_count; i++) {
        err = tg_buffer_printf(out, "%s: %s\r\n", request->headers[i].name,
                               request->headers[i].value);
        own_agent = own_agent || strcasecmp(request->headers[i].name, "user-agent") == 0;
    }
    if (err == TG_ERR_OK && !own_agent)
        err = tg_buffer_append_str(out, USER_AGENT);
    return err == TG_ERR_OK ? tg_buffer_append(out, "", 1) : err;
}

static enum tg_err begin(struct link *link, const struct tg_ws_request *request,
                         const struct tg_ws_url *url)
{
    static const struct tg_client_callbacks callbacks = {on_open, on_message, on_written, on_end};
    struct ws_client *client = client_of(link);
    struct tg_buffer headers = TG_BUFFER_INIT;
    struct tg_client_options options = {
        .url = url,
        .subprotocol = request->subprotocol,
        .tls = url->secure ? client->tls : NULL,
        .public_only = client->options.public_only,
        .message_max = request->message_max,
        .connect_timeout_ms = request->connect_timeout_ms,
        .idle_timeout_ms = request->idle_timeout_ms,
        .ping_interval_ms = request->ping_interval_ms,
    };
    enum tg_err err = write_headers(request, &headers);

    if (err == TG_ERR_OK) {
        options.headers = (const char *)tg_buffer_head(&headers);
        err = tg_client_create(&link->client, client->net, client->timers, &options, &callbacks,
                               link);
    }
    tg_buffer_fini(&headers);
    if (err == TG_ERR_LIMIT)
        return refuse(link, TG_FETCH_RESOLVE, "too many names are being looked up");
    return err;
}

static enum tg_err go(struct link *link, const struct tg_ws_request *request)
{
    struct ws_client *client = client_of(link);
    struct tg_ws_url url;
    struct tg_error error;

    if (tg_ws_url_parse(request->url, &url, &error) != TG_ERR_OK)
        return refuse(link, TG_FETCH_INVALID, error.text);
    to_lower(url.host);
    if (!tg_fetch_host_allowed(&client->options, url.host, url.port, url.secure))
        return refuse(link, TG_FETCH_FORBIDDEN, TG_FETCH_HOST_REFUSED);
    const char *why = no_room(client, link->host);
    if (why != NULL)
        return refuse(link, TG_FETCH_CONNECT, why);
    if (url.secure && read_tls(client, &error) != TG_ERR_OK)
        return refuse(link, TG_FETCH_TLS, error.text);
    return begin(link, request, &url);
}

static enum tg_err start(struct tg_ws_client *base, const struct tg_ws_request *request,
                         const struct tg_ws_link_callbacks *callbacks, void *ctx,
                         struct tg_ws_link **out)
{
    struct ws_client *client = TG_CONTAINER_OF(base, struct ws_client, base);
    struct link *link = tg_calloc(1, sizeof *link);

    if (link == NULL)
        return TG_ERR_NOMEM;
    link->base.client = base;
    link->callbacks = callbacks;
    link->ctx = ctx;
    tg_fetch_host(request->url, link->host);
    tg_list_push(&client->links, &link->node);
    client->count++;
    enum tg_err err = go(link, request);
    if (err != TG_ERR_OK) {
        free_link(link);
        return TG_ERR_NOMEM;
    }
    *out = &link->base;
    return TG_ERR_OK;
}

/* --- under way ------------------------------------------------------------------------------------ */

static enum tg_err send_message(struct tg_ws_link *base, bool text, const void *data, size_t len,
                                bool *waits)
{
    struct link *link = link_of(base);
    enum tg_err err =
        link->client == NULL ? TG_ERR_CLOSED : tg_client_send(link->client, text, data, len);

    *waits = err == TG_ERR_OK && tg_client_unwritten(link->client) > 0;
    return err;
}

static void pause_link(struct tg_ws_link *base)
{
    tg_client_pause(link_of(base)->client);
}

static void resume_link(struct tg_ws_link *base)
{
    tg_client_resume(link_of(base)->client);
}

static void set_idle_timeout(struct tg_ws_link *base, uint64_t ms)
{
    tg_client_set_idle_timeout(link_of(base)->client, ms);
}

static void close_link(struct tg_ws_link *base, int code, const char *reason)
{
    struct link *link = link_of(base);

    link->callbacks = NULL;
    if (link->client == NULL)
        free_link(link);
    else
        tg_client_close(link->client, code, reason); /* on_end frees the link */
}

static void destroy(struct tg_ws_client *base)
{
    struct ws_client *client = TG_CONTAINER_OF(base, struct ws_client, base);
    struct tg_list *node;

    while ((node = tg_list_first(&client->links)) != NULL)
        free_link(TG_CONTAINER_OF(node, struct link, node));
    tg_tls_config_release(client->tls);
    tg_free(client);
}

enum tg_err tg_ws_client_create(struct tg_ws_client **out, struct tg_net *net,
                                struct tg_timers *timers,
                                const struct tg_http_client_options *options)
{
    static const struct tg_ws_client_ops ops = {
        start, send_message, pause_link, resume_link, set_idle_timeout, close_link, destroy};
    struct ws_client *client = tg_calloc(1, sizeof *client);

    if (client == NULL)
        return TG_ERR_NOMEM;
    client->base.ops = &ops;
    client->net = net;
    client->timers = timers;
    client->options = *options;
    tg_list_init(&client->links);
    *out = &client->base;
    return TG_ERR_OK;
}
