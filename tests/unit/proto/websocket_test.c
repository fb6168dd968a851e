/* websocket_test.c - RFC 6455 as raw bytes, each row naming its section.
 *
 * Every row is fed whole, at every split, one byte at a time, with a pause after each message, and
 * with every allocation failing in turn; the events must be the same each time.
 *
 * Bytes are written as hex digits, with 'text' in quotes; rows for a server use the masking key 0
 * where masking is not the point, so that payloads can be read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/metrics.h"
#include "proto/deflate.h"
#include "proto/websocket.h"

#define MESSAGE_MAX 300

/* Server or client; with D permessage-deflate is agreed on, with T context takeover as well. */
enum side { S, C, SD, CD, ST, CT };

struct row {
    const char *name; /* section and rule */
    enum side side;
    const char *bytes;
    const char *events; /* "more" at the end: it holds memory, as in the middle of a message */
};

#define A10 "aaaaaaaaaa"
#define A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10
#define A300 A100 A100 A100
#define E10                                                                                        \
    "000000ffff 000000ffff 000000ffff 000000ffff 000000ffff 000000ffff 000000ffff 000000ffff "     \
    "000000ffff 000000ffff "
#define E60 E10 E10 E10 E10 E10 E10

static const struct row rows[] = {
    /* §5.7 has these as examples. */
    {"5.7 unmasked text", C, "81 05 'Hello'", "text Hello;"},
    {"5.7 masked text", S, "81 85 37fa213d 7f9f4d5158", "text Hello;"},
    {"5.7 fragmented unmasked text", C, "01 03 'Hel' 80 02 'lo'", "text Hello;"},
    {"5.7 ping and masked pong", C, "89 05 'Hello'", "ping Hello;"},
    {"5.7 masked pong", S, "8a 85 37fa213d 7f9f4d5158", "pong Hello;"},

    {"5.1 a server refuses an unmasked frame", S, "81 05", "fault 1002"},
    {"5.1 a server refuses an unmasked ping", S, "89 00", "fault 1002"},
    {"5.1 a client refuses a masked frame", C, "81 85 00000000 'Hello'", "fault 1002"},
    {"5.1 unmasked after a good frame", S, "81 81 00000000 'a' 81 01 'b'", "text a;fault 1002"},

    {"5.2 RSV1", S, "c1 80", "fault 1002"},
    {"5.2 RSV2", S, "a1 80", "fault 1002"},
    {"5.2 RSV3", S, "91 80", "fault 1002"},
    {"5.2 RSV1 on a ping", S, "c9 80", "fault 1002"},
    {"5.2 RSV1 on a continuation", C, "01 01 'a' c0 01 'b'", "fault 1002"},
    {"5.2 opcode 3", S, "83 80", "fault 1002"},
    {"5.2 opcode 4", S, "84 80", "fault 1002"},
    {"5.2 opcode 5", S, "85 80", "fault 1002"},
    {"5.2 opcode 6", S, "86 80", "fault 1002"},
    {"5.2 opcode 7", S, "87 80", "fault 1002"},
    {"5.2 opcode 11", S, "8b 80", "fault 1002"},
    {"5.2 opcode 12", S, "8c 80", "fault 1002"},
    {"5.2 opcode 13", S, "8d 80", "fault 1002"},
    {"5.2 opcode 14", S, "8e 80", "fault 1002"},
    {"5.2 opcode 15", S, "8f 80", "fault 1002"},
    {"5.2 16 bit length under 126", C, "82 7e 007d", "fault 1002"},
    {"5.2 16 bit length under 126, masked, whole", S, "82 fe 0001 00000000 'a'", "fault 1002"},
    {"5.2 64 bit length under 65536", C, "82 7f 000000000000ffff", "fault 1002"},
    {"5.2 64 bit length under 65536, whole", C, "82 7f 0000000000000001 'a'", "fault 1002"},
    {"5.2 64 bit length with its top bit", C, "82 7f 8000000000000000", "fault 1002"},
    {"5.2 64 bit length of all ones", S, "82 ff ffffffffffffffff 00000000", "fault 1002"},
    {"5.2 empty text", S, "81 80 00000000", "text ;"},
    {"5.2 empty binary", C, "82 00", "binary ;"},
    {"5.2 two frames", C, "81 01 'a' 82 02 0001", "text a;binary \\x00\\x01;"},
    {"5.2 partial header", S, "81 85 37fa", "more"},
    {"5.2 partial payload", S, "81 85 37fa213d 7f9f", "more"},

    {"5.4 three fragments", C, "02 01 'a' 00 01 'b' 80 01 'c'", "binary abc;"},
    {"5.4 fragments with masking keys of their own", S, "01 83 37fa213d 7f9f4d 80 82 01020304 6d6d",
     "text Hello;"},
    {"5.4 empty first fragment", C, "01 00 80 01 'a'", "text a;"},
    {"5.4 empty last fragment", C, "01 01 'a' 80 00", "text a;"},
    {"5.4 all fragments empty", C, "01 00 00 00 80 00", "text ;"},
    {"5.4 ping between fragments", C, "01 01 'a' 89 01 'p' 80 01 'b'", "ping p;text ab;"},
    {"5.4 pong between fragments", C, "01 01 'a' 8a 01 'p' 80 01 'b'", "pong p;text ab;"},
    {"5.4 close between fragments", C, "01 01 'a' 88 02 03e8", "close 1000 ;"},
    {"5.4 continuation first", C, "80 01 'a'", "fault 1002"},
    {"5.4 unfinished continuation first", C, "00 01 'a'", "fault 1002"},
    {"5.4 continuation after a whole message", C, "81 01 'a' 80 01 'b'", "text a;fault 1002"},
    {"5.4 text inside of a message", C, "01 01 'a' 81 01 'b'", "fault 1002"},
    {"5.4 binary inside of a message", C, "01 01 'a' 02 01 'b'", "fault 1002"},
    {"5.4 message after a fragmented one", C, "01 00 80 00 81 01 'x'", "text ;text x;"},
    {"5.4 waiting for the next fragment", C, "01 01 'a'", "more"},

    {"5.5 fragmented ping", C, "09 01 'a'", "fault 1002"},
    {"5.5 fragmented pong", S, "0a 81 00000000 'a'", "fault 1002"},
    {"5.5 fragmented close", C, "08 02 03e8", "fault 1002"},
    {"5.5 ping of 126 bytes", C, "89 7e 007e", "fault 1002"},
    {"5.5 ping with a 64 bit length", C, "89 7f 0000000000010000", "fault 1002"},
    {"5.5 close of 126 bytes", S, "88 fe 007e 00000000", "fault 1002"},

    {"5.5.1 close without a code", S, "88 80 00000000", "close 1005 ;"},
    {"5.5.1 close with a code", S, "88 82 00000000 03e8", "close 1000 ;"},
    {"5.5.1 close with a masked reason", S, "88 85 37fa213d 3412434452", "close 1000 bye;"},
    {"5.5.1 nothing is read after close", C, "88 02 03e8 83 00", "close 1000 ;"},
    {"5.5.1 no message after close", C, "88 00 81 01 'a'", "close 1005 ;"},
    {"5.5.1 close of one byte", C, "88 01 03", "fault 1002"},
    {"5.5.1 reason is not UTF-8", C, "88 04 03e8 c328", "fault 1007"},
    {"5.5.1 reason ends in a character", C, "88 04 03e8 e282", "fault 1007"},
    {"5.5.2 empty ping", S, "89 80 00000000", "ping ;"},
    {"5.5.2 many pings", C, "89 01 'a' 89 01 'b' 89 01 'c'", "ping a;ping b;ping c;"},
    {"5.5.3 unsolicited pong", C, "8a 00", "pong ;"},

    {"5.6 binary need not be UTF-8", C, "82 02 c328", "binary \\xc3\\x28;"},

    {"7.4.1 code 0", C, "88 02 0000", "fault 1002"},
    {"7.4.1 code 999", C, "88 02 03e7", "fault 1002"},
    {"7.4.1 code 1001", C, "88 02 03e9", "close 1001 ;"},
    {"7.4.1 code 1003", C, "88 02 03eb", "close 1003 ;"},
    {"7.4.1 code 1004", C, "88 02 03ec", "fault 1002"},
    {"7.4.1 code 1005", C, "88 02 03ed", "fault 1002"},
    {"7.4.1 code 1006", C, "88 02 03ee", "fault 1002"},
    {"7.4.1 code 1007", C, "88 02 03ef", "close 1007 ;"},
    {"7.4.1 code 1014", C, "88 02 03f6", "close 1014 ;"},
    {"7.4.1 code 1015", C, "88 02 03f7", "fault 1002"},
    {"7.4.2 code 1016", C, "88 02 03f8", "fault 1002"},
    {"7.4.2 code 2999", C, "88 02 0bb7", "fault 1002"},
    {"7.4.2 code 3000", C, "88 02 0bb8", "close 3000 ;"},
    {"7.4.2 code 4999", C, "88 02 1387", "close 4999 ;"},
    {"7.4.2 code 5000", C, "88 02 1388", "fault 1002"},
    {"7.4.2 code 65535", C, "88 02 ffff", "fault 1002"},

    {"8.1 a character over two fragments", C, "01 02 e282 80 01 ac", "text \\xe2\\x82\\xac;"},
    {"8.1 a ping inside of a character", C, "01 01 c3 89 00 80 01 a9", "ping ;text \\xc3\\xa9;"},
    {"8.1 bad byte", C, "81 04 'a' ff 'bc'", "fault 1007"},
    {"8.1 bad byte, masked", S, "81 81 ffffffff 00", "fault 1007"},
    {"8.1 overlong", C, "81 02 c080", "fault 1007"},
    {"8.1 surrogate", C, "81 03 eda080", "fault 1007"},
    {"8.1 over U+10FFFF", C, "81 04 f4908080", "fault 1007"},
    {"8.1 ends in a character", C, "81 02 'a' c3", "fault 1007"},
    {"8.1 last fragment ends in a character", C, "01 01 'a' 80 01 c3", "fault 1007"},
    {"8.1 fails inside of a fragment", C, "01 02 'a' ff", "fault 1007"},
    {"8.1 fails inside of a partial frame", C, "81 64 'a' ff", "fault 1007"},
    {"8.1 fails inside of a partial continuation", C, "01 01 c3 80 64 28", "fault 1007"},
    {"8.1 a message starts a new character", C, "01 00 80 00 81 01 80", "text ;fault 1007"},

    {"10.4 declared length over the limit", C, "82 7e 012d", "fault 1009"},
    {"10.4 masked, before the payload", S, "82 fe 012d 00000000", "fault 1009"},
    {"10.4 64 bit length over the limit", C, "81 7f 0000000000010000", "fault 1009"},
    {"10.4 the largest length", C, "81 7f 7fffffffffffffff", "fault 1009"},
    {"10.4 fragments over the limit", C, "02 02 'ab' 00 7e 012b", "fault 1009"},
    {"10.4 protocol before size", C, "c2 7f 7fffffffffffffff", "fault 1002"},
    {"10.4 a ping does not count", C, "02 01 'a' 89 01 'p' 80 01 'b'", "ping p;binary ab;"},

    /* RFC 7692. The payloads are those of its §7.2.3. */
    {"7692-7.2.3.1 a compressed message", CD, "c1 07 f248cdc9c90700", "text Hello;"},
    {"7692-7.2.3.1 masked", SD, "c1 87 37fa213d c5b2ecf4fefd21", "text Hello;"},
    {"7692-7.2.3.1 binary", SD, "c2 87 00000000 f248cdc9c90700", "binary Hello;"},
    {"7692-7.2.3.1 fragmented", CD, "41 03 f248cd 80 04 c9c90700", "text Hello;"},
    {"7692-7.2.3.1 in three", SD, "41 81 00000000 f2 00 80 00000000 80 86 00000000 48cdc9c90700",
     "text Hello;"},
    {"7692-7.2.3.2 the window is kept", CT, "c1 07 f248cdc9c90700 c1 05 f200110000",
     "text Hello;text Hello;more"},
    {"7692-7.2.3.2 over a message that is not compressed", CT,
     "c1 07 f248cdc9c90700 81 01 'x' 41 01 f2 80 04 00110000", "text Hello;text x;text Hello;more"},
    {"7692-7.2.3.2 the window is not kept", CD, "c1 07 f248cdc9c90700 c1 05 f200110000",
     "text Hello;fault 1002"},
    {"7692-7.2.3.3 a block without compression", CD, "c1 0b 000500faff48656c6c6f00", "text Hello;"},
    {"7692-7.2.3.4 a final block", CT, "c1 08 f348cdc9c9070000 c1 05 f200110000",
     "text Hello;text Hello;more"},
    {"7692-7.2.3.5 two blocks", CD, "c1 0d f24805000000ffffcac9c90700", "text Hello;"},
    {"7692-7.2.3.6 an empty message", CD, "c1 01 00", "text ;"},
    {"7692-7.2.3.6 an empty message without a byte", SD, "c2 80 00000000", "binary ;"},
    {"7692-7.2.3.6 an empty message in fragments", CD, "41 00 00 00 80 01 00 c1 07 f248cdc9c90700",
     "text ;text Hello;"},
    {"7692-6 messages may be uncompressed", CD, "81 01 'a' c1 07 f248cdc9c90700 81 01 'b'",
     "text a;text Hello;text b;"},
    {"7692-6.1 control frames between fragments", CD,
     "41 03 f248cd 89 01 'p' 00 02 c9c9 8a 01 'q' 80 02 0700", "ping p;pong q;text Hello;"},
    {"7692-6.1 a close between fragments", CD, "41 03 f248cd 88 02 03e8", "close 1000 ;"},
    {"7692-6.1 a close behind a message", CT, "c1 07 f248cdc9c90700 88 00",
     "text Hello;close 1005 ;"},
    {"7692-6.1 RSV1 on a continuation", CD, "41 03 f248cd c0 04 c9c90700", "fault 1002"},
    {"7692-6.1 RSV1 on a continuation only", CD, "01 01 'a' c0 01 'b'", "fault 1002"},
    {"7692-6.1 RSV1 on a ping", CD, "c9 00", "fault 1002"},
    {"7692-6.1 RSV1 on a pong", ST, "ca 80 00000000", "fault 1002"},
    {"7692-6.1 RSV1 on a close", CD, "c8 02 03e8", "fault 1002"},
    {"7692-6 RSV2", CD, "e1 07 f248cdc9c90700", "fault 1002"},
    {"7692-6 RSV3 alone", CD, "91 00", "fault 1002"},
    {"7692-6 RSV1 when nothing was agreed on", C, "c1 07 f248cdc9c90700", "fault 1002"},
    {"7692-7.2.2 the reserved block type", CD, "c1 01 07", "fault 1002"},
    {"7692-7.2.2 a message and a broken one", CT, "c1 07 f248cdc9c90700 c1 04 00050005",
     "text Hello;fault 1002"},
    {"7692-7.2.2 cut off", CD, "c1 06 f248cdc9c907", "fault 1002"},
    {"7692-7.2.2 cut off in a fragment", CD, "41 03 f248cd 80 01 c9", "fault 1002"},
    {"7692-7.2.2 waiting for the rest", CD, "41 03 f248cd", "more"},
    {"7692-7.2.2 inflated text is not UTF-8", CD, "c1 07 000100feffff00", "fault 1007"},
    {"7692-7.2.2 at its first bad byte", CD, "41 06 000200fdffff", "fault 1007"},
    {"7692-7.2.2 inflated binary need not be", CD, "c2 07 000100feffff00", "binary \\xff;"},
    {"7692-7.2.2 a character over two fragments", CD, "41 06 000200fdffc3 80 02 a900",
     "text \\xc3\\xa9;"},
    {"7692-7.2.2 ends in a character", CD, "c1 07 000100feffc300", "fault 1007"},
    {"bad text comes before what is broken behind it", CD, "c1 07 000100feffff07", "fault 1007"},
    {"as big as allowed when inflated", CD, "c2 08 4a4c1c05c4020000", "binary " A300 ";"},
    {"too big when inflated", CD, "c2 08 4a4c1c0544030000", "fault 1009"},
    {"too big in its first fragment", CD, "42 08 4a4c1c0544030000", "fault 1009"},
    {"bad text comes before too big", CD, "c1 0c 4a4c1c1ee0ff403b805a0000", "fault 1007"},
    {"bad text behind too big", CD, "c1 09 4a4c1c054483ff0000", "fault 1009"},
    {"too big a frame of a small message", CD, "c2 7e 012d" E60 "00", "binary ;"},
    {"too big a frame that is not compressed", CD, "82 7e 012d", "fault 1009"},
};

