/* stage.h - the bench with a real policy on it: one worker with connections, runs, a script host and a
 * client on a loopback socket. Everything but the main program.
 */
#ifndef TG_TESTS_STAGE_H
#define TG_TESTS_STAGE_H

#include "script/host.h"
#include "support/bench.h"

/* What scripts asked to be carried to another worker. */
struct stage_order {
    struct tg_remote_order order; /* data is `text` */
    char text[256];
    uint64_t ticket;
};

struct stage {
    struct bench bench;
    struct tg_host *host;
    struct tg_meter *meter;
    char folder[64];
    struct stage_order orders[8];
    size_t order_count;
    enum tg_err post_error;   /* what post answers */
    struct tg_passes *passes; /* before stage_load; NULL: none */
    uint64_t cpu_budget_ms;   /* before stage_load; 0: 1000 */
    uint64_t wall_budget_ms;
    const struct tg_script_option *options;
    size_t option_count;
};

/* cmocka fixtures: *state is a struct stage. The log is captured. */
int stage_setup(void **state);
int stage_teardown(void **state);

/* Loads a policy and serves with it (again: a reload). Fails the test with the policy's mistakes. */
void stage_load(struct stage *stage, const char *policy);

/* Runs `code` in the `message` hook of a ready connection `conn`, with `message`, `tide`, `json`, `time`
 * and `log` as locals, and fails the test unless it reaches its end. */
void stage_run(struct stage *stage, const char *code);
/* The same for code that raises: the text that the log got. Valid until the next call. */
const char *stage_error(struct stage *stage, const char *code);
/* Runs `code` as the body of an agent with `run` and `input`; returns the run's terminal event. Other
 * events are in `events`, one a line. */
const char *stage_agent(struct stage *stage, const char *code, char *events, size_t size);

/* Closes every client and waits until the connections are gone: the bench has few places for clients. */
void stage_send_clients_home(struct stage *stage);

/* Everything captured so far, for messages. */
const char *stage_log(void);

#endif
