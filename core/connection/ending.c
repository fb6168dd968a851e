/* ending.c - every way in which a connection ends.
 *
 *   open ──[we close or fail]──> closing ──[peer's close frame | EOF | deadline]──> closed | failed
 *   open ──[peer's close frame]──> (leaving.c) ──> closing ──[answered]──> closed
 *   open ──[bad frame]──> (leaving.c) ──> closing ──> failed
 *   open ──[FIN, reset]──> (leaving.c) ──> failed
 *   open ──[no pong, no memory]──> failed
 *   final ──> FIN ──[peer's FIN | deadline]──> stream closed ──> freed
 *
 * I1  Runs end before the close frame is queued, so their last events are still heard.
 * I2  `closed` is asked once for each connection that was asked to authenticate, when the state is
 *     final, after every other hook.
 * I3  The first end wins: what comes later changes neither code nor reason.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "connection/congestion.h"
#include "connection/redact.h"
#include "connection/secure.h"

#define TAKEN_AT_ONCE ((size_t)128 * 1024) /* what the kernel takes for a peer that reads nothing */

static void end_runs(struct tg_conn *conn)
{
    const struct tg_conn_upper *upper = &conn->hub->upper;
    if (tg_conn_runs(conn) > 0)
        upper->runs_end(upper->host, conn);
}

/* The reason is for `closed` and the log and may be lost to a lack of memory. */
static void note_reason(struct tg_conn *conn, int code, const char *reason, size_t reason_len)
{
    reason_len = tg_utf8_cut(reason, reason_len, TG_WS_REASON_MAX);
    struct tg_end *end = tg_calloc(1, sizeof *end + reason_len + 1);
    const struct tg_end *before = tg__end(conn);
    if (end != NULL && reason_len > 0)
        memcpy(end->reason, reason, reason_len); /* of the same text, perhaps */
    if (end != NULL && before != NULL)
        end->unwritten_before = before->unwritten_before;
    tg__free_attached(conn, TG_ATTACHED_END);
    if (end != NULL)
        tg__attach(conn, TG_ATTACHED_END, &end->attachment);
    conn->close_code = (uint16_t)code;
}

static void note_end(struct tg_conn *conn, int code, const char *reason, size_t reason_len)
{
    conn->ending = true;
    conn->leaving = false;
    conn->closing_from = (unsigned)conn->lifecycle.state & 0xf;
    note_reason(conn, code, reason, reason_len);
}

static void stop_timers(struct tg_conn *conn)
{
    tg_timer_stop(conn->hub->timers, &conn->phase_timer);
    tg_timer_stop(conn->hub->timers, &conn->keepalive_timer);
    tg__stop_expiry(conn);
}

static void arm_close_deadline(struct tg_conn *conn)
{
    struct tg_end *end = tg__end(conn);
    if (end != NULL)
        end->unwritten_before = tg__outbox_bytes(conn);
    tg__arm_phase(conn, tg__options(conn)->close_timeout_ms, tg__on_close_deadline);
}

/* The close frame stands behind all that was sent before, so a peer that is still taking that gets more
 * time: as long as it takes an eighth, that it cannot go on for ever. */
static bool is_still_taking(const struct tg_conn *conn)
{
    const struct tg_end *end = tg__end(conn);
    size_t before = end == NULL ? 0 : end->unwritten_before;
    return conn->stream != NULL && before > TAKEN_AT_ONCE &&
           tg__outbox_bytes(conn) <= before - before / 8;
}

/* What the policy will not see any more. */
static void drop_inbox(struct tg_conn *conn)
{
    const struct tg_inbox *inbox = tg__inbox(conn);
    size_t count = inbox == NULL ? 0 : inbox->count;
    char id[TG_CONN_ID_SIZE];
    if (count == 0)
        return;
    size_t bytes = inbox->bytes;
    tg__inbox_drop_messages(conn);
    tg_conn_id_format(&conn->id, id);
    tg_counter_add(&tg__metrics(conn)->messages_dropped, count);
    tg_log(TG_LOG_INFO, "conn.messages_dropped", tg_log_str("id", id),
           tg_log_uint("messages", count), tg_log_uint("bytes", bytes));
}

static enum tg_err queue_close_frame(struct tg_conn *conn)
{
    const char *reason = tg__close_reason(conn);
    struct tg_outbox *outbox = tg__outbox(conn);
    if (outbox == NULL)
        return TG_ERR_NOMEM;
    enum tg_err err =
        tg_ws_encode_close(&outbox->bytes, TG_WS_SERVER, conn->close_code, reason, strlen(reason));
    if (err == TG_ERR_OK)
        tg__flush_later(outbox);
    return err;
}

