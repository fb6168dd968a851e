/* reload.c - the coordinator: probe here, prepare everywhere, then one switch or none.
 *
 * Owns the probe of the version that serves (for what GET /policy tells) and, during a reload, the
 * candidate's source and probe. Main thread only; workers answer by letters that app/ carries.
 *
 * I1  At most one reload is under way; requests that come meanwhile join the one that follows it.
 * I2  Nothing that people can see changes before every worker has prepared.
 * I3  Every request gets exactly one result.
 */
#include "script/reload.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"

enum phase { IDLE, PREPARING, COMMITTING, ABORTING };

/* Somebody who waits for a result. */
struct waiter {
    struct tg_list node;
    tg_reload_done_fn fn;
    void *ctx;
};

struct tg_reload {
    struct tg_script_env *probe_env; /* borrowed */
    struct tg_reload_workers workers;
    char *policy_path; /* owned */
    enum phase phase;
    bool rest_prepared;
    size_t awaited;                  /* workers that have not answered in this phase */
    struct tg_source *source;        /* counted; the candidate */
    struct tg_generation *candidate; /* owned; its probe */
    struct tg_generation *serving;   /* owned; the probe of what serves; NULL before the first */
    struct tg_list waiters;          /* struct waiter.node; of the reload under way */
    struct tg_list next_waiters;     /* of the one after it */
    char next_why[32];
    char why[32];
    struct tg_reload_result result; /* being filled in */
    struct tg_reload_result last;
    bool has_last;
    uint64_t loaded_at_ms;
    uint64_t counts[2]; /* failed, ok */
};

enum tg_err tg_reload_create(struct tg_reload **out, const char *policy_path,
                             struct tg_script_env *probe_env,
                             const struct tg_reload_workers *workers)
{
    struct tg_reload *reload = tg_calloc(1, sizeof *reload);
    if (reload == NULL)
        return TG_ERR_NOMEM;
    reload->policy_path = tg_strndup(policy_path, strlen(policy_path));
    if (reload->policy_path == NULL) {
        tg_free(reload);
        return TG_ERR_NOMEM;
    }
    reload->probe_env = probe_env;
    reload->workers = *workers;
    tg_list_init(&reload->waiters);
    tg_list_init(&reload->next_waiters);
    *out = reload;
    return TG_ERR_OK;
}

static struct waiter *pop_waiter(struct tg_list *waiters)
{
    struct tg_list *node = tg_list_first(waiters);
    if (node == NULL)
        return NULL;
    tg_list_remove(node);
    return TG_CONTAINER_OF(node, struct waiter, node);
}

static void tell_all(struct tg_list *waiters, const struct tg_reload_result *result)
{
    /* A waiter may ask for another reload; its own list is apart by then. */
    for (struct waiter *w = pop_waiter(waiters); w != NULL; w = pop_waiter(waiters)) {
        w->fn(w->ctx, result);
        tg_free(w);
    }
}

static void switch_rest(struct tg_reload *reload, bool commit)
{
    if (!reload->rest_prepared)
        return;
    reload->rest_prepared = false;
    reload->workers.switch_rest(reload->workers.ctx, commit);
}

void tg_reload_destroy(struct tg_reload *reload)
{
    if (reload == NULL)
        return;
    struct tg_reload_result result = {.err = TG_ERR_CLOSED, .at_ms = tg_clock_wall_ms()};
    (void)tg_error_set(&result.error, TG_ERR_CLOSED, "the server is shutting down");
    switch_rest(reload, false);
    tell_all(&reload->waiters, &result);
    tell_all(&reload->next_waiters, &result);
    tg_generation_destroy(reload->candidate);
    tg_generation_destroy(reload->serving);
    tg_source_release(reload->source);
    tg_free(reload->policy_path);
    tg_free(reload);
}

static void log_result(const struct tg_reload *reload)
{
    const struct tg_reload_result *result = &reload->last;
    if (result->err == TG_ERR_OK)
        tg_log(TG_LOG_INFO, "policy.reload", tg_log_str("result", "ok"),
               tg_log_str("why", reload->why), tg_log_str("version", result->version),
               tg_log_str("previous", result->previous),
               tg_log_bool("unchanged", result->unchanged));
    else
        tg_log(TG_LOG_ERROR, "policy.reload", tg_log_str("result", "failed"),
               tg_log_str("why", reload->why), tg_log_str("serving", result->previous),
               tg_log_str("error", result->error.text));
}

static void start(struct tg_reload *reload);

/* The reload under way has ended, well or not. */
static void finish(struct tg_reload *reload)
{
    struct tg_list done;
    reload->phase = IDLE;
    switch_rest(reload, reload->result.err == TG_ERR_OK);
    reload->result.at_ms = tg_clock_wall_ms();
    reload->last = reload->result;
    reload->has_last = true;
    if (reload->last.previous[0] != '\0') /* the first load is no reload */
        reload->counts[reload->last.err == TG_ERR_OK]++;
    tg_source_release(reload->source);
    reload->source = NULL;
    log_result(reload);
    tg_list_init(&done);
    for (struct tg_list *node = tg_list_first(&reload->waiters); node != NULL;
         node = tg_list_first(&reload->waiters)) {
        tg_list_remove(node);
        tg_list_push(&done, node);
    }
    struct tg_reload_result result = reload->last;
    tell_all(&done, &result);
    if (reload->phase == IDLE && !tg_list_empty(&reload->next_waiters)) {
        while (!tg_list_empty(&reload->next_waiters)) {
            struct tg_list *node = tg_list_first(&reload->next_waiters);
            tg_list_remove(node);
            tg_list_push(&reload->waiters, node);
        }
        memcpy(reload->why, reload->next_why, sizeof reload->why);
        start(reload);
    }
}

