/* layers.c - see layers.h. */
#include "app/server/layers.h"

#include "app/version.h"
#include "base/memory.h"
#include "script/kv/kv.h"
#include "script/passes.h"

struct tg_hub_options tg_layers_hub_options(const struct tg_config *config, size_t index)
{
    return (struct tg_hub_options){
        .worker = (uint8_t)(index + 1),
        .handshake_timeout_ms = config->handshake_timeout_ms,
        .auth_timeout_ms = config->auth_timeout_ms,
        .setup_timeout_ms = config->setup_timeout_ms,
        .idle_after_ms = config->idle_after_ms,
        .ping_interval_ms = config->ping_interval_ms,
        .pong_timeout_ms = config->pong_timeout_ms,
        .close_timeout_ms = config->close_timeout_ms,
        .message_timeout_ms = config->message_timeout_ms,
        .outbox_timeout_ms = config->outbox_timeout_ms,
        .expiry_notice_ms = config->expiry_notice_ms,
        .prepare_retry_ms = config->prepare_retry_ms,
        .prepare_retry_max_ms = config->prepare_retry_max_ms,
        .max_message = config->max_message,
        .max_header = config->max_header,
        .inbox_messages = config->inbox_messages,
        .inbox_bytes = config->inbox_bytes,
        .outbox_bytes = config->outbox_bytes,
        .session_bytes = config->session_bytes,
        .message_rate = config->message_rate,
        .proxy_protocol = config->proxy_protocol,
        .strict = config->strict,
        .compression = config->compression,
        .deflate_terms =
            {
                .server_takeover = config->compression_server_takeover,
                .client_takeover = config->compression_client_takeover,
                .window_bits = (uint8_t)config->compression_window_bits,
            },
        .deflate_tuning =
            {
                .level = (uint8_t)config->compression_level,
                .memory_level = (uint8_t)config->compression_memory_level,
                .min_size = config->compression_min_size,
            },
        .allowed_origins = (const char *const *)config->allowed_origins.items,
        .allowed_origin_count = config->allowed_origins.count,
    };
}

enum tg_err tg_layers_trusted_proxies(const struct tg_config *config, struct tg_cidr **list,
                                      size_t *count, struct tg_error *error)
{
    const struct tg_strings *texts = &config->trusted_proxies;
    *count = 0;
    *list = tg_xcalloc(texts->count * TG_CIDR_PARTS + 1, sizeof **list);
    for (size_t i = 0; i < texts->count; i++) {
        size_t added;
        enum tg_err err = tg_cidr_parse(texts->items[i], *list + *count, &added, error);
        if (err != TG_ERR_OK)
            return err;
        *count += added;
    }
    return TG_ERR_OK;
}

enum tg_err tg_layers_admission(const struct tg_config *config, struct tg_admission **out,
                                struct tg_error *error)
{
    struct tg_admission_options options = {
        .max_connections = config->max_connections,
        .max_per_address = config->max_connections_per_ip,
        .rate = config->connection_rate,
    };
    enum tg_err err = tg_admission_create(out, &options);
    if (err != TG_ERR_OK)
        return tg_error_set(error, err, "the server could not be set up: %s", tg_err_text(err));
    return TG_ERR_OK;
}

enum tg_err tg_layers_stores(const struct tg_config *config, struct tg_kv **kv,
                             struct tg_passes **passes, struct tg_error *error)
{
    struct tg_kv_options options = {.memory = config->kv_memory, .value_max = config->kv_max_value};
    enum tg_err err = tg_kv_create(kv, &options);
    if (err != TG_ERR_OK)
        return tg_error_set(error, err, "kv.memory: %s", tg_err_text(err));
    err = tg_passes_create(passes);
    return err == TG_ERR_OK ? err : tg_error_set(error, err, "tickets: %s", tg_err_text(err));
}

enum tg_err tg_layers_quota(struct tg_quota **out, struct tg_error *error)
{
    enum tg_err err = tg_quota_create(out);
    return err == TG_ERR_OK ? err : tg_error_set(error, err, "runs: %s", tg_err_text(err));
}

struct tg_runs_options tg_layers_runs_options(const struct tg_config *config)
{
    return (struct tg_runs_options){
        .max_per_connection = config->runs_max_per_connection,
        .max_per_user = config->runs_max_per_user,
        .max_children = config->runs_max_children,
        .timeout_ms = config->runs_timeout_ms,
        .finish_unheard = config->runs_on_disconnect == TG_RUN_FINISH,
    };
}

struct tg_http_client_options tg_layers_http_options(const struct tg_config *config)
{
    return (struct tg_http_client_options){
        .max_connections = config->http_max_connections,
        .max_connections_per_host = config->http_max_connections_per_host,
        .ca_file = config->http_ca_file,
        .public_only = !config->http_private_addresses,
        .allowed_hosts = (const char *const *)config->http_allowed_hosts.items,
        .allowed_host_count = config->http_allowed_hosts.count,
    };
}

