/* process_spawn.c - an order for a child, kept until the loop turns, and the start itself.
 */
#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/process_internal.h"

static enum tg_err copy_words(struct tg__process *process, const char *const *list, size_t *count)
{
    enum tg_err err = TG_ERR_OK;

    for (; list[*count] != NULL && err == TG_ERR_OK; ++*count)
        err = tg_buffer_append(&process->words, list[*count], strlen(list[*count]) + 1);
    return err;
}

enum tg_err tg__process_copy_order(struct tg__process *process,
                                   const struct tg_process_order *order)
{
    enum tg_err err = copy_words(process, order->arguments, &process->argument_count);

    assert(process->argument_count > 0);
    if (err == TG_ERR_OK)
        err = copy_words(process, order->environment, &process->variable_count);
    process->name = tg_strndup(order->name, strlen(order->name));
    if (order->folder != NULL)
        process->folder = tg_strndup(order->folder, strlen(order->folder));
    if (process->name == NULL || (order->folder != NULL && process->folder == NULL))
        err = TG_ERR_NOMEM;
    process->lines.max = order->line_max;
    return err;
}

int tg__process_spawn(struct tg__process *process, uv_exit_cb on_child_exit)
{
    size_t count = process->argument_count + process->variable_count + 2;
    const char **lists = tg_calloc(count, sizeof *lists);
    const char *at = (const char *)tg_buffer_head(&process->words);
    uv_stdio_container_t pipes[TG__PROCESS_PIPES];

    if (lists == NULL)
        return UV_ENOMEM;
    tg_process_list_words(lists, process->argument_count, &at);
    tg_process_list_words(lists + process->argument_count + 1, process->variable_count, &at);
    for (int i = 0; i < TG__PROCESS_PIPES; i++) {
        pipes[i].flags =
            UV_CREATE_PIPE | (i == TG__PROCESS_IN ? UV_READABLE_PIPE : UV_WRITABLE_PIPE);
        pipes[i].data.stream = (uv_stream_t *)&process->pipes[i];
    }
    uv_process_options_t options = {
        .exit_cb = on_child_exit,
        .file = lists[0],
        .args = (char **)lists, /* libuv writes to neither */
        .env = (char **)lists + process->argument_count + 1,
        .cwd = process->folder,
        .flags = UV_PROCESS_DETACHED,
        .stdio_count = TG__PROCESS_PIPES,
        .stdio = pipes,
    };
    /* Ours are closed on exec already; what a library may have left open is, from here on, too. */
    (void)close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    process->child.data = process;
    process->handles++;
    int rc = uv_spawn(tg__processes_of(process)->loop, &process->child, &options);
    tg_free(lists);
    return rc;
}
