/* units_test.c - tables of what is read and of what is refused, with the hint people get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/units.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct good {
    const char *text;
    uint64_t value;
};

struct bad {
    const char *text;
    const char *hint; /* part of the message */
};

static void durations_are_read(void **state)
{
    (void)state;
    static const struct good rows[] = {
        {"0", 0},          {"0s", 0},
        {"1ms", 1},        {"500ms", 500},
        {"10s", 10000},    {"1.5s", 1500},
        {"0.25s", 250},    {"5m", 300000},
        {"1h", 3600000},   {"0.5h", 1800000},
        {"007s", 7000},    {"1.000s", 1000},
        {"2.0ms", 2},      {"0.001s", 1},
        {"24h", 86400000}, {"18446744073709551615ms", UINT64_MAX},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t ms = 42;
        struct tg_error error = {0};
        assert_int_equal(tg_duration_parse(rows[i].text, &ms, &error), TG_ERR_OK);
        assert_true(ms == rows[i].value);
    }
}

static void durations_are_refused(void **state)
{
    (void)state;
    static const struct bad rows[] = {
        {"", "no duration"},
        {"s", "no duration"},
        {"-1s", "no duration"},
        {"+1s", "no duration"},
        {" 1s", "no duration"},
        {".5s", "no duration"},
        {"1.s", "no duration"},
        {"1e3s", "unit"},
        {"10", "500ms, 10s"},
        {"1", "unit"},
        {"0.0", "unit"},
        {"10 s", "unit"},
        {"10S", "unit"},
        {"10sec", "unit"},
        {"10s ", "unit"},
        {"1d", "unit"},
        {"1.5.5s", "unit"},
        {"0x10s", "unit"},
        {"0.5ms", "too fine"},
        {"1.0001s", "too fine"},
        {"18446744073709551616ms", "no duration"},
        {"18446744073709551615s", "too large"},
        {"1.00000000000s", "no duration"},
        {"99999999999999999999s", "no duration"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t ms = 42;
        struct tg_error error = {0};
        assert_int_equal(tg_duration_parse(rows[i].text, &ms, &error), TG_ERR_INVALID);
        assert_int_equal(ms, 42);
        assert_non_null(strstr(error.text, rows[i].hint));
        assert_int_equal(tg_duration_parse(rows[i].text, &ms, NULL), TG_ERR_INVALID);
    }
}

static void sizes_are_read(void **state)
{
    (void)state;
    static const struct good rows[] = {
        {"0", 0},
        {"512", 512},
        {"512B", 512},
        {"64KiB", 65536},
        {"1MiB", 1048576},
        {"1.5MiB", 1572864},
        {"0.5KiB", 512},
        {"2GiB", UINT64_C(2147483648)},
        {"17179869183GiB", UINT64_C(17179869183) << 30},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t bytes = 42;
        struct tg_error error = {0};
        assert_int_equal(tg_size_parse(rows[i].text, &bytes, &error), TG_ERR_OK);
        assert_true(bytes == rows[i].value);
    }
}

static void sizes_are_refused(void **state)
{
    (void)state;
    static const struct bad rows[] = {
        {"", "no size"},
        {"KiB", "no size"},
        {"-1", "no size"},
        {"1.5", "too fine"},
        {"0.0001KiB", "too fine"},
        {"17179869184GiB", "too large"},
        {"10kb", "KiB"},
        {"10KB", "KiB"},
        {"10K", "KiB"},
        {"10k", "KiB"},
        {"10MB", "MiB"},
        {"1.5m", "MiB"},
        {"10GB", "GiB"},
        {"10g", "GiB"},
        {"10kib", "unit"},
        {"10 KiB", "unit"},
        {"1TiB", "unit"},
        {"ten", "no size"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t bytes = 42;
        struct tg_error error = {0};
        assert_int_equal(tg_size_parse(rows[i].text, &bytes, &error), TG_ERR_INVALID);
        assert_int_equal(bytes, 42);
        assert_non_null(strstr(error.text, rows[i].hint));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(durations_are_refused),
        cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
