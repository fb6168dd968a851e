/* ending_test.c - every way in which a connection ends, and what `closed` is told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/memory.h"
#include "connection/connection_internal.h"
#include "support/bench.h"
#include "support/log_capture.h"

static const struct bench_ask *gone(struct bench *b)
{
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    assert_int_equal(bench_asked(b, TG_HOOK_CLOSED), 1);
    return bench_last(b, TG_HOOK_CLOSED);
}

static void check_closed(const struct bench_ask *closed, int code, const char *reason, bool clean)
{
    assert_int_equal(closed->close_code, code);
    assert_string_equal(closed->close_reason, reason);
    assert_int_equal(closed->clean, clean);
}

static void we_close(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    log_capture_start();
    assert_int_equal(tg_conn_close(bench_conn(b), 4429, "too many messages"), TG_ERR_OK);
    assert_int_equal(bench_state(b), TG_CLOSING);
    assert_int_equal(tg_conn_close(bench_conn(b), 1000, "later"), TG_ERR_OK); /* changes nothing */
    tg_conn_fail(bench_conn(b), 1011, "later", "later");
    assert_string_equal(bench_expect_close(b, client, 4429), "too many messages");
    assert_int_equal(bench_asked(b, TG_HOOK_CLOSED), 0);
    bench_send_close(b, client, 4429, "");
    bench_expect_eof(b, client);
    bench_close_client(client);
    check_closed(gone(b), 4429, "too many messages", true);
    assert_int_equal(bench_last(b, TG_HOOK_CLOSED)->end_state, TG_PROCESSING_READY);
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_CLOSING][TG_CLOSED]), 1);
    assert_int_equal(tg_counter_get(&b->metrics->closes[TG_CLOSE_SLOT_4429]), 1);
    assert_int_equal(log_capture_matches("conn.close "), 1);
    assert_true(log_capture_has("code=4429"));
    log_capture_stop();
}

static void codes_that_must_not_be_sent(void **state)
{
    static const int codes[] = {0, 999, 1004, 1005, 1006, 1015, 2999, 5000, -1};
    struct bench *b = *state;
    bench_start(b);
    (void)bench_ready(b);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        assert_int_equal(tg_conn_close(bench_conn(b), codes[i], ""), TG_ERR_INVALID);
    assert_int_equal(bench_state(b), TG_PROCESSING_READY);
}

static void a_long_reason_is_cut_between_characters(void **state)
{
    struct bench *b = *state;
    char reason[201];
    for (size_t i = 0; i < 200; i += 2)
        memcpy(reason + i, "\xc3\xa4", 3);
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    assert_int_equal(tg_conn_close(bench_conn(b), 1000, reason), TG_ERR_OK);
    assert_int_equal(strlen(bench_expect_close(b, client, 1000)), 122);
}

static void messages_while_closing_are_not_answered(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    assert_int_equal(tg_conn_close(bench_conn(b), 1000, ""), TG_ERR_OK);
    bench_send_text(b, client, "{\"type\":\"ping\"}");
    bench_send_frame(b, client, 9, "", 0);
    bench_send_close(b, client, 1000, "");
    (void)bench_expect_close(b, client, 1000);
    bench_expect_eof(b, client);
}

static void the_peer_closes(void **state)
{
    static const struct {
        int code;
        const char *reason;
        int answered;
    } rows[] = {{1000, "bye", 1000}, {0, "", 1005}, {3001, "\xc3\xa4", 3001}, {1001, "", 1001}};
    struct bench *b = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bench_start(b);
        struct bench_client *client = bench_ready(b);
        bench_send_close(b, client, rows[i].code, rows[i].reason);
        (void)bench_expect_close(b, client, rows[i].answered);
        bench_expect_eof(b, client);
        bench_close_client(client);
        check_closed(gone(b), rows[i].answered, rows[i].reason, true);
        assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_CLOSING][TG_CLOSED]), 1);
        bench_stop(b);
        bench_init(b);
    }
}

static void both_close_at_once(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_close(b, client, 1000, "mine");
    assert_int_equal(tg_conn_close(bench_conn(b), 1001, "ours"), TG_ERR_OK);
    (void)bench_expect_close(b, client, 1001);
    bench_expect_eof(b, client);
    bench_close_client(client);
    check_closed(gone(b), 1001, "ours", true);
}

