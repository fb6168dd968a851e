/* run.h - one agent run: the order of its events, enforced whatever the agent does.
 *
 *     started ──> (thinking | delta | tool_executing … tool_completed)* ──> completed | error
 *
 * I1  agent_started is the first event and is sent by tg_run_create.
 * I2  Exactly one terminal event, and nothing after it.
 * I3  Every tool_executing is answered by a tool_completed before the terminal event; the run closes
 *     open ones with an error.
 * I4  A run belongs to one connection; when that is over, so is the run, or it goes on unheard, as
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

struct tg_run;
struct tg_runs; /* all runs of one worker */

#define TG_RUN_ID_SIZE 40

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
    size_t max_per_connection;
    uint64_t timeout_ms; /* 0: none */
    bool finish_unheard; /* runs.on_disconnect = "finish" */
};

/* Who executes agents (script/). */
struct tg_run_executor {
    void *host;
    /* The agent to take when none was named and there is only one; NULL otherwise. */
    const char *(*default_agent)(void *host);
    bool (*has_agent)(void *host, const char *name);
    /* Of the policy that a run which starts now is executed by; NULL: there are no versions. */
    const char *(*policy_version)(void *host);
    /* Begins to execute; the executor ends the run by tg_run_complete or tg_run_fail exactly once, at
     * once or later, unless cancelled, and then releases it. */
    void (*start)(void *host, struct tg_run *run, const struct tg_run_request *request);
    /* The run has ended (its terminal event is sent) for a reason from outside: stop computing and
     * tg_run_release it when no script uses it any more. */
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

/* --- what the executor uses ------------------------------------------------------------------------ */
const char *tg_run_id(const struct tg_run *run);
const char *tg_run_agent(const struct tg_run *run);
uint64_t tg_run_conn_serial(const struct tg_run *run);
bool tg_run_is_over(
    const struct tg_run *run); /* the terminal event is sent (cancelled, timed out, …) */

/* The executor's own pointer on a run. */
void tg_run_set_data(struct tg_run *run, void *data);
void *tg_run_data(const struct tg_run *run);

/* Events. TG_ERR_CLOSED when the run is over or its connection is gone (for unheard runs: TG_ERR_OK).
 * Texts must be UTF-8 (repaired otherwise); JSON must be valid. */
TG_MUST enum tg_err tg_run_thinking(struct tg_run *run, const char *text, size_t len);
TG_MUST enum tg_err tg_run_delta(struct tg_run *run, const char *text, size_t len);
/* *call gets a number for tool_done. arguments_json may be NULL (null). */
TG_MUST enum tg_err tg_run_tool_started(struct tg_run *run, const char *name,
                                        const char *arguments_json, size_t len, uint32_t *call);
/* Exactly one of result_json and error is not NULL. TG_ERR_NOT_FOUND: no such open call. */
TG_MUST enum tg_err tg_run_tool_done(struct tg_run *run, uint32_t call, const char *result_json,
                                     size_t len, const char *error);
/* Terminal. Nothing is sent when the run is over already. code: "script_error", "cpu_budget", …;
 * message is for the client and holds no traceback. */
void tg_run_complete(struct tg_run *run, const char *response_json, size_t len);
void tg_run_fail(struct tg_run *run, enum tg_run_outcome outcome, const char *code,
                 const char *message);
/* Frees it. Only after it is over. */
void tg_run_release(struct tg_run *run);

#endif
