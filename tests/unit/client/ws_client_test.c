/* ws_client_test.c - the rules of the configuration for outgoing WebSockets, and that failures come from the
 * loop, once, and not after a close.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "client/ws_client.h"
#include "net/stream.h"
#include "net/timer.h"
#include "support/outgoing.h"

struct fixture {
    struct outgoing out;
    struct tg_ws_client *client;
    int opens, dones;
    enum tg_fetch_outcome outcome;
    int status;
    char text[512];
};

static void on_open(void *ctx, const char *subprotocol)
{
    assert_string_equal(subprotocol, "");
    ((struct fixture *)ctx)->opens++;
}

static void on_message(void *ctx, bool text, const void *data, size_t len)
{
    (void)ctx;
    (void)text;
    (void)data;
    (void)len;
}

static void on_written(void *ctx)
{
    (void)ctx;
}

static void on_done(void *ctx, const struct tg_ws_done *done)
{
    struct fixture *fixture = ctx;

    fixture->dones++;
    fixture->outcome = done->outcome;
    fixture->status = done->status;
    (void)snprintf(fixture->text, sizeof fixture->text, "%s", done->text);
}

static const struct tg_ws_link_callbacks callbacks = {on_open, on_message, on_written, on_done};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    if (fixture == NULL)
        return -1;
    outgoing_open(&fixture->out);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    tg_ws_client_destroy(fixture->client);
    outgoing_close(&fixture->out);
    free(fixture);
    return 0;
}

static void use(struct fixture *fixture, const struct tg_http_client_options *options)
{
    tg_ws_client_destroy(fixture->client);
    assert_int_equal(
        tg_ws_client_create(&fixture->client, fixture->out.net, fixture->out.timers, options),
        TG_ERR_OK);
}

/* %u in the URL is the upstream's port. */
static struct tg_ws_link *start(struct fixture *fixture, const char *format)
{
    char url[256];
    struct tg_ws_link *link = NULL;
    struct tg_fetch_header headers[] = {{"X-Own", "1"}, {"Authorization", "Bearer s3cret"}};
    struct tg_ws_request request = {.url = url, .headers = headers, .header_count = 2};
    const char *at = strstr(format, "%u");

    if (at == NULL)
        (void)snprintf(url, sizeof url, "%s", format);
    else
        (void)snprintf(url, sizeof url, "%.*s%u%s", (int)(at - format), format,
                       (unsigned)fixture->out.up.port, at + 2);
    assert_int_equal(tg_ws_start(fixture->client, &request, &callbacks, fixture, &link), TG_ERR_OK);
    assert_int_equal(fixture->dones, 0);
    return link;
}