struct run {
    char events[4096];
    size_t len;
    bool pause; /* after each message */
    bool over;
};

static void note(struct run *run, const char *what, const uint8_t *data, size_t len)
{
    assert_false(run->over); /* on_close is the last call */
    run->len +=
        (size_t)snprintf(run->events + run->len, sizeof run->events - run->len, "%s ", what);
    for (size_t i = 0; i < len && run->len < sizeof run->events - 16; i++)
        run->len +=
            (size_t)snprintf(run->events + run->len, sizeof run->events - run->len,
                             isprint(data[i]) && data[i] != '(' ? "%c" : "\\x%02x", data[i]);
    run->len += (size_t)snprintf(run->events + run->len, sizeof run->events - run->len, ";");
}

static bool on_message(void *ctx, enum tg_ws_opcode kind, const uint8_t *data, size_t len)
{
    struct run *run = ctx;

    assert_non_null(data);
    assert_true(kind == TG_WS_TEXT || kind == TG_WS_BINARY);
    note(run, kind == TG_WS_TEXT ? "text" : "binary", data, len);
    return !run->pause;
}

static void on_ping(void *ctx, const uint8_t *data, size_t len)
{
    note(ctx, "ping", data, len);
}

static void on_pong(void *ctx, const uint8_t *data, size_t len)
{
    note(ctx, "pong", data, len);
}

