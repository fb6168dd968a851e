/* client_wire_test.c - the client's side of the protocol, against what servers say right and wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/connect/client_wire.h"
#include "proto/upgrade.h"
#include "proto/websocket.h"

struct fixture {
    struct tg_wire *wire;
    int opens, messages, closings, overs;
    bool clean, text;
    char last[64];
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

static int setup(void **state)
{
    static const struct tg_wire_callbacks callbacks = {on_open, on_message, on_closing, on_over};
    struct tg_wire_options options = {
        .authority = "host:1", .target = "/x?y=z", .headers = "X-Own: 1\r\n", .subprotocol = "a"};
    struct fixture *fixture = calloc(1, sizeof *fixture);
    if (fixture == NULL ||
        tg_wire_create(&fixture->wire, &options, &callbacks, fixture) != TG_ERR_OK)
        return -1;
    *state = fixture;
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

/* The 101 that answers the pending request; takes that. */
static void accept_upgrade(struct fixture *fixture, char *out, size_t size)
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
                   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                   accept);
    tg_buffer_clear(pending);
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
    tg_wire_fail(fixture->wire, "again");
    assert_int_equal(fixture->overs, 1);
    assert_string_equal(tg_wire_end(fixture->wire)->reason,
                        "the server closed the connection without a close frame");
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
