/* process.h - child processes that are spoken to in lines: text goes to their standard input, lines come
 * from their standard output.
 *
 * Where processes come from is a table of functions, so that scripts can be given others than real ones: those
 * of process.c are the system's, tests of policies play their own.
 *
 *     start ─> on_line … ─> on_end       [pause] no on_line ─[resume]─> they go on
 *       └───────────────────> on_end     [close] no callback any more; the child is ended, in order
 *
 * I1  on_end comes exactly once for every process that was not closed, and is the last callback: after it the
 *     pointer must not be used, by close neither.
 * I2  It comes after the last line that the child has written.
 * I3  No callback runs inside start, write, pause, resume or close; they come from the loop. Any of them may
 *     be called inside any callback.
 *
 * Loop thread only.
 */
#ifndef TG_NET_PROCESS_H
#define TG_NET_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

struct tg_metrics;
struct uv_loop_s;

/* All of it is copied by start. Lists end with NULL. */
struct tg_process_order {
    const char *const
        *arguments; /* [0] is the file that is run: an absolute path. No shell sees it. */
    const char *const *environment; /* "NAME=value"; all that the child has */
    const char *folder;             /* where it works; NULL: where the server does */
    const char *name;               /* for the log */
    size_t line_max;                /* bytes of a line, without its end */
};

/* Lists the `count` texts that stand one behind the other from *at on, each with its NUL, and a NULL at the end.
 * `list` has room for one more; *at is then behind them. */
static inline void tg_process_list_words(const char **list, size_t count, const char **at)
{
    for (size_t i = 0; i < count; i++) {
        list[i] = *at;
        *at += strlen(*at) + 1;
    }
    list[count] = NULL;
}

/* Why it is over. */
enum tg_process_fate {
    TG_PROCESS_EXITED, /* number: its status */
    TG_PROCESS_KILLED, /* number: the signal */
    TG_PROCESS_FAILED  /* it could not be started */
};
struct tg_process_end {
    enum tg_process_fate fate;
    int number;
    const char *text; /* for people: "exited with status 3"; borrowed until on_end returns */
};

struct tg_process_callbacks {
    /* `cut`: the line is longer than line_max, and this is its beginning; the rest is dropped. Borrowed. */
    void (*on_line)(void *ctx, const char *data, size_t len, bool cut);
    void (*on_end)(void *ctx, const struct tg_process_end *end);
};

struct tg_processes_ops;

/* First member of an implementation's own struct. */
struct tg_processes {
    const struct tg_processes_ops *ops; /* static */
};

/* First member of an implementation's own struct. Owned by where it comes from. */
struct tg_process {
    struct tg_processes *from; /* borrowed; outlives the process */
};

struct tg_processes_ops {
    /* TG_ERR_NOMEM: nothing was begun. Every other failure comes by on_end. `callbacks` is static. */
    enum tg_err (*start)(struct tg_processes *from, const struct tg_process_order *order,
                         const struct tg_process_callbacks *callbacks, void *ctx,
                         struct tg_process **out);
    /* Copies. What the child does not read waits here: see unwritten. What a child that is about to end is sent
     * is lost. */
    enum tg_err (*write)(struct tg_process *process, const void *data, size_t len);
    size_t (*unwritten)(const struct tg_process *process); /* bytes that wait */
    /* Idempotent. While paused the child soon has to wait when it writes. */
    void (*pause)(struct tg_process *process);
    void (*resume)(struct tg_process *process);
    /* Its input ends; what does not end with that is sent SIGTERM and then SIGKILL, with all its children. */
    void (*close)(struct tg_process *process);
    /* Every process begins to end; whose owner has not closed it is told, also when it was not started yet, as
     * none is from now on. For a loop that shall come to rest. */
    void (*stop)(struct tg_processes *from);
    /* Closes every process. Memory is freed when the loop has seen the end of the last one. */
    void (*destroy)(struct tg_processes *from);
};

TG_MUST static inline enum tg_err tg_process_start(struct tg_processes *from,
                                                   const struct tg_process_order *order,
                                                   const struct tg_process_callbacks *callbacks,
                                                   void *ctx, struct tg_process **out)
{
    return from->ops->start(from, order, callbacks, ctx, out);
}

TG_MUST static inline enum tg_err tg_process_write(struct tg_process *process, const void *data,
                                                   size_t len)
{
    return process->from->ops->write(process, data, len);
}

static inline size_t tg_process_unwritten(const struct tg_process *process)
{
    return process->from->ops->unwritten(process);
}

static inline void tg_process_pause(struct tg_process *process)
{
    process->from->ops->pause(process);
}

static inline void tg_process_resume(struct tg_process *process)
{
    process->from->ops->resume(process);
}

static inline void tg_process_close(struct tg_process *process)
{
    process->from->ops->close(process);
}

static inline void tg_processes_stop(struct tg_processes *from)
{
    from->ops->stop(from);
}

/* NULL is allowed. */
static inline void tg_processes_destroy(struct tg_processes *from)
{
    if (from != NULL)
        from->ops->destroy(from);
}

/* --- the system's ------------------------------------------------------------------------------- */

/* 0: the usual time. */
struct tg_processes_options {
    uint64_t worker;            /* for the log */
    struct tg_metrics *metrics; /* borrowed until the last child is gone; NULL: none */
    uint64_t grace_ms;          /* from the end of its input to SIGTERM */
    uint64_t term_ms;           /* from there to SIGKILL */
};

TG_MUST enum tg_err tg_processes_create(struct tg_processes **out, struct uv_loop_s *loop,
                                        const struct tg_processes_options *options);

/* Which file a command's first word means: without a slash one of PATH, else one below `folder` (NULL: where the
 * server works). The file must be one of those allowed, which are absolute paths; *out is that one as it is
 * written there, so that what runs is what was allowed. TG_ERR_NOT_FOUND, TG_ERR_INVALID: not allowed;
 * error says why. */
TG_MUST enum tg_err tg_program_find(const char *word, const char *folder,
                                    const char *const *allowed, size_t allowed_count,
                                    const char **out, struct tg_error *error);

/* Appends "NAME=value\0" for what children may know of the server's environment: where programs are, whose home
 * it is, language and time zone. */
struct tg_buffer;
TG_MUST enum tg_err tg_process_environment(struct tg_buffer *out);

#endif