static void begin_closing(struct tg_conn *conn, const char *what)
{
    stop_timers(conn);
    tg__stop_asking(conn);
    end_runs(conn);
    tg_conn_send_deferred(conn);
    drop_inbox(conn);
    if (tg__move(conn, TG_CLOSING, what) != TG_ERR_OK || queue_close_frame(conn) != TG_ERR_OK) {
        tg__lose(conn, conn->close_code, what);
        return;
    }
    arm_close_deadline(conn);
}

static void log_end(const struct tg_conn *conn, const char *what)
{
    char id[TG_CONN_ID_SIZE];
    if (!tg_log_enabled(TG_LOG_INFO))
        return;
    tg_conn_id_format(&conn->id, id);
    tg_log_about(conn, TG_LOG_INFO, "conn.close", tg_log_str("id", id),
                 tg_log_int("code", conn->close_code), tg_log_str("reason", tg__close_reason(conn)),
                 tg_log_str("what", what),
                 tg_log_str("state", tg_state_names[conn->lifecycle.state]),
                 tg_log_str("from", tg_state_names[conn->closing_from]),
                 tg_log_bool("clean", conn->clean), tg_log_str("user", tg_conn_user_id(conn)),
                 tg_log_str("policy", tg_conn_policy_version(conn)),
                 tg_log_uint("ms", tg_clock_wall_ms() - conn->id.time_ms));
}

static void tell_closed(struct tg_conn *conn)
{
    struct tg_hook_input input = {
        .close_code = conn->close_code,
        .close_reason = tg__close_reason(conn),
        .clean = conn->clean,
        .state = (enum tg_state)conn->closing_from,
    };
    if (!conn->closed_owed)
        return;
    conn->closed_owed = false;
    if (tg__hook_defined(conn, TG_HOOK_CLOSED))
        tg__ask(conn, TG_HOOK_CLOSED, &input);
}

/* Common to all ends: from here on the state is final. */
static void become_final(struct tg_conn *conn, enum tg_state to, const char *what)
{
    stop_timers(conn);
    tg__stop_asking(conn);
    if (tg__move(conn, to, what) != TG_ERR_OK)
        return;
    if (conn->stuck)
        tg_counter_sub(&tg__metrics(conn)->stuck_now[conn->closing_from], 1);
    end_runs(conn);
    tg__congestion_end(conn);
    drop_inbox(conn);
    if (conn->close_code != 0) {
        tg_counter_add(&tg__metrics(conn)->closes[tg_close_slot_of(conn->close_code)], 1);
        log_end(conn, what);
    }
}

void tg__finish(struct tg_conn *conn, enum tg_state to, const char *what)
{
    if (tg_state_is_final(tg_conn_state(conn)))
        return;
    conn->ending = true;
    become_final(conn, to, what);
    conn->fin_wanted = true;
    struct tg_outbox *outbox = tg__outbox(conn);
    if (outbox != NULL)
        tg__flush_later(outbox);
    else /* no memory, and nothing but the FIN to send, which needs none */
        tg__flush(conn);
    arm_close_deadline(conn);
    tell_closed(conn);
}

void tg__lose(struct tg_conn *conn, int code, const char *what)
{
    if (!tg_state_is_final(tg_conn_state(conn))) {
        if (!conn->ending)
            note_end(conn, code, "", 0);
        become_final(conn, TG_FAILED, what);
        tell_closed(conn);
    }
    if (conn->stream != NULL)
        tg_stream_close(conn->stream);
}

static void end_connection(struct tg_conn *conn, int code, const char *what, const char *reason,
                           bool failed)
{
    if (conn->ending)
        return;
    if (tg_conn_state(conn) == TG_CONNECTING) {
        tg__stop_asking(conn);
        tg__handshake_refuse(conn, failed ? 500 : 503, failed ? "internal error" : reason, NULL,
                             TG_FAILED, what);
        return;
    }
    if (conn->gone) { /* there is nobody to tell: the loss stays what ended it */
        tg__peer_left(conn);
        return;
    }
    bool was_leaving = conn->leaving;
    note_end(conn, code, reason, strlen(reason));
    conn->ends_failed = failed;
    begin_closing(conn, what);
    if (!was_leaving)
        return;
    conn->clean = conn->peer_close_seen;
    tg__finish(conn, failed ? TG_FAILED : TG_CLOSED, what);
}

enum tg_err tg_conn_close(struct tg_conn *conn, int code, const char *reason)
{
    if (!tg_ws_close_code_valid(code))
        return TG_ERR_INVALID;
    end_connection(conn, code, "closed by the server", reason, false);
    return TG_ERR_OK;
}

void tg_conn_fail(struct tg_conn *conn, int code, const char *what, const char *reason)
{
    end_connection(conn, code, what, reason, true);
}