static void lost(void **state)
{
    struct bench *b = *state;
    for (int way = 0; way < 3; way++) {
        bench_start(b);
        struct bench_client *client = bench_ready(b);
        if (way == 0)
            bench_reset_client(client);
        else if (way == 1)
            bench_close_client(client);
        else
            bench_half_close(client);
        const struct bench_ask *closed = gone(b);
        assert_int_equal(closed->close_code, 1006);
        assert_false(closed->clean);
        assert_int_equal(closed->end_state, TG_PROCESSING_READY);
        assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_PROCESSING_READY][TG_FAILED]),
                         1);
        assert_int_equal(tg_counter_get(&b->metrics->closes[TG_CLOSE_SLOT_1006]), 1);
        bench_stop(b);
        bench_init(b);
    }
}

static void answers_to_a_peer_that_ended_its_side(void **state)
{
    struct bench *b = *state;
    const size_t len = 900000; /* more than the sockets take at once */
    char *answer = malloc(len);
    assert_non_null(answer);
    memset(answer, 'a', len);
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    client->deaf = true;
    assert_int_equal(tg_conn_send_text(bench_conn(b), answer, len), TG_ERR_OK);
    bench_turns(b, 10);
    bench_half_close(client);
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_CLOSED) == 1);
    assert_int_equal(bench_last(b, TG_HOOK_CLOSED)->close_code, 1006);
    assert_int_equal(tg_hub_count(b->hub), 1);
    client->deaf = false;
    assert_int_equal(bench_read(b, client).len, len);
    bench_expect_eof(b, client);
    (void)gone(b);
    free(answer);
}

static void no_close_frame_in_answer(void **state)
{
    struct bench *b = *state;
    for (int way = 0; way < 2; way++) {
        bench_start(b);
        struct bench_client *client = bench_ready(b);
        tg_conn_fail(bench_conn(b), 1011, "test", "policy failed");
        (void)bench_expect_close(b, client, 1011);
        if (way == 0)
            bench_reset_client(client);
        else
            bench_half_close(client);
        check_closed(gone(b), 1011, "policy failed", false);
        assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_CLOSING][TG_FAILED]), 1);
        bench_stop(b);
        bench_init(b);
    }
}

static void close_deadline(void **state)
{
    struct bench *b = *state;
    b->options.close_timeout_ms = 10;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    assert_int_equal(tg_conn_close(bench_conn(b), 1000, "x"), TG_ERR_OK);
    (void)bench_expect_close(b, client, 1000);
    check_closed(gone(b), 1000, "x", false);
    bench_expect_eof(b, client);
}

/* Reads until the close frame with code 4000 has come: true; or the end of the stream: false. */
static bool reads_up_to_the_close(struct bench *b, struct bench_client *client)
{
    static uint8_t bytes[300000];
    for (;;) {
        ssize_t n = recv(client->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n >= 2 && bytes[n - 2] == 4000 >> 8 && bytes[n - 1] == (4000 & 255))
            return true;
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return false;
        bench_turn(b);
    }
}

/* Time is what the test says it is: the deadline fires when it is called, not when it is due. */
static void pass_close_deadline(struct bench *b)
{
    struct tg_timer *timer = &bench_conn(b)->phase_timer;
    assert_true(tg_timer_running(timer));
    timer->fn(timer);
    bench_turns(b, 3);
}

/* A close behind more than the sockets take at once, to a client that does not read. */
static struct bench_client *close_behind_much(struct bench *b, const char *answer, size_t len)
{
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    client->deaf = true;
    assert_int_equal(tg_conn_send_text(bench_conn(b), answer, len), TG_ERR_OK);
    assert_int_equal(tg_conn_close(bench_conn(b), 4000, ""), TG_ERR_OK);
    bench_turns(b, 10);
    pass_close_deadline(b); /* what the kernel has taken at once counts as taken by the peer */
    assert_int_equal(bench_state(b), TG_CLOSING);
    return client;
}

static void a_close_behind_much_waits_while_the_peer_takes_it(void **state)
{
    struct bench *b = *state;
    const size_t len = 900000;
    uint8_t some[100000];
    char *answer = malloc(len);
    assert_non_null(answer);
    memset(answer, 'a', len);
    b->options.close_timeout_ms = 1000000;
    struct bench_client *client = close_behind_much(b, answer, len);
    size_t unwritten = tg_conn_stats(bench_conn(b)).outbox_bytes;
    while (tg_conn_stats(bench_conn(b)).outbox_bytes > unwritten - unwritten / 8) {
        (void)recv(client->fd, some, sizeof some, MSG_DONTWAIT);
        bench_turn(b);
    }
    pass_close_deadline(b);
    assert_int_equal(bench_state(b), TG_CLOSING); /* it has taken an eighth */
    assert_true(reads_up_to_the_close(b, client));
    bench_close_client(client);
    (void)gone(b);
    free(answer);
}

