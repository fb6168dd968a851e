/* passes_test.c - tickets are good once, for a while, for one origin, on many threads; revocations last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "script/passes.h"

#define IDENTITY "{\"user_id\":\"ada\"}"
#define ORIGIN "https://app.example"

static struct tg_passes *passes;
static struct tg_clock_fake clock_now;

static int setup(void **state)
{
    (void)state;
    clock_now =
        (struct tg_clock_fake){.monotonic_ns = 5000000000, .wall_ms = UINT64_C(1700000000000)};
    tg_clock_use(&clock_now);
    assert_int_equal(tg_passes_create(&passes), TG_ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_passes_destroy(passes);
    tg_clock_use(NULL);
    return 0;
}

static void pass_ms(uint64_t ms)
{
    clock_now.monotonic_ns += ms * 1000000;
}

static struct tg_ticket_order order_for(const char *origin, uint64_t ttl_ms)
{
    return (struct tg_ticket_order){
        .identity = IDENTITY,
        .identity_len = strlen(IDENTITY),
        .origin = origin,
        .origin_len = origin == NULL ? 0 : strlen(origin),
        .ttl_ms = ttl_ms,
    };
}

static void issue(const char *origin, uint64_t ttl_ms, char ticket[TG_TICKET_SIZE])
{
    struct tg_ticket_order order = order_for(origin, ttl_ms);
    double expires_at = 0;

    assert_int_equal(tg_passes_issue(passes, &order, ticket, &expires_at), TG_ERR_OK);
    assert_true(expires_at == 1700000000.0 + (double)ttl_ms / 1000);
}

static enum tg_ticket_outcome take(const char *ticket, const char *origin)
{
    struct tg_buffer identity = TG_BUFFER_INIT;
    enum tg_ticket_outcome outcome;

    assert_int_equal(tg_passes_take(passes, ticket, strlen(ticket), origin,
                                    origin == NULL ? 0 : strlen(origin), &identity, &outcome),
                     TG_ERR_OK);
    assert_int_equal(identity.len, outcome == TG_TICKET_USED ? strlen(IDENTITY) : 0);
    if (identity.len > 0)
        assert_memory_equal(tg_buffer_head(&identity), IDENTITY, identity.len);
    tg_buffer_fini(&identity);
    return outcome;
}

static uint64_t counted(enum tg_ticket_outcome outcome)
{
    struct tg_passes_stats stats;

    tg_passes_read_stats(passes, &stats);
    return stats.tickets[outcome];
}

static void test_a_ticket_is_good_once_and_a_second_use_is_called_so(void **state)
{
    char ticket[TG_TICKET_SIZE];
    char other[TG_TICKET_SIZE];

    (void)state;
    issue(NULL, 60000, ticket);
    issue(NULL, 60000, other);
    assert_int_equal(strlen(ticket), TG_TICKET_SIZE - 1);
    assert_string_not_equal(ticket, other);
    assert_int_equal(take(ticket, NULL), TG_TICKET_USED);
    assert_int_equal(take(ticket, NULL), TG_TICKET_REPLAYED);
    pass_ms(300000); /* also long after */
    assert_int_equal(take(ticket, NULL), TG_TICKET_REPLAYED);
    assert_int_equal(counted(TG_TICKET_ISSUED), 2);
    assert_int_equal(counted(TG_TICKET_USED), 1);
    assert_int_equal(counted(TG_TICKET_REPLAYED), 2);
}

static void test_what_was_never_issued_is_unknown(void **state)
{
    char ticket[TG_TICKET_SIZE];

    (void)state;
    issue(NULL, 60000, ticket);
    ticket[0] = ticket[0] == 'A' ? 'B' : 'A';
    assert_int_equal(take(ticket, NULL), TG_TICKET_UNKNOWN);
    assert_int_equal(take("", NULL), TG_TICKET_UNKNOWN);
    assert_int_equal(take("short", NULL), TG_TICKET_UNKNOWN);
    assert_int_equal(counted(TG_TICKET_UNKNOWN), 3);
}

static void test_a_ticket_expires_on_the_millisecond_and_is_forgotten_later(void **state)
{
    char ticket[TG_TICKET_SIZE];

    (void)state;
    issue(NULL, 1000, ticket);
    pass_ms(1000);
    assert_int_equal(take(ticket, NULL), TG_TICKET_EXPIRED);
    pass_ms(600000);
    assert_int_equal(take(ticket, NULL), TG_TICKET_UNKNOWN);
    issue(NULL, 1000, ticket);
    pass_ms(999);
    assert_int_equal(take(ticket, NULL), TG_TICKET_USED);
}

static void test_another_origin_voids_a_bound_ticket(void **state)
{
    char ticket[TG_TICKET_SIZE];
    static const char *const others[] = {NULL, "", "https://app.exampl", "https://app.example.evil",
                                         "http://app.example"};

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        issue(ORIGIN, 60000, ticket);
        assert_int_equal(take(ticket, others[i]), TG_TICKET_FOREIGN);
        assert_int_equal(take(ticket, ORIGIN), TG_TICKET_REPLAYED);
    }
    issue(ORIGIN, 60000, ticket);
    assert_int_equal(take(ticket, ORIGIN), TG_TICKET_USED);
    issue(NULL, 60000, ticket); /* unbound: any */
    assert_int_equal(take(ticket, ORIGIN), TG_TICKET_USED);
}

