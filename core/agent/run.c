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

void tg__run_begin_event(struct tg_event_writer *event, enum tg_event type, struct tg_conn *conn,
                         const struct tg_run *run)
{
    tg_event_begin(event, type, conn,
                   &(struct tg_event_origin){
                       .run_id = run->id,
                       .agent = run->agent,
                       .policy_version = run->policy_version,
                       .parent_run_id = run->parent_id[0] == '\0' ? NULL : run->parent_id,
                   });
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

enum tg_err tg__run_may_send(const struct tg_run *run, struct tg_conn **conn)
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
    enum tg_err err = tg__run_may_send(run, &conn);
    if (err != TG_ERR_OK || conn == NULL)
        return err;
    tg__run_begin_event(&event, TG_EVENT_STARTED, conn, run);
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
    enum tg_err err = tg__run_may_send(run, &conn);
    if (err != TG_ERR_OK || conn == NULL)
        return err;
    tg__run_begin_event(&event, type, conn, run);
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
    tg__run_begin_event(&event, TG_EVENT_DELTA, conn, run);
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
    enum tg_err err = tg__run_may_send(run, &conn);
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

static void send_terminal(struct tg_run *run, struct tg_conn *conn,
                          const struct tg_run_result *result)
{
    struct tg_event_writer event;
    bool worked = result->outcome == TG_RUN_COMPLETED_OUTCOME;
    tg__run_begin_event(&event, worked ? TG_EVENT_COMPLETED : TG_EVENT_ERROR, conn, run);
    if (worked) {
        tg_json_key(&event.w, "response");
        tg_json_raw(&event.w, result->response_json, result->len);
        tg_json_member_uint(&event.w, "duration_ms",
                            (tg_clock_monotonic_ns() - run->started_ns) / 1000000);
        if (result->details_json != NULL)
            tg_json_raw_members(&event.w, result->details_json, result->details_len);
    } else {
        tg_json_member_str(&event.w, "code", result->code);
        tg_json_member_str(&event.w, "message", result->message);
    }
    if (result->handed_off_to != NULL)
        tg_json_member_str(&event.w, "handed_off_to", result->handed_off_to);
    if (tg_event_send(&event, conn) != TG_ERR_OK)
        return; /* that has ended the connection: nobody listens */
}

static void give_places_back(struct tg_run *run)
{
    struct tg_quota *quota = run->runs->options.quota;
    if (run->of_user != NULL)
        tg_quota_give(quota, run->of_user);
    if (run->of_agent != NULL)
        tg_quota_give(quota, run->of_agent);
    run->of_user = run->of_agent = NULL;
}

/* `over` first: whatever the sends below lead to, the run cannot end twice. */
void tg__run_end(struct tg_run *run, const struct tg_run_result *result)
{
    struct tg_run *parent = run->parent;
    run->over = true;
    tg_list_remove(&run->of_conn);
    tg__run_leave_parent(run);
    tg_timer_stop(tg_hub_get_timers(run->runs->hub), &run->timeout);
    tg__run_end_children(run, result->outcome);
    struct tg_conn *conn = conn_of(run);
    if (conn != NULL && !tg_conn_is_open(conn))
        conn = NULL;
    tg__run_close_calls(run, conn);
    if (conn != NULL && tg_conn_is_open(conn))
        send_terminal(run, conn, result);
    tg_counter_sub(&run->metrics->running, 1);
    tg_counter_add(&run->metrics->outcomes[result->outcome], 1);
    give_places_back(run);
    conn = run->parent_id[0] == '\0' ? conn_of(run) : NULL;
    if (conn != NULL)
        tg_conn_run_ended(conn);
    tg__run_tell_parent(run, parent, result);
}

/* The terminal event first, then the executor: nothing it still does can be heard. */
void tg__run_end_from_outside(struct tg_run *run, const struct tg_run_result *result)
{
    const struct tg_run_executor *executor = &run->runs->executor;
    if (run->over)
        return;
    tg__run_end(run, result);
    if (run->executing)
        executor->cancel(executor->host, run);
}

void tg_run_complete(struct tg_run *run, const char *response_json, size_t len)
{
    tg_run_complete_with(run, response_json, len, NULL, 0);
}

void tg_run_complete_with(struct tg_run *run, const char *response_json, size_t len,
                          const char *details_json, size_t details_len)
{
    if (!run->over)
        tg__run_end(run, &(struct tg_run_result){.outcome = TG_RUN_COMPLETED_OUTCOME,
                                                 .response_json = response_json,
                                                 .len = len,
                                                 .details_json = details_json,
                                                 .details_len = details_len});
}

void tg_run_fail(struct tg_run *run, enum tg_run_outcome outcome, const char *code,
                 const char *message)
{
    if (!run->over)
        tg__run_end(run,
                    &(struct tg_run_result){.outcome = outcome, .code = code, .message = message});
}

static void drop_call(struct tg_tool_call *call)
{
    tg_list_remove(&call->node);
    tg_free(call);
}

void tg_run_release(struct tg_run *run)
{
    tg__run_forget_delta(run);
    while (!tg_list_empty(&run->calls))
        drop_call(TG_CONTAINER_OF(run->calls.next, struct tg_tool_call, node));
    give_places_back(run);
    tg_list_remove(&run->of_runs);
    run->runs->count--;
    tg_free(run->user);
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

struct tg_run *tg_run_parent(const struct tg_run *run)
{
    return run->parent;
}

struct tg_run *tg_run_outermost(struct tg_run *run)
{
    return run->outermost;
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
