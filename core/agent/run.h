/* run.h - one agent run: the order of its events, enforced whatever the agent does.
 *
 *     started ──> (thinking | delta | tool_executing … tool_completed)* ──> completed | error
 *
 * I1  agent_started is the first event and is sent by tg_run_create.
 * I2  Exactly one terminal event, and nothing after it.
 * I3  Every tool_executing is answered by a tool_completed before the terminal event; the run closes
 *     open ones with an error.
 * I4  A run may call others (its children). They end before it does: the terminal event of a run comes
 *     after those of all that it called. A child is of no connection but through its outermost parent.
 * I5  A run belongs to one connection; when that is over, so is the run, or it goes on unheard, as
 *     the option says. An unheard run's events are dropped.
 *
 * Owned by tg_runs; freed by tg_run_release after its terminal event.
 */
#ifndef TG_AGENT_RUN_H
#define TG_AGENT_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "connection/connection.h"

struct tg_quota;
struct tg_run;
struct tg_runs; /* all runs of one worker */

#define TG_RUN_ID_SIZE 40
#define TG_RUN_ID_PREFIX "run_"
#define TG_RUN_DEPTH_MAX 8 /* runs inside each other, the client's included */

/* The texts of tidegate_run_outcomes_total. */
#define TG_RUN_OUTCOME_MAP(X)                                                                      \
    X(COMPLETED, "completed")                                                                      \
    X(FAILED, "failed")                                                                            \
    X(CANCELLED, "cancelled")                                                                      \
    X(TIMEOUT, "timeout")                                                                          \
    X(BUDGET, "budget")                                                                            \
    X(LOST, "connection_lost")

enum tg_run_outcome {
#define X(name, text) TG_RUN_##name##_OUTCOME,
    TG_RUN_OUTCOME_MAP(X)
#undef X
        TG_RUN_OUTCOMES
};
extern const char *const tg_run_outcome_names[TG_RUN_OUTCOMES];

struct tg_runs_options {
    size_t max_per_connection; /* that clients started */
    uint64_t max_children;     /* below one of those at a time, at any depth */
    uint64_t max_per_user;     /* that clients of one user started; 0: no limit */
    struct tg_quota *quota;    /* of the process; borrowed; NULL: users have no limits */
    uint64_t timeout_ms;       /* 0: none */
    bool finish_unheard;       /* runs.on_disconnect = "finish" */
};

/* What one run of an agent may use; 0: no limit. */
struct tg_run_limits {
    uint64_t timeout_ms;
    uint64_t max_tool_calls;
    uint64_t max_tokens;   /* with all that it calls */
    uint64_t max_per_user; /* runs of this agent that one user has at a time */
};

/* Who executes agents (script/). */
struct tg_run_executor {
    void *host;
    /* The agent to take when none was named and there is only one; NULL otherwise. */
    const char *(*default_agent)(void *host);
    /* False: there is none of that name. `limits` is zero before. A child is of its parent's policy. */
    bool (*find_agent)(void *host, const struct tg_run *parent, const char *name,
                       struct tg_run_limits *limits);
    /* Of the policy that a client's run which starts now is executed by; NULL: there are no versions. */
    const char *(*policy_version)(void *host);
    /* Begins to execute; the executor ends the run by tg_run_complete or tg_run_fail exactly once, at
     * once or later, unless cancelled, and then releases it. */
    void (*start)(void *host, struct tg_run *run, const struct tg_run_request *request);
    /* The run has ended (its terminal event is sent) for a reason from outside: stop computing and
     * tg_run_release it when no script uses it any more. Calls nobody but tg_run_give_up. */
    void (*cancel)(void *host, struct tg_run *run);
};

TG_MUST enum tg_err tg_runs_create(struct tg_runs **out, const struct tg_runs_options *options,
                                   struct tg_hub *hub);
void tg_runs_destroy(struct tg_runs *runs); /* when tg_runs_count is 0; NULL is allowed */
void tg_runs_set_executor(struct tg_runs *runs, const struct tg_run_executor *executor);
size_t tg_runs_count(const struct tg_runs *runs);
/* Ends every run with agent_error `code` (drain deadline). */
void tg_runs_end_all(struct tg_runs *runs, const char *code, const char *message);

/* For tg_conn_upper; `host` is the struct tg_runs. */
enum tg_err tg_runs_start(struct tg_runs *runs, struct tg_conn *conn,
                          const struct tg_run_request *request);
