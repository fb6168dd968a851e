/* congestion_test.c - who sends waits for a client that reads slowly, and one that takes nothing is
 * let go. */
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

struct waiter {
    struct tg_drain_waiter base;
    struct tg_conn *close; /* closed when it is woken; NULL: none */
    int woken;
    bool open;
};

static void on_drained(struct tg_drain_waiter *base, bool open)
{
    struct waiter *waiter = TG_CONTAINER_OF(base, struct waiter, base);
    waiter->woken++;
    waiter->open = open;
    if (waiter->close != NULL && open)
        assert_int_equal(tg_conn_close(waiter->close, 1000, "from a waiter"), TG_ERR_OK);
}

static void init_waiter(struct waiter *waiter)
{
    memset(waiter, 0, sizeof *waiter);
    waiter->base.fn = on_drained;
    tg_list_init(&waiter->base.node);
}

/* A client whose socket takes nothing, and an outbox that is more than half full. */
static struct bench_client *congest(struct bench *b)
{
    static const char text[5000] = {'x'};
    b->options.outbox_bytes = 200000;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    client->deaf = true;
    while (!tg_conn_is_congested(bench_conn(b))) {
        assert_int_equal(tg_conn_send_binary(bench_conn(b), text, sizeof text), TG_ERR_OK);
        bench_turn(b);
    }
    assert_true(tg_conn_is_writing(bench_conn(b)));
    return client;
}

static void waiters_wake_when_there_is_room(void **state)
{
    struct bench *b = *state;
    struct waiter waiters[3];
    struct bench_client *client = congest(b);
    for (int i = 0; i < 3; i++) {
        init_waiter(&waiters[i]);
        assert_int_equal(tg_conn_wait_drained(bench_conn(b), &waiters[i].base), TG_ERR_OK);
    }
    tg_conn_stop_waiting(&waiters[1].base);
    bench_turns(b, 10);
    assert_int_equal(waiters[0].woken, 0);
    client->deaf = false;
    BENCH_UNTIL(b, waiters[2].woken == 1);
    assert_int_equal(waiters[0].woken, 1);
    assert_int_equal(waiters[1].woken, 0);
    assert_true(waiters[0].open && waiters[2].open);
    assert_false(tg_conn_is_congested(bench_conn(b)));
    bench_turns(b, 10);
    assert_int_equal(waiters[0].woken, 1);
}

static void waiters_are_told_of_the_end(void **state)
{
    struct bench *b = *state;
    for (int way = 0; way < 2; way++) {
        struct waiter waiter;
        init_waiter(&waiter);
        b->options.close_timeout_ms = 10;
        struct bench_client *client = congest(b);
        assert_int_equal(tg_conn_wait_drained(bench_conn(b), &waiter.base), TG_ERR_OK);
        if (way == 0)
            assert_int_equal(tg_conn_close(bench_conn(b), 1000, ""), TG_ERR_OK);
        else
            bench_reset_client(client);
        BENCH_UNTIL(b, waiter.woken == 1);
        assert_false(waiter.open);
        bench_stop(b);
        bench_init(b);
    }
}

static void a_waiter_may_close(void **state)
{
    struct bench *b = *state;
    struct waiter first, second;
    b->options.close_timeout_ms = 20000;
    struct bench_client *client = congest(b);
    init_waiter(&first);
    init_waiter(&second);
    first.close = bench_conn(b);
    assert_int_equal(tg_conn_wait_drained(bench_conn(b), &first.base), TG_ERR_OK);
    assert_int_equal(tg_conn_wait_drained(bench_conn(b), &second.base), TG_ERR_OK);
    client->deaf = false;
    BENCH_UNTIL(b, second.woken == 1);
    assert_int_equal(first.woken, 1);
    struct bench_frame frame = bench_read(b, client);
    while (frame.opcode == 2)
        frame = bench_read(b, client);
    assert_int_equal(frame.opcode, 8);
}

