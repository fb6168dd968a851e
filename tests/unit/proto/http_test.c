/* http_test.c - requests and responses as raw bytes, each row fed whole, at every split and one byte at
 * a time, and with every allocation failing in turn.
 *
 * What a row says of a good message: method or status, target, minor version, "keep" when the
 * connection may be kept, "upgrade", the body in brackets, and how many bytes were left over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/http.h"

#define HEAD_MAX 256
#define BODY_MAX 16

struct row {
    const char *name;
    const char *bytes;
    const char *result;
    size_t len; /* 0: strlen(bytes) */
};

#define HOST "Host: h\r\n"
#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define HEADERS10 "a:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n"

static const struct row requests[] = {
    {"plain", "GET /a?b=c HTTP/1.1\r\n" HOST "\r\n", "GET /a?b=c 1 keep [] 0", 0},
    {"next request is left alone", "GET / HTTP/1.1\r\n" HOST "\r\nGET /2", "GET / 1 keep [] 6", 0},
    {"empty lines first (RFC 9112 2.2)", "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     "GET / 1 keep [] 0", 0},
    {"connection: close", "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", "GET / 1 [] 0", 0},
    {"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "GET / 0 [] 0", 0},
    {"length 0", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\nx", "POST / 1 keep [] 1", 0},
    {"body", "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhelloGET",
     "POST / 1 keep [hello] 3", 0},
    {"chunked",
     "POST / HTTP/1.1\r\n" HOST
     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nP",
     "POST / 1 keep [abcde] 1", 0},
    {"trailers are dropped",
     "POST / HTTP/1.1\r\n" HOST
     "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nHost: evil\r\n\r\n",
     "POST / 1 keep [a] 0", 0},
    {"upgrade leaves what follows",
     "GET /ws HTTP/1.1\r\n" HOST
     "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80",
     "GET /ws 1 keep upgrade [] 2", 0},
    {"upgrade with a length: the head is all",
     "GET /ws HTTP/1.1\r\n" HOST
     "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc",
     "GET /ws 1 keep upgrade [] 3", 0},
    {"Upgrade without Connection is none", "GET / HTTP/1.1\r\n" HOST "Upgrade: websocket\r\n\r\n",
     "GET / 1 keep [] 0", 0},
    {"Connection without Upgrade is none", "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\n\r\n",
     "GET / 1 keep [] 0", 0},
    {"absolute target", "GET http://h/p?q HTTP/1.1\r\n" HOST "\r\n", "GET http://h/p?q 1 keep [] 0",
     0},
    {"asterisk", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * 1 keep [] 0", 0},
    {"unfinished", "GET / HTTP/1.1\r\n" HOST, "more", 0},
    {"unfinished body", "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhell", "more", 0},

    {"TLS ClientHello", "\x16\x03\x01\x02", "bad 400 this port speaks plain HTTP, not TLS", 0},
    {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
     "bad 505 this port speaks HTTP/1.1, not HTTP/2", 0},
    {"HTTP/2.0", "GET / HTTP/2.0\r\n" HOST "\r\n", "bad 505", 0},
    {"HTTP/0.9", "GET / HTTP/0.9\r\n" HOST "\r\n", "bad 505", 0},
    {"HTTP/3.7", "GET / HTTP/3.7\r\n" HOST "\r\n", "bad 505", 0},
    {"no version", "GET /\r\n\r\n", "bad", 0},
    {"not HTTP", "\x01\x02\x03\r\n", "bad 400", 0},
    {"unknown method", "FROB / HTTP/1.1\r\n" HOST "\r\n", "bad 400", 0},
    {"method in lower case", "get / HTTP/1.1\r\n" HOST "\r\n", "bad 400", 0},
    {"RFC 9112 3.2 no Host", "GET / HTTP/1.1\r\n\r\n", "bad 400 the Host header is missing", 0},
    {"RFC 9112 3.2 two Hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", "bad 400 more than one Host",
     0},
    {"RFC 9112 3.2 fragment", "GET /a#b HTTP/1.1\r\n" HOST "\r\n", "bad 400", 0},
    {"RFC 9112 3.2 byte over 127", "GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", "bad 400", 0},
    {"RFC 9112 5.1 blank before colon", "GET / HTTP/1.1\r\n" HOST "a : b\r\n\r\n", "bad 400", 0},
    {"RFC 9112 5.1 no colon", "GET / HTTP/1.1\r\n" HOST "abc\r\n\r\n", "bad 400", 0},
    {"RFC 9112 5.1 empty name", "GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", "bad 400", 0},
    {"RFC 9112 5.1 name with a bracket", "GET / HTTP/1.1\r\n" HOST "a(: b\r\n\r\n", "bad 400", 0},
    {"RFC 9112 5.2 folded line", "GET / HTTP/1.1\r\n" HOST "a: b\r\n c\r\n\r\n",
     "bad 400 a header line is folded", 0},
    {"RFC 9112 5.2 folded with a tab", "GET / HTTP/1.1\r\n" HOST "a: b\r\n\tc\r\n\r\n",
     "bad 400 a header line is folded", 0},
    {"RFC 9112 2.2 blank before the first header", "GET / HTTP/1.1\r\n " HOST "\r\n", "bad 400", 0},
    {"RFC 9112 2.2 bare LF", "GET / HTTP/1.1\nHost: h\n\n", "bad 400 a line feed without", 0},
    {"RFC 9112 2.2 bare LF in a header", "GET / HTTP/1.1\r\n" HOST "a: b\n\r\n",
     "bad 400 a line feed without", 0},
    {"RFC 9112 2.2 bare CR", "GET / HTTP/1.1\r\n" HOST "a: b\rc\r\n\r\n",
     "bad 400 a carriage return without", 0},
    {"RFC 9112 2.2 CR CR LF", "GET / HTTP/1.1\r\n" HOST "a: b\r\r\n\r\n",
     "bad 400 a carriage return without", 0},
    {"RFC 9110 5.5 NUL", "GET / HTTP/1.1\r\nHost: h\0\r\n\r\n", "bad 400 a NUL byte",
     sizeof "GET / HTTP/1.1\r\nHost: h\0\r\n\r\n" - 1},
    {"RFC 9110 5.5 control character", "GET / HTTP/1.1\r\nHost: h\x01\r\n\r\n", "bad 400", 0},
    {"RFC 9112 6.1 length and coding",
     "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
     "bad 400", 0},
    {"RFC 9112 6.1 coding and length",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
     "bad 400", 0},
    {"RFC 9112 6.1 coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
     "bad 400", 0},
    {"RFC 9112 6.1 other coding", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n",
     "bad 501", 0},
    {"RFC 9112 6.1 coding twice",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", "bad 501", 0},
    {"RFC 9112 6.3 two lengths",
     "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", "bad 400", 0},
    {"RFC 9112 6.3 list of lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\n",
     "bad 400", 0},
    {"RFC 9112 6.3 negative length", "POST / HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\n",
     "bad 400", 0},
    {"RFC 9112 6.3 length over 64 bits",
     "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\n", "bad 400", 0},
    {"RFC 9112 7.1 bad chunk size",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "bad 400", 0},

    {"body over the limit", "POST / HTTP/1.1\r\n" HOST "Content-Length: 17\r\n\r\n",
     "bad 413 the body is too large", 0},
    {"chunked body over the limit",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n11\r\n12345678901234567\r\n",
     "bad 413", 0},
    {"endless chunk extension",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1;" X100 X100 X100 X100,
     "bad 413", 0},
    {"target over the limit", "GET /" X100 X100 X100, "bad 414", 0},
    {"headers over the limit", "GET / HTTP/1.1\r\n" HOST "a: " X100 X100 X100, "bad 431", 0},
};

static const struct row responses[] = {
    {"101",
     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81",
     "101 1 keep upgrade [] 1", 0},
    {"200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokH", "200 1 keep [ok] 1", 0},
    {"no reason", "HTTP/1.1 204\r\n\r\n", "204 1 keep [] 0", 0},
    {"403 with a refused upgrade",
     "HTTP/1.1 403 Forbidden\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: "
     "2\r\n\r\nno",
     "403 1 keep upgrade [no] 0", 0},
    {"body over the limit", "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n", "bad 413", 0},
    {"headers over the limit", "HTTP/1.1 200 OK\r\na: " X100 X100 X100, "bad 431", 0},
    {"first header without a name", "HTTP/1.1 200 OK\r\n: x\r\n\r\n", "bad 400", 0},
    {"not HTTP", "SSH-2.0-x\r\n", "bad 400", 0},
    {"HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n", "bad 505", 0},
};

static size_t length_of(const struct row *row)
{
    return row->len == 0 ? strlen(row->bytes) : row->len;
}

static enum tg_http_status feed_copy(struct tg_http *http, const char *bytes, size_t len,
                                     size_t *taken)
{
    char *copy = malloc(len == 0 ? 1 : len); /* so that a read past its end is noticed */
    size_t consumed = SIZE_MAX;

    memcpy(copy, bytes, len);
    enum tg_http_status status = tg_http_feed(http, copy, len, &consumed);
    free(copy);
    assert_true(consumed <= len);
    if (status == TG_HTTP_MORE)
        assert_int_equal(consumed, len);
    *taken += consumed;
    return status;
}

static void describe(const struct tg_http *http, enum tg_http_kind kind, size_t left, char *out,
                     size_t size)
{
    const struct tg_buffer *body = tg_http_body(http);
    char first[300];

    if (kind == TG_HTTP_REQUEST)
        snprintf(first, sizeof first, "%s %s", tg_http_method(http).data,
                 tg_http_target(http).data);
    else
        snprintf(first, sizeof first, "%d", tg_http_response_status(http));
    snprintf(out, size, "%s %d%s%s [%.*s] %zu", first, tg_http_version_minor(http),
             tg_http_keep_alive(http) ? " keep" : "", tg_http_is_upgrade(http) ? " upgrade" : "",
             (int)body->len, body->len == 0 ? "" : (const char *)tg_buffer_head(body), left);
}

/* Splits at `cut` (0: not at all; SIZE_MAX: everywhere). */
static void run_row(const struct row *row, enum tg_http_kind kind, size_t cut)
{
    size_t len = length_of(row);
    size_t taken = 0;
    struct tg_http *http;
    enum tg_http_status status = TG_HTTP_MORE;
    char got[400] = "more";

    assert_int_equal(tg_http_create(&http, kind, HEAD_MAX, BODY_MAX), TG_ERR_OK);
    if (cut == SIZE_MAX) {
        for (size_t i = 0; i < len && status == TG_HTTP_MORE; i++)
            status = feed_copy(http, row->bytes + i, 1, &taken);
    } else {
        status = feed_copy(http, row->bytes, cut, &taken);
        if (status == TG_HTTP_MORE)
            status = feed_copy(http, row->bytes + cut, len - cut, &taken);
    }
    size_t want = strlen(row->result);
    if (status == TG_HTTP_BAD) {
        const char *why = NULL;
        int code = tg_http_refusal(http, &why);
        assert_non_null(why);
        snprintf(got, sizeof got, "bad %d %s", code, why);
        got[want] = '\0'; /* rows may leave the text open */
    } else if (status == TG_HTTP_DONE) {
        describe(http, kind, len - taken, got, sizeof got);
    }
    if (strcmp(got, row->result) != 0)
        fail_msg("%s, cut at %zd: got \"%s\", want \"%s\"", row->name, (ssize_t)cut, got,
                 row->result);
    if (status != TG_HTTP_MORE) {
        taken = 0;
        assert_int_equal(feed_copy(http, "GET", 3, &taken), status);
        assert_int_equal(taken, 0);
    }
    tg_http_destroy(http);
}

static void run_rows(const struct row *rows, size_t count, enum tg_http_kind kind)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t cut = 0; cut < length_of(&rows[i]); cut++)
            run_row(&rows[i], kind, cut);
        run_row(&rows[i], kind, SIZE_MAX);
    }
}

static void test_requests(void **state)
{
    (void)state;
    run_rows(requests, sizeof requests / sizeof requests[0], TG_HTTP_REQUEST);
}

static void test_responses(void **state)
{
    (void)state;
    run_rows(responses, sizeof responses / sizeof responses[0], TG_HTTP_RESPONSE);
}

static struct tg_http *parse(const char *bytes)
{
    struct tg_http *http;
    size_t consumed;

    assert_int_equal(tg_http_create(&http, TG_HTTP_REQUEST, 4096, BODY_MAX), TG_ERR_OK);
    assert_int_equal(tg_http_feed(http, bytes, strlen(bytes), &consumed), TG_HTTP_DONE);
    return http;
}

static void test_head_limit_is_exact(void **state)
{
    static const char head[] = "GET / HTTP/1.1\r\n" HOST "\r\n";
    size_t consumed;

    (void)state;
    for (size_t max = 1; max <= sizeof head; max++) {
        struct tg_http *http;
        const char *why;
        assert_int_equal(tg_http_create(&http, TG_HTTP_REQUEST, max, 0), TG_ERR_OK);
        enum tg_http_status status = tg_http_feed(http, head, sizeof head - 1, &consumed);
        assert_int_equal(status, max < sizeof head - 1 ? TG_HTTP_BAD : TG_HTTP_DONE);
        if (status == TG_HTTP_BAD)
            assert_int_equal(tg_http_refusal(http, &why), max < strlen("GET / ") ? 414 : 431);
        tg_http_destroy(http);
    }
}

static void test_header_count_limit(void **state)
{
    static const char good[] = "GET / HTTP/1.1\r\n" HOST HEADERS10 HEADERS10 HEADERS10 HEADERS10
        HEADERS10 HEADERS10 HEADERS10 HEADERS10 HEADERS10 "a:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:"
                               "\r\na:\r\na:\r\n";
    struct tg_http *http;
    size_t consumed;
    const char *why;

    (void)state;
    assert_int_equal(tg_http_create(&http, TG_HTTP_REQUEST, 4096, 0), TG_ERR_OK);
    assert_int_equal(tg_http_feed(http, good, sizeof good - 1, &consumed), TG_HTTP_MORE);
    assert_int_equal(tg_http_feed(http, "\r\n", 2, &consumed), TG_HTTP_DONE);
    assert_int_equal(tg_http_header_count(http), 100);
    tg_http_destroy(http);
    assert_int_equal(tg_http_create(&http, TG_HTTP_REQUEST, 4096, 0), TG_ERR_OK);
    assert_int_equal(tg_http_feed(http, good, sizeof good - 1, &consumed), TG_HTTP_MORE);
    assert_int_equal(tg_http_feed(http, "b:\r\n\r\n", 6, &consumed), TG_HTTP_BAD);
    assert_int_equal(tg_http_refusal(http, &why), 431);
    tg_http_destroy(http);
}

static void test_headers_and_target(void **state)
{
    struct tg_http *http = parse("GET /p%20q?a=1?b HTTP/1.1\r\nHost:h\r\nCookie:\r\n"
                                 "X-API-Key: \t a b \t \r\nx-api-key: second\r\n\r\n");
    size_t count;

    (void)state;
    assert_string_equal(tg_http_path(http).data, "/p%20q");
    assert_int_equal(tg_http_path(http).len, 6);
    assert_string_equal(tg_http_query(http).data, "a=1?b");
    assert_int_equal(tg_http_header_count(http), 4);
    assert_string_equal(tg_http_header_at(http, 2).name.data, "x-api-key");
    assert_string_equal(tg_http_header_at(http, 2).value.data, "a b");
    assert_int_equal(tg_http_header_at(http, 2).value.len, 3);
    assert_string_equal(tg_http_find(http, TG_HEADER_X_API_KEY, &count).data, "a b");
    assert_int_equal(count, 2);
    assert_string_equal(tg_http_find(http, TG_HEADER_COOKIE, NULL).data, "");
    assert_null(tg_http_find(http, TG_HEADER_ORIGIN, &count).data);
    assert_int_equal(count, 0);
    tg_http_destroy(http);
}

static void feed_all(struct tg_http *http, const char *text, enum tg_http_status expected)
{
    size_t consumed;

    assert_int_equal(tg_http_feed(http, text, strlen(text), &consumed), expected);
}

/* Nothing of a message shows in the next one, whether it was read to its end or not. */
static void test_reset(void **state)
{
    static const char first[] = "POST /first?q HTTP/1.1\r\nHost: first\r\nUpgrade: websocket\r\n"
                                "Connection: upgrade\r\nAccept: a\r\nCookie: b\r\n";
    static const char *const ends[] = {"\r\n", "Pragma: c", "Pragma", "Bad Header: d\r\n"};
    struct tg_http *http;

    (void)state;
    assert_int_equal(tg_http_create(&http, TG_HTTP_REQUEST, 4096, 1000), TG_ERR_OK);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t count;
        size_t consumed;
        feed_all(http, first, TG_HTTP_MORE);
        (void)!tg_http_feed(http, ends[i], strlen(ends[i]), &consumed);
        tg_http_reset(http);
        assert_int_equal(tg_http_header_count(http), 0);
        feed_all(http, "GET / HTTP/1.1\r\nUser-Agent: u\r\nHost: second\r\nVia: w\r\n\r\n",
                 TG_HTTP_DONE);
        assert_int_equal(tg_http_header_count(http), 3);
        assert_string_equal(tg_http_header_at(http, 0).name.data, "user-agent");
        assert_string_equal(tg_http_header_at(http, 0).value.data, "u");
        assert_int_equal(tg_http_header_at(http, 0).value.len, 1);
        assert_string_equal(tg_http_find(http, TG_HEADER_HOST, &count).data, "second");
        assert_int_equal(count, 1);
        assert_string_equal(tg_http_header_at(http, 2).name.data, "via");
        assert_int_equal(tg_http_header_at(http, 2).name.len, 3);
        assert_null(tg_http_find(http, TG_HEADER_COOKIE, NULL).data);
        assert_string_equal(tg_http_query(http).data, "");
        assert_false(tg_http_is_upgrade(http));
        tg_http_reset(http);
    }
    tg_http_destroy(http);
}

/* The last place for a header is as empty as the others. */
static void test_reset_when_full(void **state)
{
    char text[4096];
    size_t len = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST);
    struct tg_http *http;

    (void)state;
    for (int i = 1; i < TG_HTTP_HEADERS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "X-%d: %d\r\n", i, i);
    (void)snprintf(text + len, sizeof text - len, "\r\n");
    assert_int_equal(tg_http_create(&http, TG_HTTP_REQUEST, sizeof text, 0), TG_ERR_OK);
    for (int i = 0; i < 2; i++) {
        feed_all(http, text, TG_HTTP_DONE);
        struct tg_http_header last = tg_http_header_at(http, TG_HTTP_HEADERS_MAX - 1);
        assert_string_equal(last.name.data, "x-99");
        assert_int_equal(last.name.len, 4);
        assert_string_equal(last.value.data, "99");
        assert_int_equal(last.value.len, 2);
        tg_http_reset(http);
    }
    tg_http_destroy(http);
}

