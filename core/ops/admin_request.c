/* admin_request.c - one request to the admin listener: refused, or handed to its handler; and the handler's
 * answer.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/json_writer.h"
#include "base/log.h"
#include "ops/admin_connection.h"
#include "ops/admin_routes.h"

#define REFUSAL_LOG_EVERY_MS 1000

void tg__admin_refuse(struct tg__admin_conn *conn, int status, const char *code,
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
        tg__admin_conn_close(conn);
    else
        tg__admin_conn_answer(conn, status, NULL, extra, &body);
    tg_buffer_fini(&body);
}

static void refuse_method(struct tg__admin_conn *conn)
{
    struct tg_buffer allow = TG_BUFFER_INIT;
    struct tg_buffer extra = TG_BUFFER_INIT;
    enum tg_err err = tg_admin_route_allow(conn->admin->routes, conn->admin->route_count,
                                           tg_http_path(conn->http), &allow);

    if (err == TG_ERR_OK)
        err = tg_buffer_printf(&extra, "Allow: %.*s\r\n" TG__ADMIN_HEADERS, (int)allow.len,
                               (const char *)tg_buffer_head(&allow));
    if (err == TG_ERR_OK)
        err = tg_buffer_append(&extra, "", 1);
    if (err == TG_ERR_OK)
        tg__admin_refuse(conn, 405, "method_not_allowed", "this path has other methods: see Allow",
                         (const char *)tg_buffer_head(&extra));
    else
        tg__admin_conn_close(conn);
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
    tg__admin_refuse(conn, refusal.status, refusal.code, refusal.message,
                     refusal.status == 401 ? "WWW-Authenticate: Bearer\r\n" TG__ADMIN_HEADERS
                                           : NULL);
    return false;
}

static void dispatch(struct tg__admin_conn *conn, const struct tg_admin_route *route)
{
    struct tg_admin *admin = conn->admin;
    struct tg_admin_request *request = &conn->request;

    if (tg_map_put(&admin->tickets, admin->last_ticket + 1, request) != TG_ERR_OK) {
        tg__admin_conn_close(conn);
        return;
    }
    request->ticket = ++admin->last_ticket;
    tg__admin_conn_set_timer(conn, admin->reply_timeout_ms);
    if (conn->state == TG__ADMIN_CLOSED)
        return;
    tg_log(strcmp(route->method, "GET") == 0 ? TG_LOG_DEBUG : TG_LOG_INFO, "admin.request",
           tg_log_str("method", route->method), tg_log_str("path", tg_http_path(conn->http).data));
    route->handler(admin->ctx, request);
}

/* A complete request is there: refuse it, or hand it to its handler. */
void tg__admin_request_begin(struct tg__admin_conn *conn)
{
    struct tg_admin_request *request = &conn->request;
    struct tg_http_text method = tg_http_method(conn->http);
    const struct tg_admin_route *route = NULL;
    enum tg_err err;

    conn->state = TG__ADMIN_HANDLING;
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
        tg__admin_refuse(conn, 404, "no_such_path", "there is no such path; these are all", NULL);
    else if (err == TG_ERR_ILLEGAL)
        refuse_method(conn);
    else if (err == TG_ERR_NOMEM)
        tg__admin_conn_close(conn);
    else
        tg__admin_refuse(conn, 400, "bad_encoding", "the URL has a malformed %XX sequence", NULL);
}

void tg__admin_request_refuse_malformed(struct tg__admin_conn *conn)
{
    const char *why;
    int status = tg_http_refusal(conn->http, &why);

    conn->request.head_only = false;
    conn->request.keep_alive = false;
    tg__admin_refuse(conn, status, "bad_request", why, NULL);
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
        assert(conn->state == TG__ADMIN_HANDLING);
        tg__admin_conn_drop_ticket(conn);
        tg_timer_stop(conn->admin->timers, &conn->timer);
        tg__admin_conn_answer(conn, status, content_type, NULL, body);
        tg__admin_conn_advance(conn);
    }
    tg_buffer_fini(body);
}

void tg_admin_reply_error(struct tg_admin_request *request, int status, const char *code,
                          const char *message)
{
    struct tg__admin_conn *conn = request->conn;

    if (request->ticket == 0)
        return;
    tg__admin_conn_drop_ticket(conn);
    tg_timer_stop(conn->admin->timers, &conn->timer);
    tg__admin_refuse(conn, status, code, message, NULL);
    tg__admin_conn_advance(conn);
}
