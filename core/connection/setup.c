/* setup.c - the steps between 101 and the first message: who it is, what its context is, whether the
 * services it needs are there.
 *
 *   accepted ──[authenticate]──> authenticated ──[create_context, prepare]──> services_ready
 *       │  need_message: the client's `authenticate` message, then again         │
 *       └──────────────── any no, fault or deadline ──> closing ──> failed       v
 *   degraded <──[prepare: degraded] (degraded.c)                          processing_ready
 *   degraded ──[retry]──> reconnecting ──[prepare]──> processing_ready | degraded
 *
 * I1  No step is skipped and none is left half done: what is not a clear yes ends the connection.
 * I2  user_id is set once.
 */
#include <string.h>

#include "base/clock.h"
#include "base/json_reader.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/memory.h"
#include "connection/connection_internal.h"

void tg__refused_by_hook(struct tg_conn *conn, const char *what, int deny_code,
                         const struct tg_hook_result *result)
{
    const char *reason = result->reason;
    int code = 1011;
    if (result->outcome == TG_HOOK_DENIED_OUTCOME) {
        code = tg_ws_close_code_valid(result->status) ? result->status : deny_code;
        tg_conn_fail(conn, code, what, reason == NULL ? "refused" : reason);
        return;
    }
    tg_conn_fail(conn, code, what, reason == NULL ? "policy failed" : reason);
}

static enum tg_err store(struct tg_conn *conn, enum tg_fact which, struct tg_blob blob)
{
    return tg_facts_set(&conn->facts, which, blob.data, blob.len);
}

static void out_of_memory(struct tg_conn *conn)
{
    tg_conn_fail(conn, 1011, "out of memory", "out of memory");
}

static void ask_authenticate(struct tg_conn *conn, const char *data, size_t len)
{
    conn->closed_owed = true;
    tg__ask(conn, TG_HOOK_AUTHENTICATE, &(struct tg_hook_input){.data = data, .len = len});
}

void tg__setup_start(struct tg_conn *conn)
{
    tg__arm_phase(conn, tg__options(conn)->auth_timeout_ms, tg__on_setup_deadline);
    tg__arm_keepalive(conn);
    if (tg__is_up(conn)) /* lost, when a timer could not be set */
        ask_authenticate(conn, NULL, 0);
}

static bool is_authenticate(const struct tg_inbox_message *message)
{
    struct tg_json_value document;
    if (message->kind != TG_WS_TEXT ||
        tg_json_parse((const char *)message->data, message->len, &document, NULL) != TG_ERR_OK)
        return false;
    struct tg_json_value type = tg_json_member(&document, "type");
    return tg_json_equals(&type, "authenticate");
}

bool tg__setup_take_auth_message(struct tg_conn *conn)
{
    /* Others may stand before it; they keep their place and their order. Nothing else takes from the
     * inbox in this state, so none is looked at twice: a trickle of bytes costs no more than a burst. */
    size_t index = 0;
    struct tg_inbox *inbox = tg__inbox(conn);
    if (inbox == NULL)
        return false;
    TG_LIST_EACH (node, next, &inbox->messages) {
        struct tg_inbox_message *message = TG_CONTAINER_OF(node, struct tg_inbox_message, node);
        if (index++ < inbox->auth_checked)
            continue;
        if (!is_authenticate(message)) {
            inbox->auth_checked++;
            continue;
        }
        tg__inbox_take(conn, message);
        conn->wants_auth_message = false;
        ask_authenticate(conn, (const char *)message->data, message->len);
        tg_free(message);
        return true;
    }
    return false;
}

static bool has_expired(double expires_at)
{
    return expires_at > 0 && expires_at * 1000.0 <= (double)tg_clock_wall_ms();
}

static void authenticated(struct tg_conn *conn, const struct tg_hook_result *result)
{
    char id[TG_CONN_ID_SIZE];
    if (tg_facts_set_user(&conn->facts, result->user_id, result->identity) != TG_ERR_OK ||
        tg__set_expiry(conn, result->expires_at) != TG_ERR_OK) {
        out_of_memory(conn);
        return;
    }
    if (tg__move(conn, TG_AUTHENTICATED, "authenticate: identity accepted") != TG_ERR_OK) {
        tg_conn_fail(conn, 1011, "illegal transition", "internal error");
        return;
    }
    if (tg_log_enabled(TG_LOG_INFO)) {
        tg_conn_id_format(&conn->id, id);
        tg_log(TG_LOG_INFO, "conn.authenticated", tg_log_str("id", id),
               tg_log_str("user", tg_conn_user_id(conn)),
               tg_log_str("policy", tg_conn_policy_version(conn)));
    }
    tg__arm_phase(conn, tg__options(conn)->setup_timeout_ms, tg__on_setup_deadline);
    tg__arm_expiry(conn);
    if (!tg__is_up(conn)) /* lost, when a timer could not be set */
        return;
    if (tg__hook_defined(conn, TG_HOOK_CREATE_CONTEXT)) {
        tg__ask(conn, TG_HOOK_CREATE_CONTEXT, &(struct tg_hook_input){0});
        return;
    }
    tg__context_answered(conn, &(struct tg_hook_result){.outcome = TG_HOOK_OK_OUTCOME});
}

/* A fault is not counted here: hook_outcomes has it. */
static void count_denial(struct tg_conn *conn, const struct tg_hook_result *result)
{
    if (result->outcome == TG_HOOK_DENIED_OUTCOME)
        tg_metrics_count_denial(tg__metrics(conn), result->code);
}

