/* admin_connection.c - one client of the admin listener: HTTP/1.1 with keep-alive, one request at a
 * time, its answer now or later.
 *
 *     reading ──> handling ──> writing ──> reading ──> …      [advance, tg_admin_reply]
 *        │            │           └──────> lingering ──> closed   [answer said "close"]
 *        └────────────┴── any ───────────────────────────> closed   [close]   
 *
 * Owns the stream, the parser of the request under way and the bytes that came behind it. Freed in
 * on_closed. The request object is part of the connection; other threads name it by its ticket,
 * which is in the map exactly while the state is `handling`.
 *
 * Pipelined requests are answered from the loop in advance, never from within tg_admin_reply, so
 * that a long pipeline costs no stack. A client that only shuts down its sending side still gets its
 * answer. After an answer that closes, input is read and dropped for a moment: closing a socket with
 * unread input would make the system throw away the answer.
 */
#include "ops/admin_connection.h"

#include "base/memory.h"

#define HEAD_MAX (16 * 1024)
#define BODY_MAX (64 * 1024)
#define INPUT_MAX (64 * 1024) /* behind a request that is not yet answered */
#define IDLE_TIMEOUT_MS 75000
#define WRITE_TIMEOUT_MS 30000
#define LINGER_MS 2000

static void on_timer(struct tg_timer *timer);

void tg__admin_conn_drop_ticket(struct tg__admin_conn *conn)
{
    if (conn->request.ticket != 0)
        tg_map_remove(&conn->admin->tickets, conn->request.ticket);
    conn->request.ticket = 0;
}

void tg__admin_conn_close(struct tg__admin_conn *conn)
{
    if (conn->state == TG__ADMIN_CLOSED)
        return;
    conn->state = TG__ADMIN_CLOSED;
    tg__admin_conn_drop_ticket(conn);
    tg_timer_stop(conn->admin->timers, &conn->timer);
    tg_list_remove(&conn->node);
    tg_stream_close(conn->stream);
}

void tg__admin_conn_set_timer(struct tg__admin_conn *conn, uint64_t delay_ms)
{
    if (tg_timer_start(conn->admin->timers, &conn->timer, delay_ms, on_timer) != TG_ERR_OK)
        tg__admin_conn_close(conn);
}

static void forget_request(struct tg__admin_conn *conn)
{
    tg_http_destroy(conn->http);
    conn->http = NULL;
    tg_buffer_fini(&conn->request.param);
    tg_buffer_fini(&conn->request.query);
}

/* The kernel has the whole answer. */
static void finish(struct tg__admin_conn *conn)
{
    bool keep_alive = conn->request.keep_alive;

    forget_request(conn);
    if (keep_alive) {
        conn->state = TG__ADMIN_READING;
        tg__admin_conn_set_timer(conn, IDLE_TIMEOUT_MS);
    } else if (conn->peer_ended) {
        tg__admin_conn_close(conn);
    } else {
        conn->state = TG__ADMIN_LINGERING;
        tg_stream_shutdown(conn->stream);
        tg__admin_conn_set_timer(conn, LINGER_MS);
        if (conn->state != TG__ADMIN_CLOSED && tg_stream_read_start(conn->stream) != TG_ERR_OK)
            tg__admin_conn_close(conn);
    }
}

void tg__admin_conn_answer(struct tg__admin_conn *conn, int status, const char *content_type,
                           const char *extra, const struct tg_buffer *body)
{
    struct tg_buffer out = TG_BUFFER_INIT;
    enum tg_err err;

    err = tg_http_write_response(&out, status,
                                 content_type == NULL ? "application/json" : content_type,
                                 extra == NULL ? TG__ADMIN_HEADERS : extra, tg_buffer_head(body),
                                 body->len, conn->request.keep_alive);
    if (err == TG_ERR_OK) {
        if (conn->request.head_only)
            out.len -= body->len; /* the body is last; HEAD wants all but it */
        conn->state = TG__ADMIN_WRITING;
        err = tg_stream_write(conn->stream, &out);
    }
    tg_buffer_fini(&out);
    if (err != TG_ERR_OK)
        tg__admin_conn_close(conn);
    else if (tg_stream_is_writing(conn->stream))
        tg__admin_conn_set_timer(conn, WRITE_TIMEOUT_MS);
    else
        finish(conn);
}

