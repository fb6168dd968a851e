/* outbox_test.c - what is sent, when it may be sent, and the client that does not read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/clock.h"
#include "connection/connection.h"
#include "support/bench.h"

static void sending_needs_an_open_connection(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_AUTHENTICATE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_connect(b);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 1);
    struct tg_conn *conn = bench_conn(b);
    assert_int_equal(tg_conn_send_text(conn, "x", 1), TG_ERR_CLOSED);
    bench_request(b, client, "");
    bench_read_head(b, client);
    assert_int_equal(tg_conn_send_text(conn, "early", 5), TG_ERR_OK);
    assert_int_equal(tg_conn_send_binary(conn, "\0\1", 2), TG_ERR_OK);
    (void)bench_expect(b, client, "early");
    struct bench_frame frame = bench_read(b, client);
    assert_int_equal(frame.opcode, 2);
    assert_memory_equal(frame.data, "\0\1", 2);
    assert_int_equal(tg_conn_close(conn, 1000, "bye"), TG_ERR_OK);
    assert_int_equal(tg_conn_send_text(conn, "x", 1), TG_ERR_CLOSED);
    (void)bench_expect_close(b, client, 1000);
    assert_int_equal(tg_conn_stats(conn).messages_out, 2);
}

static void answers_to_one_read_leave_in_one_write(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    for (int i = 0; i < 5; i++)
        assert_int_equal(tg_conn_send_text(bench_conn(b), "abc", 3), TG_ERR_OK);
    assert_int_equal(tg_conn_stats(bench_conn(b)).outbox_bytes, 25);
    tg_hub_flush(b->hub);
    assert_int_equal(tg_conn_stats(bench_conn(b)).outbox_bytes, 0);
    for (int i = 0; i < 5; i++)
        (void)bench_expect(b, client, "abc");
}

/* Three clients speak in one round of the loop, and the hook answers each. */
enum { SPEAKERS = 3 };
static struct {
    struct tg_clock_fake clock;
    struct tg_conn *spoke[SPEAKERS]; /* in the order in which they were heard */
    size_t waiting[SPEAKERS];        /* bytes for the first of them when the others were heard */
    size_t heard;
    size_t answer_len;
    size_t slow; /* the one whose hook takes long */
} round_table;

static bool answer_and_look(struct bench *b, struct tg_conn *conn, enum tg_hook hook)
{
    static char answer[100000];
    (void)b;
    if (hook != TG_HOOK_MESSAGE)
        return false;
    assert_true(round_table.heard < SPEAKERS);
    round_table.spoke[round_table.heard] = conn;
    round_table.waiting[round_table.heard] = tg_conn_stats(round_table.spoke[0]).outbox_bytes;
    if (round_table.heard++ == round_table.slow)
        round_table.clock.monotonic_ns += 1000000;
    memset(answer, 'x', sizeof answer);
    assert_int_equal(tg_conn_send_text(conn, answer, round_table.answer_len), TG_ERR_OK);
    return false;
}

static void hear_all(struct bench *b, size_t answer_len, size_t slow)
{
    struct bench_client *clients[SPEAKERS];
    memset(&round_table, 0, sizeof round_table);
    round_table.answer_len = answer_len;
    round_table.slow = slow;
    b->on_hook = answer_and_look;
    b->replies[TG_HOOK_MESSAGE].when = BENCH_NOW;
    bench_start(b);
    for (size_t i = 0; i < SPEAKERS; i++)
        clients[i] = bench_ready(b);
    tg_clock_use(&round_table.clock);
    for (size_t i = 0; i < SPEAKERS; i++)
        bench_send_text(b, clients[i], "{\"type\":\"m\"}");
    while (round_table.heard < SPEAKERS)
        bench_turn(b);
    for (size_t i = 0; i < SPEAKERS; i++)
        assert_int_equal(strlen(bench_expect(b, clients[i], "xxx")), answer_len);
    tg_clock_use(NULL);
}

static void answers_to_several_clients_leave_together(void **state)
{
    hear_all(*state, 10, SPEAKERS);
    assert_int_equal(round_table.waiting[1], 12);
    assert_int_equal(round_table.waiting[2], 12);
}

static void answers_do_not_wait_for_a_second_slow_hook(void **state)
{
    hear_all(*state, 10, 1);
    assert_int_equal(round_table.waiting[1], 12);
    assert_int_equal(round_table.waiting[2], 0);
}

static void a_large_answer_does_not_wait(void **state)
{
    hear_all(*state, 70000, SPEAKERS);
    assert_true(round_table.waiting[1] < 70000);
}

static void big_messages_arrive_whole(void **state)
{
    enum { BIG = 700000 };
    struct bench *b = *state;
    char *text = malloc(BIG + 1);
    assert_non_null(text);
    for (size_t i = 0; i < BIG; i++)
        text[i] = (char)('a' + i % 26);
    text[BIG] = '\0';
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    assert_int_equal(tg_conn_send_text(bench_conn(b), text, BIG), TG_ERR_OK);
    assert_int_equal(tg_conn_send_text(bench_conn(b), "end", 3), TG_ERR_OK);
    assert_string_equal(bench_expect(b, client, "abc"), text);
    (void)bench_expect(b, client, "end");
    free(text);
}

