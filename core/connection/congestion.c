/* congestion.c - agents slow down to the client's speed, and a client that takes nothing is let go.
 *
 *   outbox over half of its limit ──> senders wait ──[at most a quarter]──> senders go on
 *                                          └─[nothing written for outbox_timeout]──> 1008
 *
 * Progress is what the kernel takes, not what we hand over: a client that reads slowly is served for as
 * long as it reads at all.
 */
#include "connection/congestion.h"

#include <string.h>

#include "base/memory.h"

/* Over this a pong waits: a flood of pings must not fill the outbox. */
#define PONG_ROOM 4096

struct tg_congestion {
    struct tg_attachment attachment;
    struct tg_conn *conn;   /* borrowed: it owns this */
    struct tg_list waiters; /* tg_drain_waiter.node; borrowed */
    struct tg_timer timer;
    uint64_t handed;  /* bytes handed to the stream, from what it held at the start */
    uint64_t written; /* of these, with the kernel when the timer was set */
    bool ping_waits;
    uint8_t ping_len;
    uint8_t ping[TG_WS_CONTROL_MAX];
};

/* NULL: the client keeps up. */
static struct tg_congestion *congestion_of(const struct tg_conn *conn)
{
    return (struct tg_congestion *)(void *)tg__attached(conn, TG_ATTACHED_CONGESTION);
}

/* Made when there is none; NULL when memory is out. */
static struct tg_congestion *open_congestion(struct tg_conn *conn)
{
    struct tg_congestion *congestion = congestion_of(conn);
    if (congestion != NULL)
        return congestion;
    congestion = tg_calloc(1, sizeof *congestion);
    if (congestion == NULL)
        return NULL;
    congestion->conn = conn;
    congestion->handed = tg_stream_unwritten(conn->stream);
    tg_list_init(&congestion->waiters);
    tg__attach(conn, TG_ATTACHED_CONGESTION, &congestion->attachment);
    return congestion;
}

static uint64_t written(const struct tg_congestion *congestion)
{
    return congestion->handed - tg_stream_unwritten(congestion->conn->stream);
}

static void on_no_progress(struct tg_timer *timer)
{
    struct tg_congestion *congestion = TG_CONTAINER_OF(timer, struct tg_congestion, timer);
    struct tg_conn *conn = congestion->conn;
    uint64_t now = written(congestion);
    bool stands = now == congestion->written;
    congestion->written = now;
    if (!stands && tg_timer_start(conn->hub->timers, timer, tg__options(conn)->outbox_timeout_ms,
                                  on_no_progress) == TG_ERR_OK)
        return;
    tg__slow_client(conn);
}

bool tg_conn_is_congested(const struct tg_conn *conn)
{
    return tg_conn_is_open(conn) && tg__outbox_bytes(conn) > tg__options(conn)->outbox_bytes / 2;
}

enum tg_err tg_conn_wait_drained(struct tg_conn *conn, struct tg_drain_waiter *waiter)
{
    if (!tg_conn_is_open(conn))
        return TG_ERR_CLOSED;
    struct tg_outbox *outbox = tg__outbox(conn);
    if (outbox == NULL)
        return TG_ERR_NOMEM;
    tg__flush_later(outbox); /* which looks after the waiters */
    struct tg_congestion *congestion = open_congestion(conn);
    if (congestion == NULL)
        return TG_ERR_NOMEM;
    if (!tg_timer_running(&congestion->timer)) {
        congestion->written = written(congestion);
        enum tg_err err = tg_timer_start(conn->hub->timers, &congestion->timer,
                                         tg__options(conn)->outbox_timeout_ms, on_no_progress);
        if (err != TG_ERR_OK)
            return err;
    }
    tg_list_push(&congestion->waiters, &waiter->node);
    return TG_ERR_OK;
}

void tg_conn_stop_waiting(struct tg_drain_waiter *waiter)
{
    tg_list_remove(&waiter->node);
}