static void a_close_behind_much_does_not_wait_for_a_peer_that_takes_little(void **state)
{
    struct bench *b = *state;
    const size_t len = 900000;
    uint8_t some[100];
    char *answer = malloc(len);
    assert_non_null(answer);
    memset(answer, 'a', len);
    b->options.close_timeout_ms = 1000000;
    struct bench_client *client = close_behind_much(b, answer, len);
    assert_true(recv(client->fd, some, sizeof some, MSG_DONTWAIT) > 0);
    bench_turns(b, 3);
    pass_close_deadline(b);
    (void)gone(b);
    assert_false(reads_up_to_the_close(b, client));
    free(answer);
}

/* After the handshake: a peer that keeps its socket open is not waited for without end. */
static void a_peer_that_keeps_its_socket_open(void **state)
{
    struct bench *b = *state;
    b->options.close_timeout_ms = 10;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_close(b, client, 1000, "");
    (void)bench_expect_close(b, client, 1000);
    bench_expect_eof(b, client);
    bench_send_text(b, client, "still here");
    check_closed(gone(b), 1000, "", true);
}

static bool closed_takes_long(struct bench *b, struct tg_conn *conn, enum tg_hook hook)
{
    uint64_t until_ms = bench_now_ms() + 30;
    (void)b;
    (void)conn;
    while (hook == TG_HOOK_CLOSED && bench_now_ms() < until_ms) {
        /* as a loaded machine would have it */
    }
    return false;
}

/* The deadline is there before the loop has come to writing. */
static void a_loop_that_stands_still_does_not_swallow_the_close_frame(void **state)
{
    struct bench *b = *state;
    b->options.close_timeout_ms = 10;
    b->on_hook = closed_takes_long;
    b->replies[TG_HOOK_CLOSED].when = BENCH_NOW;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_close(b, client, 1000, "");
    (void)bench_expect_close(b, client, 1000);
    bench_expect_eof(b, client);
}

static void a_hook_under_way_is_cancelled(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_MESSAGE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_text(b, client, "{\"type\":\"a\"}");
    bench_send_text(b, client, "{\"type\":\"b\"}");
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_MESSAGE));
    assert_int_equal(tg_conn_close(bench_conn(b), 1000, ""), TG_ERR_OK);
    assert_true(bench_last(b, TG_HOOK_MESSAGE)->cancelled);
    (void)bench_expect_close(b, client, 1000);
    bench_send_close(b, client, 1000, "");
    bench_close_client(client);
    (void)gone(b);
    assert_int_equal(bench_asked(b, TG_HOOK_MESSAGE), 1); /* b was not delivered after the end */
}

static bool close_inside(struct bench *b, struct tg_conn *conn, enum tg_hook hook)
{
    (void)b;
    if (hook == TG_HOOK_MESSAGE)
        assert_int_equal(tg_conn_close(conn, 1000, "from the hook"), TG_ERR_OK);
    return hook == TG_HOOK_MESSAGE;
}

/* The rest of the same read holds a message, and the peer's own close frame. */
static void a_hook_closes_in_the_middle_of_a_read(void **state)
{
    struct bench *b = *state;
    uint8_t bytes[200];
    b->replies[TG_HOOK_MESSAGE].when = BENCH_NOW;
    b->on_hook = close_inside;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    size_t len = bench_frame_write(bytes, 0x81, "{\"type\":\"a\"}", 12);
    len += bench_frame_write(bytes + len, 0x81, "{\"type\":\"b\"}", 12);
    len += bench_frame_write(bytes + len, 0x88, "\x03\xe8", 2);
    bench_send(b, client, bytes, len);
    assert_string_equal(bench_expect_close(b, client, 1000), "from the hook");
    bench_expect_eof(b, client);
    bench_close_client(client);
    check_closed(gone(b), 1000, "from the hook", true);
    assert_int_equal(bench_asked(b, TG_HOOK_MESSAGE), 1);
}

static bool lose_inside(struct bench *b, struct tg_conn *conn, enum tg_hook hook)
{
    if (hook != TG_HOOK_MESSAGE)
        return false;
    tg__outboxes_fini(b->hub);
    (void)tg_memory_fail_after(0, 1); /* not even a close frame */
    tg_conn_fail(conn, 1011, "test", "test");
    (void)tg_memory_fail_after(-1, 0);
    return true;
}

