/* clock_test.c - dates against known ones and against the C library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/clock.h"

static void known_dates(void **state)
{
    (void)state;
    static const struct {
        uint64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {951782399999, "2000-02-28T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {1709251199001, "2024-02-29T23:59:59.001Z"},
        {1757500188434, "2025-09-10T10:29:48.434Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "9999-12-31T23:59:59.999Z"},
        {UINT64_MAX, "9999-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[TG_CLOCK_RFC3339_SIZE];
        memset(out, '#', sizeof out);
        tg_clock_rfc3339(rows[i].ms, out);
        assert_string_equal(out, rows[i].text);
    }
}

static void agrees_with_the_c_library_on_every_day(void **state)
{
    (void)state;
    for (time_t day = 0; day < 100000; day++) {
        time_t seconds = day * 86400 + day % 86400;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        char expected[64];
        strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S.000Z", &tm);
        char out[TG_CLOCK_RFC3339_SIZE];
        tg_clock_rfc3339((uint64_t)seconds * 1000, out);
        assert_string_equal(out, expected);
    }
}

static void clocks_run_forward(void **state)
{
    (void)state;
    uint64_t ns = tg_clock_monotonic_ns();
    uint64_t ms = tg_clock_monotonic_ms();
    assert_true(ms >= ns / 1000000);
    assert_true(tg_clock_monotonic_ns() >= ns);
    uint64_t wall = tg_clock_wall_ms();
    uint64_t now = (uint64_t)time(NULL);
    assert_true(wall / 1000 <= now + 1 && wall / 1000 + 2 >= now);
}

static void a_fake_clock_stands_still_until_it_is_moved(void **state)
{
    struct tg_clock_fake fake = {.monotonic_ns = 7000000, .wall_ms = 1000};
    (void)state;
    tg_clock_use(&fake);
    assert_int_equal(tg_clock_monotonic_ns(), 7000000);
    assert_int_equal(tg_clock_monotonic_ms(), 7);
    assert_int_equal(tg_clock_wall_ms(), 1000);
    fake.wall_ms += 5;
    assert_int_equal(tg_clock_wall_ms(), 1005);
    tg_clock_use(NULL);
    assert_true(tg_clock_wall_ms() > UINT64_C(1700000000000));
    assert_true(tg_clock_monotonic_ns() != 7000000);
}

static void *read_wall(void *out)
{
    *(uint64_t *)out = tg_clock_wall_ms();
    return NULL;
}

static void a_fake_clock_is_for_its_thread_only(void **state)
{
    struct tg_clock_fake fake = {.wall_ms = 1};
    pthread_t other;
    uint64_t seen = 0;
    (void)state;
    tg_clock_use(&fake);
    assert_int_equal(pthread_create(&other, NULL, read_wall, &seen), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
    tg_clock_use(NULL);
    assert_true(seen > UINT64_C(1700000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_dates),
        cmocka_unit_test(agrees_with_the_c_library_on_every_day),
        cmocka_unit_test(clocks_run_forward),
        cmocka_unit_test(a_fake_clock_stands_still_until_it_is_moved),
        cmocka_unit_test(a_fake_clock_is_for_its_thread_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
