/* http_client.h - an HTTP client on a loop: requests go out, answers come in by callbacks.
 *
 * A client is a table of functions, so that scripts can be given another one than the network's: the
 * one of http_client_curl.c is libcurl on a worker's loop, tests of policies bring one of their own.
 *
 *     start ─> on_head ─> on_data … ─> on_done          [pause] no callback ─[resume]─> they go on
 *       └──────────────────────────────> on_done        [cancel] no callback any more
 *
 * I1  on_done comes exactly once for every fetch that was not cancelled, and is the last: after it
 *     the fetch is gone and its pointer must not be used, by cancel neither.
 * I2  on_head comes at most once, before any on_data, and for the final answer only: not for 1xx, not
 *     for a redirect that is followed.
 * I3  No callback runs inside start, pause, resume or cancel; they come from the loop. Any of the four
 *     may be called inside any callback, for this fetch or another.
 * I4  An answer of any status is an answer: TG_FETCH_OK. Failures are those below.
 *
 * Loop thread only. Nothing here is logged; the texts of failures name host and port and never a
 * path, a query, a header or a body.
 */
#ifndef TG_NET_HTTP_CLIENT_H
#define TG_NET_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct uv_loop_s;
struct tg_timers;

/* How a fetch ended: name, the short text that scripts get, meaning. A closed set. */
#define TG_FETCH_OUTCOME_MAP(X)                                                                    \
    X(OK, "ok")               /* the whole answer is there */                                      \
    X(REFUSED, "refused")     /* nobody listens there */                                           \
    X(RESOLVE, "resolve")     /* the name has no address */                                        \
    X(CONNECT, "connect")     /* no connection, for another reason */                              \
    X(TIMEOUT, "timeout")     /* connecting, the whole, or a pause took too long */                \
    X(TLS, "tls")             /* handshake or certificate */                                       \
    X(TOO_LARGE, "too_large") /* body or headers over their limit */                               \
    X(REDIRECTS, "redirects") /* more than redirects_max */                                        \
    X(FORBIDDEN, "forbidden") /* an address, host, or redirect that is not allowed */              \
    X(PROTOCOL, "protocol")   /* not HTTP, or broken */                                            \
    X(RESET, "reset")         /* the connection was lost in the middle */                          \
    X(CLOSED, "closed")       /* given up by our side: the server stops, memory is out */          \
    X(INVALID, "invalid")     /* no URL that can be fetched */

enum tg_fetch_outcome {
#define X(name, text) TG_FETCH_##name,
    TG_FETCH_OUTCOME_MAP(X)
#undef X
        TG_FETCH_OUTCOMES
};
extern const char *const tg_fetch_outcome_names[TG_FETCH_OUTCOMES];

/* Names and values are NUL-terminated and hold no control characters, CR and LF above all. */
struct tg_fetch_header {
    const char *name;
    const char *value;
};

/* All of it is copied by start. Zero-initialise, then set what is needed. */
struct tg_fetch_request {
    const char *method;                    /* "GET", …; upper case */
    const char *url;                       /* http:// or https://, without user and password */
    const struct tg_fetch_header *headers; /* credentials are headers, too */
    size_t header_count;
    const void *body; /* NULL: none */
    size_t body_len;
    uint64_t connect_timeout_ms; /* 0: the total timeout only */
    uint64_t timeout_ms;         /* from start to on_done, redirects included; 0: none */
    uint64_t idle_timeout_ms;    /* longest time without a byte from the server, pauses of ours
                                  * apart; 0: none */
    uint64_t redirects_max; /* followed for GET and HEAD; 0: a redirect is an answer like others */
    uint64_t response_max;  /* bytes of the body, decoded; 0: no limit (it is read with pauses) */
    bool stream;            /* ask for the body as it is, since it is read piece by piece */
    bool insecure;          /* do not verify the server's certificate */
    const char *ca_file;    /* NULL: the client's */
};

/* Borrowed until the callback returns. */
struct tg_fetch_head {
    int status;
    const char *version; /* "1.0", "1.1", "2" */
    const char *url;     /* of this answer: the request's, or the last redirect's */
    const struct tg_fetch_header
        *headers; /* names in lower case, in order, repeated as they came */
    size_t header_count;
};

