/* sockets_test.c - listening sockets of all kinds: Unix sockets and their files, inherited ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "net/sockets.h"

static char folder[64];
static char path[96];
static char address[112];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/tidegate_sockets_XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/s", folder);
    (void)snprintf(address, sizeof address, "unix:%s", path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return rmdir(folder);
}

static bool exists(void)
{
    struct stat info;

    return lstat(path, &info) == 0;
}

static int dial(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(to.sun_path, path, strlen(path) + 1);
    assert_int_not_equal(fd, -1);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

static void kinds(void **state)
{
    (void)state;
    assert_int_equal(tg_socket_kind_of("127.0.0.1:80"), TG_SOCKET_TCP);
    assert_int_equal(tg_socket_kind_of("systemd.example:80"), TG_SOCKET_TCP);
    assert_int_equal(tg_socket_kind_of("unix:/x"), TG_SOCKET_UNIX);
    assert_int_equal(tg_socket_kind_of("systemd"), TG_SOCKET_INHERITED);
    assert_int_equal(tg_socket_kind_of("systemd:web"), TG_SOCKET_INHERITED);
    assert_int_equal(tg_socket_kind_of("fd:3"), TG_SOCKET_INHERITED);
}

static void bad_addresses(void **state)
{
    char long_path[200] = "unix:/";
    const char *const rows[][2] = {
        {"unix:", "an absolute path"},
        {"unix:/", "an absolute path"},
        {"unix:relative", "an absolute path"},
        {"unix:/x?mode=", "permissions such as"},
        {"unix:/x?mode=999", "permissions such as"},
        {"unix:/x?mode=01777", "permissions such as"},
        {"unix:/x?mode=660x", "permissions such as"},
        {"unix:/x?user=me", "permissions such as"},
        {"unix:/x?", "permissions such as"},
        {"systemd:", "the name of a socket"},
        {"fd:", "the name of a socket"},
        {long_path, "107 bytes at most"},
    };

    (void)state;
    memset(long_path + 6, 'x', 108);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_error error = {TG_ERR_OK, ""};
        assert_int_equal(tg_socket_check(rows[i][0], &error), TG_ERR_INVALID);
        if (strstr(error.text, rows[i][1]) == NULL)
            fail_msg("%s: %s", rows[i][0], error.text);
    }
    assert_int_equal(tg_socket_check("unix:/x?mode=0600", NULL), TG_ERR_OK);
    assert_int_equal(tg_socket_check("systemd", NULL), TG_ERR_OK);
    long_path[6 + 106] = '\0';
    assert_int_equal(tg_socket_check(long_path, NULL), TG_ERR_OK);
}

static void a_unix_socket_comes_and_goes(void **state)
{
    struct tg_sockets sockets = {0};
    int fds[2];

    (void)state;
    assert_int_equal(tg_sockets_open(&sockets, address, NULL), TG_ERR_OK);
    assert_int_equal(sockets.count, 1);
    assert_true(sockets.items[0].is_unix);
    assert_string_equal(sockets.items[0].name, path);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(tg_socket_for_worker(&sockets.items[0], &fds[i], NULL), TG_ERR_OK);
    assert_int_not_equal(fds[0], fds[1]);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
    tg_sockets_handed_over(&sockets);
    int client = dial();
    assert_int_not_equal(client, -1);
    int accepted = accept(fds[1], NULL, NULL);
    assert_int_not_equal(accepted, -1);
    close(accepted);
    close(client);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(dial(), -1); /* nobody else holds it */
    tg_sockets_unlink(&sockets);
    assert_false(exists());
    tg_sockets_fini(&sockets);
}

static void modes(void **state)
{
    static const struct {
        const char *suffix;
        mode_t mode;
    } rows[] = {{"", 0660}, {"?mode=0600", 0600}, {"?mode=666", 0666}, {"?mode=0", 0}};
    mode_t umask_before = umask(0077);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_sockets sockets = {0};
        char with_mode[160];
        struct stat info;
        (void)snprintf(with_mode, sizeof with_mode, "%s%s", address, rows[i].suffix);
        assert_int_equal(tg_sockets_open(&sockets, with_mode, NULL), TG_ERR_OK);
        assert_int_equal(lstat(path, &info), 0);
        assert_int_equal(info.st_mode & 0777, rows[i].mode);
        tg_sockets_fini(&sockets);
        assert_false(exists());
    }
    (void)umask(umask_before);
}

/* Files that are made in the same tick of this clock have the same times. */
static void wait_for_a_tick(void)
{
    struct timespec before;
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_REALTIME_COARSE, &before), 0);
    do {
        assert_int_equal(clock_gettime(CLOCK_REALTIME_COARSE, &now), 0);
    } while (now.tv_sec == before.tv_sec && now.tv_nsec == before.tv_nsec);
}