static enum tg_http_status feed_with_byte(struct tg_http *http, const char *before, int byte,
                                          const char *behind)
{
    char text[100];
    int len = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST "%s%c%s", before, byte, behind);
    size_t consumed;

    tg_http_reset(http);
    return tg_http_feed(http, text, (size_t)len, &consumed);
}

/* RFC 9110 §5.1 and §5.5, byte by byte. A colon ends a name. */
static void test_bytes_of_headers(void **state)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    struct tg_http *http;

    (void)state;
    assert_int_equal(tg_http_create(&http, TG_HTTP_REQUEST, 4096, 0), TG_ERR_OK);
    for (int c = 0; c < 256; c++) {
        bool is_token = c < 0x80 && (isalnum(c) != 0 || (c != 0 && strchr(marks, c) != NULL));
        enum tg_http_status status = feed_with_byte(http, "a", c, "z: v\r\n\r\n");
        if (c != ':')
            assert_int_equal(status, is_token ? TG_HTTP_DONE : TG_HTTP_BAD);
        if (is_token)
            assert_int_equal((uint8_t)tg_http_header_at(http, 1).name.data[1], tolower(c));
        bool is_value = c == '\t' || (c >= ' ' && c != 0x7f);
        status = feed_with_byte(http, "a: b", c, "c\r\n\r\n");
        assert_int_equal(status, is_value ? TG_HTTP_DONE : TG_HTTP_BAD);
        if (is_value)
            assert_int_equal((uint8_t)tg_http_header_at(http, 1).value.data[1], c);
    }
    tg_http_destroy(http);
}

