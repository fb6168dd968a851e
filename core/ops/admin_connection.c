/* admin_connection.c - one client of the admin listener: HTTP/1.1 with keep-alive, one request at a
 * time, its answer now or later.
 *
 *     reading ──> handling ──> writing ──> reading ──> …      [advance, begin, tg_admin_reply]
 *        │            │           └──────> lingering ──> closed   [answer said "close"]
 *        └────────────┴── any ───────────────────────────> closed   [close_now]
 *
 * Owns the stream, the parser of the request under way and the bytes that came behind it. Freed in
 * on_closed. The request object is part of the connection; other threads name it by its ticket,
 * which is in the map exactly while the state is `handling`.
 *
 * Pipelined requests are answered from the loop in advance(), never from within tg_admin_reply, so
 * that a long pipeline costs no stack. A client that only shuts down its sending side still gets its
 * answer. After an answer that closes, input is read and dropped for a moment: closing a socket with
 * unread input would make the system throw away the answer.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/json_writer.h"
#include "base/log.h"
#include "base/memory.h"
#include "ops/admin_internal.h"
#include "ops/admin_routes.h"
#include "proto/http.h"

#define HEAD_MAX (16 * 1024)
#define BODY_MAX (64 * 1024)
#define INPUT_MAX (64 * 1024) /* behind a request that is not yet answered */
#define IDLE_TIMEOUT_MS 75000
#define WRITE_TIMEOUT_MS 30000
#define LINGER_MS 2000
#define REFUSAL_LOG_EVERY_MS 1000
#define COMMON_HEADERS "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"

enum conn_state { CONN_READING, CONN_HANDLING, CONN_WRITING, CONN_LINGERING, CONN_CLOSED };

struct tg_admin_request {
    struct tg__admin_conn *conn;
    uint64_t ticket;        /* 0: not in flight */
    struct tg_buffer param; /* owned; NUL-terminated, or empty */
    struct tg_buffer query; /* owned; as tg_admin_query_parse leaves it */
    bool head_only;
    bool keep_alive;
};

struct tg__admin_conn {
    struct tg_list node;
    struct tg_admin *admin;   /* borrowed until on_closed */
    struct tg_stream *stream; /* owned */
    struct tg_http *http;     /* owned; NULL between requests */
    struct tg_buffer input;   /* owned */
    struct tg_timer timer;
    struct tg_admin_request request;
    enum conn_state state;
    bool peer_ended;
    bool advancing;
};

static void on_timer(struct tg_timer *timer);

static void drop_ticket(struct tg__admin_conn *conn)
{
    if (conn->request.ticket != 0)
        tg_map_remove(&conn->admin->tickets, conn->request.ticket);
    conn->request.ticket = 0;
}

static void close_now(struct tg__admin_conn *conn)
{
    if (conn->state == CONN_CLOSED)
        return;
    conn->state = CONN_CLOSED;
    drop_ticket(conn);
    tg_timer_stop(conn->admin->timers, &conn->timer);
    tg_list_remove(&conn->node);
    tg_stream_close(conn->stream);
}

static void set_timer(struct tg__admin_conn *conn, uint64_t delay_ms)
{
    if (tg_timer_start(conn->admin->timers, &conn->timer, delay_ms, on_timer) != TG_ERR_OK)
        close_now(conn);
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
        conn->state = CONN_READING;
        set_timer(conn, IDLE_TIMEOUT_MS);
    } else if (conn->peer_ended) {
        close_now(conn);
    } else {
        conn->state = CONN_LINGERING;
        tg_stream_shutdown(conn->stream);
        set_timer(conn, LINGER_MS);
        if (conn->state != CONN_CLOSED && tg_stream_read_start(conn->stream) != TG_ERR_OK)
            close_now(conn);
    }
}

static void send_answer(struct tg__admin_conn *conn, int status, const char *content_type,
                        const char *extra, const struct tg_buffer *body)
{
    struct tg_buffer out = TG_BUFFER_INIT;
    enum tg_err err;

    err = tg_http_write_response(&out, status,
                                 content_type == NULL ? "application/json" : content_type,
                                 extra == NULL ? COMMON_HEADERS : extra, tg_buffer_head(body),
                                 body->len, conn->request.keep_alive);
    if (err == TG_ERR_OK) {
        if (conn->request.head_only)
            out.len -= body->len; /* the body is last; HEAD wants all but it */
        conn->state = CONN_WRITING;
        err = tg_stream_write(conn->stream, &out);
    }
    tg_buffer_fini(&out);
    if (err != TG_ERR_OK)
        close_now(conn);
    else if (tg_stream_is_writing(conn->stream))
        set_timer(conn, WRITE_TIMEOUT_MS);
    else
        finish(conn);
}

