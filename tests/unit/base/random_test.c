/* random_test.c - no repeats within and across threads, and every bit moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/random.h"

#define DRAWS 2000
#define THREADS 4

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void *draw(void *out)
{
    uint64_t *numbers = out;
    for (size_t i = 0; i < DRAWS; i++)
        numbers[i] = tg_random_u64();
    return NULL;
}

static void numbers_do_not_repeat_in_any_thread(void **state)
{
    (void)state;
    static uint64_t numbers[THREADS * DRAWS];
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, draw, numbers + i * DRAWS), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    qsort(numbers, THREADS * DRAWS, sizeof numbers[0], compare);
    for (size_t i = 1; i < THREADS * DRAWS; i++)
        assert_true(numbers[i - 1] != numbers[i]);
}

static void every_bit_is_set_and_clear_at_times(void **state)
{
    (void)state;
    uint64_t ones = 0;
    uint64_t zeros = 0;
    for (int i = 0; i < 200; i++) {
        uint64_t number = tg_random_u64();
        ones |= number;
        zeros |= ~number;
    }
    assert_true(ones == UINT64_MAX);
    assert_true(zeros == UINT64_MAX);
}

static void fills_exactly_the_bytes_asked_for(void **state)
{
    (void)state;
    uint8_t bytes[1026] = {0};
    tg_random_bytes(bytes + 1, 0);
    tg_random_bytes(bytes + 1, 1024);
    assert_int_equal(bytes[0], 0);
    assert_int_equal(bytes[1025], 0);
    size_t zeros = 0;
    for (size_t i = 1; i <= 1024; i++)
        zeros += bytes[i] == 0;
    assert_true(zeros < 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_do_not_repeat_in_any_thread),
        cmocka_unit_test(every_bit_is_set_and_clear_at_times),
        cmocka_unit_test(fills_exactly_the_bytes_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