static void test_paths(void **state)
{
    static const struct {
        const char *target, *path, *query;
    } rows[] = {
        {"/", "/", ""},
        {"/?", "/", ""},
        {"/a/b", "/a/b", ""},
        {"/?q", "/", "q"},
        {"http://h", "/", ""},
        {"http://h?q", "/", "q"},
        {"HTTP://h/p?q", "/p", "q"},
        {"https://h:1/p", "/p", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char request[200];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", rows[i].target);
        struct tg_http *http = parse(request);
        assert_string_equal(tg_http_target(http).data, rows[i].target);
        assert_string_equal(tg_http_path(http).data, rows[i].path);
        assert_string_equal(tg_http_query(http).data, rows[i].query);
        assert_int_equal(tg_http_query(http).len, strlen(rows[i].query));
        tg_http_destroy(http);
    }
}

static void test_lists(void **state)
{
    struct tg_http *http = parse("GET / HTTP/1.1\r\nHost: h\r\nAccept: one, ,two ,\r\nVia: x\r\n"
                                 "Accept:\r\nAccept: q=\"a,b\\\",c\" ; r,Three\r\n\r\n");
    static const char *const want[] = {"one", "two", "q=\"a,b\\\",c\" ; r", "Three"};
    struct tg_http_text item;
    uint64_t cursor = 0;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_true(tg_http_next_item(http, TG_HEADER_ACCEPT, &cursor, &item));
        assert_int_equal(item.len, strlen(want[i]));
        assert_memory_equal(item.data, want[i], item.len);
    }
    assert_false(tg_http_next_item(http, TG_HEADER_ACCEPT, &cursor, &item));
    assert_false(tg_http_next_item(http, TG_HEADER_ACCEPT, &cursor, &item));
    assert_true(tg_http_has_token(http, TG_HEADER_ACCEPT, "three"));
    assert_true(tg_http_has_token(http, TG_HEADER_ACCEPT, "ONE"));
    assert_false(tg_http_has_token(http, TG_HEADER_ACCEPT, "thre"));
    assert_false(tg_http_has_token(http, TG_HEADER_ACCEPT, "x"));
    assert_false(tg_http_has_token(http, TG_HEADER_PRAGMA, "x"));
    tg_http_destroy(http);
}

