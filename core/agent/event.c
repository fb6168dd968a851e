/* event.c - the common head of every agent event. */
#include "agent/event.h"

#include "base/clock.h"

/* Head and a short piece of text: one block of memory in place of four, each twice the one before. */
#define USUAL_SIZE 512

static const char *const event_names[] = {
    [TG_EVENT_STARTED] = "agent_started",
    [TG_EVENT_THINKING] = "agent_thinking",
    [TG_EVENT_DELTA] = "agent_delta",
    [TG_EVENT_TOOL_EXECUTING] = "tool_executing",
    [TG_EVENT_TOOL_COMPLETED] = "tool_completed",
    [TG_EVENT_COMPLETED] = "agent_completed",
    [TG_EVENT_ERROR] = "agent_error",
};

void tg_event_begin(struct tg_event_writer *event, enum tg_event type, struct tg_conn *conn,
                    const struct tg_event_origin *origin)
{
    char timestamp[TG_CLOCK_RFC3339_SIZE];
    tg_conn_send_deferred(conn); /* before this event takes its number */
    tg_clock_rfc3339(tg_clock_wall_ms(), timestamp);
    event->body = TG_BUFFER_INIT;
    event->w = tg_json_writer_on(&event->body);
    event->w.failed = tg_buffer_reserve(&event->body, USUAL_SIZE) == NULL;
    struct tg_json_writer *w = &event->w;
    tg_json_begin_object(w);
    tg_json_member_str(w, "type", event_names[type]);
    tg_json_member_str(w, "run_id", origin->run_id);
    if (origin->parent_run_id != NULL)
        tg_json_member_str(w, "parent_run_id", origin->parent_run_id);
    tg_json_member_uint(w, "seq", tg_conn_next_seq(conn));
    tg_json_member_str(w, "timestamp", timestamp);
    tg_json_member_str(w, "agent", origin->agent);
    tg_json_member_str(w, "policy_version", origin->policy_version);
    tg_json_key(w, "data");
    tg_json_begin_object(w);
}

enum tg_err tg_event_send(struct tg_event_writer *event, struct tg_conn *conn)
{
    enum tg_err err = TG_ERR_NOMEM;
    tg_json_end_object(&event->w);
    tg_json_end_object(&event->w);
    if (tg_json_writer_failed(&event->w))
        tg_conn_fail(conn, 1011, "out of memory", "out of memory");
    else
        err = tg_conn_send_text(conn, tg_buffer_head(&event->body), event->body.len);
    tg_buffer_fini(&event->body);
    return err;
}
