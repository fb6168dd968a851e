/* connect_session.c - matches what the server says with what was asked. See the header for the rules.
 *
 * A run is tied to its request by the `request_id` that agent_started carries. A request without an
 * id takes the oldest run that nobody else claims, which is right as long as runs start in order.
 */
#include "app/connect/connect_session.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json_writer.h"
#include "base/memory.h"

void tg_session_fini(struct tg_session *session)
{
    for (size_t i = 0; i < session->count; i++)
        tg_free(session->requests[i].text);
    tg_free(session->requests);
    *session = (struct tg_session){0};
}

static struct tg_session_request *add(struct tg_session *session, enum tg_request_kind kind,
                                      char *text)
{
    struct tg_session_request *grown = tg_xcalloc(session->count + 1, sizeof *grown);

    if (session->count > 0)
        memcpy(grown, session->requests, session->count * sizeof *grown);
    tg_free(session->requests);
    session->requests = grown;
    grown[session->count] = (struct tg_session_request){.kind = kind, .text = text};
    return &grown[session->count++];
}

/* Raw JSON of a value, or "" when it is absent or too long to be told apart. */
static void copy_raw(struct tg_json_value value, char out[TG_SESSION_ID_SIZE])
{
    out[0] = '\0';
    if (value.kind != TG_JSON_NONE && value.kind != TG_JSON_NULL && value.len < TG_SESSION_ID_SIZE)
        snprintf(out, TG_SESSION_ID_SIZE, "%.*s", (int)value.len, value.raw);
}

static enum tg_request_kind kind_of(const struct tg_json_value *type)
{
    if (tg_json_equals(type, "agent_execution"))
        return TG_REQUEST_AGENT;
    if (tg_json_equals(type, "ping"))
        return TG_REQUEST_PING;
    if (tg_json_equals(type, "authenticate"))
        return TG_REQUEST_AUTHENTICATE;
    if (tg_json_equals(type, "agent_cancel"))
        return TG_REQUEST_CANCEL;
    return TG_REQUEST_OTHER;
}

enum tg_err tg_session_add_text(struct tg_session *session, const char *text,
                                struct tg_error *error)
{
    struct tg_json_value message;
    struct tg_json_value type;
    struct tg_error detail;

    if (session->plain) {
        add(session, TG_REQUEST_PLAIN, tg_xstrdup(text));
        return TG_ERR_OK;
    }
    if (tg_json_parse(text, strlen(text), &message, &detail) != TG_ERR_OK)
        return tg_error_set(error, TG_ERR_INVALID,
                            "this is no JSON: %s (--plain sends text as it is)", detail.text);
    type = tg_json_member(&message, "type");
    if (type.kind != TG_JSON_STRING)
        return tg_error_set(error, TG_ERR_INVALID,
                            "a message is a JSON object with a string \"type\", such as "
                            "{\"type\":\"ping\"}");
    struct tg_session_request *request = add(session, kind_of(&type), tg_xstrdup(text));
    copy_raw(tg_json_member(&message, "id"), request->id);
    return TG_ERR_OK;
}

/* Start-up memory: a message typed by a person. */
static char *finish_text(struct tg_json_writer *w, struct tg_buffer *out)
{
    char *text = tg_json_writer_failed(w) ? NULL : tg_buffer_detach(out, NULL);

    tg_buffer_fini(out);
    return text == NULL ? tg_xstrdup("{}") : text;
}

void tg_session_add_agent(struct tg_session *session, const char *agent, const char *message)
{
    struct tg_buffer out = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&out);
    char id[32];

    snprintf(id, sizeof id, "c%zu", ++session->ids_made);
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "type", "agent_execution");
    tg_json_member_str(&w, "id", id);
    tg_json_key(&w, "data");
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "message", message);
    if (agent != NULL)
        tg_json_member_str(&w, "agent_type", agent);
    tg_json_end_object(&w);
    tg_json_end_object(&w);
    struct tg_session_request *request = add(session, TG_REQUEST_AGENT, finish_text(&w, &out));
    snprintf(request->id, sizeof request->id, "\"%s\"", id);
}

enum tg_err tg_session_add_cancel(struct tg_session *session, const char *run_id)
{
    struct tg_buffer out = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&out);

    if (run_id == NULL && session->last_run[0] == '\0')
        return TG_ERR_NOT_FOUND;
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "type", "agent_cancel");
    tg_json_key(&w, "data");
    tg_json_begin_object(&w);
    tg_json_key(&w, "run_id");
    if (run_id != NULL)
        tg_json_str(&w, run_id);
    else
        tg_json_raw(&w, session->last_run, strlen(session->last_run));
    tg_json_end_object(&w);
    tg_json_end_object(&w);
    add(session, TG_REQUEST_CANCEL, finish_text(&w, &out));
    return TG_ERR_OK;
}

const char *tg_session_next(struct tg_session *session)
{
    for (size_t i = 0; i < session->count; i++) {
        struct tg_session_request *request = &session->requests[i];
        if (request->state != TG_REQUEST_NEW)
            continue;
        if (!session->ready && request->kind != TG_REQUEST_AUTHENTICATE)
            continue;
        /* A second `authenticate` is answered by nothing that is the same on every server. */
        request->state = request->kind == TG_REQUEST_CANCEL ||
                                 (request->kind == TG_REQUEST_AUTHENTICATE && session->ready)
                             ? TG_REQUEST_ENDED
                             : TG_REQUEST_SENT;
        return request->text;
    }
    return NULL;
}

typedef bool (*matches_fn)(const struct tg_session_request *request, const char *raw);

static bool has_id(const struct tg_session_request *request, const char *raw)
{
    return strcmp(request->id, raw) == 0;
}

