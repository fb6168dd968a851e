/* url_test.c - the URLs of WebSockets, and how it refuses the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "client/url.h"

static struct tg_ws_url url;
static struct tg_error error;

static void assert_url(const char *text, const char *host, int port, const char *authority,
                       const char *target)
{
    if (tg_ws_url_parse(text, &url, &error) != TG_ERR_OK)
        fail_msg("%s: %s", text, error.text);
    assert_string_equal(url.host, host);
    assert_int_equal(url.port, port);
    assert_string_equal(url.authority, authority);
    assert_string_equal(url.target, target);
}

static void assert_refused(const char *text, const char *hint)
{
    assert_int_equal(tg_ws_url_parse(text, &url, &error), TG_ERR_INVALID);
    if (strstr(error.text, hint) == NULL)
        fail_msg("%s: %s", text, error.text);
}

static void good_urls_are_taken_apart(void **state)
{
    (void)state;
    assert_url("ws://example.org", "example.org", 80, "example.org", "/");
    assert_url("WS://example.org/", "example.org", 80, "example.org", "/");
    assert_url("ws://127.0.0.1:8080/chat?x=1&y=a/b", "127.0.0.1", 8080, "127.0.0.1:8080",
               "/chat?x=1&y=a/b");
    assert_url("ws://h?x=1", "h", 80, "h", "/?x=1");
    assert_url("ws://h:80/", "h", 80, "h", "/");
    assert_url("ws://h:65535/a@b:c", "h", 65535, "h:65535", "/a@b:c");
    assert_url("ws://[::1]", "::1", 80, "[::1]", "/");
    assert_url("ws://[fd00::1]:9000/x", "fd00::1", 9000, "[fd00::1]:9000", "/x");
    assert_false(url.secure);
    assert_url("wss://h/x", "h", 443, "h", "/x");
    assert_true(url.secure);
    assert_url("WSS://h:80", "h", 80, "h:80", "/");
    assert_url("wss://h:443", "h", 443, "h", "/");
}

static void bad_urls_are_refused_with_the_way_to_write_them(void **state)
{
    (void)state;
    assert_refused("http://h/", "starts with ws://");
    assert_refused("https://h/", "starts with wss://");
    assert_refused("127.0.0.1:8080", "needs a scheme");
    assert_refused("", "needs a scheme");
    assert_refused("ws://", "no host");
    assert_refused("ws:///path", "no host");
    assert_refused("ws://:80/", "no host");
    assert_refused("ws://[]/", "no host");
    assert_refused("ws://h:0/", "from 1 to 65535");
    assert_refused("ws://h:/", "from 1 to 65535");
    assert_refused("ws://h:65536/", "from 1 to 65535");
    assert_refused("ws://h:99999999999999999999/", "from 1 to 65535");
    assert_refused("ws://h:8a/", "from 1 to 65535");
    assert_refused("ws://::1/", "needs brackets");
    assert_refused("ws://[::1/", "closing bracket");
    assert_refused("ws://[::1]8080/", "only :PORT");
    assert_refused("ws://h/#top", "no #fragment");
    assert_refused("ws://h/a b", "%XX");
    assert_refused("ws://h/a\r\nX: y", "%XX");
    assert_refused("ws://h/\xc3\xbc", "%XX");
}

static void a_password_is_refused_and_not_repeated(void **state)
{
    (void)state;
    assert_refused("ws://me:hunter2@h/", "in a header");
    assert_null(strstr(error.text, "hunter2"));
}

static void too_long_parts_are_refused(void **state)
{
    char text[8192];

    (void)state;
    snprintf(text, sizeof text, "ws://%0300d/", 1);
    assert_refused(text, "host name is too long");
    snprintf(text, sizeof text, "ws://%0253d/", 1);
    assert_int_equal(tg_ws_url_parse(text, &url, &error), TG_ERR_OK);
    snprintf(text, sizeof text, "ws://h/%04096d", 1);
    assert_refused(text, "path is too long");
    snprintf(text, sizeof text, "ws://h?%04092d", 1);
    assert_int_equal(tg_ws_url_parse(text, &url, &error), TG_ERR_OK);
    assert_int_equal(strlen(url.target), 4094);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls_are_taken_apart),
        cmocka_unit_test(bad_urls_are_refused_with_the_way_to_write_them),
        cmocka_unit_test(a_password_is_refused_and_not_repeated),
        cmocka_unit_test(too_long_parts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
