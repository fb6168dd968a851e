/* reload.h - one policy version for all workers, or none: the coordinator on the main thread.
 *
 *   idle ─[request]─> probing ─> preparing ─[all ok]─> committing ─> idle
 *                        │           └─[any failed]──> aborting ──> idle
 *                        └─[probe failed]───────────────────────> idle
 *
 * A request during a reload is queued (one, joined by later ones). The probe loads the policy on the
 * main thread first, so that most mistakes never reach a worker.
 */
#ifndef TG_SCRIPT_RELOAD_H
#define TG_SCRIPT_RELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "script/generation.h"
#include "script/source.h"

struct tg_reload;

/* How the coordinator reaches the workers; app/ fills it in. Each prepare is answered by one
 * tg_reload_prepared, each commit and abort by one tg_reload_switched. */
struct tg_reload_workers {
    void *ctx;
    size_t count;
    void (*prepare)(void *ctx, size_t worker, struct tg_source *source);
    void (*commit)(void *ctx, size_t worker);
    void (*abort)(void *ctx, size_t worker);
    /* What else is read anew with the policy: made first, then taken or forgotten as the policy is. Not on
     * the first load. NULL: nothing. */
    enum tg_err (*prepare_rest)(void *ctx, struct tg_error *error);
    void (*switch_rest)(void *ctx, bool commit);
};

struct tg_reload_result {
    enum tg_err err; /* TG_ERR_OK: `version` serves now on every worker */
    char version[TG_POLICY_VERSION_SIZE];
    char previous[TG_POLICY_VERSION_SIZE];
    bool unchanged;        /* the files are the same as before; switched all the same */
    struct tg_error error; /* why not, when err is not OK */
    uint64_t at_ms;        /* wall clock */
};

typedef void (*tg_reload_done_fn)(void *ctx, const struct tg_reload_result *result);

/* probe_env: a tg_script_env without hub, runs, timers (see generation.h); borrowed. */
TG_MUST enum tg_err tg_reload_create(struct tg_reload **out, const char *policy_path,
                                     struct tg_script_env *probe_env,
                                     const struct tg_reload_workers *workers);
void tg_reload_destroy(struct tg_reload *reload);

/* fn comes once, later or before this returns. Logs policy.reload with result and version. */
void tg_reload_request(struct tg_reload *reload, const char *why, tg_reload_done_fn fn, void *ctx);
void tg_reload_prepared(struct tg_reload *reload, size_t worker, enum tg_err err,
                        const struct tg_error *error);
void tg_reload_switched(struct tg_reload *reload, size_t worker);

/* The version that serves ("" before the first), when it began to, and how the last reload ended (NULL
 * before the first). */
const char *tg_reload_version(const struct tg_reload *reload);
uint64_t tg_reload_loaded_at_ms(const struct tg_reload *reload);
const struct tg_reload_result *tg_reload_last(const struct tg_reload *reload);
uint64_t tg_reload_count(const struct tg_reload *reload, bool ok);
/* Facts for GET /policy, from the probe of the version that serves. */
void tg_reload_each_agent(struct tg_reload *reload, void (*fn)(void *ctx, const char *name),
                          void *ctx);
void tg_reload_each_hook(struct tg_reload *reload, void (*fn)(void *ctx, const char *name),
                         void *ctx);

#endif
