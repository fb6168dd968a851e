/* process_child.c - when an agent's process is started, and what its end means.
 *
 * It is started by the first run that needs it. One that ends is started again by the next run that does: at
 * once when it had answered somebody or lived for a while, later and later when it had not; after so many quick
 * ends it is left alone for some time, and runs fail at once.
 *
 * Nothing here runs a script: those who wait are woken from the loop, or by their own lines.
 */
#include "script/api/process_child.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "script/policy/generation.h"

#define UNREAD_BYTES_MAX ((size_t)4 << 20)
#define QUICK_MS 10000
#define PAUSE_MS UINT64_C(100)
#define PAUSE_MS_MAX UINT64_C(5000)

static struct tg_timers *timers_of(const struct tg_child *child)
{
    return child->generation->env->timers;
}

static uint64_t now_of(const struct tg_child *child)
{
    return tg_timers_now_ms(timers_of(child));
}

static struct tg_exchange *exchange_at(struct tg_list *node)
{
    return TG_CONTAINER_OF(node, struct tg_exchange, node);
}

void tg_child_set_pause(struct tg_child *child, enum tg_child_pause why, bool on)
{
    unsigned before = child->pauses;

    child->pauses = on ? before | (unsigned)why : before & ~(unsigned)why;
    if (child->process == NULL || (before == 0) == (child->pauses == 0))
        return;
    if (on)
        tg_process_pause(child->process);
    else
        tg_process_resume(child->process);
}

/* --- its end ------------------------------------------------------------------------------------ */

/* A process that answers and then ends may do so when the next request is on its way already. That one is sent
 * once more, as long as no line has come for it. */
static bool may_ask_again(const struct tg_child *child, const struct tg_exchange *exchange)
{
    return child->answered && exchange->request.len > 0 && !exchange->again &&
           exchange->code == NULL;
}

static void on_restart(struct tg_timer *timer);

static enum tg_err restart_in(struct tg_child *child, uint64_t ms)
{
    struct tg_metrics *metrics = child->generation->env->metrics;

    if (tg_timer_running(&child->restart_timer))
        return TG_ERR_OK;
    enum tg_err err = tg_timer_start(timers_of(child), &child->restart_timer, ms, on_restart);
    if (err == TG_ERR_OK && metrics != NULL)
        tg_counter_add(&metrics->process_restarts_waiting, 1);
    return err;
}

/* Its time has come, or it is not needed any more. */
static void restart_is_over(struct tg_child *child)
{
    struct tg_metrics *metrics = child->generation->env->metrics;

    if (metrics != NULL)
        tg_counter_sub(&metrics->process_restarts_waiting, 1);
}

static void end_all(struct tg_child *child, const char *text, const char *why)
{
    TG_LIST_EACH (node, next, &child->exchanges) {
        struct tg_exchange *exchange = exchange_at(node);
        exchange->sent = false; /* to none that the next one would have to be told of */
        if (may_ask_again(child, exchange) && restart_in(child, 0) == TG_ERR_OK)
            exchange->again = true;
        else
            tg_exchange_fail(exchange, "upstream_unavailable", text, why);
    }
}

/* How long before the next start. */
static void count_end(struct tg_child *child, bool started)
{
    uint64_t now_ms = now_of(child);
    uint64_t pause_ms = 0;

    if (started && (child->answered || now_ms - child->started_ms >= QUICK_MS)) {
        child->failures = 0;
    } else {
        uint64_t doublings = child->failures < 16 ? child->failures : 16;
        pause_ms = PAUSE_MS << doublings;
        child->failures++;
    }
    child->start_at_ms = now_ms + (pause_ms < PAUSE_MS_MAX ? pause_ms : PAUSE_MS_MAX);
    if (child->failures_max == 0 || child->failures < child->failures_max)
        return;
    child->left_alone_until_ms = now_ms + child->rest_ms;
    tg_log(TG_LOG_WARN, "process.left_alone", tg_log_str("name", child->name),
           tg_log_uint("worker", child->generation->env->worker),
           tg_log_uint("failures", child->failures), tg_log_uint("ms", child->rest_ms));
}

static void on_end(void *ctx, const struct tg_process_end *end)
{
    struct tg_child *child = ctx;

    child->process = NULL;
    child->pauses = 0;
    count_end(child, end->fate != TG_PROCESS_FAILED);
    end_all(child,
            end->fate == TG_PROCESS_FAILED ? "the upstream cannot be started"
                                           : "the upstream ended in the middle of its answer",
            end->text);
}

