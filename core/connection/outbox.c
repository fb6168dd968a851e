/* outbox.c - what waits to be sent, and the bound on it.
 *
 * Frames are appended to one buffer and leave together, at the end of the loop iteration at the latest. A client that
 * does not read lets it grow to the limit and is then ended with 1008: the worker's memory is not the
 * client's queue.
 */
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "connection/congestion.h"

/* How many reads' answers wait for each other, and bytes that are worth a write of their own at once. */
#define ANSWERS_WAIT_MAX TG_SPARE_ROOMS
#define LARGE_ANSWERS 65536

size_t tg__outbox_bytes(const struct tg_conn *conn)
{
    size_t unwritten = conn->stream == NULL ? 0 : tg_stream_unwritten(conn->stream);
    return conn->outbox.len + unwritten;
}

void tg__flush_later(struct tg_conn *conn)
{
    if (tg_list_empty(&conn->flush_node))
        tg_list_push(&conn->hub->to_flush, &conn->flush_node);
}

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
    if (conn->stream == NULL || conn->gone || tg_stream_is_writing(conn->stream))
        return;
    tg_conn_send_deferred(conn);
    if (conn->outbox.len > 0) {
        tg__congestion_handed(conn, conn->outbox.len);
        tg_counter_add(&tg__metrics(conn)->bytes[TG_OUT], conn->outbox.len);
        if (tg_stream_write(conn->stream, &conn->outbox) != TG_ERR_OK) {
            tg__lose(conn, 1006, "writing failed");
            return;
        }
        tg__outbox_room_return(conn);
    }
    if (!tg_stream_is_writing(conn->stream))
        all_written(conn);
    tg__congestion_look(conn);
    /* A close that began inside a script could not go on reading from there. */
    if (conn->paused && conn->ending)
        tg__pump(conn);
}

/* Answers are written some at a time: a peer that sleeps has to be woken, which costs the writer as much as
 * the write, and peers on one machine, or behind one proxy, are awake for the others once the first is.
 * Measured with 100 clients in one process: 6.26 us a message with a write after each read, 5.81 so. */
void tg__flush_after_read(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;
    if (tg_list_empty(&conn->flush_node))
        return;
    if (conn->outbox.len >= LARGE_ANSWERS) {
        tg_list_remove(&conn->flush_node);
        tg__flush(conn);
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
    if (tg_ws_encode(&conn->outbox, TG_WS_SERVER, opcode, data, len) == TG_ERR_OK)
        tg__flush_later(conn);
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
    tg_conn_send_deferred(conn);
    if (!tg_conn_is_open(conn)) /* what was put off was too much */
        return TG_ERR_CLOSED;
    size_t queued = tg__outbox_bytes(conn);
    if (queued > 0 && queued + len > tg__options(conn)->outbox_bytes) {
        tg__slow_client(conn);
        return TG_ERR_LIMIT;
    }
    tg__outbox_room(conn);
    /* Without compression there is nothing to remember, and perhaps no decoder. */
    enum tg_err err = conn->ws == NULL
                          ? tg_ws_encode(&conn->outbox, TG_WS_SERVER, opcode, data, len)
                          : tg_ws_encode_message(conn->ws, &conn->outbox, opcode, data, len);
    if (err != TG_ERR_OK) {
        tg_conn_fail(conn, 1011, "out of memory", "out of memory");
        return TG_ERR_NOMEM;
    }
    tg__flush_later(conn);
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

uint64_t tg_conn_next_seq(struct tg_conn *conn)
{
    return conn->next_seq++;
}
