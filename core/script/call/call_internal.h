/* call_internal.h - what the files behind the door share: call.c (the life of a call), call_door.c
 * (protected work on the main state), call_turns.c (who is resumed when), call_coroutine.c (coroutines
 * that are used again).
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
/* run: gives those that are ready their turn, unless somebody further out does; else they get it from
 * the loop. */
void tg__turns_let_go(bool mine, bool run);
/* Gives the call its turn: now, or after those before it when somebody is at it. */
void tg__turns_take(struct tg_call *call);
/* call.c: lets the call run until it waits or ends; it may be gone afterwards. */
void tg__call_resume(struct tg_call *call);

/* --- call_coroutine.c ----------------------------------------------------------------------------- */

/* call->co and co_ref: one from the pool or a new one. false: out of memory. */
TG_MUST bool tg__call_take_coroutine(struct tg_call *call);
/* reusable: it ended well. */
void tg__call_give_coroutine(struct tg_call *call, bool reusable);

#endif
