/* eval.h - a line of Lua typed at a prompt, run as a hook of a connection is: in the policy's sandbox, on
 * budgets, and it may wait.
 *
 * It sees what the policy's files see, and `conn`, `tide`, and `policy` with its hooks and agents.
 */
#ifndef TG_SCRIPT_EVAL_H
#define TG_SCRIPT_EVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "script/host.h"

/* text: the values, JSON where that can be, a line; or what went wrong. Comes once, at once or later,
 * unless the host is destroyed before. */
typedef void (*tg_eval_done_fn)(void *ctx, bool ok, const char *text);

/* line: an expression, or else statements. conn_serial 0: there is no `conn`. TG_ERR_NOMEM: it did not
 * begin. */
TG_MUST enum tg_err tg_host_eval(struct tg_host *host, uint64_t conn_serial, const char *line,
                                 tg_eval_done_fn fn, void *ctx);

/* A hook, a run or such a line is under way. */
bool tg_host_is_busy(const struct tg_host *host);

#endif
