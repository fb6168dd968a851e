/* process_pipes.c - what goes through the three pipes of a child.
 *
 * Its input gets what was written, in order, as fast as it reads. Its output is cut into lines and told, or
 * held back. What it says on standard error is in process_words.c.
 *
 * I1  At most one read buffer is taken from a pipe in a turn of the loop, so that a child that floods leaves
 *     the others theirs.
 * I2  While paused nothing is read of its output; `held` is at most what one read has brought.
 */
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "net/process_internal.h"

#define CUT_HEAD_MAX ((size_t)1024) /* of a line that is too long: told at least that much */

/* --- to the child ------------------------------------------------------------------------------- */

static void on_written(uv_write_t *request, int status)
{
    struct tg__process *process = TG_CONTAINER_OF(request, struct tg__process, request);

    process->writing = false;
    tg_buffer_fini(&process->sending);
    if (status == UV_ECANCELED)
        return;
    if (status < 0)
        tg__process_begin_end(process, "it has closed its standard input");
    else
        tg__process_send(process);
}

void tg__process_send(struct tg__process *process)
{
    uv_pipe_t *in = &process->pipes[TG__PROCESS_IN];

    if (process->phase != TG__PROCESS_RUNS || process->writing || process->waiting.len == 0)
        return;
    process->sending = process->waiting;
    process->waiting = TG_BUFFER_INIT;
    uv_buf_t bytes = {.base = (char *)tg_buffer_head(&process->sending),
                      .len = process->sending.len};
    process->writing = true;
    if (uv_write(&process->request, (uv_stream_t *)in, &bytes, 1, on_written) == 0)
        return;
    process->writing = false;
    tg_buffer_fini(&process->sending);
    tg__process_begin_end(process, "its standard input cannot be written");
}

enum tg_err tg__process_write(struct tg_process *base, const void *data, size_t len)
{
    struct tg__process *process = tg__process_of(base);

    if (process->phase > TG__PROCESS_RUNS)
        return TG_ERR_OK; /* its end will be told */
    enum tg_err err = tg_buffer_append(&process->waiting, data, len);
    if (err == TG_ERR_OK)
        tg__process_send(process);
    return err;
}

size_t tg__process_unwritten(const struct tg_process *base)
{
    const struct tg__process *process = TG_CONTAINER_OF(base, const struct tg__process, base);
    const uv_stream_t *in = (const uv_stream_t *)&process->pipes[TG__PROCESS_IN];

    return process->waiting.len + (process->writing ? uv_stream_get_write_queue_size(in) : 0);
}

/* --- lines -------------------------------------------------------------------------------------- */

void tg__process_reset_splitter(struct tg_line_splitter *splitter, size_t max)
{
    tg_line_splitter_fini(splitter);
    *splitter = (struct tg_line_splitter){.max = max};
}

struct tg_line tg__process_long_line(struct tg_line_splitter *splitter, const char *data,
                                     size_t len)
{
    size_t more = len < CUT_HEAD_MAX ? len : CUT_HEAD_MAX;

    if (splitter->partial.len == 0 || tg_buffer_append(&splitter->partial, data, more) != TG_ERR_OK)
        return (struct tg_line){data, more};
    return (struct tg_line){(const char *)tg_buffer_head(&splitter->partial),
                            splitter->partial.len};
}

size_t tg__process_skip_line(const char *data, size_t len, bool *skipping)
{
    const char *lf = memchr(data, '\n', len);

    *skipping = lf == NULL;
    return lf == NULL ? len : (size_t)(lf - data) + 1;
}

/* Tells lines until somebody pauses or closes; returns how many bytes are dealt with. */
static size_t tell_lines(struct tg__process *process, const char *data, size_t len)
{
    size_t done = 0;

    while (done < len && process->callbacks != NULL && !process->paused) {
        struct tg_line line = {NULL, 0};
        size_t used = 0;
        if (process->skipping) {
            done += tg__process_skip_line(data + done, len - done, &process->skipping);
            continue;
        }
        enum tg_err err =
            tg_line_splitter_feed(&process->lines, data + done, len - done, &used, &line);
        if (err == TG_ERR_OK) {
            done += used;
            if (line.data != NULL)
                process->callbacks->on_line(process->ctx, line.data, line.len, false);
            continue;
        }
        process->skipping = true;
        line = tg__process_long_line(&process->lines, data + done, len - done);
        process->callbacks->on_line(process->ctx, line.data, line.len, true);
        tg__process_reset_splitter(&process->lines, process->lines.max);
    }
    return done;
}

