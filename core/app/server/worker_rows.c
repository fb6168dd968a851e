/* worker_rows.c - connections as JSON for the admin interface, written on the worker that owns them.
 */
#include <string.h>

#include "app/server/worker_internal.h"
#include "app/task.h"
#include "base/json_writer.h"
#include "base/memory.h"
#include "connection/connection.h"
#include "connection/redact.h"
#include "script/hooks/closing.h"

struct question {
    struct tg_conn_filter filter; /* list */
    struct tg_conn_id id;         /* show, close */
    int code;
    char *reason;              /* owned; close */
    struct tg_closing closing; /* its key is owned; its reason is the one above */
    tg_rows_fn done;
    void *ctx;
};

static void answer(struct question *question, struct tg_buffer *rows, size_t matched)
{
    question->done(question->ctx, rows, matched);
    tg_buffer_fini(rows);
    tg_free(question->reason);
    tg_free((void *)(uintptr_t)question->closing.key);
    tg_free(question);
}

static void write_head(struct tg_json_writer *w, const struct tg_conn *conn)
{
    char id[TG_CONN_ID_SIZE];
    char remote[TG_ADDRESS_SIZE];
    struct tg_conn_stats stats = tg_conn_stats(conn);
    tg_conn_id_text(conn, id);
    tg_conn_remote(conn, remote);
    tg_json_member_str(w, "id", id);
    tg_json_member_str(w, "state", tg_state_names[tg_conn_state(conn)]);
    tg_json_member_str(w, "user_id", tg_conn_user_id(conn));
    tg_json_member_str(w, "remote_address", remote);
    tg_json_member_time(w, "connected_at", tg_conn_connected_at_ms(conn));
    tg_json_member_str(w, "policy_version", tg_conn_policy_version(conn));
    tg_json_member_uint(w, "worker", tg_conn_id_worker(tg_conn_get_id(conn)->serial));
    tg_json_member_uint(w, "runs", stats.runs);
}

static void write_transitions(struct tg_json_writer *w, const struct tg_conn *conn)
{
    const struct tg_lifecycle *lifecycle = tg_conn_lifecycle(conn);
    struct tg_transition move;
    tg_json_key(w, "transitions");
    tg_json_begin_array(w);
    for (size_t i = 0; tg_lifecycle_transition(lifecycle, i, &move); i++) {
        tg_json_begin_object(w);
        tg_json_member_str(w, "from", tg_state_names[move.from]);
        tg_json_member_str(w, "to", tg_state_names[move.to]);
        tg_json_member_time(w, "at", move.at_ms);
        tg_json_member_str(w, "reason", move.reason);
        tg_json_end_object(w);
    }
    tg_json_end_array(w);
}

/* What a policy says may quote what it was given. */
static void write_policy_text(struct tg_json_writer *w, const struct tg_conn *conn, const char *key,
                              const char *text)
{
    struct tg_buffer clean = TG_BUFFER_INIT;
    if (text == NULL)
        tg_json_member_str(w, key, NULL);
    else if (tg_redact(tg_conn_request(conn), text, strlen(text), &clean) == TG_ERR_OK &&
             tg_buffer_append(&clean, "", 1) == TG_ERR_OK)
        tg_json_member_str(w, key, (const char *)tg_buffer_head(&clean));
    else
        tg_json_member_str(w, key, TG_REDACTED);
    tg_buffer_fini(&clean);
}

static void write_detail(struct tg_json_writer *w, const struct tg_conn *conn)
{
    struct tg_conn_stats stats = tg_conn_stats(conn);
    const struct tg_request *request = tg_conn_request(conn);
    /* The path without its query: queries carry tokens. */
    tg_json_member_str(w, "path", request == NULL ? NULL : tg_request_path(request));
    tg_json_member_uint(w, "messages_in", stats.messages_in);
    tg_json_member_uint(w, "messages_out", stats.messages_out);
    tg_json_member_uint(w, "inbox_messages", stats.inbox_messages);
    tg_json_member_uint(w, "inbox_bytes", stats.inbox_bytes);
    tg_json_member_uint(w, "outbox_bytes", stats.outbox_bytes);
    tg_json_member_uint(w, "session_bytes", tg_conn_session(conn).len);
    write_policy_text(w, conn, "degraded_reason", stats.degraded_reason);
    tg_json_key(w, "expires_at");
    if (tg_conn_expires_at(conn) > 0)
        tg_json_real(w, tg_conn_expires_at(conn));
    else
        tg_json_null(w);
    write_transitions(w, conn);
}

