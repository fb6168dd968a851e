/* timer_test.c - the heap of deadlines, on a real loop with short delays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <uv.h>

#include "base/list.h"
#include "base/memory.h"
#include "net/timer.h"

#define MANY 500

struct fixture {
    uv_loop_t loop;
    struct tg_timers *timers;
};

struct item {
    struct tg_timer timer;
    struct fixture *fixture;
    struct item *other;
    uint64_t wanted_ms;
    int fired;
    int again; /* how often to restart from the callback */
};

static uint64_t last_due_ms;
static int fired_total;

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    last_due_ms = 0;
    fired_total = 0;
    if (fixture == NULL || uv_loop_init(&fixture->loop) != 0 ||
        tg_timers_create(&fixture->timers, &fixture->loop) != TG_ERR_OK)
        return -1;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    tg_timers_destroy(fixture->timers);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&fixture->loop);
    free(fixture);
    return status;
}

static void on_fire(struct tg_timer *timer)
{
    struct item *item = TG_CONTAINER_OF(timer, struct item, timer);

    assert_false(tg_timer_running(timer));
    assert_true(tg_timers_now_ms(item->fixture->timers) >= item->wanted_ms);
    assert_true(item->wanted_ms >= last_due_ms);
    last_due_ms = item->wanted_ms;
    item->fired++;
    fired_total++;
}

static void start(struct fixture *fixture, struct item *item, uint64_t delay_ms, tg_timer_fn fn)
{
    item->fixture = fixture;
    item->wanted_ms = tg_timers_now_ms(fixture->timers) + delay_ms;
    assert_int_equal(tg_timer_start(fixture->timers, &item->timer, delay_ms, fn), TG_ERR_OK);
    assert_true(tg_timer_running(&item->timer));
}

static void run(struct fixture *fixture)
{
    assert_int_equal(uv_run(&fixture->loop, UV_RUN_DEFAULT), 0);
}

/* Started, restarted and stopped in a random order: each fires as often as it should, in order. */
static void test_many(void **state)
{
    struct fixture *fixture = *state;
    struct item *items = calloc(MANY, sizeof *items);
    int expected = MANY;

    srand(7);
    for (int i = 0; i < MANY; i++)
        start(fixture, &items[i], (uint64_t)(rand() % 40), on_fire);
    for (int i = 0; i < MANY; i += 3)
        start(fixture, &items[i], (uint64_t)(rand() % 40), on_fire);
    for (int i = 0; i < MANY; i += 7) {
        tg_timer_stop(fixture->timers, &items[i].timer);
        tg_timer_stop(fixture->timers, &items[i].timer);
        assert_false(tg_timer_running(&items[i].timer));
        expected--;
    }
    run(fixture);
    assert_int_equal(fired_total, expected);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(items[i].fired, i % 7 == 0 ? 0 : 1);
    free(items);
}

static void on_fire_again(struct tg_timer *timer)
{
    struct item *item = TG_CONTAINER_OF(timer, struct item, timer);

    item->fired++;
    if (item->again-- > 0)
        start(item->fixture, item, 0, on_fire_again);
}

static void on_prepare(uv_prepare_t *handle)
{
    (*(int *)handle->data)++;
}

/* A timer that restarts itself with no delay still lets the loop go round. */
static void test_zero_delay_does_not_hold_the_loop(void **state)
{
    struct fixture *fixture = *state;
    struct item item = {.again = 5};
    uv_prepare_t prepare;
    int rounds = 0;

    uv_prepare_init(&fixture->loop, &prepare);
    prepare.data = &rounds;
    uv_prepare_start(&prepare, on_prepare);
    uv_unref((uv_handle_t *)&prepare);
    start(fixture, &item, 0, on_fire_again);
    run(fixture);
    assert_int_equal(item.fired, 6);
    assert_true(rounds >= 5);
    uv_close((uv_handle_t *)&prepare, NULL);
    run(fixture);
}

static void on_fire_stop_other(struct tg_timer *timer)
{
    struct item *item = TG_CONTAINER_OF(timer, struct item, timer);

    item->fired++;
    tg_timer_stop(item->fixture->timers, &item->other->timer);
}

