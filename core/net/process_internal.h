/* process_internal.h - what the files of child processes share.
 *
 *   process.c          the life of a child
 *   process_spawn.c    its order and its start
 *   process_pipes.c    what is written to it, and its lines
 *   process_words.c    what it says on standard error
 *   process_program.c  what may be started
 */
#ifndef TG_NET_PROCESS_INTERNAL_H
#define TG_NET_PROCESS_INTERNAL_H

#include <uv.h>

#include "base/buffer.h"
#include "base/line_splitter.h"
#include "base/list.h"
#include "base/log_gate.h"
#include "net/process.h"

#define TG__PROCESS_READ_SIZE ((size_t)64 << 10)

struct tg__processes {
    struct tg_processes base;
    uv_loop_t *loop; /* borrowed until the last process is gone */
    struct tg_processes_options options;
    struct tg_list all; /* tg__process.node; owned */
    bool stopped;       /* nothing is started any more */
    bool destroyed;     /* freed with the last of them */
    char read_buffer[TG__PROCESS_READ_SIZE];
};

enum tg__process_phase {
    TG__PROCESS_ORDERED, /* not started yet */
    TG__PROCESS_RUNS,
    TG__PROCESS_ENDING, /* it has to end, and is made to */
    TG__PROCESS_GONE,   /* and has been waited for; what it has written may still come */
    TG__PROCESS_OVER    /* nothing but handles that close */
};

enum { TG__PROCESS_IN, TG__PROCESS_OUT, TG__PROCESS_ERR, TG__PROCESS_PIPES };
enum {
    TG__PROCESS_STEP,   /* the next step of its life */
    TG__PROCESS_KICK,   /* what was held back is told */
    TG__PROCESS_BREATH, /* its words are listened to again */
    TG__PROCESS_TIMERS
};

struct tg__process {
    struct tg_process base;
    struct tg_list node; /* from->all */
    enum tg__process_phase phase;
    const struct tg_process_callbacks *callbacks; /* NULL: closed */
    void *ctx;

    /* the order */
    struct tg_buffer words; /* "argument\0…name=value\0…" */
    size_t argument_count, variable_count;
    char *folder; /* owned; or NULL */
    char *name;   /* owned */

    uv_process_t child;
    uv_pipe_t pipes[TG__PROCESS_PIPES];
    uv_timer_t timers[TG__PROCESS_TIMERS];
    unsigned handles; /* open or closing */
    int pid;          /* 0: never started */
    uint64_t started_ms;
    bool terminated; /* SIGTERM was sent */
    const char *why; /* static; why we have ended it; NULL: it was not us */
    struct tg_process_end end;
    char end_text[160];

    /* to the child */
    struct tg_buffer waiting, sending;
    uv_write_t request;
    bool writing;

    /* from the child */
    struct tg_line_splitter lines;
    struct tg_buffer held; /* came before the pause and was not told */
    bool skipping;         /* the rest of a line that is too long */
    bool paused;
    bool out_turn, err_turn; /* filled the read buffer in this turn of the loop */
    bool out_ended, err_ended;
    struct tg_line_splitter words_said; /* of standard error */
    bool words_cut;
    struct tg_log_gate gate;
    uint64_t heard_bytes; /* on standard error, in this breath */
};

static inline struct tg__process *tg__process_of(struct tg_process *process)
{
    return TG_CONTAINER_OF(process, struct tg__process, base);
}

static inline struct tg__processes *tg__processes_of(const struct tg__process *process)
{
    return TG_CONTAINER_OF(process->base.from, struct tg__processes, base);
}

/* --- process.c ---------------------------------------------------------------------------------- */
/* It shall end, and why: once it runs, and unless it is ending already. */
void tg__process_begin_end(struct tg__process *process, const char *why);
/* After an output has ended: perhaps that was all. */
void tg__process_settle(struct tg__process *process);

/* --- process_spawn.c ---------------------------------------------------------------------------- */
/* TG_ERR_NOMEM: what was copied is freed with the process. */
TG_MUST enum tg_err tg__process_copy_order(struct tg__process *process,
                                           const struct tg_process_order *order);
/* 0, or what libuv says. */
TG_MUST int tg__process_spawn(struct tg__process *process, uv_exit_cb on_child_exit);

/* --- process_words.c ---------------------------------------------------------------------------- */
void tg__process_listen(struct tg__process *process);

/* --- process_pipes.c ---------------------------------------------------------------------------- */
void tg__process_read(struct tg__process *process); /* begins, once it is started */
void tg__process_stop_reading(struct tg__process *process);
void tg__process_free_bytes(struct tg__process *process);
/* For the table of functions. */
enum tg_err tg__process_write(struct tg_process *process, const void *data, size_t len);
size_t tg__process_unwritten(const struct tg_process *process);
void tg__process_pause(struct tg_process *process);
void tg__process_resume(struct tg_process *process);
/* Sends what waits. */
void tg__process_send(struct tg__process *process);
void tg__process_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
void tg__process_reset_splitter(struct tg_line_splitter *splitter, size_t max);
/* What a splitter that has given up has of the line, and a little of what came last. */
struct tg_line tg__process_long_line(struct tg_line_splitter *splitter, const char *data,
                                     size_t len);
/* Bytes up to and with the end of a line; all when it does not end here. */
size_t tg__process_skip_line(const char *data, size_t len, bool *skipping);
/* Whatever comes now is dropped. */
void tg__process_forget_lines(struct tg__process *process);

#endif
