/* Blocks by size out of one piece of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/block_pool.h"
#include "base/memory.h"

#define SIZE ((size_t)2 << 20)

static struct tg_block_pool pool;

static int set_up(void **state)
{
    (void)state;
    tg_block_pool_init(&pool, SIZE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tg_block_pool_fini(&pool);
    assert_null(pool.piece);
    return 0;
}

static void blocks_do_not_overlap(void **state)
{
    static struct {
        unsigned char *at;
        size_t size;
    } taken[4096];
    size_t count = 0;
    uint32_t seed = 1;

    (void)state;
    for (int round = 0; round < 200000; round++) {
        seed = seed * 1664525 + 1013904223;
        size_t i = (seed >> 8) % 300;
        if (i < count) {
            for (size_t byte = 0; byte < taken[i].size; byte++)
                assert_int_equal(taken[i].at[byte], (unsigned char)(uintptr_t)taken[i].at >> 4);
            tg_block_pool_give(&pool, taken[i].at, taken[i].size);
            taken[i] = taken[--count];
            continue;
        }
        size_t size = 1 + (seed >> 20) % (round % 8 == 0 ? TG_BLOCK_MAX : 300);
        unsigned char *at = tg_block_pool_take(&pool, size);
        if (at == NULL)
            continue;
        assert_true(tg_block_pool_has(&pool, at));
        assert_true(tg_block_pool_has(&pool, at + size - 1));
        assert_int_equal((uintptr_t)at % TG_BLOCK_STEP, 0);
        memset(at, (unsigned char)(uintptr_t)at >> 4, size);
        taken[count].at = at;
        taken[count++].size = size;
    }
}

static void a_piece_that_is_used_up_gives_nothing_but_what_comes_back(void **state)
{
    void *last = NULL, *block;
    size_t count = 0;

    (void)state;
    while ((block = tg_block_pool_take(&pool, 100)) != NULL) {
        last = block;
        count++;
    }
    assert_int_equal(count, SIZE / 112);
    assert_null(tg_block_pool_take(&pool, TG_BLOCK_MAX));
    tg_block_pool_give(&pool, last, 100);
    assert_null(tg_block_pool_take(&pool, TG_BLOCK_MAX));
    assert_ptr_equal(tg_block_pool_take(&pool, 97), last);
    assert_null(tg_block_pool_take(&pool, 97));
}

static void a_size_stays_in_its_class(void **state)
{
    (void)state;
    assert_true(tg_block_pool_fits(1, 16));
    assert_true(tg_block_pool_fits(17, 32));
    assert_false(tg_block_pool_fits(16, 17));
    assert_false(tg_block_pool_fits(240, 256));
    assert_false(tg_block_pool_fits(256, 257));
    assert_true(tg_block_pool_fits(257, 288));
    assert_false(tg_block_pool_fits(288, 289));
    assert_true(tg_block_pool_fits(16385, 18432));
    assert_false(tg_block_pool_fits(18432, 18433));
    assert_non_null(tg_block_pool_take(&pool, 1));
    assert_non_null(tg_block_pool_take(&pool, 256));
    assert_non_null(tg_block_pool_take(&pool, TG_BLOCK_MAX));
    assert_int_equal(pool.used, 16 + 256 + TG_BLOCK_MAX);
}

static void a_class_is_never_too_small_and_loses_an_eighth_at_most(void **state)
{
    size_t index_before = 0;

    (void)state;
    for (size_t size = 1; size <= TG_BLOCK_MAX; size++) {
        struct tg__block_class class = tg__block_class(size);
        assert_true(class.bytes >= size);
        assert_true(class.bytes - size < (size <= 256 ? TG_BLOCK_STEP : size / 8 + 1));
        assert_int_equal(class.bytes % TG_BLOCK_STEP, 0);
        assert_true(class.index == index_before || class.index == index_before + 1);
        assert_true(class.index < TG__BLOCK_CLASSES);
        index_before = class.index;
    }
    assert_int_equal(index_before, TG__BLOCK_CLASSES - 1);
}

static void other_memory_is_not_its_own(void **state)
{
    char here;

    (void)state;
    assert_false(tg_block_pool_has(&pool, &here));
    assert_false(tg_block_pool_has(&pool, NULL));
    assert_false(tg_block_pool_has(&pool, pool.piece + SIZE));
    assert_false(tg_block_pool_has(&pool, pool.piece - 1));
}

static void without_memory_there_are_none(void **state)
{
    struct tg_block_pool none = {0};

    (void)state;
    assert_null(tg_block_pool_take(&none, 1));
    assert_false(tg_block_pool_has(&none, &none));
    (void)tg_memory_fail_after(0, 0);
    tg_block_pool_init(&none, SIZE);
    assert_null(tg_block_pool_take(&none, 1));
    assert_false(tg_block_pool_has(&none, NULL));
    tg_block_pool_fini(&none);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blocks_do_not_overlap),
        TEST(a_piece_that_is_used_up_gives_nothing_but_what_comes_back),
        TEST(a_size_stays_in_its_class),
        TEST(a_class_is_never_too_small_and_loses_an_eighth_at_most),
        TEST(other_memory_is_not_its_own),
        TEST(without_memory_there_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
