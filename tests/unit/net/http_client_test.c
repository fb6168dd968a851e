/* http_client_test.c - libcurl's client against a small server in a thread: the order of callbacks, what
 * owners may do inside them, and the parts that need no network.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/memory.h"
#include "net/http_client_internal.h"

#define LARGE ((size_t)4 << 20)

/* --- the server --------------------------------------------------------------------------------- */

static struct {
    int fd;
    uint16_t port;
    pthread_t thread;
} server;

static void write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        data += n;
        len -= (size_t)n;
    }
}

static void answer(int fd, const char *path)
{
    static char zeros[65536];
    char head[128];
    const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Some: Thing\r\n\r\nhello";

    if (strncmp(path, "/large", 6) == 0) {
        (void)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", LARGE);
        write_all(fd, head, strlen(head));
        for (size_t sent = 0; sent < LARGE; sent += sizeof zeros)
            write_all(fd, zeros, sizeof zeros);
        return;
    }
    if (strncmp(path, "/moved", 6) == 0)
        text = "HTTP/1.1 302 Found\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n";
    if (strncmp(path, "/never", 6) == 0)
        text = "";
    write_all(fd, text, strlen(text));
}

/* One connection at a time, request after request; "/stop" ends it. */
static void *serve(void *arg)
{
    char request[4096];
    size_t len = 0;
    int fd = -1;

    (void)arg;
    for (;;) {
        if (fd < 0)
            fd = accept(server.fd, NULL, NULL);
        ssize_t n = recv(fd, request + len, sizeof request - 1 - len, 0);
        if (n <= 0) {
            (void)close(fd);
            fd = -1;
            len = 0;
            continue;
        }
        len += (size_t)n;
        request[len] = '\0';
        if (strstr(request, "\r\n\r\n") == NULL)
            continue;
        len = 0;
        const char *path = strchr(request, ' ') + 1;
        if (strncmp(path, "/stop", 5) == 0)
            break;
        answer(fd, path);
    }
    (void)close(fd);
    return NULL;
}

static int connect_to_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(server.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int start_server(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;

    (void)state;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server.fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server.fd, 64), 0);
    assert_int_equal(getsockname(server.fd, (struct sockaddr *)&address, &len), 0);
    server.port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
    return 0;
}

static int stop_server(void **state)
{
    static const char request[] = "GET /stop HTTP/1.1\r\n\r\n";

    (void)state;
    int fd = connect_to_server();
    write_all(fd, request, sizeof request - 1);
    assert_int_equal(pthread_join(server.thread, NULL), 0);
    (void)close(fd);
    (void)close(server.fd);
    return 0;
}

/* --- the fixture -------------------------------------------------------------------------------- */

enum step { NEVER, AT_HEAD, AT_DATA };

struct fixture {
    uv_loop_t loop;
    struct tg_timers *timers;
    struct tg_http_client *client;
    struct tg_fetch *fetch; /* NULL: over */
    bool in_call;           /* no callback may come */
    bool paused;
    enum step cancel_at, pause_at;
    int heads, datas, dones;
    size_t bytes;
    int status;
    char url[256];
    char header[64]; /* X-Some */
    enum tg_fetch_outcome outcome;
    char text[256];
};

static void act(struct fixture *fx, enum step step)
{
    if (fx->cancel_at == step) {
        tg_fetch_cancel(fx->fetch);
        fx->fetch = NULL;
    } else if (fx->pause_at == step) {
        tg_fetch_pause(fx->fetch);
        fx->paused = true;
    }
}

static void on_head(void *ctx, const struct tg_fetch_head *head)
{
    struct fixture *fx = ctx;

    assert_false(fx->in_call || fx->paused);
    assert_int_equal(fx->heads + fx->datas + fx->dones, 0);
    fx->heads++;
    fx->status = head->status;
    (void)snprintf(fx->url, sizeof fx->url, "%s", head->url);
    for (size_t i = 0; i < head->header_count; i++) {
        if (strcmp(head->headers[i].name, "x-some") == 0)
            (void)snprintf(fx->header, sizeof fx->header, "%s", head->headers[i].value);
    }
    act(fx, AT_HEAD);
}

