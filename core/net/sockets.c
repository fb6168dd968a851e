/* sockets.c - the list of listening sockets, whatever their kind. */
#include "net/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/listener.h"
#include "net/net_internal.h"
#include "net/sockets_internal.h"

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

enum tg_socket_kind tg_socket_kind_of(const char *address)
{
    if (starts_with(address, "unix:"))
        return TG_SOCKET_UNIX;
    if (strcmp(address, "systemd") == 0 || starts_with(address, "systemd:") ||
        starts_with(address, "fd:"))
        return TG_SOCKET_INHERITED;
    return TG_SOCKET_TCP;
}

enum tg_err tg_socket_check(const char *address, struct tg_error *error)
{
    const char *colon = strchr(address, ':');

    if (tg_socket_kind_of(address) == TG_SOCKET_UNIX)
        return tg__unix_socket_check(address, error);
    if (colon != NULL && colon[1] == '\0')
        return tg_error_set(error, TG_ERR_INVALID,
                            "\"%s\": after the colon stands the name of a socket, as in "
                            "systemd:tidegate.socket",
                            address);
    return TG_ERR_OK;
}

static void add(struct tg_sockets *sockets, const struct tg_socket *socket)
{
    struct tg_socket *items = tg_xcalloc(sockets->count + 1, sizeof *items);

    if (sockets->count > 0)
        memcpy(items, sockets->items, sockets->count * sizeof *items);
    items[sockets->count++] = *socket;
    tg_free(sockets->items);
    sockets->items = items;
}

static void name_inherited(struct tg_socket *socket)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof storage;
    char text[TG_ADDRESS_SIZE];

    if (getsockname(socket->fd, (struct sockaddr *)(void *)&storage, &len) != 0)
        storage.ss_family = AF_UNSPEC;
    struct tg_address address = tg__address_from(&storage);
    socket->is_unix = address.kind == TG_ADDRESS_UNIX;
    tg_address_format(&address, text);
    (void)snprintf(socket->name, sizeof socket->name, "%s",
                   socket->is_unix ? ((struct sockaddr_un *)(void *)&storage)->sun_path : text);
}

static enum tg_err add_inherited(void *ctx, int fd, struct tg_error *error)
{
    struct tg_sockets *sockets = ctx;
    struct tg_socket socket = {.fd = fd};

    for (size_t i = 0; i < sockets->count; i++)
        if (sockets->items[i].fd == fd)
            return tg_error_set(error, TG_ERR_INVALID, "listen: descriptor %d is named twice", fd);
    name_inherited(&socket);
    add(sockets, &socket);
    return TG_ERR_OK;
}

static enum tg_err open_tcp(struct tg_socket *out, const char *address, struct tg_error *error)
{
    char bound[TG_ADDRESS_SIZE];

    *out = (struct tg_socket){.fd = -1, .own_each = true};
    enum tg_err err = tg_listener_bind(address, true, &out->fd, bound, error);
    if (err == TG_ERR_OK)
        (void)snprintf(out->name, sizeof out->name, "%s", bound);
    return err;
}

enum tg_err tg_sockets_open(struct tg_sockets *sockets, const char *address, struct tg_error *error)
{
    enum tg_socket_kind kind = tg_socket_kind_of(address);
    struct tg_socket socket;

    if (kind == TG_SOCKET_INHERITED)
        return tg__inherited_each(address, add_inherited, sockets, error);
    enum tg_err err = kind == TG_SOCKET_UNIX ? tg__unix_socket_open(&socket, address, error)
                                             : open_tcp(&socket, address, error);
    if (err == TG_ERR_OK)
        add(sockets, &socket);
    return err;
}

enum tg_err tg_socket_for_worker(struct tg_socket *socket, int *fd, struct tg_error *error)
{
    char bound[TG_ADDRESS_SIZE];

    if (socket->own_each && socket->fd != -1) {
        *fd = socket->fd;
        socket->fd = -1;
        return TG_ERR_OK;
    }
    if (socket->own_each)
        return tg_listener_bind(socket->name, true, fd, bound, error);
    *fd = fcntl(socket->fd, F_DUPFD_CLOEXEC, 0);
    if (*fd == -1)
        return tg_error_set(error, TG_ERR_SYS, "cannot listen on %s: %s", socket->name,
                            strerror(errno));
    return TG_ERR_OK;
}

void tg_sockets_handed_over(struct tg_sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->items[i].fd != -1)
            close(sockets->items[i].fd);
        sockets->items[i].fd = -1;
    }
}

void tg_sockets_unlink(struct tg_sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        tg__unix_socket_unlink(&sockets->items[i]);
}

void tg_sockets_fini(struct tg_sockets *sockets)
{
    tg_sockets_unlink(sockets);
    tg_sockets_handed_over(sockets);
    tg_free(sockets->items);
    *sockets = (struct tg_sockets){0};
}
