/* forwarded_test.c - who the client is, from what trusted proxies say and clients pretend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "proto/forwarded.h"

#define PEER "10.0.0.1:5000"

/* Trusted: 10.0.0.0/8 and fd00::/8. */
static const struct row {
    const char *headers;
    const char *client; /* NULL: refused, and nobody can say who it is */
    bool secure;
} rows[] = {
    {"", PEER, false},
    {"X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7", false},
    {"X-Forwarded-For: 203.0.113.7:4711\r\n", "203.0.113.7:4711", false},
    {"X-Forwarded-For: 2001:db8::7\r\n", "2001:db8::7", false},
    {"X-Forwarded-For: [2001:db8::7]:4711\r\n", "[2001:db8::7]:4711", false},
    {"X-Forwarded-For: \"[2001:db8::7]:4711\"\r\n", "[2001:db8::7]:4711", false},
    {"X-Forwarded-For: 1.1.1.1, 203.0.113.7\r\n", "203.0.113.7", false},
    {"X-Forwarded-For: 1.1.1.1, 203.0.113.7, 10.2.2.2\r\n", "203.0.113.7", false},
    {"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7", false},
    {"X-Forwarded-For: 203.0.113.7,10.2.2.2\r\nX-Forwarded-For: fd00::5\r\n", "203.0.113.7", false},
    {"X-Forwarded-For: 10.3.3.3, 10.2.2.2\r\n", "10.3.3.3", false},
    {"X-Forwarded-For: 10.3.3.3, 203.0.113.7, 10.2.2.2\r\n", "203.0.113.7", false},
    {"X-Forwarded-For: nonsense, 203.0.113.7\r\n", "203.0.113.7", false},
    {"X-Forwarded-For: nonsense, 10.2.2.2\r\n", NULL, false},
    {"X-Forwarded-For: nonsense\r\n", NULL, false},
    {"X-Forwarded-For: unknown\r\n", "unknown", false},
    {"X-Forwarded-For: unknown, 203.0.113.7\r\n", "203.0.113.7", false},
    {"X-Forwarded-For: 203.0.113.7, unknown\r\n", "unknown", false},
    {"X-Forwarded-For: \"1.1.1.1, 203.0.113.7\r\n", NULL, false},
    {"X-Forwarded-For: ::ffff:203.0.113.7, ::ffff:10.2.2.2\r\n", "203.0.113.7", false},
    {"X-Forwarded-For: ,, 203.0.113.7 ,\r\n", "203.0.113.7", false},
    {"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n", "203.0.113.7", true},
    {"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: WSS\r\n", "203.0.113.7", true},
    {"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https, http\r\n", "203.0.113.7", false},
    {"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: http\r\n", "203.0.113.7", false},
    {"X-Forwarded-Proto: https\r\n", PEER, true},
    {"Forwarded: for=203.0.113.7\r\n", "203.0.113.7", false},
    {"Forwarded: For=\"203.0.113.7:4711\"\r\n", "203.0.113.7:4711", false},
    {"Forwarded: for=\"[2001:db8::7]:4711\";proto=https;by=10.0.0.1\r\n", "[2001:db8::7]:4711",
     true},
    {"Forwarded: proto=wss; for=203.0.113.7\r\n", "203.0.113.7", true},
    {"Forwarded: for=1.1.1.1;proto=https, for=203.0.113.7;proto=http\r\n", "203.0.113.7", false},
    {"Forwarded: for=1.1.1.1, for=203.0.113.7, for=10.2.2.2;proto=https\r\n", "203.0.113.7", false},
    {"Forwarded: for=203.0.113.7\r\nForwarded: for=10.2.2.2\r\n", "203.0.113.7", false},
    {"Forwarded: for=_hidden\r\n", "unknown", false},
    {"Forwarded: for=\"_hidden:_port\"\r\n", "unknown", false},
    {"Forwarded: for=unknown, for=10.2.2.2\r\n", "unknown", false},
    {"Forwarded: for=unknown:4711\r\n", "unknown", false},
    {"Forwarded: by=10.0.0.1;proto=https\r\n", "unknown", true},
    {"Forwarded: for=unknownhost\r\n", NULL, false},
    {"Forwarded: for=_\r\n", NULL, false},
    {"Forwarded: for=\"_hidden:\"\r\n", NULL, false},
    {"Forwarded: for=\"_hid den\"\r\n", NULL, false},
    {"X-Forwarded-For: _\", 203.0.113.7\r\n", NULL, false}, /* a quote to hide the proxy's word */
    {"X-Forwarded-For: unknown:\", 203.0.113.7\r\n", NULL, false},
    {"Forwarded: for=203.0.113.7;for=1.1.1.1\r\n", NULL, false},
    {"Forwarded: for=\r\n", NULL, false},
    {"Forwarded: nonsense\r\n", NULL, false},
    {"Forwarded: nonsense, for=203.0.113.7\r\n", "203.0.113.7", false},
    {"Forwarded: for=\"203.0.113.7\r\n", NULL, false},
    /* A client that opens a quote, so that what the proxy appends becomes part of its own element. */
    {"Forwarded: for=6.6.6.6;x=\", for=203.0.113.7\r\n", NULL, false},
    {"Forwarded: for=6.6.6.6;x=\", for=\"[2001:db8::7]\"\r\n", NULL, false},
    {"Forwarded: for=6.6.6.6;x=\"\\, for=\"[2001:db8::7]\", for=10.2.2.2\r\n", NULL, false},
    /* Both kinds: the proxy sets one, and the client may have sent the other. */
    {"Forwarded: for=203.0.113.7\r\nX-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7", false},
    {"Forwarded: for=\"203.0.113.7:1\"\r\nX-Forwarded-For: 203.0.113.7:2\r\n", "203.0.113.7:1",
     false},
    {"Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 203.0.113.7\r\n", NULL, false},
    {"Forwarded: for=203.0.113.7\r\nX-Forwarded-For: nonsense\r\n", NULL, false},
    {"X-Real-IP: 6.6.6.6\r\n", PEER, false},
};

