/* deadlines.c - the three timers of a connection.
 *
 * phase_timer      handshake, authentication and setup deadline; idle_after while ready; the retry of
 *                  `prepare` while degraded; the deadline of the close handshake. One at a time.
 * keepalive_timer  a ping when nothing was heard for ping_interval, then the pong deadline. leaving.c
 *                  has it when the peer has said good-bye.
 * expiry->timer    auth_expiring, then the end of the identity; there only when it has an end.
 *
 * Traffic does not touch the timers, it only stores the time: a timer that fires early sets itself again.
 */
#include <math.h>

#include "base/clock.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/memory.h"
#include "connection/connection_internal.h"

/* expires_at may be years away; look again at least once a day (wall clocks also jump). */
#define EXPIRY_LOOK_MS (UINT64_C(24) * 3600 * 1000)

static void arm(struct tg_conn *conn, struct tg_timer *timer, uint64_t delay_ms, tg_timer_fn fn)
{
    /* Without its deadline a connection could live for ever, so it may not live at all. */
    if (tg_timer_start(conn->hub->timers, timer, delay_ms, fn) != TG_ERR_OK)
        tg__lose(conn, 1006, "out of memory");
}

/* What comes before may have ended the connection; the close deadline is then its only timer. */
static void arm_while_open(struct tg_conn *conn, struct tg_timer *timer, uint64_t delay_ms,
                           tg_timer_fn fn)
{
    if (tg_conn_is_open(conn))
        arm(conn, timer, delay_ms, fn);
}

void tg__arm_phase(struct tg_conn *conn, uint64_t delay_ms, tg_timer_fn fn)
{
    arm(conn, &conn->phase_timer, delay_ms, fn);
}

void tg__on_setup_deadline(struct tg_timer *timer)
{
    struct tg_conn *conn = TG_CONTAINER_OF(timer, struct tg_conn, phase_timer);
    enum tg_state state = tg_conn_state(conn);
    char id[TG_CONN_ID_SIZE];
    tg_conn_id_format(&conn->id, id);
    conn->stuck = true;
    conn->closing_from = (unsigned)state & 0xf; /* where it ends from in any case */
    tg_counter_add(&tg__metrics(conn)->stuck[state], 1);
    tg_counter_add(&tg__metrics(conn)->stuck_now[state], 1);
    tg_log(TG_LOG_WARN, "conn.stuck", tg_log_str("id", id),
           tg_log_str("state", tg_state_names[state]),
           tg_log_str("waiting_for",
                      conn->asking == TG_ASKING_NONE ? "the client" : tg_hook_names[conn->asking]));
    if (state == TG_CONNECTING) {
        tg__stop_asking(conn);
        tg__handshake_refuse(conn, 408, "the request was not complete in time", NULL, TG_FAILED,
                             "handshake deadline passed");
    } else if (state == TG_ACCEPTED) {
        tg_conn_fail(conn, 4408, "authentication deadline passed",
                     "authentication took too long; send credentials sooner");
    } else {
        tg_conn_fail(conn, 4408, "setup deadline passed", "setup took too long; try again later");
    }
}

static void on_idle_due(struct tg_timer *timer)
{
    struct tg_conn *conn = TG_CONTAINER_OF(timer, struct tg_conn, phase_timer);
    if (tg_conn_state(conn) != TG_PROCESSING_READY)
        return; /* armed again when the connection is ready again */
    uint64_t idle_after = tg__options(conn)->idle_after_ms;
    uint64_t quiet = tg__since(conn, conn->last_message_ms);
    if (quiet < idle_after || conn->asking != TG_ASKING_NONE) {
        tg__arm_phase(conn, quiet < idle_after ? idle_after - quiet : idle_after, on_idle_due);
        return;
    }
    if (tg__move(conn, TG_IDLE, "no message and no run") != TG_ERR_OK)
        tg_conn_fail(conn, 1011, "illegal transition", "internal error");
}

void tg__arm_idle(struct tg_conn *conn)
{
    arm_while_open(conn, &conn->phase_timer, tg__options(conn)->idle_after_ms, on_idle_due);
}

