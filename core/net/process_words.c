/* process_words.c - what a child says on standard error goes to the log as its words: lines of a bounded length, so
 * many a second and no more. One that says too much in a breath is not read until the next.
 */
#include "base/log.h"
#include "net/process_internal.h"

#define WORDS_BYTES_MAX ((size_t)1024) /* of a line in the log */
#define WORDS_LINES_PER_SECOND 20
#define BREATH_BYTES_MAX ((uint64_t)256 << 10)
#define BREATH_MS 1000

static void log_words(struct tg__process *process, struct tg_line line, bool cut)
{
    uint64_t left_out = 0;
    uint64_t now_ms = uv_now(tg__processes_of(process)->loop);

    if (line.len == 0 ||
        !tg_log_gate_pass(&process->gate, now_ms, WORDS_LINES_PER_SECOND, &left_out))
        return;
    tg_log(TG_LOG_INFO, "process.says", tg_log_str("name", process->name),
           tg_log_int("pid", process->pid),
           tg_log_uint("worker", tg__processes_of(process)->options.worker),
           tg_log_strn("text", line.data, line.len), tg_log_bool("shortened", cut),
           tg_log_uint("left_out", left_out));
}

static void take_words(struct tg__process *process, const char *data, size_t len)
{
    while (len > 0) {
        struct tg_line line = {NULL, 0};
        size_t used = 0;
        if (process->words_cut) {
            used = tg__process_skip_line(data, len, &process->words_cut);
        } else if (tg_line_splitter_feed(&process->words_said, data, len, &used, &line) ==
                   TG_ERR_OK) {
            if (line.data != NULL)
                log_words(process, line, false);
        } else {
            process->words_cut = true;
            line = tg__process_long_line(&process->words_said, data, len);
            line.len = line.len < WORDS_BYTES_MAX ? line.len : WORDS_BYTES_MAX;
            log_words(process, line, true);
            tg__process_reset_splitter(&process->words_said, WORDS_BYTES_MAX);
            used = 0;
        }
        data += used;
        len -= used;
    }
}

static void on_breath(uv_timer_t *timer)
{
    struct tg__process *process = timer->data;

    process->heard_bytes = 0;
    if (!process->err_ended && process->phase < TG__PROCESS_OVER)
        tg__process_listen(process);
}

static void on_words(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct tg__process *process = stream->data;

    if (n == 0 || n == UV_ENOBUFS || process->err_ended)
        return;
    process->err_turn = n == (ssize_t)buf->len;
    if (n < 0) {
        (void)uv_read_stop(stream);
        process->err_ended = true;
        if (!process->words_cut)
            log_words(process, tg_line_splitter_rest(&process->words_said), false);
        tg__process_settle(process);
        return;
    }
    take_words(process, buf->base, (size_t)n);
    process->heard_bytes += (uint64_t)n;
    if (process->heard_bytes < BREATH_BYTES_MAX)
        return;
    (void)uv_read_stop(stream);
    (void)uv_timer_start(&process->timers[TG__PROCESS_BREATH], on_breath, BREATH_MS, 0);
}

void tg__process_listen(struct tg__process *process)
{
    process->words_said.max = WORDS_BYTES_MAX;
    (void)uv_read_start((uv_stream_t *)&process->pipes[TG__PROCESS_ERR], tg__process_alloc,
                        on_words);
}
