/* host.c - which generation serves, which ones drain, and when each is closed.
 *
 *   prepared ─[commit]─> current ─[next commit]─> draining ─[last call ended]─> closed
 *       └─[abort]─> closed            after drain_timeout, or when too many live: calls are ended
 *
 * A state is closed from the loop or from a letter, never from below a call of its own: the call that
 * ended last may still have its Lua code on the C stack.
 */
#include "script/host.h"

#include <string.h>

#include "agent/run.h"
#include "base/log.h"
#include "base/memory.h"
#include "script/api/timer.h"
#include "script/host_internal.h"
#include "script/policy/migrate.h"
#include "script/policy/rebuild.h"

static void on_reap(struct tg_timer *timer);

enum tg_err tg_host_create(struct tg_host **out, const struct tg_host_options *options)
{
    struct tg_host *host = tg_calloc(1, sizeof *host);
    if (host == NULL)
        return TG_ERR_NOMEM;
    host->options = *options;
    host->env = options->env;
    host->env.host = host;
    tg_list_init(&host->draining);
    *out = host;
    return TG_ERR_OK;
}

struct tg_host *tg__host_of(struct tg_generation *generation)
{
    return generation->env->host;
}

static void cancel_calls(struct tg_generation *generation)
{
    while (!tg_list_empty(&generation->calls))
        tg_call_cancel(TG_CONTAINER_OF(generation->calls.next, struct tg_call, node));
}

/* Cleared first: ending its calls makes the host look at what it has. */
static void close_generation(struct tg_generation **place)
{
    struct tg_generation *generation = *place;
    *place = NULL;
    if (generation == NULL)
        return;
    cancel_calls(generation);
    tg_generation_destroy(generation);
}

void tg_host_destroy(struct tg_host *host)
{
    if (host == NULL)
        return;
    close_generation(&host->prepared);
    close_generation(&host->current);
    TG_LIST_EACH (node, next, &host->draining) {
        struct tg_generation *generation = TG_CONTAINER_OF(node, struct tg_generation, node);
        tg_list_remove(node);
        close_generation(&generation);
    }
    tg_timer_stop(host->env.timers, &host->reap_timer);
    tg__rebuild_forget(host);
    tg_map_fini(&host->hook_calls);
    tg__migrations_drop(host);
    tg_map_fini(&host->remote_waits);
    tg_free(host);
}

static void update_memory_gauge(struct tg_host *host)
{
    size_t bytes = 0;
    if (host->env.metrics == NULL)
        return;
    if (host->current != NULL)
        bytes += host->current->memory_used;
    if (host->prepared != NULL)
        bytes += host->prepared->memory_used;
    TG_LIST_EACH (node, next, &host->draining)
        bytes += TG_CONTAINER_OF(node, struct tg_generation, node)->memory_used;
    tg_counter_set(&host->env.metrics->script_memory_bytes, bytes);
}

enum tg_err tg_host_prepare(struct tg_host *host, struct tg_source *source, struct tg_error *error)
{
    tg_host_abort(host);
    enum tg_err err = tg_generation_create(&host->prepared, &host->env, source, error);
    if (err != TG_ERR_OK)
        return err;
    update_memory_gauge(host);
    return TG_ERR_OK;
}

void tg_host_abort(struct tg_host *host)
{
    tg_generation_destroy(host->prepared);
    host->prepared = NULL;
    update_memory_gauge(host);
}

/* Ends what a draining generation still does. Hooks fail, runs end in agent_error `reloaded`. */
static void end_calls(struct tg_host *host, struct tg_generation *generation)
{
    struct tg_run_executor executor = tg_host_executor(host);
    generation->ended = true;
    tg_log(TG_LOG_WARN, "policy.drain_ended", tg_log_str("version", generation->version),
           tg_log_uint("calls", generation->call_count));
    while (!tg_list_empty(&generation->calls)) {
        /* A task ends with its root. */
        struct tg_call *call = TG_CONTAINER_OF(generation->calls.next, struct tg_call, node)->root;
        if (call->run == NULL) {
            tg_call_abandon(call, TG_RELOADED_TEXT);
            continue;
        }
        struct tg_run *run = tg_run_outermost(call->run); /* it ends what it has called */
        tg_run_fail(run, TG_RUN_CANCELLED_OUTCOME, "reloaded", TG_RELOADED_TEXT);
        executor.cancel(host, run);
    }
}

