/* process_child.h - an agent that is a child process, and the runs that it answers.
 *
 *   process.c           what lua/tidegate/agent/process.lua calls
 *   process_child.c     when the process is started, and what its end means
 *   process_exchange.c  one run's request and the lines that answer it
 *   process_lines.c     whose line is it?
 *
 *     idle ─[first run]─> runs ─[ends]─> idle, not to be started before `start_at_ms`
 *
 * Both are userdata of one state, so both end with its generation. An exchange keeps its child alive.
 *
 * I1  An exchange is on its child's list exactly while `child` is set: from its beginning to its end, or to that
 *     of the call that began it.
 * I2  Every exchange on the list is told when the process ends, once; what had come before that it reads first.
 * I3  At most QUEUE_BYTES_MAX and one read of lines wait for runs; then the process has to wait. At most
 *     UNREAD_BYTES_MAX wait for the process; then runs are refused.
 */
#ifndef TG_SCRIPT_API_PROCESS_CHILD_H
#define TG_SCRIPT_API_PROCESS_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/log_gate.h"
#include "net/process.h"
#include "script/call/call.h"

#define TG_RUN_ID_ROOM 80

/* Why the process is not read from. */
enum tg_child_pause { TG_CHILD_QUEUE_FULL = 1, TG_CHILD_TALKS_TO_NOBODY = 2 };

struct tg_child {
    struct tg_generation *generation; /* borrowed; its state owns this */
    struct tg_process *process;       /* borrowed until its end or close; NULL: none runs */
    struct tg_list exchanges;         /* tg_exchange.node */
    struct tg_timer restart_timer;
    struct tg_timer breath_timer; /* lines for nobody are read again */

    struct tg_buffer words; /* owned; "argument\0…NAME=value\0…" */
    size_t argument_count, variable_count;
    char *folder; /* owned; or NULL */
    char name[64];
    size_t line_max;
    uint64_t failures_max; /* in a row, then it is left alone for */
    uint64_t rest_ms;

    uint64_t started_ms;
    uint64_t start_at_ms; /* not before */
    uint64_t left_alone_until_ms;
    uint64_t failures; /* quick ends in a row */
    bool answered;     /* some run, since it was started */

    size_t queued; /* bytes of lines that wait for runs */
    unsigned pauses;
    uint64_t stray_bytes; /* of lines for nobody, in this breath */
    struct tg_log_gate stray_gate;
};

struct tg_exchange {
    struct tg_call_held held;
    struct tg_list node;              /* child->exchanges */
    struct tg_child *child;           /* borrowed; its environment keeps it; NULL: over */
    struct tg_generation *generation; /* borrowed */
    char run_id[TG_RUN_ID_ROOM];
    struct tg_buffer request; /* until a line comes */
    bool sent;                /* to the process that runs */
    bool again;               /* it was sent to an earlier one, which ended without a word */
    struct tg_buffer lines;   /* each with its LF, not taken yet */
    size_t charged;           /* to the memory of the state */
    struct tg_call *waiter;   /* borrowed; NULL: nobody waits */
    int ref;                  /* keeps it while somebody waits */
    struct tg_timer idle;     /* while somebody waits */
    bool in_time;             /* what woke the waiter was not its deadline */
    const char *code; /* static; nothing comes after `lines`, and why; NULL: more may come */
    const char *text; /* static; for the client */
    char why[200];    /* for the log */
};

/* --- process_child.c ---------------------------------------------------------------------------- */
/* Sends the exchange's request, now or when the process may be started. False: the exchange has failed. */
bool tg_child_ask(struct tg_child *child, struct tg_exchange *exchange);
void tg_child_set_pause(struct tg_child *child, enum tg_child_pause why, bool on);
/* Everything that it holds; its process is ended. */
void tg_child_free(struct tg_child *child);

/* --- process_exchange.c ------------------------------------------------------------------------- */
/* Puts a new exchange on the child's list, as something that ends with the call that runs. */
void tg_exchange_begin(struct tg_exchange *exchange, struct tg_child *child);
/* Takes it off. Unless it was answered the process is told that nobody listens any more. Idempotent. */
void tg_exchange_end(struct tg_exchange *exchange, bool answered);
/* Adds a line; may run the script that waits for it: the last thing that is done. */
void tg_exchange_take_line(struct tg_exchange *exchange, const char *data, size_t len);
/* Nothing more comes; whoever waits is woken from the loop. Only the first reason counts. */
void tg_exchange_fail(struct tg_exchange *exchange, const char *code, const char *text,
                      const char *why);
/* Counts what it holds; false: the state has no room for it. */
bool tg_exchange_charge(struct tg_exchange *exchange);
/* The next line, NULL: none. Valid until taken. */
const char *tg_exchange_peek(const struct tg_exchange *exchange, size_t *len);
void tg_exchange_taken(struct tg_exchange *exchange, size_t len);
/* Suspends until a line is there, nothing more comes, or the time is up: `return tg_exchange_wait(…)`. The script
 * gets whether it was in time. */
int tg_exchange_wait(struct lua_State *L, int index, uint64_t ms);

/* --- process_lines.c ---------------------------------------------------------------------------- */
/* From the process. */
void tg_child_on_line(void *child, const char *data, size_t len, bool cut);

#endif