static void on_close(void *ctx, int code, const char *reason, size_t reason_len)
{
    char what[32];

    snprintf(what, sizeof what, "close %d", code);
    note(ctx, what, (const uint8_t *)reason, reason_len);
    ((struct run *)ctx)->over = true;
}

static const struct tg_ws_callbacks callbacks = {on_message, on_ping, on_pong, on_close};

static size_t read_bytes(const char *text, uint8_t *out)
{
    size_t len = 0;

    while (*text != '\0') {
        if (*text == '\'') {
            for (text++; *text != '\''; text++)
                out[len++] = (uint8_t)*text;
            text++;
        } else if (*text == ' ') {
            text++;
        } else {
            char pair[3] = {text[0], text[1], '\0'};
            out[len++] = (uint8_t)strtoul(pair, NULL, 16);
            text += 2;
        }
    }
    return len;
}

/* Feeds a piece from memory of exactly its size, so that a read past its end is noticed. Goes on after
 * pauses. */
static enum tg_err feed_piece(struct tg_ws *ws, struct run *run, const uint8_t *data, size_t len)
{
    enum tg_err err = TG_ERR_OK;
    struct tg_ws_fault fault = {0, NULL};

    while (len > 0 && err == TG_ERR_OK && !run->over) {
        uint8_t *copy = malloc(len);
        size_t consumed = SIZE_MAX;
        memcpy(copy, data, len);
        size_t before = run->len;
        err = tg_ws_feed(ws, copy, len, &consumed, &fault);
        free(copy);
        assert_true(consumed <= len);
        if (err == TG_ERR_OK && !run->over && consumed < len)
            assert_true(run->pause && run->len > before);
        data += consumed;
        len -= consumed;
    }
    if (err == TG_ERR_OK)
        return TG_ERR_OK;
    assert_non_null(fault.why);
    assert_int_equal(tg_ws_held(ws), 0);
    run->over = true;
    run->len += (size_t)snprintf(run->events + run->len, sizeof run->events - run->len, "fault %d",
                                 fault.code);
    return err;
}

