/* wire_test.c - the client's side of the protocol, against what servers say right and wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire.h"
#include "proto/upgrade.h"
#include "proto/websocket.h"

struct fixture {
    struct tg_wire *wire;
    int opens, messages, closings, overs, pings;
    bool clean, text;
    bool pauses; /* at each message */
    char last[64];
    char all[256]; /* every message, each with a ';' */
};

static void on_open(void *ctx)
{
    ((struct fixture *)ctx)->opens++;
}

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
    struct fixture *fixture = ctx;
    fixture->messages++;
    fixture->text = text;
    (void)snprintf(fixture->last, sizeof fixture->last, "%.*s", (int)len, (const char *)data);
    size_t used = strlen(fixture->all);
    (void)snprintf(fixture->all + used, sizeof fixture->all - used, "%.*s;", (int)len,
                   (const char *)data);
    if (fixture->pauses)
        tg_wire_pause(fixture->wire);
}

static void on_closing(void *ctx, bool clean)
{
    struct fixture *fixture = ctx;
    fixture->closings++;
    fixture->clean = clean;
}

static void on_over(void *ctx)
{
    ((struct fixture *)ctx)->overs++;
}

static void on_ping(void *ctx)
{
    ((struct fixture *)ctx)->pings++;
}

static struct fixture *create_fixture(void)
{
    static const struct tg_wire_callbacks callbacks = {on_open, on_message, on_closing, on_over,
                                                       on_ping};
    struct tg_wire_options options = {.authority = "host:1",
                                      .target = "/x?y=z",
                                      .headers = "X-Own: 1\r\n",
                                      .subprotocol = "a",
                                      .message_max = 100};
    struct fixture *fixture = calloc(1, sizeof *fixture);
    if (fixture == NULL ||
        tg_wire_create(&fixture->wire, &options, &callbacks, fixture) != TG_ERR_OK)
        abort();
    return fixture;
}

static int setup(void **state)
{
    *state = create_fixture();
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    tg_wire_destroy(fixture->wire);
    free(fixture);
    return 0;
}

static void feed(struct fixture *fixture, const void *data, size_t len)
{
    uint8_t bytes[1024];
    assert_true(len <= sizeof bytes);
    memcpy(bytes, data, len);
    tg_wire_feed(fixture->wire, bytes, len);
}

static void feed_text(struct fixture *fixture, const char *text)
{
    feed(fixture, text, strlen(text));
}

/* The 101 that answers the pending request, with more header lines; takes that. */
static void accept_with(struct fixture *fixture, const char *more, char *out, size_t size)
{
    struct tg_buffer *pending = tg_wire_pending(fixture->wire);
    char request[1024], accept[TG_WS_ACCEPT_SIZE];
    (void)snprintf(request, sizeof request, "%.*s", (int)pending->len,
                   (const char *)tg_buffer_head(pending));
    const char *key = strstr(request, "Sec-WebSocket-Key: ");
    assert_non_null(key);
    tg_upgrade_accept_key(key + 19, TG_WS_KEY_LEN, accept);
    (void)snprintf(out, size,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
                   accept, more);
    tg_buffer_clear(pending);
}

static void accept_upgrade(struct fixture *fixture, char *out, size_t size)
{
    accept_with(fixture, "", out, size);
}

static void open_wire(struct fixture *fixture)
{
    char answer[512];
    accept_upgrade(fixture, answer, sizeof answer);
    feed_text(fixture, answer);
    assert_int_equal(fixture->opens, 1);
    assert_int_equal(tg_wire_state(fixture->wire), TG_WIRE_OPEN);
}

static void asks_for_the_upgrade_with_what_it_was_given(void **state)
{
    struct fixture *fixture = *state;
    struct tg_buffer *pending = tg_wire_pending(fixture->wire);
    assert_int_equal(tg_buffer_append(pending, "", 1), TG_ERR_OK);
    const char *request = (const char *)tg_buffer_head(pending);
    assert_ptr_equal(strstr(request, "GET /x?y=z HTTP/1.1\r\nHost: host:1\r\n"), request);
    assert_non_null(strstr(request, "\r\nX-Own: 1\r\n"));
    assert_non_null(strstr(request, "\r\nSec-WebSocket-Protocol: a\r\n"));
    assert_null(tg_wire_answer(fixture->wire));
}

