/* event_stream_test.c - server-sent events, fed whole and one byte at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "proto/event_stream.h"

/* Events as "type|data|id|retry;", fed in pieces of that size; "!" at the end: over the limit. */
static void parse(const char *text, size_t len, size_t piece, size_t max, char *out, size_t size)
{
    struct tg_event_stream stream;
    struct tg_event event;
    size_t used;
    size_t written = 0;
    bool found;

    out[0] = '\0';
    tg_event_stream_init(&stream, max);
    for (size_t at = 0; at < len; at += used) {
        size_t n = len - at < piece ? len - at : piece;
        enum tg_err err = tg_event_stream_feed(&stream, text + at, n, &used, &event, &found);
        if (err != TG_ERR_OK) {
            assert_int_equal(err, TG_ERR_LIMIT);
            (void)snprintf(out + written, size - written, "!");
            break;
        }
        if (found)
            written += (size_t)snprintf(out + written, size - written, "%.*s|%.*s|%.*s|%lld;",
                                        (int)event.type.len, event.type.data, (int)event.data.len,
                                        event.data.data, (int)event.id.len, event.id.data,
                                        (long long)event.retry_ms);
        assert_true(written < size);
    }
    tg_event_stream_fini(&stream);
}

static void expect_bytes(const char *text, size_t len, size_t max, const char *events)
{
    char out[1024];

    for (size_t piece = 1; piece <= len + 1; piece = piece < 8 ? piece + 1 : piece * 3) {
        parse(text, len, piece, max, out, sizeof out);
        if (strcmp(out, events) != 0)
            fail_msg("in pieces of %zu: %s\nexpected %s", piece, out, events);
    }
}

static void expect(const char *text, const char *events)
{
    expect_bytes(text, strlen(text), 1000, events);
}

/* The examples of the specification. */
static void examples_of_the_specification(void **state)
{
    (void)state;
    expect("data: YHOO\ndata: +2\ndata: 10\n\n", "message|YHOO\n+2\n10||-1;");
    expect(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third "
           "event\n\n",
           "message|first event|1|-1;message|second event||-1;message| third event||-1;");
    expect("data\n\ndata\ndata\n\ndata:", "message|||-1;message|\n||-1;");
    expect("data:test\n\ndata: test\n\n", "message|test||-1;message|test||-1;");
    expect("event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n",
           "add|73857293||-1;remove|2153||-1;");
}

static void lines_end_in_three_ways(void **state)
{
    (void)state;
    expect("data: a\rdata: b\r\r", "message|a\nb||-1;");
    expect("data: a\r\ndata: b\r\n\r\n", "message|a\nb||-1;");
    expect("data: a\r\n\rdata: b\n\r\n", "message|a||-1;message|b||-1;");
    expect("\r\n\n\rdata: a\n\n", "message|a||-1;");
}

static void a_byte_order_mark_is_left_out_once(void **state)
{
    (void)state;
    expect("\xef\xbb\xbf"
           "data: a\n\n",
           "message|a||-1;");
    expect("\xef\xbb\xbf\xef\xbb\xbf"
           "data: a\n\ndata: b\n\n",
           "message|b||-1;");
    expect("\xef\xbb"
           "data: a\n\ndata: b\n\n",
           "message|b||-1;");
    expect("\xef\n\ndata: b\n\n", "message|b||-1;");
}

static void fields(void **state)
{
    (void)state;
    expect("retry: 2500\nretry: 1x\nretry:\ndata: a\n\n", "message|a||2500;");
    expect("id: 7\n\ndata: a\n\nid: 8\ndata: b\n\n", "message|a|7|-1;message|b|8|-1;");
    expect("Data: a\ndatax: b\n data: c\n:data: d\n\ndata: e\n\n", "message|e||-1;");
    expect("event: lost\n\ndata: a\n\n", "message|a||-1;");
    expect("event: x\nevent: y\ndata: a\n\n", "y|a||-1;");
    expect("data: a: b\n\n", "message|a: b||-1;");
    expect_bytes("id: a\0b\ndata: x\n\n", 17, 1000, "message|x||-1;");
    expect("retry: 99999999999999999999\ndata: a\n\n", "message|a||-1;");
}

