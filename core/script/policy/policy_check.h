/* policy_check.h - looks at what a policy's entry file returned and takes its hooks and agents. */
#ifndef TG_SCRIPT_POLICY_CHECK_H
#define TG_SCRIPT_POLICY_CHECK_H

#include "connection/hooks.h"

struct lua_State;
struct tg_generation;
struct tg_mistakes;

/* The value at `index` is what the file returned. Fills hook_refs, agents_ref and default_agent, and
 * adds every mistake, with its place and a hint. May raise out of memory. */
void tg_policy_check(struct lua_State *L, int index, struct tg_generation *generation,
                     struct tg_mistakes *mistakes);

/* "authenticate(conn, credentials)" */
const char *tg_policy_signature(enum tg_hook hook);

#endif
