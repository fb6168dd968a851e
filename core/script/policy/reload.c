/* reload.c - the coordinator: probe here, prepare everywhere, then one switch or none.
 *
 * Owns the probe of the version that serves (for what GET /policy tells), the source of the one before it
 * and, during a reload, the candidate's source and probe. Main thread only; workers answer by letters
 * that app/ carries.
 *
 * I1  At most one request is under way; those that come meanwhile wait in line.
 * I2  Nothing that people can see changes before every worker has prepared.
 * I3  Every request gets exactly one result.
 * I4  `previous` is never the version that serves: taking the same files again leaves it as it is.
 */
#include "script/policy/reload.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "script/policy/reload_internal.h"

enum kind { TAKE_FILES, TAKE_CHANGED_FILES, GO_BACK };

/* Somebody who waits for a result. */
struct waiter {
    struct tg_list node;
    enum kind kind;
    char why[32];
    tg_reload_done_fn fn;
    void *ctx;
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
    tg_list_init(&reload->queue);
    *out = reload;
    return TG_ERR_OK;
}

static struct waiter *first_waiter(const struct tg_list *waiters)
{
    struct tg_list *node = tg_list_first(waiters);
    return node == NULL ? NULL : TG_CONTAINER_OF(node, struct waiter, node);
}

static void move_first(struct tg_list *from, struct tg_list *to)
{
    struct tg_list *node = tg_list_first(from);
    tg_list_remove(node);
    tg_list_push(to, node);
}

