/* event.h - the agent events of the wire protocol, written as JSON.
 */
#ifndef TG_AGENT_EVENT_H
#define TG_AGENT_EVENT_H

#include "base/buffer.h"
#include "base/json_writer.h"
#include "connection/connection.h"

enum tg_event {
    TG_EVENT_STARTED,
    TG_EVENT_THINKING,
    TG_EVENT_DELTA,
    TG_EVENT_TOOL_EXECUTING,
    TG_EVENT_TOOL_COMPLETED,
    TG_EVENT_COMPLETED,
    TG_EVENT_ERROR
};

/* An event being written: begin, members of `data` through w, send. */
struct tg_event_writer {
    struct tg_buffer body;
    struct tg_json_writer w;
};

/* Whose event it is. */
struct tg_event_origin {
    const char *run_id;
    const char *agent;
    const char *policy_version; /* that executes the run */
    const char *parent_run_id;  /* of the run that called it; NULL: a client did */
};

/* Writes type, run_id, parent_run_id, seq (taken from the connection), timestamp, agent and policy_version,
 * and opens `data`. */
void tg_event_begin(struct tg_event_writer *event, enum tg_event type, struct tg_conn *conn,
                    const struct tg_event_origin *origin);
/* Closes `data`, sends, frees. TG_ERR_NOMEM also ends the connection: the sequence may have no gap. */
TG_MUST enum tg_err tg_event_send(struct tg_event_writer *event, struct tg_conn *conn);

#endif
