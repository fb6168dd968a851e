/* admin_gather.c - a question to one or all workers, whose answers are gathered on the main thread. */
#include "app/server/admin_internal.h"
#include "app/task.h"
#include "base/memory.h"

struct rows {
    struct tg_gather *gather;
    struct tg_buffer rows;
    size_t matched;
};

static void add_rows(struct tg_gather *gather, const struct tg_buffer *rows)
{
    enum tg_err err = TG_ERR_OK;
    if (rows->len == 0)
        return;
    if (gather->rows.len > 0)
        err = tg_buffer_append_str(&gather->rows, ",");
    if (err == TG_ERR_OK)
        err = tg_buffer_append(&gather->rows, tg_buffer_head(rows), rows->len);
    if (err != TG_ERR_OK)
        tg_buffer_clear(&gather->rows);
}

static void take_rows(void *receiver, void *arg, bool lost)
{
    struct rows *rows = arg;
    struct tg_gather *gather = rows->gather;
    (void)receiver;
    if (!lost)
        add_rows(gather, &rows->rows);
    gather->matched += rows->matched;
    tg_buffer_fini(&rows->rows);
    tg_free(rows);
    if (--gather->awaited > 0)
        return;
    struct tg_admin_request *request =
        lost ? NULL : tg_admin_find(gather->server->admin, gather->ticket);
    if (request != NULL)
        gather->finish(gather, request);
    tg_buffer_fini(&gather->rows);
    tg_free(gather);
}

void tg__gather_rows(void *ctx, struct tg_buffer *rows, size_t matched)
{
    struct tg_gather *gather = ctx;
    struct rows *carried = tg_xcalloc(1, sizeof *carried);
    *carried = (struct rows){.gather = gather, .rows = *rows, .matched = matched};
    *rows = TG_BUFFER_INIT;
    tg_task_post(gather->server->mailbox, take_rows, carried);
}

struct tg_gather *tg__gather_create(struct tg_server *server, struct tg_admin_request *request,
                                    void (*finish)(struct tg_gather *, struct tg_admin_request *))
{
    struct tg_gather *gather = tg_xcalloc(1, sizeof *gather);
    gather->server = server;
    gather->ticket = tg_admin_ticket(request);
    gather->finish = finish;
    return gather;
}
