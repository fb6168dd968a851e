/* process.c - the life of a child process.
 *
 *   ordered ─[the loop's next turn]─> runs ─[closed, or it shuts a pipe]─> ending ─[exit]─> gone ─> over
 *                                       └──────────────[exit]──────────────────────────────^
 *
 * A child is the leader of a session and so of a process group of its own: what is sent to it reaches what it
 * has started, too, and a terminal's Ctrl-C does not reach it. It has three descriptors and no other.
 *
 * When the server itself is killed, nobody is there to end its children; they then read the end of their
 * input. (A signal for that moment, PR_SET_PDEATHSIG, would have to be asked for between fork and exec,
 * where uv_spawn lets nobody in.)
 *
 * I1  Ending takes three steps: the end of its input, SIGTERM, SIGKILL. Each is bounded.
 * I2  It is waited for exactly once, by libuv; after that its group is killed, so that nobody is left who
 *     holds the pipes. Who has left the group and holds them is not waited for longer than LINGER_MS.
 * I3  Memory is freed when the last handle has closed.
 */
#include "net/process.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "net/process_internal.h"

#define GRACE_MS 1000
#define TERM_MS 2000
#define LINGER_MS 1000

static const char not_needed[] = "it is not needed any more";

static void free_process(struct tg__process *process)
{
    struct tg__processes *processes = tg__processes_of(process);

    tg_list_remove(&process->node);
    tg__process_free_bytes(process);
    tg_buffer_fini(&process->words);
    tg_free(process->folder);
    tg_free(process->name);
    tg_free(process);
    if (processes->destroyed && tg_list_empty(&processes->all))
        tg_free(processes);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct tg__process *process = handle->data;

    assert(process->handles > 0);
    if (--process->handles == 0)
        free_process(process);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_handle_closed);
}

/* Nothing more will come of it. */
static void finish(struct tg__process *process)
{
    const struct tg_process_callbacks *callbacks = process->callbacks;

    process->phase = TG__PROCESS_OVER;
    process->callbacks = NULL;
    for (int i = 0; i < TG__PROCESS_PIPES; i++)
        close_handle((uv_handle_t *)&process->pipes[i]);
    for (int i = 0; i < TG__PROCESS_TIMERS; i++)
        close_handle((uv_handle_t *)&process->timers[i]);
    if (process->child.data != NULL)
        close_handle((uv_handle_t *)&process->child);
    if (callbacks != NULL)
        callbacks->on_end(process->ctx, &process->end);
}

static void on_step(uv_timer_t *timer);

static void step_in(struct tg__process *process, uint64_t ms)
{
    (void)uv_timer_start(&process->timers[TG__PROCESS_STEP], on_step, ms, 0);
}

void tg__process_settle(struct tg__process *process)
{
    if (process->phase != TG__PROCESS_GONE)
        return;
    if (process->out_ended && process->err_ended && process->held.len == 0)
        finish(process);
    else if (!process->paused && !uv_is_active((uv_handle_t *)&process->timers[TG__PROCESS_STEP]))
        step_in(process, LINGER_MS);
}

/* --- its end ------------------------------------------------------------------------------------ */

/* To it and to all that it has started. */
static void send_signal(const struct tg__process *process, int number)
{
    (void)kill(-process->pid, number); /* fails when nobody is there */
}

void tg__process_begin_end(struct tg__process *process, const char *why)
{
    uint64_t grace_ms = tg__processes_of(process)->options.grace_ms;

    if (process->phase != TG__PROCESS_RUNS)
        return;
    process->phase = TG__PROCESS_ENDING;
    process->why = why;
    close_handle((uv_handle_t *)&process->pipes[TG__PROCESS_IN]);
    step_in(process, grace_ms == 0 ? GRACE_MS : grace_ms);
}

/* It has not ended by itself in the time that it had. */
static void press(struct tg__process *process)
{
    uint64_t term_ms = tg__processes_of(process)->options.term_ms;

    if (process->terminated) {
        send_signal(process, SIGKILL);
        return;
    }
    process->terminated = true;
    send_signal(process, SIGTERM);
    step_in(process, term_ms == 0 ? TERM_MS : term_ms);
}

static void describe_end(struct tg__process *process, char *out, size_t size)
{
    struct tg_process_end *end = &process->end;
    const char *because = process->why == NULL ? "" : process->why;

    if (end->fate == TG_PROCESS_KILLED)
        (void)snprintf(out, size, "%s%skilled by signal %d (%s)", because,
                       *because == '\0' ? "" : "; ", end->number, strsignal(end->number));
    else
        (void)snprintf(out, size, "%s%sexited with status %d", because,
                       *because == '\0' ? "" : "; ", end->number);
}

