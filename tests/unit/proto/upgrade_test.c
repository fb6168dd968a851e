/* upgrade_test.c - the opening handshake of RFC 6455 §4, each row naming its section.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "proto/upgrade.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ==" /* §1.3, with its answer */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define HOST "Host: h\r\n"
#define UPGRADE "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define KEY_LINE "Sec-WebSocket-Key: " KEY "\r\n"

struct row {
    const char *name; /* section and rule */
    const char *line;
    const char *headers;
    int status;        /* 0: accepted */
    const char *why;   /* part of the text */
    const char *extra; /* part of the extra header lines */
};

static const struct row rows[] = {
    {"4.2.1 all there", "GET /chat HTTP/1.1", HOST UPGRADE CONNECTION KEY_LINE VERSION, 0, "", ""},
    {"4.2.1-3 upgrade in any case", "GET / HTTP/1.1",
     HOST "Upgrade: WebSocket\r\n" CONNECTION KEY_LINE VERSION, 0, "", ""},
    {"4.2.1-3 upgrade in a list", "GET / HTTP/1.1",
     HOST "Upgrade: h2c, websocket\r\n" CONNECTION KEY_LINE VERSION, 0, "", ""},
    {"4.2.1-4 connection in a list and any case", "GET / HTTP/1.1",
     HOST UPGRADE "Connection: keep-alive, UPGRADE\r\n" KEY_LINE VERSION, 0, "", ""},
    {"4.2.1-4 connection in two headers", "GET / HTTP/1.1",
     HOST UPGRADE "Connection: keep-alive\r\n" CONNECTION KEY_LINE VERSION, 0, "", ""},
    {"4.2.1 unknown headers are ignored", "GET / HTTP/1.1",
     HOST UPGRADE CONNECTION KEY_LINE VERSION "X: y\r\nSec-WebSocket-Extensions: unknown\r\n", 0,
     "", ""},
    {"4.2.1 a length of nothing", "GET / HTTP/1.1",
     HOST UPGRADE CONNECTION KEY_LINE VERSION "Content-Length: 0\r\n", 0, "", ""},

    {"4.2.2 no attempt at all", "GET / HTTP/1.1", HOST, 426, "WebSocket endpoint",
     "Upgrade: websocket\r\nConnection: Upgrade\r\n"},
    {"4.2.2 no attempt, other method", "POST / HTTP/1.1", HOST, 426, "WebSocket endpoint",
     "Upgrade: websocket"},
    {"4.2.1-1 method", "POST / HTTP/1.1", HOST UPGRADE CONNECTION KEY_LINE VERSION, 405, "GET",
     "Allow: GET\r\n"},
    {"4.2.1-1 HEAD", "HEAD / HTTP/1.1", HOST UPGRADE CONNECTION KEY_LINE VERSION, 405, "GET",
     "Allow: GET\r\n"},
    {"4.2.1-1 HTTP/1.0", "GET / HTTP/1.0", HOST UPGRADE CONNECTION KEY_LINE VERSION, 505,
     "HTTP/1.1", ""},
    {"4.2.1-2 empty host", "GET / HTTP/1.1", "Host:\r\n" UPGRADE CONNECTION KEY_LINE VERSION, 400,
     "Host", ""},
    {"4.2.1-3 no upgrade header", "GET / HTTP/1.1", HOST CONNECTION KEY_LINE VERSION, 426,
     "Upgrade: websocket", "Upgrade: websocket"},
    {"4.2.1-3 another protocol", "GET / HTTP/1.1",
     HOST "Upgrade: h2c\r\n" CONNECTION KEY_LINE VERSION, 426, "Upgrade: websocket",
     "Upgrade: websocket"},
    {"4.2.1-3 a longer word", "GET / HTTP/1.1",
     HOST "Upgrade: websockets\r\n" CONNECTION KEY_LINE VERSION, 426, "Upgrade: websocket",
     "Upgrade: websocket"},
    {"4.2.1-4 no connection header", "GET / HTTP/1.1", HOST UPGRADE KEY_LINE VERSION, 400,
     "Connection: Upgrade", ""},
    {"4.2.1-4 connection without upgrade", "GET / HTTP/1.1",
     HOST UPGRADE "Connection: keep-alive\r\n" KEY_LINE VERSION, 400, "Connection: Upgrade", ""},
    {"4.2.1-5 no key", "GET / HTTP/1.1", HOST UPGRADE CONNECTION VERSION, 400, "Sec-WebSocket-Key",
     ""},
    {"4.2.1-5 two keys", "GET / HTTP/1.1", HOST UPGRADE CONNECTION KEY_LINE KEY_LINE VERSION, 400,
     "Sec-WebSocket-Key", ""},
    {"4.2.1-5 empty key", "GET / HTTP/1.1",
     HOST UPGRADE CONNECTION "Sec-WebSocket-Key:\r\n" VERSION, 400, "16 random bytes", ""},
    {"4.2.1-5 key of 15 bytes", "GET / HTTP/1.1",
     HOST UPGRADE CONNECTION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n" VERSION, 400,
     "16 random bytes", ""},
    {"4.2.1-5 key of 18 bytes", "GET / HTTP/1.1",
     HOST UPGRADE CONNECTION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA\r\n" VERSION, 400,
     "16 random bytes", ""},
    {"4.2.1-5 key that is not base64", "GET / HTTP/1.1",
     HOST UPGRADE CONNECTION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-Q==\r\n" VERSION, 400,
     "16 random bytes", ""},
    {"4.2.1-6 no version", "GET / HTTP/1.1", HOST UPGRADE CONNECTION KEY_LINE, 426,
     "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\n"},
    {"4.2.1-6, 4.4 version 8", "GET / HTTP/1.1",
     HOST UPGRADE CONNECTION KEY_LINE "Sec-WebSocket-Version: 8\r\n", 426,
     "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\n"},
    {"4.1-9 two versions", "GET / HTTP/1.1",
     HOST UPGRADE CONNECTION KEY_LINE VERSION "Sec-WebSocket-Version: 8\r\n", 400,
     "more than one Sec-WebSocket-Version", ""},
    {"4.1-9 a list of versions", "GET / HTTP/1.1",
     HOST UPGRADE CONNECTION KEY_LINE "Sec-WebSocket-Version: 13, 8\r\n", 426,
     "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\n"},
    {"9.1 malformed extensions", "GET / HTTP/1.1",
     HOST UPGRADE CONNECTION KEY_LINE VERSION "Sec-WebSocket-Extensions: a; b=\r\n", 400,
     "Sec-WebSocket-Extensions", ""},
    {"4.1 a body", "GET / HTTP/1.1",
     HOST UPGRADE CONNECTION KEY_LINE VERSION "Content-Length: 3\r\n", 400, "no body", ""},
    {"4.1 a chunked body", "GET / HTTP/1.1",
     HOST UPGRADE CONNECTION KEY_LINE VERSION "Transfer-Encoding: chunked\r\n", 400, "no body", ""},
};