/* Two due in the same round: the first stops the second. */
static void test_stop_in_callback(void **state)
{
    struct fixture *fixture = *state;
    struct item second = {.fired = 0};
    struct item first = {.other = &second};

    start(fixture, &first, 1, on_fire_stop_other);
    start(fixture, &second, 2, on_fire);
    uv_sleep(5); /* both are due when the loop looks */
    run(fixture);
    assert_int_equal(first.fired, 1);
    assert_int_equal(second.fired, 0);
}

static void on_fire_free(struct tg_timer *timer)
{
    free(TG_CONTAINER_OF(timer, struct item, timer));
    fired_total++;
}

static void test_owner_freed_in_callback(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 10; i++)
        start(fixture, calloc(1, sizeof(struct item)), 1, on_fire_free);
    run(fixture);
    assert_int_equal(fired_total, 10);
}

static void on_fire_destroy(struct tg_timer *timer)
{
    struct item *item = TG_CONTAINER_OF(timer, struct item, timer);

    item->fired++;
    tg_timers_destroy(item->fixture->timers);
    item->fixture->timers = NULL;
}

static void test_destroy_in_callback(void **state)
{
    struct fixture *fixture = *state;
    struct tg_timers *timers = fixture->timers;
    struct item first = {.fired = 0};
    struct item second = {.fired = 0};

    start(fixture, &first, 1, on_fire_destroy);
    start(fixture, &second, 1, on_fire_destroy);
    run(fixture);
    assert_int_equal(first.fired + second.fired, 1);
    assert_false(tg_timer_running(&second.timer));
    tg_timer_stop(timers, &second.timer); /* harmless, though `timers` is gone */
}

/* Stopping the last timer lets the loop end; a far deadline does not hold it. */
static void test_stop_frees_the_loop(void **state)
{
    struct fixture *fixture = *state;
    struct item far = {.fired = 0};
    struct item near = {.fired = 0};

    start(fixture, &far, 3600 * 1000, on_fire);
    start(fixture, &near, 1, on_fire);
    tg_timer_stop(fixture->timers, &far.timer);
    run(fixture);
    assert_int_equal(near.fired, 1);
    start(fixture, &far, UINT64_MAX, on_fire); /* no overflow into the past */
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_int_equal(far.fired, 0);
    tg_timer_stop(fixture->timers, &far.timer);
    run(fixture);
}

static void test_out_of_memory(void **state)
{
    struct fixture *fixture = *state;
    struct item items[65] = {{.fired = 0}};
    struct tg_timers *timers;

    tg_memory_fail_after(0, 0);
    assert_int_equal(tg_timers_create(&timers, &fixture->loop), TG_ERR_NOMEM);
    for (int i = 0; i < 64; i++)
        start(fixture, &items[i], 1, on_fire);
    tg_memory_fail_after(0, 0);
    assert_int_equal(tg_timer_start(fixture->timers, &items[64].timer, 1, on_fire), TG_ERR_NOMEM);
    assert_false(tg_timer_running(&items[64].timer));
    tg_memory_fail_after(0, 0);
    start(fixture, &items[0], 2, on_fire); /* a restart needs none */
    tg_memory_fail_after(-1, 0);
    run(fixture);
    assert_int_equal(fired_total, 64);
}

static void count_fire(struct tg_timer *timer)
{
    TG_CONTAINER_OF(timer, struct item, timer)->fired++;
}

