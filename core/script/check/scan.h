/* scan.h - looks at the text of a policy's files, in a state of its own that runs nothing of the policy.
 *
 * The looking is done in Lua, lua/tidegate/_check: here are the state and what it is given. The state has
 * the sandbox and the library of a real one, which is how the scan knows what a policy has.
 */
#ifndef TG_SCRIPT_CHECK_SCAN_H
#define TG_SCRIPT_CHECK_SCAN_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "script/policy/generation.h"
#include "script/policy/mistakes.h"

struct tg_scan {
    const struct tg_script_env *env; /* borrowed; options and their count count */
    struct tg_source *source;        /* after the load, so that it is known what was used */
    bool folder;                     /* the policy is one, and not a single file */
    bool has_origins;                /* allowed_origins is set */
    const struct tg_buffer *facts;   /* of facts.h; NULL: the policy did not load */
    tg_finding_fn report;
    void (*file)(void *ctx, const char *path); /* gets each file of the policy, entry first */
    void *ctx;
};

TG_MUST enum tg_err tg_scan_run(const struct tg_scan *scan, struct tg_error *error);

/* Every global that policy code has, and the fields of those that are libraries ("string.byte"), sorted. */
TG_MUST enum tg_err tg_scan_each_global(void (*fn)(void *ctx, const char *name), void *ctx,
                                        struct tg_error *error);

#endif
