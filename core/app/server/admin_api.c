/* admin_api.c - the table of admin routes, and the listener that serves them. */
#include <string.h>

#include "app/server/admin_internal.h"
#include "net/listener.h"

#define REPLY_TIMEOUT_MS 5000

void tg__admin_reply(struct tg_admin_request *request, int status, const char *content_type,
                     struct tg_buffer *body, bool failed)
{
    if (failed) {
        tg_buffer_fini(body);
        tg_admin_reply_error(request, 503, "out_of_memory", "out of memory; try again");
        return;
    }
    tg_admin_reply(request, status, content_type, body);
}

static const struct tg_admin_route routes[] = {
    {"GET", "/health", tg__admin_get_health},
    {"GET", "/ready", tg__admin_get_ready},
    {"GET", "/metrics", tg__admin_get_metrics},
    {"GET", "/connections", tg__admin_get_connections},
    {"GET", "/connections/:id", tg__admin_get_connection},
    {"POST", "/connections/:id/close", tg__admin_post_close},
    {"POST", "/users/:id/close", tg__admin_post_close_user},
    {"POST", "/tokens/:id/revoke", tg__admin_post_revoke},
    {"POST", "/ticket", tg__admin_post_ticket},
    {"GET", "/policy", tg__admin_get_policy},
    {"POST", "/reload", tg__admin_post_reload},
    {"POST", "/rollback", tg__admin_post_rollback},
    {"POST", "/drain", tg__admin_post_drain},
    {"GET", "/version", tg__admin_get_version},
};

enum tg_err tg__admin_start(struct tg_server *server, struct tg_error *error)
{
    const struct tg_config *config = server->config;
    int fd = -1;
    if (strcmp(config->admin, "off") == 0)
        return TG_ERR_OK;
    enum tg_err err = tg_listener_bind(config->admin, false, &fd, server->admin_bound, error);
    if (err != TG_ERR_OK)
        return err;
    struct tg_admin_options options = {
        .fd = fd,
        .address = server->admin_bound,
        .token = config->admin_token,
        .reply_timeout_ms = REPLY_TIMEOUT_MS,
    };
    err = tg_admin_create(&server->admin, server->net, server->timers, &options, routes,
                          sizeof routes / sizeof routes[0], server);
    if (err != TG_ERR_OK)
        return tg_error_set(error, err, "the admin listener could not be started");
    return TG_ERR_OK;
}
