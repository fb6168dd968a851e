/* admin_test.c - the admin listener over real sockets: every test starts one in a loop of its own and
 * closes the loop at the end, so a handle that is left open fails the test.
 *
 * Server and client share one thread: the client's socket does not block, and pump() turns the loop
 * until what the test waits for is there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/memory.h"
#include "net/listener.h"
#include "ops/admin.h"
#include "support/log_capture.h"

#define HOST "Host: localhost\r\n"
#define WAIT_MS 30000

static uv_loop_t loop;
static struct tg_net *net;
static struct tg_timers *timers;
static struct tg_admin *admin;
static char bound[TG_ADDRESS_SIZE];
static int client;
static char received[8 << 20];
static size_t received_len;
static bool server_closed;

/* What the handlers saw. */
static int calls;
static uint64_t late_tickets[4];
static size_t late_count;
static char seen[256];
static uintptr_t stack_low;
static uintptr_t stack_high;

static void reply_text(struct tg_admin_request *request, const char *text)
{
    struct tg_buffer body = TG_BUFFER_INIT;

    assert_int_equal(tg_buffer_append_str(&body, text), TG_ERR_OK);
    tg_admin_reply(request, 200, "text/plain", &body);
    assert_null(tg_buffer_head(&body));
}

static void handle_hello(void *ctx, struct tg_admin_request *request)
{
    const char *name = tg_admin_query(request, "name");
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    stack_low = here < stack_low ? here : stack_low;
    stack_high = here > stack_high ? here : stack_high;
    assert_ptr_equal(ctx, &loop);
    calls++;
    reply_text(request, name == NULL ? "hello" : name);
}

static void handle_echo(void *ctx, struct tg_admin_request *request)
{
    const struct tg_buffer *sent = tg_admin_body(request);
    struct tg_buffer body = TG_BUFFER_INIT;

    (void)ctx;
    calls++;
    snprintf(seen, sizeof seen, "%s", tg_admin_param(request));
    if (sent->len > 0)
        assert_int_equal(tg_buffer_append(&body, tg_buffer_head(sent), sent->len), TG_ERR_OK);
    tg_admin_reply(request, 200, NULL, &body);
}

static void handle_late(void *ctx, struct tg_admin_request *request)
{
    (void)ctx;
    calls++;
    late_tickets[late_count++] = tg_admin_ticket(request);
}

static void handle_large(void *ctx, struct tg_admin_request *request)
{
    struct tg_buffer body = TG_BUFFER_INIT;
    uint8_t *room = tg_buffer_reserve(&body, 6 << 20);

    (void)ctx;
    assert_non_null(room);
    memset(room, 'x', 6 << 20);
    tg_buffer_commit(&body, 6 << 20);
    tg_admin_reply(request, 200, "text/plain", &body);
}

static void handle_stop(void *ctx, struct tg_admin_request *request)
{
    (void)ctx;
    calls++;
    tg_admin_destroy(admin);
    admin = NULL;
    tg_admin_reply_error(request, 503, "late", "this goes nowhere");
}

static void handle_refuse(void *ctx, struct tg_admin_request *request)
{
    (void)ctx;
    tg_admin_reply_error(request, 409, "busy", "a reload is \"under way\"");
}

static const struct tg_admin_route routes[] = {
    {"GET", "/hello", handle_hello}, {"POST", "/echo/:name", handle_echo},
    {"GET", "/late", handle_late},   {"GET", "/large", handle_large},
    {"POST", "/stop", handle_stop},  {"POST", "/refuse", handle_refuse},
};