static void tell_all(struct tg_list *waiters, const struct tg_reload_result *result)
{
    struct waiter *waiter;
    /* A waiter may ask for another reload; its own list is apart by then. */
    while ((waiter = first_waiter(waiters)) != NULL) {
        tg_list_remove(&waiter->node);
        if (waiter->fn != NULL)
            waiter->fn(waiter->ctx, result);
        tg_free(waiter);
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
    tell_all(&reload->queue, &result);
    tg_generation_destroy(reload->candidate);
    tg_generation_destroy(reload->serving);
    tg_source_release(reload->source);
    tg_source_release(reload->previous);
    tg_source_release(reload->last_read);
    tg_free(reload->policy_path);
    tg_free(reload);
}

static void log_result(const struct tg_reload_result *result)
{
    const char *event = result->rollback ? "policy.rollback" : "policy.reload";
    if (result->err == TG_ERR_OK)
        tg_log(TG_LOG_INFO, event, tg_log_str("result", "ok"), tg_log_str("why", result->why),
               tg_log_str("version", result->version), tg_log_str("previous", result->previous),
               tg_log_bool("unchanged", result->unchanged));
    else
        tg_log(TG_LOG_ERROR, event, tg_log_str("result", "failed"), tg_log_str("why", result->why),
               tg_log_str("serving", result->previous), tg_log_str("error", result->error.text));
}

static void start(struct tg_reload *reload);

/* The request under way has been answered, well or not. */
static void finish(struct tg_reload *reload)
{
    struct tg_list done;
    reload->phase = TG_RELOAD_IDLE;
    switch_rest(reload, reload->result.err == TG_ERR_OK);
    reload->result.at_ms = tg_clock_wall_ms();
    tg_source_release(reload->source);
    reload->source = NULL;
    if (!reload->result.skipped) {
        reload->last = reload->result;
        reload->has_last = true;
        if (reload->last.previous[0] != '\0') /* the first load is no reload */
            reload->counts[reload->last.err == TG_ERR_OK]++;
        log_result(&reload->last);
    }
    struct tg_reload_result result = reload->result;
    tg_list_init(&done);
    while (!tg_list_empty(&reload->waiters))
        move_first(&reload->waiters, &done);
    tell_all(&done, &result);
    if (reload->phase == TG_RELOAD_IDLE && !tg_list_empty(&reload->queue))
        start(reload);
}

/* --- what to switch to ----------------------------------------------------------------------------- */

static enum tg_err prepare_rest(struct tg_reload *reload, struct tg_error *error)
{
    if (reload->workers.prepare_rest == NULL || reload->serving == NULL)
        return TG_ERR_OK;
    enum tg_err err = reload->workers.prepare_rest(reload->workers.ctx, error);
    reload->rest_prepared = err == TG_ERR_OK;
    return err;
}

/* Nothing to do for files that somebody touched. That a mistake in them is put right is worth telling. */
static void skip(struct tg_reload *reload)
{
    struct tg_reload_result *result = &reload->result;
    const struct tg_generation *serving = reload->serving;
    bool failed = reload->has_last && reload->last.err != TG_ERR_OK;
    result->skipped = true;
    result->unchanged = true;
    memcpy(result->version, result->previous, sizeof result->version);
    tg_log(TG_LOG_DEBUG, "policy.unchanged", tg_log_str("why", result->why),
           tg_log_str("version", result->version));
    if (!failed || serving == NULL || reload->last_read == NULL ||
        !tg_source_equals(reload->last_read, serving->source))
        return;
    reload->last = *result;
    reload->last.at_ms = tg_clock_wall_ms();
    log_result(&reload->last);
}

/* Reads the files into `source`. True when they need not be taken; *err tells whether they could be read. */
static bool read_files(struct tg_reload *reload, bool if_changed, enum tg_err *err)
{
    struct tg_error *error = &reload->result.error;
    struct tg_source *before = reload->last_read;
    *err = tg_source_read(&reload->source, reload->policy_path, error);
    if (*err != TG_ERR_OK) {
        bool same = before == NULL && strcmp(error->text, reload->last_read_error.text) == 0;
        tg_source_release(before);
        reload->last_read = NULL;
        reload->last_read_error = *error;
        return if_changed && same;
    }
    bool same = before != NULL && tg_source_equals(before, reload->source);
    if (reload->serving != NULL && !same)
        same = tg_source_equals(reload->serving->source, reload->source);
    tg_source_release(before);
    reload->last_read = tg_source_retain(reload->source);
    return if_changed && same;
}

static enum tg_err find_previous(struct tg_reload *reload)
{
    reload->result.rollback = true;
    if (reload->previous != NULL) {
        reload->source = tg_source_retain(reload->previous);
        return TG_ERR_OK;
    }
    reload->result.skipped = true;
    return tg_error_set(&reload->result.error, TG_ERR_NOT_FOUND,
                        "no other version of the policy has served since the server started");
}

/* Builds the candidate on this thread: most mistakes show here and never reach a worker. */
static enum tg_err probe(struct tg_reload *reload, enum kind kind)
{
    struct tg_error *error = &reload->result.error;
    enum tg_err err;
    if (kind == GO_BACK) {
        err = find_previous(reload);
    } else if (read_files(reload, kind == TAKE_CHANGED_FILES, &err)) {
        skip(reload);
        return err;
    } else if (err == TG_ERR_OK) {
        err = prepare_rest(reload, error);
    }
    if (err == TG_ERR_OK)
        err = tg_generation_create(&reload->candidate, reload->probe_env, reload->source, error);
    return err;
}

/* Takes the first of the queue, and those behind it who want the same. */
static void start(struct tg_reload *reload)
{
    struct tg_reload_result *result = &reload->result;
    const struct waiter *next = first_waiter(&reload->queue);
    enum kind kind = next->kind;
    *result = (struct tg_reload_result){.err = TG_ERR_OK};
    memcpy(result->why, next->why, sizeof result->why);
    for (; next != NULL && next->kind == kind; next = first_waiter(&reload->queue))
        move_first(&reload->queue, &reload->waiters);
    (void)snprintf(result->previous, sizeof result->previous, "%s", tg_reload_version(reload));
    result->err = probe(reload, kind);
    if (result->err != TG_ERR_OK || result->skipped) {
        finish(reload);
        return;
    }
    (void)snprintf(result->version, sizeof result->version, "%s",
                   tg_source_version(reload->source));
    result->unchanged = strcmp(result->version, result->previous) == 0;
    reload->phase = TG_RELOAD_PREPARING;
    reload->awaited = reload->workers.count;
    for (size_t i = 0; i < reload->workers.count; i++)
        reload->workers.prepare(reload->workers.ctx, i, reload->source);
}

static void request(struct tg_reload *reload, enum kind kind, const char *why, tg_reload_done_fn fn,
                    void *ctx)
{
    struct waiter *waiter = tg_xcalloc(1, sizeof *waiter);
    waiter->kind = kind;
    waiter->fn = fn;
    waiter->ctx = ctx;
    (void)snprintf(waiter->why, sizeof waiter->why, "%s", why);
    tg_list_push(&reload->queue, &waiter->node);
    if (reload->phase == TG_RELOAD_IDLE)
        start(reload);
}

void tg_reload_request(struct tg_reload *reload, const char *why, tg_reload_done_fn fn, void *ctx)
{
    request(reload, TAKE_FILES, why, fn, ctx);
}

void tg_reload_request_if_changed(struct tg_reload *reload, const char *why, tg_reload_done_fn fn,
                                  void *ctx)
{
    request(reload, TAKE_CHANGED_FILES, why, fn, ctx);
}

void tg_reload_rollback(struct tg_reload *reload, const char *why, tg_reload_done_fn fn, void *ctx)
{
    request(reload, GO_BACK, why, fn, ctx);
}

/* --- the workers' answers -------------------------------------------------------------------------- */

static void switch_all(struct tg_reload *reload)
{
    bool commit = reload->result.err == TG_ERR_OK;
    reload->phase = commit ? TG_RELOAD_COMMITTING : TG_RELOAD_ABORTING;
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
    assert(reload->phase == TG_RELOAD_PREPARING && reload->awaited > 0);
    if (err != TG_ERR_OK && result->err == TG_ERR_OK) { /* the first failure is the one told */
        result->err = err;
        (void)tg_error_set(&result->error, err, "%s (on worker %zu)", error->text, worker + 1);
    }
    if (--reload->awaited == 0)
        switch_all(reload);
}

static void take_candidate(struct tg_reload *reload)
{
    struct tg_generation *before = reload->serving;
    if (before != NULL && !reload->result.unchanged) {
        tg_source_release(reload->previous);
        reload->previous = tg_source_retain(before->source);
    }
    tg_generation_destroy(before);
    reload->serving = reload->candidate;
    reload->loaded_at_ms = tg_clock_wall_ms();
}

void tg_reload_switched(struct tg_reload *reload, size_t worker)
{
    (void)worker;
    assert((reload->phase == TG_RELOAD_COMMITTING || reload->phase == TG_RELOAD_ABORTING) &&
           reload->awaited > 0);
    if (--reload->awaited > 0)
        return;
    if (reload->phase == TG_RELOAD_COMMITTING)
        take_candidate(reload);
    else
        tg_generation_destroy(reload->candidate);
    reload->candidate = NULL;
    finish(reload);
}
