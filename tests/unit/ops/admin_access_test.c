/* admin_access_test.c - Host, Origin and token of admin requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "ops/admin_access.h"

static const struct tg_admin_access loopback = {"127.0.0.1:9180", NULL};
static const struct tg_admin_access guarded = {"10.1.2.3:9180", "s3cret"};
static const struct tg_admin_access everywhere = {"[::]:9180", "s3cret"};

/* The status that a request with these header lines gets; 0: it may ask. */
static int ask_version(const struct tg_admin_access *access, int minor, const char *headers)
{
    struct tg_admin_refusal refusal = {0};
    struct tg_http *http;
    char request[1024];
    size_t consumed;

    snprintf(request, sizeof request, "GET /health HTTP/1.%d\r\n%s\r\n", minor, headers);
    assert_int_equal(tg_http_create(&http, TG_HTTP_REQUEST, 4096, 0), TG_ERR_OK);
    assert_int_equal(tg_http_feed(http, request, strlen(request), &consumed), TG_HTTP_DONE);
    bool allowed = tg_admin_access_check(access, http, &refusal);
    tg_http_destroy(http);
    return allowed ? 0 : refusal.status;
}

static int ask(const struct tg_admin_access *access, const char *headers)
{
    return ask_version(access, 1, headers);
}

static void only_own_names_pass_as_host(void **state)
{
    (void)state;
    assert_int_equal(ask(&loopback, "Host: 127.0.0.1:9180\r\n"), 0);
    assert_int_equal(ask(&loopback, "Host: localhost:9180\r\n"), 0);
    assert_int_equal(ask(&loopback, "Host: LocalHost\r\n"), 0);
    assert_int_equal(ask(&loopback, "Host: [::1]:9180\r\n"), 0);
    assert_int_equal(ask(&loopback, "Host: localhost:2222\r\n"), 0); /* a forwarded port */
    assert_int_equal(ask(&loopback, "Host: evil.example:9180\r\n"), 403);
    assert_int_equal(ask(&loopback, "Host: localhost.evil.example:9180\r\n"), 403);
    assert_int_equal(ask(&loopback, "Host: 127.0.0.1.evil.example\r\n"), 403);
    assert_int_equal(ask(&loopback, "Host: localhost:9180@evil.example\r\n"), 403);
    assert_int_equal(ask(&loopback, "Host: [::1]evil\r\n"), 403);
    assert_int_equal(ask(&loopback, "Host: 192.168.0.1:9180\r\n"), 403);
    assert_int_equal(ask(&loopback, "Host:\r\n"), 403);
    assert_int_equal(ask_version(&loopback, 0, "X: y\r\n"), 400);
}

static void a_wildcard_listener_takes_addresses_but_no_names(void **state)
{
    (void)state;
    assert_int_equal(ask(&everywhere, "Host: 10.0.0.7:9180\r\nAuthorization: Bearer s3cret\r\n"),
                     0);
    assert_int_equal(ask(&everywhere, "Host: [fd00::7]:9180\r\nAuthorization: Bearer s3cret\r\n"),
                     0);
    assert_int_equal(
        ask(&everywhere, "Host: evil.example:9180\r\nAuthorization: Bearer s3cret\r\n"), 403);
    assert_int_equal(ask(&everywhere, "Host: 1.2.3.4.example\r\nAuthorization: Bearer s3cret\r\n"),
                     403);
}

static void only_the_own_origin_passes(void **state)
{
    (void)state;
    assert_int_equal(ask(&loopback, "Host: localhost:9180\r\nOrigin: http://localhost:9180\r\n"),
                     0);
    assert_int_equal(ask(&loopback, "Host: localhost:9180\r\nOrigin: http://localhost:3000\r\n"),
                     403);
    assert_int_equal(ask(&loopback, "Host: localhost:9180\r\nOrigin: https://localhost:9180\r\n"),
                     403);
    assert_int_equal(ask(&loopback, "Host: localhost:9180\r\nOrigin: null\r\n"), 403);
    assert_int_equal(ask(&loopback, "Host: localhost:9180\r\nOrigin:\r\n"), 403);
    assert_int_equal(ask(&loopback, "Host: localhost:9180\r\nOrigin: http://evil.example\r\n"),
                     403);
    assert_int_equal(ask(&loopback, "Host: localhost:9180\r\nOrigin: http://localhost:9180\r\n"
                                    "Origin: http://localhost:9180\r\n"),
                     403);
}

static void the_token_is_asked_for_when_there_is_one(void **state)
{
    (void)state;
#define HOST "Host: 10.1.2.3:9180\r\n"
    assert_int_equal(ask(&guarded, HOST), 401);
    assert_int_equal(ask(&guarded, HOST "Authorization: Bearer s3cret\r\n"), 0);
    assert_int_equal(ask(&guarded, HOST "Authorization: bearer s3cret\r\n"), 0);
    assert_int_equal(ask(&guarded, HOST "Authorization: Bearer s3cre\r\n"), 401);
    assert_int_equal(ask(&guarded, HOST "Authorization: Bearer s3crets\r\n"), 401);
    assert_int_equal(ask(&guarded, HOST "Authorization: Bearer\r\n"), 401);
    assert_int_equal(ask(&guarded, HOST "Authorization: Basic s3cret\r\n"), 401);
    assert_int_equal(ask(&guarded, HOST "Authorization: Bearer s3cret\r\n"
                                        "Authorization: Bearer s3cret\r\n"),
                     401);
}

/* A page in a browser must not be able to tell a right token from a wrong one. */
static void host_and_origin_are_judged_before_the_token(void **state)
{
    (void)state;
    assert_int_equal(ask(&guarded, "Host: evil.example\r\nAuthorization: Bearer s3cret\r\n"), 403);
    assert_int_equal(ask(&guarded, HOST "Origin: http://evil.example\r\n"), 403);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_own_names_pass_as_host),
        cmocka_unit_test(a_wildcard_listener_takes_addresses_but_no_names),
        cmocka_unit_test(only_the_own_origin_passes),
        cmocka_unit_test(the_token_is_asked_for_when_there_is_one),
        cmocka_unit_test(host_and_origin_are_judged_before_the_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
