/* admin_connections.c - listing, showing and closing connections: a question to the workers that own
 * them, whose answers are gathered on the main thread.
 */
#include <stdlib.h>
#include <string.h>

#include "app/server/admin_internal.h"
#include "base/json_reader.h"
#include "base/json_writer.h"
#include "base/memory.h"
#include "connection/state.h"
#include "proto/websocket.h"

#define ROWS_DEFAULT 100
#define ROWS_MAX 10000

/* Every worker sent up to `limit` rows; together they are more. */
static void write_limited(struct tg_json_writer *w, const struct tg_gather *gather)
{
    struct tg_buffer list = TG_BUFFER_INIT;
    struct tg_json_value array;
    struct tg_json_value key;
    struct tg_json_value row;
    size_t cursor = 0;
    size_t left = gather->limit;
    if (tg_buffer_append_str(&list, "[") == TG_ERR_OK &&
        tg_buffer_append(&list, tg_buffer_head(&gather->rows), gather->rows.len) == TG_ERR_OK &&
        tg_buffer_append_str(&list, "]") == TG_ERR_OK &&
        tg_json_parse((const char *)tg_buffer_head(&list), list.len, &array, NULL) == TG_ERR_OK)
        for (; left > 0 && tg_json_next(&array, &cursor, &key, &row); left--)
            tg_json_raw(w, row.raw, row.len);
    tg_buffer_fini(&list);
}

static void finish_list(struct tg_gather *gather, struct tg_admin_request *request)
{
    struct tg_buffer body = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&body);
    tg_json_begin_object(&w);
    tg_json_member_uint(&w, "count", gather->matched);
    tg_json_member_uint(&w, "limit", gather->limit);
    tg_json_key(&w, "connections");
    tg_json_begin_array(&w);
    write_limited(&w, gather);
    tg_json_end_array(&w);
    tg_json_end_object(&w);
    tg__admin_reply(request, 200, NULL, &body, tg_json_writer_failed(&w));
}

static bool read_filter(struct tg_admin_request *request, struct tg_conn_filter *filter)
{
    const char *state = tg_admin_query(request, "state");
    const char *user = tg_admin_query(request, "user");
    const char *limit = tg_admin_query(request, "limit");
    *filter = (struct tg_conn_filter){.state = -1, .limit = ROWS_DEFAULT};
    for (int i = 0; state != NULL && i < TG_STATES; i++)
        if (strcmp(tg_state_names[i], state) == 0)
            filter->state = i;
    if (state != NULL && filter->state < 0) {
        tg_admin_reply_error(request, 400, "bad_state", "there is no such connection state");
        return false;
    }
    if (user != NULL && strlen(user) >= sizeof filter->user_id) {
        tg_admin_reply_error(request, 400, "bad_user", "user is at most 256 bytes");
        return false;
    }
    if (user != NULL)
        memcpy(filter->user_id, user, strlen(user) + 1);
    if (limit != NULL) {
        char *end = NULL;
        unsigned long n = strtoul(limit, &end, 10);
        if (limit[0] < '0' || limit[0] > '9' || *end != '\0' || n < 1 || n > ROWS_MAX) {
            tg_admin_reply_error(request, 400, "bad_limit", "limit is a number from 1 to 10000");
            return false;
        }
        filter->limit = n;
    }
    return true;
}

void tg__admin_get_connections(void *ctx, struct tg_admin_request *request)
{
    struct tg_server *server = ctx;
    struct tg_conn_filter filter;
    if (!read_filter(request, &filter))
        return;
    struct tg_gather *gather = tg__gather_create(server, request, finish_list);
    gather->limit = filter.limit;
    gather->awaited = server->worker_count;
    for (size_t i = 0; i < server->worker_count; i++)
        tg_worker_list(server->workers[i], &filter, tg__gather_rows, gather);
}

/* The worker that an ID names, or NULL after answering 404. */
static struct tg_worker *worker_of(struct tg_server *server, struct tg_admin_request *request,
                                   struct tg_conn_id *id)
{
    const char *text = tg_admin_param(request);
    if (tg_conn_id_parse(text, strlen(text), id) == TG_ERR_OK) {
        size_t number = tg_conn_id_worker(id->serial);
        if (number >= 1 && number <= server->worker_count)
            return server->workers[number - 1];
    }
    tg_admin_reply_error(request, 404, "no_connection", "there is no such connection");
    return NULL;
}

static void finish_show(struct tg_gather *gather, struct tg_admin_request *request)
{
    if (gather->matched == 0)
        tg_admin_reply_error(request, 404, "no_connection", "there is no such connection");
    else
        tg__admin_reply(request, 200, NULL, &gather->rows, gather->rows.len == 0);
}

void tg__admin_get_connection(void *ctx, struct tg_admin_request *request)
{
    struct tg_server *server = ctx;
    struct tg_conn_id id;
    struct tg_worker *worker = worker_of(server, request, &id);
    if (worker == NULL)
        return;
    struct tg_gather *gather = tg__gather_create(server, request, finish_show);
    gather->awaited = 1;
    tg_worker_show(worker, &id, tg__gather_rows, gather);
}

static void finish_close(struct tg_gather *gather, struct tg_admin_request *request)
{
    struct tg_buffer body = TG_BUFFER_INIT;
    if (gather->matched == 0) {
        tg_admin_reply_error(request, 404, "no_connection", "there is no such connection");
        return;
    }
    enum tg_err err = tg_buffer_append_str(&body, "{\"closing\":true}");
    tg__admin_reply(request, 200, NULL, &body, err != TG_ERR_OK);
}

bool tg__admin_read_close(struct tg_admin_request *request, int *code,
                          char reason[TG_WS_REASON_MAX + 1])
{
    struct tg_json_value document;
    const struct tg_buffer *body = tg_admin_body(request);
    *code = 1000;
    memcpy(reason, "closed by the operator", sizeof "closed by the operator");
    if (body == NULL || body->len == 0)
        return true;
    bool good = tg_json_parse((const char *)tg_buffer_head(body), body->len, &document, NULL) ==
                    TG_ERR_OK &&
                document.kind == TG_JSON_OBJECT;
    if (good) {
        struct tg_json_value code_value = tg_json_member(&document, "code");
        struct tg_json_value reason_value = tg_json_member(&document, "reason");
        if (code_value.kind != TG_JSON_NONE) {
            double number = tg_json_number(&code_value); /* may be infinite */
            *code = number >= 0 && number <= UINT16_MAX ? (int)number : 0;
        }
        if (reason_value.kind != TG_JSON_NONE &&
            tg_json_copy_string(&reason_value, reason, TG_WS_REASON_MAX + 1) != TG_ERR_OK)
            good = false;
    }
    if (good && tg_ws_close_code_valid(*code))
        return true;
    tg_admin_reply_error(
        request, 400, "bad_close",
        "the body is {\"code\": 1000-4999 (RFC 6455 section 7.4), \"reason\": text "
        "of at most 123 bytes}");
    return false;
}

void tg__admin_post_close(void *ctx, struct tg_admin_request *request)
{
    struct tg_server *server = ctx;
    struct tg_conn_id id;
    char reason[TG_WS_REASON_MAX + 1];
    int code;
    struct tg_worker *worker = worker_of(server, request, &id);
    if (worker == NULL || !tg__admin_read_close(request, &code, reason))
        return;
    struct tg_gather *gather = tg__gather_create(server, request, finish_close);
    gather->awaited = 1;
    tg_worker_close_conn(worker, &id, code, reason, tg__gather_rows, gather);
}
