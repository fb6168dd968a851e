/* run.c - one agent run from agent_started to its one terminal event. */
#include "agent/run.h"

#include <stdio.h>
#include <string.h>

#include "agent/event.h"
#include "agent/run_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

const char *const tg_run_outcome_names[TG_RUN_OUTCOMES] = {
#define X(name, text) [TG_RUN_##name##_OUTCOME] = (text),
    TG_RUN_OUTCOME_MAP(X)
#undef X
};

/* Deltas are joined up to this many bytes of text. */
#define JOINED_DELTA_MAX ((size_t)16 << 10)

static void begin_event(struct tg_event_writer *event, enum tg_event type, struct tg_conn *conn,
                        const struct tg_run *run)
{
    tg_event_begin(event, type, conn,
                   &(struct tg_event_origin){run->id, run->agent, run->policy_version});
}

static struct tg_conn *conn_of(const struct tg_run *run)
{
    return run->unheard ? NULL : tg_hub_find_serial(run->runs->hub, run->conn_serial);
}

void tg__run_forget_delta(struct tg_run *run)
{
    struct tg_conn *conn = conn_of(run);
    if (conn != NULL)
        tg_conn_cancel_deferred(conn, &run->deferred);
    tg_buffer_fini(&run->delta);
}

/* May an event be sent now? *conn is NULL for a run that goes on unheard. */
static enum tg_err may_send(const struct tg_run *run, struct tg_conn **conn)
{
    *conn = NULL;
    if (run->over)
        return TG_ERR_CLOSED;
    if (run->unheard)
        return TG_ERR_OK;
    *conn = conn_of(run);
    return *conn != NULL && tg_conn_is_open(*conn) ? TG_ERR_OK : TG_ERR_CLOSED;
}

enum tg_err tg__run_send_started(struct tg_run *run, const struct tg_run_request *request)
{
    struct tg_event_writer event;
    struct tg_conn *conn;
    enum tg_err err = may_send(run, &conn);
    if (err != TG_ERR_OK || conn == NULL)
        return err;
    begin_event(&event, TG_EVENT_STARTED, conn, run);
    if (request->request_id != NULL) {
        tg_json_key(&event.w, "request_id");
        tg_json_raw(&event.w, request->request_id, request->request_id_len);
    }
    return tg_event_send(&event, conn);
}

static enum tg_err send_text_event(struct tg_run *run, enum tg_event type, const char *text,
                                   size_t len)
{
    struct tg_event_writer event;
    struct tg_conn *conn;
    enum tg_err err = may_send(run, &conn);
    if (err != TG_ERR_OK || conn == NULL)
        return err;
    begin_event(&event, type, conn, run);
    tg_json_key(&event.w, "text");
    tg_json_strn(&event.w, text, len);
    return tg_event_send(&event, conn);
}

enum tg_err tg_run_thinking(struct tg_run *run, const char *text, size_t len)
{
    return send_text_event(run, TG_EVENT_THINKING, text, len);
}

static enum tg_err send_delta(struct tg_run *run, struct tg_conn *conn, const char *text,
                              size_t len)
{
    struct tg_event_writer event;
    begin_event(&event, TG_EVENT_DELTA, conn, run);
    tg_json_key(&event.w, "text");
    tg_json_strn(&event.w, text, len);
    return tg_event_send(&event, conn);
}

/* Called by the connection, which has forgotten the deferral by then. A send that fails ends the
 * connection and with it the run, which may be freed then. */
static void send_joined_delta(struct tg_deferred_send *deferred)
{
    struct tg_run *run = TG_CONTAINER_OF(deferred, struct tg_run, deferred);
    struct tg_conn *conn = conn_of(run);
    struct tg_buffer text = run->delta;
    char id[TG_RUN_ID_SIZE];
    char version[TG_POLICY_VERSION_SIZE];
    memcpy(id, run->id, sizeof id);
    memcpy(version, run->policy_version, sizeof version);
    run->delta = TG_BUFFER_INIT;
    if (text.len > 0 && conn != NULL && tg_conn_is_open(conn) &&
        send_delta(run, conn, (const char *)tg_buffer_head(&text), text.len) != TG_ERR_OK)
        tg_log(TG_LOG_DEBUG, "run.delta_lost", tg_log_str("run", id), tg_log_str("policy", version),
               tg_log_uint("bytes", text.len));
    tg_buffer_fini(&text);
}

