/* call_internal.h - what the files behind the door share: call.c (the life of a call), call_start.c (its
 * beginning), call_door.c (protected work, the meter), call_wall.c (the wall budget), call_turns.c
 * (who is resumed when), call_coroutine.c (calls that are used again).
 */
#ifndef TG_SCRIPT_CALL_INTERNAL_H
#define TG_SCRIPT_CALL_INTERNAL_H

#include <stdbool.h>

#include "script/call/call.h"

/* --- call_door.c ---------------------------------------------------------------------------------- */

/* Around every lua_resume. end: true when the CPU budget was exceeded. */
void tg__door_enter(struct tg_generation *generation);
TG_MUST bool tg__door_leave(struct tg_generation *generation);
/* A state that cannot be trusted after it will be built anew (rebuild.h). */
enum tg_call_outcome tg__door_outcome(struct tg_generation *generation, int status, bool expired);

/* Runs a builder on a coroutine that has not begun, which keeps its values. On the meter: between enter and
 * leave. Returns Lua's status; an error object is on top of the coroutine. */
TG_MUST int tg__door_push(struct tg_generation *generation, struct lua_State *co,
                          int (*builder)(struct lua_State *L), void *ud);
/* False: whoever runs now is on the meter. */
TG_MUST bool tg__door_is_free(void);

/* Runs a C function protected on the main state. What it leaves there is nothing; errors go to `error`. */
TG_MUST enum tg_call_outcome tg__door_run(struct tg_generation *generation,
                                          int (*function)(struct lua_State *L), void *ud,
                                          struct tg_error *error);
/* The same for a builder, whose values are moved to `to`, `*count` of them; NULL: nowhere. */
TG_MUST enum tg_call_outcome tg__door_build(struct tg_generation *generation, struct lua_State *to,
                                            int (*builder)(struct lua_State *L), void *ud,
                                            int *count, struct tg_error *error);
/* Of a coroutine that failed: owned by the caller; NULL when there is no memory for it. */
char *tg__door_traceback(struct tg_generation *generation, struct lua_State *co);
/* LuaJIT does not collect when an allocation fails: what a call left must not fail the next one. */
void tg__door_collect(struct tg_generation *generation);

/* --- call_turns.c --------------------------------------------------------------------------------- */

/* What becomes ready from here on waits for let_go. True for the outermost, which hands that to let_go. */
TG_MUST bool tg__turns_hold(void);
/* For whoever holds them: others are ready. */
TG_MUST bool tg__turns_wanted(void);
/* run: gives those that are ready their turn, unless somebody further out does; else they get it from
 * the loop. */
void tg__turns_let_go(bool mine, bool run);
/* Lines the call up for its turn. */
void tg__turns_line_up(struct tg_call *call);

/* --- call.c --------------------------------------------------------------------------------------- */

/* Lets the call run until it waits or ends; it may be gone afterwards. */
void tg__call_resume(struct tg_call *call);
/* The same after tg__door_enter; leaves. */
void tg__call_resume_metered(struct tg_call *call);
struct tg_failure;
/* Ends a call that does not run with a failure; adds the traceback. */
void tg__call_fail(struct tg_call *call, struct tg_failure *failure);
/* Ends a call that waits and has taken too long. */
void tg__call_wall_over(struct tg_call *call);

/* --- call_wall.c ---------------------------------------------------------------------------------- */

/* For a call that is about to wait. False: no memory for the timer; a hook that nobody would end in time must
 * not wait. */
TG_MUST bool tg__wall_arm(struct tg_call *call);
void tg__wall_stop(struct tg_call *call);

/* --- call_coroutine.c ----------------------------------------------------------------------------- */

/* A call with a coroutine, all else zero. NULL: out of memory. */
TG_MUST struct tg_call *tg__call_take(struct tg_generation *generation);
/* reusable: it ended well. */
void tg__call_give(struct tg_call *call, bool reusable);

#endif