static bool has_run(const struct tg_session_request *request, const char *raw)
{
    return request->kind == TG_REQUEST_AGENT && strcmp(request->run_id, raw) == 0;
}

static bool is_unclaimed_agent(const struct tg_session_request *request, const char *raw)
{
    (void)raw;
    return request->kind == TG_REQUEST_AGENT && request->id[0] == '\0' &&
           request->run_id[0] == '\0';
}

static bool is_ping(const struct tg_session_request *request, const char *raw)
{
    (void)raw;
    return request->kind == TG_REQUEST_PING;
}

static bool is_authenticate(const struct tg_session_request *request, const char *raw)
{
    (void)raw;
    return request->kind == TG_REQUEST_AUTHENTICATE;
}

static bool is_other(const struct tg_session_request *request, const char *raw)
{
    (void)raw;
    return request->kind == TG_REQUEST_OTHER || request->kind == TG_REQUEST_PLAIN;
}

static bool has_no_run(const struct tg_session_request *request, const char *raw)
{
    (void)raw;
    return request->run_id[0] == '\0' && request->id[0] == '\0';
}

/* The oldest request that is sent, not ended and matches; NULL when there is none. */
static struct tg_session_request *find_sent(struct tg_session *session, matches_fn matches,
                                            const char *raw)
{
    for (size_t i = 0; i < session->count; i++) {
        if (session->requests[i].state == TG_REQUEST_SENT && matches(&session->requests[i], raw))
            return &session->requests[i];
    }
    return NULL;
}

static void end(struct tg_session_request *request)
{
    if (request != NULL)
        request->state = TG_REQUEST_ENDED;
}

static void take_started(struct tg_session *session, const struct tg_json_value *message,
                         const char *run_id)
{
    struct tg_json_value data = tg_json_member(message, "data");
    struct tg_session_request *request;
    char id[TG_SESSION_ID_SIZE];

    copy_raw(tg_json_member(&data, "request_id"), id);
    snprintf(session->last_run, sizeof session->last_run, "%s", run_id);
    request = id[0] != '\0' ? find_sent(session, has_id, id)
                            : find_sent(session, is_unclaimed_agent, NULL);
    if (request != NULL)
        snprintf(request->run_id, sizeof request->run_id, "%s", run_id);
}

static void take_finished(struct tg_session *session, const char *run_id, bool worked)
{
    if (!worked)
        session->failed = true;
    if (strcmp(session->last_run, run_id) == 0)
        session->last_run[0] = '\0';
    if (run_id[0] != '\0')
        end(find_sent(session, has_run, run_id));
}

static void take_error(struct tg_session *session, const struct tg_json_value *message)
{
    char id[TG_SESSION_ID_SIZE];

    session->failed = true;
    copy_raw(tg_json_member(message, "id"), id);
    end(id[0] != '\0' ? find_sent(session, has_id, id) : find_sent(session, has_no_run, NULL));
}

/* Anything that is no event of a run and no answer of the core. */
static void take_other(struct tg_session *session, const struct tg_json_value *message)
{
    struct tg_session_request *request = NULL;
    char id[TG_SESSION_ID_SIZE] = "";

    if (message != NULL)
        copy_raw(tg_json_member(message, "id"), id);
    if (id[0] != '\0')
        request = find_sent(session, has_id, id);
    if (request == NULL || request->kind == TG_REQUEST_AGENT)
        request = find_sent(session, is_other, NULL);
    end(request);
}

void tg_session_take(struct tg_session *session, const struct tg_json_value *message)
{
    struct tg_json_value type;
    char run_id[TG_SESSION_ID_SIZE];

    if (session->plain || message == NULL) {
        take_other(session, NULL);
        return;
    }
    if (tg_json_member(message, "parent_run_id").kind != TG_JSON_NONE)
        return; /* of a run that one of ours has called; what becomes of ours its own events say */
    type = tg_json_member(message, "type");
    copy_raw(tg_json_member(message, "run_id"), run_id);
    if (tg_json_equals(&type, "connection_ready")) {
        session->ready = true;
        end(find_sent(session, is_authenticate, NULL));
    } else if (tg_json_equals(&type, "agent_started")) {
        take_started(session, message, run_id);
    } else if (tg_json_equals(&type, "agent_completed")) {
        take_finished(session, run_id, true);
    } else if (tg_json_equals(&type, "agent_error")) {
        take_finished(session, run_id, false);
    } else if (tg_json_equals(&type, "error")) {
        take_error(session, message);
    } else if (tg_json_equals(&type, "pong")) {
        end(find_sent(session, is_ping, NULL));
    } else if (run_id[0] == '\0') {
        take_other(session, message);
    }
}

bool tg_session_ended(const struct tg_session *session)
{
    for (size_t i = 0; i < session->count; i++) {
        if (session->requests[i].state != TG_REQUEST_ENDED)
            return false;
    }
    return true;
}

void tg_session_waiting(const struct tg_session *session, char *out, size_t size)
{
    size_t runs = 0;
    size_t answers = 0;

    for (size_t i = 0; i < session->count; i++) {
        if (session->requests[i].state == TG_REQUEST_ENDED)
            continue;
        if (session->requests[i].kind == TG_REQUEST_AGENT)
            runs++;
        else
            answers++;
    }
    if (!session->ready)
        snprintf(out, size, "connection_ready");
    else if (runs > 0 && answers > 0)
        snprintf(out, size, "%zu agent run%s and %zu answer%s", runs, runs == 1 ? "" : "s", answers,
                 answers == 1 ? "" : "s");
    else if (runs > 0)
        snprintf(out, size, "%zu agent run%s", runs, runs == 1 ? "" : "s");
    else
        snprintf(out, size, "%zu answer%s", answers, answers == 1 ? "" : "s");
}
