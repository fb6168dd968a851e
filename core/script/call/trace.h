/* trace.h - where a script is, as text, without asking its state for memory: for a script that was
 * stopped and may not run on. Goes from a coroutine to who resumed it.
 */
#ifndef TG_SCRIPT_TRACE_H
#define TG_SCRIPT_TRACE_H

#include <stdbool.h>
#include <stddef.h>

struct lua_State;

/* "policy.lua:12", the innermost line of the policy's own code; a line of the library when there is no
 * other, "" when there is none. Needs a few free slots of L's stack, as every C function has. */
void tg_trace_place(struct lua_State *L, char *out, size_t size);
/* The same, of L alone: for a coroutine that has ended or is suspended. Uses no stack. */
void tg_trace_own_place(struct lua_State *L, char *out, size_t size);
/* Whether code of the library is under way in L or the coroutines around it: a public module, whose state
 * a kill may leave half-changed; the private files (_*.lua) have none. */
bool tg_trace_in_library(struct lua_State *L);
/* As luaL_traceback, of L and the coroutines around it; cut to fit. */
void tg_trace_write(struct lua_State *L, char *out, size_t size);

#endif
