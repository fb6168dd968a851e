/* call_failure.h - how a call failed, in words. Only call.c and call_door.c. */
#ifndef TG_SCRIPT_CALL_FAILURE_H
#define TG_SCRIPT_CALL_FAILURE_H

#include <stddef.h>

#include "base/error.h"
#include "script/call/call.h"

struct tg_failure {
    enum tg_call_outcome outcome;
    struct tg_error error;
    char *traceback; /* owned */
};

/* "policy.lua:12: " of the innermost Lua function on the stack of L, or "". */
void tg__failure_place(struct lua_State *L, char *out, size_t size);
/* A handler for lua_pcall: what was raised as text with its place, which the stack tells only until it is
 * unwound. */
int tg__failure_handler(struct lua_State *L);
/* The traceback that was taken when the script was stopped, and that its coroutines no longer have; owned
 * by the caller, NULL when there is none. */
char *tg__failure_kept_trace(const struct tg_generation *generation, enum tg_call_outcome outcome);
/* Fills in the error for the outcome; for an error that was raised, its object is on top of L. Allocates
 * nothing in the state and runs nothing. */
void tg__failure_describe(const struct tg_generation *generation, struct lua_State *L,
                          struct tg_failure *failure);

#endif
