/* outbox.c - what waits to be sent, and the bound on it.
 *
 * Frames are appended to one buffer and leave together, at the end of the loop iteration at the latest. A client that
 * does not read lets it grow to the limit and is then ended with 1008: the worker's memory is not the
 * client's queue. An outbox is lent for the first byte or the first flush that is due, and goes back after the
 * last (lending.c).
 */
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "connection/congestion.h"

/* How many reads' answers wait for each other, and bytes that are worth a write of their own at once. */
#define ANSWERS_WAIT_MAX TG_SPARE_OUTBOXES
#define LARGE_ANSWERS 65536

/* Everything is with the kernel. */
static void all_written(struct tg_conn *conn)
{
    if (!conn->fin_wanted)
        return;
    tg_stream_shutdown(conn->stream);
    if (conn->peer_ended)
        tg_stream_close(conn->stream);
}

void tg__flush(struct tg_conn *conn)
{
    if (conn->stream == NULL || conn->gone || tg_stream_is_writing(conn->stream)) {
        tg__outbox_return(conn); /* unless something waits in it */
        return;
    }
    tg_conn_send_deferred(conn);
    struct tg_buffer *bytes = conn->outbox == NULL ? NULL : &conn->outbox->bytes;
    if (bytes != NULL && bytes->len > 0) {
        tg__congestion_handed(conn, bytes->len);
        tg_counter_add(&tg__metrics(conn)->bytes[TG_OUT], bytes->len);
        if (tg_stream_write(conn->stream, bytes) != TG_ERR_OK) {
            tg__lose(conn, 1006, "writing failed");
            return;
        }
    }
    tg__outbox_return(conn);
    if (!tg_stream_is_writing(conn->stream))
        all_written(conn);
    tg__congestion_look(conn);
    /* A close that began inside a script could not go on reading from there. */
    if (conn->paused && conn->ending)
        tg__pump(conn);
}

static bool is_due(const struct tg_outbox *outbox)
{
    return outbox != NULL && !tg_list_empty(&outbox->flush_node);
}

void tg__flush_now(struct tg_conn *conn)
{
    if (!is_due(conn->outbox))
        return;
    tg_list_remove(&conn->outbox->flush_node);
    tg__flush(conn);
}

/* Answers are written some at a time: a peer that sleeps has to be woken, which costs the writer as much as
 * the write, and peers on one machine, or behind one proxy, are awake for the others once the first is.
 * Measured with 100 clients in one process: 6.26 us a message with a write after each read, 5.81 so. */
void tg__flush_after_read(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;
    if (!is_due(conn->outbox))
        return;
    if (conn->outbox->bytes.len >= LARGE_ANSWERS) {
        tg__flush_now(conn);
        return;
    }
    uint64_t tick = tg_clock_tick_ns();
    if (hub->answers_wait++ == 0)
        hub->answers_wait_since = tick;
    /* Somebody's hook that computes for long holds back the answers of few others, and of one other hook
     * at most. */
    if (hub->answers_wait >= ANSWERS_WAIT_MAX || hub->answers_wait_since != tick)
        (void)tg_hub_flush(hub);
}

void tg__send_control(struct tg_conn *conn, enum tg_ws_opcode opcode, const void *data, size_t len)
{
    if (!tg_conn_is_open(conn))
        return;
    if (opcode == TG_WS_PONG && conn->stream != NULL && tg_stream_is_writing(conn->stream)) {
        tg__congestion_keep_ping(conn, data, len);
        return;
    }
    tg_counter_add(&tg__metrics(conn)->messages[TG_OUT][TG_MESSAGE_CONTROL], 1);
    struct tg_outbox *outbox = tg__outbox(conn);
    if (outbox != NULL &&
        tg_ws_encode(&outbox->bytes, TG_WS_SERVER, opcode, data, len) == TG_ERR_OK)
        tg__flush_later(outbox);
    else
        tg_conn_fail(conn, 1011, "out of memory", "out of memory");
}

void tg__slow_client(struct tg_conn *conn)
{
    if (!conn->ending)
        tg_counter_add(&tg__metrics(conn)->slow_clients, 1);
    tg_conn_fail(conn, 1008, "slow client", "client reads too slowly");
}

static enum tg_err send_data(struct tg_conn *conn, enum tg_ws_opcode opcode, const void *data,
                             size_t len)
{
    if (!tg_conn_is_open(conn))
        return TG_ERR_CLOSED;
    if (tg__is_attached(conn, TG_ATTACHED_DEFERRED)) {
        tg_conn_send_deferred(conn);
        if (!tg_conn_is_open(conn)) /* what was put off was too much */
            return TG_ERR_CLOSED;
    }
    size_t queued = tg__outbox_bytes(conn);
    if (queued > 0 && queued + len > tg__options(conn)->outbox_bytes) {
        tg__slow_client(conn);
        return TG_ERR_LIMIT;
    }
    struct tg_outbox *outbox = tg__outbox(conn);
    struct tg_ws *ws = tg__ws(conn);
    enum tg_err err = TG_ERR_NOMEM;
    if (outbox != NULL && ws == NULL) /* without compression there is nothing to remember */
        err = tg_ws_encode(&outbox->bytes, TG_WS_SERVER, opcode, data, len);
    else if (outbox != NULL)
        err = tg_ws_encode_message(ws, &outbox->bytes, opcode, data, len);
    if (err != TG_ERR_OK) {
        tg_conn_fail(conn, 1011, "out of memory", "out of memory");
        return TG_ERR_NOMEM;
    }
    tg__flush_later(outbox);
    conn->messages_out++;
    tg_counter_add(&tg__metrics(conn)->messages[TG_OUT][opcode == TG_WS_TEXT ? TG_MESSAGE_TEXT
                                                                             : TG_MESSAGE_BINARY],
                   1);
    return TG_ERR_OK;
}

enum tg_err tg_conn_send_text(struct tg_conn *conn, const void *data, size_t len)
{
    return send_data(conn, TG_WS_TEXT, data, len);
}

enum tg_err tg_conn_send_binary(struct tg_conn *conn, const void *data, size_t len)
{
    return send_data(conn, TG_WS_BINARY, data, len);
}

void tg__send_json(struct tg_conn *conn, struct tg_buffer *body)
{
    /* An error of sending has ended the connection already; there is nobody left to tell. */
    if (tg__is_plain(conn)) {
        tg_buffer_fini(body);
        return;
    }
    if (body->len == 0) /* a client that waits for its answer must not wait for ever */
        tg_conn_fail(conn, 1011, "out of memory", "out of memory");
    else if (send_data(conn, TG_WS_TEXT, tg_buffer_head(body), body->len) != TG_ERR_OK)
        tg_log(TG_LOG_DEBUG, "conn.not_sent", tg_log_uint("bytes", body->len));
    tg_buffer_fini(body);
}

void tg_conn_send_error(struct tg_conn *conn, const char *code, const char *message, const char *id,
                        size_t id_len)
{
    struct tg_buffer body = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&body);
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "type", "error");
    if (id != NULL) {
        tg_json_key(&w, "id");
        tg_json_raw(&w, id, id_len);
    }
    tg_json_key(&w, "data");
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "code", code);
    tg_json_member_str(&w, "message", message);
    tg_json_end_object(&w);
    tg_json_end_object(&w);
    if (tg_json_writer_failed(&w))
        tg_buffer_clear(&body);
    tg__send_json(conn, &body);
}