void tg__congestion_handed(struct tg_conn *conn, size_t bytes)
{
    struct tg_congestion *congestion = congestion_of(conn);
    if (congestion != NULL)
        congestion->handed += bytes;
}

void tg__congestion_keep_ping(struct tg_conn *conn, const void *data, size_t len)
{
    struct tg_congestion *congestion = open_congestion(conn);
    if (congestion == NULL)
        return; /* one pong less: the peer will ask again */
    congestion->ping_waits = true;
    congestion->ping_len = (uint8_t)len;
    if (len > 0)
        memcpy(congestion->ping, data, len);
}

/* The connection may let go of its congestion only after this: the waiters run scripts. */
static void wake_all(struct tg_congestion *congestion, bool open)
{
    struct tg_list woken;
    tg_list_init(&woken);
    for (struct tg_list *node = tg_list_first(&congestion->waiters); node != NULL;
         node = tg_list_first(&congestion->waiters)) {
        tg_list_remove(node);
        tg_list_push(&woken, node);
    }
    for (struct tg_list *node = tg_list_first(&woken); node != NULL; node = tg_list_first(&woken)) {
        struct tg_drain_waiter *waiter = TG_CONTAINER_OF(node, struct tg_drain_waiter, node);
        tg_list_remove(node);
        waiter->fn(waiter, open);
    }
}

static void release(struct tg_conn *conn, struct tg_congestion *congestion, bool open)
{
    (void)tg__detach(conn, TG_ATTACHED_CONGESTION);
    tg_timer_stop(conn->hub->timers, &congestion->timer);
    if (congestion->ping_waits && open)
        tg__send_control(conn, TG_WS_PONG, congestion->ping, congestion->ping_len);
    wake_all(congestion, open);
    tg_free(congestion);
}

void tg__congestion_look(struct tg_conn *conn)
{
    struct tg_congestion *congestion = congestion_of(conn);
    if (congestion == NULL || !tg_conn_is_open(conn))
        return;
    size_t queued = tg__outbox_bytes(conn);
    if (queued <= PONG_ROOM ||
        (!congestion->ping_waits && queued <= tg__options(conn)->outbox_bytes / 4))
        release(conn, congestion, true);
    else if (queued <= tg__options(conn)->outbox_bytes / 4)
        wake_all(congestion, true);
}

void tg__congestion_end(struct tg_conn *conn)
{
    struct tg_congestion *congestion = congestion_of(conn);
    if (congestion != NULL)
        release(conn, congestion, false);
}

/* --- sends put off ------------------------------------------------------------------------------- */

static struct tg_deferred_send *deferred_of(const struct tg_conn *conn)
{
    return (struct tg_deferred_send *)(void *)tg__attached(conn, TG_ATTACHED_DEFERRED);
}

bool tg_conn_is_writing(const struct tg_conn *conn)
{
    return conn->stream != NULL && tg_stream_is_writing(conn->stream);
}

void tg_conn_defer_send(struct tg_conn *conn, struct tg_deferred_send *deferred)
{
    if (deferred_of(conn) == deferred)
        return;
    tg_conn_send_deferred(conn);
    if (!tg_conn_is_open(
            conn)) /* what was just sent was too much, and nobody would cancel this any more */
        return;
    (void)tg__detach(conn, TG_ATTACHED_DEFERRED); /* deferred by what was just sent */
    tg__attach(conn, TG_ATTACHED_DEFERRED, &deferred->attachment);
}

void tg_conn_send_deferred(struct tg_conn *conn)
{
    struct tg_deferred_send *deferred = deferred_of(conn);
    if (deferred == NULL)
        return;
    (void)tg__detach(conn, TG_ATTACHED_DEFERRED);
    deferred->send(deferred);
}

void tg_conn_cancel_deferred(struct tg_conn *conn, struct tg_deferred_send *deferred)
{
    if (deferred_of(conn) == deferred)
        (void)tg__detach(conn, TG_ATTACHED_DEFERRED);
}