/* The end of its output is often seen before that of a process which has ended by itself: that it had to end then
 * does not tell whether it was made to. */
static enum tg_process_ended reason_of(const struct tg__process *process)
{
    if (process->end.fate == TG_PROCESS_FAILED)
        return TG_PROCESS_ENDED_NOT_STARTED;
    if (process->terminated || process->why == not_needed)
        return TG_PROCESS_ENDED_STOPPED;
    if (process->end.fate == TG_PROCESS_KILLED)
        return TG_PROCESS_ENDED_KILLED;
    return process->end.number == 0 ? TG_PROCESS_ENDED_EXITED : TG_PROCESS_ENDED_FAILED;
}

static void count_end(const struct tg__process *process)
{
    struct tg_metrics *metrics = tg__processes_of(process)->options.metrics;

    if (metrics == NULL)
        return;
    if (process->pid != 0)
        tg_counter_sub(&metrics->processes, 1);
    tg_counter_add(&metrics->processes_ended[reason_of(process)], 1);
}

static void on_child_exit(uv_process_t *child, int64_t status, int signal_number)
{
    struct tg__process *process = child->data;
    uint64_t lived_ms = uv_now(tg__processes_of(process)->loop) - process->started_ms;

    /* At once: the number of a group that is empty will be given away again, but not so soon. */
    send_signal(process, SIGKILL);
    process->phase = TG__PROCESS_GONE;
    process->end.fate = signal_number != 0 ? TG_PROCESS_KILLED : TG_PROCESS_EXITED;
    process->end.number = signal_number != 0 ? signal_number : (int)status;
    describe_end(process, process->end_text, sizeof process->end_text);
    process->end.text = process->end_text;
    count_end(process);
    tg_log(process->why == NULL && process->end.number != 0 ? TG_LOG_WARN : TG_LOG_INFO,
           "process.ended", tg_log_str("name", process->name), tg_log_int("pid", process->pid),
           tg_log_uint("worker", tg__processes_of(process)->options.worker),
           tg_log_str("how", process->end.text), tg_log_uint("lived_ms", lived_ms));
    (void)uv_timer_stop(&process->timers[TG__PROCESS_STEP]);
    close_handle((uv_handle_t *)child);
    close_handle((uv_handle_t *)&process->pipes[TG__PROCESS_IN]);
    tg__process_settle(process);
}

/* --- its start ---------------------------------------------------------------------------------- */

static void count_start(const struct tg__processes *processes)
{
    struct tg_metrics *metrics = processes->options.metrics;

    if (metrics == NULL)
        return;
    tg_counter_add(&metrics->processes, 1);
    tg_counter_add(&metrics->upstream_processes_started, 1);
}

static void begin(struct tg__process *process)
{
    const struct tg__processes *processes = tg__processes_of(process);
    /* A child that came after stop() would be ended by nobody, and its loop would wait for it. */
    int rc = processes->stopped ? UV_ECANCELED : tg__process_spawn(process, on_child_exit);

    if (rc != 0) {
        (void)snprintf(process->end_text, sizeof process->end_text, "it cannot be started: %s",
                       uv_strerror(rc));
        process->end = (struct tg_process_end){TG_PROCESS_FAILED, rc, process->end_text};
        count_end(process);
        tg_log(TG_LOG_WARN, "process.failed", tg_log_str("name", process->name),
               tg_log_uint("worker", processes->options.worker),
               tg_log_str("why", uv_strerror(rc)));
        finish(process);
        return;
    }
    process->phase = TG__PROCESS_RUNS;
    process->pid = process->child.pid;
    process->started_ms = uv_now(processes->loop);
    count_start(processes);
    tg_log(TG_LOG_INFO, "process.started", tg_log_str("name", process->name),
           tg_log_int("pid", process->pid), tg_log_uint("worker", processes->options.worker));
    tg__process_read(process);
    tg__process_send(process);
}

static void on_step(uv_timer_t *timer)
{
    struct tg__process *process = timer->data;

    switch (process->phase) {
    case TG__PROCESS_ORDERED:
        begin(process);
        return;
    case TG__PROCESS_ENDING:
        press(process);
        return;
    case TG__PROCESS_GONE: /* somebody else holds its pipes */
        if (!process->paused) {
            tg__process_stop_reading(process);
            tg__process_settle(process);
        }
        return;
    case TG__PROCESS_RUNS:
    case TG__PROCESS_OVER:
        return;
    }
}

