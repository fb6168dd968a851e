/* admin_facts.c - health, readiness, metrics and version: what is answered from the shards at once. */
#include "app/server/admin_internal.h"
#include "app/server/layers.h"
#include "app/version.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/memory.h"
#include "connection/state.h"
#include "ops/health.h"

/* Of all workers; the array is freed by the caller. */
static const struct tg_metrics **shards_of(const struct tg_server *server)
{
    const struct tg_metrics **shards =
        tg_xcalloc(server->worker_count, sizeof(const struct tg_metrics *));
    for (size_t i = 0; i < server->worker_count; i++)
        shards[i] = tg_worker_metrics(server->workers[i]);
    return shards;
}

static const char *status_of(const struct tg_server *server)
{
    const struct tg_reload_result *last = tg_reload_last(server->reload);
    if (server->draining)
        return "draining";
    return last == NULL || last->err == TG_ERR_OK ? "ok" : "degraded";
}

void tg__admin_get_health(void *ctx, struct tg_admin_request *request)
{
    struct tg_server *server = ctx;
    struct tg_buffer body = TG_BUFFER_INIT;
    const struct tg_reload_result *last = tg_reload_last(server->reload);
    const struct tg_metrics **shards = shards_of(server);
    struct tg_health_facts facts = {
        .status = status_of(server),
        .uptime_ms = tg_clock_monotonic_ms() - server->started_ms,
        .version = TG_VERSION,
        .workers = server->worker_count,
        .policy_version = tg_reload_version(server->reload),
        .policy_path = server->config->policy,
        .policy_previous = tg_reload_previous(server->reload),
        .policy_loaded_at_ms = tg_reload_loaded_at_ms(server->reload),
        .state_names = tg_state_names,
        .connecting_state = TG_CONNECTING,
        .setup_state_count = TG_SETUP_STATES,
        .now_wall_ms = tg_clock_wall_ms(),
    };
    if (last != NULL) {
        facts.last_reload_result = last->err == TG_ERR_OK ? "ok" : "failed";
        facts.last_reload_why = last->why;
        facts.last_reload_error = last->err == TG_ERR_OK ? NULL : last->error.text;
        facts.last_reload_at_ms = last->at_ms;
    }
    enum tg_err err = tg_health_write(&body, shards, server->worker_count, &facts);
    tg_free(shards);
    tg__admin_reply(request, 200, NULL, &body, err != TG_ERR_OK);
}

void tg__admin_get_ready(void *ctx, struct tg_admin_request *request)
{
    struct tg_server *server = ctx;
    struct tg_buffer body = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&body);
    bool ready = server->serving && !server->draining;
    tg_json_begin_object(&w);
    tg_json_member_bool(&w, "ready", ready);
    if (!ready)
        tg_json_member_str(&w, "reason", server->draining ? "draining" : "starting");
    tg_json_end_object(&w);
    tg__admin_reply(request, ready ? 200 : 503, NULL, &body, tg_json_writer_failed(&w));
}

void tg__admin_get_metrics(void *ctx, struct tg_admin_request *request)
{
    struct tg_server *server = ctx;
    struct tg_buffer body = TG_BUFFER_INIT;
    const struct tg_metrics **shards = shards_of(server);
    struct tg_metrics_facts facts = {
        .policy_version = tg_reload_version(server->reload),
        .reloads_ok = tg_reload_count(server->reload, true),
        .reloads_failed = tg_reload_count(server->reload, false),
        .uptime_ms = tg_clock_monotonic_ms() - server->started_ms,
    };
    enum tg_err err = tg_layers_write_metrics(&body, shards, server->worker_count, server->kv,
                                              server->passes, &facts);
    tg_free(shards);
    tg__admin_reply(request, 200, "text/plain; version=0.0.4; charset=utf-8", &body,
                    err != TG_ERR_OK);
}

static void add_library(void *ctx, const char *name, const char *version)
{
    tg_json_member_str(ctx, name, version);
}

void tg__admin_get_version(void *ctx, struct tg_admin_request *request)
{
    struct tg_buffer body = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&body);
    (void)ctx;
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "version", TG_VERSION);
    tg_json_member_str(&w, "build", tg_build_text());
    tg_json_key(&w, "libraries");
    tg_json_begin_object(&w);
    tg_version_each_library(add_library, &w);
    tg_json_end_object(&w);
    tg_json_end_object(&w);
    tg__admin_reply(request, 200, NULL, &body, tg_json_writer_failed(&w));
}