static void an_event_that_is_cut_off_is_none(void **state)
{
    (void)state;
    expect("data: a\n\ndata: b", "message|a||-1;");
    expect("data: b\n", "");
    expect("", "");
}

static void size_is_bounded(void **state)
{
    (void)state;
    expect_bytes("data: 12345678\n\n", 16, 14, "message|12345678||-1;");
    expect_bytes("data: 12345678\n\n", 16, 13, "!");
    expect_bytes("data: 1\n\ndata: 12345678\n\n", 25, 13, "message|1||-1;!");
    expect_bytes("data:1234567\ndata:1234567\n\n", 27, 14, "!");
    expect_bytes("data:123456\ndata:1234567\n\n", 26, 14, "message|123456\n1234567||-1;");
}

static void memory_that_is_out_is_an_error(void **state)
{
    struct tg_event_stream stream;
    struct tg_event event;
    size_t used;
    bool found;
    enum tg_err err = TG_ERR_NOMEM;

    (void)state;
    for (long n = 0; err == TG_ERR_NOMEM; n++) {
        tg_event_stream_init(&stream, 1000);
        (void)tg_memory_fail_after(n, 1);
        err = tg_event_stream_feed(&stream, "event: a\nid: b\ndata: c\n\n", 24, &used, &event,
                                   &found);
        (void)tg_memory_fail_after(-1, 0);
        assert_true(n < 10);
        if (err == TG_ERR_OK)
            assert_true(found);
        tg_event_stream_fini(&stream);
    }
    assert_int_equal(err, TG_ERR_OK);
}

/* --- lines -------------------------------------------------------------------------------------- */

static void split(const char *text, size_t piece, size_t max, char *out, size_t size)
{
    struct tg_line_splitter splitter = {.max = max};
    struct tg_line line;
    size_t len = strlen(text);
    size_t written = 0;
    size_t used;

    out[0] = '\0';
    for (size_t at = 0; at < len; at += used) {
        size_t n = len - at < piece ? len - at : piece;
        if (tg_line_splitter_feed(&splitter, text + at, n, &used, &line) != TG_ERR_OK) {
            (void)snprintf(out + written, size - written, "!");
            tg_line_splitter_fini(&splitter);
            return;
        }
        if (line.data != NULL)
            written +=
                (size_t)snprintf(out + written, size - written, "[%.*s]", (int)line.len, line.data);
    }
    line = tg_line_splitter_rest(&splitter);
    if (line.data != NULL)
        (void)snprintf(out + written, size - written, "(%.*s)", (int)line.len, line.data);
    assert_null(tg_line_splitter_rest(&splitter).data);
    tg_line_splitter_fini(&splitter);
}

static void lines_end_with_lf_or_crlf(void **state)
{
    static const struct {
        const char *text;
        const char *lines;
    } rows[] = {
        {"a\nbb\r\n\nccc", "[a][bb][](ccc)"},
        {"a\rb\n", "[a\rb]"},
        {"\r\n", "[]"},
        {"12345\n", "[12345]"},
        {"12345\r\n", "[12345]"},
        {"123456\n", "!"},
        {"123456", "!"},
        {"a\n123456\n", "[a]!"},
        {"12345\r", "(12345)"},
        {"12345\rx", "!"},
        {"", ""},
    };
    char out[128];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t piece = 1; piece < 12; piece++) {
            split(rows[i].text, piece, 5, out, sizeof out);
            if (strcmp(out, rows[i].lines) != 0)
                fail_msg("%s in pieces of %zu: %s", rows[i].lines, piece, out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_specification),
        cmocka_unit_test(lines_end_in_three_ways),
        cmocka_unit_test(a_byte_order_mark_is_left_out_once),
        cmocka_unit_test(fields),
        cmocka_unit_test(an_event_that_is_cut_off_is_none),
        cmocka_unit_test(size_is_bounded),
        cmocka_unit_test(memory_that_is_out_is_an_error),
        cmocka_unit_test(lines_end_with_lf_or_crlf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
