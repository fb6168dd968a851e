/* dispatch.c - one message from the client to whatever answers it.
 *
 * The envelope ({"type", "id", "data"}) is read in place; only `type` decides. Mistakes are answered
 * with an `error` and the connection lives on, unless `strict` is set.
 */
#include <string.h>

#include "base/json_reader.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "connection/connection_internal.h"

#define NAME_SIZE 128

struct envelope {
    struct tg_json_value document;
    struct tg_json_value type;
    struct tg_json_value id;
    struct tg_json_value data;
};
static const char *const envelope_keys[] = {"type", "id", "data"};

/* A request that cannot be met; the message itself was right. */
static void decline(struct tg_conn *conn, const char *code, const char *message,
                    const struct tg_json_value *id)
{
    bool has_id = id != NULL && id->kind != TG_JSON_NONE;
    tg_conn_send_error(conn, code, message, has_id ? id->raw : NULL, has_id ? id->len : 0);
}

/* Nothing the client did wrong is worth more than an answer, unless the operator says so. */
static void complain(struct tg_conn *conn, const char *code, const char *message,
                     const struct tg_json_value *id)
{
    if (tg__options(conn)->strict) {
        tg_conn_fail(conn, 4400, "bad message", message);
        return;
    }
    decline(conn, code, message, id);
}

static bool read_envelope(struct tg_conn *conn, const char *data, size_t len, struct envelope *out)
{
    struct tg_error error;
    struct tg_json_value members[3];
    if (tg_json_parse_members(data, len, &out->document, envelope_keys, members, 3, &error) !=
        TG_ERR_OK) {
        complain(conn, "bad_json", error.text, NULL);
        return false;
    }
    if (out->document.kind != TG_JSON_OBJECT) {
        complain(conn, "bad_message", "a message is a JSON object with a string \"type\"", NULL);
        return false;
    }
    out->type = members[0];
    out->id = members[1];
    out->data = members[2];
    if (out->type.kind != TG_JSON_STRING) {
        complain(conn, "bad_message", "\"type\" must be a string", &out->id);
        return false;
    }
    if (out->id.kind == TG_JSON_OBJECT || out->id.kind == TG_JSON_ARRAY) {
        complain(conn, "bad_message", "\"id\" must be a string or a number", NULL);
        return false;
    }
    return true;
}

static void answer_ping(struct tg_conn *conn, const struct envelope *envelope)
{
    struct tg_buffer body = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&body);
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "type", "pong");
    if (envelope->id.kind != TG_JSON_NONE) {
        tg_json_key(&w, "id");
        tg_json_raw(&w, envelope->id.raw, envelope->id.len);
    }
    tg_json_end_object(&w);
    if (tg_json_writer_failed(&w))
        tg_buffer_clear(&body);
    tg__send_json(conn, &body);
}

static void ask_about(struct tg_conn *conn, enum tg_hook hook, const char *data, size_t len)
{
    tg__ask(conn, hook, &(struct tg_hook_input){.data = data, .len = len});
}

/* `agent` NULL: the only agent there is. */
static void start_run(struct tg_conn *conn, const struct envelope *envelope, const char *agent,
                      struct tg_blob input)
{
    const struct tg_conn_upper *upper = &conn->hub->upper;
    bool has_id = envelope->id.kind != TG_JSON_NONE;
    struct tg_run_request request = {
        .agent = agent,
        .input = input,
        .input_json = envelope->data.raw,
        .input_json_len = envelope->data.len,
        .request_id = has_id ? envelope->id.raw : NULL,
        .request_id_len = has_id ? envelope->id.len : 0,
    };
    if (conn->hub->draining) {
        tg_conn_send_error(conn, "draining", "the server is shutting down; connect again",
                           request.request_id, request.request_id_len);
        return;
    }
    switch (upper->run_start(upper->host, conn, &request)) {
    case TG_ERR_OK:
    case TG_ERR_CLOSED:
        break;
    case TG_ERR_NOT_FOUND:
        decline(conn, "unknown_agent", "there is no agent of that name", &envelope->id);
        break;
    case TG_ERR_INVALID:
        decline(conn, "unknown_agent", "name an agent in data.agent_type", &envelope->id);
        break;
    case TG_ERR_LIMIT:
        tg_conn_send_error(conn, "too_many_runs", "too many runs at once; wait for one to end",
                           request.request_id, request.request_id_len);
        break;
    case TG_ERR_PROTO:
    case TG_ERR_SCRIPT:
    case TG_ERR_BUDGET:
    case TG_ERR_NOMEM:
    case TG_ERR_SYS:
    case TG_ERR_EXISTS:
    case TG_ERR_ILLEGAL:
        tg_conn_send_error(conn, "overloaded", "the run could not be started; try again later",
                           request.request_id, request.request_id_len);
        break;
    }
}

