/* The stopwatch beside the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "base/clock.h"
#include "base/stopwatch.h"

static void spend_ms(long ms)
{
    struct timespec pause = {.tv_nsec = ms * 1000000L};

    (void)nanosleep(&pause, NULL);
}

/* Between the clock's readings around it, give or take a hundredth. */
static void assert_agrees_with_the_clock(void)
{
    uint64_t outer = tg_clock_monotonic_ns();
    uint64_t from = tg_stopwatch_ns();
    uint64_t inner = tg_clock_monotonic_ns();
    spend_ms(30);
    uint64_t inner_ns = tg_clock_monotonic_ns() - inner;
    uint64_t took_ns = tg_stopwatch_since_ns(from);
    uint64_t outer_ns = tg_clock_monotonic_ns() - outer;
    assert_in_range(took_ns, inner_ns - inner_ns / 100, outer_ns + outer_ns / 100);
}

static void before_it_is_set_it_is_the_clock(void **state)
{
    (void)state;
    assert_agrees_with_the_clock();
}

static void it_measures_what_the_clock_does(void **state)
{
    (void)state;
    tg_stopwatch_calibrate();
    assert_agrees_with_the_clock();
    tg_stopwatch_calibrate();
    assert_agrees_with_the_clock();
}

static void a_later_reading_is_no_smaller_on_one_thread(void **state)
{
    (void)state;
    uint64_t before = tg_stopwatch_ns();
    for (int i = 0; i < 100000; i++) {
        uint64_t now = tg_stopwatch_ns();
        assert_true(now >= before);
        before = now;
    }
}

static void a_simulation_has_its_own_time(void **state)
{
    struct tg_clock_fake fake = {.monotonic_ns = 5000};

    (void)state;
    tg_clock_use(&fake);
    uint64_t from = tg_stopwatch_ns();
    spend_ms(1);
    assert_int_equal(tg_stopwatch_since_ns(from), 0);
    fake.monotonic_ns += 700;
    assert_int_equal(tg_stopwatch_since_ns(from), 700);
    tg_clock_use(NULL);
    assert_int_equal(tg_stopwatch_since_ns(UINT64_MAX), 0);
}

static void a_counter_that_the_kernel_gave_up_is_not_trusted(void **state)
{
    (void)state;
    assert_true(tg_stopwatch_trusts("tsc"));
    assert_true(tg_stopwatch_trusts("kvm-clock"));
    assert_true(tg_stopwatch_trusts("hyperv_clocksource_tsc_page"));
    assert_false(tg_stopwatch_trusts("hpet"));
    assert_false(tg_stopwatch_trusts("acpi_pm"));
    assert_false(tg_stopwatch_trusts("jiffies"));
    assert_false(tg_stopwatch_trusts(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_it_is_set_it_is_the_clock),
        cmocka_unit_test(it_measures_what_the_clock_does),
        cmocka_unit_test(a_later_reading_is_no_smaller_on_one_thread),
        cmocka_unit_test(a_counter_that_the_kernel_gave_up_is_not_trusted),
        cmocka_unit_test(a_simulation_has_its_own_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
