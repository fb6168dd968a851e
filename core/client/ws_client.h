/* ws_client.h - outgoing WebSockets on a loop: connections that scripts open to other servers.
 *
 * A client is a table of functions, as in net/http_client.h and for the same reason: tests of policies bring
 * one of their own. Which servers may be reached, what vouches for them, and how many at a time is said by
 * the options of the HTTP client, once for both.
 *
 *     start ─> on_open ─> on_message, on_written … ─> on_done          [close] no callback any more
 *       └───────────────────────────────────────────> on_done
 *
 * I1  on_done comes exactly once for every link that was not closed, and is the last: after it the link is
 *     gone and its pointer must not be used.
 * I2  No callback runs inside start, send, pause, resume or close; they come from the loop. Any of them may
 *     be called inside any callback.
 * I3  What is sent before close goes out before the close frame.
 *
 * Loop thread only. Nothing here is logged; the texts of failures name host and port and never a path, a
 * query, a header or a message.
 */
#ifndef TG_CLIENT_WS_CLIENT_H
#define TG_CLIENT_WS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "net/http_client.h"

struct tg_net;
struct tg_timers;

/* All of it is copied by start. Times that are 0 are not limited; they mean what they mean in client.h. */
struct tg_ws_request {
    const char *url;                       /* ws:// or wss:// */
    const struct tg_fetch_header *headers; /* as of a fetch */
    size_t header_count;
    const char *subprotocol; /* NULL: none */
    size_t message_max;      /* bytes; 0: TG_WIRE_MESSAGE_MAX */
    uint64_t connect_timeout_ms, idle_timeout_ms, ping_interval_ms;
};

/* Borrowed until on_done returns. */
struct tg_ws_done {
    enum tg_fetch_outcome outcome; /* OK: the close handshake, or an answer that is no upgrade */
    const char *text;              /* for people: "127.0.0.1:9: connection refused" */
    int status;                    /* of an answer that is no upgrade, or 0 */
    int code;           /* of the server's close frame; 1005: it had none; 0: none came */
    const char *reason; /* of the close frame; "" */
};

struct tg_ws_link_callbacks {
    void (*on_open)(void *ctx, const char *subprotocol); /* "" for none */
    void (*on_message)(void *ctx, bool text, const void *data, size_t len);
    void (*on_written)(void *ctx); /* nothing of what was sent waits here any more */
    void (*on_done)(void *ctx, const struct tg_ws_done *done);
};

struct tg_ws_client_ops;

/* First member of an implementation's own struct. */
struct tg_ws_client {
    const struct tg_ws_client_ops *ops; /* static */
};

/* First member of an implementation's own struct. Owned by its client. */
struct tg_ws_link {
    struct tg_ws_client *client; /* borrowed; outlives the link */
};

struct tg_ws_client_ops {
    /* TG_ERR_NOMEM: nothing was begun. Every other failure comes by on_done. `callbacks` is static. */
    enum tg_err (*start)(struct tg_ws_client *client, const struct tg_ws_request *request,
                         const struct tg_ws_link_callbacks *callbacks, void *ctx,
                         struct tg_ws_link **out);
    /* After on_open. TG_ERR_NOMEM: nothing is sent; TG_ERR_CLOSED: it is ending, on_done will say why. *waits:
     * not all is with the kernel, on_written will come. */
    enum tg_err (*send)(struct tg_ws_link *link, bool text, const void *data, size_t len,
                        bool *waits);
    /* After on_open; idempotent. */
    void (*pause)(struct tg_ws_link *link);
    void (*resume)(struct tg_ws_link *link);
    /* From now on; for a link that rests, 0. */
    void (*set_idle_timeout)(struct tg_ws_link *link, uint64_t ms);
    /* With a close frame where it is open. What is left of the close handshake nobody has to wait for. */
    void (*close)(struct tg_ws_link *link, int code, const char *reason);
    /* Drops every link and frees the client, when the loop has run the close callbacks. */
    void (*destroy)(struct tg_ws_client *client);
};

TG_MUST static inline enum tg_err tg_ws_start(struct tg_ws_client *client,
                                              const struct tg_ws_request *request,
                                              const struct tg_ws_link_callbacks *callbacks,
                                              void *ctx, struct tg_ws_link **out)
{
    return client->ops->start(client, request, callbacks, ctx, out);
}

TG_MUST static inline enum tg_err tg_ws_send(struct tg_ws_link *link, bool text, const void *data,
                                             size_t len, bool *waits)
{
    return link->client->ops->send(link, text, data, len, waits);
}

static inline void tg_ws_pause(struct tg_ws_link *link)
{
    link->client->ops->pause(link);
}

static inline void tg_ws_resume(struct tg_ws_link *link)
{
    link->client->ops->resume(link);
}

static inline void tg_ws_set_idle_timeout(struct tg_ws_link *link, uint64_t ms)
{
    link->client->ops->set_idle_timeout(link, ms);
}

static inline void tg_ws_close(struct tg_ws_link *link, int code, const char *reason)
{
    link->client->ops->close(link, code, reason);
}

/* NULL is allowed. */
static inline void tg_ws_client_destroy(struct tg_ws_client *client)
{
    if (client != NULL)
        client->ops->destroy(client);
}

/* --- the client of the network ---------------------------------------------------------------- */

/* options: as those of the HTTP client; texts and lists are borrowed for the life of the client. */
TG_MUST enum tg_err tg_ws_client_create(struct tg_ws_client **out, struct tg_net *net,
                                        struct tg_timers *timers,
                                        const struct tg_http_client_options *options);

#endif
