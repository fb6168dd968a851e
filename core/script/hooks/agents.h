/* agents.h - one agent under way in a script: what ties the run, the call and the Lua object together.
 *
 * The job is owned by agents.c. The run's Lua object points to it and it points back; whichever goes
 * first clears the other's pointer.
 */
#ifndef TG_SCRIPT_AGENTS_H
#define TG_SCRIPT_AGENTS_H

#include <stdbool.h>

#include "agent/run.h"
#include "base/list.h"

struct lua_State;
struct tg_agent_job;
struct tg_call;

/* The userdata behind `run`. */
struct tg_run_ref {
    struct tg_agent_job *job; /* NULL: the run is over */
};

struct tg_agent_job {
    struct tg_run *run;                   /* borrowed; released with the job */
    struct tg_call *call;                 /* borrowed until it ends; NULL: not begun */
    struct tg_run_ref *ref;               /* NULL: not made yet, or collected */
    const struct tg_run_request *request; /* borrowed until the call has begun */
    struct tg_list waits;                 /* behind a migration of its connection */
    struct tg_run_request kept;           /* while it does: what `request` is, and */
    void *kept_block;                     /* owned; what that points to */
    unsigned busy;                        /* C functions under way that use `run` */
    unsigned open_calls;                  /* of run:tool_started, that wait for their answer */
    bool over; /* ended from outside while busy: the last one out releases */
};

/* Around every use of the run by the script API: an event that fails can end the connection and with
 * it this very run. enter: NULL when the run is over. */
struct tg_run *tg_agent_enter(struct tg_run_ref *ref);
void tg_agent_leave(struct tg_agent_job *job);

#endif
