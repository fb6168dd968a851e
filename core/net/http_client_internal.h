/* http_client_internal.h - what the files of libcurl's HTTP client share.
 *
 *   http_owner.c        what owners do with a fetch, and what they are told
 *   http_fetch.c        one request and its answer: redirects, deadlines, limits
 *   http_client_curl*.c libcurl: the client, transfers, URLs
 *   http_watch.c        sockets on the loop
 *   http_head.c         header lines
 *
 * No callback of libcurl calls an owner: what arrives is kept with the fetch, and told when libcurl has
 * returned (tg__fetches_tell). So owners may start, pause and cancel whatever they like.
 */
#ifndef TG_NET_HTTP_CLIENT_INTERNAL_H
#define TG_NET_HTTP_CLIENT_INTERNAL_H

#include "base/buffer.h"
#include "base/list.h"
#include "net/http_client.h"
#include "net/timer.h"

/* All header lines of one answer. */
#define TG__HEAD_BYTES_MAX ((size_t)64 << 10)
/* Of a redirect's body, which nobody reads; then the connection is given up. */
#define TG__HOP_BYTES_MAX ((size_t)64 << 10)

struct tg__curl_client {
    struct tg_http_client base;
    struct uv_loop_s *loop;   /* borrowed until destroy */
    struct tg_timers *timers; /* borrowed until destroy */
    struct tg_http_client_options options;
    void *multi;                /* owned */
    struct tg_list watches;     /* tg__watch.node; owned */
    struct tg_list fetches;     /* tg__fetch.node; owned */
    struct tg_list ready;       /* tg__fetch.ready: has something to tell */
    struct tg_timer curl_timer; /* when libcurl wants to look again */
    struct tg__kick *kick;      /* owned; for what is to be done in the next round */
    bool turning;               /* owners are about to be told */
    bool given_up;              /* there are fetches with a fault that libcurl does not know */
};

/* Lines of an answer's head as they come. */
struct tg__head {
    struct tg_buffer text; /* "name\0value\0…" */
    size_t count;
    size_t bytes; /* of all lines, of 1xx answers, too */
    int status;   /* 0: no status line yet */
    char version[4];
    bool complete;
};

/* A URL that may be fetched, taken apart. */
struct tg__url {
    char *text;                    /* owned; as it is requested: no user, no password */
    char *host;                    /* owned; lower case, no brackets, IDNs in ASCII */
    char name[TG_FETCH_HOST_SIZE]; /* for people: host, and the port unless it is the scheme's */
    uint16_t port;
    bool https;
};

struct tg__fetch {
    struct tg_fetch base;
    struct tg_list node;  /* client->fetches */
    struct tg_list ready; /* client->ready; unlinked: nothing to tell */
    const struct tg_fetch_callbacks *callbacks;
    void *ctx;

    /* the request */
    char method[16];
    struct tg__url url;
    void *headers; /* owned; libcurl's list */
    void *kept;    /* owned; those of them that go to a foreign origin; NULL until then */
    uint8_t *body; /* owned */
    size_t body_len;
    uint64_t idle_timeout_ms, timeout_ms, response_max, hops_left;
    bool follows; /* redirects of GET and HEAD */
    bool stream;

    /* the transfer */
    void *easy; /* owned; NULL: over */
    char *why;  /* owned; libcurl writes its reason in here */
    struct tg_timer total_timer;
    struct tg_timer idle_timer;
    bool foreign;     /* a redirect left the origin of the request */
    bool held;        /* libcurl was asked to wait: enough is here */
    bool refused;     /* an address that is not public */
    int socket_error; /* errno of socket() */

    /* the answer */
    struct tg__head head;
    bool hop;                  /* it is a redirect, to be followed */
    bool hop_cut;              /* whose body was too long */
    struct tg_buffer received; /* decoded, not told yet */
    uint64_t body_bytes;
    enum tg_fetch_outcome fault; /* why a callback made libcurl stop; OK: it did not */
    bool finished;
    enum tg_fetch_outcome outcome;
    char text[384];

    /* the owner */
    bool paused;
    bool told_head;
    bool telling; /* inside one of its callbacks */
    bool gone;    /* cancelled there: freed when the callback returns */
};

static inline struct tg__curl_client *tg__client_of(const struct tg__fetch *fetch)
{
    return (struct tg__curl_client *)(void *)fetch->base.client;
}

