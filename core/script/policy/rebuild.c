/* rebuild.c - a state that cannot be trusted any more is built anew, from the source it was built from.
 *
 *   trusted ─[ask]─> wanted ─[due, from the loop]─> rebuilt: current; the old one drains as after a reload
 *                      └──[the build fails]──> the old one goes on until the next ask
 *
 * The version stays the same and connections notice nothing: what is theirs lives in the core. What the
 * policy kept in its own variables on this worker is gone, which is the point.
 *
 * A policy that spoils its state at once must not keep a worker busy building: a second rebuild waits
 * for a second, and each one that comes soon after waits twice as long.
 */
#include "script/policy/rebuild.h"

#include "base/log.h"
#include "script/host_internal.h"

#define DELAY_MS_MIN UINT64_C(1000)
#define DELAY_MS_MAX UINT64_C(60000)

/* For the calls that still wait in a state that is full: a wait takes some hundred bytes. */
#define LAST_ROOM ((size_t)1 << 20)

static void rebuild(struct tg_host *host)
{
    struct tg_error error;
    struct tg_generation *fresh;
    struct tg_generation *old = host->current;
    enum tg_rebuild cause = host->rebuild.why;
    const char *why = tg_rebuild_names[cause];
    uint64_t now = tg_timers_now_ms(host->env.timers);
    bool soon = now < host->rebuild.not_before_ms + host->rebuild.delay_ms;

    tg__rebuild_forget(host);
    host->rebuild.delay_ms = soon ? host->rebuild.delay_ms * 2 : DELAY_MS_MIN;
    if (host->rebuild.delay_ms > DELAY_MS_MAX)
        host->rebuild.delay_ms = DELAY_MS_MAX;
    host->rebuild.not_before_ms = now + host->rebuild.delay_ms;
    if (tg_generation_create(&fresh, &host->env, old->source, &error) != TG_ERR_OK) {
        tg_log(TG_LOG_ERROR, "policy.rebuild_failed", tg_log_str("reason", why),
               tg_log_uint("worker", host->env.worker), tg_log_str("version", old->version),
               tg_log_str("error", error.text));
        return;
    }
    if (host->env.metrics != NULL)
        tg_counter_add(&host->env.metrics->script_rebuilds[host->rebuild.why], 1);
    tg_log(TG_LOG_WARN, "policy.rebuilt", tg_log_str("reason", why),
           tg_log_uint("worker", host->env.worker), tg_log_str("version", old->version),
           tg_log_uint("bytes_before", old->memory_used), tg_log_uint("bytes", fresh->memory_used));
    if (cause == TG_REBUILD_MEMORY)
        old->memory_max += LAST_ROOM;
    tg__host_switch(host, fresh);
}

static void on_due(struct tg_timer *timer)
{
    struct tg_host *host = TG_CONTAINER_OF(timer, struct tg_host, rebuild.timer);
    if (host->rebuild.wanted)
        rebuild(host);
}

void tg__rebuild_ask(struct tg_generation *generation, enum tg_rebuild why)
{
    struct tg_host *host = tg__host_of(generation);
    if (host == NULL || host->current != generation || host->rebuild.wanted)
        return;
    uint64_t now = tg_timers_now_ms(host->env.timers);
    uint64_t not_before = host->rebuild.not_before_ms;
    if (tg_timer_start(host->env.timers, &host->rebuild.timer,
                       not_before > now ? not_before - now : 0, on_due) != TG_ERR_OK)
        return; /* no memory; the next call that fails asks again */
    host->rebuild.wanted = true;
    host->rebuild.why = why;
}

void tg__rebuild_if_due(struct tg_host *host)
{
    if (host->rebuild.wanted && !tg__host_is_running(host) &&
        tg_timers_now_ms(host->env.timers) >= host->rebuild.not_before_ms)
        rebuild(host);
}

void tg__rebuild_forget(struct tg_host *host)
{
    host->rebuild.wanted = false;
    tg_timer_stop(host->env.timers, &host->rebuild.timer);
}
