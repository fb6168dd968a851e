/* call.h - the one door into Lua, and the coroutine that each hook call or run is.
 *
 * Nothing else calls lua_resume, lua_pcall or lua_cpcall. A call is created, gets its function and
 * arguments pushed by a protected builder, is resumed, may suspend any number of times on exactly one
 * wait each, and ends once with one of the outcomes below. A call that is cancelled while suspended is
 * dropped at once; one that is cancelled while running ends at its next wait or return.
 *
 * Only one call of a thread is resumed at a time and none from inside another: a start or wake that
 * comes while Lua runs, or from an on_done, takes effect when the outermost one is through, in order; or
 * later, from the loop, when calls keep each other ready (call_turns.c). A cancel resumes nobody.
 *
 * A task is a call that a script made inside another one (its parent) and that ends with it; the hook,
 * run or timer at the top is the root of them all. Wall budget, kept sessions and the number of tasks
 * are the root's.
 *
 * I1  on_done runs exactly once for every call that was not cancelled, on_dropped once for every other.
 * I2  Outside a resume the main state's stack is empty (height 0).
 * I3  A suspended call has one wait; waking it clears the wait first.
 */
#ifndef TG_SCRIPT_CALL_H
#define TG_SCRIPT_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "net/timer.h"
#include "script/policy/generation.h"

struct lua_State;
struct tg_call;
struct tg_run;

enum tg_call_outcome {
    TG_CALL_OK,
    TG_CALL_YIELDED,
    TG_CALL_ERROR,
    TG_CALL_CPU_BUDGET,
    TG_CALL_WALL_BUDGET,
    TG_CALL_MEMORY
};
extern const char *const tg_call_outcome_names[TG_CALL_MEMORY + 1];

enum tg_call_kind { TG_CALL_HOOK, TG_CALL_RUN, TG_CALL_TIMER, TG_CALL_TASK };

/* `results` values are on top of `co` (only for TG_CALL_OK). `error_text` is the message, with file and
 * line, without traceback; `traceback` is for the log; both NULL for OK. The call is freed after it
 * returns. Runs outside protected mode: reading results must not raise (use tg_call_protect). */
typedef void (*tg_call_done_fn)(struct tg_call *call, enum tg_call_outcome outcome, int results,
                                const char *error_text, const char *traceback);

/* The call was cancelled and is through; it is freed after this returns. Optional. */
typedef void (*tg_call_dropped_fn)(struct tg_call *call);

/* Undoes what a suspended call waits for (stops its timer, …). */
typedef void (*tg_wait_cancel_fn)(struct tg_call *call, void *wait);

/* Something that ends with the root of the call that began it, unless it has ended before: then its
 * owner takes `node` off the list. drop must not run Lua. */
struct tg_call_held {
    struct tg_list node; /* tg_call.held */
    void (*drop)(struct tg_call_held *held);
};

struct tg_call {
    struct tg_list node;              /* generation->calls */
    struct tg_generation *generation; /* borrowed; outlives the call */
    struct lua_State *co;
    int co_ref;
    struct tg_list ready; /* linked: waits for its turn to be resumed with `args` values */
    int args;
    enum tg_call_kind kind;
    enum tg_call_kind works_as; /* kind of the root: what its scripts may do */
    enum tg_hook hook;          /* works_as HOOK */
    struct tg_call *root;       /* itself, but for a task that still has a parent */
    struct tg_list tasks;       /* tg_call.sibling: of those it made, the ones under way */
    struct tg_list sibling;
    size_t task_count;      /* root: tasks under way below it */
    struct tg_list unheard; /* api/task: tasks of it that failed and that nobody has asked */
    struct tg_list waiting; /* api/task: linked while it waits for a task */
    struct tg_list held;    /* root: tg_call_held.node */
    uint64_t conn_serial;   /* whose behalf; 0: none */
    struct tg_run *run;  /* kind RUN; borrowed until the run is released by the owner of the call */
    uint64_t started_ns; /* on the stopwatch */
    uint64_t wall_ms;
    uint64_t wall_due_ms;       /* on the clock of the timers; 0: not needed yet */
    struct tg_timer wall_timer; /* runs from the first wait on: only what waits can take too long */
    unsigned wall_pauses;       /* root */
    uint64_t wall_left_ms;      /* root: while paused */
    bool running;               /* inside a resume now */
    bool cancelled;             /* no on_done any more, or it has run */
    bool raised;                /* in on_done of an ERROR: the error object is on top of `co` */
    /* root; api/session: what was read of conn.session is written back after each resume */
    bool sessions_read;
    tg_wait_cancel_fn wait_cancel; /* NULL: not suspended */
    void *wait;                    /* owned by the wait's maker until woken or cancelled */
    tg_call_done_fn on_done;
    tg_call_dropped_fn on_dropped;
    void *owner; /* on_done's own */
};