static void start(const char *token, uint64_t read_ms, uint64_t reply_ms)
{
    struct tg_error error;
    struct tg_admin_options options = {
        .token = token, .address = bound, .read_timeout_ms = read_ms, .reply_timeout_ms = reply_ms};

    if (tg_listener_bind("127.0.0.1:0", false, &options.fd, bound, &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    assert_int_equal(tg_admin_create(&admin, net, timers, &options, routes,
                                     sizeof routes / sizeof routes[0], &loop),
                     TG_ERR_OK);
}

static int connect_client(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(strrchr(bound, ':') + 1));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    received_len = 0;
    received[0] = '\0';
    server_closed = false;
    return fd;
}

static int set_up(void **state)
{
    (void)state;
    log_capture_start();
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(tg_net_create(&net, &loop), TG_ERR_OK);
    assert_int_equal(tg_timers_create(&timers, &loop), TG_ERR_OK);
    admin = NULL;
    client = -1;
    calls = 0;
    late_count = 0;
    stack_low = UINTPTR_MAX;
    stack_high = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (client != -1)
        close(client);
    tg_admin_destroy(admin);
    tg_timers_destroy(timers);
    tg_net_destroy(net);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    log_capture_stop();
    return 0;
}

/* One turn: the server works, the client takes what has come. */
static void turn(void)
{
    struct pollfd wait = {.fd = client, .events = POLLIN};
    ssize_t n = 0;

    uv_run(&loop, UV_RUN_NOWAIT);
    poll(&wait, 1, 1);
    if (client != -1 && !server_closed)
        n = recv(client, received + received_len, sizeof received - 1 - received_len, 0);
    if (n > 0)
        received_len += (size_t)n;
    else if (client != -1 && (n == 0 || errno != EAGAIN))
        server_closed = true;
    received[received_len] = '\0';
}

static size_t count_of(const char *text)
{
    size_t count = 0;

    for (const char *at = strstr(received, text); at != NULL; at = strstr(at + 1, text))
        count++;
    return count;
}

/* Looks on from what it found last: a long pipeline is a mebibyte of answers. */
static void wait_for(const char *text, size_t count)
{
    uint64_t give_up = tg_clock_monotonic_ms() + WAIT_MS;
    const char *rest = received;
    size_t found = 0;

    for (;;) {
        for (const char *at = strstr(rest, text); at != NULL; at = strstr(rest, text)) {
            found++;
            rest = at + 1;
        }
        if (found >= count)
            return;
        if (server_closed || tg_clock_monotonic_ms() > give_up)
            fail_msg("no %zu times %s in %zu bytes: %.500s", count, text, received_len, received);
        turn();
    }
}

static void wait_closed(void)
{
    uint64_t give_up = tg_clock_monotonic_ms() + WAIT_MS;

    while (!server_closed) {
        turn();
        assert_true(tg_clock_monotonic_ms() < give_up);
    }
}

static void wait_calls(int count)
{
    uint64_t give_up = tg_clock_monotonic_ms() + WAIT_MS;

    while (calls < count) {
        turn();
        assert_true(tg_clock_monotonic_ms() < give_up);
    }
}

static void send_all(const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(client, data, len, MSG_NOSIGNAL);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            turn();
        } else {
            fail_msg("send: %s", strerror(errno));
        }
    }
}

static void send_text(const char *text)
{
    send_all(text, strlen(text));
}

static void answers_and_keeps_the_connection(void **state)
{
    (void)state;
    start(NULL, 0, 1000);
    client = connect_client();
    send_text("GET /hello HTTP/1.1\r\n" HOST "\r\n");
    wait_for("hello", 1);
    assert_string_equal(received, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                  "Content-Length: 5\r\nCache-Control: no-store\r\n"
                                  "X-Content-Type-Options: nosniff\r\n\r\nhello");
    send_text("GET /hello?name=J%C3%BCrgen+X HTTP/1.1\r\n" HOST "\r\n");
    wait_for("\r\n\r\nJürgen X", 1);
    send_text("GET /hello HTTP/1.1\r\nConnection: close\r\n" HOST "\r\n");
    wait_closed();
    assert_int_equal(count_of("Connection: close\r\n"), 1);
    assert_int_equal(calls, 3);
}

static void head_has_no_body(void **state)
{
    (void)state;
    start(NULL, 0, 1000);
    client = connect_client();
    send_text("HEAD /hello HTTP/1.1\r\n" HOST "\r\nGET /hello?name=next HTTP/1.1\r\n" HOST "\r\n");
    wait_for("next", 1);
    assert_int_equal(count_of("Content-Length: 5\r\n"), 1);
    assert_int_equal(count_of("hello"), 0);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    start(NULL, 0, 1000);
    client = connect_client();
    send_text("GET /late HTTP/1.1\r\n" HOST "\r\n"
              "GET /hello?name=second HTTP/1.1\r\n" HOST "\r\n"
              "GET /hello?name=third HTTP/1.1\r\n" HOST "\r\n");
    wait_calls(1);
    for (int i = 0; i < 5; i++)
        turn();
    assert_int_equal(calls, 1);
    assert_int_equal(received_len, 0);
    reply_text(tg_admin_find(admin, late_tickets[0]), "first");
    wait_for("third", 1);
    assert_true(strstr(received, "first") < strstr(received, "second"));
    assert_true(strstr(received, "second") < strstr(received, "third"));
    assert_null(tg_admin_find(admin, late_tickets[0]));
}