static void send_error(struct tg__admin_conn *conn, int status, const char *code,
                       const char *message, const char *extra)
{
    struct tg_buffer body = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&body);

    tg_json_begin_object(&w);
    tg_json_key(&w, "error");
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "code", code);
    tg_json_member_str(&w, "message", message);
    if (status == 404 && strcmp(code, "no_such_path") == 0) {
        tg_json_key(&w, "routes");
        tg_json_begin_array(&w);
        for (size_t i = 0; i < conn->admin->route_count; i++) {
            char route[128];
            snprintf(route, sizeof route, "%s %s", conn->admin->routes[i].method,
                     conn->admin->routes[i].pattern);
            tg_json_str(&w, route);
        }
        tg_json_end_array(&w);
    }
    tg_json_end_object(&w);
    tg_json_end_object(&w);
    if (tg_json_writer_failed(&w))
        close_now(conn);
    else
        send_answer(conn, status, NULL, extra, &body);
    tg_buffer_fini(&body);
}

static void refuse_method(struct tg__admin_conn *conn)
{
    struct tg_buffer allow = TG_BUFFER_INIT;
    struct tg_buffer extra = TG_BUFFER_INIT;
    enum tg_err err = tg_admin_route_allow(conn->admin->routes, conn->admin->route_count,
                                           tg_http_path(conn->http), &allow);

    if (err == TG_ERR_OK)
        err = tg_buffer_printf(&extra, "Allow: %.*s\r\n" COMMON_HEADERS, (int)allow.len,
                               (const char *)tg_buffer_head(&allow));
    if (err == TG_ERR_OK)
        err = tg_buffer_append(&extra, "", 1);
    if (err == TG_ERR_OK)
        send_error(conn, 405, "method_not_allowed", "this path has other methods: see Allow",
                   (const char *)tg_buffer_head(&extra));
    else
        close_now(conn);
    tg_buffer_fini(&allow);
    tg_buffer_fini(&extra);
}

static void log_refusal(struct tg__admin_conn *conn, const char *code)
{
    uint64_t now_ms = tg_timers_now_ms(conn->admin->timers);
    char peer[TG_ADDRESS_SIZE];

    if (now_ms - conn->admin->refusal_logged_ms < REFUSAL_LOG_EVERY_MS)
        return;
    conn->admin->refusal_logged_ms = now_ms;
    tg_stream_peer_address(conn->stream, peer);
    tg_log(TG_LOG_INFO, "admin.refused", tg_log_str("peer", peer), tg_log_str("code", code));
}

static bool may_ask(struct tg__admin_conn *conn)
{
    struct tg_admin_refusal refusal;

    if (tg_admin_access_check(&conn->admin->access, conn->http, &refusal))
        return true;
    log_refusal(conn, refusal.code);
    send_error(conn, refusal.status, refusal.code, refusal.message,
               refusal.status == 401 ? "WWW-Authenticate: Bearer\r\n" COMMON_HEADERS : NULL);
    return false;
}

static void dispatch(struct tg__admin_conn *conn, const struct tg_admin_route *route)
{
    struct tg_admin *admin = conn->admin;
    struct tg_admin_request *request = &conn->request;

    if (tg_map_put(&admin->tickets, admin->last_ticket + 1, request) != TG_ERR_OK) {
        close_now(conn);
        return;
    }
    request->ticket = ++admin->last_ticket;
    set_timer(conn, admin->reply_timeout_ms);
    if (conn->state == CONN_CLOSED)
        return;
    tg_log(strcmp(route->method, "GET") == 0 ? TG_LOG_DEBUG : TG_LOG_INFO, "admin.request",
           tg_log_str("method", route->method), tg_log_str("path", tg_http_path(conn->http).data));
    route->handler(admin->ctx, request);
}

/* A complete request is there: refuse it, or hand it to its handler. */
static void begin(struct tg__admin_conn *conn)
{
    struct tg_admin_request *request = &conn->request;
    struct tg_http_text method = tg_http_method(conn->http);
    const struct tg_admin_route *route = NULL;
    enum tg_err err;

    conn->state = CONN_HANDLING;
    tg_timer_stop(conn->admin->timers, &conn->timer);
    request->head_only = method.len == 4 && memcmp(method.data, "HEAD", 4) == 0;
    /* What follows an upgrade request would be no HTTP. */
    request->keep_alive = tg_http_keep_alive(conn->http) && !tg_http_is_upgrade(conn->http);
    if (!may_ask(conn))
        return;
    err = tg_admin_route_find(conn->admin->routes, conn->admin->route_count, method,
                              tg_http_path(conn->http), &route, &request->param);
    if (err == TG_ERR_OK)
        err = tg_admin_query_parse(tg_http_query(conn->http), &request->query);
    if (err == TG_ERR_OK)
        dispatch(conn, route);
    else if (err == TG_ERR_NOT_FOUND)
        send_error(conn, 404, "no_such_path", "there is no such path; these are all", NULL);
    else if (err == TG_ERR_ILLEGAL)
        refuse_method(conn);
    else if (err == TG_ERR_NOMEM)
        close_now(conn);
    else
        send_error(conn, 400, "bad_encoding", "the URL has a malformed %XX sequence", NULL);
}