static void lost_in_the_middle_of_a_read(void **state)
{
    struct bench *b = *state;
    uint8_t bytes[200];
    b->replies[TG_HOOK_MESSAGE].when = BENCH_NOW;
    b->on_hook = lose_inside;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    size_t len = bench_frame_write(bytes, 0x81, "{\"type\":\"a\"}", 12);
    len += bench_frame_write(bytes + len, 0x81, "{\"type\":\"b\"}", 12);
    len += bench_frame_write(bytes + len, 0x88, "\x03\xe8", 2);
    bench_send(b, client, bytes, len);
    const struct bench_ask *closed = gone(b);
    assert_int_equal(closed->close_code, 1011);
    assert_false(closed->clean);
}

static void closing_with_unread_bytes_reads_on_for_the_close_frame(void **state)
{
    struct bench *b = *state;
    b->options.inbox_messages = 1;
    b->replies[TG_HOOK_MESSAGE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    for (int i = 0; i < 30; i++)
        bench_send_text(b, client, "{\"type\":\"a\"}");
    bench_send_close(b, client, 1000, "");
    BENCH_UNTIL(b, tg_conn_stats(bench_conn(b)).inbox_messages == 1);
    bench_turns(b, 3);
    assert_int_equal(tg_conn_close(bench_conn(b), 1001, ""), TG_ERR_OK);
    (void)bench_expect_close(b, client, 1001);
    bench_expect_eof(b, client);
    bench_close_client(client);
    check_closed(gone(b), 1001, "", true);
}

static void runs_end_before_the_close_frame(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_text(b, client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
    BENCH_UNTIL(b, b->run_starts == 1);
    assert_int_equal(tg_conn_runs(bench_conn(b)), 1);
    bench_send_close(b, client, 1000, "");
    (void)bench_expect_close(b, client, 1000);
    bench_close_client(client);
    assert_int_equal(gone(b)->end_state, TG_PROCESSING);
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_PROCESSING][TG_CLOSING]), 1);
}

static void closed_may_take_its_time(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_CLOSED].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_close(b, client, 1000, "");
    (void)bench_expect_close(b, client, 1000);
    bench_close_client(client);
    bench_turns(b, 10);
    assert_int_equal(tg_hub_count(b->hub), 1);
    assert_int_equal(bench_state(b), TG_CLOSED);
    bench_answer(b, TG_HOOK_CLOSED, bench_fault(TG_HOOK_ERROR_OUTCOME));
    (void)gone(b);
}

static void closed_is_not_asked_when_there_is_no_such_hook(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_CLOSED].when = BENCH_UNDEFINED;
    bench_start(b);
    bench_close_client(bench_ready(b));
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    assert_int_equal(bench_asked(b, TG_HOOK_CLOSED), 0);
}

static void stuck_now_falls_when_it_is_over(void **state)
{
    struct bench *b = *state;
    b->options.auth_timeout_ms = 5;
    b->replies[TG_HOOK_AUTHENTICATE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_open(b);
    (void)bench_expect_close(b, client, 4408);
    assert_int_equal(tg_counter_get(&b->metrics->stuck_now[TG_ACCEPTED]), 1);
    bench_send_close(b, client, 4408, "");
    bench_close_client(client);
    (void)gone(b);
    assert_int_equal(tg_counter_get(&b->metrics->stuck_now[TG_ACCEPTED]), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(we_close),
        T(codes_that_must_not_be_sent),
        T(a_long_reason_is_cut_between_characters),
        T(messages_while_closing_are_not_answered),
        T(the_peer_closes),
        T(both_close_at_once),
        T(lost),
        T(answers_to_a_peer_that_ended_its_side),
        T(no_close_frame_in_answer),
        T(close_deadline),
        T(a_close_behind_much_waits_while_the_peer_takes_it),
        T(a_close_behind_much_does_not_wait_for_a_peer_that_takes_little),
        T(a_peer_that_keeps_its_socket_open),
        T(a_loop_that_stands_still_does_not_swallow_the_close_frame),
        T(a_hook_under_way_is_cancelled),
        T(a_hook_closes_in_the_middle_of_a_read),
        T(lost_in_the_middle_of_a_read),
        T(closing_with_unread_bytes_reads_on_for_the_close_frame),
        T(runs_end_before_the_close_frame),
        T(closed_may_take_its_time),
        T(closed_is_not_asked_when_there_is_no_such_hook),
        T(stuck_now_falls_when_it_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