static enum tg_err prepare_rest(struct tg_reload *reload, struct tg_error *error)
{
    if (reload->workers.prepare_rest == NULL || reload->serving == NULL)
        return TG_ERR_OK;
    enum tg_err err = reload->workers.prepare_rest(reload->workers.ctx, error);
    reload->rest_prepared = err == TG_ERR_OK;
    return err;
}

/* Builds the candidate on this thread: most mistakes show here and never reach a worker. */
static enum tg_err probe(struct tg_reload *reload)
{
    struct tg_error *error = &reload->result.error;
    enum tg_err err = prepare_rest(reload, error);
    if (err == TG_ERR_OK)
        err = tg_source_read(&reload->source, reload->policy_path, error);
    if (err == TG_ERR_OK)
        err = tg_generation_create(&reload->candidate, reload->probe_env, reload->source, error);
    if (err != TG_ERR_OK)
        return err;
    tg_source_seal(reload->source);
    memcpy(reload->candidate->version, tg_source_version(reload->source),
           strlen(tg_source_version(reload->source)) + 1);
    return TG_ERR_OK;
}

static void start(struct tg_reload *reload)
{
    struct tg_reload_result *result = &reload->result;
    *result = (struct tg_reload_result){.err = TG_ERR_OK};
    (void)snprintf(result->previous, sizeof result->previous, "%s", tg_reload_version(reload));
    result->err = probe(reload);
    if (result->err != TG_ERR_OK) {
        finish(reload);
        return;
    }
    (void)snprintf(result->version, sizeof result->version, "%s",
                   tg_source_version(reload->source));
    result->unchanged = strcmp(result->version, result->previous) == 0;
    reload->phase = PREPARING;
    reload->awaited = reload->workers.count;
    for (size_t i = 0; i < reload->workers.count; i++)
        reload->workers.prepare(reload->workers.ctx, i, reload->source);
}

void tg_reload_request(struct tg_reload *reload, const char *why, tg_reload_done_fn fn, void *ctx)
{
    struct waiter *waiter = tg_xcalloc(1, sizeof *waiter);
    waiter->fn = fn;
    waiter->ctx = ctx;
    if (reload->phase != IDLE) {
        tg_list_push(&reload->next_waiters, &waiter->node);
        (void)snprintf(reload->next_why, sizeof reload->next_why, "%s", why);
        return;
    }
    tg_list_push(&reload->waiters, &waiter->node);
    (void)snprintf(reload->why, sizeof reload->why, "%s", why);
    start(reload);
}

static void switch_all(struct tg_reload *reload)
{
    bool commit = reload->result.err == TG_ERR_OK;
    reload->phase = commit ? COMMITTING : ABORTING;
    reload->awaited = reload->workers.count;
    for (size_t i = 0; i < reload->workers.count; i++) {
        if (commit)
            reload->workers.commit(reload->workers.ctx, i);
        else
            reload->workers.abort(reload->workers.ctx, i);
    }
}

void tg_reload_prepared(struct tg_reload *reload, size_t worker, enum tg_err err,
                        const struct tg_error *error)
{
    struct tg_reload_result *result = &reload->result;
    assert(reload->phase == PREPARING && reload->awaited > 0);
    if (err != TG_ERR_OK && result->err == TG_ERR_OK) { /* the first failure is the one told */
        result->err = err;
        (void)tg_error_set(&result->error, err, "%s (on worker %zu)", error->text, worker + 1);
    }
    if (--reload->awaited == 0)
        switch_all(reload);
}

void tg_reload_switched(struct tg_reload *reload, size_t worker)
{
    (void)worker;
    assert((reload->phase == COMMITTING || reload->phase == ABORTING) && reload->awaited > 0);
    if (--reload->awaited > 0)
        return;
    if (reload->phase == COMMITTING) {
        tg_generation_destroy(reload->serving);
        reload->serving = reload->candidate;
        reload->loaded_at_ms = tg_clock_wall_ms();
    } else {
        tg_generation_destroy(reload->candidate);
    }
    reload->candidate = NULL;
    finish(reload);
}

const char *tg_reload_version(const struct tg_reload *reload)
{
    return reload->serving == NULL ? "" : reload->serving->version;
}

uint64_t tg_reload_loaded_at_ms(const struct tg_reload *reload)
{
    return reload->loaded_at_ms;
}

const struct tg_reload_result *tg_reload_last(const struct tg_reload *reload)
{
    return reload->has_last ? &reload->last : NULL;
}

uint64_t tg_reload_count(const struct tg_reload *reload, bool ok)
{
    return reload->counts[ok];
}

void tg_reload_each_agent(struct tg_reload *reload, void (*fn)(void *ctx, const char *name),
                          void *ctx)
{
    if (reload->serving != NULL)
        tg_generation_each_agent(reload->serving, fn, ctx);
}

void tg_reload_each_hook(struct tg_reload *reload, void (*fn)(void *ctx, const char *name),
                         void *ctx)
{
    for (int hook = 0; reload->serving != NULL && hook < TG_HOOKS; hook++)
        if (reload->serving->hook_refs[hook] != LUA_NOREF)
            fn(ctx, tg_hook_names[hook]);
}