static void opens_whatever_the_pieces_of_the_answer_and_takes_frames_behind_it(void **state)
{
    struct fixture *fixture = *state;
    char answer[512];
    accept_upgrade(fixture, answer, sizeof answer);
    size_t len = strlen(answer);
    memcpy(answer + len, "\x81\x02hi", 4);
    for (size_t i = 0; i < len + 4; i++)
        feed(fixture, answer + i, 1);
    assert_int_equal(fixture->opens, 1);
    assert_int_equal(fixture->messages, 1);
    assert_true(fixture->text);
    assert_string_equal(fixture->last, "hi");
    assert_non_null(tg_wire_answer(fixture->wire));
}

static void a_refusal_is_told_with_status_id_and_body(void **state)
{
    struct fixture *fixture = *state;
    feed_text(fixture, "HTTP/1.1 403 Forbidden\r\nTidegate-Connection-Id: ws_1\r\n"
                       "Content-Length: 3\r\n\r\nno\n");
    const struct tg_client_end *end = tg_wire_end(fixture->wire);
    assert_int_equal(fixture->overs, 1);
    assert_int_equal(end->status, 403);
    assert_false(end->opened);
    assert_string_equal(end->connection_id, "ws_1");
    assert_string_equal(end->reason, "Forbidden");
    assert_int_equal(end->body->len, 3);
}

static void a_wrong_accept_key_is_no_upgrade(void **state)
{
    struct fixture *fixture = *state;
    feed_text(fixture, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n");
    assert_int_equal(fixture->opens, 0);
    assert_int_equal(fixture->overs, 1);
    assert_non_null(strstr(tg_wire_end(fixture->wire)->reason, "Sec-WebSocket-Accept"));
}

static void pings_are_answered(void **state)
{
    struct fixture *fixture = *state;
    open_wire(fixture);
    feed(fixture, "\x89\x01p", 3);
    struct tg_buffer *pending = tg_wire_pending(fixture->wire);
    assert_int_equal(pending->len, 2 + 4 + 1); /* masked */
    assert_int_equal(tg_buffer_head(pending)[0], 0x8a);
}

static void the_servers_close_is_echoed_and_its_end_awaited(void **state)
{
    struct fixture *fixture = *state;
    open_wire(fixture);
    feed(fixture,
         "\x88\x05\x0f\xa0"
         "bye",
         7);
    assert_int_equal(fixture->closings, 1);
    assert_true(fixture->clean);
    assert_int_equal(fixture->overs, 0);
    assert_int_equal(tg_buffer_head(tg_wire_pending(fixture->wire))[0], 0x88);
    tg_wire_ended(fixture->wire, TG_ERR_OK, "end of stream");
    const struct tg_client_end *end = tg_wire_end(fixture->wire);
    assert_int_equal(fixture->overs, 1);
    assert_true(end->clean);
    assert_int_equal(end->code, 4000);
    assert_string_equal(end->reason, "bye");
}

static void a_close_of_its_own_waits_for_the_servers(void **state)
{
    struct fixture *fixture = *state;
    open_wire(fixture);
    tg_wire_close(fixture->wire, 1000, "");
    tg_wire_close(fixture->wire, 1001, ""); /* the first counts */
    assert_int_equal(fixture->closings, 1);
    assert_false(fixture->clean);
    feed(fixture, "\x81\x02hi", 4); /* what was under way still comes */
    assert_int_equal(fixture->messages, 1);
    feed(fixture, "\x88\x02\x03\xe8", 4);
    assert_int_equal(fixture->closings, 2);
    assert_true(fixture->clean);
}

static void a_broken_frame_ends_it_with_a_reason(void **state)
{
    struct fixture *fixture = *state;
    open_wire(fixture);
    feed(fixture, "\x83\x00", 2);
    assert_int_equal(fixture->overs, 1);
    assert_non_null(strstr(tg_wire_end(fixture->wire)->reason, "broke the protocol"));
    feed(fixture, "\x81\x02hi", 4);
    assert_int_equal(fixture->messages, 0);
}

static void an_end_without_a_close_is_told_once(void **state)
{
    struct fixture *fixture = *state;
    open_wire(fixture);
    tg_wire_ended(fixture->wire, TG_ERR_OK, "end of stream");
    tg_wire_ended(fixture->wire, TG_ERR_SYS, "again");
    tg_wire_fail(fixture->wire, TG_FETCH_RESET, "again");
    assert_int_equal(fixture->overs, 1);
    assert_string_equal(tg_wire_end(fixture->wire)->reason,
                        "the server closed the connection without a close frame");
}

static void the_outcome_says_what_went_wrong(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum tg_fetch_outcome outcome;
        int code; /* of the close frame that we send */
    } rows[] = {
        {"\x81\x7e\x00\x7e", 4, TG_FETCH_TOO_LARGE, 1009}, /* 126 bytes, of 100 */
        {"\x01\x64", 2, TG_FETCH_OK, 0},                   /* exactly 100, so far */
        {"\x83\x00", 2, TG_FETCH_PROTOCOL, 1002},
        {"\x81\x82", 2, TG_FETCH_PROTOCOL, 1002},
        {"\x81\x02\xc3\x28", 4, TG_FETCH_PROTOCOL, 1007},
        {"\x80\x00", 2, TG_FETCH_PROTOCOL, 1002},
    };

    for (size_t i = 0; i < 2 * (sizeof rows / sizeof rows[0]); i++) {
        size_t row = i / 2;
        struct fixture *fixture = create_fixture();
        open_wire(fixture);
        for (size_t at = 0; at < rows[row].len; at += i % 2 == 0 ? rows[row].len : 1)
            feed(fixture, rows[row].bytes + at, i % 2 == 0 ? rows[row].len : 1);
        assert_int_equal(fixture->overs, rows[row].code == 0 ? 0 : 1);
        if (rows[row].code != 0) {
            const uint8_t *sent = tg_buffer_head(tg_wire_pending(fixture->wire));
            assert_int_equal(tg_wire_end(fixture->wire)->outcome, rows[row].outcome);
            assert_int_equal((sent[6] ^ sent[2]) << 8 | (sent[7] ^ sent[3]), rows[row].code);
        }
        (void)teardown((void **)&fixture);
    }
    (void)state;
}

