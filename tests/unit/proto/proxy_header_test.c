/* proxy_header_test.c - the PROXY protocol: every row whole, byte by byte and at every split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "proto/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define REST "GET / HTTP/1.1\r\n"

#define TEN_A "aaaaaaaaaa"
#define LONG_V1 TEN_A TEN_A TEN_A TEN_A TEN_A TEN_A TEN_A TEN_A TEN_A
#define PATH_108 "/a\0aaaaaaa" TEN_A TEN_A TEN_A TEN_A TEN_A TEN_A TEN_A TEN_A TEN_A "aaaaaaaa"

struct row {
    const char *name;
    const char *bytes;
    size_t len;
    const char *source; /* NULL: BAD, and `other` is part of why; "local"; "more": never complete */
    const char *other;  /* the destination */
};

/* Macro, because the bytes hold NULs. */
#define ROW(name, bytes, source, other)                                                            \
    {                                                                                              \
        name, bytes, sizeof bytes - 1, source, other                                               \
    }

static const struct row rows[] = {
    ROW("v1 IPv4", "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "192.0.2.1:56324",
        "198.51.100.2:443"),
    ROW("v1 IPv4, least", "PROXY TCP4 0.0.0.0 0.0.0.0 1 1\r\n", "0.0.0.0:1", "0.0.0.0:1"),
    ROW("v1 IPv4, longest", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        "255.255.255.255:65535", "255.255.255.255:65535"),
    ROW("v1 port 0", "PROXY TCP4 192.0.2.1 198.51.100.2 0 443\r\n", "192.0.2.1",
        "198.51.100.2:443"),
    ROW("v1 IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", "[2001:db8::1]:56324",
        "[2001:db8::2]:443"),
    ROW("v1 IPv6, longest",
        "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
    ROW("v1 IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n", "192.0.2.1:1",
        "192.0.2.2:2"),
    ROW("v1 unknown", "PROXY UNKNOWN\r\n", "local", ""),
    ROW("v1 unknown, with what is to be ignored", "PROXY UNKNOWN ffff::1 x y z\r\n", "local", ""),
    ROW("v1 unknown, longest", "PROXY UNKNOWN " LONG_V1 "a\r\n", "local", ""),
    ROW("v1 too long", "PROXY UNKNOWN " LONG_V1 "aa\r\n", NULL, "too long"),
    ROW("v1 unknown as part of a word", "PROXY UNKNOWNS\r\n", NULL, "TCP4, TCP6 or UNKNOWN"),
    ROW("v1 UDP", "PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n", NULL, "TCP4, TCP6 or UNKNOWN"),
    ROW("v1 TCP5", "PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n", NULL, "TCP4, TCP6 or UNKNOWN"),
    ROW("v1 no protocol", "PROXY \r\n", NULL, "names no protocol"),
    ROW("v1 lower case", "proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n", NULL, "was expected"),
    ROW("v1 IPv6 where IPv4 is named", "PROXY TCP4 ::1 ::1 1 2\r\n", NULL,
        "an address that is none"),
    ROW("v1 IPv4 where IPv6 is named", "PROXY TCP6 192.0.2.1 192.0.2.1 1 2\r\n", NULL,
        "an address that is none"),
    ROW("v1 brackets", "PROXY TCP6 [::1] [::1] 1 2\r\n", NULL, "an address that is none"),
    ROW("v1 address with a port", "PROXY TCP4 192.0.2.1:1 192.0.2.1 1 2\r\n", NULL,
        "an address that is none"),
    ROW("v1 a name", "PROXY TCP4 localhost 192.0.2.1 1 2\r\n", NULL, "an address that is none"),
    ROW("v1 leading zero", "PROXY TCP4 192.0.2.01 192.0.2.1 1 2\r\n", NULL,
        "an address that is none"),
    ROW("v1 three words", "PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n", NULL, "two ports"),
    ROW("v1 five words", "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n", NULL, "nothing after"),
    ROW("v1 blank at the end", "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n", NULL, "nothing after"),
    ROW("v1 two blanks", "PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n", NULL, "two ports"),
    ROW("v1 tab", "PROXY TCP4\t192.0.2.1 198.51.100.2 1 2\r\n", NULL, "TCP4, TCP6 or UNKNOWN"),
    ROW("v1 port too large", "PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n", NULL,
        "a port that is none"),
    ROW("v1 port with zeros", "PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n", NULL,
        "a port that is none"),
    ROW("v1 negative port", "PROXY TCP4 192.0.2.1 198.51.100.2 1 -2\r\n", NULL,
        "a port that is none"),
    ROW("v1 no CR", "PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n", NULL, "ends in CR LF"),
    ROW("v1 CR inside", "PROXY TCP4 192.0.2.1\r198.51.100.2 1 2\r\n", NULL, "ends in CR LF"),
    ROW("v1 NUL inside", "PROXY TCP4 192.0.2.1\0 198.51.100.2 1 2\r\n", NULL, "ends in CR LF"),
    ROW("v1 cut", "PROXY TCP4 192.0.2.1 198.51.", "more", ""),
    ROW("v1 cut after CR", "PROXY UNKNOWN\r", "more", ""),
    ROW("HTTP", "GET / HTTP/1.1\r\n", NULL, "was expected"),
    ROW("HTTP that begins alike", "PROPFIND / HTTP/1.1\r\n", NULL, "was expected"),
    ROW("TLS", "\x16\x03\x01\x02\x00\x01", NULL, "was expected"),
    ROW("an empty line", "\r\nGET / HTTP/1.1", NULL, "was expected"),
    ROW("nothing", "", "more", ""),
    ROW("v2 IPv4", SIGNATURE "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb",
        "192.0.2.1:56324", "198.51.100.2:443"),
    ROW("v2 IPv4 with extensions",
        SIGNATURE "\x21\x11\x00\x14\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"
                  "\x04\x00\x05hello",
        "192.0.2.1:56324", "198.51.100.2:443"),
    ROW("v2 IPv6",
        SIGNATURE "\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xdc\x04\x01\xbb",
        "[2001:db8::1]:56324", "[2001:db8::2]:443"),
    ROW("v2 IPv4 in IPv6",
        SIGNATURE "\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
                  "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x02\x00\x01\x00\x02",
        "192.0.2.1:1", "192.0.2.2:2"),
    ROW("v2 Unix", SIGNATURE "\x21\x31\x00\xd8" PATH_108 PATH_108, "unix", "unix"),
    ROW("v2 unspecified", SIGNATURE "\x21\x00\x00\x00", "local", ""),
    ROW("v2 unspecified with extensions", SIGNATURE "\x21\x00\x00\x04\x04\x00\x01x", "local", ""),
    ROW("v2 local", SIGNATURE "\x20\x00\x00\x00", "local", ""),
    ROW("v2 local with addresses to be ignored",
        SIGNATURE "\x20\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb", "local", ""),
    ROW("v2 local of an unknown family", SIGNATURE "\x20\xff\x00\x02xy", "local", ""),
    ROW("v2 version 1", SIGNATURE "\x11\x11\x00\x0c", NULL, "unknown version"),
    ROW("v2 version 3", SIGNATURE "\x31\x11\x00\x0c", NULL, "unknown version"),
    ROW("v2 command 2", SIGNATURE "\x22\x11\x00\x0c", NULL, "unknown version or command"),
    ROW("v2 UDP", SIGNATURE "\x21\x12\x00\x0c", NULL, "something else than a stream"),
    ROW("v2 unknown family", SIGNATURE "\x21\x41\x00\x0c", NULL, "something else than a stream"),
    ROW("v2 stream of no family", SIGNATURE "\x21\x01\x00\x0c", NULL, "something else"),
    ROW("v2 too short for IPv4", SIGNATURE "\x21\x11\x00\x0b", NULL, "shorter than its addresses"),
    ROW("v2 too short for IPv6", SIGNATURE "\x21\x21\x00\x23", NULL, "shorter than its addresses"),
    ROW("v2 too short for Unix", SIGNATURE "\x21\x31\x00\xd7", NULL, "shorter than its addresses"),
    ROW("v2 too long", SIGNATURE "\x21\x11\x10\x0d", NULL, "too long"),
    ROW("v2 as long as can be", SIGNATURE "\x20\x00\x10\x00", "more", ""),
    ROW("v2 cut in the signature", "\r\n\r\n\0\r\nQUI", "more", ""),
    ROW("v2 cut in the addresses", SIGNATURE "\x21\x11\x00\x0c\xc0\x00\x02", "more", ""),
    ROW("v2 cut in the extensions", SIGNATURE "\x21\x00\x00\x04\x04\x00\x01", "more", ""),
    ROW("v2 signature that goes wrong", "\r\n\r\n\0\r\nQUIt\n", NULL, "was expected"),
};

static void check_result(const struct row *row, const struct tg_proxy_parser *parser)
{
    char shown[TG_ADDRESS_SIZE];

    if (row->source == NULL) {
        if (parser->status != TG_PROXY_BAD || strstr(parser->why, row->other) == NULL)
            fail_msg("%s: %d, %s", row->name, parser->status,
                     parser->why == NULL ? "" : parser->why);
        return;
    }
    bool more = strcmp(row->source, "more") == 0;
    if (parser->status != (more ? TG_PROXY_MORE : TG_PROXY_DONE))
        fail_msg("%s: %d, %s", row->name, parser->status, parser->why == NULL ? "" : parser->why);
    if (more)
        return;
    assert_int_equal(parser->local, strcmp(row->source, "local") == 0);
    if (parser->local)
        return;
    tg_address_format(&parser->source, shown);
    assert_string_equal(shown, row->source);
    tg_address_format(&parser->destination, shown);
    assert_string_equal(shown, row->other);
}

/* Feeds in pieces of `step` bytes, the first one `first` bytes; returns what was consumed. Each piece in a
 * block of its own size, so that a read beyond it shows. */
static size_t feed(struct tg_proxy_parser *parser, const char *bytes, size_t len, size_t first,
                   size_t step)
{
    size_t at = 0;

    while (at < len && parser->status == TG_PROXY_MORE) {
        size_t piece = at == 0 ? first : step;
        size_t consumed = SIZE_MAX;
        piece = piece < len - at ? piece : len - at;
        uint8_t *copy = malloc(piece == 0 ? 1 : piece);
        assert_non_null(copy);
        memcpy(copy, bytes + at, piece);
        (void)tg_proxy_feed(parser, copy, piece, &consumed);
        free(copy);
        assert_true(consumed <= piece);
        at += consumed;
        if (parser->status == TG_PROXY_MORE)
            assert_int_equal(consumed, piece);
        first = step;
    }
    return at;
}

static void every_row_at_every_split(void **state)
{
    char bytes[512];

    (void)state;
    assert_true(sizeof rows / sizeof rows[0] >= 40);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        bool done = row->source != NULL && strcmp(row->source, "more") != 0;
        size_t len = row->len;
        memcpy(bytes, row->bytes, row->len);
        if (done) { /* what follows belongs to somebody else */
            memcpy(bytes + len, REST, sizeof REST - 1);
            len += sizeof REST - 1;
        }
        struct tg_proxy_parser whole = {0};
        size_t consumed = feed(&whole, bytes, len, len, len);
        check_result(row, &whole);
        if (done)
            assert_int_equal(consumed, row->len);
        struct tg_proxy_parser bytewise = {0};
        assert_int_equal(feed(&bytewise, bytes, len, 1, 1), consumed);
        check_result(row, &bytewise);
        for (size_t split = 1; split < len; split++) {
            struct tg_proxy_parser parser = {0};
            assert_int_equal(feed(&parser, bytes, len, split, len), consumed);
            check_result(row, &parser);
        }
    }
}