static struct tg_http *parse(enum tg_http_kind kind, const char *bytes)
{
    struct tg_http *http;
    size_t consumed;

    assert_int_equal(tg_http_create(&http, kind, 4096, 4096), TG_ERR_OK);
    assert_int_equal(tg_http_feed(http, bytes, strlen(bytes), &consumed), TG_HTTP_DONE);
    return http;
}

static void test_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_upgrade_refusal refusal = {-1, NULL, NULL};
        char request[1024];
        snprintf(request, sizeof request, "%s\r\n%s\r\n", rows[i].line, rows[i].headers);
        struct tg_http *http = parse(TG_HTTP_REQUEST, request);
        enum tg_err err = tg_upgrade_check(http, &refusal);
        if (refusal.status != rows[i].status || strstr(refusal.why, rows[i].why) == NULL ||
            strstr(refusal.extra, rows[i].extra) == NULL)
            fail_msg("%s: got %d \"%s\" \"%s\"", rows[i].name, refusal.status, refusal.why,
                     refusal.extra);
        assert_int_equal(err, rows[i].status == 0 ? TG_ERR_OK : TG_ERR_PROTO);
        tg_http_destroy(http);
    }
}

static void assert_text(struct tg_buffer *out, const char *want)
{
    assert_int_equal(out->len, strlen(want));
    assert_memory_equal(tg_buffer_head(out), want, out->len);
    tg_buffer_fini(out);
}

static void test_accept(void **state)
{
    struct tg_http *http = parse(
        TG_HTTP_REQUEST, "GET / HTTP/1.1\r\n" HOST UPGRADE CONNECTION KEY_LINE VERSION "\r\n");
    struct tg_buffer out = TG_BUFFER_INIT;

    (void)state;
    assert_int_equal(tg_upgrade_accept(&out, http, NULL, NULL), TG_ERR_OK);
    assert_text(&out, "HTTP/1.1 101 Switching Protocols\r\n" UPGRADE CONNECTION
                      "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n");
    assert_int_equal(tg_upgrade_accept(&out, http, "tidegate.v1", "A: b\r\n"), TG_ERR_OK);
    assert_text(&out, "HTTP/1.1 101 Switching Protocols\r\n" UPGRADE CONNECTION
                      "Sec-WebSocket-Accept: " ACCEPT
                      "\r\nSec-WebSocket-Protocol: tidegate.v1\r\nA: b\r\n\r\n");
    assert_int_equal(tg_upgrade_accept(&out, http, "a\r\nSet-Cookie: x", NULL), TG_ERR_INVALID);
    assert_int_equal(out.len, 0);
    tg_memory_fail_after(0, 0);
    assert_int_equal(tg_upgrade_accept(&out, http, NULL, NULL), TG_ERR_NOMEM);
    tg_memory_fail_after(-1, 0);
    tg_http_destroy(http);
}