void tg__authenticate_answered(struct tg_conn *conn, const struct tg_hook_result *result)
{
    if (tg_conn_state(conn) != TG_ACCEPTED)
        return;
    count_denial(conn, result);
    if (result->outcome != TG_HOOK_OK_OUTCOME) {
        tg__refused_by_hook(conn, "authenticate: refused", 4401, result);
    } else if (result->verdict == TG_VERDICT_NEED_MESSAGE) {
        conn->wants_auth_message = true; /* the pump looks for it */
    } else if (has_expired(result->expires_at)) {
        tg_metrics_count_denial(tg__metrics(conn), "expired");
        tg_conn_fail(conn, 4401, "authenticate: expired", "credentials have expired");
    } else {
        authenticated(conn, result);
    }
}

static void send_authenticated(struct tg_conn *conn)
{
    struct tg_buffer body = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&body);
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "type", "authenticated");
    tg_json_key(&w, "data");
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "user_id", tg_conn_user_id(conn));
    if (tg_conn_expires_at(conn) > 0)
        tg_json_member_real(&w, "expires_at", tg_conn_expires_at(conn));
    tg_json_end_object(&w);
    tg_json_end_object(&w);
    if (tg_json_writer_failed(&w))
        tg_buffer_clear(&body);
    tg__send_json(conn, &body);
}

void tg__reauthenticate_answered(struct tg_conn *conn, const struct tg_hook_result *result)
{
    if (!tg_conn_is_open(conn))
        return;
    count_denial(conn, result);
    if (result->outcome != TG_HOOK_OK_OUTCOME) {
        tg__refused_by_hook(conn, "reauthenticate: refused", 4401, result);
        return;
    }
    if (result->verdict == TG_VERDICT_NEED_MESSAGE || has_expired(result->expires_at)) {
        bool expired = result->verdict != TG_VERDICT_NEED_MESSAGE;
        tg_metrics_count_denial(tg__metrics(conn), expired ? "expired" : "missing");
        tg_conn_fail(conn, 4401, "reauthenticate: refused", "credentials were not accepted");
        return;
    }
    if (strcmp(result->user_id, tg_conn_user_id(conn)) != 0) {
        tg_conn_tampered(conn, "user_id", tg_conn_user_id(conn), result->user_id);
        return;
    }
    if (store(conn, TG_FACT_IDENTITY, result->identity) != TG_ERR_OK ||
        tg__set_expiry(conn, result->expires_at) != TG_ERR_OK) {
        out_of_memory(conn);
        return;
    }
    tg__arm_expiry(conn);
    send_authenticated(conn);
}

void tg__context_answered(struct tg_conn *conn, const struct tg_hook_result *result)
{
    if (tg_conn_state(conn) != TG_AUTHENTICATED)
        return;
    if (result->outcome != TG_HOOK_OK_OUTCOME) {
        tg__refused_by_hook(conn, "create_context: refused", 4403, result);
        return;
    }
    if (store(conn, TG_FACT_CONTEXT, result->context) != TG_ERR_OK) {
        out_of_memory(conn);
        return;
    }
    if (tg__hook_defined(conn, TG_HOOK_PREPARE)) {
        tg__ask(conn, TG_HOOK_PREPARE, &(struct tg_hook_input){0});
        return;
    }
    tg__prepare_answered(conn, &(struct tg_hook_result){.outcome = TG_HOOK_OK_OUTCOME});
}

void tg__send_ready(struct tg_conn *conn)
{
    char id[TG_CONN_ID_SIZE];
    struct tg_buffer body = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&body);
    if (tg__is_plain(conn)) /* it would be written for nobody */
        return;
    tg_conn_id_format(&conn->id, id);
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "type", "connection_ready");
    tg_json_key(&w, "data");
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "connection_id", id);
    tg_json_member_str(&w, "state", tg_state_names[tg_conn_state(conn)]);
    tg_json_member_str(&w, "user_id", tg_conn_user_id(conn));
    if (tg_conn_expires_at(conn) > 0)
        tg_json_member_real(&w, "expires_at", tg_conn_expires_at(conn));
    if (tg__degraded(conn) != NULL)
        tg_json_member_str(&w, "reason", tg__degraded(conn)->reason);
    tg_json_end_object(&w);
    tg_json_end_object(&w);
    if (tg_json_writer_failed(&w)) {
        tg_buffer_fini(&body);
        out_of_memory(conn);
        return;
    }
    tg__send_json(conn, &body);
}

static void become_ready(struct tg_conn *conn)
{
    enum tg_err err = TG_ERR_OK;
    tg__free_attached(conn, TG_ATTACHED_DEGRADED);
    if (tg_conn_state(conn) == TG_AUTHENTICATED)
        err = tg__move(conn, TG_SERVICES_READY, "context and services are there");
    if (err == TG_ERR_OK)
        err = tg__move(conn, TG_PROCESSING_READY, "ready for messages");
    if (err != TG_ERR_OK) {
        tg_conn_fail(conn, 1011, "illegal transition", "internal error");
        return;
    }
    tg__send_ready(conn);
    conn->last_message_ms = (uint32_t)tg_timers_now_ms(conn->hub->timers);
    tg__arm_idle(conn);
}

void tg__prepare_answered(struct tg_conn *conn, const struct tg_hook_result *result)
{
    enum tg_state state = tg_conn_state(conn);
    if (state != TG_AUTHENTICATED && state != TG_RECONNECTING)
        return;
    if (result->outcome == TG_HOOK_OK_OUTCOME) {
        if (result->verdict == TG_VERDICT_DEGRADED)
            tg__become_degraded(conn, result->reason);
        else
            become_ready(conn);
    } else if (state == TG_RECONNECTING && result->outcome == TG_HOOK_DENIED_OUTCOME) {
        /* A connection that works is not lost to a retry. */
        tg__become_degraded(conn, result->reason);
    } else {
        tg__refused_by_hook(conn, "prepare: refused", 1011, result);
    }
}
