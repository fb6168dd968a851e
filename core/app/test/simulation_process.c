/* simulation_process.c - processes that somebody plays.
 *
 *   started ─[play: acts]─> … act due ─> on_line … ─> on_end, freed          [close] ─> freed
 *
 * I1  Callbacks run from timers only, so never inside start, write, pause, resume, close or play.
 * I2  A process that is closed inside a callback of its own is freed when that has returned.
 */
#include "app/test/simulation_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/list.h"
#include "base/memory.h"

struct sim_processes {
    struct tg_processes base;
    struct tg_timers *timers;
    struct tg_list all;    /* in the order of their start */
    struct tg_list news;   /* struct news.node; oldest first */
    struct tg_buffer told; /* owned; what next has handed out last */
    size_t last_number;
};

struct news {
    struct tg_list node;
    enum tg_sim_process_kind kind;
    size_t number;
    size_t len;
    char bytes[];
};

struct act {
    struct tg_list node;
    struct tg_sim_act what; /* `line` is `bytes` */
    char bytes[];
};

struct process {
    struct tg_process base;
    struct tg_list node;
    size_t number;
    const struct tg_process_callbacks *callbacks;
    void *ctx;
    bool paused;
    bool in_callback;
    bool closed;
    struct tg_list acts; /* struct act.node; owned */
    struct tg_timer timer;
    uint64_t due_ms; /* of the first act */
};

static struct sim_processes *all_of(const struct tg_processes *from)
{
    return (struct sim_processes *)(uintptr_t)(const void *)from;
}

static struct process *process_of(struct tg_process *process)
{
    return (struct process *)(void *)process;
}

static struct tg_timers *timers_of(const struct process *process)
{
    return all_of(process->base.from)->timers;
}

static enum tg_err add_news(struct sim_processes *all, enum tg_sim_process_kind kind, size_t number,
                            const void *data, size_t len)
{
    struct news *news = tg_calloc(1, sizeof *news + len + 1);

    if (news == NULL)
        return TG_ERR_NOMEM;
    news->kind = kind;
    news->number = number;
    news->len = len;
    if (len > 0)
        memcpy(news->bytes, data, len);
    tg_list_push(&all->news, &news->node);
    return TG_ERR_OK;
}

static struct act *first_act(const struct process *process)
{
    return TG_CONTAINER_OF(tg_list_first(&process->acts), struct act, node);
}

static void free_process(struct process *process)
{
    TG_LIST_EACH (node, next, &process->acts)
        tg_free(TG_CONTAINER_OF(node, struct act, node));
    tg_timer_stop(timers_of(process), &process->timer);
    tg_list_remove(&process->node);
    tg_free(process);
}

/* --- what it does ------------------------------------------------------------------------------- */

static void end(struct process *process, int status)
{
    char text[64];
    struct tg_process_end how = {.fate = status < 0 ? TG_PROCESS_KILLED : TG_PROCESS_EXITED,
                                 .number = abs(status),
                                 .text = text};

    (void)snprintf(text, sizeof text, status < 0 ? "killed by signal %d" : "exited with status %d",
                   abs(status));
    process->callbacks->on_end(process->ctx, &how);
    free_process(process);
}

static void on_due(struct tg_timer *timer);

static void arm(struct process *process)
{
    uint64_t now_ms = tg_timers_now_ms(timers_of(process));

    if (process->paused || tg_list_empty(&process->acts) || tg_timer_running(&process->timer))
        return;
    /* A test that is out of memory has no result. */
    if (tg_timer_start(timers_of(process), &process->timer,
                       process->due_ms > now_ms ? process->due_ms - now_ms : 0,
                       on_due) != TG_ERR_OK)
        abort();
}

static void on_due(struct tg_timer *timer)
{
    struct process *process = TG_CONTAINER_OF(timer, struct process, timer);
    struct act *act = first_act(process);
    struct tg_sim_act what = act->what;

    tg_list_remove(&act->node);
    if (what.line == NULL) {
        tg_free(act);
        end(process, what.status);
        return;
    }
    process->in_callback = true;
    process->callbacks->on_line(process->ctx, what.line, what.len, false);
    process->in_callback = false;
    tg_free(act);
    if (process->closed) {
        free_process(process);
        return;
    }
    if (!tg_list_empty(&process->acts))
        process->due_ms = tg_timers_now_ms(timers_of(process)) + first_act(process)->what.delay_ms;
    arm(process);
}

/* --- as processes --------------------------------------------------------------------------------- */

static enum tg_err add_words(struct tg_buffer *out, const char *const *list)
{
    enum tg_err err = TG_ERR_OK;

    for (; *list != NULL && err == TG_ERR_OK; list++)
        err = tg_buffer_append(out, *list, strlen(*list) + 1);
    return err;
}

