/* budget.h - how long a script may compute before the worker gets its thread back.
 *
 * A watchdog thread looks at every meter a few hundred times a second; only when a resume has
 * outlived its budget does it send the worker a signal, whose handler arms a count hook in the
 * running state. So the fast path costs two relaxed stores and no system call, and scripts run
 * without a hook. An armed hook stays armed until the host has its thread back: it raises again and
 * again, so no pcall can swallow it.
 */
#ifndef TG_SCRIPT_BUDGET_H
#define TG_SCRIPT_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct lua_State;
struct tg_meter; /* one per thread that runs scripts */

#define TG_METER_WHERE_SIZE 128

/* Before the first meter; stop after the last. Counted: each start wants one stop. */
TG_MUST enum tg_err tg_watchdog_start(struct tg_error *error);
void tg_watchdog_stop(void);

/* On the thread that will run scripts. */
TG_MUST enum tg_err tg_meter_create(struct tg_meter **out, uint64_t budget_ms);
void tg_meter_destroy(struct tg_meter *meter);

/* Around every entry into Lua. Not nested. */
void tg_meter_begin(struct tg_meter *meter, struct lua_State *main_state);
/* True when the budget was exceeded since begin; the hook is disarmed. */
TG_MUST bool tg_meter_end(struct tg_meter *meter);
/* From inside Lua (C functions that loop): true when the budget is used up and they should raise. */
bool tg_meter_expired(const struct tg_meter *meter);

/* Of the last begin: "policy.lua:12", where the budget ran out; "" when that is not known. */
const char *tg_meter_where(const struct tg_meter *meter);
uint64_t tg_meter_budget_ms(const struct tg_meter *meter);

#endif
