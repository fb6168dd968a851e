/* rate_test.c - rates as text, and buckets that keep to them; and the gate that keeps the log short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log_gate.h"
#include "base/rate.h"

#define SECOND UINT64_C(1000000000)

static struct tg_rate rate_of(const char *text)
{
    struct tg_rate rate;
    struct tg_error error;

    if (tg_rate_parse(text, &rate, &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    return rate;
}

static void rates_as_text(void **state)
{
    static const struct {
        const char *text;
        uint64_t interval_ns;
        uint64_t burst;
    } good[] = {
        {"100/s", SECOND / 100, 100},
        {"1/s", SECOND, 1},
        {"60/m", SECOND, 60},
        {"1/h", 3600 * SECOND, 1},
        {"10/s burst 30", SECOND / 10, 30},
        {"1000000/s", 1000, 1000000},
        {"5/m burst 1", 12 * SECOND, 1},
        {"unlimited", 0, 0},
    };
    static const char *const bad[] = {
        "",
        "100",
        "0/s",
        "/s",
        "10/d",
        "10/ s",
        "10 /s",
        "-1/s",
        "1.5/s",
        "10/sec",
        "10/s burst",
        "10/s burst 0",
        "10/s burst x",
        "10/sburst 1",
        "10/s  burst 1",
        "10/s burst 1 ",
        "1000001/s",
        "99999999999999999999/s",
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct tg_rate rate = rate_of(good[i].text);
        assert_int_equal(rate.interval_ns, good[i].interval_ns);
        assert_int_equal(rate.burst, good[i].burst);
        assert_int_equal(tg_rate_limits(&rate), good[i].interval_ns > 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tg_rate rate;
        struct tg_error error;
        if (tg_rate_parse(bad[i], &rate, &error) != TG_ERR_INVALID)
            fail_msg("\"%s\" is taken for a rate", bad[i]);
    }
}

static void a_bucket_gives_its_burst_and_then_the_rate(void **state)
{
    struct tg_rate rate = rate_of("10/s burst 3");
    uint64_t bucket = 0;
    uint64_t now = 5 * SECOND;
    uint64_t wait = 0;

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(tg_rate_take(&rate, &bucket, now, &wait));
    assert_false(tg_rate_take(&rate, &bucket, now, &wait));
    assert_int_equal(wait, SECOND / 10);
    assert_false(tg_rate_take(&rate, &bucket, now + wait - 1, NULL));
    assert_true(tg_rate_take(&rate, &bucket, now + wait, &wait));
    assert_false(tg_rate_take(&rate, &bucket, now + SECOND / 10, &wait));
    now += 10 * SECOND; /* full again, and no fuller */
    for (int i = 0; i < 3; i++)
        assert_true(tg_rate_take(&rate, &bucket, now, &wait));
    assert_false(tg_rate_take(&rate, &bucket, now, &wait));
}

/* Over a long time exactly the rate, whatever the rhythm of those who ask. */
static void in_the_long_run_it_is_the_rate(void **state)
{
    struct tg_rate rate = rate_of("100/s burst 5");
    uint64_t bucket = 0;
    int taken = 0;

    (void)state;
    for (uint64_t ms = 0; ms < 10000; ms += 3)
        taken += tg_rate_take(&rate, &bucket, ms * 1000000, NULL);
    assert_in_range(taken, 1000, 1005);
}

static void the_gate_counts_what_it_keeps_back(void **state)
{
    struct tg_log_gate gate = {0};
    uint64_t left_out = 99;

    (void)state;
    assert_true(tg_log_gate_pass(&gate, 5000, 2, &left_out));
    assert_int_equal(left_out, 0);
    assert_true(tg_log_gate_pass(&gate, 5001, 2, &left_out));
    for (uint64_t i = 0; i < 7; i++)
        assert_false(tg_log_gate_pass(&gate, 5100 + i, 2, &left_out));
    assert_true(tg_log_gate_pass(&gate, 6000, 2, &left_out));
    assert_int_equal(left_out, 7);
    assert_true(tg_log_gate_pass(&gate, 6001, 2, &left_out));
    assert_int_equal(left_out, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_as_text),
        cmocka_unit_test(a_bucket_gives_its_burst_and_then_the_rate),
        cmocka_unit_test(in_the_long_run_it_is_the_rate),
        cmocka_unit_test(the_gate_counts_what_it_keeps_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