/* More than the server is willing to hold, so reading has to pause and go on. */
static void a_long_pipeline_costs_no_stack_and_is_answered_whole(void **state)
{
    static const char request[] = "GET /hello HTTP/1.1\r\n" HOST "\r\n";
    enum { REQUESTS = 5000 };

    (void)state;
    start(NULL, 0, 5000);
    client = connect_client();
    send_text("GET /late HTTP/1.1\r\n" HOST "\r\n");
    wait_calls(1);
    for (int i = 0; i < 3000; i++) /* well over the 64 KiB that wait behind a request */
        send_text(request);
    reply_text(tg_admin_find(admin, late_tickets[0]), "first");
    for (int i = 3000; i < REQUESTS; i++)
        send_text(request);
    wait_for("\r\n\r\nhello", REQUESTS);
    assert_int_equal(calls, REQUESTS + 1);
    /* Not one frame a request. A turn of the loop that has events has their array on its stack, others not. */
    assert_true(stack_high - stack_low < (size_t)REQUESTS * 8);
}

static void reading_pauses_behind_a_request_that_waits(void **state)
{
    static const char junk[4096];
    size_t sent = 0;
    int small = 16384;

    (void)state;
    start(NULL, 0, 60000);
    client = connect_client();
    assert_int_equal(setsockopt(client, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    send_text("GET /late HTTP/1.1\r\n" HOST "\r\n");
    wait_calls(1);
    for (int stalled = 0; stalled < 50 && sent < 32 << 20; stalled++) {
        ssize_t n = send(client, junk, sizeof junk, MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
            stalled = 0;
        }
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_true(sent > 65536);
    assert_true(sent < 16 << 20); /* the rest is what the kernel holds */
}

static void unknown_paths_and_methods_are_told_what_there_is(void **state)
{
    (void)state;
    start(NULL, 0, 1000);
    client = connect_client();
    send_text("GET /nowhere HTTP/1.1\r\n" HOST "\r\n");
    wait_for("}", 2);
    assert_int_equal(count_of("HTTP/1.1 404 Not Found\r\n"), 1);
    assert_int_equal(count_of("\"code\":\"no_such_path\""), 1);
    assert_int_equal(count_of("\"routes\":[\"GET /hello\",\"POST /echo/:name\",\"GET /late\","), 1);
    send_text("POST /hello HTTP/1.1\r\nContent-Length: 0\r\n" HOST "\r\n");
    wait_for("method_not_allowed", 1);
    assert_int_equal(count_of("HTTP/1.1 405 Method Not Allowed\r\n"), 1);
    assert_int_equal(count_of("Allow: GET, HEAD\r\n"), 1);
    send_text("GET /hello?name=%zz HTTP/1.1\r\n" HOST "\r\n");
    wait_for("bad_encoding", 1);
    send_text("POST /refuse HTTP/1.1\r\nContent-Length: 0\r\n" HOST "\r\n");
    wait_for("under way", 1);
    assert_int_equal(count_of("HTTP/1.1 409 "), 1);
    assert_int_equal(count_of("{\"error\":{\"code\":\"busy\",\"message\":\"a reload is "
                              "\\\"under way\\\"\"}}"),
                     1);
    assert_int_equal(calls, 0);
}

static void who_may_not_ask_is_refused(void **state)
{
    (void)state;
    start("s3cret", 0, 1000);
    client = connect_client();
    send_text("GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    wait_for("host_not_allowed", 1);
    assert_int_equal(count_of("HTTP/1.1 403 "), 1);
    send_text("GET /hello HTTP/1.1\r\n" HOST "\r\n");
    wait_for("token_missing", 1);
    assert_int_equal(count_of("HTTP/1.1 401 "), 1);
    assert_int_equal(count_of("WWW-Authenticate: Bearer\r\n"), 1);
    send_text("GET /hello HTTP/1.1\r\nAuthorization: Bearer wrong\r\n" HOST "\r\n");
    wait_for("token_wrong", 1);
    send_text("GET /hello HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n"
              "Origin: http://evil.example\r\n" HOST "\r\n");
    wait_for("origin_not_allowed", 1);
    assert_int_equal(calls, 0);
    send_text("GET /hello HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n" HOST "\r\n");
    wait_for("\r\n\r\nhello", 1);
    assert_int_equal(log_capture_matches("admin.refused"), 1); /* at most one a second */
    assert_false(log_capture_has("s3cret"));
}

static void bodies_may_come_byte_by_byte(void **state)
{
    static const char request[] =
        "POST /echo/a%2Fb HTTP/1.1\r\n" HOST "Content-Length: 12\r\n\r\n{\"hello\": 1}";

    (void)state;
    start(NULL, 0, 1000);
    client = connect_client();
    for (size_t i = 0; i + 1 < sizeof request; i++) {
        assert_int_equal(calls, 0);
        send_all(request + i, 1);
        turn();
    }
    wait_for("{\"hello\": 1}", 1);
    assert_string_equal(seen, "a/b");
    assert_int_equal(count_of("Content-Type: application/json\r\n"), 1);
    send_text("POST /echo/x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
              "4\r\nchun\r\n3\r\nked\r\n0\r\n\r\n");
    wait_for("\r\n\r\nchunked", 1);
}

static void a_half_read_body_reaches_no_handler(void **state)
{
    (void)state;
    start(NULL, 0, 1000);
    client = connect_client();
    send_text("POST /echo/a HTTP/1.1\r\n" HOST "Content-Length: 12\r\n\r\n{\"hel");
    turn();
    shutdown(client, SHUT_WR);
    wait_closed();
    assert_int_equal(received_len, 0);
    assert_int_equal(calls, 0);
}

static void too_large_and_malformed_requests_are_refused(void **state)
{
    (void)state;
    start(NULL, 0, 1000);
    client = connect_client();
    send_text("POST /echo/a HTTP/1.1\r\n" HOST "Content-Length: 70000\r\n\r\n");
    wait_for("HTTP/1.1 413 ", 1);
    wait_for("bad_request", 1);
    close(client);
    client = connect_client();
    send_text("GARBAGE\r\n\r\n");
    wait_for("HTTP/1.1 400 ", 1);
    wait_closed();
    close(client);
    client = connect_client();
    send_text("GET /hello HTTP/1.1\r\n" HOST "X: ");
    for (int i = 0; i < 400 && !server_closed; i++) { /* 20 kB of header */
        send(client, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 50, MSG_NOSIGNAL);
        turn();
    }
    wait_for("HTTP/1.1 431 ", 1);
    assert_int_equal(calls, 0);
}

static void a_slow_request_times_out(void **state)
{
    (void)state;
    start(NULL, 50, 1000);
    client = connect_client();
    send_text("GET /hello HTTP/1.1\r\nHost: loc");
    wait_for("HTTP/1.1 408 ", 1);
    wait_for("\"code\":\"timeout\"", 1);
    assert_int_equal(count_of("Connection: close\r\n"), 1);
    close(client);
    client = connect_client(); /* one that says nothing at all hears nothing */
    wait_closed();
    assert_int_equal(received_len, 0);
    assert_int_equal(calls, 0);
}

static void a_late_reply_goes_to_its_request(void **state)
{
    (void)state;
    start(NULL, 0, 5000);
    client = connect_client();
    send_text("GET /late HTTP/1.1\r\n" HOST "\r\n");
    wait_calls(1);
    assert_null(tg_admin_find(admin, late_tickets[0] + 1));
    reply_text(tg_admin_find(admin, late_tickets[0]), "at last");
    wait_for("at last", 1);
    send_text("GET /late HTTP/1.1\r\n" HOST "\r\n");
    wait_calls(2);
    assert_true(late_tickets[1] != late_tickets[0]);
    assert_null(tg_admin_find(admin, late_tickets[0]));
    assert_non_null(tg_admin_find(admin, late_tickets[1]));
}

static void a_client_that_has_gone_is_not_found(void **state)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    uint64_t give_up = tg_clock_monotonic_ms() + WAIT_MS;

    (void)state;
    start(NULL, 0, 60000);
    client = connect_client();
    send_text("GET /late HTTP/1.1\r\n" HOST "\r\n");
    wait_calls(1);
    assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    close(client);
    client = -1;
    while (tg_admin_find(admin, late_tickets[0]) != NULL) {
        turn();
        assert_true(tg_clock_monotonic_ms() < give_up);
    }
}

static void a_half_closed_client_still_gets_its_answer(void **state)
{
    (void)state;
    start(NULL, 0, 5000);
    client = connect_client();
    send_text("GET /late HTTP/1.1\r\n" HOST "\r\nGET /hello HTTP/1.1\r\n" HOST "\r\n");
    shutdown(client, SHUT_WR);
    wait_calls(1);
    for (int i = 0; i < 5; i++)
        turn();
    reply_text(tg_admin_find(admin, late_tickets[0]), "at last");
    wait_closed();
    assert_int_equal(count_of("at last"), 1);
    assert_int_equal(count_of("\r\n\r\nhello"), 1);
}

static void a_handler_that_never_answers_times_out(void **state)
{
    (void)state;
    start(NULL, 0, 50);
    client = connect_client();
    send_text("GET /late HTTP/1.1\r\n" HOST "\r\n");
    wait_for("HTTP/1.1 504 ", 1);
    assert_null(tg_admin_find(admin, late_tickets[0]));
    wait_closed();
}

static void a_large_answer_waits_for_a_slow_reader(void **state)
{
    (void)state;
    start(NULL, 0, 1000);
    client = connect_client();
    send_text("GET /large HTTP/1.1\r\n" HOST "\r\nGET /hello HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < 20; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(calls, 0); /* the second request waits for the first answer to leave */
    wait_for("\r\n\r\nhello", 1);
    assert_int_equal(count_of("Content-Length: 6291456\r\n"), 1);
    assert_true(received_len > 6291456);
}

static void an_upgrade_request_is_answered_as_plain_http(void **state)
{
    (void)state;
    start(NULL, 0, 1000);
    client = connect_client();
    send_text("GET /hello HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    wait_for("\r\n\r\nhello", 1);
    wait_closed();
}

static void destroy_drops_what_is_open(void **state)
{
    (void)state;
    start(NULL, 0, 60000);
    client = connect_client();
    send_text("GET /late HTTP/1.1\r\n" HOST "\r\n");
    wait_calls(1);
    tg_admin_destroy(admin);
    admin = NULL;
    wait_closed();
    assert_int_equal(received_len, 0);
}

static void a_handler_may_destroy_the_admin(void **state)
{
    (void)state;
    start(NULL, 0, 1000);
    client = connect_client();
    send_text("POST /stop HTTP/1.1\r\nContent-Length: 0\r\n" HOST "\r\n"
              "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    wait_closed();
    assert_int_equal(received_len, 0);
    assert_int_equal(calls, 1);
}

/* Whatever allocation fails: a request is answered or its connection closed, and nothing leaks. */
static void memory_may_run_out_anywhere(void **state)
{
    static const char request[] =
        "POST /refuse?a=b HTTP/1.1\r\nContent-Length: 1\r\n" HOST "Connection: close\r\n\r\nx";

    (void)state;
    start(NULL, 0, 1000);
    for (long n = 0; n < 40; n++) {
        client = connect_client();
        send_text(request);
        tg_memory_fail_after(n, 0);
        for (int i = 0; i < 6; i++)
            uv_run(&loop, UV_RUN_NOWAIT);
        tg_memory_fail_after(-1, 0);
        wait_closed();
        close(client);
        client = -1;
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(answers_and_keeps_the_connection),
        TEST(head_has_no_body),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(a_long_pipeline_costs_no_stack_and_is_answered_whole),
        TEST(reading_pauses_behind_a_request_that_waits),
        TEST(unknown_paths_and_methods_are_told_what_there_is),
        TEST(who_may_not_ask_is_refused),
        TEST(bodies_may_come_byte_by_byte),
        TEST(a_half_read_body_reaches_no_handler),
        TEST(too_large_and_malformed_requests_are_refused),
        TEST(a_slow_request_times_out),
        TEST(a_late_reply_goes_to_its_request),
        TEST(a_client_that_has_gone_is_not_found),
        TEST(a_half_closed_client_still_gets_its_answer),
        TEST(a_handler_that_never_answers_times_out),
        TEST(a_large_answer_waits_for_a_slow_reader),
        TEST(an_upgrade_request_is_answered_as_plain_http),
        TEST(destroy_drops_what_is_open),
        TEST(a_handler_may_destroy_the_admin),
        TEST(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
