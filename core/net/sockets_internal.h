/* sockets_internal.h - the kinds of listening sockets that sockets.c puts together. */
#ifndef TG_NET_SOCKETS_INTERNAL_H
#define TG_NET_SOCKETS_INTERNAL_H

#include "net/sockets.h"

#define TG__BACKLOG 1024

/* unix_socket.c: "unix:/path?mode=0660", bound and listening. */
TG_MUST enum tg_err tg__unix_socket_check(const char *address, struct tg_error *error);
TG_MUST enum tg_err tg__unix_socket_open(struct tg_socket *out, const char *address,
                                         struct tg_error *error);
void tg__unix_socket_unlink(struct tg_socket *socket);

/* inherited.c: calls `add` with each descriptor that "systemd", "systemd:NAME" or "fd:…" stands for. */
typedef enum tg_err (*tg__add_inherited_fn)(void *ctx, int fd, struct tg_error *error);
TG_MUST enum tg_err tg__inherited_each(const char *address, tg__add_inherited_fn add, void *ctx,
                                       struct tg_error *error);

#endif
