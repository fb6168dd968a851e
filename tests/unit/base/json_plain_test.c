/* json_plain_test.c - the search by words must say what a search by bytes would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/json_plain.h"

#define LEN_MAX 33

static bool needs_escape(unsigned byte)
{
    return byte < 0x20 || byte > 0x7f || byte == '"' || byte == '\\';
}

static void every_byte_is_told_at_every_place_of_every_length(void **state)
{
    (void)state;
    for (size_t len = 1; len <= LEN_MAX; len++) {
        for (size_t place = 0; place < len; place++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                char text[LEN_MAX];
                memset(text, 'a', len);
                text[place] = (char)byte;
                assert_int_equal(tg_json_plain_prefix(text, len), needs_escape(byte) ? place : len);
            }
        }
    }
}

static void of_two_that_are_not_plain_the_first_counts(void **state)
{
    (void)state;
    for (size_t first = 0; first < LEN_MAX; first++) {
        for (size_t second = first; second < LEN_MAX; second++) {
            char text[LEN_MAX];
            memset(text, '~', sizeof text);
            text[second] = '\x80';
            text[first] = '\x1f';
            assert_int_equal(tg_json_plain_prefix(text, sizeof text), first);
        }
    }
}

static void nothing_has_no_plain_bytes(void **state)
{
    (void)state;
    assert_int_equal(tg_json_plain_prefix("", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_is_told_at_every_place_of_every_length),
        cmocka_unit_test(of_two_that_are_not_plain_the_first_counts),
        cmocka_unit_test(nothing_has_no_plain_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
