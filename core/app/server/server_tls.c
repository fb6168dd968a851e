/* server_tls.c - the server's certificates: read before anything listens, read again with every reload.
 *
 * A reload takes new certificates and a new policy together or neither. Workers get the new
 * configuration by letter; connections keep the one that they began with.
 */
#include "app/server/server_internal.h"
#include "base/log.h"
#include "net/tls_config.h"

static enum tg_err read_files(const struct tg_server *server, struct tg_tls_config **out,
                              struct tg_error *error)
{
    const struct tg_config *config = server->config;
    struct tg_tls_server_options options = {
        .certificates = (const char *const *)config->tls_certificates.items,
        .keys = (const char *const *)config->tls_keys.items,
        .pair_count = config->tls_certificates.count,
        .client_ca = config->tls_client_ca,
        .client_auth = config->tls_client_auth,
        .min_version = config->tls_min_version,
        .session_tickets = config->tls_session_tickets,
        .ciphers = (const char *const *)config->tls_ciphers.items,
        .cipher_count = config->tls_ciphers.count,
        .lanes = server->worker_count,
    };
    return tg_tls_config_create_server(out, &options, error);
}

enum tg_err tg__tls_start(struct tg_server *server, struct tg_error *error)
{
    if (server->config->tls_certificates.count == 0)
        return TG_ERR_OK;
    return read_files(server, &server->tls, error);
}

enum tg_err tg__tls_prepare(void *ctx, struct tg_error *error)
{
    struct tg_server *server = ctx;
    struct tg_error detail;
    if (server->tls == NULL)
        return TG_ERR_OK;
    enum tg_err err = read_files(server, &server->tls_next, &detail);
    if (err == TG_ERR_OK)
        return TG_ERR_OK;
    tg_log(TG_LOG_ERROR, "tls.reload", tg_log_str("result", "failed"),
           tg_log_str("error", detail.text));
    return tg_error_set(error, err, "the certificates were not taken: %s", detail.text);
}

/* The same files make no new configuration, so that sessions can still be resumed. */
void tg__tls_switch(void *ctx, bool commit)
{
    struct tg_server *server = ctx;
    struct tg_tls_config *next = server->tls_next;
    server->tls_next = NULL;
    if (next == NULL)
        return;
    bool is_new = commit && !tg_tls_config_is_same(next, server->tls);
    if (commit)
        tg_log(TG_LOG_INFO, "tls.reload", tg_log_str("result", "ok"),
               tg_log_bool("unchanged", !is_new));
    if (!is_new) {
        tg_tls_config_release(next);
        return;
    }
    tg_tls_config_release(server->tls);
    server->tls = next;
    for (size_t i = 0; i < server->worker_count; i++)
        tg_worker_set_tls(server->workers[i], next);
}
