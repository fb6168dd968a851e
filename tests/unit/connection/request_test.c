/* request_test.c - what is kept of the upgrade request when its parser is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "connection/request.h"
#include "support/header_of.h"

static struct tg_http *parse(const char *text)
{
    struct tg_http *http;
    size_t consumed;
    assert_int_equal(tg_http_create(&http, TG_HTTP_REQUEST, 4096, 0), TG_ERR_OK);
    assert_int_equal(tg_http_feed(http, text, strlen(text), &consumed), TG_HTTP_DONE);
    return http;
}

static struct tg_request *keep(const char *text)
{
    struct tg_http *http = parse(text);
    struct tg_request *request = tg_request_create(http, &(struct tg_request_about){0});
    tg_http_destroy(http); /* nothing may point into it */
    assert_non_null(request);
    return request;
}

static void everything_outlives_the_parser(void **state)
{
    (void)state;
    struct tg_request *request = keep("GET /a%20b?token=x&y=1 HTTP/1.1\r\nHost: h\r\n"
                                      "Origin:  https://app.example  \r\nX-Empty:\r\n"
                                      "Cookie: a=1\r\nCookie: b=2\r\n\r\n");
    static const struct tg_request_header want[] = {
        {.number = TG_HEADER_HOST, .name = "host", .value = "h"},
        {.number = TG_HEADER_ORIGIN, .name = "origin", .value = "https://app.example"},
        {.number = TG_HEADER_OTHER, .name = "x-empty", .value = ""},
        {.number = TG_HEADER_COOKIE, .name = "cookie", .value = "a=1"},
        {.number = TG_HEADER_COOKIE, .name = "cookie", .value = "b=2"},
    };
    struct tg_request_header header;
    size_t cursor = 0;
    assert_string_equal(tg_request_method(request), "GET");
    assert_string_equal(tg_request_path(request), "/a%20b");
    assert_string_equal(tg_request_query(request), "token=x&y=1");
    assert_int_equal(tg_request_header_count(request), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_true(tg_request_next_header(request, &cursor, &header));
        assert_string_equal(header.name, want[i].name);
        assert_string_equal(header.value, want[i].value);
        assert_int_equal(header.number, want[i].number);
        assert_int_equal(header.value_len, strlen(want[i].value));
    }
    assert_false(tg_request_next_header(request, &cursor, &header));
    assert_null(tg_request_tls_info(request));
    assert_null(tg_request_client_certificate(request));
    tg_free(request);
}

/* A name that is kept as a number, one that only begins like it, and one that is text. */
static void names_come_back_as_they_were_sent(void **state)
{
    (void)state;
    struct tg_request *request =
        keep("GET / HTTP/1.1\r\nHost: h\r\nVia: 1.1 a\r\nVia-X: b\r\nHos: c\r\n"
             "X-API-Key: k\r\nForwarded-X: d\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"
             "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n");
    static const char *const upgrades[] = {"websocket", "h2c"};
    struct tg_request_header header;
    size_t seen = 0;
    for (size_t cursor = 0; tg_request_next_header(request, &cursor, &header);) {
        if (strcmp(header.name, "upgrade") != 0)
            continue;
        if (seen < 2)
            assert_string_equal(header.value, upgrades[seen]);
        seen++;
    }
    assert_int_equal(seen, 2);
    assert_int_equal(tg_request_header_count(request), 10);
    assert_string_equal(header_of(request, "connection"), "keep-alive, Upgrade");
    assert_string_equal(header_of(request, "sec-websocket-version"), "13");
    assert_string_equal(header_of(request, "host"), "h");
    assert_string_equal(header_of(request, "via"), "1.1 a");
    assert_string_equal(header_of(request, "via-x"), "b");
    assert_string_equal(header_of(request, "hos"), "c");
    assert_string_equal(header_of(request, "x-api-key"), "k");
    assert_string_equal(header_of(request, "forwarded-x"), "d");
    tg_free(request);
}

/* Bytes where they are the same as the text; a text where they are not. */
static void keys_come_back_as_they_were_sent(void **state)
{
    static const char *const keys[] = {
        "dGhlIHNhbXBsZSBub25jZQ==",
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "//////////////////////w==",
        "/////////////////////w==",
        "+/+/+/+/+/+/+/+/+/+/+A==",
        "dGhlIHNhbXBsZSBub25jZR==",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25j-Q==",
        "dGhlIHNhbXBsZSBub25jZQ==x",
        "dGhlIHNhbXBsZSBub25jZQQQ",
        "",
    };
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char head[200];
        (void)snprintf(head, sizeof head,
                       "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: %s\r\nVia: a\r\n\r\n",
                       keys[i]);
        struct tg_request *request = keep(head);
        struct tg_request_header header;
        size_t cursor = 0;
        assert_true(tg_request_next_header(request, &cursor, &header));
        assert_true(tg_request_next_header(request, &cursor, &header));
        assert_string_equal(header.name, "sec-websocket-key");
        assert_string_equal(header.value, keys[i]);
        assert_int_equal(header.value_len, strlen(keys[i]));
        assert_true(tg_request_next_header(request, &cursor, &header));
        assert_string_equal(header.name, "via");
        assert_false(tg_request_next_header(request, &cursor, &header));
        tg_free(request);
    }
}