static void nobody_can_wait_for_a_connection_that_has_ended(void **state)
{
    struct bench *b = *state;
    struct waiter waiter;
    init_waiter(&waiter);
    b->replies[TG_HOOK_CLOSED].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    assert_int_equal(tg_conn_close(bench_conn(b), 1000, ""), TG_ERR_OK);
    assert_int_equal(tg_conn_wait_drained(bench_conn(b), &waiter.base), TG_ERR_CLOSED);
    bench_reset_client(client);
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_CLOSED));
    bench_turns(b, 5); /* the stream is gone */
    assert_int_equal(tg_conn_wait_drained(bench_conn(b), &waiter.base), TG_ERR_CLOSED);
    assert_false(tg_conn_is_congested(bench_conn(b)));
    bench_answer(b, TG_HOOK_CLOSED, bench_yes());
}

static void nothing_moves_and_somebody_waits(void **state)
{
    struct bench *b = *state;
    struct waiter waiter;
    init_waiter(&waiter);
    b->options.outbox_timeout_ms = 20;
    b->options.close_timeout_ms = 10;
    (void)congest(b);
    uint64_t begin_ms = bench_now_ms();
    assert_int_equal(tg_conn_wait_drained(bench_conn(b), &waiter.base), TG_ERR_OK);
    BENCH_UNTIL(b, waiter.woken == 1);
    assert_true(bench_now_ms() - begin_ms >= 18);
    assert_false(waiter.open);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    assert_int_equal(bench_last(b, TG_HOOK_CLOSED)->close_code, 1008);
    assert_int_equal(tg_counter_get(&b->metrics->slow_clients), 1);
}

static void no_memory_to_wait(void **state)
{
    struct bench *b = *state;
    struct waiter waiter;
    init_waiter(&waiter);
    (void)congest(b);
    (void)tg_memory_fail_after(0, 1);
    enum tg_err err = tg_conn_wait_drained(bench_conn(b), &waiter.base);
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(err, TG_ERR_NOMEM);
    assert_int_equal(tg_conn_wait_drained(bench_conn(b), &waiter.base), TG_ERR_OK);
    tg_conn_stop_waiting(&waiter.base);
}

/* Nothing is under way that would end, so that there is no other occasion to wake it. */
static void one_who_waits_without_need_is_woken_from_the_loop(void **state)
{
    struct bench *b = *state;
    struct waiter waiter;
    init_waiter(&waiter);
    bench_start(b);
    (void)bench_ready(b);
    assert_int_equal(tg_conn_wait_drained(bench_conn(b), &waiter.base), TG_ERR_OK);
    assert_int_equal(waiter.woken, 0);
    BENCH_UNTIL(b, waiter.woken == 1);
    assert_true(waiter.open);
    assert_null(bench_conn(b)->outbox);
    assert_null(bench_conn(b)->attachments);
}

static void no_memory_to_be_woken_with(void **state)
{
    struct bench *b = *state;
    struct waiter waiter;
    init_waiter(&waiter);
    bench_start(b);
    (void)bench_ready(b);
    tg__outboxes_fini(b->hub);
    (void)tg_memory_fail_after(0, 0);
    enum tg_err err = tg_conn_wait_drained(bench_conn(b), &waiter.base);
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(err, TG_ERR_NOMEM);
    bench_turns(b, 5);
    assert_int_equal(waiter.woken, 0);
    assert_true(tg_conn_is_open(bench_conn(b)));
}

static void the_latest_ping_is_answered_once_there_is_room(void **state)
{
    struct bench *b = *state;
    struct bench_client *client = congest(b);
    for (const char *digit = "0123456789"; *digit != '\0'; digit++)
        bench_send_frame(b, client, 9, digit, 1);
    bench_turns(b, 10);
    client->deaf = false;
    struct bench_frame frame = bench_read(b, client);
    while (frame.opcode == 2)
        frame = bench_read(b, client);
    assert_int_equal(frame.opcode, 10);
    assert_string_equal(frame.data, "9");
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(waiters_wake_when_there_is_room),
        T(waiters_are_told_of_the_end),
        T(a_waiter_may_close),
        T(nobody_can_wait_for_a_connection_that_has_ended),
        T(nothing_moves_and_somebody_waits),
        T(no_memory_to_wait),
        T(one_who_waits_without_need_is_woken_from_the_loop),
        T(no_memory_to_be_woken_with),
        T(the_latest_ping_is_answered_once_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
