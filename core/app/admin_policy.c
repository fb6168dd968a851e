/* admin_policy.c - which policy serves, taking a new one, and going down in order. */
#include "app/admin_internal.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/memory.h"

static void add_name(void *ctx, const char *name)
{
    tg_json_str(ctx, name);
}

static void write_time(struct tg_json_writer *w, const char *key, uint64_t wall_ms)
{
    char text[TG_CLOCK_RFC3339_SIZE];
    tg_clock_rfc3339(wall_ms, text);
    tg_json_member_str(w, key, text);
}

static void write_last_reload(struct tg_json_writer *w, const struct tg_reload_result *last)
{
    tg_json_key(w, "last_reload");
    if (last == NULL) {
        tg_json_null(w);
        return;
    }
    tg_json_begin_object(w);
    tg_json_member_str(w, "result", last->err == TG_ERR_OK ? "ok" : "failed");
    tg_json_member_str(w, "version", last->version);
    tg_json_member_str(w, "error", last->err == TG_ERR_OK ? NULL : last->error.text);
    write_time(w, "at", last->at_ms);
    tg_json_end_object(w);
}

void tg__admin_get_policy(void *ctx, struct tg_admin_request *request)
{
    struct tg_server *server = ctx;
    struct tg_buffer body = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&body);
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "version", tg_reload_version(server->reload));
    tg_json_member_str(&w, "path", server->config->policy);
    write_time(&w, "loaded_at", tg_reload_loaded_at_ms(server->reload));
    tg_json_key(&w, "hooks");
    tg_json_begin_array(&w);
    tg_reload_each_hook(server->reload, add_name, &w);
    tg_json_end_array(&w);
    tg_json_key(&w, "agents");
    tg_json_begin_array(&w);
    tg_reload_each_agent(server->reload, add_name, &w);
    tg_json_end_array(&w);
    write_last_reload(&w, tg_reload_last(server->reload));
    tg_json_end_object(&w);
    tg__admin_reply(request, 200, NULL, &body, tg_json_writer_failed(&w));
}

struct waiting {
    struct tg_server *server;
    uint64_t ticket;
};

static void on_reloaded(void *ctx, const struct tg_reload_result *result)
{
    struct waiting *waiting = ctx;
    struct tg_admin_request *request = tg_admin_find(waiting->server->admin, waiting->ticket);
    tg_free(waiting);
    if (request == NULL)
        return;
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

void tg__admin_post_reload(void *ctx, struct tg_admin_request *request)
{
    struct tg_server *server = ctx;
    if (server->draining) {
        tg_admin_reply_error(request, 409, "draining", "the server is shutting down");
        return;
    }
    struct waiting *waiting = tg_xcalloc(1, sizeof *waiting);
    *waiting = (struct waiting){.server = server, .ticket = tg_admin_ticket(request)};
    tg_reload_request(server->reload, "admin", on_reloaded, waiting);
}

void tg__admin_post_drain(void *ctx, struct tg_admin_request *request)
{
    struct tg_buffer body = TG_BUFFER_INIT;
    enum tg_err err = tg_buffer_append_str(&body, "{\"status\":\"draining\"}");
    tg__admin_reply(request, 202, NULL, &body, err != TG_ERR_OK);
    tg_server_drain(ctx, "POST /drain");
}