/* While the client's socket takes nothing, a stream of small deltas becomes a few large ones. */
enum tg_err tg_run_delta(struct tg_run *run, const char *text, size_t len)
{
    struct tg_conn *conn;
    enum tg_err err = may_send(run, &conn);
    if (err != TG_ERR_OK || conn == NULL)
        return err;
    if (!tg_conn_is_writing(conn) || run->delta.len + len > JOINED_DELTA_MAX)
        return send_delta(run, conn, text, len);
    if (tg_buffer_append(&run->delta, text, len) != TG_ERR_OK)
        return send_delta(run, conn, text, len);
    run->deferred.send = send_joined_delta;
    tg_conn_defer_send(conn, &run->deferred);
    return TG_ERR_OK;
}

static void write_tool_head(struct tg_event_writer *event, const struct tg_tool_call *call)
{
    char number[24];
    (void)snprintf(number, sizeof number, "call_%u", (unsigned)call->number);
    tg_json_member_str(&event->w, "tool_call_id", number);
    tg_json_member_str(&event->w, "name", call->name);
}

static struct tg_tool_call *open_call(struct tg_run *run, const char *name)
{
    struct tg_tool_call *call = tg_alloc(sizeof *call + strlen(name) + 1);
    if (call == NULL)
        return NULL;
    call->number = ++run->last_call;
    call->started_ns = tg_clock_monotonic_ns();
    memcpy(call->name, name, strlen(name) + 1);
    tg_list_push(&run->calls, &call->node);
    return call;
}

static void drop_call(struct tg_tool_call *call)
{
    tg_list_remove(&call->node);
    tg_free(call);
}

enum tg_err tg_run_tool_started(struct tg_run *run, const char *name, const char *arguments_json,
                                size_t len, uint32_t *number)
{
    struct tg_event_writer event;
    struct tg_conn *conn;
    enum tg_err err = may_send(run, &conn);
    if (err != TG_ERR_OK)
        return err;
    struct tg_tool_call *call = open_call(run, name);
    if (call == NULL)
        return TG_ERR_NOMEM;
    *number = call->number;
    if (conn == NULL)
        return TG_ERR_OK;
    begin_event(&event, TG_EVENT_TOOL_EXECUTING, conn, run);
    write_tool_head(&event, call);
    tg_json_key(&event.w, "arguments");
    if (arguments_json == NULL)
        tg_json_null(&event.w);
    else
        tg_json_raw(&event.w, arguments_json, len);
    return tg_event_send(&event, conn);
}

static enum tg_err send_tool_done(struct tg_run *run, const struct tg_tool_call *call,
                                  struct tg_conn *conn, const char *result_json, size_t len,
                                  const char *error)
{
    struct tg_event_writer event;
    if (conn == NULL)
        return TG_ERR_OK;
    begin_event(&event, TG_EVENT_TOOL_COMPLETED, conn, run);
    write_tool_head(&event, call);
    if (error != NULL) {
        tg_json_member_str(&event.w, "error", error);
    } else {
        tg_json_key(&event.w, "result");
        tg_json_raw(&event.w, result_json, len);
    }
    tg_json_member_uint(&event.w, "duration_ms",
                        (tg_clock_monotonic_ns() - call->started_ns) / 1000000);
    return tg_event_send(&event, conn);
}

