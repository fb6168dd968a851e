/* server_reports.c - what workers report, carried from their threads to the main thread.
 *
 * A report that is lost, or comes when the server has been stopped, is of no use to anybody any more.
 */
#include "app/server/server_internal.h"
#include "app/task.h"
#include "base/memory.h"

struct report {
    size_t index;
    enum tg_err err;
    struct tg_error error;
};

static void do_prepared(void *receiver, void *arg, bool lost)
{
    struct tg_server *server = receiver;
    struct report *report = arg;
    if (!lost && !server->stopped)
        tg_reload_prepared(server->reload, report->index, report->err, &report->error);
    tg_free(report);
}

static void on_prepared(void *ctx, size_t index, enum tg_err err, const struct tg_error *error)
{
    struct tg_server *server = ctx;
    struct report *report = tg_xcalloc(1, sizeof *report);
    *report = (struct report){.index = index, .err = err, .error = *error};
    tg_task_post(server->mailbox, do_prepared, report);
}

static void do_switched(void *receiver, void *arg, bool lost)
{
    struct tg_server *server = receiver;
    if (!lost && !server->stopped)
        tg_reload_switched(server->reload, (size_t)(uintptr_t)arg);
}

static void on_switched(void *ctx, size_t index)
{
    struct tg_server *server = ctx;
    tg_task_post(server->mailbox, do_switched, (void *)(uintptr_t)index);
}

static void do_drained(void *receiver, void *arg, bool lost)
{
    struct tg_server *server = receiver;
    (void)arg;
    if (!lost && ++server->drained == server->worker_count)
        tg__server_stop(server);
}

static void on_drained(void *ctx, size_t index)
{
    struct tg_server *server = ctx;
    tg_task_post(server->mailbox, do_drained, (void *)(uintptr_t)index);
}

struct tg_worker_events tg__reports_of_workers(struct tg_server *server)
{
    return (struct tg_worker_events){
        .ctx = server,
        .prepared = on_prepared,
        .switched = on_switched,
        .drained = on_drained,
    };
}
