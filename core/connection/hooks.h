/* hooks.h - what the layers above a connection must provide: policy decisions and agent runs.
 *
 * The connection asks, in its own order and one at a time; the upper layer answers each question
 * exactly once with tg_conn_hook_done, at once or later, unless it was cancelled. The connection
 * never learns that a script is behind it.
 */
#ifndef TG_CONNECTION_HOOKS_H
#define TG_CONNECTION_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "connection/state.h"

struct tg_conn;

/* name in Lua */
#define TG_HOOK_MAP(X)                                                                             \
    X(UPGRADE, "upgrade")                                                                          \
    X(AUTHENTICATE, "authenticate")                                                                \
    X(REAUTHENTICATE, "reauthenticate")                                                            \
    X(CREATE_CONTEXT, "create_context")                                                            \
    X(PREPARE, "prepare")                                                                          \
    X(ROUTE, "route")                                                                              \
    X(MESSAGE, "message")                                                                          \
    X(BINARY, "binary")                                                                            \
    X(TEXT, "text")                                                                                \
    X(CLOSED, "closed")                                                                            \
    X(MIGRATE, "migrate") /* asked by the upper layer on its own; the connection never does */

enum tg_hook {
#define X(name, text) TG_HOOK_##name,
    TG_HOOK_MAP(X)
#undef X
        TG_HOOKS
};
extern const char *const tg_hook_names[TG_HOOKS];

/* How a hook ended. Everything but OK means no for a hook that decides. */
#define TG_HOOK_OUTCOME_MAP(X)                                                                     \
    X(OK, "ok")                   /* it answered; see verdict */                                   \
    X(DENIED, "denied")           /* nil, "why" or tide.reject: the policy said no */              \
    X(ERROR, "error")             /* it raised */                                                  \
    X(CPU_BUDGET, "cpu_budget")   /* it computed too long without waiting */                       \
    X(WALL_BUDGET, "wall_budget") /* it took too long in all */                                    \
    X(MEMORY, "memory")           /* the script state ran out of memory */                         \
    X(BAD_RESULT, "bad_result")   /* it returned something of the wrong shape */                   \
    X(CANCELLED, "cancelled")     /* counted by the upper layer; never reported to the connection */

enum tg_hook_outcome {
#define X(name, text) TG_HOOK_##name##_OUTCOME,
    TG_HOOK_OUTCOME_MAP(X)
#undef X
        TG_HOOK_OUTCOMES
};
extern const char *const tg_hook_outcome_names[TG_HOOK_OUTCOMES];

enum tg_hook_verdict {
    TG_VERDICT_YES,
    TG_VERDICT_NEED_MESSAGE, /* authenticate: ask again with the client's authenticate message */
    TG_VERDICT_DEGRADED      /* prepare: works, but something is missing */
};

/* Borrowed until hook_start returns. */
struct tg_hook_input {
    const char *
        data; /* route, message, (re)authenticate: the JSON document, or NULL; text, binary: bytes */
    size_t len;
    /* closed only */
    int close_code;
    const char *close_reason;
    bool clean;
    enum tg_state state; /* the state the connection ended in, or was in when it began to close */
};

/* Plain data as script/plain encodes it; opaque here. */
struct tg_blob {
    const uint8_t *data; /* NULL: none */
    size_t len;
};

/* Borrowed until tg_conn_hook_done returns; unused fields are zero. */
struct tg_hook_result {
    enum tg_hook_outcome outcome;
    enum tg_hook_verdict verdict;
    const char *reason; /* why denied, degraded or failed; for people; NULL when none */
    int status; /* upgrade denied: HTTP status; other hooks denied: close code; 0: the default */
    const char
        *code; /* authenticate, reauthenticate: the denial's reason in one word; NULL: none */
    const char
        *offered_id;     /* a connection_id in what the hook returned, right or wrong; NULL: none */
    const char *user_id; /* authenticate, reauthenticate */
    double expires_at;   /* unix seconds; 0: never */
    struct tg_blob identity;
    struct tg_blob context; /* create_context */
    const char *agent;      /* route: NULL leaves the choice to the core's default */
    struct tg_blob input;   /* route's second result */
};

/* One agent run to start; borrowed until run_start returns. */
struct tg_run_request {
    const char *agent;
    struct tg_blob input;   /* as route gave it, or data NULL: use input_json */
    const char *input_json; /* message.data as JSON */
    size_t input_json_len;
    const char *request_id; /* the client's `id` as JSON, NULL when none */
    size_t request_id_len;
};

enum tg_runs_end_why { TG_RUNS_CONNECTION_LOST, TG_RUNS_DRAIN };

struct tg_conn_upper {
    void *host; /* borrowed; first argument of each */
    bool (*hook_defined)(void *host, enum tg_hook hook);
    /* Never called while another hook of the same connection is under way. May answer before it
     * returns. */
    void (*hook_start)(void *host, struct tg_conn *conn, enum tg_hook hook,
                       const struct tg_hook_input *input);
    /* No answer is wanted any more; none must come. */
    void (*hook_cancel)(void *host, struct tg_conn *conn);
    /* TG_ERR_NOT_FOUND: no such agent. TG_ERR_LIMIT: too many runs. TG_ERR_INVALID: no agent named and
     * no default (the policy has several). */
    enum tg_err (*run_start)(void *host, struct tg_conn *conn,
                             const struct tg_run_request *request);
    enum tg_err (*run_cancel)(void *host, struct tg_conn *conn, const char *run_id);
    /* The connection is over: end or detach its runs. tg_conn_runs() is 0 afterwards. */
    void (*runs_end)(void *host, struct tg_conn *conn);
    /* A last look: its memory goes next. NULL: nobody looks. */
    void (*conn_over)(void *host, const struct tg_conn *conn);
};

/* The answer to hook_start. Ignored (and harmless) when the connection does not wait for `hook`. */
void tg_conn_hook_done(struct tg_conn *conn, enum tg_hook hook,
                       const struct tg_hook_result *result);

#endif
