/* listener_test.c - addresses, sharing a port, and what happens when descriptors run out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "net/listener.h"

static void test_bind_addresses(void **state)
{
    static const struct {
        const char *address;
        const char *bound; /* how it starts */
    } rows[] = {
        {"127.0.0.1:0", "127.0.0.1:"},
        {"localhost:0", "127.0.0.1:"},
        {"[::1]:0", "[::1]:"},
        {":0", "[::]:"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_error error = {TG_ERR_OK, ""};
        char bound[TG_ADDRESS_SIZE];
        int fd = -1;
        enum tg_err err = tg_listener_bind(rows[i].address, false, &fd, bound, &error);
        if (err == TG_ERR_SYS && rows[i].address[0] != '1')
            continue; /* a machine without IPv6 */
        assert_int_equal(err, TG_ERR_OK);
        assert_int_not_equal(strtoul(strrchr(bound, ':') + 1, NULL, 10), 0);
        if (strcmp(rows[i].address, "localhost:0") != 0 && bound[0] == rows[i].bound[0])
            assert_memory_equal(bound, rows[i].bound, strlen(rows[i].bound));
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
    }
}

static void test_bad_addresses(void **state)
{
    static const struct {
        const char *address;
        const char *why;
    } rows[] = {
        {"8080", "write HOST:PORT"},
        {"", "write HOST:PORT"},
        {"127.0.0.1:", "a number from 0 to 65535"},
        {"127.0.0.1:http", "a number from 0 to 65535"},
        {"127.0.0.1:65536", "a number from 0 to 65535"},
        {"127.0.0.1:-1", "a number from 0 to 65535"},
        {"127.0.0.1:+1", "a number from 0 to 65535"},
        {"127.0.0.1:000001", "a number from 0 to 65535"},
        {"::1:8080", "in brackets"},
        {"[::1]", "the port after ]"},
        {"[::1", "the port after ]"},
        {"[]:80", "is no address"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_error error = {TG_ERR_OK, ""};
        char bound[TG_ADDRESS_SIZE];
        int fd;
        assert_int_equal(tg_listener_bind(rows[i].address, false, &fd, bound, &error),
                         TG_ERR_INVALID);
        if (strstr(error.text, rows[i].why) == NULL)
            fail_msg("\"%s\": got \"%s\"", rows[i].address, error.text);
    }
}

static void test_sharing(void **state)
{
    struct tg_error error = {TG_ERR_OK, ""};
    char first[TG_ADDRESS_SIZE];
    char second[TG_ADDRESS_SIZE];
    int fds[2];

    (void)state;
    assert_int_equal(tg_listener_bind("127.0.0.1:0", true, &fds[0], first, &error), TG_ERR_OK);
    assert_int_equal(tg_listener_bind(first, true, &fds[1], second, &error), TG_ERR_OK);
    assert_string_equal(first, second);
    close(fds[1]);
    assert_int_equal(tg_listener_bind(first, false, &fds[1], second, &error), TG_ERR_SYS);
    assert_non_null(strstr(error.text, first));
    assert_non_null(strstr(error.text, "address already in use"));
    close(fds[0]);
}

static void test_loopback(void **state)
{
    static const struct {
        const char *address;
        bool loopback;
    } rows[] = {
        {"127.0.0.1:1", true},
        {"127.255.0.9:1", true},
        {"[::1]:1", true},
        {"localhost:1", true},
        {"[::ffff:127.0.0.1]:1", true},
        {"0.0.0.0:1", false},
        {":1", false},
        {"[::]:1", false},
        {"128.0.0.1:1", false},
        {"127.0.0.1", false},
        {"127.0.0.1.evil:1", false},
        {"localhost.evil:1", false},
        {"[::ffff:1.2.3.4]:1", false},
        {"nonsense", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (tg_listener_is_loopback(rows[i].address) != rows[i].loopback)
            fail_msg("%s", rows[i].address);
    }
}

struct counts {
    uv_loop_t loop;
    struct tg_listener *listener;
    int accepted;
    int errors;
    int refused;
    int stop_at; /* stop the listener in this accept */
};

static void on_accept(void *ctx, struct tg_stream *stream)
{
    struct counts *counts = ctx;

    tg_stream_close(stream);
    if (++counts->accepted == counts->stop_at)
        tg_listener_stop(counts->listener);
}

static void on_error(void *ctx, const char *why)
{
    struct counts *counts = ctx;

    assert_string_equal(why, "too many open files");
    counts->errors++;
}

static int dial(const char *bound)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_port = htons((uint16_t)strtoul(strrchr(bound, ':') + 1, NULL, 10));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_not_equal(fd, -1);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void start(struct counts *counts, struct tg_net **net, char bound[TG_ADDRESS_SIZE])
{
    int fd;

    assert_int_equal(uv_loop_init(&counts->loop), 0);
    assert_int_equal(tg_net_create(net, &counts->loop), TG_ERR_OK);
    assert_int_equal(tg_listener_bind("127.0.0.1:0", false, &fd, bound, NULL), TG_ERR_OK);
    assert_int_equal(tg_listener_start(&counts->listener, *net, fd, on_accept, on_error, counts),
                     TG_ERR_OK);
}

static void finish(struct counts *counts, struct tg_net *net)
{
    assert_int_equal(uv_run(&counts->loop, UV_RUN_DEFAULT), 0);
    tg_net_destroy(net);
    assert_int_equal(uv_run(&counts->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&counts->loop), 0);
}

/* Leaves this process no descriptor but those it has. */
static struct rlimit take_descriptors(int client)
{
    struct rlimit limit;
    int next = dup(client); /* the lowest descriptor that is free */

    assert_int_not_equal(next, -1);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {(rlim_t)next, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    return limit;
}

/* Without descriptors the listener says so a few times a second and spins not; the client waits and is
 * accepted once there are some again. */
static void test_descriptors_run_out(void **state)
{
    struct counts counts = {.accepted = 0};
    char bound[TG_ADDRESS_SIZE];
    struct tg_net *net;

    (void)state;
    start(&counts, &net, bound);
    int client = dial(bound);
    struct rlimit limit = take_descriptors(client);
    uint64_t start_ns = uv_hrtime();
    int rounds = 0;
    while (counts.errors < 3) {
        uv_run(&counts.loop, UV_RUN_ONCE);
        rounds++;
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(uv_hrtime() - start_ns >= UINT64_C(190000000)); /* two times 100 ms, coarse clock */
    assert_true(rounds < 20);
    assert_int_equal(counts.accepted, 0);
    while (counts.accepted == 0)
        uv_run(&counts.loop, UV_RUN_ONCE);
    tg_listener_stop(counts.listener);
    close(client);
    finish(&counts, net);
}

static void on_refused(void *ctx)
{
    struct counts *counts = ctx;

    counts->refused++;
}

static size_t read_all(int fd, char *out, size_t size)
{
    size_t len = 0;
    ssize_t n;

    while ((n = read(fd, out + len, size - len)) > 0)
        len += (size_t)n;
    assert_int_equal(n, 0); /* no reset */
    return len;
}

/* With something to say, one client at a time is told, and can read it though it has sent more than
 * anybody reads. */
static void test_clients_are_told(void **state)
{
    struct counts counts = {.accepted = 0};
    char bound[TG_ADDRESS_SIZE];
    struct tg_net *net;
    int clients[2];
    char answer[16];

    (void)state;
    start(&counts, &net, bound);
    tg_listener_set_refusal(counts.listener, "full", on_refused);
    for (size_t i = 0; i < 2; i++) {
        clients[i] = dial(bound);
        assert_int_equal(write(clients[i], "GET / HTTP/1.1\r\n", 16), 16);
    }
    struct rlimit limit = take_descriptors(clients[1]);
    uint64_t start_ns = uv_hrtime();
    while (counts.refused < 2)
        uv_run(&counts.loop, UV_RUN_ONCE);
    assert_true(uv_hrtime() - start_ns >= UINT64_C(90000000)); /* one after the other */
    while (counts.errors < 2)
        uv_run(&counts.loop, UV_RUN_ONCE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int third = dial(bound);
    while (counts.accepted == 0) /* the back-off is over */
        uv_run(&counts.loop, UV_RUN_ONCE);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(read_all(clients[i], answer, sizeof answer), 4);
        assert_memory_equal(answer, "full", 4);
        close(clients[i]);
    }
    tg_listener_stop(counts.listener);
    close(third);
    finish(&counts, net);
    assert_int_equal(counts.refused, 2);
    assert_int_equal(counts.accepted, 1);
}

/* Stopped from on_accept with more clients waiting: none of them reaches on_accept any more. */
static void test_stop_in_accept(void **state)
{
    struct counts counts = {.stop_at = 2};
    char bound[TG_ADDRESS_SIZE];
    struct tg_net *net;
    int clients[5];

    (void)state;
    start(&counts, &net, bound);
    for (int i = 0; i < 5; i++)
        clients[i] = dial(bound);
    finish(&counts, net);
    assert_int_equal(counts.accepted, 2);
    for (int i = 0; i < 5; i++)
        close(clients[i]);
}

/* More clients at once than one wake-up takes. */
static void test_many_clients(void **state)
{
    struct counts counts = {.stop_at = 100};
    char bound[TG_ADDRESS_SIZE];
    struct tg_net *net;
    int clients[100];

    (void)state;
    start(&counts, &net, bound);
    for (int i = 0; i < 100; i++)
        clients[i] = dial(bound);
    finish(&counts, net);
    assert_int_equal(counts.accepted, 100);
    for (int i = 0; i < 100; i++)
        close(clients[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bind_addresses),
        cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_descriptors_run_out),
        cmocka_unit_test(test_clients_are_told),
        cmocka_unit_test(test_stop_in_accept),
        cmocka_unit_test(test_many_clients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