/* --- its start ---------------------------------------------------------------------------------- */

static const struct tg_process_callbacks callbacks = {tg_child_on_line, on_end};

static enum tg_err start(struct tg_child *child)
{
    const char *at = (const char *)tg_buffer_head(&child->words);
    size_t count = child->argument_count + child->variable_count + 2;
    const char **lists = tg_calloc(count, sizeof *lists);

    if (lists == NULL)
        return TG_ERR_NOMEM;
    tg_process_list_words(lists, child->argument_count, &at);
    tg_process_list_words(lists + child->argument_count + 1, child->variable_count, &at);
    struct tg_process_order order = {
        .arguments = lists,
        .environment = lists + child->argument_count + 1,
        .folder = child->folder,
        .name = child->name,
        .line_max = child->line_max,
    };
    enum tg_err err = tg_process_start(child->generation->env->processes, &order, &callbacks, child,
                                       &child->process);
    tg_free(lists);
    child->answered = false;
    child->started_ms = now_of(child);
    /* Lines that still wait for runs count on. */
    if (err == TG_ERR_OK && child->pauses != 0)
        tg_process_pause(child->process);
    return err;
}

static enum tg_err send_request(struct tg_child *child, struct tg_exchange *exchange)
{
    enum tg_err err =
        tg_process_write(child->process, tg_buffer_head(&exchange->request), exchange->request.len);
    exchange->sent = err == TG_ERR_OK;
    return err;
}

static void fail_without_memory(struct tg_exchange *exchange)
{
    tg_exchange_fail(exchange, "upstream_unavailable", "the upstream cannot be reached",
                     "out of memory");
}

static void on_restart(struct tg_timer *timer)
{
    struct tg_child *child = TG_CONTAINER_OF(timer, struct tg_child, restart_timer);

    restart_is_over(child);
    if (child->process != NULL || tg_list_empty(&child->exchanges))
        return;
    enum tg_err err = start(child);
    TG_LIST_EACH (node, next, &child->exchanges) {
        struct tg_exchange *exchange = exchange_at(node);
        if (exchange->sent || exchange->code != NULL)
            continue;
        if (err != TG_ERR_OK || send_request(child, exchange) != TG_ERR_OK)
            fail_without_memory(exchange);
    }
}

/* Of all requests that the process has not read. */
static size_t unread(const struct tg_child *child)
{
    size_t bytes = child->process == NULL ? 0 : tg_process_unwritten(child->process);

    TG_LIST_EACH (node, next, &child->exchanges)
        if (!exchange_at(node)->sent && exchange_at(node)->code == NULL)
            bytes += exchange_at(node)->request.len;
    return bytes;
}

static enum tg_err begin_or_wait(struct tg_child *child, struct tg_exchange *exchange)
{
    uint64_t now_ms = now_of(child);

    if (child->process == NULL && now_ms < child->start_at_ms)
        return restart_in(child, child->start_at_ms - now_ms);
    enum tg_err err = child->process == NULL ? start(child) : TG_ERR_OK;
    return err == TG_ERR_OK ? send_request(child, exchange) : err;
}

bool tg_child_ask(struct tg_child *child, struct tg_exchange *exchange)
{
    size_t others = unread(child) - exchange->request.len;

    if (now_of(child) < child->left_alone_until_ms)
        tg_exchange_fail(exchange, "upstream_unavailable", "the upstream cannot be reached",
                         "several quick ends one after the other: not started");
    else if (others > 0 && others + exchange->request.len > UNREAD_BYTES_MAX)
        tg_exchange_fail(exchange, "upstream_unavailable", "the upstream takes no more requests",
                         "it does not read its standard input");
    else if (begin_or_wait(child, exchange) != TG_ERR_OK)
        fail_without_memory(exchange);
    return exchange->code == NULL;
}

void tg_child_free(struct tg_child *child)
{
    TG_LIST_EACH (node, next, &child->exchanges)
        tg_exchange_end(exchange_at(node), true);
    if (timers_of(child) != NULL) {
        if (tg_timer_running(&child->restart_timer))
            restart_is_over(child);
        tg_timer_stop(timers_of(child), &child->restart_timer);
        tg_timer_stop(timers_of(child), &child->breath_timer);
    }
    if (child->process != NULL)
        tg_process_close(child->process);
    child->process = NULL;
    tg_buffer_fini(&child->words);
    tg_free(child->folder);
    child->folder = NULL;
}