/* The next look is due when the first drain deadline is, or now when one has no calls any more. */
static void arm_reap(struct tg_host *host)
{
    uint64_t now = tg_timers_now_ms(host->env.timers);
    uint64_t delay = UINT64_MAX;
    TG_LIST_EACH (node, next, &host->draining) {
        const struct tg_generation *generation = TG_CONTAINER_OF(node, struct tg_generation, node);
        uint64_t left = generation->drain_until_ms > now ? generation->drain_until_ms - now : 0;
        if (generation->call_count == 0)
            left = 0;
        if (left < delay)
            delay = left;
    }
    if (delay == UINT64_MAX)
        tg_timer_stop(host->env.timers, &host->reap_timer);
    else if (tg_timer_start(host->env.timers, &host->reap_timer, delay, on_reap) != TG_ERR_OK)
        tg_log(TG_LOG_WARN, "policy.drain_timer", tg_log_str("reason", "out of memory"));
}

static void on_reap(struct tg_timer *timer)
{
    struct tg_host *host = TG_CONTAINER_OF(timer, struct tg_host, reap_timer);
    uint64_t now = tg_timers_now_ms(host->env.timers);
    TG_LIST_EACH (node, next, &host->draining) {
        struct tg_generation *generation = TG_CONTAINER_OF(node, struct tg_generation, node);
        if (generation->call_count > 0 && now >= generation->drain_until_ms)
            end_calls(host, generation);
        if (generation->call_count > 0)
            continue;
        tg_list_remove(node);
        tg_log(TG_LOG_INFO, "policy.closed", tg_log_str("version", generation->version),
               tg_log_uint("worker", host->env.worker));
        tg_generation_destroy(generation);
    }
    update_memory_gauge(host);
    arm_reap(host);
}

static void retire(struct tg_host *host, struct tg_generation *generation)
{
    generation->retired = true;
    tg_lua_timers_end(generation);
    generation->drain_until_ms =
        tg_timers_now_ms(host->env.timers) + host->options.drain_timeout_ms;
    tg_list_push(&host->draining, &generation->node);
    if (tg_host_generations(host) > host->options.max_generations) {
        struct tg_list *oldest = tg_list_first(&host->draining);
        TG_CONTAINER_OF(oldest, struct tg_generation, node)->drain_until_ms = 0;
    }
    arm_reap(host);
}

void tg__host_switch(struct tg_host *host, struct tg_generation *next)
{
    struct tg_generation *old = host->current;
    host->current = next;
    tg__rebuild_forget(host);
    if (old != NULL)
        retire(host, old);
    tg_lua_timers_begin(next);
    update_memory_gauge(host);
}

void tg_host_commit(struct tg_host *host)
{
    struct tg_generation *next = host->prepared;
    if (next == NULL)
        return;
    host->prepared = NULL;
    tg__host_switch(host, next);
}

bool tg__host_is_running(const struct tg_host *host)
{
    if (host->current != NULL && host->current->current != NULL)
        return true;
    TG_LIST_EACH (node, next, &host->draining) {
        if (TG_CONTAINER_OF(node, struct tg_generation, node)->current != NULL)
            return true;
    }
    return false;
}

void tg__host_call_ended(struct tg_host *host, struct tg_generation *generation)
{
    update_memory_gauge(host);
    if (generation->retired && generation->call_count == 0)
        arm_reap(host);
}

static void tell_facts(const struct tg_generation *generation,
                       void (*fn)(void *ctx, const struct tg_generation_facts *facts), void *ctx)
{
    fn(ctx, &(struct tg_generation_facts){.version = generation->version,
                                          .calls = generation->call_count,
                                          .memory_bytes = generation->memory_used,
                                          .draining = generation->retired});
}

const char *tg_host_version(const struct tg_host *host)
{
    return host->current == NULL ? "" : host->current->version;
}

size_t tg_host_generations(const struct tg_host *host)
{
    size_t count = host->current != NULL ? 1 : 0;
    TG_LIST_EACH (node, next, &host->draining)
        count++;
    return count;
}

void tg_host_each_generation(const struct tg_host *host,
                             void (*fn)(void *ctx, const struct tg_generation_facts *facts),
                             void *ctx)
{
    if (host->current != NULL)
        tell_facts(host->current, fn, ctx);
    TG_LIST_EACH (node, next, &host->draining)
        tell_facts(TG_CONTAINER_OF(node, struct tg_generation, node), fn, ctx);
}
