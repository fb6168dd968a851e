/* connect_input.c - lines from standard input.
 *
 * Polling makes a descriptor non-blocking, and a terminal is one and the same for standard input and
 * output, and for the shell that started us. So terminals and pipes are opened anew, which gives a
 * descriptor with flags of its own. What cannot be polled (a file, /dev/null) is always readable, so
 * it is read from an idle handle instead.
 */
#include "app/connect/connect_input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/memory.h"

#define LINE_MAX_BYTES (16 * 1024 * 1024)

struct tg_input {
    union {
        uv_poll_t poll;
        uv_idle_t idle;
    } handle;
    const struct tg_input_callbacks *callbacks;
    void *ctx; /* borrowed until tg_input_stop */
    struct tg_buffer partial;
    int fd; /* owned */
    bool stopped;
};

static int open_input(void)
{
    struct stat kind;
    int fd = -1;

    /* A file keeps its offset only in a duplicate; a socket cannot be opened. */
    if (fstat(STDIN_FILENO, &kind) == 0 && (S_ISCHR(kind.st_mode) || S_ISFIFO(kind.st_mode)))
        fd = open("/proc/self/fd/0", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return fd != -1 ? fd : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
}

static void give_line(struct tg_input *input, size_t len)
{
    char *line = (char *)tg_buffer_head(&input->partial);
    size_t end = len;

    if (end > 0 && line[end - 1] == '\r')
        end--;
    line[end] = '\0'; /* the line's own end, or the NUL added at the end of input */
    if (end > 0)
        input->callbacks->on_line(input->ctx, line);
    tg_buffer_consume(&input->partial, len + 1, 0);
}

static void finish(struct tg_input *input)
{
    if (input->partial.len > 0 && tg_buffer_append(&input->partial, "", 1) == TG_ERR_OK)
        give_line(input, input->partial.len - 1);
    if (input->stopped)
        return;
    tg_input_stop(input);
    input->callbacks->on_end(input->ctx);
}

static void read_some(struct tg_input *input)
{
    char chunk[4096];
    ssize_t n = read(input->fd, chunk, sizeof chunk);
    char *end;

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0 || input->partial.len > LINE_MAX_BYTES ||
        tg_buffer_append(&input->partial, chunk, (size_t)n) != TG_ERR_OK) {
        finish(input);
        return;
    }
    while (!input->stopped && input->partial.len > 0 &&
           (end = memchr(tg_buffer_head(&input->partial), '\n', input->partial.len)) != NULL)
        give_line(input, (size_t)(end - (char *)tg_buffer_head(&input->partial)));
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status; /* read says what is wrong */
    (void)events;
    read_some(poll->data);
}

static void on_idle(uv_idle_t *idle)
{
    read_some(idle->data);
}

enum tg_err tg_input_start(struct tg_input **out, struct uv_loop_s *loop,
                           const struct tg_input_callbacks *callbacks, void *ctx)
{
    struct tg_input *input = tg_xcalloc(1, sizeof *input);

    input->callbacks = callbacks;
    input->ctx = ctx;
    input->fd = open_input();
    if (input->fd == -1) {
        tg_free(input);
        return TG_ERR_SYS;
    }
    if (uv_poll_init(loop, &input->handle.poll, input->fd) == 0) {
        input->handle.poll.data = input;
        (void)uv_poll_start(&input->handle.poll, UV_READABLE, on_readable);
    } else {
        (void)uv_idle_init(loop, &input->handle.idle);
        input->handle.idle.data = input;
        (void)uv_idle_start(&input->handle.idle, on_idle);
    }
    *out = input;
    return TG_ERR_OK;
}

void tg_input_stop(struct tg_input *input)
{
    if (input == NULL || input->stopped)
        return;
    input->stopped = true;
    uv_close((uv_handle_t *)&input->handle, NULL);
}

void tg_input_destroy(struct tg_input *input)
{
    if (input == NULL)
        return;
    tg_buffer_fini(&input->partial);
    close(input->fd);
    tg_free(input);
}
