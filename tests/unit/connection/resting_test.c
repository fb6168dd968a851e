/* resting_test.c - what a connection holds while nothing of its peer is under way, and that a decoder which
 * goes from hand to hand mixes nobody's bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
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
    assert_true(conn->upgraded);
    assert_null(conn->intake.ws);
    assert_null(conn->outbox);
    assert_null(conn->attachments);
    assert_false(conn->stream->pending);
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
    assert_true(sizeof(struct tg_conn) <= 248);
    assert_true(sizeof(struct tg_stream) <= 40);
    assert_true(sizeof(struct tg_timer) <= 16);
}

static void a_socket_that_says_nothing_holds_no_parser(void **state)
{
    struct bench *b = *state;
    size_t cursor = 0;
    start(b);
    struct bench_client *client = bench_connect(b);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 1);
    struct tg_conn *conn = tg_hub_next(b->hub, &cursor);
    assert_null(tg__http(conn));
    bench_send_str(b, client, "GET / HT");
    BENCH_UNTIL(b, tg__http(conn) != NULL);
    /* Another head passes in between, through another parser. */
    struct bench_client *other = bench_ready(b);
    assert_null(tg__http(conn_of(b, other)));
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
    BENCH_UNTIL(b, tg__ws(conn_of(b, halves)) != NULL && tg__ws(conn_of(b, fragments)) != NULL);
    assert_ptr_not_equal(tg__ws(conn_of(b, halves)), tg__ws(conn_of(b, fragments)));
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

static void the_place_of_a_version_is_used_again(void **state)
{
    struct bench *b = *state;
    char text[16];
    start(b);
    struct tg_conn *one = conn_of(b, bench_ready(b));
    struct tg_conn *two = conn_of(b, bench_ready(b));
    tg_conn_set_policy_version(one, "kept");
    for (int i = 0; i < 100; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        tg_conn_set_policy_version(two, text);
        assert_string_equal(tg_conn_policy_version(two), text);
    }
    assert_string_equal(tg_conn_policy_version(one), "kept");
    assert_int_equal(b->hub->version_count, 2);
}

static void without_memory_a_version_is_not_known(void **state)
{
    struct bench *b = *state;
    start(b);
    struct tg_conn *one = conn_of(b, bench_ready(b));
    struct tg_conn *two = conn_of(b, bench_ready(b));
    tg_conn_set_policy_version(one, "kept");
    for (long allowed = 0; allowed < 2; allowed++) {
        (void)tg_memory_fail_after(allowed, 1);
        tg_conn_set_policy_version(two, "other");
        (void)tg_memory_fail_after(-1, 0);
        assert_string_equal(tg_conn_policy_version(two), "");
    }
    assert_string_equal(tg_conn_policy_version(one), "kept");
    tg_conn_set_policy_version(two, "other");
    assert_string_equal(tg_conn_policy_version(two), "other");
}

/* More at a time than the hub has to spare, as when one message goes to a crowd. */
static void a_crowd_is_sent_to_and_nothing_stays_lent(void **state)
{
    enum { CROWD = TG_SPARE_OUTBOXES + 4 };
    struct bench *b = *state;
    struct bench_client *clients[CROWD];
    start(b);
    for (size_t i = 0; i < CROWD; i++)
        clients[i] = bench_ready(b);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < CROWD; i++)
            assert_int_equal(tg_conn_send_text(conn_of(b, clients[i]), "to all", 6), TG_ERR_OK);
        assert_int_equal(b->hub->spare_outbox_count, 0);
        for (size_t i = 0; i < CROWD; i++) {
            (void)bench_expect(b, clients[i], "to all");
            assert_rests(conn_of(b, clients[i]));
        }
        assert_int_equal(b->hub->spare_outbox_count, TG_SPARE_OUTBOXES);
        assert_int_equal(b->hub->bare_outbox_count, CROWD - TG_SPARE_OUTBOXES);
    }
}

/* There is a bound on those, too: the next goes back to malloc. */
static void not_more_bare_outboxes_are_kept_than_a_crowd_needs(void **state)
{
    enum { CROWD = TG_SPARE_OUTBOXES + 1 };
    struct bench *b = *state;
    struct tg_conn *conns[CROWD];
    start(b);
    for (size_t i = 0; i < CROWD; i++)
        conns[i] = conn_of(b, bench_ready(b));
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(tg_conn_send_text(conns[i], "to all", 6), TG_ERR_OK);
    b->hub->bare_outbox_count = TG_BARE_OUTBOXES;
    bench_turns(b, 3);
    for (size_t i = 0; i < CROWD; i++)
        assert_rests(conns[i]);
    assert_int_equal(b->hub->spare_outbox_count, TG_SPARE_OUTBOXES);
    assert_true(tg_list_empty(&b->hub->bare_outboxes));
    b->hub->bare_outbox_count = 0;
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
        cmocka_unit_test_setup_teardown(the_place_of_a_version_is_used_again, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(without_memory_a_version_is_not_known, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(a_crowd_is_sent_to_and_nothing_stays_lent, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(not_more_bare_outboxes_are_kept_than_a_crowd_needs,
                                        bench_setup, bench_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