static void take_output(struct tg__process *process, const char *data, size_t len)
{
    size_t done = tell_lines(process, data, len);

    if (done == len || process->callbacks == NULL)
        return;
    if (tg_buffer_append(&process->held, data + done, len - done) != TG_ERR_OK)
        tg__process_begin_end(process, "there is no memory for its lines");
}

/* A last line without an end is one, too. */
static void tell_rest(struct tg__process *process)
{
    struct tg_line line = tg_line_splitter_rest(&process->lines);

    if (line.data != NULL && !process->skipping && process->callbacks != NULL)
        process->callbacks->on_line(process->ctx, line.data, line.len, false);
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct tg__process *process = stream->data;

    if (n == 0 || n == UV_ENOBUFS || process->out_ended)
        return;
    process->out_turn = n == (ssize_t)buf->len;
    if (n > 0) {
        take_output(process, buf->base, (size_t)n);
        return;
    }
    (void)uv_read_stop(stream);
    process->out_ended = true;
    tell_rest(process);
    tg__process_begin_end(process, "it has closed its standard output");
    tg__process_settle(process);
}

/* --- reading ------------------------------------------------------------------------------------ */

/* No buffer ends the row of reads until the next turn; see stream.c. */
void tg__process_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct tg__process *process = handle->data;
    struct tg__processes *processes = tg__processes_of(process);
    bool is_output = handle == (uv_handle_t *)&process->pipes[TG__PROCESS_OUT];
    bool *turn = is_output ? &process->out_turn : &process->err_turn;

    (void)suggested;
    *buf = *turn ? uv_buf_init(NULL, 0)
                 : uv_buf_init(processes->read_buffer, sizeof processes->read_buffer);
    *turn = false;
}

static void read_output(struct tg__process *process)
{
    if (!process->out_ended && !process->paused)
        (void)uv_read_start((uv_stream_t *)&process->pipes[TG__PROCESS_OUT], tg__process_alloc,
                            on_output);
}

void tg__process_read(struct tg__process *process)
{
    read_output(process);
    tg__process_listen(process);
}

static void on_kick(uv_timer_t *timer)
{
    struct tg__process *process = timer->data;
    struct tg_buffer held = process->held;

    if (process->paused || process->phase == TG__PROCESS_OVER)
        return;
    process->held = TG_BUFFER_INIT;
    take_output(process, (const char *)tg_buffer_head(&held), held.len);
    tg_buffer_fini(&held);
    if (process->phase != TG__PROCESS_OVER)
        read_output(process);
    tg__process_settle(process);
}

void tg__process_pause(struct tg_process *base)
{
    struct tg__process *process = tg__process_of(base);

    process->paused = true;
    if (process->pid != 0 && !process->out_ended)
        (void)uv_read_stop((uv_stream_t *)&process->pipes[TG__PROCESS_OUT]);
}

void tg__process_resume(struct tg_process *base)
{
    struct tg__process *process = tg__process_of(base);

    if (!process->paused)
        return;
    process->paused = false;
    if (process->pid != 0)
        (void)uv_timer_start(&process->timers[TG__PROCESS_KICK], on_kick, 0, 0);
}

void tg__process_forget_lines(struct tg__process *process)
{
    tg_buffer_fini(&process->held);
    tg_line_splitter_fini(&process->lines);
    process->paused = false;
    if (process->pid != 0)
        read_output(process);
}

void tg__process_stop_reading(struct tg__process *process)
{
    (void)uv_read_stop((uv_stream_t *)&process->pipes[TG__PROCESS_OUT]);
    (void)uv_read_stop((uv_stream_t *)&process->pipes[TG__PROCESS_ERR]);
    process->out_ended = true;
    process->err_ended = true;
}

void tg__process_free_bytes(struct tg__process *process)
{
    tg_buffer_fini(&process->waiting);
    tg_buffer_fini(&process->sending);
    tg_buffer_fini(&process->held);
    tg_line_splitter_fini(&process->lines);
    tg_line_splitter_fini(&process->words_said);
}