/* NULL when memory is out. wall_ms 0: no wall budget (runs have their own timeout). */
TG_MUST struct tg_call *tg_call_create(struct tg_generation *generation, enum tg_call_kind kind,
                                       uint64_t conn_serial, uint64_t wall_ms,
                                       tg_call_done_fn on_done, void *owner);

/* What the door keeps for a state: made in one that is new, given up when it is closed. Only generation.c. */
TG_MUST bool tg_call_open(struct tg_generation *generation);
void tg_call_close(struct tg_generation *generation);

/* A task of `parent`, which is not cancelled. NULL when memory is out. A task that exceeds its CPU or
 * memory budget ends its root with that outcome. */
TG_MUST struct tg_call *tg_call_create_task(struct tg_call *parent, tg_call_done_fn on_done,
                                            tg_call_dropped_fn on_dropped, void *owner);

/* Runs `builder` protected on the call's coroutine; it finds `ud` as a light userdata at index 1, leaves the
 * function and its arguments (at most 16) on top of the stack and returns how many values that are,
 * as any C function for Lua does. With them the coroutine is resumed. Calls on_done
 * (also when the builder fails) unless the call is suspended afterwards; the call may be gone when
 * this returns. */
void tg_call_start(struct tg_call *call, int (*builder)(struct lua_State *L), void *ud);

/* Wakes a suspended call: `builder` leaves what the wait returns to the script, and returns how many
 * values. NULL: nothing. */
void tg_call_wake(struct tg_call *call, int (*builder)(struct lua_State *L), void *ud);

/* See the head of this file. No on_done follows. Idempotent. */
void tg_call_cancel(struct tg_call *call);

/* The same, but on_done comes, with TG_CALL_ERROR and `why`: what was under way is given up by the host,
 * for a reason of its own. Not while the call runs. */
void tg_call_abandon(struct tg_call *call, const char *why);

/* Around a wait that has a limit of its own and must not use up the wall budget. They pair; between them
 * several tasks of a root may do so. */
void tg_call_pause_wall(struct tg_call *call);
void tg_call_resume_wall(struct tg_call *call);

/* Protected work on the main state outside any call (reading results, building tables). The builder
 * finds `ud` as a light userdata at index 1. The stack is left as it was found. Works inside Lua, too. */
TG_MUST enum tg_call_outcome tg_call_protect(struct tg_generation *generation,
                                             int (*builder)(struct lua_State *L), void *ud,
                                             struct tg_error *error);

/* As protect, for a builder that runs script code at load time (budgets as for a call): its one result
 * is left on top of the main state, and the caller pops it. Only generation.c and config_file.c. */
TG_MUST enum tg_call_outcome tg_call_load(struct tg_generation *generation,
                                          int (*builder)(struct lua_State *L), void *ud,
                                          struct tg_error *error);

/* Ends with the root of `call`. */
void tg_call_hold(struct tg_call *call, struct tg_call_held *held);

/* For a state that runs no policy and that is trusted: no budget, no turn. Inside it calls of other states may
 * be started and go through the same door, each on its own budget. As in protect, the builder's results
 * are dropped. Not inside itself or any other call. Only testing/. */
TG_MUST enum tg_call_outcome tg_call_trusted(struct tg_generation *generation,
                                             int (*builder)(struct lua_State *L), void *ud,
                                             struct tg_error *error);

/* --- for C functions that scripts call ------------------------------------------------------------ */
/* The call that runs now, or NULL at load time. */
struct tg_call *tg_call_current(struct lua_State *L);

enum tg_api_context {
    TG_IN_LOAD = 1,
    TG_IN_HOOK = 2,
    TG_IN_RUN = 4,
    TG_IN_TIMER = 8,
    TG_IN_CALL = TG_IN_HOOK | TG_IN_RUN | TG_IN_TIMER
};
/* A task is where its root is. Raises "<name> cannot be used while the policy is being loaded" and the like. */
void tg_api_contexts(struct lua_State *L, const char *name, unsigned contexts);

/* Suspends the current call: `return tg_call_suspend(L, cancel, wait);`. Raises when the script is
 * where it cannot wait (inside __tostring, an error handler) after calling
 * cancel. Works inside coroutines that the script made (the sandbox's coroutine library passes the
 * wait outward). */
int tg_call_suspend(struct lua_State *L, tg_wait_cancel_fn cancel, void *wait);

#endif
