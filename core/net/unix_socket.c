/* unix_socket.c - making, taking over and removing the file of a Unix socket.
 *
 * A file that is left from a process that died is in the way of bind(2). It is removed only when it is a
 * socket and nobody listens on it; one that somebody does listen on is left alone, as is any other
 * file. What is removed at the end is the file that was made here: by then another server may have put
 * its own in that place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/sockets_internal.h"

#define PREFIX "unix:"
#define MODE_WORD "mode="
#define MODE_DEFAULT 0660

struct target {
    struct sockaddr_un address;
    mode_t mode;
};

static bool read_mode(const char *text, mode_t *mode)
{
    char *end;
    unsigned long value = strtoul(text, &end, 8);

    *mode = (mode_t)value;
    return text[0] >= '0' && text[0] <= '7' && *end == '\0' && value <= 0777;
}

static enum tg_err parse(const char *text, struct target *out, struct tg_error *error)
{
    const char *path = text + strlen(PREFIX);
    const char *query = strchr(path, '?');
    size_t len = query == NULL ? strlen(path) : (size_t)(query - path);

    *out = (struct target){.address = {.sun_family = AF_UNIX}, .mode = MODE_DEFAULT};
    if (path[0] != '/' || len < 2)
        return tg_error_set(error, TG_ERR_INVALID,
                            "\"%s\": write unix: and an absolute path, as in "
                            "unix:/run/tidegate.sock",
                            text);
    if (len >= sizeof out->address.sun_path)
        return tg_error_set(error, TG_ERR_INVALID,
                            "\"%s\": the path of a Unix socket has %zu bytes at most", text,
                            sizeof out->address.sun_path - 1);
    if (query != NULL && (strncmp(query + 1, MODE_WORD, strlen(MODE_WORD)) != 0 ||
                          !read_mode(query + 1 + strlen(MODE_WORD), &out->mode)))
        return tg_error_set(error, TG_ERR_INVALID,
                            "\"%s\": after the path there may be ?mode= and permissions such as "
                            "0660",
                            text);
    memcpy(out->address.sun_path, path, len);
    return TG_ERR_OK;
}

enum tg_err tg__unix_socket_check(const char *address, struct tg_error *error)
{
    struct target target;

    return parse(address, &target, error);
}

static const struct sockaddr *sockaddr_of(const struct target *target)
{
    return (const struct sockaddr *)(const void *)&target->address;
}

static enum tg_err failed(const struct target *target, int number, struct tg_error *error)
{
    return tg_error_set(error, TG_ERR_SYS, "cannot listen on unix:%s: %s", target->address.sun_path,
                        strerror(number));
}

static enum tg_err remove_stale(const struct target *target, struct tg_error *error)
{
    const char *path = target->address.sun_path;
    struct stat info;

    if (lstat(path, &info) != 0)
        return errno == ENOENT ? TG_ERR_OK : failed(target, errno, error);
    if (!S_ISSOCK(info.st_mode))
        return tg_error_set(error, TG_ERR_SYS,
                            "cannot listen on unix:%s: there is a file of that name that is no "
                            "socket",
                            path);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe == -1)
        return failed(target, errno, error);
    int number = connect(probe, sockaddr_of(target), sizeof target->address) == 0 ? 0 : errno;
    close(probe);
    if (number == ENOENT)
        return TG_ERR_OK;
    if (number != ECONNREFUSED) /* EAGAIN is a full queue: somebody is there */
        return failed(target, EADDRINUSE, error);
    return unlink(path) == 0 || errno == ENOENT ? TG_ERR_OK : failed(target, errno, error);
}

/* The mode is set before the file exists (Linux gives it to the file, less the umask), so that at no
 * time more people can connect than may; then again, because the umask may have taken too much. */
static int listen_at(const struct target *target, struct stat *info)
{
    const char *path = target->address.sun_path;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd == -1)
        return -1;
    if (fchmod(fd, target->mode) == 0 &&
        bind(fd, sockaddr_of(target), sizeof target->address) == 0) {
        if (chmod(path, target->mode) == 0 && lstat(path, info) == 0 &&
            listen(fd, TG__BACKLOG) == 0)
            return fd;
        int number = errno;
        (void)unlink(path);
        errno = number;
    }
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

enum tg_err tg__unix_socket_open(struct tg_socket *out, const char *address, struct tg_error *error)
{
    struct target target;
    struct stat info;

    enum tg_err err = parse(address, &target, error);
    if (err == TG_ERR_OK)
        err = remove_stale(&target, error);
    if (err != TG_ERR_OK)
        return err;
    *out = (struct tg_socket){.is_unix = true, .made = true};
    out->fd = listen_at(&target, &info);
    if (out->fd == -1)
        return failed(&target, errno, error);
    out->device = info.st_dev;
    out->inode = info.st_ino;
    out->changed = info.st_ctim;
    memcpy(out->name, target.address.sun_path, sizeof target.address.sun_path);
    return TG_ERR_OK;
}

void tg__unix_socket_unlink(struct tg_socket *socket)
{
    struct stat info;

    if (!socket->made)
        return;
    socket->made = false;
    if (lstat(socket->name, &info) == 0 && info.st_dev == socket->device &&
        info.st_ino == socket->inode && info.st_ctim.tv_sec == socket->changed.tv_sec &&
        info.st_ctim.tv_nsec == socket->changed.tv_nsec)
        (void)unlink(socket->name);
}
