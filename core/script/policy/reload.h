/* reload.h - one policy version for all workers, or none: the coordinator on the main thread.
 *
 *   idle ─[request]─> probing ─> preparing ─[all ok]─> committing ─> idle
 *                        │           └─[any failed]──> aborting ──> idle
 *                        └─[probe failed]───────────────────────> idle
 *
 * A request takes the files as they are, or goes back to the version that served before; both go the same
 * way. One that comes during another waits in line, joined by later ones of its kind. The probe loads the
 * policy on the main thread first, so that most mistakes never reach a worker.
 */
#ifndef TG_SCRIPT_RELOAD_H
#define TG_SCRIPT_RELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "script/policy/generation.h"
#include "script/policy/source.h"

struct tg_reload;

/* How the coordinator reaches the workers; app/ fills it in. Each prepare is answered by one
 * tg_reload_prepared, each commit and abort by one tg_reload_switched. */
struct tg_reload_workers {
    void *ctx;
    size_t count;
    void (*prepare)(void *ctx, size_t worker, struct tg_source *source);
    void (*commit)(void *ctx, size_t worker);
    void (*abort)(void *ctx, size_t worker);
    /* What else is read anew with the policy's files: made first, then taken or forgotten as the policy is. Not
     * on the first load, and not when going back. NULL: nothing. */
    enum tg_err (*prepare_rest)(void *ctx, struct tg_error *error);
    void (*switch_rest)(void *ctx, bool commit);
};

struct tg_reload_result {
    enum tg_err err; /* TG_ERR_OK: `version` serves now on every worker */
    char why[32];    /* who asked */
    char version[TG_POLICY_VERSION_SIZE];
    char previous[TG_POLICY_VERSION_SIZE]; /* that served until then, or still does */
    bool rollback;
    bool unchanged;        /* the files are the same as before; switched all the same */
    bool skipped;          /* nothing was tried: no change, or nothing to go back to */
    struct tg_error error; /* why not, when err is not OK */
    uint64_t at_ms;        /* wall clock */
};

typedef void (*tg_reload_done_fn)(void *ctx, const struct tg_reload_result *result);

/* probe_env: a tg_script_env without hub, runs, timers (see generation.h); borrowed. */
TG_MUST enum tg_err tg_reload_create(struct tg_reload **out, const char *policy_path,
                                     struct tg_script_env *probe_env,
                                     const struct tg_reload_workers *workers);
void tg_reload_destroy(struct tg_reload *reload);

/* Takes the files as they are. fn comes once, later or before this returns; NULL: nobody waits. Logs
 * policy.reload with result and version. */
void tg_reload_request(struct tg_reload *reload, const char *why, tg_reload_done_fn fn, void *ctx);
/* The same, unless the files are as they were when they were last taken, well or not, or hold what serves:
 * then the result is `skipped`, and a failure that they have put right is forgotten. */
void tg_reload_request_if_changed(struct tg_reload *reload, const char *why, tg_reload_done_fn fn,
                                  void *ctx);
/* Goes back to the version that served before this one, as `git checkout -` does: doing it again goes
 * forth. What the files hold plays no part. TG_ERR_NOT_FOUND, skipped: no other version has served. Logs
 * policy.rollback. */
void tg_reload_rollback(struct tg_reload *reload, const char *why, tg_reload_done_fn fn, void *ctx);

void tg_reload_prepared(struct tg_reload *reload, size_t worker, enum tg_err err,
                        const struct tg_error *error);
void tg_reload_switched(struct tg_reload *reload, size_t worker);

/* --- reload_facts.c: what is told of it ------------------------------------------------------------ */
/* The version that serves ("" before the first), when it began to, and how the last reload ended (NULL
 * before the first). */
const char *tg_reload_version(const struct tg_reload *reload);
uint64_t tg_reload_loaded_at_ms(const struct tg_reload *reload);
const struct tg_reload_result *tg_reload_last(const struct tg_reload *reload);
uint64_t tg_reload_count(const struct tg_reload *reload, bool ok);
/* The version that a rollback would take; NULL: none. */
const char *tg_reload_previous(const struct tg_reload *reload);
/* Facts for GET /policy, from the probe of the version that serves. */
void tg_reload_each_agent(struct tg_reload *reload, void (*fn)(void *ctx, const char *name),
                          void *ctx);
void tg_reload_each_hook(struct tg_reload *reload, void (*fn)(void *ctx, const char *name),
                         void *ctx);

#endif
