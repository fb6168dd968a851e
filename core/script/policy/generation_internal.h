/* generation_internal.h - a state without a policy, for those who run other Lua through the door. */
#ifndef TG_SCRIPT_GENERATION_INTERNAL_H
#define TG_SCRIPT_GENERATION_INTERNAL_H

#include "script/policy/generation.h"

/* Makes the state of a zeroed generation whose env and memory_max are set; nothing is in it yet.
 * TG_ERR_NOMEM leaves it without a state. */
TG_MUST enum tg_err tg__generation_open(struct tg_generation *generation);
/* Closes the state; no call is under way. */
void tg__generation_close(struct tg_generation *generation);

#endif
