/* quota_test.c - places by user and name, taken and given back by several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "agent/quota.h"
#include "base/memory.h"

static void each_user_and_name_has_its_own_places(void **state)
{
    struct tg_quota *quota;
    struct tg_quota_lease *lease, *other, *second;
    (void)state;
    assert_int_equal(tg_quota_create(&quota), TG_ERR_OK);
    assert_int_equal(tg_quota_take(quota, "ann", "", 1, &lease), TG_ERR_OK);
    assert_int_equal(tg_quota_take(quota, "ann", "", 1, &second), TG_ERR_LIMIT);
    assert_int_equal(tg_quota_take(quota, "ann", "a", 1, &other), TG_ERR_OK);
    assert_int_equal(tg_quota_take(quota, "", "ann", 1, &second), TG_ERR_OK);
    assert_int_equal(tg_quota_entries(quota), 3);
    tg_quota_give(quota, second);
    assert_int_equal(tg_quota_take(quota, "ann", "", 2, &second), TG_ERR_OK); /* a larger limit */
    tg_quota_give(quota, lease);
    assert_int_equal(tg_quota_take(quota, "ann", "", 1, &lease), TG_ERR_LIMIT);
    tg_quota_give(quota, second);
    tg_quota_give(quota, other);
    assert_int_equal(tg_quota_entries(quota), 0);
    tg_quota_destroy(quota);
}

static void no_memory_takes_no_place(void **state)
{
    struct tg_quota *quota;
    struct tg_quota_lease *lease = NULL;
    (void)state;
    assert_int_equal(tg_quota_create(&quota), TG_ERR_OK);
    for (long n = 0; lease == NULL; n++) {
        (void)tg_memory_fail_after(n, 0);
        enum tg_err err = tg_quota_take(quota, "ann", "", 1, &lease);
        (void)tg_memory_fail_after(-1, 0);
        assert_true(err == TG_ERR_OK || err == TG_ERR_NOMEM);
        assert_int_equal(tg_quota_entries(quota), err == TG_ERR_OK);
    }
    tg_quota_give(quota, lease);
    tg_quota_destroy(quota);
}

#define PLACES 3
#define ROUNDS 20000

struct shared {
    struct tg_quota *quota;
    atomic_int taken;
    atomic_int most;
};

static void *take_and_give(void *arg)
{
    struct shared *shared = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct tg_quota_lease *lease;
        if (tg_quota_take(shared->quota, i % 2 ? "ann" : "bob", "", PLACES, &lease) != TG_ERR_OK)
            continue;
        int now = atomic_fetch_add(&shared->taken, 1) + 1;
        int most = atomic_load(&shared->most);
        while (now > most && !atomic_compare_exchange_weak(&shared->most, &most, now)) {
        }
        (void)atomic_fetch_sub(&shared->taken, 1);
        tg_quota_give(shared->quota, lease);
    }
    return NULL;
}

static void threads_share_the_places(void **state)
{
    struct shared shared = {.quota = NULL};
    pthread_t threads[8];
    (void)state;
    assert_int_equal(tg_quota_create(&shared.quota), TG_ERR_OK);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &shared), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(atomic_load(&shared.most) >= 1);
    assert_true(atomic_load(&shared.most) <= 2 * PLACES);
    assert_int_equal(tg_quota_entries(shared.quota), 0);
    tg_quota_destroy(shared.quota);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_user_and_name_has_its_own_places),
        cmocka_unit_test(no_memory_takes_no_place),
        cmocka_unit_test(threads_share_the_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
