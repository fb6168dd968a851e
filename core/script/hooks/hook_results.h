/* hook_results.h - what a hook returned, read strictly: only a clear yes is one.
 */
#ifndef TG_SCRIPT_HOOK_RESULTS_H
#define TG_SCRIPT_HOOK_RESULTS_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/metrics.h"
#include "connection/hooks.h"
#include "script/api/tide.h"

struct lua_State;

#define TG_USER_ID_BYTES_MAX 256
#define TG_AGENT_NAME_BYTES_MAX 63
/* Of an identity or a context when kept, and of an input that route gives. */
#define TG_KEPT_BYTES_MAX ((size_t)64 << 10)
#define TG_INPUT_BYTES_MAX ((size_t)1 << 20)

/* `result` points into the rest. */
struct tg_hook_reading {
    struct tg_hook_result result;
    struct tg_buffer kept; /* owned: identity, context or input */
    char user_id[TG_USER_ID_BYTES_MAX + 1];
    char agent[TG_AGENT_NAME_BYTES_MAX + 1];
    char reason[TG_REASON_SIZE]; /* for the peer */
    char code[TG_DENIAL_REASON_SIZE];
    char offered_id[64];
    struct tg_error wrong; /* BAD_RESULT: what was wrong, for the log */
};

/* False: whatever the hook returns is an answer. */
bool tg_hook_results_matter(enum tg_hook hook);
/* The hook's results are all that is on the stack; they are gone afterwards. Needs protected mode; runs
 * no script code. `out` may be uninitialised. */
void tg_hook_results_read(struct lua_State *L, enum tg_hook hook, struct tg_hook_reading *out);
/* A reading without results: the hook ended with `outcome`, which is not OK. */
void tg_hook_reading_fail(struct tg_hook_reading *out, enum tg_hook_outcome outcome);
void tg_hook_reading_fini(struct tg_hook_reading *reading);

#endif
