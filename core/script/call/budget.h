/* budget.h - how long a script may compute before the worker gets its thread back.
 *
 * A watchdog thread looks at every meter a few hundred times a second; only when a resume has
 * outlived its budget does it send the worker a signal, whose handler arms a count hook in the
 * running state. So the fast path costs two plain stores and no system call, and scripts run
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
#define TG_METER_TRACE_SIZE 4096

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
/* From inside Lua: true when so many C functions and scripts call each other in turn that the thread's own
 * stack gets short. LuaJIT counts no such calls, and needs more than a second to unwind some thousand. */
bool tg_meter_nests_deeply(const struct tg_meter *meter);
/* Keeps where the script is for those who ask below; what it does after its kill is of no interest. */
void tg_meter_note(struct tg_meter *meter, struct lua_State *L);
/* Raises what the hook raises: for a C function that has found the budget used up. */
int tg_meter_raise(struct tg_meter *meter, struct lua_State *L);

/* Of the last resume that outlived its budget: "policy.lua:12", where it was, and the traceback there, with
 * the coroutines around it; "" when that is not known. */
const char *tg_meter_where(const struct tg_meter *meter);
const char *tg_meter_trace(const struct tg_meter *meter);
/* Of the same: it struck while code of the library was under way (tg_trace_in_library). */
bool tg_meter_in_library(const struct tg_meter *meter);
uint64_t tg_meter_budget_ms(const struct tg_meter *meter);

#endif
