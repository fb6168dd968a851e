/* run_tools.c - the tool calls of a run: in pairs, and not more than it may make. */
#include <stdio.h>
#include <string.h>

#include "agent/run_internal.h"
#include "base/clock.h"
#include "base/memory.h"

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

static enum tg_err end_over_budget(struct tg_run *run)
{
    char message[80];
    (void)snprintf(message, sizeof message, "the run called more than %llu tools",
                   (unsigned long long)run->limits.max_tool_calls);
    tg__run_end_from_outside(run, &(struct tg_run_result){.outcome = TG_RUN_BUDGET_OUTCOME,
                                                          .code = "tool_budget",
                                                          .message = message});
    return TG_ERR_CLOSED;
}

enum tg_err tg_run_tool_started(struct tg_run *run, const char *name, const char *arguments_json,
                                size_t len, uint32_t *number)
{
    struct tg_event_writer event;
    struct tg_conn *conn;
    enum tg_err err = tg__run_may_send(run, &conn);
    if (err != TG_ERR_OK)
        return err;
    if (run->limits.max_tool_calls > 0 && run->last_call >= run->limits.max_tool_calls)
        return end_over_budget(run);
    struct tg_tool_call *call = open_call(run, name);
    if (call == NULL)
        return TG_ERR_NOMEM;
    *number = call->number;
    if (conn == NULL)
        return TG_ERR_OK;
    tg__run_begin_event(&event, TG_EVENT_TOOL_EXECUTING, conn, run);
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
    tg__run_begin_event(&event, TG_EVENT_TOOL_COMPLETED, conn, run);
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
    enum tg_err err = tg__run_may_send(run, &conn);
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

void tg__run_close_calls(struct tg_run *run, struct tg_conn *conn)
{
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