static bool check_execution(struct tg_conn *conn, const struct envelope *envelope)
{
    struct tg_json_value message = tg_json_member(&envelope->data, "message");
    struct tg_json_value agent = tg_json_member(&envelope->data, "agent_type");
    const char *wrong = NULL;
    if (envelope->data.kind != TG_JSON_OBJECT)
        wrong = "\"data\" must be an object";
    else if (message.kind != TG_JSON_STRING)
        wrong = "\"data.message\" must be a string";
    else if (agent.kind != TG_JSON_NONE && agent.kind != TG_JSON_NULL &&
             agent.kind != TG_JSON_STRING)
        wrong = "\"data.agent_type\" must be a string";
    if (wrong != NULL)
        complain(conn, "bad_message", wrong, &envelope->id);
    return wrong == NULL;
}

static void execute(struct tg_conn *conn, const struct envelope *envelope)
{
    char name[NAME_SIZE];
    if (!check_execution(conn, envelope))
        return;
    if (tg__hook_defined(conn, TG_HOOK_ROUTE)) {
        ask_about(conn, TG_HOOK_ROUTE, envelope->document.raw, envelope->document.len);
        return;
    }
    struct tg_json_value agent = tg_json_member(&envelope->data, "agent_type");
    if (agent.kind == TG_JSON_STRING && tg_json_copy_string(&agent, name, sizeof name) != TG_ERR_OK)
        decline(conn, "unknown_agent", "there is no agent of that name", &envelope->id);
    else
        start_run(conn, envelope, agent.kind == TG_JSON_STRING ? name : NULL, (struct tg_blob){0});
}

void tg__route_answered(struct tg_conn *conn, const struct tg_hook_result *result)
{
    struct envelope envelope;
    struct tg_question *question = tg__question(conn);
    if (!tg_conn_is_open(conn) || question == NULL || question->data == NULL ||
        !read_envelope(conn, question->data, question->len, &envelope))
        return;
    question->data = NULL;
    if (result->outcome == TG_HOOK_OK_OUTCOME) {
        start_run(conn, &envelope, result->agent, result->input);
    } else if (result->outcome == TG_HOOK_DENIED_OUTCOME) {
        const char *why = result->reason == NULL ? "the policy refused it" : result->reason;
        bool has_id = envelope.id.kind != TG_JSON_NONE;
        tg_conn_send_error(conn, "denied", why, has_id ? envelope.id.raw : NULL,
                           has_id ? envelope.id.len : 0);
    } else {
        tg__refused_by_hook(conn, "route failed", 1011, result);
    }
}

static void cancel(struct tg_conn *conn, const struct envelope *envelope)
{
    const struct tg_conn_upper *upper = &conn->hub->upper;
    char run_id[NAME_SIZE];
    struct tg_json_value id = tg_json_member(&envelope->data, "run_id");
    if (id.kind != TG_JSON_STRING)
        complain(conn, "bad_message", "\"data.run_id\" must be a string", &envelope->id);
    else if (tg_json_copy_string(&id, run_id, sizeof run_id) != TG_ERR_OK ||
             upper->run_cancel(upper->host, conn, run_id) != TG_ERR_OK)
        decline(conn, "unknown_run", "there is no such run under way on this connection",
                &envelope->id);
}

static void dispatch_json(struct tg_conn *conn, const char *data, size_t len)
{
    struct envelope envelope;
    if (!read_envelope(conn, data, len, &envelope))
        return;
    if (tg_json_equals(&envelope.type, "agent_execution"))
        execute(conn, &envelope);
    else if (tg_json_equals(&envelope.type, "ping"))
        answer_ping(conn, &envelope);
    else if (tg_json_equals(&envelope.type, "agent_cancel"))
        cancel(conn, &envelope);
    else if (tg_json_equals(&envelope.type, "authenticate"))
        ask_about(conn, TG_HOOK_REAUTHENTICATE, data, len);
    else if (tg__hook_defined(conn, TG_HOOK_MESSAGE))
        ask_about(conn, TG_HOOK_MESSAGE, data, len);
    else
        complain(conn, "unknown_type", "this policy has no use for messages of that type",
                 &envelope.id);
}

void tg__dispatch(struct tg_conn *conn, enum tg_ws_opcode kind, const char *data, size_t len)
{
    conn->last_message_ms = (uint32_t)tg_timers_now_ms(conn->hub->timers);
    if (tg_conn_state(conn) == TG_IDLE) {
        if (tg__move(conn, TG_PROCESSING_READY, "message arrived") != TG_ERR_OK) {
            tg_conn_fail(conn, 1011, "illegal transition", "internal error");
            return;
        }
        tg__arm_idle(conn);
        if (!tg__is_up(conn)) /* lost, when the timer could not be set */
            return;
    }
    if (kind == TG_WS_TEXT && tg__is_plain(conn))
        ask_about(conn, TG_HOOK_TEXT, data, len);
    else if (kind == TG_WS_TEXT)
        dispatch_json(conn, data, len);
    else if (tg__hook_defined(conn, TG_HOOK_BINARY))
        ask_about(conn, TG_HOOK_BINARY, data, len);
    else if (tg__is_plain(conn))
        tg_conn_fail(conn, 1003, "binary message", "this server takes no binary messages");
    else
        complain(conn, "bad_message", "this policy takes no binary messages", NULL);
}
