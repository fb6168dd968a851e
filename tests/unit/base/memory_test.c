/* memory_test.c - overflow checks, and failures exactly where they are asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"

static void zeroed_and_copied_memory(void **state)
{
    (void)state;
    unsigned char *zeroed = tg_calloc(3, 5);
    for (size_t i = 0; i < 15; i++)
        assert_int_equal(zeroed[i], 0);
    tg_free(zeroed);
    char *copy = tg_strndup("a\0bc", 3);
    assert_memory_equal(copy, "a\0b\0", 4);
    tg_free(copy);
    char *text = tg_xstrdup("text");
    assert_string_equal(text, "text");
    tg_free(text);
    tg_free(tg_xcalloc(0, 8));
    tg_free(NULL);
}

static void size_zero_is_a_block(void **state)
{
    (void)state;
    void *a = tg_alloc(0);
    void *b = tg_calloc(0, 0);
    char *c = tg_strndup(NULL, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(c, "");
    tg_free(a);
    tg_free(b);
    tg_free(c);
}

static void overflow_is_out_of_memory(void **state)
{
    (void)state;
    volatile size_t huge = SIZE_MAX;
    assert_null(tg_calloc(huge / 2, 3));
    assert_null(tg_strndup("", huge));
}

static void fails_once_after_the_given_successes(void **state)
{
    (void)state;
    tg_memory_fail_after(2, 0);
    void *a = tg_alloc(1);
    void *b = tg_calloc(1, 1);
    void *failed = tg_alloc(1);
    void *d = tg_alloc(1);
    assert_int_equal(tg_memory_fail_after(-1, 0), 4);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(failed);
    assert_non_null(d);
    tg_free(a);
    tg_free(b);
    tg_free(d);
}

static void fails_for_ever_when_asked(void **state)
{
    (void)state;
    void *block = tg_alloc(8);
    memset(block, 'x', 8);
    tg_memory_fail_after(0, 1);
    for (int i = 0; i < 3; i++) {
        assert_null(tg_alloc(1));
        assert_null(tg_realloc(block, 100));
        assert_null(tg_strndup("a", 1));
    }
    tg_memory_fail_after(-1, 0);
    assert_memory_equal(block, "xxxxxxxx", 8);
    block = tg_realloc(block, 100);
    assert_memory_equal(block, "xxxxxxxx", 8);
    tg_free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroed_and_copied_memory),
        cmocka_unit_test(size_zero_is_a_block),
        cmocka_unit_test(overflow_is_out_of_memory),
        cmocka_unit_test(fails_once_after_the_given_successes),
        cmocka_unit_test(fails_for_ever_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
