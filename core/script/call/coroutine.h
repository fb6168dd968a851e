/* coroutine.h - coroutines that scripts make, and how a wait inside one reaches the host.
 *
 * A wait (tg_call_suspend) inside a script's coroutine yields a private marker; the sandbox's resume
 * and wrap know it, yield it on to whoever resumed them, up to the call's own coroutine, and hand the
 * values of the wake down again. lua/tidegate/_coroutine.lua is the other half.
 */
#ifndef TG_SCRIPT_COROUTINE_H
#define TG_SCRIPT_COROUTINE_H

#include <stdbool.h>

struct lua_State;

/* Pushes the sandbox's coroutine library and its xpcall, built from LuaJIT's own functions. `base` is the
 * index of the table with these (of the base library). */
void tg_coroutine_push(struct lua_State *L, int base);

/* True when a yield of the running coroutine L reaches `outermost`: no C function in between that cannot
 * be left (__tostring, an error handler). */
bool tg_coroutine_reaches(struct lua_State *L, struct lua_State *outermost);
/* L, who resumed it, who resumed that one, …, at most `max`; returns how many. Allocates nothing. */
int tg_coroutine_chain(struct lua_State *L, struct lua_State **chain, int max);
void tg_coroutine_push_marker(struct lua_State *L);

#endif