/* None of these can fail: they open nothing yet. */
static void init_handles(struct tg__process *process, uv_loop_t *loop)
{
    for (int i = 0; i < TG__PROCESS_PIPES; i++) {
        (void)uv_pipe_init(loop, &process->pipes[i], 0);
        process->pipes[i].data = process;
    }
    for (int i = 0; i < TG__PROCESS_TIMERS; i++) {
        (void)uv_timer_init(loop, &process->timers[i]);
        process->timers[i].data = process;
    }
    process->handles = TG__PROCESS_PIPES + TG__PROCESS_TIMERS;
}

static enum tg_err start(struct tg_processes *from, const struct tg_process_order *order,
                         const struct tg_process_callbacks *callbacks, void *ctx,
                         struct tg_process **out)
{
    struct tg__processes *processes = TG_CONTAINER_OF(from, struct tg__processes, base);
    struct tg__process *process = tg_calloc(1, sizeof *process);

    if (process == NULL)
        return TG_ERR_NOMEM;
    process->base.from = from;
    process->callbacks = callbacks;
    process->ctx = ctx;
    tg_list_init(&process->node);
    if (tg__process_copy_order(process, order) != TG_ERR_OK) {
        free_process(process);
        return TG_ERR_NOMEM;
    }
    tg_list_push(&processes->all, &process->node);
    init_handles(process, processes->loop);
    /* Not from in here, where a script's time is running: a fork may take milliseconds. */
    step_in(process, 0);
    *out = &process->base;
    return TG_ERR_OK;
}

/* --- its owner goes ------------------------------------------------------------------------------ */

static void close_process(struct tg_process *base)
{
    struct tg__process *process = tg__process_of(base);

    process->callbacks = NULL;
    if (process->phase == TG__PROCESS_ORDERED) {
        finish(process);
        return;
    }
    tg__process_begin_end(process, not_needed);
    tg__process_forget_lines(process);
    tg__process_settle(process);
}

/* A thread that is about to end lets go of its handles. Those that wait for the end of a child have to stay. */
static void hold_loop(struct tg__process *process)
{
    if (process->pid != 0 && process->phase < TG__PROCESS_OVER) {
        if (!uv_is_closing((uv_handle_t *)&process->child))
            uv_ref((uv_handle_t *)&process->child);
        for (int i = 0; i < TG__PROCESS_TIMERS; i++)
            uv_ref((uv_handle_t *)&process->timers[i]);
        for (int i = TG__PROCESS_OUT; i < TG__PROCESS_PIPES; i++)
            uv_ref((uv_handle_t *)&process->pipes[i]);
    }
}

/* A write that waits for a child which does not read would keep the loop from ending. */
static void stop(struct tg_processes *from)
{
    struct tg__processes *processes = TG_CONTAINER_OF(from, struct tg__processes, base);

    processes->stopped = true;
    TG_LIST_EACH (node, next, &processes->all)
        tg__process_begin_end(TG_CONTAINER_OF(node, struct tg__process, node), not_needed);
}

static void destroy(struct tg_processes *from)
{
    struct tg__processes *processes = TG_CONTAINER_OF(from, struct tg__processes, base);

    TG_LIST_EACH (node, next, &processes->all) {
        struct tg__process *process = TG_CONTAINER_OF(node, struct tg__process, node);
        if (process->phase != TG__PROCESS_OVER)
            close_process(&process->base);
        hold_loop(process);
    }
    processes->destroyed = true;
    if (tg_list_empty(&processes->all))
        tg_free(processes);
}

enum tg_err tg_processes_create(struct tg_processes **out, struct uv_loop_s *loop,
                                const struct tg_processes_options *options)
{
    static const struct tg_processes_ops ops = {
        .start = start,
        .write = tg__process_write,
        .unwritten = tg__process_unwritten,
        .pause = tg__process_pause,
        .resume = tg__process_resume,
        .close = close_process,
        .stop = stop,
        .destroy = destroy,
    };
    struct tg__processes *processes = tg_calloc(1, sizeof *processes);

    if (processes == NULL)
        return TG_ERR_NOMEM;
    processes->base.ops = &ops;
    processes->loop = loop;
    processes->options = *options;
    tg_list_init(&processes->all);
    *out = &processes->base;
    return TG_ERR_OK;
}