/* §4.1: what a client sends passes what a server checks, with a key of its own each time. */
static void test_request(void **state)
{
    char keys[2][TG_WS_KEY_LEN + 1];
    struct tg_upgrade_refusal refusal;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct tg_buffer out = TG_BUFFER_INIT;
        size_t len;
        tg_upgrade_make_key(keys[i]);
        assert_int_equal(tg_upgrade_request(&out, "h:8080", "/a?b", keys[i], "p", "Pragma: y\r\n"),
                         TG_ERR_OK);
        char *text = tg_buffer_detach(&out, &len);
        struct tg_http *http = parse(TG_HTTP_REQUEST, text);
        assert_int_equal(tg_upgrade_check(http, &refusal), TG_ERR_OK);
        assert_string_equal(tg_http_target(http).data, "/a?b");
        assert_string_equal(tg_http_find(http, TG_HEADER_HOST, NULL).data, "h:8080");
        assert_string_equal(tg_http_find(http, TG_HEADER_SEC_WEBSOCKET_PROTOCOL, NULL).data, "p");
        assert_string_equal(tg_http_find(http, TG_HEADER_PRAGMA, NULL).data, "y");
        tg_http_destroy(http);
        tg_free(text);
        assert_int_equal(tg_upgrade_request(&out, "h", "/a b", keys[i], NULL, NULL),
                         TG_ERR_INVALID);
        assert_int_equal(tg_upgrade_request(&out, "h\r\nx:", "/", keys[i], NULL, NULL),
                         TG_ERR_INVALID);
        assert_int_equal(tg_upgrade_request(&out, "h", "/", keys[i], "\n", NULL), TG_ERR_INVALID);
    }
    assert_string_not_equal(keys[0], keys[1]);
}

static void test_verify(void **state)
{
    static const char accept[] = "Sec-WebSocket-Accept: " ACCEPT "\r\n";
    static const struct {
        const char *name, *line, *upgrade, *accept, *rest, *why; /* why NULL: good */
    } cases[] = {
        {"4.1 good", "101 x", UPGRADE CONNECTION, accept, "\r\n", NULL},
        {"4.1-1 other status", "403 Forbidden", "", "", "Content-Length: 12\r\n\r\ngo away\nmore",
         "the server answered 403 Forbidden: go away"},
        {"4.1-1 escape codes in the body", "500 x", "", "", "Content-Length: 4\r\n\r\na\033[m",
         "the server answered 500 Internal Server Error: a"},
        {"4.1-1 no body", "200 OK", "", "", "Content-Length: 0\r\n\r\n",
         "the server answered 200 OK"},
        {"4.1-2 no upgrade", "101 x", CONNECTION, accept, "\r\n", "the answer lacks"},
        {"4.1-2 other upgrade", "101 x", "Upgrade: h2c\r\n" CONNECTION, accept, "\r\n",
         "the answer lacks"},
        {"4.1-3 no connection", "101 x", UPGRADE, accept, "\r\n", "the answer lacks"},
        {"4.1-4 no accept", "101 x", UPGRADE CONNECTION, "", "\r\n", "Sec-WebSocket-Accept"},
        {"4.1-4 wrong accept", "101 x", UPGRADE CONNECTION,
         "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "\r\n", "Sec-WebSocket-Accept"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tg_error error = {TG_ERR_OK, ""};
        char response[512];
        snprintf(response, sizeof response, "HTTP/1.1 %s\r\n%s%s%s", cases[i].line,
                 cases[i].upgrade, cases[i].accept, cases[i].rest);
        struct tg_http *http = parse(TG_HTTP_RESPONSE, response);
        enum tg_err err = tg_upgrade_verify(http, KEY, &error);
        assert_int_equal(err, cases[i].why == NULL ? TG_ERR_OK : TG_ERR_PROTO);
        if (cases[i].why != NULL && strstr(error.text, cases[i].why) == NULL)
            fail_msg("%s: got \"%s\"", cases[i].name, error.text);
        assert_null(strchr(error.text, '\033'));
        assert_null(strchr(error.text, '\n'));
        tg_http_destroy(http);
    }
}

/* Every digit in every place, and what is no digit. */
static void test_key_bytes(void **state)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t bytes[TG_WS_KEY_BYTES];
    char text[TG_WS_KEY_LEN + 1];

    (void)state;
    assert_true(tg_upgrade_key_bytes((struct tg_http_text){KEY, TG_WS_KEY_LEN}, bytes));
    assert_memory_equal(bytes, "the sample nonce", TG_WS_KEY_BYTES);
    for (size_t place = 0; place < TG_WS_KEY_LEN - 2; place++) {
        for (int digit = 1; digit < 256; digit++) {
            char key[] = "AAAAAAAAAAAAAAAAAAAAAA==";
            key[place] = (char)digit;
            const char *found = strchr(digits, digit);
            bool whole = found != NULL && (place < TG_WS_KEY_LEN - 3 || (found - digits) % 16 == 0);
            bool is = tg_upgrade_key_bytes((struct tg_http_text){key, TG_WS_KEY_LEN}, bytes);
            assert_int_equal(is, whole);
            if (!is)
                continue;
            tg_upgrade_key_text(bytes, text);
            assert_string_equal(text, key);
        }
    }
    assert_false(tg_upgrade_key_bytes((struct tg_http_text){KEY, TG_WS_KEY_LEN - 1}, bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),     cmocka_unit_test(test_accept),
        cmocka_unit_test(test_request),   cmocka_unit_test(test_verify),
        cmocka_unit_test(test_key_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