static void on_data(void *ctx, const void *data, size_t len)
{
    struct fixture *fx = ctx;

    (void)data;
    assert_false(fx->in_call || fx->paused);
    assert_true(fx->heads == 1 && fx->dones == 0 && fx->fetch != NULL && len > 0);
    fx->datas++;
    fx->bytes += len;
    act(fx, AT_DATA);
}

static void on_done(void *ctx, enum tg_fetch_outcome outcome, const char *text)
{
    struct fixture *fx = ctx;

    assert_false(fx->in_call || fx->paused);
    assert_true(fx->dones == 0 && fx->fetch != NULL);
    fx->dones++;
    fx->fetch = NULL;
    fx->outcome = outcome;
    (void)snprintf(fx->text, sizeof fx->text, "%s", text);
}

static const struct tg_fetch_callbacks callbacks = {on_head, on_data, on_done};

static void open_fixture(struct fixture *fx)
{
    struct tg_http_client_options options = {.max_connections = 4};

    memset(fx, 0, sizeof *fx);
    assert_int_equal(uv_loop_init(&fx->loop), 0);
    assert_int_equal(tg_timers_create(&fx->timers, &fx->loop), TG_ERR_OK);
    assert_int_equal(tg_http_client_create(&fx->client, &fx->loop, fx->timers, &options),
                     TG_ERR_OK);
}

static void close_fixture(struct fixture *fx)
{
    tg_http_client_destroy(fx->client);
    tg_timers_destroy(fx->timers);
    (void)uv_run(&fx->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fx->loop), 0);
}

static enum tg_err start(struct fixture *fx, const char *path, struct tg_fetch_request request)
{
    char url[256];

    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u%s", (unsigned)server.port, path);
    if (request.url == NULL)
        request.url = url;
    if (request.method == NULL)
        request.method = "GET";
    if (request.timeout_ms == 0)
        request.timeout_ms = 20000;
    fx->in_call = true;
    enum tg_err err = tg_fetch_start(fx->client, &request, &callbacks, fx, &fx->fetch);
    fx->in_call = false;
    return err;
}

static void run_until_over(struct fixture *fx)
{
    while (fx->fetch != NULL && !fx->paused)
        (void)uv_run(&fx->loop, UV_RUN_ONCE);
}

/* For another fetch of the same client. */
static void forget(struct fixture *fx)
{
    fx->heads = fx->datas = fx->dones = 0;
    fx->bytes = 0;
}

/* --- tests -------------------------------------------------------------------------------------- */

static void head_then_data_then_done(void **state)
{
    struct fixture fx;

    (void)state;
    open_fixture(&fx);
    assert_int_equal(start(&fx, "/moved?x=1", (struct tg_fetch_request){.redirects_max = 3}),
                     TG_ERR_OK);
    run_until_over(&fx);
    assert_int_equal(fx.outcome, TG_FETCH_OK);
    assert_string_equal(fx.text, "");
    assert_int_equal(fx.heads, 1);
    assert_int_equal(fx.status, 200);
    assert_int_equal(fx.bytes, 5);
    assert_string_equal(fx.header, "Thing");
    assert_non_null(strstr(fx.url, "/end"));
    close_fixture(&fx);
}

static void failures_come_from_the_loop(void **state)
{
    struct fixture fx;

    (void)state;
    open_fixture(&fx);
    assert_int_equal(start(&fx, "", (struct tg_fetch_request){.url = "file:///etc/passwd"}),
                     TG_ERR_OK);
    assert_int_equal(fx.dones, 0);
    run_until_over(&fx);
    assert_int_equal(fx.outcome, TG_FETCH_INVALID);
    close_fixture(&fx);
}

static void cancel_works_in_every_callback_and_before(void **state)
{
    static const enum step steps[] = {NEVER, AT_HEAD, AT_DATA};
    struct fixture fx;

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        open_fixture(&fx);
        fx.cancel_at = steps[i];
        /* A turn of the loop may bring head and data at once: before them is where there are none. */
        const char *path = steps[i] == NEVER ? "/never" : "/large";
        assert_int_equal(start(&fx, path, (struct tg_fetch_request){.stream = true}), TG_ERR_OK);
        if (steps[i] == NEVER) {
            (void)uv_run(&fx.loop, UV_RUN_ONCE);
            tg_fetch_cancel(fx.fetch);
            fx.fetch = NULL;
        }
        run_until_over(&fx);
        assert_int_equal(fx.dones, 0);
        assert_int_equal(fx.datas, steps[i] == AT_DATA ? 1 : 0);
        (void)uv_run(&fx.loop, UV_RUN_NOWAIT);
        close_fixture(&fx);
    }
}