/* Three messages and a ping between them; each message pauses. */
static void a_pause_holds_messages_back_and_loses_none(void **state)
{
    static const char frames[] = "\x81\x01"
                                 "a"
                                 "\x89\x00"
                                 "\x01\x01"
                                 "b"
                                 "\x80\x01"
                                 "c"
                                 "\x81\x01"
                                 "d";

    for (size_t piece = 1; piece < sizeof frames; piece++) {
        struct fixture *fixture = create_fixture();
        open_wire(fixture);
        fixture->pauses = true;
        for (size_t at = 0; at < sizeof frames - 1; at += piece) {
            size_t left = sizeof frames - 1 - at;
            feed(fixture, frames + at, left < piece ? left : piece);
        }
        assert_string_equal(fixture->all, "a;");
        assert_int_equal(fixture->pings, 0);
        tg_wire_resume(fixture->wire);
        assert_string_equal(fixture->all, "a;bc;");
        assert_int_equal(fixture->pings, 1);
        fixture->pauses = false;
        tg_wire_resume(fixture->wire);
        tg_wire_resume(fixture->wire);
        assert_string_equal(fixture->all, "a;bc;d;");
        (void)teardown((void **)&fixture);
    }
    (void)state;
}

static void a_server_that_pings_and_does_not_read_takes_no_memory(void **state)
{
    struct fixture *fixture = *state;
    open_wire(fixture);
    for (int i = 0; i < 10000; i++)
        feed(fixture, "\x89\x04ping", 6);
    assert_int_equal(fixture->pings, 10000);
    assert_true(tg_wire_pending(fixture->wire)->len < 8192);
    tg_buffer_clear(tg_wire_pending(fixture->wire)); /* it reads */
    feed(fixture, "\x89\x04ping", 6);
    assert_int_equal(tg_wire_pending(fixture->wire)->len, 10);
}

