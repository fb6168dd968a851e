/* metrics_test.c - buckets, the last day, close codes and the table of agents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/metrics.h"

#define HOUR UINT64_C(3600000)

static void counters_add_subtract_and_set(void **state)
{
    (void)state;
    tg_counter counter = 0;
    tg_counter_add(&counter, 5);
    tg_counter_sub(&counter, 2);
    assert_int_equal(tg_counter_get(&counter), 3);
    tg_counter_set(&counter, 9);
    assert_int_equal(tg_counter_get(&counter), 9);
}

static void a_bound_belongs_to_its_bucket(void **state)
{
    (void)state;
    for (size_t i = 1; i < TG_METRICS_BUCKETS; i++)
        assert_true(tg_metrics_bucket_us[i - 1] < tg_metrics_bucket_us[i]);
    for (size_t i = 0; i < TG_METRICS_BUCKETS; i++) {
        struct tg_histogram histogram = {0};
        tg_histogram_observe(&histogram, tg_metrics_bucket_us[i]);
        tg_histogram_observe(&histogram, tg_metrics_bucket_us[i] + 1);
        assert_int_equal(tg_counter_get(&histogram.buckets[i]), 1);
        assert_int_equal(tg_counter_get(&histogram.buckets[i + 1]), 1);
        assert_true(tg_counter_get(&histogram.sum_us) == 2 * tg_metrics_bucket_us[i] + 1);
    }
    struct tg_histogram histogram = {0};
    tg_histogram_observe(&histogram, 0);
    tg_histogram_observe(&histogram, UINT64_MAX / 2);
    assert_int_equal(tg_counter_get(&histogram.buckets[0]), 1);
    assert_int_equal(tg_counter_get(&histogram.buckets[TG_METRICS_BUCKETS]), 1);
}

static void the_last_day_forgets_what_is_older(void **state)
{
    (void)state;
    uint64_t start = 480000 * HOUR + 1234;
    struct tg_hourly hourly = {0};
    assert_int_equal(tg_hourly_last_day(&hourly, start), 0);
    tg_hourly_add(&hourly, start);
    tg_hourly_add(&hourly, start + HOUR);
    tg_hourly_add(&hourly, start + HOUR);
    assert_int_equal(tg_hourly_last_day(&hourly, start + HOUR), 3);
    assert_int_equal(tg_hourly_last_day(&hourly, start + 24 * HOUR), 3);
    assert_int_equal(tg_hourly_last_day(&hourly, start + 25 * HOUR), 2);
    assert_int_equal(tg_hourly_last_day(&hourly, start + 26 * HOUR), 0);
    /* The slot of the first event is taken over, not added to. */
    tg_hourly_add(&hourly, start + 25 * HOUR);
    assert_int_equal(tg_hourly_last_day(&hourly, start + 25 * HOUR), 3);
    /* A clock that was set back does not count what is in its future. */
    assert_int_equal(tg_hourly_last_day(&hourly, start + HOUR), 2);
}

static void known_close_codes_have_their_row(void **state)
{
    (void)state;
#define X(code) assert_int_equal(tg_close_slot_of(code), TG_CLOSE_SLOT_##code);
    TG_CLOSE_CODE_MAP(X)
#undef X
    static const int others[] = {-1, 0, 999, 1004, 1010, 1015, 3000, 4000, 4999, 65535};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(tg_close_slot_of(others[i]), TG_CLOSE_SLOT_OTHER);
}

static void agents_keep_their_row(void **state)
{
    (void)state;
    struct tg_metrics *metrics = calloc(1, sizeof *metrics);
    struct tg_agent_metrics *first = tg_metrics_agent(metrics, "supervisor");
    struct tg_agent_metrics *second = tg_metrics_agent(metrics, "super");
    assert_ptr_not_equal(first, second);
    assert_ptr_equal(tg_metrics_agent(metrics, "supervisor"), first);
    assert_ptr_equal(tg_metrics_agent(metrics, "super"), second);
    assert_string_equal(second->name, "super");
    assert_int_equal(tg_metrics_agents_used(metrics), 2);

    char name[81];
    memset(name, 'n', 80);
    name[80] = '\0';
    struct tg_agent_metrics *cut = tg_metrics_agent(metrics, name);
    assert_int_equal(strlen(cut->name), 63);
    assert_ptr_equal(tg_metrics_agent(metrics, name), cut);
    memcpy(name + 62, "\xC3\xA9", 2);
    assert_int_equal(strlen(tg_metrics_agent(metrics, name)->name), 62);
    free(metrics);
}

