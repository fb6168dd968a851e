/* server_sockets.c - the server's listening sockets: opened here, handed to the workers, named for people.
 */
#include <stdio.h>
#include <unistd.h>

#include "app/server/server_internal.h"
#include "base/memory.h"

enum tg_err tg__sockets_open(struct tg_server *server, struct tg_error *error)
{
    const struct tg_strings *listen = &server->config->listen;
    struct tg_sockets *sockets = &server->sockets;
    enum tg_err err = TG_ERR_OK;

    for (size_t i = 0; i < listen->count && err == TG_ERR_OK; i++) {
        enum tg_listen_scheme scheme;
        size_t first = sockets->count;
        err = tg_sockets_open(sockets, tg_config_listen_address(listen->items[i], &scheme), error);
        /* A Unix socket is reached by neighbours only, so it is not encrypted unless it is asked for. */
        for (size_t j = first; j < sockets->count; j++)
            sockets->items[j].is_tls =
                scheme == TG_LISTEN_WSS ||
                (scheme == TG_LISTEN_EITHER && server->tls != NULL && !sockets->items[j].is_unix);
    }
    return err;
}

enum tg_err tg__sockets_of_worker(struct tg_server *server, int *fds, struct tg_error *error)
{
    for (size_t i = 0; i < server->sockets.count; i++) {
        enum tg_err err = tg_socket_for_worker(&server->sockets.items[i], &fds[i], error);
        if (err == TG_ERR_OK)
            continue;
        while (i > 0)
            close(fds[--i]);
        return err;
    }
    return TG_ERR_OK;
}

void tg__sockets_announce(const struct tg_server *server)
{
    for (size_t i = 0; i < server->sockets.count; i++) {
        const struct tg_socket *socket = &server->sockets.items[i];
        printf("listening %s%s%s\n", socket->is_tls ? "wss" : "ws",
               socket->is_unix ? "+unix:" : "://", socket->name);
    }
}
