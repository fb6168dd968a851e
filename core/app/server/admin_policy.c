/* admin_policy.c - which policy serves and where, taking a new one, going back, and going down in order. */
#include <string.h>

#include "app/server/admin_internal.h"
#include "base/json_reader.h"
#include "base/json_writer.h"
#include "base/memory.h"

#define VERSIONS_MAX 64

static void add_name(void *ctx, const char *name)
{
    tg_json_str(ctx, name);
}

static void write_last_reload(struct tg_json_writer *w, const struct tg_reload_result *last)
{
    bool ok = last != NULL && last->err == TG_ERR_OK;
    tg_json_key(w, "last_reload");
    if (last == NULL) {
        tg_json_null(w);
        return;
    }
    tg_json_begin_object(w);
    tg_json_member_str(w, "result", ok ? "ok" : "failed");
    tg_json_member_str(w, "why", last->why);
    tg_json_member_bool(w, "rollback", last->rollback);
    tg_json_member_str(w, "version", ok ? last->version : NULL);
    tg_json_member_str(w, "error", ok ? NULL : last->error.text);
    tg_json_member_time(w, "at", last->at_ms);
    tg_json_end_object(w);
}

/* --- GET /policy ----------------------------------------------------------------------------------- */

/* How many connections are on which version, of all workers. */
struct totals {
    struct {
        char version[TG_POLICY_VERSION_SIZE];
        uint64_t count;
    } rows[VERSIONS_MAX];
    size_t used;
};

static void add_connections(struct totals *totals, const struct tg_json_value *row)
{
    char version[TG_POLICY_VERSION_SIZE];
    struct tg_json_value text = tg_json_member(row, "version");
    struct tg_json_value count = tg_json_member(row, "count");
    size_t i = 0;
    if (tg_json_copy_string(&text, version, sizeof version) != TG_ERR_OK)
        return;
    while (i < totals->used && strcmp(totals->rows[i].version, version) != 0)
        i++;
    if (i == VERSIONS_MAX)
        return;
    if (i == totals->used)
        memcpy(totals->rows[totals->used++].version, version, sizeof version);
    totals->rows[i].count += (uint64_t)tg_json_number(&count);
}

static void add_worker(struct totals *totals, const struct tg_json_value *worker)
{
    struct tg_json_value list = tg_json_member(worker, "connections");
    struct tg_json_value key;
    struct tg_json_value row;
    size_t cursor = 0;
    while (tg_json_next(&list, &cursor, &key, &row))
        add_connections(totals, &row);
}

static void write_connections(struct tg_json_writer *w, const struct tg_json_value *workers)
{
    struct totals totals = {.used = 0};
    struct tg_json_value key;
    struct tg_json_value worker;
    size_t cursor = 0;
    while (tg_json_next(workers, &cursor, &key, &worker))
        add_worker(&totals, &worker);
    tg_json_key(w, "connections");
    tg_json_begin_object(w);
    for (size_t i = 0; i < totals.used; i++)
        tg_json_member_uint(w, totals.rows[i].version, totals.rows[i].count);
    tg_json_end_object(w);
}

/* In the order of their numbers; they have answered in any. */
static void write_workers(struct tg_json_writer *w, const struct tg_json_value *workers,
                          size_t count)
{
    struct tg_json_value key;
    struct tg_json_value worker;
    tg_json_key(w, "workers");
    tg_json_begin_array(w);
    for (size_t i = 1; i <= count; i++) {
        size_t cursor = 0;
        while (tg_json_next(workers, &cursor, &key, &worker)) {
            struct tg_json_value number = tg_json_member(&worker, "worker");
            if ((size_t)tg_json_number(&number) == i)
                tg_json_raw(w, worker.raw, worker.len);
        }
    }
    tg_json_end_array(w);
}

static void write_names(struct tg_json_writer *w, const struct tg_server *server)
{
    tg_json_key(w, "hooks");
    tg_json_begin_array(w);
    tg_reload_each_hook(server->reload, add_name, w);
    tg_json_end_array(w);
    tg_json_key(w, "agents");
    tg_json_begin_array(w);
    tg_reload_each_agent(server->reload, add_name, w);
    tg_json_end_array(w);
}