/* "argument\0…\0NAME=value\0…" */
static enum tg_err tell_start(struct sim_processes *all, size_t number,
                              const struct tg_process_order *order)
{
    struct tg_buffer words = TG_BUFFER_INIT;
    enum tg_err err = add_words(&words, order->arguments);

    if (err == TG_ERR_OK)
        err = tg_buffer_append(&words, "", 1);
    if (err == TG_ERR_OK)
        err = add_words(&words, order->environment);
    if (err == TG_ERR_OK)
        err = add_news(all, TG_SIM_PROCESS_STARTED, number, tg_buffer_head(&words), words.len);
    tg_buffer_fini(&words);
    return err;
}

static enum tg_err start(struct tg_processes *from, const struct tg_process_order *order,
                         const struct tg_process_callbacks *callbacks, void *ctx,
                         struct tg_process **out)
{
    struct sim_processes *all = all_of(from);
    struct process *process = tg_calloc(1, sizeof *process);

    if (process == NULL || tell_start(all, all->last_number + 1, order) != TG_ERR_OK) {
        tg_free(process);
        return TG_ERR_NOMEM;
    }
    process->base.from = from;
    process->number = ++all->last_number;
    process->callbacks = callbacks;
    process->ctx = ctx;
    tg_list_init(&process->acts);
    tg_list_push(&all->all, &process->node);
    *out = &process->base;
    return TG_ERR_OK;
}

static enum tg_err write_to(struct tg_process *base, const void *data, size_t len)
{
    return add_news(all_of(base->from), TG_SIM_PROCESS_WRITTEN, process_of(base)->number, data,
                    len);
}

static size_t unwritten(const struct tg_process *base)
{
    (void)base;
    return 0;
}

static void pause_process(struct tg_process *base)
{
    struct process *process = process_of(base);

    process->paused = true;
    tg_timer_stop(timers_of(process), &process->timer);
}

static void resume_process(struct tg_process *base)
{
    struct process *process = process_of(base);

    process->paused = false;
    if (!process->in_callback)
        arm(process);
}

static void close_process(struct tg_process *base)
{
    struct process *process = process_of(base);

    process->closed = true;
    /* Nobody is left who could be told, and so nothing that could go wrong. */
    (void)!add_news(all_of(base->from), TG_SIM_PROCESS_CLOSED, process->number, NULL, 0);
    if (!process->in_callback)
        free_process(process);
}

static void stop(struct tg_processes *from)
{
    (void)from; /* no loop waits for them */
}

static void destroy(struct tg_processes *from)
{
    struct sim_processes *all = all_of(from);

    TG_LIST_EACH (node, next, &all->all)
        free_process(TG_CONTAINER_OF(node, struct process, node));
    TG_LIST_EACH (node, next, &all->news)
        tg_free(TG_CONTAINER_OF(node, struct news, node));
    tg_buffer_fini(&all->told);
    tg_free(all);
}

enum tg_err tg_sim_processes_create(struct tg_processes **out, struct tg_timers *timers)
{
    static const struct tg_processes_ops ops = {
        .start = start,
        .write = write_to,
        .unwritten = unwritten,
        .pause = pause_process,
        .resume = resume_process,
        .close = close_process,
        .stop = stop,
        .destroy = destroy,
    };
    struct sim_processes *all = tg_calloc(1, sizeof *all);

    if (all == NULL)
        return TG_ERR_NOMEM;
    all->base.ops = &ops;
    all->timers = timers;
    tg_list_init(&all->all);
    tg_list_init(&all->news);
    *out = &all->base;
    return TG_ERR_OK;
}

/* --- for who plays them --------------------------------------------------------------------------- */

bool tg_sim_processes_have_news(const struct tg_processes *from)
{
    return !tg_list_empty(&all_of(from)->news);
}

bool tg_sim_processes_next(struct tg_processes *from, struct tg_sim_process_news *out)
{
    struct sim_processes *all = all_of(from);
    struct tg_list *node = tg_list_first(&all->news);

    if (node == NULL)
        return false;
    struct news *news = TG_CONTAINER_OF(node, struct news, node);
    tg_list_remove(node);
    tg_buffer_clear(&all->told);
    bool kept = tg_buffer_append(&all->told, news->bytes, news->len) == TG_ERR_OK;
    *out = (struct tg_sim_process_news){
        .kind = news->kind,
        .number = news->number,
        .data = kept ? tg_buffer_head(&all->told) : NULL,
        .len = kept ? news->len : 0,
    };
    tg_free(news);
    return true;
}

enum tg_err tg_sim_processes_play(struct tg_processes *from, size_t number,
                                  const struct tg_sim_act *what)
{
    struct sim_processes *all = all_of(from);

    TG_LIST_EACH (node, next, &all->all) {
        struct process *process = TG_CONTAINER_OF(node, struct process, node);
        if (process->number != number)
            continue;
        struct act *act = tg_calloc(1, sizeof *act + what->len + 1);
        if (act == NULL)
            return TG_ERR_NOMEM;
        act->what = *what;
        if (what->line != NULL) {
            memcpy(act->bytes, what->line, what->len);
            act->what.line = act->bytes;
        }
        if (tg_list_empty(&process->acts))
            process->due_ms = tg_timers_now_ms(all->timers) + what->delay_ms;
        tg_list_push(&process->acts, &act->node);
        arm(process);
    }
    return TG_ERR_OK;
}