static void on_retry_due(struct tg_timer *timer)
{
    struct tg_conn *conn = TG_CONTAINER_OF(timer, struct tg_conn, phase_timer);
    if (tg_conn_state(conn) != TG_DEGRADED)
        return; /* a run is under way; see tg__resume_retry */
    if (conn->asking != TG_ASKING_NONE) {
        tg__arm_phase(conn, tg__options(conn)->prepare_retry_ms, on_retry_due);
        return;
    }
    if (tg__move(conn, TG_RECONNECTING, "prepare: trying again") != TG_ERR_OK) {
        tg_conn_fail(conn, 1011, "illegal transition", "internal error");
        return;
    }
    if (tg__hook_defined(conn, TG_HOOK_PREPARE))
        tg__ask(conn, TG_HOOK_PREPARE, &(struct tg_hook_input){0});
    else /* a reload took the hook away: nothing is missing any more */
        tg__prepare_answered(conn, &(struct tg_hook_result){.outcome = TG_HOOK_OK_OUTCOME});
    tg__pump(conn);
}

void tg__arm_retry(struct tg_conn *conn)
{
    const struct tg_hub_options *options = tg__options(conn);
    struct tg_degraded *degraded = tg__degraded(conn);
    uint64_t delay = degraded->retry_delay_ms * 2;
    if (delay < options->prepare_retry_ms)
        delay = options->prepare_retry_ms;
    if (delay > options->prepare_retry_max_ms)
        delay = options->prepare_retry_max_ms;
    degraded->retry_delay_ms = delay;
    arm_while_open(conn, &conn->phase_timer, delay, on_retry_due);
}

void tg__resume_retry(struct tg_conn *conn)
{
    if (!tg_timer_running(&conn->phase_timer)) /* it came due during the run */
        arm_while_open(conn, &conn->phase_timer, 0, on_retry_due);
}

/* Of a message that was under way when it was last looked for. */
struct midway {
    struct tg_attachment attachment;
    uint64_t since_ms; /* when it was first seen */
    uint64_t after;    /* messages_in then */
};

/* Made when there is none; NULL when memory is out. */
static struct midway *midway_of(struct tg_conn *conn, uint64_t now)
{
    struct midway *midway = (struct midway *)(void *)tg__attached(conn, TG_ATTACHED_MIDWAY);
    if (midway != NULL)
        return midway;
    midway = tg_alloc(sizeof *midway);
    if (midway == NULL)
        return NULL;
    midway->since_ms = now;
    midway->after = conn->messages_in;
    tg__attach(conn, TG_ATTACHED_MIDWAY, &midway->attachment);
    return midway;
}

/* A message that has begun and does not end holds memory, and pongs keep its connection alive. It is looked
 * for when this timer fires anyway, so that messages which do arrive pay nothing for it. Returns how long the
 * one under way may still take; 0: no longer. */
static uint64_t message_may_take(struct tg_conn *conn, uint64_t now)
{
    uint64_t limit = tg__options(conn)->message_timeout_ms;
    struct tg_ws *ws = tg__ws(conn);
    /* While we do not read, it cannot go on. */
    if (limit == 0 || ws == NULL || !tg_ws_is_midway(ws) || conn->paused || !tg__is_up(conn)) {
        tg__free_attached(conn, TG_ATTACHED_MIDWAY);
        return UINT64_MAX;
    }
    struct midway *midway = midway_of(conn, now);
    /* Without memory to remember it, it has begun just now, also when it is looked at again. */
    if (midway == NULL)
        return limit;
    if (midway->after != conn->messages_in) {
        midway->since_ms = now;
        midway->after = conn->messages_in;
    }
    uint64_t took = now - midway->since_ms;
    return took >= limit ? 0 : limit - took;
}

/* Pings a peer that is silent; when to look again, 0: the connection is lost. */
static uint64_t watch_silence(struct tg_conn *conn)
{
    const struct tg_hub_options *options = tg__options(conn);
    uint64_t quiet = tg__since(conn, conn->last_read_ms);
    if (options->ping_interval_ms == 0)
        return options->message_timeout_ms;
    /* While we do not read, the peer's silence is our doing. */
    if (conn->paused)
        return options->ping_interval_ms;
    if (quiet < options->ping_interval_ms)
        return options->ping_interval_ms - quiet;
    if (conn->awaiting_pong) {
        tg__lose(conn, 1006, "no pong");
        return 0;
    }
    conn->awaiting_pong = true;
    tg__send_control(conn, TG_WS_PING, NULL, 0);
    return options->pong_timeout_ms;
}