static enum tg_err create(struct tg_ws **out, const struct row *row, struct run *run)
{
    static const struct tg_deflate_tuning tuning = {.level = 6, .memory_level = 8};
    struct tg_deflate_way way = {row->side >= ST, TG_DEFLATE_BITS_MAX};
    struct tg_deflate_agreement agreed = {way, way};
    enum tg_ws_role role = row->side % 2 == 0 ? TG_WS_SERVER : TG_WS_CLIENT;
    enum tg_err err = tg_ws_create(out, role, MESSAGE_MAX, &callbacks, run);

    if (err != TG_ERR_OK || row->side < SD)
        return err;
    err = tg_ws_use_deflate(*out, &agreed, &tuning, NULL);
    if (err != TG_ERR_OK) {
        tg_ws_destroy(*out);
        *out = NULL;
    }
    return err;
}

/* Splits at `cut` (0: not at all; SIZE_MAX: everywhere). */
static void run_row(const struct row *row, const uint8_t *bytes, size_t len, size_t cut, bool pause)
{
    struct run run = {.pause = pause};
    struct tg_ws *ws;

    assert_int_equal(create(&ws, row, &run), TG_ERR_OK);
    assert_int_equal(tg_ws_held(ws), 0);
    if (cut == SIZE_MAX) {
        for (size_t i = 0; i < len && !run.over; i++)
            (void)!feed_piece(ws, &run, bytes + i, 1);
    } else {
        (void)!feed_piece(ws, &run, bytes, cut);
        if (!run.over)
            (void)!feed_piece(ws, &run, bytes + cut, len - cut);
    }
    if (tg_ws_held(ws) > 0)
        strcpy(run.events + run.len, "more");
    if (strcmp(run.events, row->events) != 0)
        fail_msg("%s, cut at %zd: got \"%s\", want \"%s\"", row->name, (ssize_t)cut, run.events,
                 row->events);
    if (run.over) { /* finished: says the same again, and takes nothing */
        struct tg_ws_fault fault = {0, NULL};
        uint8_t more[] = {0x81, 0x01, 'x'};
        size_t consumed = 1;
        enum tg_err err = tg_ws_feed(ws, more, sizeof more, &consumed, &fault);
        assert_int_equal(consumed, 0);
        assert_int_equal(err == TG_ERR_OK, strstr(row->events, "fault") == NULL);
        assert_int_equal(err == TG_ERR_OK, fault.why == NULL);
    }
    tg_ws_destroy(ws);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[1024];
        size_t len = read_bytes(rows[i].bytes, bytes);
        for (int pause = 0; pause < 2; pause++) {
            for (size_t cut = 0; cut < len; cut++)
                run_row(&rows[i], bytes, len, cut, pause);
            run_row(&rows[i], bytes, len, SIZE_MAX, pause);
        }
    }
}