static void fill_agents(struct tg_metrics *metrics, int count)
{
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "agent%d", i);
        tg_metrics_agent(metrics, name);
    }
}

static void too_many_agents_share_a_row(void **state)
{
    (void)state;
    struct tg_metrics *metrics = calloc(1, sizeof *metrics);
    fill_agents(metrics, 200);
    assert_int_equal(tg_metrics_agents_used(metrics), TG_METRICS_AGENTS);
    const struct tg_agent_metrics *last = &metrics->agents[TG_METRICS_AGENTS - 1];
    assert_string_equal(last->name, "other");
    assert_ptr_equal(tg_metrics_agent(metrics, "agent150"), last);
    assert_ptr_equal(tg_metrics_agent(metrics, "agent62"), &metrics->agents[62]);
    free(metrics);
}

static void an_agent_called_other_is_the_shared_row(void **state)
{
    (void)state;
    struct tg_metrics *metrics = calloc(1, sizeof *metrics);
    const struct tg_agent_metrics *other = tg_metrics_agent(metrics, "other");
    fill_agents(metrics, 200);
    assert_ptr_equal(tg_metrics_agent(metrics, "agent150"), other);
    assert_int_equal(tg_metrics_agents_used(metrics), TG_METRICS_AGENTS - 1);
    free(metrics);
}

static uint64_t denials(const struct tg_metrics *metrics, const char *reason)
{
    for (size_t i = 0; i < tg_metrics_denials_used(metrics); i++)
        if (strcmp(metrics->denials[i].reason, reason) == 0)
            return tg_counter_get(&metrics->denials[i].count);
    return 0;
}

static void denials_are_counted_by_reason(void **state)
{
    (void)state;
    struct tg_metrics *metrics = calloc(1, sizeof *metrics);
    tg_metrics_count_denial(metrics, "expired");
    tg_metrics_count_denial(metrics, "expire");
    tg_metrics_count_denial(metrics, "expired");
    tg_metrics_count_denial(metrics, NULL);
    assert_int_equal(denials(metrics, "expired"), 2);
    assert_int_equal(denials(metrics, "expire"), 1);
    assert_int_equal(denials(metrics, "unspecified"), 1);
    /* What is no word never becomes a label. */
    static const char *const others[] = {"", "_x", "K", "k-1", "a b", "\xC3\xA9", "a\"b"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        tg_metrics_count_denial(metrics, others[i]);
    assert_int_equal(denials(metrics, "other"), 7);
    /* Nor do more words than there are rows. */
    for (int i = 0; i < 100; i++) {
        char word[3] = {(char)('a' + i / 26), (char)('a' + i % 26), '\0'};
        tg_metrics_count_denial(metrics, word);
    }
    assert_true(tg_metrics_denials_used(metrics) <= TG_METRICS_DENIALS);
    assert_int_equal(denials(metrics, "ab"), 1);
    uint64_t sum = 0;
    for (size_t i = 0; i < tg_metrics_denials_used(metrics); i++)
        sum += tg_counter_get(&metrics->denials[i].count);
    assert_int_equal(sum, 111);
    free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_add_subtract_and_set),
        cmocka_unit_test(a_bound_belongs_to_its_bucket),
        cmocka_unit_test(the_last_day_forgets_what_is_older),
        cmocka_unit_test(known_close_codes_have_their_row),
        cmocka_unit_test(agents_keep_their_row),
        cmocka_unit_test(too_many_agents_share_a_row),
        cmocka_unit_test(an_agent_called_other_is_the_shared_row),
        cmocka_unit_test(denials_are_counted_by_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