static void what_every_client_sends_takes_few_bytes(void **state)
{
    (void)state;
    struct tg_request *request = keep("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                                      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_in_range(malloc_usable_size(request), 1, 40); /* a chunk of 48 */
    tg_free(request);
}

/* More than is packed in one go. */
static void a_large_head(void **state)
{
    char head[4000];
    char expected[16];
    size_t len = (size_t)snprintf(head, sizeof head, "GET /p?%0*d HTTP/1.1\r\nHost: h\r\n", 900, 7);
    (void)state;
    for (int i = 0; i < 90; i++)
        len += (size_t)snprintf(head + len, sizeof head - len, "%s: %d\r\n",
                                i % 2 == 0 ? "Accept" : "X-Other", i);
    (void)snprintf(head + len, sizeof head - len, "\r\n");
    struct tg_request *request = keep(head);
    struct tg_request_header header;
    size_t cursor = 0;
    assert_int_equal(tg_request_header_count(request), 91);
    assert_int_equal(strlen(tg_request_query(request)), 900);
    assert_true(tg_request_next_header(request, &cursor, &header));
    for (int i = 0; i < 90; i++) {
        assert_true(tg_request_next_header(request, &cursor, &header));
        (void)snprintf(expected, sizeof expected, "%d", i);
        assert_string_equal(header.name, i % 2 == 0 ? "accept" : "x-other");
        assert_string_equal(header.value, expected);
    }
    assert_false(tg_request_next_header(request, &cursor, &header));
    tg_free(request);
}

/* On both sides of what is packed in one go. */
static void heads_of_sizes_side_by_side(void **state)
{
    char head[1200];
    struct tg_request_header header;
    (void)state;
    for (int size = 990; size < 1040; size++) {
        (void)snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\nX: %0*d\r\nVia: v\r\n\r\n",
                       size, 7);
        struct tg_request *request = keep(head);
        size_t cursor = 0;
        assert_true(tg_request_next_header(request, &cursor, &header));
        assert_string_equal(header.value, "h");
        assert_true(tg_request_next_header(request, &cursor, &header));
        assert_int_equal(header.value_len, size);
        assert_int_equal(header.value[size - 1], '7');
        assert_true(tg_request_next_header(request, &cursor, &header));
        assert_string_equal(header.value, "v");
        assert_false(tg_request_next_header(request, &cursor, &header));
        tg_free(request);
    }
}

static void what_is_said_of_other_clients_is_kept_from_a_proxy_only(void **state)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\n"
                               "Origin: o\r\nForwarded: for=192.0.2.1\r\n\r\n";
    (void)state;
    struct tg_http *http = parse(head);
    struct tg_request_about about = {.via_proxy = true, .tls_info = "{}"};
    struct tg_request *request = tg_request_create(http, &about);
    assert_int_equal(tg_request_header_count(request), 4);
    assert_string_equal(header_of(request, "forwarded"), "for=192.0.2.1");
    assert_string_equal(tg_request_tls_info(request), "{}");
    assert_null(tg_request_client_certificate(request));
    assert_true(tg_request_is_via_proxy(request));
    tg_free(request);
    about.via_proxy = false;
    request = tg_request_create(http, &about);
    assert_int_equal(tg_request_header_count(request), 2);
    assert_null(header_of(request, "forwarded"));
    assert_null(header_of(request, "x-forwarded-for"));
    assert_string_equal(header_of(request, "origin"), "o");
    assert_false(tg_request_is_via_proxy(request));
    tg_free(request);
    tg_http_destroy(http);
}

static void a_method_of_another_kind_and_half_of_tls(void **state)
{
    (void)state;
    struct tg_http *http = parse("POST /p HTTP/1.1\r\nHost: h\r\n\r\n");
    struct tg_request_about about = {.client_certificate = "{\"a\":1}"};
    struct tg_request *request = tg_request_create(http, &about);
    assert_string_equal(tg_request_method(request), "POST");
    assert_string_equal(tg_request_path(request), "/p");
    assert_null(tg_request_tls_info(request));
    assert_string_equal(tg_request_client_certificate(request), "{\"a\":1}");
    assert_string_equal(header_of(request, "host"), "h");
    tg_free(request);
    about = (struct tg_request_about){0};
    request = tg_request_create(http, &about);
    assert_string_equal(tg_request_method(request), "POST");
    assert_null(tg_request_client_certificate(request));
    assert_string_equal(header_of(request, "host"), "h");
    tg_free(request);
    tg_http_destroy(http);
}

static void finding_a_header(void **state)
{
    (void)state;
    struct tg_request *request =
        keep("GET / HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n");
    assert_string_equal(header_of(request, "host"), "h");
    assert_string_equal(header_of(request, "cookie"), "a=1");
    assert_null(header_of(request, "Cookie"));
    assert_null(header_of(request, "origin"));
    assert_string_equal(tg_request_query(request), "");
    tg_free(request);
}

static void no_headers_and_no_memory(void **state)
{
    (void)state;
    struct tg_request *request = keep("GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(tg_request_header_count(request), 0);
    assert_null(header_of(request, "host"));
    tg_free(request);
    struct tg_http *http = parse("GET / HTTP/1.0\r\n\r\n");
    (void)tg_memory_fail_after(0, 1);
    request = tg_request_create(http, &(struct tg_request_about){0});
    (void)tg_memory_fail_after(-1, 0);
    assert_null(request);
    tg_http_destroy(http);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_outlives_the_parser),
        cmocka_unit_test(names_come_back_as_they_were_sent),
        cmocka_unit_test(keys_come_back_as_they_were_sent),
        cmocka_unit_test(what_every_client_sends_takes_few_bytes),
        cmocka_unit_test(a_large_head),
        cmocka_unit_test(heads_of_sizes_side_by_side),
        cmocka_unit_test(what_is_said_of_other_clients_is_kept_from_a_proxy_only),
        cmocka_unit_test(a_method_of_another_kind_and_half_of_tls),
        cmocka_unit_test(finding_a_header),
        cmocka_unit_test(no_headers_and_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