static void refused(struct fixture *fixture, const char *url, enum tg_fetch_outcome outcome,
                    const char *text)
{
    (void)start(fixture, url);
    OUTGOING_UNTIL(&fixture->out, fixture->dones > 0);
    assert_int_equal(fixture->dones, 1);
    assert_int_equal(fixture->outcome, outcome);
    if (strstr(fixture->text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, fixture->text);
    assert_null(strstr(fixture->text, "hunter2"));
    fixture->dones = 0;
}

static void what_may_not_be_reached_is_told_by_the_loop(void **state)
{
    static const char *const hosts[] = {"api.example", "*.svc.example", "127.0.0.1:1"};
    struct fixture *fixture = *state;
    struct tg_http_client_options limited = {.allowed_hosts = hosts, .allowed_host_count = 3};
    struct tg_http_client_options public_only = {.public_only = true};

    use(fixture, &limited);
    refused(fixture, "ws://127.0.0.1:%u/?key=hunter2", TG_FETCH_FORBIDDEN, "allowed_hosts");
    refused(fixture, "ws://svc.example/", TG_FETCH_FORBIDDEN, "allowed_hosts");
    refused(fixture, "ws://API.example.evil/", TG_FETCH_FORBIDDEN, "allowed_hosts");
    refused(fixture, "ws://127.0.0.1:1/", TG_FETCH_REFUSED, "connection refused");
    refused(fixture, "ws://me:hunter2@api.example/", TG_FETCH_INVALID, "password");
    refused(fixture, "http://api.example/", TG_FETCH_INVALID, "ws://");
    use(fixture, &public_only);
    refused(fixture, "ws://localhost:%u/hunter2", TG_FETCH_FORBIDDEN, "private_addresses");
    assert_int_equal(fixture->out.up.accepted, 0);
}

static void a_ca_file_that_is_not_there_ends_wss_only(void **state)
{
    struct fixture *fixture = *state;
    struct tg_http_client_options options = {.ca_file = "/nonexistent/ca.pem"};

    use(fixture, &options);
    refused(fixture, "wss://127.0.0.1:%u/", TG_FETCH_TLS, "/nonexistent/ca.pem");
    struct tg_ws_link *link = start(fixture, "ws://127.0.0.1:%u/");
    OUTGOING_UNTIL(&fixture->out, fixture->opens > 0);
    tg_ws_close(link, 1000, "");
}

static void headers_are_sent_and_ours_beside_them(void **state)
{
    struct fixture *fixture = *state;
    struct tg_http_client_options options = {.max_connections = 1};

    use(fixture, &options);
    (void)start(fixture, "ws://127.0.0.1:%u/path?query=1");
    OUTGOING_UNTIL(&fixture->out, fixture->opens > 0);
    const char *head = fixture->out.up.head;
    assert_ptr_equal(strstr(head, "GET /path?query=1 HTTP/1.1\r\nHost: 127.0.0.1:"), head);
    assert_non_null(strstr(head, "\r\nX-Own: 1\r\nAuthorization: Bearer s3cret\r\n"));
    assert_non_null(strstr(head, "\r\nUser-Agent: tidegate/"));
}

static void not_more_than_configured_at_a_time(void **state)
{
    struct fixture *fixture = *state;
    struct tg_http_client_options total = {.max_connections = 1};

    use(fixture, &total);
    struct tg_ws_link *link = start(fixture, "ws://127.0.0.1:%u/");
    refused(fixture, "ws://localhost:%u/", TG_FETCH_CONNECT, "http.max_connections");
    OUTGOING_UNTIL(&fixture->out, fixture->opens > 0);
    refused(fixture, "ws://127.0.0.1:%u/", TG_FETCH_CONNECT, "http.max_connections");
    tg_ws_close(link, 1000, ""); /* still counted: it is not gone */
    refused(fixture, "ws://127.0.0.1:%u/", TG_FETCH_CONNECT, "http.max_connections");
}

static void nor_to_one_host(void **state)
{
    struct fixture *fixture = *state;
    struct tg_http_client_options options = {.max_connections_per_host = 1};

    use(fixture, &options);
    (void)start(fixture, "ws://127.0.0.1:%u/");
    refused(fixture, "ws://127.0.0.1:%u/", TG_FETCH_CONNECT, "http.max_connections_per_host");
    refused(fixture, "ws://127.0.0.1:1/", TG_FETCH_REFUSED, "connection refused");
}

static void after_a_close_nothing_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct tg_http_client_options none = {.max_connections = 0};
    bool waits;

    use(fixture, &none);
    tg_ws_close(start(fixture, "http://no.websocket/"), 1000, "");
    tg_ws_close(start(fixture, "ws://127.0.0.1:1/"), 1000, "");
    struct tg_ws_link *link = start(fixture, "ws://127.0.0.1:%u/");
    assert_int_equal(tg_ws_send(link, true, "x", 1, &waits), TG_ERR_CLOSED);
    OUTGOING_UNTIL(&fixture->out, fixture->opens > 0);
    assert_int_equal(tg_ws_send(link, true, "last words", 10, &waits), TG_ERR_OK);
    tg_ws_close(link, 1000, "");
    OUTGOING_UNTIL(&fixture->out, fixture->out.up.frames_len >= 16 + 8);
    assert_int_equal(fixture->out.up.frames[0], 0x81);
    assert_int_equal(fixture->out.up.frames[16], 0x88);
    upstream_send(&fixture->out.up, "\x81\x01x\x88\x02\x03\xe8", 7);
    OUTGOING_UNTIL(&fixture->out, fixture->out.up.gone);
    assert_int_equal(fixture->dones, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_may_not_be_reached_is_told_by_the_loop),
        TEST(a_ca_file_that_is_not_there_ends_wss_only),
        TEST(headers_are_sent_and_ours_beside_them),
        TEST(not_more_than_configured_at_a_time),
        TEST(nor_to_one_host),
        TEST(after_a_close_nothing_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