static void after_the_end_nothing_is_taken(void **state)
{
    struct tg_proxy_parser parser = {0};
    size_t consumed = 99;

    (void)state;
    assert_int_equal(tg_proxy_feed(&parser, (const uint8_t *)"PROXY UNKNOWN\r\n", 15, &consumed),
                     TG_PROXY_DONE);
    assert_int_equal(tg_proxy_feed(&parser, (const uint8_t *)"x", 1, &consumed), TG_PROXY_DONE);
    assert_int_equal(consumed, 0);
    parser = (struct tg_proxy_parser){0};
    assert_int_equal(tg_proxy_feed(&parser, (const uint8_t *)"GET", 3, &consumed), TG_PROXY_BAD);
    assert_int_equal(consumed, 1); /* refused by the first byte */
    assert_int_equal(tg_proxy_feed(&parser, (const uint8_t *)"x", 1, &consumed), TG_PROXY_BAD);
    assert_int_equal(consumed, 0);
}

/* The longest extensions there may be are skipped without being kept. */
static void long_extensions(void **state)
{
    static uint8_t bytes[16 + TG_PROXY_EXTENSIONS_MAX + 1];
    struct tg_proxy_parser parser = {0};
    size_t consumed;

    (void)state;
    memcpy(bytes, SIGNATURE "\x20\x00\x10\x00", 16);
    assert_int_equal(tg_proxy_feed(&parser, bytes, sizeof bytes, &consumed), TG_PROXY_DONE);
    assert_int_equal(consumed, sizeof bytes - 1);
    assert_int_equal(parser.len, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_at_every_split),
        cmocka_unit_test(after_the_end_nothing_is_taken),
        cmocka_unit_test(long_extensions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