/* Feeds what has come. false: more input is needed. */
static bool read_request(struct tg__admin_conn *conn)
{
    enum tg_http_status status;
    size_t consumed = 0;

    if (conn->http == NULL) {
        if (tg_http_create(&conn->http, TG_HTTP_REQUEST, HEAD_MAX, BODY_MAX) != TG_ERR_OK) {
            tg__admin_conn_close(conn);
            return false;
        }
        tg__admin_conn_set_timer(conn, conn->admin->read_timeout_ms); /* for the whole request */
        if (conn->state == TG__ADMIN_CLOSED)
            return false;
    }
    status = tg_http_feed(conn->http, tg_buffer_head(&conn->input), conn->input.len, &consumed);
    tg_buffer_consume(&conn->input, consumed, 0);
    if (status == TG_HTTP_BAD)
        tg__admin_request_refuse_malformed(conn);
    else if (status == TG_HTTP_DONE)
        tg__admin_request_begin(conn);
    return status == TG_HTTP_DONE;
}

void tg__admin_conn_advance(struct tg__admin_conn *conn)
{
    if (conn->advancing)
        return;
    conn->advancing = true;
    while (conn->state == TG__ADMIN_READING && conn->input.len > 0 && read_request(conn))
        ;
    conn->advancing = false;
    if (conn->state == TG__ADMIN_CLOSED)
        return;
    if (conn->state == TG__ADMIN_READING && conn->peer_ended)
        tg__admin_conn_close(conn);
    else if (conn->peer_ended)
        return;
    else if (conn->input.len >= INPUT_MAX)
        tg_stream_read_stop(conn->stream);
    else if (tg_stream_read_start(conn->stream) != TG_ERR_OK)
        tg__admin_conn_close(conn);
}

static void on_timer(struct tg_timer *timer)
{
    struct tg__admin_conn *conn = TG_CONTAINER_OF(timer, struct tg__admin_conn, timer);

    if (conn->state == TG__ADMIN_HANDLING) {
        tg__admin_conn_drop_ticket(conn);
        conn->request.keep_alive = false;
        tg__admin_refuse(conn, 504, "timeout",
                         "the server did not answer in time; it may still do so", NULL);
    } else if (conn->state == TG__ADMIN_READING && conn->http != NULL) {
        conn->request.keep_alive = false;
        conn->request.head_only = false;
        tg__admin_refuse(conn, 408, "timeout", "the request did not arrive in time", NULL);
    } else {
        tg__admin_conn_close(conn);
    }
}

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct tg__admin_conn *conn = ctx;

    if (conn->state == TG__ADMIN_LINGERING || conn->state == TG__ADMIN_CLOSED)
        return;
    if (tg_buffer_append(&conn->input, data, len) != TG_ERR_OK)
        tg__admin_conn_close(conn);
    else
        tg__admin_conn_advance(conn);
}

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    struct tg__admin_conn *conn = ctx;

    (void)why;
    conn->peer_ended = true;
    if (err != TG_ERR_OK || conn->state == TG__ADMIN_READING || conn->state == TG__ADMIN_LINGERING)
        tg__admin_conn_close(conn);
}

static void on_written(void *ctx)
{
    struct tg__admin_conn *conn = ctx;

    if (conn->state != TG__ADMIN_WRITING)
        return;
    finish(conn);
    tg__admin_conn_advance(conn);
}

static void on_closed(void *ctx)
{
    struct tg__admin_conn *conn = ctx;
    struct tg_admin *admin = conn->admin;

    forget_request(conn);
    tg_buffer_fini(&conn->input);
    tg_free(conn);
    tg__admin_conn_gone(admin);
}

void tg__admin_conn_start(struct tg_admin *admin, struct tg_stream *stream)
{
    static const struct tg_stream_callbacks callbacks = {
        .on_read = on_read, .on_end = on_end, .on_written = on_written, .on_closed = on_closed};
    struct tg__admin_conn *conn = tg_calloc(1, sizeof *conn);

    if (conn == NULL) {
        tg_stream_close(stream);
        return;
    }
    conn->admin = admin;
    conn->stream = stream;
    conn->request.conn = conn;
    admin->connection_count++;
    tg_list_push(&admin->connections, &conn->node);
    tg_stream_bind(stream, &callbacks, conn);
    tg__admin_conn_set_timer(conn, admin->read_timeout_ms);
    if (conn->state != TG__ADMIN_CLOSED && tg_stream_read_start(stream) != TG_ERR_OK)
        tg__admin_conn_close(conn);
}

void tg__admin_conn_close_all(struct tg_admin *admin)
{
    TG_LIST_EACH (node, next, &admin->connections) {
        tg__admin_conn_close(TG_CONTAINER_OF(node, struct tg__admin_conn, node));
    }
}
