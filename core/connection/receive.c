/* receive.c - bytes to messages, and the promise that none is lost or reordered.
 *
 * A message that can be answered now is dispatched from the read buffer without a copy. One that
 * cannot (setup is not over, a hook is under way) is copied to the inbox. When the inbox is full the
 * decoder is paused, the rest of the bytes read are kept, and the socket is not read until there is
 * room again: memory stays bounded and the peer feels the back-pressure.
 */
#include "base/log.h"
#include "base/memory.h"
#include "connection/connection_internal.h"

static bool can_dispatch(const struct tg_conn *conn)
{
    return tg_state_is_operational(tg_conn_state(conn)) && conn->asking == TG_ASKING_NONE;
}

static void pause_reading(struct tg_conn *conn)
{
    if (!conn->paused)
        tg_counter_add(&tg__metrics(conn)->reads_paused, 1);
    conn->paused = true;
}

/* False: too many messages; the connection is being closed. */
static bool within_rate(struct tg_conn *conn)
{
    const struct tg_rate *rate = &tg__options(conn)->message_rate;
    if (!tg_rate_limits(rate) ||
        tg_rate_take(rate, &conn->message_bucket[0],
                     tg_timers_now_ms(conn->hub->timers) * UINT64_C(1000000), NULL))
        return true;
    if (!conn->ending)
        tg_counter_add(&tg__metrics(conn)->refusals[TG_REFUSAL_MESSAGE_RATE], 1);
    tg_conn_fail(conn, 4429, "message rate exceeded", "too many messages; slow down");
    return false;
}

static bool on_message(void *ctx, enum tg_ws_opcode kind, const uint8_t *data, size_t len)
{
    struct tg_conn *conn = ctx;
    const struct tg_hub_options *options = tg__options(conn);
    if (!tg__is_up(conn))
        return true; /* closing: read on for the peer's close frame, answer nothing */
    conn->messages_in++;
    tg_counter_add(&tg__metrics(conn)
                        ->messages[TG_IN][kind == TG_WS_TEXT ? TG_MESSAGE_TEXT : TG_MESSAGE_BINARY],
                   1);
    if (!within_rate(conn))
        return true;
    if (can_dispatch(conn) && tg__inbox_count(conn) == 0) {
        tg__dispatch(conn, kind, (const char *)data, len);
        return true;
    }
    if (tg__inbox_push(conn, kind, data, len) != TG_ERR_OK) {
        tg_conn_fail(conn, 1011, "out of memory", "out of memory");
        return true;
    }
    if (tg_inbox_full(tg__inbox(conn), options->inbox_messages, options->inbox_bytes)) {
        pause_reading(conn);
        return false;
    }
    return true;
}

static void on_ping(void *ctx, const uint8_t *data, size_t len)
{
    struct tg_conn *conn = ctx;
    tg_counter_add(&tg__metrics(conn)->messages[TG_IN][TG_MESSAGE_CONTROL], 1);
    if (tg_conn_is_open(conn) && within_rate(conn))
        tg__send_control(conn, TG_WS_PONG, data, len);
}

static void on_pong(void *ctx, const uint8_t *data, size_t len)
{
    struct tg_conn *conn = ctx;
    (void)data, (void)len; /* any byte from the peer proves it alive; see tg__heard_from_peer */
    tg_counter_add(&tg__metrics(conn)->messages[TG_IN][TG_MESSAGE_CONTROL], 1);
}

static void on_close(void *ctx, int code, const char *reason, size_t reason_len)
{
    struct tg_conn *conn = ctx;
    tg_counter_add(&tg__metrics(conn)->messages[TG_IN][TG_MESSAGE_CONTROL], 1);
    tg__peer_closed(conn, code, reason, reason_len);
}

const struct tg_ws_callbacks tg__ws_callbacks = {
    .on_message = on_message,
    .on_ping = on_ping,
    .on_pong = on_pong,
    .on_close = on_close,
};

/* Decodes; what a paused decoder did not take is kept for tg__pump. */
static void feed(struct tg_conn *conn, uint8_t *data, size_t len)
{
    struct tg_ws_fault fault = {0};
    size_t consumed = 0;
    bool outer = conn->receiving;
    if (conn->peer_close_seen || conn->broken || tg_state_is_final(tg_conn_state(conn)))
        return;
    struct tg_ws *decoder = tg__decoder(conn);
    if (decoder == NULL) {
        tg_conn_fail(conn, 1011, "out of memory", "out of memory");
        return;
    }
    conn->receiving = true;
    enum tg_err err = tg_ws_feed(decoder, data, len, &consumed, &fault);
    conn->receiving = outer;
    tg__decoder_return(conn);
    if (err != TG_ERR_OK) {
        tg__peer_broke(conn, fault.code, fault.why);
        return;
    }
    if (conn->paused && consumed < len && !conn->peer_close_seen &&
        tg__inbox_keep_unread(conn, data + consumed, len - consumed) != TG_ERR_OK)
        tg_conn_fail(conn, 1011, "out of memory", "out of memory");
}

void tg__receive(struct tg_conn *conn, uint8_t *data, size_t len)
{
    if (conn->paused) { /* read before the stop took effect */
        if (tg__inbox_keep_unread(conn, data, len) != TG_ERR_OK)
            tg__lose(conn, 1006, "out of memory");
        return;
    }
    feed(conn, data, len);
    tg__pump(conn);
}

static void drain_inbox(struct tg_conn *conn)
{
    while (can_dispatch(conn)) {
        struct tg_inbox_message *message = tg__inbox_pop(conn);
        if (message == NULL)
            return;
        tg__dispatch(conn, message->kind, (const char *)message->data, message->len);
        tg_free(message);
    }
}

static bool may_resume(const struct tg_conn *conn)
{
    const struct tg_hub_options *options = tg__options(conn);
    if (tg_conn_state(conn) == TG_CONNECTING)
        return false;
    const struct tg_inbox *inbox = tg__inbox(conn);
    return !tg__is_up(conn) || inbox == NULL ||
           tg_inbox_has_room(inbox, options->inbox_messages, options->inbox_bytes);
}

static void feed_unread(struct tg_conn *conn)
{
    struct tg_buffer bytes = tg__inbox_take_unread(conn);
    conn->paused = false;
    if (bytes.len > 0 && conn->upgraded)
        feed(conn, tg_buffer_head(&bytes), bytes.len);
    tg_buffer_fini(&bytes);
}

/* One thing that can go on now; false when there is none. */
static bool make_progress(struct tg_conn *conn)
{
    if (can_dispatch(conn) && tg__inbox_count(conn) > 0) {
        drain_inbox(conn);
        return true;
    }
    if (conn->wants_auth_message && conn->asking == TG_ASKING_NONE &&
        tg_conn_state(conn) == TG_ACCEPTED && tg__setup_take_auth_message(conn))
        return true;
    if (conn->paused && may_resume(conn)) {
        feed_unread(conn);
        return true;
    }
    return false;
}

void tg__pump(struct tg_conn *conn)
{
    if (conn->receiving || conn->stream == NULL)
        return;
    conn->receiving = true;
    while (make_progress(conn)) {
    }
    conn->receiving = false;
    if (conn->leaving && tg__is_done_leaving(conn))
        tg__peer_left(conn);
    if (conn->peer_ended)
        return;
    if (conn->paused)
        tg_stream_read_stop(conn->stream);
    else if (tg_stream_read_start(conn->stream) != TG_ERR_OK)
        tg__lose(conn, 1006, "reading failed");
}