static void test_write_response(void **state)
{
    struct tg_buffer out = TG_BUFFER_INIT;

    (void)state;
    assert_int_equal(tg_http_write_response(&out, 404, "text/plain", NULL, "no", 2, false),
                     TG_ERR_OK);
    assert_int_equal(tg_http_write_response(&out, 299, NULL, "A: b\r\n", NULL, 0, true), TG_ERR_OK);
    static const char want[] = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 2\r\nConnection: close\r\n\r\nno"
                               "HTTP/1.1 299 Unknown\r\nContent-Length: 0\r\nA: b\r\n\r\n";
    assert_int_equal(out.len, sizeof want - 1);
    assert_memory_equal(tg_buffer_head(&out), want, out.len);
    for (long i = 0; i < 2; i++) {
        char body[4096] = "";
        struct tg_buffer empty = TG_BUFFER_INIT;
        tg_memory_fail_after(i, 0);
        assert_int_equal(tg_http_write_response(&empty, 200, "a", "", body, sizeof body, true),
                         TG_ERR_NOMEM);
        tg_memory_fail_after(-1, 0);
        assert_int_equal(empty.len, 0);
        tg_buffer_fini(&empty);
    }
    tg_buffer_fini(&out);
}

static void test_percent_decode(void **state)
{
    static const struct {
        const char *text;
        bool form;
        const char *want; /* NULL: malformed */
    } rows[] = {
        {"abc", false, "abc"},
        {"a%20b", false, "a b"},
        {"a+b", false, "a+b"},
        {"a+b", true, "a b"},
        {"%c3%A9", false, "\xc3\xa9"},
        {"%", false, NULL},
        {"%4", false, NULL},
        {"%4g", false, NULL},
        {"%g4", false, NULL},
        {"x%41", false, "xA"},
        {"", false, ""},
        {"%%41", false, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_buffer out = TG_BUFFER_INIT;
        struct tg_http_text text = {rows[i].text, strlen(rows[i].text)};
        assert_int_equal(tg_buffer_append_str(&out, ">"), TG_ERR_OK);
        enum tg_err err = tg_http_percent_decode(text, rows[i].form, &out);
        assert_int_equal(err, rows[i].want == NULL ? TG_ERR_PROTO : TG_ERR_OK);
        const char *want = rows[i].want == NULL ? "" : rows[i].want;
        assert_int_equal(out.len, 1 + strlen(want));
        assert_memory_equal(tg_buffer_head(&out) + 1, want, strlen(want));
        tg_buffer_fini(&out);
    }
}

static void test_allocation_failures(void **state)
{
    size_t failures = 0;

    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        bool failed = true;
        for (long successes = 0; failed; successes++) {
            struct tg_http *http = NULL;
            enum tg_http_status status = TG_HTTP_MORE;
            const char *why = NULL;
            size_t taken;
            tg_memory_fail_after(successes, 0);
            enum tg_err err = tg_http_create(&http, TG_HTTP_REQUEST, HEAD_MAX, BODY_MAX);
            if (err == TG_ERR_OK)
                status = tg_http_feed(http, requests[i].bytes, length_of(&requests[i]), &taken);
            failed = (long)tg_memory_fail_after(-1, 0) > successes;
            failures += failed;
            if (failed && err == TG_ERR_OK) {
                assert_int_equal(status, TG_HTTP_BAD);
                assert_int_equal(tg_http_refusal(http, &why), 503);
            }
            tg_http_destroy(http);
        }
    }
    assert_true(failures > sizeof requests / sizeof requests[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_head_limit_is_exact),
        cmocka_unit_test(test_header_count_limit),
        cmocka_unit_test(test_headers_and_target),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_reset_when_full),
        cmocka_unit_test(test_bytes_of_headers),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_write_response),
        cmocka_unit_test(test_percent_decode),
        cmocka_unit_test(test_allocation_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
