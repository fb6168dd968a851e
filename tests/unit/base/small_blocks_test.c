/* Blocks by size out of one piece of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/memory.h"
#include "base/small_blocks.h"

#define SIZE ((size_t)64 << 10)

static struct tg_small_blocks blocks;

static int set_up(void **state)
{
    (void)state;
    tg_small_blocks_init(&blocks, SIZE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tg_small_blocks_fini(&blocks);
    assert_null(blocks.piece);
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
            tg_small_blocks_give(&blocks, taken[i].at, taken[i].size);
            taken[i] = taken[--count];
            continue;
        }
        size_t size = 1 + (seed >> 20) % TG_SMALL_BLOCK_MAX;
        unsigned char *at = tg_small_blocks_take(&blocks, size);
        if (at == NULL)
            continue;
        assert_true(tg_small_blocks_has(&blocks, at));
        assert_true(tg_small_blocks_has(&blocks, at + size - 1));
        assert_int_equal((uintptr_t)at % TG_SMALL_BLOCK_STEP, 0);
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
    while ((block = tg_small_blocks_take(&blocks, 100)) != NULL) {
        last = block;
        count++;
    }
    assert_int_equal(count, SIZE / 112);
    assert_null(tg_small_blocks_take(&blocks, TG_SMALL_BLOCK_MAX));
    tg_small_blocks_give(&blocks, last, 100);
    assert_null(tg_small_blocks_take(&blocks, TG_SMALL_BLOCK_MAX));
    assert_ptr_equal(tg_small_blocks_take(&blocks, 97), last);
    assert_null(tg_small_blocks_take(&blocks, 97));
}

static void a_size_stays_in_its_class(void **state)
{
    (void)state;
    assert_true(tg_small_blocks_fits(1, 16));
    assert_true(tg_small_blocks_fits(17, 32));
    assert_false(tg_small_blocks_fits(16, 17));
    assert_false(tg_small_blocks_fits(240, 256));
    assert_non_null(tg_small_blocks_take(&blocks, 1));
    assert_non_null(tg_small_blocks_take(&blocks, TG_SMALL_BLOCK_MAX));
    assert_int_equal(blocks.used, 16 + 256);
}

static void other_memory_is_not_its_own(void **state)
{
    char here;

    (void)state;
    assert_false(tg_small_blocks_has(&blocks, &here));
    assert_false(tg_small_blocks_has(&blocks, NULL));
    assert_false(tg_small_blocks_has(&blocks, blocks.piece + SIZE));
    assert_false(tg_small_blocks_has(&blocks, blocks.piece - 1));
}

static void without_memory_there_are_none(void **state)
{
    struct tg_small_blocks none = {0};

    (void)state;
    assert_null(tg_small_blocks_take(&none, 1));
    assert_false(tg_small_blocks_has(&none, &none));
    (void)tg_memory_fail_after(0, 0);
    tg_small_blocks_init(&none, SIZE);
    assert_null(tg_small_blocks_take(&none, 1));
    assert_false(tg_small_blocks_has(&none, NULL));
    tg_small_blocks_fini(&none);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blocks_do_not_overlap),
        TEST(a_piece_that_is_used_up_gives_nothing_but_what_comes_back),
        TEST(a_size_stays_in_its_class),
        TEST(other_memory_is_not_its_own),
        TEST(without_memory_there_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