struct starved {
    const struct row *row;
    long successes;
    bool piecewise;
    bool failed; /* an allocation did */
};

/* In a thread of its own, so that no framing context is left from before. */
static void *run_starved(void *arg)
{
    struct starved *starved = arg;
    uint8_t bytes[1024];
    size_t len = read_bytes(starved->row->bytes, bytes);
    struct run run = {.pause = false};
    struct tg_ws *ws = NULL;
    enum tg_err err;

    tg_memory_fail_after(starved->successes, 0);
    err = create(&ws, starved->row, &run);
    for (size_t i = 0; starved->piecewise && i < len && err == TG_ERR_OK && !run.over; i++)
        err = feed_piece(ws, &run, bytes + i, 1);
    if (!starved->piecewise && err == TG_ERR_OK)
        err = feed_piece(ws, &run, bytes, len);
    starved->failed = (long)tg_memory_fail_after(-1, 0) > starved->successes;
    if (starved->failed) {
        assert_int_equal(err, TG_ERR_NOMEM);
        if (ws != NULL) {
            assert_string_equal(run.events + run.len - strlen("fault 1011"), "fault 1011");
            assert_int_equal(tg_ws_held(ws), 0);
        }
    } else if (tg_ws_held(ws) == 0) {
        assert_string_equal(run.events, starved->row->events);
    }
    tg_ws_destroy(ws);
    return NULL;
}

static void test_allocation_failures(void **state)
{
    size_t failures = 0;

    (void)state;
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        struct starved starved = {.row = &rows[i / 2], .piecewise = i % 2 == 1, .failed = true};
        for (starved.successes = 0; starved.failed; starved.successes++) {
            pthread_t thread;
            assert_int_equal(pthread_create(&thread, NULL, run_starved, &starved), 0);
            assert_int_equal(pthread_join(thread, NULL), 0);
            failures += starved.failed;
        }
    }
    assert_true(failures > 4 * sizeof rows / sizeof rows[0]);
}

struct expected {
    const uint8_t *data;
    size_t len;
    int times;
};

static bool on_expected(void *ctx, enum tg_ws_opcode kind, const uint8_t *data, size_t len)
{
    struct expected *expected = ctx;

    assert_int_equal(kind, TG_WS_BINARY);
    assert_int_equal(len, expected->len);
    assert_true(len == 0 || memcmp(data, expected->data, len) == 0);
    expected->times++;
    return true;
}

static void feed_cut(enum tg_ws_role role, const struct tg_buffer *wire, size_t cut,
                     struct expected *expected)
{
    static const struct tg_ws_callbacks want = {on_expected, on_ping, on_pong, on_close};
    uint8_t *copy = malloc(wire->len);
    struct tg_ws_fault fault;
    struct tg_ws *ws;
    size_t consumed;

    memcpy(copy, tg_buffer_head(wire), wire->len);
    expected->times = 0;
    assert_int_equal(tg_ws_create(&ws, role, expected->len, &want, expected), TG_ERR_OK);
    assert_int_equal(tg_ws_feed(ws, copy, cut, &consumed, &fault), TG_ERR_OK);
    assert_int_equal(consumed, cut);
    /* Right behind the header there is nothing to hold yet. */
    bool at_payload = cut == wire->len - expected->len;
    assert_int_equal(tg_ws_held(ws) > 0, cut > 0 && cut < wire->len && !at_payload);
    assert_int_equal(tg_ws_feed(ws, copy + cut, wire->len - cut, &consumed, &fault), TG_ERR_OK);
    assert_int_equal(consumed, wire->len - cut);
    assert_int_equal(expected->times, 1);
    assert_int_equal(tg_ws_held(ws), 0);
    tg_ws_destroy(ws);
    free(copy);
}

/* Every length around a change of form, both roles, cut at interesting places, gets back whole. */
static void test_round_trip(void **state)
{
    static const size_t lengths[] = {0,    1,    7,    8,     9,     124,   125,   126,
                                     4095, 4096, 4097, 65535, 65536, 65537, 200000};
    static const size_t cuts[] = {0, 1, 2, 3, 9, 10, 13, 14, 15, 100, 4100, 66000};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof lengths / sizeof lengths[0]; i++) {
        struct tg_buffer wire = TG_BUFFER_INIT;
        size_t len = lengths[i / 2];
        uint8_t *data = malloc(len + 1);
        for (size_t j = 0; j < len; j++)
            data[j] = (uint8_t)(j * 131 + j / 251);
        struct expected expected = {data, len, 0};
        enum tg_ws_role sender = i % 2 == 0 ? TG_WS_CLIENT : TG_WS_SERVER;
        enum tg_ws_role receiver = i % 2 == 0 ? TG_WS_SERVER : TG_WS_CLIENT;
        assert_int_equal(tg_ws_encode(&wire, sender, TG_WS_BINARY, data, len), TG_ERR_OK);
        for (size_t c = 0; c < sizeof cuts / sizeof cuts[0] && cuts[c] <= wire.len; c++)
            feed_cut(receiver, &wire, cuts[c], &expected);
        tg_buffer_fini(&wire);
        free(data);
    }
}

