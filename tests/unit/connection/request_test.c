/* request_test.c - what is kept of the upgrade request when its parser is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "connection/request.h"

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
    struct tg_request *request = tg_request_create(http, "127.0.0.1:54321", NULL);
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
    assert_string_equal(request->method, "GET");
    assert_string_equal(request->path, "/a%20b");
    assert_string_equal(request->query, "token=x&y=1");
    assert_string_equal(request->remote, "127.0.0.1:54321");
    assert_int_equal(request->header_count, 5);
    assert_string_equal(request->headers[0].name, "host");
    assert_string_equal(request->headers[1].value, "https://app.example");
    assert_string_equal(request->headers[2].value, "");
    assert_string_equal(request->headers[4].value, "b=2");
    tg_free(request);
}

static void finding_a_header(void **state)
{
    (void)state;
    struct tg_request *request =
        keep("GET / HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n");
    assert_string_equal(tg_request_header(request, "host"), "h");
    assert_string_equal(tg_request_header(request, "cookie"), "a=1");
    assert_null(tg_request_header(request, "Cookie"));
    assert_null(tg_request_header(request, "origin"));
    assert_string_equal(request->query, "");
    tg_free(request);
}

static void no_headers_and_no_memory(void **state)
{
    (void)state;
    struct tg_request *request = keep("GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(request->header_count, 0);
    assert_null(tg_request_header(request, "host"));
    tg_free(request);
    struct tg_http *http = parse("GET / HTTP/1.0\r\n\r\n");
    (void)tg_memory_fail_after(0, 1);
    request = tg_request_create(http, "", NULL);
    (void)tg_memory_fail_after(-1, 0);
    assert_null(request);
    tg_http_destroy(http);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_outlives_the_parser),
        cmocka_unit_test(finding_a_header),
        cmocka_unit_test(no_headers_and_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