struct tg_fetch_callbacks {
    void (*on_head)(void *ctx, const struct tg_fetch_head *head);
    /* Decoded; len > 0. */
    void (*on_data)(void *ctx, const void *data, size_t len);
    /* `text` is for people: "127.0.0.1:9: connection refused"; "" for TG_FETCH_OK. Borrowed. */
    void (*on_done)(void *ctx, enum tg_fetch_outcome outcome, const char *text);
};

struct tg_http_client_ops;

/* First member of an implementation's own struct. */
struct tg_http_client {
    const struct tg_http_client_ops *ops; /* static */
};

/* First member of an implementation's own struct. Owned by its client. */
struct tg_fetch {
    struct tg_http_client *client; /* borrowed; outlives the fetch */
};

struct tg_http_client_ops {
    /* TG_ERR_NOMEM: nothing was begun. Every other failure comes by on_done. `callbacks` is static. */
    enum tg_err (*start)(struct tg_http_client *client, const struct tg_fetch_request *request,
                         const struct tg_fetch_callbacks *callbacks, void *ctx,
                         struct tg_fetch **out);
    /* Idempotent; of a request with `stream`. While paused little more than TG_FETCH_WINDOW bytes of the
     * body are held back here; then the server has to wait. */
    void (*pause)(struct tg_fetch *fetch);
    void (*resume)(struct tg_fetch *fetch);
    /* Frees the fetch and closes or reuses its connection. */
    void (*cancel)(struct tg_fetch *fetch);
    /* Cancels every fetch and frees the client; memory that the loop still looks at is freed when
     * the loop has run the close callbacks. */
    void (*destroy)(struct tg_http_client *client);
};

#define TG_FETCH_WINDOW ((size_t)64 << 10)

TG_MUST static inline enum tg_err tg_fetch_start(struct tg_http_client *client,
                                                 const struct tg_fetch_request *request,
                                                 const struct tg_fetch_callbacks *callbacks,
                                                 void *ctx, struct tg_fetch **out)
{
    return client->ops->start(client, request, callbacks, ctx, out);
}

static inline void tg_fetch_pause(struct tg_fetch *fetch)
{
    fetch->client->ops->pause(fetch);
}

static inline void tg_fetch_resume(struct tg_fetch *fetch)
{
    fetch->client->ops->resume(fetch);
}

static inline void tg_fetch_cancel(struct tg_fetch *fetch)
{
    fetch->client->ops->cancel(fetch);
}

/* NULL is allowed. */
static inline void tg_http_client_destroy(struct tg_http_client *client)
{
    if (client != NULL)
        client->ops->destroy(client);
}

/* "api.example:8443" of a URL, for logs and failures: no user, password, path or query. */
#define TG_FETCH_HOST_SIZE 280
void tg_fetch_host(const char *url, char out[TG_FETCH_HOST_SIZE]);

/* --- the client of the network ---------------------------------------------------------------- */

/* Texts and lists are borrowed for the life of the client. */
struct tg_http_client_options {
    uint64_t max_connections;          /* at a time; more fetches wait for one. 0: no limit */
    uint64_t max_connections_per_host; /* 0: no limit */
    const char *ca_file;               /* PEM; NULL or "": the system's CAs */
    bool public_only;                  /* refuse addresses that are not of the public Internet */
    const char *const *allowed_hosts;  /* "api.example", "*.example", each also with :PORT */
    size_t allowed_host_count;         /* 0: any */
};

/* libcurl on `loop`. TG_ERR_NOMEM, or TG_ERR_SYS when libcurl cannot be used. */
TG_MUST enum tg_err tg_http_client_create(struct tg_http_client **out, struct uv_loop_s *loop,
                                          struct tg_timers *timers,
                                          const struct tg_http_client_options *options);

/* allowed_hosts: may this host be asked? host: lower case, no brackets. Text for people when it may not: */
bool tg_fetch_host_allowed(const struct tg_http_client_options *options, const char *host,
                           uint16_t port, bool secure);
#define TG_FETCH_HOST_REFUSED "is not one of http.allowed_hosts"
/* Of a host all of whose addresses public_only refuses: */
#define TG_FETCH_ADDRESS_REFUSED "has no public address (http.private_addresses = false)"

/* "7.88.1", of the libcurl that is loaded. */
const char *tg_http_client_library_version(void);

#endif
