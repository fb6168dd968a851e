/* handshake_test.c - from the first byte to 101, or a refusal that says why and carries the ID. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "connection/connection_internal.h"
#include "support/bench.h"
#include "support/log_capture.h"

static void check_id(const struct bench_client *client)
{
    struct tg_conn_id id;
    assert_int_equal(tg_conn_id_parse(client->id, strlen(client->id), &id), TG_ERR_OK);
    assert_int_equal(tg_conn_id_worker(id.serial), 3);
}

static void the_101_carries_id_and_subprotocol(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_connect(b);
    bench_request(b, client, "Sec-WebSocket-Protocol: token.s3cret, tidegate.v1\r\n");
    bench_read_head(b, client);
    assert_int_equal(client->status, 101);
    check_id(client);
    assert_non_null(strstr(client->head, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(strstr(client->head, "Sec-WebSocket-Protocol: tidegate.v1\r\n"));
    assert_null(strstr(client->head, "s3cret"));
    assert_non_null(strstr(bench_expect(b, client, "connection_ready"), client->id));
    struct bench_client *plain = bench_ready(b);
    assert_null(strstr(plain->head, "Sec-WebSocket-Protocol"));
    assert_string_not_equal(plain->id, client->id);
}

static void one_byte_at_a_time_with_frames_behind(void **state)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct bench *b = *state;
    uint8_t bytes[1024];
    bench_start(b);
    memcpy(bytes, head, sizeof head - 1);
    size_t len = sizeof head - 1;
    len += bench_frame_write(bytes + len, 0x81, "{\"type\":\"ping\",\"id\":1}", 22);
    len += bench_frame_write(bytes + len, 0x81, "{\"type\":\"ping\",\"id\":2}", 22);
    for (int whole = 0; whole < 2; whole++) {
        struct bench_client *client = bench_connect(b);
        for (size_t i = 0; i < len && !whole; i++) {
            bench_send(b, client, bytes + i, 1);
            bench_turn(b);
        }
        if (whole)
            bench_send(b, client, bytes, len);
        bench_read_head(b, client);
        assert_int_equal(client->status, 101);
        (void)bench_expect(b, client, "connection_ready");
        (void)bench_expect(b, client, "{\"type\":\"pong\",\"id\":1}");
        (void)bench_expect(b, client, "{\"type\":\"pong\",\"id\":2}");
    }
}

static void refusals(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *part;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 426, "Upgrade: websocket\r\n"},
        {"POST / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", 405, "Allow: GET\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
         426, "Sec-WebSocket-Version: 13\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
         400, ""},
        {"no http\r\n\r\n", 400, ""},
    };
    struct bench *b = *state;
    bench_start(b);
    log_capture_start();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bench_client *client = bench_connect(b);
        bench_send_str(b, client, rows[i].request);
        bench_read_head(b, client);
        assert_int_equal(client->status, rows[i].status);
        assert_non_null(strstr(client->head, rows[i].part));
        assert_non_null(strstr(client->head, "Connection: close\r\n"));
        check_id(client);
        BENCH_UNTIL(b, client->eof);
        assert_true(client->len > 10 && client->in[client->len - 1] == '\n');
        assert_true(log_capture_has(client->id)); /* so that a proxy's log and ours can be joined */
        bench_close_client(client);
        BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    }
    log_capture_stop();
    assert_int_equal(tg_counter_get(&b->metrics->handshakes_refused), 5);
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_CONNECTING][TG_FAILED]), 5);
    assert_int_equal(b->ask_count, 0);
}

static void a_head_too_large_is_431(void **state)
{
    struct bench *b = *state;
    char big[3000];
    memset(big, 'a', sizeof big);
    b->options.max_header = 2000;
    bench_start(b);
    struct bench_client *client = bench_connect(b);
    bench_send_str(b, client, "GET / HTTP/1.1\r\nX: ");
    bench_send(b, client, big, sizeof big);
    bench_read_head(b, client);
    assert_int_equal(client->status, 431);
    check_id(client);
}

static void healthz(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    for (int draining = 0; draining < 2; draining++) {
        struct bench_client *client = bench_connect(b);
        if (draining)
            tg_hub_drain(b->hub);
        bench_send_str(b, client, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
        bench_half_close(client);
        bench_read_head(b, client);
        assert_int_equal(client->status, draining ? 503 : 200);
        BENCH_UNTIL(b, client->eof);
        assert_memory_equal(client->in, draining ? "draining\n" : "ok\n", draining ? 9 : 3);
        BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    }
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_CONNECTING][TG_CLOSED]), 2);
    assert_int_equal(tg_counter_get(&b->metrics->handshakes_refused), 0);
}