/* Fills what the kernel takes, then the outbox. */
static enum tg_err flood(struct bench *b, struct tg_conn *conn)
{
    static const char text[20000] = {'x'};
    enum tg_err err = TG_ERR_OK;
    for (int i = 0; i < 2000 && err == TG_ERR_OK; i++) {
        err = tg_conn_send_binary(conn, text, sizeof text);
        assert_true(tg_conn_stats(conn).outbox_bytes <= b->options.outbox_bytes + 200);
        bench_turn(b);
    }
    return err;
}

static void a_slow_client_is_ended_with_1008(void **state)
{
    struct bench *b = *state;
    b->options.outbox_bytes = 100000;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    client->deaf = true;
    assert_int_equal(flood(b, bench_conn(b)), TG_ERR_LIMIT);
    assert_int_equal(bench_state(b), TG_CLOSING);
    assert_int_equal(tg_counter_get(&b->metrics->slow_clients), 1);
    assert_int_equal(tg_conn_send_text(bench_conn(b), "x", 1), TG_ERR_CLOSED);
    client->deaf =
        false; /* it wakes up: everything that was queued is still there, then the close */
    struct bench_frame frame = bench_read(b, client);
    while (frame.opcode == 2)
        frame = bench_read(b, client);
    assert_int_equal(frame.opcode, 8);
    assert_int_equal((uint8_t)frame.data[0] << 8 | (uint8_t)frame.data[1], 1008);
    bench_send_close(b, client, 1008, "");
    bench_expect_eof(b, client);
    assert_int_equal(tg_counter_get(&b->metrics->closes[TG_CLOSE_SLOT_1008]), 1);
}

static void a_client_that_never_reads_is_dropped_at_the_deadline(void **state)
{
    struct bench *b = *state;
    b->options.outbox_bytes = 100000;
    b->options.close_timeout_ms = 5;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    client->deaf = true;
    assert_int_equal(flood(b, bench_conn(b)), TG_ERR_LIMIT);
    BENCH_UNTIL(b, tg_counter_get(&b->metrics->connections_closed) == 1);
    assert_int_equal(bench_last(b, TG_HOOK_CLOSED)->close_code, 1008);
    assert_int_equal(tg_counter_get(&b->metrics->slow_clients), 1);
}

/* One message may be larger than the outbox, when nothing else waits. */
static void a_single_large_message_is_no_slow_client(void **state)
{
    struct bench *b = *state;
    char text[5000];
    memset(text, 'y', sizeof text);
    b->options.outbox_bytes = 1000;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    assert_int_equal(tg_conn_send_text(bench_conn(b), text, sizeof text), TG_ERR_OK);
    assert_int_equal(bench_read(b, client).len, sizeof text);
}

static void a_flood_of_pings_does_not_grow_the_outbox(void **state)
{
    struct bench *b = *state;
    static char payload[125];
    b->options.outbox_bytes = 10000;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    client->deaf = true;
    static const char text[5000] = {'x'};
    while (tg_conn_stats(bench_conn(b)).outbox_bytes == 0) { /* until the kernel is full */
        assert_int_equal(tg_conn_send_binary(bench_conn(b), text, sizeof text), TG_ERR_OK);
        bench_turn(b);
    }
    for (int i = 0; i < 500; i++)
        bench_send_frame(b, client, 9, payload, sizeof payload);
    bench_turns(b, 20);
    assert_true(tg_conn_stats(bench_conn(b)).outbox_bytes <= 10000);
    assert_int_equal(tg_counter_get(&b->metrics->slow_clients), 0);
    assert_true(tg_conn_is_open(bench_conn(b)));
    client->deaf = false;
    bench_send_text(b, client, "{\"type\":\"ping\",\"id\":\"last\"}");
    struct bench_frame frame = bench_read(b, client);
    while (frame.opcode != 1)
        frame = bench_read(b, client);
    assert_non_null(strstr(frame.data, "last"));
}

static void the_sequence_has_no_gap(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    (void)bench_ready(b);
    assert_non_null(tg_conn_run_list(bench_conn(b)));
    for (uint64_t i = 1; i < 10; i++)
        assert_int_equal(tg_conn_next_seq(bench_conn(b)), i);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(sending_needs_an_open_connection),
        T(answers_to_one_read_leave_in_one_write),
        T(answers_to_several_clients_leave_together),
        T(answers_do_not_wait_for_a_second_slow_hook),
        T(a_large_answer_does_not_wait),
        T(big_messages_arrive_whole),
        T(a_slow_client_is_ended_with_1008),
        T(a_client_that_never_reads_is_dropped_at_the_deadline),
        T(a_single_large_message_is_no_slow_client),
        T(a_flood_of_pings_does_not_grow_the_outbox),
        T(the_sequence_has_no_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