static struct tg_script_texts texts_of(const struct tg_strings *list)
{
    return (struct tg_script_texts){(const char *const *)list->items, list->count};
}

struct tg_script_server tg_layers_script_server(const struct tg_config *config)
{
    return (struct tg_script_server){
        .listen = texts_of(&config->listen),
        .allowed_origins = texts_of(&config->allowed_origins),
        .trusted_proxies = texts_of(&config->trusted_proxies),
        .client_auth = tg_config_client_auth_text(config),
    };
}

struct tg_script_programs tg_layers_script_programs(const struct tg_config *config)
{
    return (struct tg_script_programs){.allowed = texts_of(&config->agents_processes)};
}

struct tg_host_options tg_layers_host_options(const struct tg_config *config)
{
    return (struct tg_host_options){
        .env =
            {
                .wall_budget_ms = config->script_wall_budget_ms,
                .memory_max = config->script_memory,
                .server = tg_layers_script_server(config),
                .programs = tg_layers_script_programs(config),
                .http_defaults =
                    {
                        .timeout_ms = config->http_timeout_ms,
                        .connect_timeout_ms = config->http_connect_timeout_ms,
                        .idle_timeout_ms = config->http_idle_timeout_ms,
                        .response_max = config->http_max_response,
                    },
            },
        .drain_timeout_ms = config->reload_drain_timeout_ms,
        .max_generations = config->reload_max_generations,
    };
}

static bool upper_hook_defined(void *ctx, enum tg_hook hook)
{
    struct tg_layers *layers = ctx;
    return tg_host_hook_defined(layers->host, hook);
}

static void upper_hook_start(void *ctx, struct tg_conn *conn, enum tg_hook hook,
                             const struct tg_hook_input *input)
{
    struct tg_layers *layers = ctx;
    tg_host_hook_start(layers->host, conn, hook, input);
}

static void upper_hook_cancel(void *ctx, struct tg_conn *conn)
{
    struct tg_layers *layers = ctx;
    tg_host_hook_cancel(layers->host, conn);
}

static enum tg_err upper_run_start(void *ctx, struct tg_conn *conn,
                                   const struct tg_run_request *request)
{
    struct tg_layers *layers = ctx;
    return tg_runs_start(layers->runs, conn, request);
}

static enum tg_err upper_run_cancel(void *ctx, struct tg_conn *conn, const char *run_id)
{
    struct tg_layers *layers = ctx;
    return tg_runs_cancel(layers->runs, conn, run_id);
}

static void upper_runs_end(void *ctx, struct tg_conn *conn)
{
    struct tg_layers *layers = ctx;
    tg_runs_connection_over(layers->runs, conn);
}

static void upper_conn_over(void *ctx, const struct tg_conn *conn)
{
    struct tg_layers *layers = ctx;
    if (layers->conn_over != NULL)
        layers->conn_over(layers->over_ctx, conn);
}

void tg_layers_connect(struct tg_layers *layers)
{
    struct tg_conn_upper upper = {
        .host = layers,
        .hook_defined = upper_hook_defined,
        .hook_start = upper_hook_start,
        .hook_cancel = upper_hook_cancel,
        .run_start = upper_run_start,
        .run_cancel = upper_run_cancel,
        .runs_end = upper_runs_end,
        .conn_over = upper_conn_over,
    };
    struct tg_run_executor executor = tg_host_executor(layers->host);
    tg_hub_set_upper(layers->hub, &upper);
    tg_runs_set_executor(layers->runs, &executor);
}

enum tg_err tg_layers_write_metrics(struct tg_buffer *out, const struct tg_metrics *const *shards,
                                    size_t count, struct tg_kv *kv, const struct tg_passes *passes,
                                    const struct tg_metrics_facts *facts)
{
    static const struct tg_metrics_labels labels = {
        .states = tg_state_names,
        .hooks = tg_hook_names,
        .hook_outcomes = tg_hook_outcome_names,
        .run_outcomes = tg_run_outcome_names,
    };
    struct tg_metrics_facts all = *facts;
    struct tg_kv_stats stats;
    struct tg_passes_stats pass_stats;

    tg_kv_read_stats(kv, &stats);
    tg_passes_read_stats(passes, &pass_stats);
    all.version = TG_VERSION;
    all.build = tg_build_text();
    all.kv = (struct tg_metrics_kv){
        .entries = stats.entries,
        .bytes = stats.bytes,
        .evictions = stats.evictions,
        .operation_names = tg_kv_operation_names,
        .operations = stats.operations,
        .operation_count = TG_KV_OPERATIONS,
    };
    all.passes = (struct tg_metrics_passes){
        .outcome_names = tg_ticket_outcome_names,
        .tickets = pass_stats.tickets,
        .outcome_count = TG_TICKET_OUTCOMES,
        .revocations = pass_stats.revocations,
    };
    return tg_metrics_write(out, shards, count, &labels, &all);
}