/* Pauses fall between frames: what was not consumed is a whole number of them. */
static void test_pause_consumes_exactly(void **state)
{
    static const char frames[] = "\x82\x01"
                                 "a"
                                 "\x02\x01"
                                 "b"
                                 "\x80\x01"
                                 "c"
                                 "\x82\x01"
                                 "d";
    struct run run = {.pause = true};
    struct tg_ws_fault fault;
    struct tg_ws *ws;
    uint8_t bytes[sizeof frames - 1];
    size_t consumed;

    (void)state;
    memcpy(bytes, frames, sizeof bytes);
    assert_int_equal(tg_ws_create(&ws, TG_WS_CLIENT, 10, &callbacks, &run), TG_ERR_OK);
    assert_int_equal(tg_ws_feed(ws, bytes, sizeof bytes, &consumed, &fault), TG_ERR_OK);
    assert_int_equal(consumed, 3);
    assert_int_equal(tg_ws_held(ws), 0);
    assert_int_equal(tg_ws_feed(ws, bytes + 3, sizeof bytes - 3, &consumed, &fault), TG_ERR_OK);
    assert_int_equal(consumed, 6);
    assert_int_equal(tg_ws_held(ws), 0);
    assert_int_equal(tg_ws_feed(ws, bytes + 9, sizeof bytes - 9, &consumed, &fault), TG_ERR_OK);
    assert_int_equal(consumed, 3);
    assert_string_equal(run.events, "binary a;binary bc;binary d;");
    tg_ws_destroy(ws);
}

/* A header that claims much and sends little costs little. */
static void test_memory_grows_with_bytes(void **state)
{
    uint8_t bytes[] = {0x82, 0x7f, 0, 0, 0, 0, 0x10, 0, 0, 0, 'x'};
    struct run run = {.pause = false};
    struct tg_ws_fault fault;
    struct tg_ws *ws;
    size_t consumed;

    (void)state;
    assert_int_equal(tg_ws_create(&ws, TG_WS_CLIENT, (size_t)1 << 30, &callbacks, &run), TG_ERR_OK);
    assert_int_equal(tg_ws_feed(ws, bytes, sizeof bytes, &consumed, &fault), TG_ERR_OK);
    assert_in_range(tg_ws_held(ws), 1, 8192);
    tg_ws_destroy(ws);
}

static void assert_wire(struct tg_buffer *wire, const char *expected)
{
    uint8_t bytes[256];
    size_t len = read_bytes(expected, bytes);

    assert_int_equal(wire->len, len);
    assert_memory_equal(tg_buffer_head(wire), bytes, len);
    tg_buffer_fini(wire);
}

static void test_encode(void **state)
{
    struct tg_buffer wire = TG_BUFFER_INIT;
    uint8_t big[126] = {0};

    (void)state;
    assert_int_equal(tg_ws_encode(&wire, TG_WS_SERVER, TG_WS_TEXT, "Hello", 5), TG_ERR_OK);
    assert_wire(&wire, "81 05 'Hello'");
    assert_int_equal(tg_ws_encode(&wire, TG_WS_SERVER, TG_WS_PING, NULL, 0), TG_ERR_OK);
    assert_wire(&wire, "89 00");
    assert_int_equal(tg_ws_encode(&wire, TG_WS_SERVER, TG_WS_PONG, big, 126), TG_ERR_INVALID);
    assert_int_equal(tg_ws_encode(&wire, TG_WS_SERVER, TG_WS_CONTINUATION, "", 0), TG_ERR_INVALID);
    assert_int_equal(wire.len, 0);
    tg_memory_fail_after(0, 0);
    assert_int_equal(tg_ws_encode(&wire, TG_WS_SERVER, TG_WS_TEXT, "Hello", 5), TG_ERR_NOMEM);
    tg_memory_fail_after(-1, 0);
    /* §5.3: a key of its own for each frame. */
    uint8_t first[4];
    assert_int_equal(tg_ws_encode(&wire, TG_WS_CLIENT, TG_WS_TEXT, "Hello", 5), TG_ERR_OK);
    assert_int_equal(wire.len, 11);
    assert_int_equal(tg_buffer_head(&wire)[1], 0x85);
    memcpy(first, tg_buffer_head(&wire) + 2, 4);
    tg_buffer_clear(&wire);
    assert_int_equal(tg_ws_encode(&wire, TG_WS_CLIENT, TG_WS_TEXT, "Hello", 5), TG_ERR_OK);
    assert_memory_not_equal(tg_buffer_head(&wire) + 2, first, 4);
    tg_buffer_fini(&wire);
}