static void test_manual_timers_fire_in_order_when_time_is_moved(void **state)
{
    struct tg_timers *timers;
    struct item first = {.fired = 0}, second = {.fired = 0};
    uint64_t due_ms;

    (void)state;
    assert_int_equal(tg_timers_create_manual(&timers, 1000), TG_ERR_OK);
    assert_false(tg_timers_next_due(timers, &due_ms));
    assert_int_equal(tg_timer_start(timers, &second.timer, 20, count_fire), TG_ERR_OK);
    assert_int_equal(tg_timer_start(timers, &first.timer, 10, count_fire), TG_ERR_OK);
    assert_false(tg_timers_fire(timers));
    assert_true(tg_timers_next_due(timers, &due_ms));
    assert_int_equal(due_ms, 1010);
    tg_timers_set_now(timers, 1010);
    assert_int_equal(tg_timers_now_ms(timers), 1010);
    assert_true(tg_timers_fire(timers));
    assert_int_equal(first.fired, 1);
    assert_false(tg_timers_fire(timers));
    tg_timers_set_now(timers, 5000);
    assert_true(tg_timers_fire(timers));
    assert_int_equal(second.fired, 1);
    /* One that is due at once is due, whenever it was started. */
    assert_int_equal(tg_timer_start(timers, &first.timer, 0, count_fire), TG_ERR_OK);
    assert_true(tg_timers_fire(timers));
    assert_int_equal(tg_timer_start(timers, &first.timer, 1, count_fire), TG_ERR_OK);
    tg_timers_destroy(timers);
    assert_false(tg_timer_running(&first.timer));
}

/* Whichever was started first: time stands still, and so no delay becomes a millisecond. */
static void test_a_manual_timer_that_restarts_itself_lets_another_fire(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct fixture fixture;
        struct item again = {.again = 10}, once = {.fired = 0};
        assert_int_equal(tg_timers_create_manual(&fixture.timers, 1000), TG_ERR_OK);
        if (order == 0)
            start(&fixture, &once, 0, count_fire);
        start(&fixture, &again, 0, on_fire_again);
        if (order == 1)
            start(&fixture, &once, 0, count_fire);
        assert_true(tg_timers_fire(fixture.timers));
        assert_true(tg_timers_fire(fixture.timers));
        assert_int_equal(again.fired, 1);
        assert_int_equal(once.fired, 1);
        tg_timers_destroy(fixture.timers);
    }
}

/* As long as there are bits for it, and never over into the past. */
static void test_a_delay_without_end_is_the_longest_there_is(void **state)
{
    static const uint64_t longest_ms = (UINT64_C(1) << 40) - 1;
    struct tg_timers *timers;
    struct item endless = {.fired = 0}, last = {.fired = 0}, after = {.fired = 0};
    uint64_t due_ms;

    (void)state;
    assert_int_equal(tg_timers_create_manual(&timers, 1000), TG_ERR_OK);
    assert_int_equal(tg_timer_start(timers, &endless.timer, UINT64_MAX, count_fire), TG_ERR_OK);
    assert_true(tg_timers_next_due(timers, &due_ms));
    assert_int_equal(due_ms, longest_ms);
    assert_int_equal(tg_timer_start(timers, &last.timer, longest_ms - 1001, count_fire), TG_ERR_OK);
    assert_int_equal(tg_timer_due_ms(&last.timer), longest_ms - 1);
    assert_int_equal(tg_timer_due_ms(&endless.timer), longest_ms);
    tg_timers_set_now(timers, longest_ms - 1);
    assert_true(tg_timers_fire(timers));
    assert_int_equal(last.fired, 1);
    assert_false(tg_timers_fire(timers));
    tg_timers_set_now(timers, longest_ms + 1000);
    assert_int_equal(tg_timer_start(timers, &after.timer, 1, count_fire), TG_ERR_OK);
    assert_int_equal(tg_timer_due_ms(&after.timer), longest_ms);
    assert_true(tg_timers_fire(timers));
    assert_true(tg_timers_fire(timers));
    assert_int_equal(endless.fired + after.fired, 2);
    tg_timers_destroy(timers);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_many),
        TEST(test_zero_delay_does_not_hold_the_loop),
        TEST(test_stop_in_callback),
        TEST(test_owner_freed_in_callback),
        TEST(test_destroy_in_callback),
        TEST(test_stop_frees_the_loop),
        TEST(test_out_of_memory),
        cmocka_unit_test(test_manual_timers_fire_in_order_when_time_is_moved),
        cmocka_unit_test(test_a_manual_timer_that_restarts_itself_lets_another_fire),
        cmocka_unit_test(test_a_delay_without_end_is_the_longest_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