static bool matches(const struct tg_conn_filter *filter, const struct tg_conn *conn)
{
    const char *user = tg_conn_user_id(conn);
    if (filter->state >= 0 && tg_conn_state(conn) != (enum tg_state)filter->state)
        return false;
    return filter->user_id[0] == '\0' || (user != NULL && strcmp(user, filter->user_id) == 0);
}

static void do_list(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    struct question *question = arg;
    struct tg_buffer rows = TG_BUFFER_INIT;
    size_t matched = 0;
    size_t cursor = 0;
    struct tg_conn *conn;
    while (!lost && (conn = tg_hub_next(worker->hub, &cursor)) != NULL) {
        if (!matches(&question->filter, conn) || matched++ >= question->filter.limit)
            continue;
        if (rows.len > 0 && tg_buffer_append_str(&rows, ",") != TG_ERR_OK)
            break;
        struct tg_json_writer w = tg_json_writer_on(&rows);
        tg_json_begin_object(&w);
        write_head(&w, conn);
        tg_json_end_object(&w);
        if (tg_json_writer_failed(&w))
            tg_buffer_clear(&rows); /* no memory: an empty list is better than a broken one */
    }
    answer(question, &rows, matched);
}

static struct question *ask(tg_rows_fn done, void *ctx)
{
    struct question *question = tg_xcalloc(1, sizeof *question);
    question->done = done;
    question->ctx = ctx;
    return question;
}

void tg_worker_list(struct tg_worker *worker, const struct tg_conn_filter *filter, tg_rows_fn done,
                    void *ctx)
{
    struct question *question = ask(done, ctx);
    question->filter = *filter;
    tg_task_post(worker->mailbox, do_list, question);
}

static void do_show(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    struct question *question = arg;
    struct tg_buffer rows = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&rows);
    struct tg_conn *conn = lost ? NULL : tg_hub_find(worker->hub, &question->id);
    if (conn != NULL) {
        tg_json_begin_object(&w);
        write_head(&w, conn);
        write_detail(&w, conn);
        tg_json_end_object(&w);
        if (tg_json_writer_failed(&w))
            tg_buffer_clear(&rows);
    }
    answer(question, &rows, conn != NULL);
}

void tg_worker_show(struct tg_worker *worker, const struct tg_conn_id *id, tg_rows_fn done,
                    void *ctx)
{
    struct question *question = ask(done, ctx);
    question->id = *id;
    tg_task_post(worker->mailbox, do_show, question);
}

static void do_close(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    struct question *question = arg;
    struct tg_buffer rows = TG_BUFFER_INIT;
    struct tg_conn *conn = lost ? NULL : tg_hub_find(worker->hub, &question->id);
    bool closed =
        conn != NULL && tg_conn_close(conn, question->code, question->reason) == TG_ERR_OK;
    answer(question, &rows, closed);
}

void tg_worker_close_conn(struct tg_worker *worker, const struct tg_conn_id *id, int code,
                          const char *reason, tg_rows_fn done, void *ctx)
{
    struct question *question = ask(done, ctx);
    question->id = *id;
    question->code = code;
    question->reason = tg_xstrdup(reason);
    tg_task_post(worker->mailbox, do_close, question);
}

static void do_close_matching(void *receiver, void *arg, bool lost)
{
    struct tg_worker *worker = receiver;
    struct question *question = arg;
    struct tg_buffer rows = TG_BUFFER_INIT;
    size_t closed = lost ? 0 : tg_closing_carry_out(worker->hub, &question->closing);
    answer(question, &rows, closed);
}

void tg_worker_close_matching(struct tg_worker *worker, const struct tg_closing *what,
                              tg_rows_fn done, void *ctx)
{
    struct question *question = ask(done, ctx);
    question->reason = tg_xstrdup(what->reason);
    question->closing = *what;
    question->closing.key = tg_xstrdup(what->key);
    question->closing.reason = question->reason;
    tg_task_post(worker->mailbox, do_close_matching, question);
}