static void only_an_offered_subprotocol_may_be_chosen(void **state)
{
    static const struct {
        const char *line;
        bool good;
    } rows[] = {
        {"", true},
        {"Sec-WebSocket-Protocol: a\r\n", true},
        {"Sec-WebSocket-Protocol: b\r\n", false},
        {"Sec-WebSocket-Protocol: aa\r\n", false},
        {"Sec-WebSocket-Extensions: permessage-deflate\r\n", false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture *fixture = create_fixture();
        char answer[512];
        accept_with(fixture, rows[i].line, answer, sizeof answer);
        feed_text(fixture, answer);
        assert_int_equal(fixture->opens, rows[i].good ? 1 : 0);
        if (!rows[i].good)
            assert_int_equal(tg_wire_end(fixture->wire)->outcome, TG_FETCH_PROTOCOL);
        (void)teardown((void **)&fixture);
    }
    (void)state;
}

static void a_refusal_with_a_large_body_is_a_refusal(void **state)
{
    struct fixture *fixture = *state;
    char body[1000];
    memset(body, 'x', sizeof body);
    feed_text(fixture, "HTTP/1.1 503 Later\r\nContent-Length: 100000\r\n\r\n");
    for (int i = 0; i < 100; i++)
        feed(fixture, body, sizeof body);
    assert_int_equal(fixture->overs, 1);
    assert_int_equal(tg_wire_end(fixture->wire)->status, 503);
    assert_int_equal(tg_wire_end(fixture->wire)->outcome, TG_FETCH_OK);
    assert_null(tg_wire_end(fixture->wire)->body);
}

static void what_is_sent_is_masked_and_only_while_it_is_open(void **state)
{
    struct fixture *fixture = *state;
    struct tg_buffer *pending = tg_wire_pending(fixture->wire);
    assert_int_equal(tg_wire_send(fixture->wire, true, "hi", 2), TG_ERR_CLOSED);
    open_wire(fixture);
    assert_int_equal(tg_wire_send(fixture->wire, true, "hi", 2), TG_ERR_OK);
    const uint8_t *frame = tg_buffer_head(pending);
    assert_int_equal(pending->len, 8);
    assert_int_equal(frame[0], 0x81);
    assert_int_equal(frame[1], 0x82);
    assert_int_equal(frame[6] ^ frame[2], 'h');
    tg_buffer_clear(pending);
    assert_int_equal(tg_wire_ping(fixture->wire), TG_ERR_OK);
    assert_int_equal(tg_buffer_head(pending)[0], 0x89);
    tg_wire_close(fixture->wire, 1000, "");
    assert_int_equal(tg_wire_send(fixture->wire, true, "hi", 2), TG_ERR_CLOSED);
    assert_int_equal(tg_wire_ping(fixture->wire), TG_ERR_CLOSED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(asks_for_the_upgrade_with_what_it_was_given),
        TEST(opens_whatever_the_pieces_of_the_answer_and_takes_frames_behind_it),
        TEST(a_refusal_is_told_with_status_id_and_body),
        TEST(a_wrong_accept_key_is_no_upgrade),
        TEST(pings_are_answered),
        TEST(the_servers_close_is_echoed_and_its_end_awaited),
        TEST(a_close_of_its_own_waits_for_the_servers),
        TEST(a_broken_frame_ends_it_with_a_reason),
        TEST(an_end_without_a_close_is_told_once),
        cmocka_unit_test(the_outcome_says_what_went_wrong),
        cmocka_unit_test(a_pause_holds_messages_back_and_loses_none),
        TEST(a_server_that_pings_and_does_not_read_takes_no_memory),
        cmocka_unit_test(only_an_offered_subprotocol_may_be_chosen),
        TEST(a_refusal_with_a_large_body_is_a_refusal),
        TEST(what_is_sent_is_masked_and_only_while_it_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
