/* backend.h - what a simulated host can do, as the testing library needs it: a table of functions that
 * app/ fills in (app/simulation.h), since scripts know nothing of loops and workers.
 *
 * Time stands still and nothing moves but inside `advance`. One thread.
 */
#ifndef TG_SCRIPT_TESTING_BACKEND_H
#define TG_SCRIPT_TESTING_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "connection/connection.h"
#include "net/http_client.h"
#include "script/config_file.h"
#include "script/policy/source.h"

struct tg_sim;

enum tg_sim_rest {
    TG_SIM_QUIET, /* nothing more happens at this moment */
    TG_SIM_WANTS_HTTP, /* the policy waits for others: next_fetch, answer, next_websocket, answer_websocket */
    TG_SIM_RESTLESS /* it goes on for ever */
};

/* An upgrade request. Borrowed for the call. */
struct tg_sim_connect {
    const char *target;       /* "/path?query" */
    const char *headers;      /* "Name: value\r\n"… */
    const char *subprotocols; /* NULL: none */
    const char *remote;       /* "203.0.113.7:4711"; NULL: one on this machine */
    bool tls;
    const char *certificate; /* of the client, as JSON; NULL: none */
    bool compress;
};

/* What is known of a connection, from both of its ends; of one that is over, as it was last. Borrowed until
 * the next call. */
struct tg_sim_facts {
    const char *state; /* name; "refused" when it never became a connection */
    char id[TG_CONN_ID_SIZE];
    uint64_t serial;
    const char *user_id; /* NULL: not authenticated */
    struct tg_blob identity, context, session;
    const char *policy_version;
    const struct tg_lifecycle *lifecycle; /* NULL: there was none */
    int status;                           /* of the answer to the upgrade; 0: none yet */
    const struct tg_buffer *body;         /* of a refusal, or NULL */
    bool over;                            /* to the client */
    int close_code;                       /* that the client got; 0: none */
    const char *close_reason; /* what the client got, or what became of it; NULL: nothing yet */
};

/* A piece of an answer, `delay_ms` after the piece before it. Borrowed for the call. */
enum tg_sim_piece_kind { TG_SIM_HEAD, TG_SIM_DATA, TG_SIM_DONE };
struct tg_sim_piece {
    enum tg_sim_piece_kind kind;
    uint64_t delay_ms;
    int status;                            /* HEAD */
    const struct tg_fetch_header *headers; /* HEAD */
    size_t header_count;
    const void *data; /* DATA */
    size_t len;
    enum tg_fetch_outcome outcome; /* DONE */
    bool binary;                   /* DATA, of a WebSocket */
    int code;                      /* DONE with TG_FETCH_OK, of a WebSocket: of its close frame */
};

/* What a policy does with a WebSocket to another server. Borrowed until the next call. */
enum tg_sim_ws_kind { TG_SIM_WS_OPENED, TG_SIM_WS_SENT, TG_SIM_WS_CLOSED };
struct tg_sim_ws_news {
    enum tg_sim_ws_kind kind;
    size_t number;                          /* of the WebSocket, from 1 */
    const struct tg_fetch_request *request; /* OPENED: URL and headers */
    bool text;                              /* SENT */
    const void *data;                       /* SENT */
    size_t len;
    int code; /* CLOSED */
};

/* What becomes of a process that the policy starts. Borrowed until the next call. */
enum tg_sim_process_kind {
    TG_SIM_PROCESS_STARTED, /* data: "argument\0…\0NAME=value\0…", an empty one between them */
    TG_SIM_PROCESS_WRITTEN, /* data: what it was sent */
    TG_SIM_PROCESS_CLOSED   /* nobody needs it any more */
};
struct tg_sim_process_news {
    enum tg_sim_process_kind kind;
    size_t number; /* of the process, from 1 */
    const void *data;
    size_t len;
};
/* What it does, `delay_ms` after what it did before. Borrowed for the call. */
struct tg_sim_act {
    uint64_t delay_ms;
    const char *line; /* it writes that; NULL: it ends */
    size_t len;
    int status; /* of its end; below 0: a signal */
};

struct tg_testing_backend {
    /* Not started: set takes one value of the configuration, start makes all that it says. wall_ms 0: what the
     * clock says now. */
    enum tg_err (*create)(struct tg_sim **out, uint64_t wall_ms, struct tg_error *error);
    enum tg_err (*set)(struct tg_sim *sim, const struct tg_config_leaf *leaf,
                       struct tg_error *error);
    enum tg_err (*start)(struct tg_sim *sim, struct tg_error *error);
    void (*destroy)(struct tg_sim *sim);

    enum tg_err (*load)(struct tg_sim *sim, struct tg_source *source, struct tg_error *error);
    enum tg_err (*rollback)(struct tg_sim *sim, struct tg_error *error);
    const char *(*version)(const struct tg_sim *sim);
    void (*drain)(struct tg_sim *sim);

    /* Until everything is at rest, and so with each deadline in the time to come. *left_ms: how much of it is
     * left when it stopped early, to answer an HTTP request. */
    enum tg_sim_rest (*advance)(struct tg_sim *sim, uint64_t ms, uint64_t *left_ms);
    uint64_t (*wall_ms)(const struct tg_sim *sim);

    /* Clients have numbers, from 1. The request is on its way when it returns. */
    enum tg_err (*connect)(struct tg_sim *sim, const struct tg_sim_connect *options, size_t *number,
                           struct tg_error *error);
    void (*facts)(struct tg_sim *sim, size_t number, struct tg_sim_facts *out);
    /* i-th header of the answer to the upgrade; false: there are no more. */
    bool (*header)(struct tg_sim *sim, size_t number, size_t i, const char **name,
                   const char **value);
    /* False: it is not open. */
    bool (*send)(struct tg_sim *sim, size_t number, bool text, const void *data, size_t len);
    bool (*close)(struct tg_sim *sim, size_t number, int code, const char *reason);
    void (*drop)(struct tg_sim *sim, size_t number);
    /* From now on the client reads nothing, and the network takes so much for it. */
    void (*stall)(struct tg_sim *sim, size_t number, size_t window);
    void (*resume)(struct tg_sim *sim, size_t number);
    /* The next message that the client has got; false: none. *text: or binary. Fills an empty buffer. */
    bool (*take)(struct tg_sim *sim, size_t number, bool *text, struct tg_buffer *out);

    /* A request that nobody has looked at; 0: none. It waits for answers by its number; answers to one that is
     * over are dropped. */
    size_t (*next_fetch)(struct tg_sim *sim, const struct tg_fetch_request **request);
    enum tg_err (*answer)(struct tg_sim *sim, size_t number, const struct tg_sim_piece *piece);
    /* The same for WebSockets that the policy opens; false: there is no news. A HEAD with status 101 opens
     * one, each DATA is a message, DONE ends it. */
    bool (*next_websocket)(struct tg_sim *sim, struct tg_sim_ws_news *out);
    enum tg_err (*answer_websocket)(struct tg_sim *sim, size_t number,
                                    const struct tg_sim_piece *piece);

    /* And for processes that it starts. What is played for one that is over is dropped. */
    bool (*next_process)(struct tg_sim *sim, struct tg_sim_process_news *out);
    enum tg_err (*play_process)(struct tg_sim *sim, size_t number, const struct tg_sim_act *act);

    enum tg_err (*metrics)(struct tg_sim *sim, struct tg_buffer *out); /* Prometheus text */
    /* The i-th log line since the start, JSON; NULL: there are no more. */
    const char *(*log_line)(const struct tg_sim *sim, size_t i);
};

#endif