static void a_client_can_be_destroyed_with_fetches_under_way(void **state)
{
    struct fixture fx;

    (void)state;
    open_fixture(&fx);
    assert_int_equal(start(&fx, "/never",
                           (struct tg_fetch_request){.body = "x", .body_len = 1, .method = "POST"}),
                     TG_ERR_OK);
    for (int i = 0; i < 5; i++)
        (void)uv_run(&fx.loop, UV_RUN_NOWAIT);
    close_fixture(&fx);
    assert_int_equal(fx.heads + fx.dones, 0);
}

static void on_enough(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Runs the loop for a while; what must not happen has had its chance then. */
static void run_for(struct fixture *fx, uint64_t ms)
{
    bool over = false;
    uv_timer_t timer = {.data = &over};

    assert_int_equal(uv_timer_init(&fx->loop, &timer), 0);
    assert_int_equal(uv_timer_start(&timer, on_enough, ms, 0), 0);
    while (!over)
        (void)uv_run(&fx->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&fx->loop, UV_RUN_NOWAIT);
}

static void a_paused_stream_holds_little_back_and_goes_on(void **state)
{
    struct fixture fx;

    (void)state;
    open_fixture(&fx);
    fx.pause_at = AT_HEAD;
    assert_int_equal(
        start(&fx, "/large", (struct tg_fetch_request){.stream = true, .idle_timeout_ms = 10000}),
        TG_ERR_OK);
    run_until_over(&fx);
    assert_true(fx.paused);
    run_for(&fx, 100);
    assert_int_equal(fx.datas, 0);
    const struct tg__fetch *fetch = (const struct tg__fetch *)(const void *)fx.fetch;
    assert_in_range(fetch->received.len, TG_FETCH_WINDOW, 2 * TG_FETCH_WINDOW);
    fx.pause_at = AT_DATA;
    while (fx.fetch != NULL) {
        int datas = fx.datas;
        fx.paused = false;
        fx.in_call = true;
        tg_fetch_resume(fx.fetch);
        fx.in_call = false;
        run_until_over(&fx);
        assert_true(fx.datas - datas <= 1);
    }
    assert_int_equal(fx.outcome, TG_FETCH_OK);
    assert_int_equal(fx.bytes, LARGE);
    close_fixture(&fx);
}

static void a_deadline_ends_what_the_server_does_not(void **state)
{
    struct fixture fx;

    (void)state;
    open_fixture(&fx);
    assert_int_equal(start(&fx, "/never", (struct tg_fetch_request){.timeout_ms = 50}), TG_ERR_OK);
    run_until_over(&fx);
    assert_int_equal(fx.outcome, TG_FETCH_TIMEOUT);
    assert_non_null(strstr(fx.text, "took longer than 50ms"));
    close_fixture(&fx);
}

/* Fetches "/moved" with the n-th of our allocations failed, or all from there on: it does not begin, or ends once
 * and at once. Whether it was undisturbed. */
static bool fetch_without_memory(struct fixture *fx, long n, bool forever)
{
    (void)tg_memory_fail_after(n, forever);
    enum tg_err err = start(fx, "/moved", (struct tg_fetch_request){.redirects_max = 1});
    if (err == TG_ERR_OK)
        run_until_over(fx);
    (void)tg_memory_fail_after(-1, 0);
    if (err != TG_ERR_OK) {
        assert_int_equal(err, TG_ERR_NOMEM);
        return false;
    }
    assert_int_equal(fx->dones, 1);
    if (fx->outcome == TG_FETCH_OK) {
        assert_int_equal(fx->bytes, 5);
        return true;
    }
    assert_int_equal(fx->outcome, TG_FETCH_CLOSED);
    assert_non_null(strstr(fx->text, "out of memory"));
    return false;
}

/* The next one of the same client goes as if nothing had been. */
static void memory_that_is_out_ends_one_fetch_only(void **state)
{
    struct fixture fx;
    bool undisturbed = false;

    (void)state;
    for (long n = 0; !undisturbed || n <= 80; n++) {
        open_fixture(&fx);
        undisturbed = fetch_without_memory(&fx, n / 2, n % 2 != 0);
        forget(&fx);
        assert_true(fetch_without_memory(&fx, -1, false));
        close_fixture(&fx);
        assert_true(n < 400);
    }
}

/* "/never" says nothing, so that what fails after the start is the watch of its socket. */
static void a_socket_that_cannot_be_watched_ends_its_fetch_at_once(void **state)
{
    struct fixture fx;
    enum tg_err err = TG_ERR_NOMEM;

    (void)state;
    open_fixture(&fx);
    for (long n = 0; err != TG_ERR_OK && n < 100; n++) {
        (void)tg_memory_fail_after(n, 1);
        err = start(&fx, "/never", (struct tg_fetch_request){.timeout_ms = 20000});
    }
    assert_int_equal(err, TG_ERR_OK);
    run_until_over(&fx);
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(fx.dones, 1);
    assert_int_equal(fx.outcome, TG_FETCH_CLOSED);
    assert_non_null(strstr(fx.text, "out of memory"));
    forget(&fx);
    assert_true(fetch_without_memory(&fx, -1, false));
    close_fixture(&fx);
}

static void urls_are_taken_apart(void **state)
{
    static const struct {
        const char *base, *text;
        const char *url; /* NULL: refused */
        const char *host;
        unsigned port;
    } rows[] = {
        {NULL, "http://Example.COM", "http://Example.COM/", "example.com", 80},
        {NULL, "https://a.b:8443/x?y#z", "https://a.b:8443/x?y", "a.b", 8443},
        {NULL, "http://[::1]:81/", "http://[::1]:81/", "::1", 81},
        {NULL, "http://127.1/", "http://127.0.0.1/", "127.0.0.1", 80},
        {NULL, "http://a/b c", "http://a/b%20c", "a", 80},
        {NULL, "ftp://a/", NULL, NULL, 0},
        {NULL, "a/b", NULL, NULL, 0},
        {NULL, "http://", NULL, NULL, 0},
        {NULL, "http://u@a/", NULL, NULL, 0},
        {NULL, "http://u:p@a/", NULL, NULL, 0},
        {NULL, "http://a:99999/", NULL, NULL, 0},
        {NULL, "http://a/\r\nX: y", NULL, NULL, 0},
        {"http://a/b/c?d", "e", "http://a/b/e", "a", 80},
        {"http://a/b/c", "/e", "http://a/e", "a", 80},
        {"http://a/b/c", "?f", "http://a/b/c?f", "a", 80},
        {"https://a/", "//b:5/c", "https://b:5/c", "b", 5},
        {"http://a/", "http://u:p@b/", "http://b/", "b", 80},
        {"http://a/", "javascript:alert(1)", NULL, NULL, 0},
        {"http://a/", "file:///etc/passwd", NULL, NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg__url url = {.text = NULL};
        enum tg_err err = tg__url_parse(&url, rows[i].base, rows[i].text);
        if ((err == TG_ERR_OK) != (rows[i].url != NULL))
            fail_msg("%s: %s", rows[i].text, err == TG_ERR_OK ? url.text : "refused");
        if (err != TG_ERR_OK)
            continue;
        assert_string_equal(url.text, rows[i].url);
        assert_string_equal(url.host, rows[i].host);
        assert_int_equal(url.port, rows[i].port);
        tg__url_fini(&url);
    }
}

static void the_host_of_a_url_is_all_that_is_told(void **state)
{
    static const char *const rows[][2] = {
        {"http://a.b/c?d", "a.b"},
        {"https://a:1?x@y", "a:1"},
        {"http://user:p4ss@a:1/", "a:1"},
        {"http://a@b@c/", "c"},
        {"http://[::1]:8/x", "[::1]:8"},
        {"nothing", "nothing"},
        {"http://a\n/", "a?"},
        {"", ""},
    };
    char host[TG_FETCH_HOST_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tg_fetch_host(rows[i][0], host);
        assert_string_equal(host, rows[i][1]);
    }
}

static void hosts_are_compared_with_a_list(void **state)
{
    static const char *const hosts[] = {"api.example", "*.wild.test", "ported:8443", "[::1]:81",
                                        "Upper.Example"};
    const struct tg_http_client_options options = {.allowed_hosts = hosts, .allowed_host_count = 5};
    static const struct {
        const char *host;
        uint16_t port;
        bool https, allowed;
    } rows[] = {
        {"api.example", 443, true, true},
        {"api.example", 80, false, true},
        {"api.example", 80, true, false},
        {"api.example.", 443, true, true},
        {"x.api.example", 443, true, false},
        {"xapi.example", 443, true, false},
        {"a.wild.test", 443, true, true},
        {"a.b.wild.test", 443, true, true},
        {"wild.test", 443, true, false},
        {"xwild.test", 443, true, false},
        {"ported", 8443, true, true},
        {"ported", 443, true, false},
        {"::1", 81, false, true},
        {"::1", 80, false, false},
        {"upper.example", 80, false, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (tg_fetch_host_allowed(&options, rows[i].host, rows[i].port, rows[i].https) !=
            rows[i].allowed)
            fail_msg("%s:%u", rows[i].host, (unsigned)rows[i].port);
}

static void add_line(struct tg__head *head, const char *line)
{
    assert_int_equal(tg__head_add(head, line, strlen(line)), TG_ERR_OK);
}

static void heads_are_made_of_lines(void **state)
{
    struct tg__head head = {.count = 0};

    (void)state;
    add_line(&head, "HTTP/1.1 100 Continue\r\n");
    add_line(&head, "X-Early: 1\r\n");
    add_line(&head, "\r\n");
    assert_false(head.complete);
    add_line(&head, "HTTP/2 204 \r\n");
    add_line(&head, "X-One:  a b \r\n");
    add_line(&head, "\t c\r\n");
    add_line(&head, "x-two:\r\n");
    add_line(&head, "X-Ctl: a\x01"
                    "b\r\n");
    add_line(&head, "no colon\r\n");
    add_line(&head, "\r\n");
    add_line(&head, "X-Trailer: 1\r\n");
    assert_true(head.complete);
    assert_int_equal(head.status, 204);
    assert_string_equal(head.version, "2");
    assert_int_equal(head.count, 3);
    assert_string_equal(tg__head_find(&head, "x-one"), "a b c");
    assert_string_equal(tg__head_find(&head, "x-two"), "");
    assert_string_equal(tg__head_find(&head, "x-ctl"), "a b");
    assert_null(tg__head_find(&head, "x-early"));
    assert_null(tg__head_find(&head, "x-trailer"));
    tg__head_fini(&head);
}

static void heads_are_bounded(void **state)
{
    struct tg__head head = {.count = 0};
    char line[1024];
    enum tg_err err = TG_ERR_OK;
    size_t lines = 0;

    (void)state;
    memset(line, 'x', sizeof line);
    line[1] = ':';
    while (err == TG_ERR_OK) {
        err = tg__head_add(&head, line, sizeof line);
        lines++;
    }
    assert_int_equal(err, TG_ERR_LIMIT);
    assert_int_equal(lines, TG__HEAD_BYTES_MAX / sizeof line + 1);
    tg__head_fini(&head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_then_data_then_done),
        cmocka_unit_test(failures_come_from_the_loop),
        cmocka_unit_test(cancel_works_in_every_callback_and_before),
        cmocka_unit_test(a_client_can_be_destroyed_with_fetches_under_way),
        cmocka_unit_test(a_paused_stream_holds_little_back_and_goes_on),
        cmocka_unit_test(a_deadline_ends_what_the_server_does_not),
        cmocka_unit_test(memory_that_is_out_ends_one_fetch_only),
        cmocka_unit_test(a_socket_that_cannot_be_watched_ends_its_fetch_at_once),
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(the_host_of_a_url_is_all_that_is_told),
        cmocka_unit_test(hosts_are_compared_with_a_list),
        cmocka_unit_test(heads_are_made_of_lines),
        cmocka_unit_test(heads_are_bounded),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
