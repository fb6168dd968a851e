/* server_sockets.c - the server's listening sockets: opened here, handed to the workers, named for people.
 */
#include <stdio.h>
#include <unistd.h>

#include "app/server_internal.h"
#include "base/memory.h"

enum tg_err tg__sockets_open(struct tg_server *server, struct tg_error *error)
{
    const struct tg_strings *listen = &server->config->listen;
    enum tg_err err = TG_ERR_OK;

    for (size_t i = 0; i < listen->count && err == TG_ERR_OK; i++)
        err = tg_sockets_open(&server->sockets, listen->items[i], error);
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
        printf("listening %s%s\n", socket->is_unix ? "ws+unix:" : "ws://", socket->name);
    }
}
