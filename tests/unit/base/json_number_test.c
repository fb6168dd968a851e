/* Numbers as JSON text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_number.h"

static const char *text_of(double number)
{
    static char text[TG_JSON_NUMBER_SIZE + 1];

    text[tg_json_write_number(text, number)] = '\0';
    return text;
}

/* What it is to be: the shortest of 15 to 17 digits that reads back. */
static void assert_as_printf(double number)
{
    char expected[40];

    if (number == floor(number) && fabs(number) < 9007199254740992.0) {
        (void)snprintf(expected, sizeof expected, "%lld", (long long)number);
    } else {
        for (int digits = 15; digits <= 17; digits++) {
            (void)snprintf(expected, sizeof expected, "%.*g", digits, number);
            if (strtod(expected, NULL) == number)
                break;
        }
    }
    assert_string_equal(text_of(number), expected);
}

static void integers_have_no_exponent_up_to_two_to_the_53rd(void **state)
{
    (void)state;
    assert_string_equal(text_of(0), "0");
    assert_string_equal(text_of(-0.0), "0");
    assert_string_equal(text_of(7), "7");
    assert_string_equal(text_of(-10), "-10");
    assert_string_equal(text_of(9007199254740991.0), "9007199254740991");
    assert_string_equal(text_of(-9007199254740991.0), "-9007199254740991");
    assert_string_equal(text_of(9007199254740992.0), "9007199254740992");
}

static void decimals_are_as_short_as_they_were_written(void **state)
{
    (void)state;
    assert_string_equal(text_of(1.5), "1.5");
    assert_string_equal(text_of(-0.05), "-0.05");
    assert_string_equal(text_of(19.99), "19.99");
    assert_string_equal(text_of(0.1 + 0.2), "0.30000000000000004");
    assert_string_equal(text_of(1.0 / 3), "0.3333333333333333");
    assert_string_equal(text_of(1e-7), "1e-07");
    assert_string_equal(text_of(999999999.9999), "999999999.9999");
    assert_string_equal(text_of(5e-324), "4.94065645841247e-324");
    assert_string_equal(text_of(1.7976931348623157e308), "1.7976931348623157e+308");
}

static void every_number_is_written_as_printf_would(void **state)
{
    uint64_t seed = 88172645463325252U;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        double any;
        memcpy(&any, &seed, sizeof any);
        if (isfinite(any))
            assert_as_printf(any);
        double cents = (double)(int64_t)(seed >> 34) - 536870912.0;
        assert_as_printf(cents / 10);
        assert_as_printf(cents / 100);
        assert_as_printf(cents / 1000);
        assert_as_printf(cents / 10000);
        assert_as_printf(cents / 100000);
        assert_as_printf(nextafter(cents / 100, INFINITY));
        assert_as_printf(cents / 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_have_no_exponent_up_to_two_to_the_53rd),
        cmocka_unit_test(decimals_are_as_short_as_they_were_written),
        cmocka_unit_test(every_number_is_written_as_printf_would),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