static void refuse_malformed(struct tg__admin_conn *conn)
{
    const char *why;
    int status = tg_http_refusal(conn->http, &why);

    conn->request.head_only = false;
    conn->request.keep_alive = false;
    send_error(conn, status, "bad_request", why, NULL);
}

/* Feeds what has come. false: more input is needed. */
static bool read_request(struct tg__admin_conn *conn)
{
    enum tg_http_status status;
    size_t consumed = 0;

    if (conn->http == NULL) {
        if (tg_http_create(&conn->http, TG_HTTP_REQUEST, HEAD_MAX, BODY_MAX) != TG_ERR_OK) {
            close_now(conn);
            return false;
        }
        set_timer(conn, conn->admin->read_timeout_ms); /* for the whole request */
        if (conn->state == CONN_CLOSED)
            return false;
    }
    status = tg_http_feed(conn->http, tg_buffer_head(&conn->input), conn->input.len, &consumed);
    tg_buffer_consume(&conn->input, consumed, 0);
    if (status == TG_HTTP_BAD)
        refuse_malformed(conn);
    else if (status == TG_HTTP_DONE)
        begin(conn);
    return status == TG_HTTP_DONE;
}

static void advance(struct tg__admin_conn *conn)
{
    if (conn->advancing)
        return;
    conn->advancing = true;
    while (conn->state == CONN_READING && conn->input.len > 0 && read_request(conn))
        ;
    conn->advancing = false;
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->state == CONN_READING && conn->peer_ended)
        close_now(conn);
    else if (conn->peer_ended)
        return;
    else if (conn->input.len >= INPUT_MAX)
        tg_stream_read_stop(conn->stream);
    else if (tg_stream_read_start(conn->stream) != TG_ERR_OK)
        close_now(conn);
}

static void on_timer(struct tg_timer *timer)
{
    struct tg__admin_conn *conn = TG_CONTAINER_OF(timer, struct tg__admin_conn, timer);

    if (conn->state == CONN_HANDLING) {
        drop_ticket(conn);
        conn->request.keep_alive = false;
        send_error(conn, 504, "timeout", "the server did not answer in time; it may still do so",
                   NULL);
    } else if (conn->state == CONN_READING && conn->http != NULL) {
        conn->request.keep_alive = false;
        conn->request.head_only = false;
        send_error(conn, 408, "timeout", "the request did not arrive in time", NULL);
    } else {
        close_now(conn);
    }
}

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct tg__admin_conn *conn = ctx;

    if (conn->state == CONN_LINGERING || conn->state == CONN_CLOSED)
        return;
    if (tg_buffer_append(&conn->input, data, len) != TG_ERR_OK)
        close_now(conn);
    else
        advance(conn);
}

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    struct tg__admin_conn *conn = ctx;

    (void)why;
    conn->peer_ended = true;
    if (err != TG_ERR_OK || conn->state == CONN_READING || conn->state == CONN_LINGERING)
        close_now(conn);
}

static void on_written(void *ctx)
{
    struct tg__admin_conn *conn = ctx;

    if (conn->state != CONN_WRITING)
        return;
    finish(conn);
    advance(conn);
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
    set_timer(conn, admin->read_timeout_ms);
    if (conn->state != CONN_CLOSED && tg_stream_read_start(stream) != TG_ERR_OK)
        close_now(conn);
}

void tg__admin_conn_close_all(struct tg_admin *admin)
{
    TG_LIST_EACH (node, next, &admin->connections) {
        close_now(TG_CONTAINER_OF(node, struct tg__admin_conn, node));
    }
}

const char *tg_admin_param(const struct tg_admin_request *request)
{
    return request->param.len == 0 ? "" : (const char *)tg_buffer_head(&request->param);
}

const char *tg_admin_query(const struct tg_admin_request *request, const char *name)
{
    return tg_admin_query_find(&request->query, name);
}

const struct tg_buffer *tg_admin_body(const struct tg_admin_request *request)
{
    return tg_http_body(request->conn->http);
}

uint64_t tg_admin_ticket(const struct tg_admin_request *request)
{
    return request->ticket;
}

void tg_admin_reply(struct tg_admin_request *request, int status, const char *content_type,
                    struct tg_buffer *body)
{
    struct tg__admin_conn *conn = request->conn;

    if (request->ticket != 0) {
        assert(conn->state == CONN_HANDLING);
        drop_ticket(conn);
        tg_timer_stop(conn->admin->timers, &conn->timer);
        send_answer(conn, status, content_type, NULL, body);
        advance(conn);
    }
    tg_buffer_fini(body);
}

void tg_admin_reply_error(struct tg_admin_request *request, int status, const char *code,
                          const char *message)
{
    struct tg__admin_conn *conn = request->conn;

    if (request->ticket == 0)
        return;
    drop_ticket(conn);
    tg_timer_stop(conn->admin->timers, &conn->timer);
    send_error(conn, status, code, message, NULL);
    advance(conn);
}