enum tg_err tg_run_tool_done(struct tg_run *run, uint32_t number, const char *result_json,
                             size_t len, const char *error)
{
    struct tg_conn *conn;
    enum tg_err err = may_send(run, &conn);
    if (err != TG_ERR_OK)
        return err;
    TG_LIST_EACH (node, next, &run->calls) {
        struct tg_tool_call *call = TG_CONTAINER_OF(node, struct tg_tool_call, node);
        if (call->number != number)
            continue;
        /* Taken off first: a failing send can end the run, which closes what is on the list. */
        tg_list_remove(&call->node);
        err = send_tool_done(run, call, conn, result_json, len, error);
        tg_free(call);
        return err;
    }
    return TG_ERR_NOT_FOUND;
}

static void close_open_calls(struct tg_run *run, struct tg_conn *conn)
{
    /* Innermost first, as a nested pair closes before the one around it. */
    while (!tg_list_empty(&run->calls)) {
        struct tg_tool_call *call = TG_CONTAINER_OF(run->calls.prev, struct tg_tool_call, node);
        tg_list_remove(&call->node);
        if (conn != NULL && tg_conn_is_open(conn) &&
            send_tool_done(run, call, conn, NULL, 0, "the run ended before the tool did") !=
                TG_ERR_OK)
            conn = NULL;
        tg_free(call);
    }
}

static void send_terminal(struct tg_run *run, struct tg_conn *conn, const char *response_json,
                          size_t len, const char *code, const char *message)
{
    struct tg_event_writer event;
    bool worked = code == NULL;
    begin_event(&event, worked ? TG_EVENT_COMPLETED : TG_EVENT_ERROR, conn, run);
    if (worked) {
        tg_json_key(&event.w, "response");
        tg_json_raw(&event.w, response_json, len);
        tg_json_member_uint(&event.w, "duration_ms",
                            (tg_clock_monotonic_ns() - run->started_ns) / 1000000);
    } else {
        tg_json_member_str(&event.w, "code", code);
        tg_json_member_str(&event.w, "message", message);
    }
    if (tg_event_send(&event, conn) != TG_ERR_OK)
        return; /* that has ended the connection: nobody listens */
}

/* `over` first: whatever the sends below lead to, the run cannot end twice. */
static void end_run(struct tg_run *run, enum tg_run_outcome outcome, const char *response_json,
                    size_t len, const char *code, const char *message)
{
    struct tg_conn *conn;
    bool heard = may_send(run, &conn) == TG_ERR_OK && conn != NULL;
    run->over = true;
    tg_list_remove(&run->of_conn);
    tg_timer_stop(tg_hub_get_timers(run->runs->hub), &run->timeout);
    close_open_calls(run, heard ? conn : NULL);
    if (heard && tg_conn_is_open(conn))
        send_terminal(run, conn, response_json, len, code, message);
    tg_counter_sub(&run->metrics->running, 1);
    tg_counter_add(&run->metrics->outcomes[outcome], 1);
    conn = conn_of(run);
    if (conn != NULL)
        tg_conn_run_ended(conn);
}

void tg_run_complete(struct tg_run *run, const char *response_json, size_t len)
{
    if (!run->over)
        end_run(run, TG_RUN_COMPLETED_OUTCOME, response_json, len, NULL, NULL);
}

void tg_run_fail(struct tg_run *run, enum tg_run_outcome outcome, const char *code,
                 const char *message)
{
    if (!run->over)
        end_run(run, outcome, NULL, 0, code, message);
}

void tg_run_release(struct tg_run *run)
{
    tg__run_forget_delta(run);
    while (!tg_list_empty(&run->calls))
        drop_call(TG_CONTAINER_OF(run->calls.next, struct tg_tool_call, node));
    tg_list_remove(&run->of_runs);
    run->runs->count--;
    tg_free(run->agent);
    tg_free(run);
}

const char *tg_run_id(const struct tg_run *run)
{
    return run->id;
}

const char *tg_run_agent(const struct tg_run *run)
{
    return run->agent;
}

uint64_t tg_run_conn_serial(const struct tg_run *run)
{
    return run->conn_serial;
}

bool tg_run_is_over(const struct tg_run *run)
{
    return run->over;
}

void tg_run_set_data(struct tg_run *run, void *data)
{
    run->data = data;
}

void *tg_run_data(const struct tg_run *run)
{
    return run->data;
}