/* No close frame is waited for: nothing that comes can be understood. */
static void end_broken(struct tg_conn *conn)
{
    const char *reason = tg__close_reason(conn);
    tg_conn_fail(conn, conn->close_code, "bad frame from the peer", reason);
    conn->peer_close_seen = true;
    tg__finish(conn, TG_FAILED, "bad frame from the peer");
}

void tg__peer_left(struct tg_conn *conn)
{
    const char *reason = tg__close_reason(conn);
    if (conn->broken && !conn->gone) {
        end_broken(conn);
        return;
    }
    note_end(conn, conn->close_code, reason, strlen(reason));
    if (conn->gone || (!conn->peer_close_seen && tg__outbox_bytes(conn) == 0)) {
        tg__lose(conn, conn->close_code, "connection lost");
    } else if (!conn->peer_close_seen) {
        tg__finish(conn, TG_FAILED, "connection lost"); /* it may still read its answers */
    } else {
        conn->clean = true;
        begin_closing(conn, "the peer closes");
        tg__finish(conn, TG_CLOSED, "close handshake complete");
    }
}

void tg__peer_closed(struct tg_conn *conn, int code, const char *reason, size_t reason_len)
{
    conn->peer_close_seen = true;
    if (tg_state_is_final(tg_conn_state(conn)))
        return; /* lost while an earlier message of the same read was answered */
    if (tg_conn_state(conn) == TG_CLOSING) {
        conn->clean = true;
        tg__finish(conn, conn->ends_failed ? TG_FAILED : TG_CLOSED, "close handshake complete");
        return;
    }
    note_reason(conn, code, reason, reason_len);
    if (!conn->leaving && !tg__leave_later(conn))
        tg__peer_left(conn);
}

void tg__peer_broke(struct tg_conn *conn, int code, const char *why)
{
    conn->broken = true;
    if (!conn->ending)
        note_reason(conn, code, why, strlen(why));
    if (conn->ending || (!conn->leaving && !tg__leave_later(conn)))
        end_broken(conn);
}

/* Nobody hears what its runs say. Hooks are asked all the same about what it sent before. */
static void go_on_without_peer(struct tg_conn *conn)
{
    conn->gone = true;
    tg__outbox_drop(conn);
    end_runs(conn);
    tg__congestion_end(conn);
}

static void stream_ended_while_up(struct tg_conn *conn, enum tg_err err, const char *why)
{
    bool lost = err != TG_ERR_OK;
    if (!conn->leaving) {
        note_reason(conn, 1006, why == NULL ? "" : why, why == NULL ? 0 : strlen(why));
        if (!tg__leave_later(conn)) {
            conn->gone = lost;
            tg__peer_left(conn);
            return;
        }
    }
    if (lost)
        go_on_without_peer(conn);
    tg__pump(conn);
}

void tg__stream_ended(struct tg_conn *conn, enum tg_err err, const char *why)
{
    enum tg_state state = tg_conn_state(conn);
    conn->peer_ended = true;
    if (tg_state_is_final(state)) {
        if (err != TG_ERR_OK || tg__outbox_bytes(conn) == 0)
            tg_stream_close(conn->stream);
        return; /* else the answer is still under way to a peer that only ended its own side */
    }
    if (state == TG_CONNECTING) {
        if (err != TG_ERR_OK)
            tg__secure_failed(conn, why);
        tg__lose(conn, 0, "the peer left during the handshake");
    } else if (state == TG_CLOSING) {
        become_final(conn, conn->ends_failed ? TG_FAILED : TG_CLOSED, "no close frame in answer");
        tell_closed(conn);
        tg_stream_close(conn->stream);
    } else {
        stream_ended_while_up(conn, err, why);
    }
}

void tg__on_close_deadline(struct tg_timer *timer)
{
    struct tg_conn *conn = TG_CONTAINER_OF(timer, struct tg_conn, phase_timer);
    /* When the loop stood still for longer, the close frame may not even have been offered to the socket. */
    tg__flush_now(conn);
    if (is_still_taking(conn)) {
        arm_close_deadline(conn);
        return;
    }
    if (tg_conn_state(conn) == TG_CLOSING) {
        become_final(conn, conn->ends_failed ? TG_FAILED : TG_CLOSED, "close deadline passed");
        tell_closed(conn);
    }
    if (conn->stream != NULL)
        tg_stream_close(conn->stream);
}

void tg__drain(struct tg_conn *conn)
{
    bool busy = tg_conn_runs(conn) > 0 || conn->asking != TG_ASKING_NONE;
    if (conn->ending || conn->leaving || (busy && tg_state_is_operational(tg_conn_state(conn))))
        return;
    end_connection(conn, 1001, "drain", "server is shutting down; reconnect", false);
}