/* --- http_fetch.c ------------------------------------------------------------------------------- */
/* It is over: no transfer, no timer; its owner will be told. Once. */
void tg__fetch_finish(struct tg__fetch *fetch, enum tg_fetch_outcome outcome, const char *why);
void tg__fetch_release(struct tg__fetch *fetch); /* frees it, whatever its state */
/* There is something to tell. */
void tg__fetch_make_ready(struct tg__fetch *fetch);
TG_MUST enum tg_err tg__fetch_start_timers(struct tg__fetch *fetch);
TG_MUST enum tg_err tg__fetch_restart_idle_timer(struct tg__fetch *fetch);
void tg__fetch_stop_timers(struct tg__fetch *fetch);
/* Goes to fetch->url, unless it may not: that is told like any failure. */
TG_MUST enum tg_err tg__fetch_begin(struct tg__fetch *fetch);
/* From libcurl's callbacks. False: stop; fault says why. */
bool tg__fetch_take_line(struct tg__fetch *fetch, const char *line, size_t len);
bool tg__fetch_take_body(struct tg__fetch *fetch, const char *data, size_t len);
/* The transfer has ended, well or not. Outside libcurl; may begin the next hop. */
void tg__fetch_end_of_transfer(struct tg__fetch *fetch, enum tg_fetch_outcome outcome,
                               const char *why);

/* --- http_owner.c ------------------------------------------------------------------------------- */
extern const struct tg_http_client_ops tg__fetch_ops;
/* Tells owners what there is. After each entry into libcurl. */
void tg__fetches_tell(struct tg__curl_client *client);

/* --- http_client_curl.c ------------------------------------------------------------------------- */
/* Prepares the handle; everything but the URL. TG_ERR_NOMEM: nothing is left. */
TG_MUST enum tg_err tg__transfer_open(struct tg__fetch *fetch,
                                      const struct tg_fetch_request *request);
/* Goes to fetch->url. */
TG_MUST enum tg_err tg__transfer_begin(struct tg__fetch *fetch);
/* Ends what is under way; the handle stays for the next hop. */
void tg__transfer_stop(struct tg__fetch *fetch);
void tg__transfer_close(struct tg__fetch *fetch); /* idempotent */
void tg__transfer_hold(struct tg__fetch *fetch);
void tg__transfer_release(struct tg__fetch *fetch);
/* A socket is ready (or -1: it is time); then tells owners. */
void tg__client_turn(struct tg__curl_client *client, int fd, bool readable, bool writable);
void tg__client_close_multi(struct tg__curl_client *client);

/* `base` NULL: `text` is absolute. TG_ERR_INVALID: no http or https URL, or one with a password. */
TG_MUST enum tg_err tg__url_parse(struct tg__url *out, const char *base, const char *text);
void tg__url_fini(struct tg__url *url);

/* --- http_watch.c ------------------------------------------------------------------------------- */
struct tg__watch; /* one socket on the loop */
/* NULL when memory is out. */
struct tg__watch *tg__watch_create(struct tg__curl_client *client, int fd);
void tg__watch_want(struct tg__watch *watch, bool read, bool write);
void tg__watch_close(struct tg__watch *watch);
struct tg__watch *tg__watch_at(struct tg_list *node); /* of client->watches */
/* A turn in the next round of the loop, before it polls: sooner than a timer, and other sockets have
 * theirs first. */
struct tg__kick;
struct tg__kick *tg__kick_create(struct tg__curl_client *client); /* NULL when memory is out */
void tg__kick_start(struct tg__kick *kick);                       /* idempotent */
void tg__kick_close(struct tg__kick *kick);                       /* NULL is allowed */

/* --- http_head.c -------------------------------------------------------------------------------- */
void tg__head_fini(struct tg__head *head);
void tg__head_reset(struct tg__head *head);
/* One line with its end. TG_ERR_LIMIT: too many bytes; TG_ERR_NOMEM. */
TG_MUST enum tg_err tg__head_add(struct tg__head *head, const char *line, size_t len);
/* The first header of that name, or NULL. */
const char *tg__head_find(const struct tg__head *head, const char *name);
/* The headers as a list, to be freed; NULL when memory is out (never for none). */
struct tg_fetch_header *tg__head_list(const struct tg__head *head);

#endif
