/* admin.c - the admin listener: accepts, keeps the tickets, and goes away in order.
 *
 * Owns the listening socket, copies of address and token, and the ticket map. After destroy it lives
 * on, without tickets, until its last connection has closed.
 */
#include "ops/admin.h"

#include "base/log.h"
#include "base/memory.h"
#include "ops/admin_internal.h"

#define READ_TIMEOUT_MS 10000
/* People, scrapers and scripts need few; each costs up to a body of memory. */
#define CONNECTIONS_MAX 256

static void free_admin(struct tg_admin *admin)
{
    tg_map_fini(&admin->tickets);
    tg_free((void *)(uintptr_t)admin->access.address);
    tg_free((void *)(uintptr_t)admin->access.token);
    tg_free(admin);
}

static void on_accept(void *ctx, struct tg_stream *stream)
{
    struct tg_admin *admin = ctx;

    if (admin->connection_count >= CONNECTIONS_MAX)
        tg_stream_close(stream);
    else
        tg__admin_conn_start(admin, stream);
}

static void on_accept_error(void *ctx, const char *why)
{
    (void)ctx;
    tg_log(TG_LOG_WARN, "admin.accept_failed", tg_log_str("error", why));
}

enum tg_err tg_admin_create(struct tg_admin **out, struct tg_net *net, struct tg_timers *timers,
                            const struct tg_admin_options *options,
                            const struct tg_admin_route *routes, size_t route_count, void *ctx)
{
    struct tg_admin *admin = tg_xcalloc(1, sizeof *admin);
    enum tg_err err;

    admin->net = net;
    admin->timers = timers;
    admin->access.address = tg_xstrdup(options->address);
    admin->access.token = options->token == NULL ? NULL : tg_xstrdup(options->token);
    admin->routes = routes;
    admin->route_count = route_count;
    admin->ctx = ctx;
    admin->read_timeout_ms =
        options->read_timeout_ms == 0 ? READ_TIMEOUT_MS : options->read_timeout_ms;
    admin->reply_timeout_ms = options->reply_timeout_ms;
    tg_list_init(&admin->connections);
    err = tg_listener_start(&admin->listener, net, options->fd, on_accept, on_accept_error, admin);
    if (err != TG_ERR_OK) {
        free_admin(admin);
        return err;
    }
    *out = admin;
    return TG_ERR_OK;
}

void tg_admin_destroy(struct tg_admin *admin)
{
    if (admin == NULL)
        return;
    admin->destroyed = true;
    tg_listener_stop(admin->listener);
    admin->listener = NULL;
    tg__admin_conn_close_all(admin);
    if (admin->connection_count == 0)
        free_admin(admin);
}

void tg__admin_conn_gone(struct tg_admin *admin)
{
    admin->connection_count--;
    if (admin->destroyed && admin->connection_count == 0)
        free_admin(admin);
}

struct tg_admin_request *tg_admin_find(struct tg_admin *admin, uint64_t ticket)
{
    return tg_map_find(&admin->tickets, ticket);
}