enum tg_err tg_runs_cancel(struct tg_runs *runs, struct tg_conn *conn, const char *run_id);
void tg_runs_connection_over(struct tg_runs *runs, struct tg_conn *conn);

/* --- runs that call runs ------------------------------------------------------------------------- */

/* How a run ended. Borrowed. */
struct tg_run_result {
    enum tg_run_outcome outcome;
    const char *response_json; /* completed; else NULL */
    size_t len;
    const char *details_json; /* completed: as of tg_run_complete_with; or NULL */
    size_t details_len;
    const char *code, *message; /* not completed; else NULL */
    const char *handed_off_to;  /* the run whose result this is; NULL: its own */
};

/* Who waits for a child; embed it. */
struct tg_run_watch {
    struct tg_run *child; /* NULL: it has ended, or its parent has */
    /* Once, when the child has ended and its parent goes on. NULL: a hand-off; the parent then ends with
     * the child's result. */
    void (*ended)(struct tg_run_watch *watch, const struct tg_run_result *result);
};

/* Starts a run below `parent`. The watch is borrowed until `ended`, the parent's end or tg_run_give_up, and
 * not on an error: TG_ERR_NOT_FOUND (no such agent), TG_ERR_LIMIT (too many children, or runs of this agent
 * by the user), TG_ERR_ILLEGAL (too deep), TG_ERR_CLOSED (the parent is over), TG_ERR_NOMEM. */
TG_MUST enum tg_err tg_runs_call(struct tg_run *parent, const struct tg_run_request *request,
                                 struct tg_run_watch *watch);
/* Nobody waits any more: the child is cancelled, soon and from the loop. Idempotent. */
void tg_run_give_up(struct tg_run_watch *watch);

/* Counts tokens of the run and of all above it. The outermost that is over its limit ends with `token_budget`
 * (TG_ERR_CLOSED then, or when it was over). *left: under all of these limits; UINT64_MAX: there is none. */
TG_MUST enum tg_err tg_run_spend(struct tg_run *run, uint64_t tokens, uint64_t *left);

/* --- what the executor uses ------------------------------------------------------------------------ */
const char *tg_run_id(const struct tg_run *run);
const char *tg_run_agent(const struct tg_run *run);
uint64_t tg_run_conn_serial(const struct tg_run *run);
struct tg_run *tg_run_parent(const struct tg_run *run); /* NULL: a client started it */
struct tg_run *tg_run_outermost(struct tg_run *run);    /* itself, when a client started it */
bool tg_run_is_over(
    const struct tg_run *run); /* the terminal event is sent (cancelled, timed out, …) */

/* The executor's own pointer on a run. */
void tg_run_set_data(struct tg_run *run, void *data);
void *tg_run_data(const struct tg_run *run);

/* Events. TG_ERR_CLOSED when the run is over or its connection is gone (for unheard runs: TG_ERR_OK).
 * Texts must be UTF-8 (repaired otherwise); JSON must be valid. */
TG_MUST enum tg_err tg_run_thinking(struct tg_run *run, const char *text, size_t len);
TG_MUST enum tg_err tg_run_delta(struct tg_run *run, const char *text, size_t len);
/* *call gets a number for tool_done. arguments_json may be NULL (null). One more than the run may call ends
 * it with `tool_budget` (TG_ERR_CLOSED). */
TG_MUST enum tg_err tg_run_tool_started(struct tg_run *run, const char *name,
                                        const char *arguments_json, size_t len, uint32_t *call);
/* Exactly one of result_json and error is not NULL. TG_ERR_NOT_FOUND: no such open call. */
TG_MUST enum tg_err tg_run_tool_done(struct tg_run *run, uint32_t call, const char *result_json,
                                     size_t len, const char *error);
/* Terminal. Nothing is sent when the run is over already. code: "script_error", "cpu_budget", …;
 * message is for the client and holds no traceback. */
void tg_run_complete(struct tg_run *run, const char *response_json, size_t len);
/* With more members of `data`: a JSON object that has neither `response` nor `duration_ms`. NULL: none. */
void tg_run_complete_with(struct tg_run *run, const char *response_json, size_t len,
                          const char *details_json, size_t details_len);
void tg_run_fail(struct tg_run *run, enum tg_run_outcome outcome, const char *code,
                 const char *message);
/* Frees it. Only after it is over. */
void tg_run_release(struct tg_run *run);

#endif
