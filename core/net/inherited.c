/* inherited.c - sockets that the service manager has opened for us, as sd_listen_fds(3) describes them.
 *
 * LISTEN_FDS of them stand from descriptor 3 on, when LISTEN_PID is this process; LISTEN_FDNAMES names them
 * in that order, separated by colons. "fd:3" takes a descriptor by its number, for managers that set
 * none of these.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/sockets_internal.h"

#define FIRST 3
#define FDS_MAX 1024

static bool read_number(const char *text, unsigned long max, unsigned long *out)
{
    char *end;

    if (text == NULL || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *out = strtoul(text, &end, 10);
    return *end == '\0' && errno == 0 && *out <= max;
}

/* How many were handed to this process and to no other. */
static int handed_over(void)
{
    unsigned long pid;
    unsigned long count;

    if (!read_number(getenv("LISTEN_PID"), INT32_MAX, &pid) || (pid_t)pid != getpid() ||
        !read_number(getenv("LISTEN_FDS"), FDS_MAX, &count))
        return 0;
    return (int)count;
}

/* Is the index-th name of LISTEN_FDNAMES this one? */
static bool has_name(int index, const char *name)
{
    const char *at = getenv("LISTEN_FDNAMES");

    for (int i = 0; at != NULL && i < index; i++) {
        at = strchr(at, ':');
        at = at == NULL ? NULL : at + 1;
    }
    return at != NULL && strcspn(at, ":") == strlen(name) && strncmp(at, name, strlen(name)) == 0;
}

static enum tg_err prepare(const char *address, int fd, struct tg_error *error)
{
    int type = 0;
    int listens = 0;
    socklen_t type_len = sizeof type;
    socklen_t listens_len = sizeof listens;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_len) != 0)
        return tg_error_set(error, TG_ERR_SYS,
                            "cannot listen on %s: descriptor %d is no socket: %s", address, fd,
                            strerror(errno));
    if (type != SOCK_STREAM || !listens)
        return tg_error_set(error, TG_ERR_SYS,
                            "cannot listen on %s: descriptor %d is no stream socket that listens",
                            address, fd);
    int flags = fcntl(fd, F_GETFL);
    if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) == -1)
        return tg_error_set(error, TG_ERR_SYS, "cannot listen on %s: %s", address, strerror(errno));
    return TG_ERR_OK;
}

enum tg_err tg__inherited_each(const char *address, tg__add_inherited_fn add, void *ctx,
                               struct tg_error *error)
{
    const char *colon = strchr(address, ':');
    const char *name = colon == NULL ? NULL : colon + 1;
    unsigned long number;
    int count = handed_over();
    size_t found = 0;
    enum tg_err err = TG_ERR_OK;

    if (strncmp(address, "fd:", 3) == 0 && read_number(name, INT32_MAX, &number)) {
        err = prepare(address, (int)number, error);
        return err == TG_ERR_OK ? add(ctx, (int)number, error) : err;
    }
    for (int i = 0; i < count && err == TG_ERR_OK; i++) {
        if (name != NULL && !has_name(i, name))
            continue;
        found++;
        err = prepare(address, FIRST + i, error);
        if (err == TG_ERR_OK)
            err = add(ctx, FIRST + i, error);
    }
    if (err != TG_ERR_OK || found > 0)
        return err;
    if (count == 0)
        return tg_error_set(error, TG_ERR_SYS,
                            "cannot listen on %s: the service manager has handed over no socket "
                            "(LISTEN_FDS, LISTEN_PID)",
                            address);
    return tg_error_set(error, TG_ERR_SYS,
                        "cannot listen on %s: none of the sockets that were handed over has that "
                        "name (LISTEN_FDNAMES)",
                        address);
}