static void a_file_that_is_left_over_is_replaced(void **state)
{
    struct tg_sockets dead = {0};
    struct tg_sockets sockets = {0};

    (void)state;
    assert_int_equal(tg_sockets_open(&dead, address, NULL), TG_ERR_OK);
    tg_sockets_handed_over(&dead); /* closed, and its file still there */
    assert_true(exists());
    wait_for_a_tick();
    assert_int_equal(tg_sockets_open(&sockets, address, NULL), TG_ERR_OK);
    tg_sockets_fini(&dead); /* the file is not its own any more */
    assert_true(exists());
    int client = dial();
    assert_int_not_equal(client, -1);
    close(client);
    tg_sockets_fini(&sockets);
    assert_false(exists());
}

static void what_is_in_use_is_left_alone(void **state)
{
    struct tg_sockets sockets = {0};
    struct tg_sockets second = {0};
    struct tg_error error;

    (void)state;
    assert_int_equal(tg_sockets_open(&sockets, address, NULL), TG_ERR_OK);
    assert_int_equal(tg_sockets_open(&second, address, &error), TG_ERR_SYS);
    assert_non_null(strstr(error.text, path));
    assert_non_null(strstr(error.text, "in use"));
    int client = dial();
    assert_int_not_equal(client, -1);
    close(client);
    tg_sockets_fini(&sockets);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fclose(file);
    assert_int_equal(tg_sockets_open(&second, address, &error), TG_ERR_SYS);
    assert_non_null(strstr(error.text, "no socket"));
    assert_true(exists());
    assert_int_equal(tg_sockets_open(&second, "unix:/nonexistent/folder/s", &error), TG_ERR_SYS);
    assert_int_equal(second.count, 0);
}

/* Of TCP the first worker gets the socket itself; no socket is left that nobody accepts from. */
static void tcp(void **state)
{
    struct tg_sockets sockets = {0};
    int fds[2];

    (void)state;
    assert_int_equal(tg_sockets_open(&sockets, "127.0.0.1:0", NULL), TG_ERR_OK);
    int first = sockets.items[0].fd;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(tg_socket_for_worker(&sockets.items[0], &fds[i], NULL), TG_ERR_OK);
    assert_int_equal(fds[0], first);
    assert_int_equal(sockets.items[0].fd, -1);
    tg_sockets_fini(&sockets);
    close(fds[0]);
    close(fds[1]);
}

static int listen_on_anything(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_not_equal(fd, -1);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void by_number(void **state)
{
    struct tg_sockets sockets = {0};
    struct tg_error error;
    char text[32];
    int fd = listen_on_anything();

    (void)state;
    (void)snprintf(text, sizeof text, "fd:%d", fd);
    assert_int_equal(tg_sockets_open(&sockets, text, &error), TG_ERR_OK);
    assert_int_equal(sockets.count, 1);
    assert_memory_equal(sockets.items[0].name, "0.0.0.0:", 8);
    assert_false(sockets.items[0].is_unix);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(tg_sockets_open(&sockets, text, &error), TG_ERR_INVALID);
    assert_non_null(strstr(error.text, "named twice"));
    tg_sockets_fini(&sockets);
    assert_int_equal(tg_sockets_open(&sockets, text, &error), TG_ERR_SYS);
    assert_non_null(strstr(error.text, "is no socket"));
    int quiet = socket(AF_INET, SOCK_STREAM, 0);
    (void)snprintf(text, sizeof text, "fd:%d", quiet);
    assert_int_equal(tg_sockets_open(&sockets, text, &error), TG_ERR_SYS);
    assert_non_null(strstr(error.text, "that listens"));
    close(quiet);
}

static void set_environment(pid_t pid, const char *fds, const char *names)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%ld", (long)pid);
    assert_int_equal(setenv("LISTEN_PID", text, 1), 0);
    assert_int_equal(setenv("LISTEN_FDS", fds, 1), 0);
    if (names == NULL)
        assert_int_equal(unsetenv("LISTEN_FDNAMES"), 0);
    else
        assert_int_equal(setenv("LISTEN_FDNAMES", names, 1), 0);
}

/* What cannot be inherited; descriptors from 3 on stay as they are. */
static void nothing_inherited(void **state)
{
    const struct {
        pid_t pid;
        const char *fds;
        const char *address;
        const char *why;
    } rows[] = {
        {getpid() + 1, "1", "systemd", "has handed over no socket"},
        {getpid(), "0", "systemd", "has handed over no socket"},
        {getpid(), "x", "systemd", "has handed over no socket"},
        {getpid(), "-1", "systemd", "has handed over no socket"},
        {getpid(), "99999", "systemd", "has handed over no socket"},
        {getpid(), "1", "systemd:web", "has that name"},
        {getpid(), "1", "fd:web", "has that name"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_sockets sockets = {0};
        struct tg_error error = {TG_ERR_OK, ""};
        set_environment(rows[i].pid, rows[i].fds, "webs:we:");
        assert_int_equal(tg_sockets_open(&sockets, rows[i].address, &error), TG_ERR_SYS);
        if (strstr(error.text, rows[i].why) == NULL)
            fail_msg("row %zu: %s", i, error.text);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(kinds),
        T(bad_addresses),
        T(a_unix_socket_comes_and_goes),
        T(modes),
        T(a_file_that_is_left_over_is_replaced),
        T(what_is_in_use_is_left_alone),
        T(tcp),
        T(by_number),
        T(nothing_inherited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