/* The answers as one JSON array, which `text` holds. */
static bool read_answers(const struct tg_gather *gather, struct tg_buffer *text,
                         struct tg_json_value *workers)
{
    const struct tg_buffer *rows = &gather->rows;
    return tg_buffer_append_str(text, "[") == TG_ERR_OK &&
           tg_buffer_append(text, tg_buffer_head(rows), rows->len) == TG_ERR_OK &&
           tg_buffer_append_str(text, "]") == TG_ERR_OK &&
           tg_json_parse((const char *)tg_buffer_head(text), text->len, workers, NULL) == TG_ERR_OK;
}

static void finish_policy(struct tg_gather *gather, struct tg_admin_request *request)
{
    const struct tg_server *server = gather->server;
    struct tg_buffer body = TG_BUFFER_INIT;
    struct tg_buffer text = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&body);
    struct tg_json_value workers;
    bool read = read_answers(gather, &text, &workers);
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "version", tg_reload_version(server->reload));
    tg_json_member_str(&w, "path", server->config->policy);
    tg_json_member_time(&w, "loaded_at", tg_reload_loaded_at_ms(server->reload));
    tg_json_member_str(&w, "previous", tg_reload_previous(server->reload));
    write_last_reload(&w, tg_reload_last(server->reload));
    write_names(&w, server);
    if (read) {
        write_connections(&w, &workers);
        write_workers(&w, &workers, server->worker_count);
    }
    tg_json_end_object(&w);
    tg_buffer_fini(&text);
    tg__admin_reply(request, 200, NULL, &body, !read || tg_json_writer_failed(&w));
}

void tg__admin_get_policy(void *ctx, struct tg_admin_request *request)
{
    struct tg_server *server = ctx;
    struct tg_gather *gather = tg__gather_create(server, request, finish_policy);
    gather->awaited = server->worker_count;
    for (size_t i = 0; i < server->worker_count; i++)
        tg_worker_policy(server->workers[i], tg__gather_rows, gather);
}

/* --- POST /reload, POST /rollback ------------------------------------------------------------------ */

struct waiting {
    struct tg_server *server;
    uint64_t ticket;
};

static void on_switched(void *ctx, const struct tg_reload_result *result)
{
    struct waiting *waiting = ctx;
    struct tg_admin_request *request = tg_admin_find(waiting->server->admin, waiting->ticket);
    tg_free(waiting);
    if (request == NULL)
        return;
    if (result->err != TG_ERR_OK && result->skipped) {
        tg_admin_reply_error(request, 409, "no_previous_version", result->error.text);
        return;
    }
    if (result->err != TG_ERR_OK) {
        tg_admin_reply_error(request, 422, "reload_failed", result->error.text);
        return;
    }
    struct tg_buffer body = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&body);
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "result", "ok");
    tg_json_member_str(&w, "version", result->version);
    tg_json_member_str(&w, "previous", result->previous);
    tg_json_member_bool(&w, "unchanged", result->unchanged);
    tg_json_end_object(&w);
    tg__admin_reply(request, 200, NULL, &body, tg_json_writer_failed(&w));
}

/* Who waits for the answer; NULL after answering that it is too late. */
static struct waiting *wait_for_switch(struct tg_server *server, struct tg_admin_request *request)
{
    if (server->draining) {
        tg_admin_reply_error(request, 409, "draining", "the server is shutting down");
        return NULL;
    }
    struct waiting *waiting = tg_xcalloc(1, sizeof *waiting);
    *waiting = (struct waiting){.server = server, .ticket = tg_admin_ticket(request)};
    return waiting;
}

void tg__admin_post_reload(void *ctx, struct tg_admin_request *request)
{
    struct tg_server *server = ctx;
    struct waiting *waiting = wait_for_switch(server, request);
    if (waiting != NULL)
        tg_reload_request(server->reload, "admin", on_switched, waiting);
}

void tg__admin_post_rollback(void *ctx, struct tg_admin_request *request)
{
    struct tg_server *server = ctx;
    struct waiting *waiting = wait_for_switch(server, request);
    if (waiting != NULL)
        tg_reload_rollback(server->reload, "admin", on_switched, waiting);
}

void tg__admin_post_drain(void *ctx, struct tg_admin_request *request)
{
    struct tg_buffer body = TG_BUFFER_INIT;
    enum tg_err err = tg_buffer_append_str(&body, "{\"status\":\"draining\"}");
    tg__admin_reply(request, 202, NULL, &body, err != TG_ERR_OK);
    tg_server_drain(ctx, "POST /drain");
}