static void on_keepalive(struct tg_timer *timer)
{
    struct tg_conn *conn = TG_CONTAINER_OF(timer, struct tg_conn, keepalive_timer);
    uint64_t now = tg_timers_now_ms(conn->hub->timers);
    uint64_t message_left = message_may_take(conn, now);
    if (message_left == 0) {
        tg_conn_fail(conn, 4408, "message deadline passed", "the message took too long to arrive");
        return;
    }
    uint64_t wait = watch_silence(conn);
    if (wait > message_left && !conn->awaiting_pong)
        wait = message_left;
    if (wait > 0)
        arm_while_open(conn, &conn->keepalive_timer, wait, on_keepalive);
}

void tg__arm_keepalive(struct tg_conn *conn)
{
    const struct tg_hub_options *options = tg__options(conn);
    uint64_t wait =
        options->ping_interval_ms > 0 ? options->ping_interval_ms : options->message_timeout_ms;
    if (wait > 0)
        arm_while_open(conn, &conn->keepalive_timer, wait, on_keepalive);
}

void tg__heard_from_peer(struct tg_conn *conn)
{
    conn->last_read_ms = (uint32_t)tg_timers_now_ms(conn->hub->timers);
    conn->awaiting_pong = false;
}

static void send_expiring(struct tg_conn *conn)
{
    struct tg_buffer body = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&body);
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "type", "auth_expiring");
    tg_json_key(&w, "data");
    tg_json_begin_object(&w);
    tg_json_member_real(&w, "expires_at", tg_conn_expires_at(conn));
    tg_json_end_object(&w);
    tg_json_end_object(&w);
    if (tg_json_writer_failed(&w))
        tg_buffer_clear(&body);
    tg__send_json(conn, &body);
}

static void on_expiry(struct tg_timer *timer)
{
    struct tg_expiry *expiry = TG_CONTAINER_OF(timer, struct tg_expiry, timer);
    struct tg_conn *conn = expiry->conn;
    double left_ms = expiry->at * 1000.0 - (double)tg_clock_wall_ms();
    double notice_ms = (double)tg__options(conn)->expiry_notice_ms;
    if (left_ms <= 0) {
        tg_conn_fail(conn, 4401, "identity expired", "credentials have expired; connect again");
        return;
    }
    if (!expiry->noticed && left_ms <= notice_ms && tg_conn_state(conn) > TG_SERVICES_READY) {
        expiry->noticed = true;
        send_expiring(conn);
    }
    tg__arm_expiry(conn);
}

enum tg_err tg__set_expiry(struct tg_conn *conn, double expires_at)
{
    struct tg_expiry *expiry = tg__expiry(conn);
    if (!(expires_at > 0)) {
        tg__stop_expiry(conn);
        tg__free_attached(conn, TG_ATTACHED_EXPIRY);
        return TG_ERR_OK;
    }
    if (expiry == NULL) {
        expiry = tg_calloc(1, sizeof *expiry);
        if (expiry == NULL)
            return TG_ERR_NOMEM;
        expiry->conn = conn;
        tg__attach(conn, TG_ATTACHED_EXPIRY, &expiry->attachment);
    }
    expiry->at = expires_at;
    expiry->noticed = false;
    return TG_ERR_OK;
}

void tg__stop_expiry(struct tg_conn *conn)
{
    struct tg_expiry *expiry = tg__expiry(conn);
    if (expiry != NULL)
        tg_timer_stop(conn->hub->timers, &expiry->timer);
}

void tg__arm_expiry(struct tg_conn *conn)
{
    struct tg_expiry *expiry = tg__expiry(conn);
    if (expiry == NULL)
        return;
    double wait_ms = expiry->at * 1000.0 - (double)tg_clock_wall_ms();
    double notice_ms = (double)tg__options(conn)->expiry_notice_ms;
    if (!expiry->noticed)
        wait_ms = wait_ms > notice_ms ? wait_ms - notice_ms : fmin(wait_ms, 100.0);
    wait_ms = fmin(fmax(ceil(wait_ms), 1.0), (double)EXPIRY_LOOK_MS);
    arm_while_open(conn, &expiry->timer, (uint64_t)wait_ms, on_expiry);
}
