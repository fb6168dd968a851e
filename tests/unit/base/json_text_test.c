/* json_text_test.c - the search by words must say what a search by bytes would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/json_text.h"

#define LEN_MAX 33

static bool is_special(unsigned byte)
{
    return byte < 0x20 || byte == '"' || byte == '\\';
}

/* Both, of a text that is plain but for what stands at `place`. */
static void check(const char *text, size_t len, size_t place, unsigned byte)
{
    char out[LEN_MAX + 1];

    memset(out, '#', sizeof out);
    size_t copied = tg_json_copy_plain(out, text, len);
    assert_int_equal(copied, is_special(byte) || byte > 0x7f ? place : len);
    assert_memory_equal(out, text, copied);
    assert_int_equal(out[len], '#');
    assert_ptr_equal(tg_json_skip_plain(text, text + len), text + (is_special(byte) ? place : len));
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
                check(text, len, place, byte);
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
            text[second] = '"';
            text[first] = '\x1f';
            check(text, sizeof text, first, 0x1f);
        }
    }
}

static void nothing_has_no_plain_bytes(void **state)
{
    char out = '#';

    (void)state;
    assert_int_equal(tg_json_copy_plain(&out, "", 0), 0);
    assert_int_equal(out, '#');
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
