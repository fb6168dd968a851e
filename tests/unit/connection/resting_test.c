/* resting_test.c - what a connection holds while nothing of its peer is under way, and that a decoder which
 * goes from hand to hand mixes nobody's bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "connection/connection_internal.h"
#include "net/net_internal.h"
#include "support/bench.h"

static struct tg_conn *conn_of(struct bench *b, const struct bench_client *client)
{
    struct tg_conn_id id;
    assert_int_equal(tg_conn_id_parse(client->id, TG_CONN_ID_LEN, &id), TG_ERR_OK);
    struct tg_conn *conn = tg_hub_find(b->hub, &id);
    assert_non_null(conn);
    return conn;
}

static void assert_rests(const struct tg_conn *conn)
{
    assert_null(conn->http);
    assert_null(conn->ws);
    assert_null(conn->inbox.queue);
    assert_null(conn->question);
    assert_null(conn->expiry);
    assert_null(conn->outbox.data);
    assert_null(conn->stream->pending);
}

static void start(struct bench *b)
{
    b->replies[TG_HOOK_MESSAGE].when = BENCH_NOW;
    b->replies[TG_HOOK_MESSAGE].result = bench_yes();
    bench_start(b);
}

static void a_client_that_was_answered_holds_nothing_but_itself(void **state)
{
    struct bench *b = *state;
    start(b);
    struct bench_client *client = bench_ready(b);
    assert_rests(conn_of(b, client));
    bench_send_text(b, client, "{\"type\":\"ping\"}");
    (void)bench_expect(b, client, "pong");
    assert_rests(conn_of(b, client));
    /* The figure of tests/bench (resident bytes of an idle connection) stands on these. */
    assert_true(sizeof(struct tg_conn) <= 432);
    assert_true(sizeof(struct tg_stream) <= 64);
}

static void a_socket_that_says_nothing_holds_no_parser(void **state)
{
    struct bench *b = *state;
    size_t cursor = 0;
    start(b);
    struct bench_client *client = bench_connect(b);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 1);
    struct tg_conn *conn = tg_hub_next(b->hub, &cursor);
    assert_null(conn->http);
    bench_send_str(b, client, "GET / HT");
    BENCH_UNTIL(b, conn->http != NULL);
    /* Another head passes in between, through another parser. */
    struct bench_client *other = bench_ready(b);
    assert_null(conn_of(b, other)->http);
    bench_send_str(
        b, client,
        "TP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    bench_read_head(b, client);
    assert_int_equal(client->status, 101);
    (void)bench_expect(b, client, "connection_ready");
    assert_rests(conn);
}

/* One stops in the middle of a frame, the other in the middle of a message, a third has whole ones. */
static void messages_in_pieces_are_kept_apart(void **state)
{
    struct bench *b = *state;
    uint8_t frame[200];
    uint8_t first[100];
    start(b);
    struct bench_client *halves = bench_ready(b);
    struct bench_client *fragments = bench_ready(b);
    struct bench_client *whole = bench_ready(b);
    static const char text[] = "{\"type\":\"halves\"}";
    static const char begin[] = "{\"type\":\"frag";
    static const char end[] = "ments\"}";
    size_t len = bench_frame_write(frame, 0x81, text, sizeof text - 1);
    bench_send(b, halves, frame, len / 2);
    size_t first_len = bench_frame_write(first, 0x01, begin, sizeof begin - 1);
    bench_send(b, fragments, first, first_len);
    BENCH_UNTIL(b, conn_of(b, halves)->ws != NULL && conn_of(b, fragments)->ws != NULL);
    assert_ptr_not_equal(conn_of(b, halves)->ws, conn_of(b, fragments)->ws);
    bench_send_text(b, whole, "{\"type\":\"whole\"}");
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_MESSAGE) == 1);
    assert_string_equal(bench_last(b, TG_HOOK_MESSAGE)->data, "{\"type\":\"whole\"}");
    assert_rests(conn_of(b, whole));
    first_len = bench_frame_write(first, 0x80, end, sizeof end - 1);
    bench_send(b, fragments, first, first_len);
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_MESSAGE) == 2);
    assert_string_equal(bench_last(b, TG_HOOK_MESSAGE)->data, "{\"type\":\"fragments\"}");
    bench_send(b, halves, frame + len / 2, len - len / 2);
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_MESSAGE) == 3);
    assert_string_equal(bench_last(b, TG_HOOK_MESSAGE)->data, text);
    assert_rests(conn_of(b, halves));
    assert_rests(conn_of(b, fragments));
}

static void a_policy_version_is_kept_once(void **state)
{
    struct bench *b = *state;
    start(b);
    struct tg_conn *one = conn_of(b, bench_ready(b));
    struct tg_conn *two = conn_of(b, bench_ready(b));
    assert_string_equal(tg_conn_policy_version(one), "");
    tg_conn_set_policy_version(one, "0123456789abcdef");
    tg_conn_set_policy_version(two, "0123456789abcdef");
    assert_ptr_equal(tg_conn_policy_version(one), tg_conn_policy_version(two));
    tg_conn_set_policy_version(one, "fedcba9876543210");
    assert_string_equal(tg_conn_policy_version(one), "fedcba9876543210");
    assert_string_equal(tg_conn_policy_version(two), "0123456789abcdef");
    tg_conn_set_policy_version(two, "fedcba9876543210");
    assert_ptr_equal(tg_conn_policy_version(one), tg_conn_policy_version(two));
    tg_conn_set_policy_version(two, "a text that is longer than a version");
    assert_string_equal(tg_conn_policy_version(two), "a text that is l");
    tg_conn_set_policy_version(two, "a text that is longer than a version");
    assert_string_equal(tg_conn_policy_version(two), "a text that is l");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_client_that_was_answered_holds_nothing_but_itself,
                                        bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(a_socket_that_says_nothing_holds_no_parser, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(messages_in_pieces_are_kept_apart, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(a_policy_version_is_kept_once, bench_setup, bench_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