static void test_encode_close(void **state)
{
    struct tg_buffer wire = TG_BUFFER_INIT;
    char reason[124];

    (void)state;
    assert_int_equal(tg_ws_encode_close(&wire, TG_WS_SERVER, 1005, "x", 1), TG_ERR_OK);
    assert_wire(&wire, "88 00");
    assert_int_equal(tg_ws_encode_close(&wire, TG_WS_SERVER, 0, "", 0), TG_ERR_OK);
    assert_wire(&wire, "88 00");
    assert_int_equal(tg_ws_encode_close(&wire, TG_WS_SERVER, 4401, "bye", 3), TG_ERR_OK);
    assert_wire(&wire, "88 05 1131 'bye'");
    assert_int_equal(tg_ws_encode_close(&wire, TG_WS_SERVER, 1000, "\xff", 1), TG_ERR_OK);
    assert_wire(&wire, "88 02 03e8");
    assert_int_equal(tg_ws_encode_close(&wire, TG_WS_SERVER, 1006, "", 0), TG_ERR_INVALID);
    memset(reason, 'a', sizeof reason);
    memcpy(reason + 122, "\xc3\xa9", 2); /* 123 bytes would cut it in two */
    assert_int_equal(tg_ws_encode_close(&wire, TG_WS_SERVER, 1000, reason, 124), TG_ERR_OK);
    assert_int_equal(wire.len, 2 + 2 + 122);
    tg_buffer_fini(&wire);
}

struct pair {
    struct tg_ws *server;
    struct tg_ws *client;
    struct tg_metrics *metrics; /* the server's */
    struct expected expected;   /* by the client */
};

static const struct tg_ws_callbacks want = {on_expected, on_ping, on_pong, on_close};

static void open_pair(struct pair *pair, struct tg_deflate_agreement agreed, size_t min_size)
{
    struct tg_deflate_tuning tuning = {.level = 6, .memory_level = 8, .min_size = min_size};

    *pair = (struct pair){.metrics = tg_xcalloc(1, sizeof *pair->metrics)};
    assert_int_equal(
        tg_ws_create(&pair->server, TG_WS_SERVER, (size_t)1 << 22, &want, &pair->expected),
        TG_ERR_OK);
    assert_int_equal(
        tg_ws_create(&pair->client, TG_WS_CLIENT, (size_t)1 << 22, &want, &pair->expected),
        TG_ERR_OK);
    assert_int_equal(tg_ws_use_deflate(pair->server, &agreed, &tuning, pair->metrics), TG_ERR_OK);
    assert_int_equal(tg_ws_use_deflate(pair->client, &agreed, &tuning, NULL), TG_ERR_OK);
}

static void close_pair(struct pair *pair)
{
    tg_ws_destroy(pair->server);
    tg_ws_destroy(pair->client);
    tg_free(pair->metrics);
}

/* Sends to the other side in pieces; returns the first byte and the size of what went over the wire. */
static uint8_t pass_on(struct pair *pair, bool from_server, const uint8_t *data, size_t len,
                       size_t *wire_len)
{
    struct tg_ws *from = from_server ? pair->server : pair->client;
    struct tg_ws *to = from_server ? pair->client : pair->server;
    struct tg_buffer wire = TG_BUFFER_INIT;
    struct tg_ws_fault fault;

    assert_int_equal(tg_buffer_append(&wire, "before", 6), TG_ERR_OK);
    assert_int_equal(tg_ws_encode_message(from, &wire, TG_WS_BINARY, data, len), TG_ERR_OK);
    assert_memory_equal(tg_buffer_head(&wire), "before", 6);
    pair->expected = (struct expected){data, len, 0};
    for (size_t at = 6, piece = 1; at < wire.len; at += piece, piece = piece * 3 % 5001 + 1) {
        size_t consumed;
        if (piece > wire.len - at)
            piece = wire.len - at;
        assert_int_equal(tg_ws_feed(to, tg_buffer_head(&wire) + at, piece, &consumed, &fault),
                         TG_ERR_OK);
        assert_int_equal(consumed, piece);
    }
    assert_int_equal(pair->expected.times, 1);
    *wire_len = wire.len - 6;
    uint8_t first = tg_buffer_head(&wire)[6];
    tg_buffer_fini(&wire);
    return first;
}

/* Both directions, every kind of agreement; without takeover nothing is held between messages. */
static void test_compressed_round_trips(void **state)
{
    static const size_t lengths[] = {0, 1, 60, 99, 100, 125, 126, 5000, 65536, 300000};

    (void)state;
    for (unsigned i = 0; i < 4 * 7; i++) {
        struct tg_deflate_agreement agreed = {{(i & 1) != 0, (uint8_t)(9 + i / 4)},
                                              {(i & 2) != 0, (uint8_t)(15 - i / 4)}};
        struct pair pair;
        open_pair(&pair, agreed, 100);
        for (size_t j = 0; j < 2 * sizeof lengths / sizeof lengths[0]; j++) {
            size_t len = lengths[j / 2];
            uint8_t *data = malloc(len + 1);
            size_t wire_len;
            for (size_t k = 0; k < len; k++)
                data[k] = (uint8_t)(k % 50 + k / 1000);
            uint8_t first = pass_on(&pair, j % 2 == 0, data, len, &wire_len);
            assert_int_equal(first, len >= 100 ? 0xc2 : 0x82);
            assert_true(len < 100 || wire_len < len);
            free(data);
        }
        assert_int_equal(tg_ws_held(pair.server) > 0, (i & 3) != 0);
        assert_int_equal(tg_ws_held(pair.client) > 0, (i & 3) != 0);
        close_pair(&pair);
    }
}

