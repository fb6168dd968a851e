/* worker_orders.c - scripts of one worker reaching connections of others.
 *
 *   sender ── order (copied) ──> owner of the connection ── answer with the sender's ticket ──> sender
 *   sender ── round (copied) ──> worker 1 ──> worker 2 ──> … ── number with the ticket ──> sender
 *
 * Both are always answered, also when a worker is going down, so that no script waits for ever.
 */
#include <string.h>

#include "app/server/worker_internal.h"
#include "app/task.h"
#include "base/memory.h"
#include "connection/connection.h"
#include "script/hooks/closing.h"

struct order {
    struct tg_remote_order what; /* data points into bytes */
    struct tg_worker *sender;
    uint64_t ticket;
    enum tg_err result;
    char bytes[];
};

static void deliver_answer(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    struct order *order = arg;
    if (!lost && worker->host != NULL)
        tg_host_remote_done(worker->host, order->ticket, order->result);
    tg_free(order);
}

static enum tg_err carry_out(struct tg_worker *worker, const struct tg_remote_order *what)
{
    struct tg_conn *conn = tg_hub_find(worker->hub, &what->id);
    if (conn == NULL || !tg_conn_is_open(conn))
        return TG_ERR_CLOSED;
    switch (what->what) {
    case TG_REMOTE_TEXT:
        return tg_conn_send_text(conn, what->data, what->len);
    case TG_REMOTE_BINARY:
        return tg_conn_send_binary(conn, what->data, what->len);
    case TG_REMOTE_CLOSE:
        return tg_conn_close(conn, what->code, what->data);
    }
    return TG_ERR_INVALID;
}

static void deliver_order(void *receiver, void *arg, bool lost)
{
    struct order *order = arg;
    order->result = lost ? TG_ERR_CLOSED : carry_out(receiver, &order->what);
    tg_task_post(order->sender->mailbox, deliver_answer, order);
}

enum tg_err tg__worker_post_order(void *ctx, const struct tg_remote_order *what, uint64_t ticket)
{
    struct tg_worker *sender = ctx;
    size_t index = tg_conn_id_worker(what->id.serial);
    if (index == 0 || index > sender->peer_count)
        return TG_ERR_NOT_FOUND;
    struct order *order = tg_calloc(1, sizeof *order + what->len + 1);
    if (order == NULL)
        return TG_ERR_NOMEM;
    order->what = *what;
    order->what.data = order->bytes; /* NUL-terminated: a close reason is text */
    if (what->len > 0)
        memcpy(order->bytes, what->data, what->len);
    order->sender = sender;
    order->ticket = ticket;
    tg_task_post(sender->peers[index - 1]->mailbox, deliver_order, order);
    return TG_ERR_OK;
}

/* --- to every worker ------------------------------------------------------------------------------- */

struct round {
    struct tg_closing what; /* key and reason point into bytes */
    struct tg_worker *sender;
    uint64_t ticket;
    size_t visited;
    size_t closed;
    char bytes[];
};

static void deliver_number(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    struct round *round = arg;
    if (!lost && worker->host != NULL)
        tg_host_closing_done(worker->host, round->ticket, round->closed);
    tg_free(round);
}

static void deliver_round(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    struct round *round = arg;
    const struct tg_worker *sender = round->sender;
    if (!lost)
        round->closed += tg_closing_carry_out(worker->hub, &round->what);
    round->visited++;
    if (round->visited < sender->peer_count)
        tg_task_post(sender->peers[round->visited]->mailbox, deliver_round, round);
    else
        tg_task_post(sender->mailbox, deliver_number, round);
}

enum tg_err tg__worker_post_closing(void *ctx, const struct tg_closing *what, uint64_t ticket)
{
    struct tg_worker *sender = ctx;
    size_t key_size = strlen(what->key) + 1;
    size_t reason_size = strlen(what->reason) + 1;
    struct round *round = tg_calloc(1, sizeof *round + key_size + reason_size);
    if (round == NULL)
        return TG_ERR_NOMEM;
    memcpy(round->bytes, what->key, key_size);
    memcpy(round->bytes + key_size, what->reason, reason_size);
    round->what = *what;
    round->what.key = round->bytes;
    round->what.reason = round->bytes + key_size;
    round->sender = sender;
    round->ticket = ticket;
    tg_task_post(sender->peers[0]->mailbox, deliver_round, round);
    return TG_ERR_OK;
}