static struct tg_http *parse(const char *headers)
{
    char head[1024];
    struct tg_http *http;
    size_t consumed;

    (void)snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", headers);
    assert_int_equal(tg_http_create(&http, TG_HTTP_REQUEST, 8192, 0), TG_ERR_OK);
    assert_int_equal(tg_http_feed(http, head, strlen(head), &consumed), TG_HTTP_DONE);
    return http;
}

static size_t trusted_list(struct tg_cidr list[2 * TG_CIDR_PARTS])
{
    size_t first;
    size_t second;

    assert_int_equal(tg_cidr_parse("10.0.0.0/8", list, &first, NULL), TG_ERR_OK);
    assert_int_equal(tg_cidr_parse("fd00::/8", list + first, &second, NULL), TG_ERR_OK);
    return first + second;
}

static void who_is_the_client(void **state)
{
    struct tg_cidr trusted[2 * TG_CIDR_PARTS];
    size_t count = trusted_list(trusted);
    struct tg_address peer;

    (void)state;
    assert_true(sizeof rows / sizeof rows[0] >= 30);
    assert_true(tg_address_parse(PEER, strlen(PEER), &peer));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_http *http = parse(rows[i].headers);
        struct tg_forwarded found;
        const char *why = "";
        char shown[TG_ADDRESS_SIZE];
        enum tg_err err = tg_forwarded_resolve(http, &peer, trusted, count, &found, &why);
        tg_address_format(&found.client, shown);
        if (err != (rows[i].client == NULL ? TG_ERR_PROTO : TG_ERR_OK))
            fail_msg("%s -> %s %s", rows[i].headers, shown, why);
        if (rows[i].client == NULL)
            assert_string_not_equal(why, "");
        else if (strcmp(shown, rows[i].client) != 0 || found.secure != rows[i].secure)
            fail_msg("%s -> %s, %d", rows[i].headers, shown, found.secure);
        tg_http_destroy(http);
    }
}

static void headers_that_speak_of_the_client(void **state)
{
    static const struct {
        const char *name;
        bool is;
    } names[] = {
        {"forwarded", true},        {"x-forwarded-for", true}, {"x-forwarded-proto", true},
        {"x-forwarded-host", true}, {"x-forwarded-ssl", true}, {"x-real-ip", true},
        {"x-forwarded", false},     {"forwarded-for", false},  {"host", false},
        {"x-forwarded-", true},     {"x-request-id", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct tg_http_header header = {.name = {names[i].name, strlen(names[i].name)}};
        header.number = tg_header_number(header.name.data, header.name.len);
        assert_int_equal(tg_forwarded_is_header(&header), names[i].is);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_the_client),
        cmocka_unit_test(headers_that_speak_of_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
