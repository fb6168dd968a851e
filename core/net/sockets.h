/* sockets.h - the listening sockets behind the addresses that people write:
 *
 *     127.0.0.1:8080   [::1]:8080   :8080      TCP; each worker has a socket of its own (SO_REUSEPORT)
 *     unix:/run/tidegate.sock?mode=0660        a Unix socket; all workers accept from the same one
 *     systemd   systemd:NAME   fd:NAME   fd:3  sockets that the service manager has opened; likewise
 *
 * Opened before any worker starts, so that every address is known to be good. Main thread only.
 */
#ifndef TG_NET_SOCKETS_H
#define TG_NET_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "base/error.h"

#define TG_SOCKET_NAME_SIZE 128

struct tg_socket {
    int fd; /* owned; -1: handed over */
    bool is_unix;
    bool is_tls;                    /* as the caller says */
    bool own_each;                  /* TCP that was opened here: workers open it again by name */
    char name[TG_SOCKET_NAME_SIZE]; /* "127.0.0.1:8080", or the path of a Unix socket */
    bool made; /* the Unix socket was bound here, and these say which file it is */
    dev_t device;
    ino_t inode;
    struct timespec changed; /* numbers of inodes are used again at once */
};

struct tg_sockets {
    struct tg_socket *items; /* owned */
    size_t count;
};

enum tg_socket_kind { TG_SOCKET_TCP, TG_SOCKET_UNIX, TG_SOCKET_INHERITED };
/* By how the address begins. */
enum tg_socket_kind tg_socket_kind_of(const char *address);
/* An address that is not TCP: is it well written? */
TG_MUST enum tg_err tg_socket_check(const char *address, struct tg_error *error);

/* Adds what `address` stands for: one socket, or all that were inherited ("systemd"). */
TG_MUST enum tg_err tg_sockets_open(struct tg_sockets *sockets, const char *address,
                                    struct tg_error *error);
/* A descriptor for one worker, which owns it. The first TCP one is the socket itself: one that nobody
 * accepts from would get its share of the clients. */
TG_MUST enum tg_err tg_socket_for_worker(struct tg_socket *socket, int *fd, struct tg_error *error);
/* All workers have theirs: closes what is left here, so that a socket ends when the workers close it. */
void tg_sockets_handed_over(struct tg_sockets *sockets);
/* Removes the files of Unix sockets that were made here and are still those. Idempotent. */
void tg_sockets_unlink(struct tg_sockets *sockets);
/* Closes all; unlinks first. */
void tg_sockets_fini(struct tg_sockets *sockets);

#endif