static void upgrade_hook(struct bench *b, struct tg_hook_result result, bool later, int status)
{
    b->replies[TG_HOOK_UPGRADE] = (struct bench_reply){later ? BENCH_LATER : BENCH_NOW, result};
    struct bench_client *client = bench_connect(b);
    bench_request(b, client, "");
    if (later) {
        BENCH_UNTIL(b, bench_asking(b, TG_HOOK_UPGRADE));
        assert_int_equal(bench_last(b, TG_HOOK_UPGRADE)->state, TG_CONNECTING);
        bench_send_text(b, client, "{\"type\":\"ping\"}"); /* too early, but kept */
        bench_turns(b, 3);
        bench_answer(b, TG_HOOK_UPGRADE, result);
    }
    bench_read_head(b, client);
    assert_int_equal(client->status, status);
    check_id(client);
    if (status == 101) {
        (void)bench_expect(b, client, "connection_ready");
        if (later)
            (void)bench_expect(b, client, "pong");
    }
    bench_close_client(client);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
}

static void the_upgrade_hook_decides(void **state)
{
    struct bench *b = *state;
    struct tg_hook_result teapot = bench_denied("not for you");
    teapot.status = 451;
    bench_start(b);
    for (int later = 0; later < 2; later++) {
        upgrade_hook(b, bench_yes(), later, 101);
        upgrade_hook(b, bench_denied(NULL), later, 403);
        upgrade_hook(b, teapot, later, 451);
    }
    assert_int_equal(bench_asked(b, TG_HOOK_AUTHENTICATE), 2);
}

static void a_fault_in_the_upgrade_hook_lets_nobody_in(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    for (int o = TG_HOOK_ERROR_OUTCOME; o < TG_HOOK_CANCELLED_OUTCOME; o++) {
        upgrade_hook(b, bench_fault((enum tg_hook_outcome)o), false, 500);
        upgrade_hook(b, bench_fault((enum tg_hook_outcome)o), true, 500);
    }
    assert_int_equal(bench_asked(b, TG_HOOK_AUTHENTICATE), 0);
}

static void handshake_deadline(void **state)
{
    struct bench *b = *state;
    b->options.handshake_timeout_ms = 60;
    b->replies[TG_HOOK_UPGRADE].when = BENCH_LATER;
    bench_start(b);
    for (int asked = 0; asked < 2; asked++) {
        struct bench_client *client = bench_connect(b);
        if (asked)
            bench_request(b, client, "");
        else
            bench_send_str(b, client, "GET / HT");
        bench_read_head(b, client);
        assert_int_equal(client->status, 408);
        check_id(client);
        assert_int_equal(tg_counter_get(&b->metrics->stuck[TG_CONNECTING]), asked + 1);
        BENCH_UNTIL(b, client->eof);
        bench_close_client(client);
        BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
        assert_int_equal(tg_counter_get(&b->metrics->stuck_now[TG_CONNECTING]), 0);
    }
    assert_true(bench_last(b, TG_HOOK_UPGRADE)->cancelled);
}

static void a_client_that_leaves_during_the_handshake(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_UPGRADE].when = BENCH_LATER;
    bench_start(b);
    for (int way = 0; way < 2; way++) {
        struct bench_client *client = bench_connect(b);
        bench_send_str(b, client, "GET / HT");
        BENCH_UNTIL(b, tg_hub_count(b->hub) == 1);
        bench_turns(b, 3);
        if (way == 0)
            bench_close_client(client);
        else
            bench_reset_client(client);
        BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    }
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_CONNECTING][TG_FAILED]), 2);
    assert_int_equal(b->ask_count, 0);
}

static void a_reader_that_does_not_read_the_refusal_is_dropped(void **state)
{
    struct bench *b = *state;
    b->options.close_timeout_ms = 5;
    bench_start(b);
    struct bench_client *client = bench_connect(b);
    client->deaf = true;
    bench_send_str(b, client, "bad\r\n\r\n");
    BENCH_UNTIL(b, tg_counter_get(&b->metrics->connections_closed) == 1);
}

static bool refuse_without_memory(struct bench *b, struct tg_conn *conn, enum tg_hook hook)
{
    if (hook != TG_HOOK_UPGRADE)
        return false;
    tg__outboxes_fini(b->hub);
    (void)tg_memory_fail_after(0, 1);
    assert_int_equal(tg_conn_close(conn, 1001, "no"), TG_ERR_OK);
    (void)tg_memory_fail_after(-1, 0);
    return true;
}

/* Long before any deadline. */
static void without_memory_for_an_answer_the_connection_ends_at_once(void **state)
{
    struct bench *b = *state;
    b->options.close_timeout_ms = 600000;
    b->on_hook = refuse_without_memory;
    b->replies[TG_HOOK_UPGRADE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_connect(b);
    bench_request(b, client, "");
    bench_expect_eof(b, client);
    assert_int_equal(client->len, 0);
    bench_close_client(client);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_CONNECTING][TG_FAILED]), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_101_carries_id_and_subprotocol),
        T(one_byte_at_a_time_with_frames_behind),
        T(refusals),
        T(a_head_too_large_is_431),
        T(healthz),
        T(the_upgrade_hook_decides),
        T(a_fault_in_the_upgrade_hook_lets_nobody_in),
        T(handshake_deadline),
        T(a_client_that_leaves_during_the_handshake),
        T(a_reader_that_does_not_read_the_refusal_is_dropped),
        T(without_memory_for_an_answer_the_connection_ends_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