/* What does not get smaller is sent as it is; with takeover it must go through the window. */
static void test_noise_is_not_compressed(void **state)
{
    uint8_t data[2000];
    size_t wire_len;

    (void)state;
    for (uint32_t i = 0, seed = 1; i < sizeof data; i++, seed = seed * 1664525 + 1013904223)
        data[i] = (uint8_t)(seed >> 24);
    for (int takeover = 0; takeover < 2; takeover++) {
        struct tg_deflate_way way = {takeover, 15};
        struct pair pair;
        open_pair(&pair, (struct tg_deflate_agreement){way, way}, 0);
        assert_int_equal(pass_on(&pair, true, data, sizeof data, &wire_len),
                         takeover ? 0xc2 : 0x82);
        assert_int_equal(pass_on(&pair, true, data, sizeof data, &wire_len),
                         takeover ? 0xc2 : 0x82);
        assert_int_equal(wire_len < 100, takeover);
        close_pair(&pair);
    }
}

static void test_compression_is_counted(void **state)
{
    struct tg_deflate_way way = {false, 15};
    uint8_t data[1000] = {0};
    size_t out;
    size_t in;
    struct pair pair;

    (void)state;
    open_pair(&pair, (struct tg_deflate_agreement){way, way}, 0);
    (void)pass_on(&pair, true, data, sizeof data, &out);
    (void)pass_on(&pair, false, data, sizeof data, &in);
    tg_counter(*bytes)[2] = pair.metrics->compression_bytes;
    assert_int_equal(tg_counter_get(&bytes[TG_OUT][TG_PLAIN]), 1000);
    assert_int_equal(tg_counter_get(&bytes[TG_OUT][TG_COMPRESSED]), out - 2);
    assert_int_equal(tg_counter_get(&bytes[TG_IN][TG_PLAIN]), 1000);
    assert_int_equal(tg_counter_get(&bytes[TG_IN][TG_COMPRESSED]), in - 6);
    close_pair(&pair);
}

/* What could not be compressed leaves no trace of itself. */
static void test_encoding_starved(void **state)
{
    uint8_t data[500] = {0};
    long n = 0;
    enum tg_err err = TG_ERR_NOMEM;

    (void)state;
    for (; err != TG_ERR_OK; n++) {
        struct tg_deflate_way way = {true, 15};
        struct tg_buffer out = TG_BUFFER_INIT;
        struct pair pair;
        size_t wire_len;
        open_pair(&pair, (struct tg_deflate_agreement){way, way}, 0);
        tg_memory_fail_after(n, 0);
        err = tg_ws_encode_message(pair.server, &out, TG_WS_BINARY, data, sizeof data);
        tg_memory_fail_after(-1, 0);
        if (err != TG_ERR_OK) {
            assert_int_equal(err, TG_ERR_NOMEM);
            assert_int_equal(out.len, 0);
            assert_int_equal(pass_on(&pair, true, data, sizeof data, &wire_len), 0xc2);
        }
        tg_buffer_fini(&out);
        close_pair(&pair);
    }
    assert_true(n > 5);
}

/* A mebibyte of zeros in a kibibyte: stops at the limit, and holds nothing after. */
static void test_bomb(void **state)
{
    enum { BOMB = 1 << 20 };
    static const struct tg_deflate_tuning tuning = {.level = 9, .memory_level = 8};
    struct tg_deflate_way way = {false, 15};
    struct tg_deflate_agreement agreed = {way, way};
    struct tg_buffer wire = TG_BUFFER_INIT;
    struct run run = {.pause = false};
    struct tg_ws_fault fault = {0};
    struct tg_ws *client = NULL;
    struct tg_ws *server = NULL;
    uint8_t *zeros = calloc(1, BOMB);
    size_t largest = 0;
    size_t consumed;
    enum tg_err err = TG_ERR_OK;

    (void)state;
    assert_int_equal(tg_ws_create(&client, TG_WS_CLIENT, 0, &callbacks, &run), TG_ERR_OK);
    assert_int_equal(tg_ws_create(&server, TG_WS_SERVER, 10000, &callbacks, &run), TG_ERR_OK);
    assert_int_equal(tg_ws_use_deflate(client, &agreed, &tuning, NULL), TG_ERR_OK);
    assert_int_equal(tg_ws_use_deflate(server, &agreed, &tuning, NULL), TG_ERR_OK);
    assert_int_equal(tg_ws_encode_message(client, &wire, TG_WS_BINARY, zeros, BOMB), TG_ERR_OK);
    free(zeros);
    assert_true(wire.len < 1100);
    for (size_t at = 0; at < wire.len && err == TG_ERR_OK; at++) {
        err = tg_ws_feed(server, tg_buffer_head(&wire) + at, 1, &consumed, &fault);
        largest = tg_ws_held(server) > largest ? tg_ws_held(server) : largest;
        assert_true(at < 100);
    }
    assert_int_equal(err, TG_ERR_LIMIT);
    assert_int_equal(fault.code, 1009);
    assert_int_equal(tg_ws_held(server), 0);
    assert_in_range(largest, 5000, 80000); /* the stream of zlib, the window, the message */
    assert_int_equal(run.len, 0);
    tg_ws_destroy(client);
    tg_ws_destroy(server);
    tg_buffer_fini(&wire);
}

static void test_close_codes(void **state)
{
    (void)state;
    for (int code = -1; code <= 65536; code++) {
        bool valid = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                     (code >= 3000 && code <= 4999);
        assert_int_equal(tg_ws_close_code_valid(code), valid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_pause_consumes_exactly),
        cmocka_unit_test(test_memory_grows_with_bytes),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_encode_close),
        cmocka_unit_test(test_compressed_round_trips),
        cmocka_unit_test(test_noise_is_not_compressed),
        cmocka_unit_test(test_compression_is_counted),
        cmocka_unit_test(test_encoding_starved),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_close_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
