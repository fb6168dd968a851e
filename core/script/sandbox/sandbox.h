/* sandbox.h - the two sets of globals: what policy code sees, and what the library's own Lua sees.
 *
 * Built from allow-lists; nothing that is not named in one can be reached. What Lua programmers expect
 * and do not find raises with a hint what to use instead.
 */
#ifndef TG_SCRIPT_SANDBOX_H
#define TG_SCRIPT_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

struct lua_State;

/* In a new state. with_library: `require` and `print` too; a configuration file gets neither. */
void tg_sandbox_open(struct lua_State *L, bool with_library);
/* Pushes the globals of policy code, read-only; what chunks get as their environment. */
void tg_sandbox_push_policy(struct lua_State *L);
void tg_sandbox_push_library(struct lua_State *L);

/* Whether a Lua text has at most `max` words that LuaJIT's parser takes ever longer for: and, or, elseif,
 * goto, break. Those in comments and strings count, too. */
bool tg_sandbox_jumps_within(const char *text, size_t len, size_t max);

#endif