static void test_orders_that_are_wrong_are_refused(void **state)
{
    static char large[TG_TICKET_IDENTITY_MAX + 1];
    char ticket[TG_TICKET_SIZE];
    double expires_at;
    struct tg_ticket_order order = order_for(NULL, 0);

    (void)state;
    assert_int_equal(tg_passes_issue(passes, &order, ticket, &expires_at), TG_ERR_INVALID);
    order.ttl_ms = TG_TICKET_TTL_MAX_MS + 1;
    assert_int_equal(tg_passes_issue(passes, &order, ticket, &expires_at), TG_ERR_INVALID);
    order.ttl_ms = TG_TICKET_TTL_MAX_MS;
    order.identity = large;
    order.identity_len = sizeof large;
    assert_int_equal(tg_passes_issue(passes, &order, ticket, &expires_at), TG_ERR_LIMIT);
    assert_int_equal(counted(TG_TICKET_ISSUED), 0);
}

static void test_a_flood_is_refused_and_costs_no_earlier_ticket_its_life(void **state)
{
    char first[TG_TICKET_SIZE];
    char ticket[TG_TICKET_SIZE];
    struct tg_ticket_order order = order_for(NULL, 60000);
    double expires_at;
    enum tg_err err = TG_ERR_OK;

    (void)state;
    issue(NULL, 60000, first);
    for (int i = 0; i < 1000000 && err == TG_ERR_OK; i++)
        err = tg_passes_issue(passes, &order, ticket, &expires_at);
    assert_int_equal(err, TG_ERR_LIMIT);
    assert_int_equal(take(first, NULL), TG_TICKET_USED);
    pass_ms(60000 + 600000); /* everything has gone: there is room again */
    issue(NULL, 60000, ticket);
    assert_int_equal(take(ticket, NULL), TG_TICKET_USED);
}

#define RACES 3000

struct race {
    char tickets[RACES][TG_TICKET_SIZE];
    atomic_int arrived[RACES];
    atomic_int wins[RACES], replays[RACES];
};

/* Meets the other thread before each ticket. */
static void *run_taker(void *arg)
{
    struct race *race = arg;

    for (int i = 0; i < RACES; i++) {
        struct tg_buffer identity = TG_BUFFER_INIT;
        enum tg_ticket_outcome outcome;
        atomic_fetch_add(&race->arrived[i], 1);
        for (int spins = 0; atomic_load(&race->arrived[i]) < 2; spins++)
            if (spins > 1000)
                (void)sched_yield();
        if (tg_passes_take(passes, race->tickets[i], TG_TICKET_SIZE - 1, NULL, 0, &identity,
                           &outcome) == TG_ERR_OK) {
            atomic_fetch_add(&race->wins[i], outcome == TG_TICKET_USED);
            atomic_fetch_add(&race->replays[i], outcome == TG_TICKET_REPLAYED);
        }
        tg_buffer_fini(&identity);
    }
    return NULL;
}

static void test_of_two_threads_at_once_one_wins(void **state)
{
    struct race *race = calloc(1, sizeof *race);
    struct tg_ticket_order order = order_for(NULL, 60000);
    pthread_t threads[2];
    double expires_at;

    (void)state;
    tg_clock_use(NULL); /* a fake one is this thread's */
    assert_non_null(race);
    for (int i = 0; i < RACES; i++)
        assert_int_equal(tg_passes_issue(passes, &order, race->tickets[i], &expires_at), TG_ERR_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_taker, race), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < RACES; i++) {
        assert_int_equal(atomic_load(&race->wins[i]), 1);
        assert_int_equal(atomic_load(&race->replays[i]), 1);
    }
    free(race);
}

static void test_a_revocation_lasts_as_long_as_the_longest_order(void **state)
{
    (void)state;
    assert_false(tg_passes_is_revoked(passes, "t1", 2));
    assert_int_equal(tg_passes_revoke(passes, "t1", 2, 60000), TG_ERR_OK);
    assert_int_equal(tg_passes_revoke(passes, "t1", 2, 1000), TG_ERR_OK);
    pass_ms(59999);
    assert_true(tg_passes_is_revoked(passes, "t1", 2));
    assert_false(tg_passes_is_revoked(passes, "t2", 2));
    assert_int_equal(tg_passes_revoke(passes, "t1", 2, 5000), TG_ERR_OK);
    pass_ms(4999);
    assert_true(tg_passes_is_revoked(passes, "t1", 2));
    pass_ms(1);
    assert_false(tg_passes_is_revoked(passes, "t1", 2));
}

static void test_a_flood_of_revocations_undoes_none(void **state)
{
    enum tg_err err = tg_passes_revoke(passes, "first", 5, 60000);
    uint32_t i = 0;

    (void)state;
    for (; i < 10000000 && err == TG_ERR_OK; i++)
        err = tg_passes_revoke(passes, (const char *)&i, sizeof i, 60000);
    assert_int_equal(err, TG_ERR_LIMIT);
    assert_true(i > 50000);
    assert_true(tg_passes_is_revoked(passes, "first", 5));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_ticket_is_good_once_and_a_second_use_is_called_so,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_never_issued_is_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_ticket_expires_on_the_millisecond_and_is_forgotten_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_origin_voids_a_bound_ticket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_orders_that_are_wrong_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_flood_is_refused_and_costs_no_earlier_ticket_its_life, setup, teardown),
        cmocka_unit_test_setup_teardown(test_of_two_threads_at_once_one_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_revocation_lasts_as_long_as_the_longest_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_flood_of_revocations_undoes_none, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
