/* admission_test.c - counting connections, all of them and by address, from one thread and from many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/memory.h"
#include "connection/admission.h"

static struct tg_address address_of(const char *text)
{
    struct tg_address address;

    assert_true(tg_address_parse(text, strlen(text), &address));
    return address;
}

static struct tg_admission *create(uint64_t max, uint64_t per_address, const char *rate)
{
    struct tg_admission_options options = {.max_connections = max, .max_per_address = per_address};
    struct tg_admission *admission;

    assert_int_equal(tg_rate_parse(rate, &options.rate, NULL), TG_ERR_OK);
    assert_int_equal(tg_admission_create(&admission, &options), TG_ERR_OK);
    return admission;
}

static enum tg_admission_verdict admit(struct tg_admission *admission, const char *text,
                                       uint64_t now_ms, uint64_t *wait_ms)
{
    struct tg_address address = address_of(text);

    return tg_admission_admit(admission, &address, now_ms, wait_ms);
}

static void release(struct tg_admission *admission, const char *text)
{
    struct tg_address address = address_of(text);

    tg_admission_release(admission, &address);
}

static void the_whole_process_has_a_limit(void **state)
{
    struct tg_admission *admission = create(2, 0, "unlimited");

    (void)state;
    assert_true(tg_admission_enter(admission));
    assert_true(tg_admission_enter(admission));
    for (int i = 0; i < 3; i++)
        assert_false(tg_admission_enter(admission));
    assert_int_equal(tg_admission_count(admission), 2);
    tg_admission_leave(admission);
    assert_true(tg_admission_enter(admission));
    tg_admission_destroy(admission);
}

static void each_address_has_a_limit(void **state)
{
    struct tg_admission *admission = create(0, 2, "unlimited");
    uint64_t wait;

    (void)state;
    assert_int_equal(admit(admission, "192.0.2.1:1", 0, &wait), TG_ADMITTED);
    assert_int_equal(admit(admission, "::ffff:192.0.2.1", 0, &wait), TG_ADMITTED);
    assert_int_equal(admit(admission, "192.0.2.1:3", 0, &wait), TG_ADMISSION_TOO_MANY);
    assert_int_equal(wait, 0);
    assert_int_equal(admit(admission, "192.0.2.2", 0, &wait), TG_ADMITTED);
    release(admission, "192.0.2.1:9");
    assert_int_equal(admit(admission, "192.0.2.1:4", 0, &wait), TG_ADMITTED);
    assert_int_equal(tg_admission_addresses(admission), 2);
    release(admission, "192.0.2.1");
    release(admission, "192.0.2.1");
    release(admission, "192.0.2.2");
    assert_int_equal(tg_admission_addresses(admission), 0);
    tg_admission_destroy(admission);
}

/* A host has a /64 to itself; the neighbours have their own. */
static void an_ipv6_client_is_its_network(void **state)
{
    struct tg_admission *admission = create(0, 1, "unlimited");
    uint64_t wait;

    (void)state;
    assert_int_equal(admit(admission, "2001:db8:1:2::1", 0, &wait), TG_ADMITTED);
    assert_int_equal(admit(admission, "2001:db8:1:2:ffff::9", 0, &wait), TG_ADMISSION_TOO_MANY);
    assert_int_equal(admit(admission, "2001:db8:1:3::1", 0, &wait), TG_ADMITTED);
    assert_int_equal(admit(admission, "::1", 0, &wait), TG_ADMITTED);
    assert_int_equal(admit(admission, "0.0.0.1", 0, &wait), TG_ADMITTED);
    release(admission, "2001:db8:1:2::77");
    assert_int_equal(admit(admission, "2001:db8:1:2::1", 0, &wait), TG_ADMITTED);
    tg_admission_destroy(admission);
}

static void new_connections_have_a_rate(void **state)
{
    struct tg_admission *admission = create(0, 0, "2/s burst 3");
    uint64_t wait;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(admit(admission, "192.0.2.1", 10000, &wait), TG_ADMITTED);
        release(admission, "192.0.2.1"); /* gone again, and not forgotten */
    }
    assert_int_equal(admit(admission, "192.0.2.1", 10000, &wait), TG_ADMISSION_TOO_FAST);
    assert_int_equal(wait, 500);
    assert_int_equal(admit(admission, "192.0.2.2", 10000, &wait), TG_ADMITTED);
    assert_int_equal(admit(admission, "192.0.2.1", 10499, &wait), TG_ADMISSION_TOO_FAST);
    assert_int_equal(wait, 1);
    assert_int_equal(admit(admission, "192.0.2.1", 10500, &wait), TG_ADMITTED);
    tg_admission_destroy(admission);
}

static void peers_without_an_address(void **state)
{
    struct tg_admission *admission = create(0, 1, "1/s");
    struct tg_address socket = {.kind = TG_ADDRESS_UNIX};
    struct tg_address unknown = {.kind = TG_ADDRESS_UNKNOWN};
    uint64_t wait;

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(tg_admission_admit(admission, &socket, 0, &wait), TG_ADMITTED);
    tg_admission_release(admission, &socket);
    assert_int_equal(tg_admission_addresses(admission), 0);
    assert_int_equal(tg_admission_admit(admission, &unknown, 0, &wait), TG_ADMITTED);
    assert_int_equal(tg_admission_admit(admission, &unknown, 0, &wait), TG_ADMISSION_TOO_MANY);
    tg_admission_destroy(admission);
}

static struct tg_address nth_address(uint32_t n)
{
    uint8_t bytes[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};

    return tg_address_v4(bytes, 0);
}

static void the_table_is_bounded(void **state)
{
    struct tg_admission *admission = create(0, 0, "1/h");
    struct tg_address lasting = nth_address(7);
    uint64_t wait;

    (void)state;
    assert_int_equal(tg_admission_admit(admission, &lasting, 1, &wait), TG_ADMITTED);
    for (uint32_t i = 1000; i < 1000 + 3 * TG_ADMISSION_REMEMBERED; i++) {
        struct tg_address address = nth_address(i);
        assert_int_equal(tg_admission_admit(admission, &address, 1, &wait), TG_ADMITTED);
        tg_admission_release(admission, &address);
    }
    assert_in_range(tg_admission_addresses(admission), TG_ADMISSION_REMEMBERED / 2,
                    TG_ADMISSION_REMEMBERED + 1);
    /* The last are remembered, the first are not; one that is connected always is. */
    struct tg_address last = nth_address(1000 + 3 * TG_ADMISSION_REMEMBERED - 1);
    struct tg_address first = nth_address(1000);
    assert_int_equal(tg_admission_admit(admission, &last, 1, &wait), TG_ADMISSION_TOO_FAST);
    assert_int_equal(tg_admission_admit(admission, &lasting, 1, &wait), TG_ADMISSION_TOO_FAST);
    assert_int_equal(tg_admission_admit(admission, &first, 1, &wait), TG_ADMITTED);
    tg_admission_destroy(admission);
}

/* When buckets have filled up again their entries go, a few with each new one. */
static void the_table_shrinks(void **state)
{
    struct tg_admission *admission = create(0, 0, "10/s");
    uint64_t wait;

    (void)state;
    for (uint32_t i = 0; i < 5000; i++) {
        struct tg_address address = nth_address(i);
        assert_int_equal(tg_admission_admit(admission, &address, 1, &wait), TG_ADMITTED);
        tg_admission_release(admission, &address);
    }
    assert_int_equal(tg_admission_addresses(admission), 5000);
    for (uint32_t i = 10000; i < 20000; i++) {
        struct tg_address address = nth_address(i);
        uint64_t now_ms = 10000 + (uint64_t)i * 1000;
        assert_int_equal(tg_admission_admit(admission, &address, now_ms, &wait), TG_ADMITTED);
        tg_admission_release(admission, &address);
    }
    assert_true(tg_admission_addresses(admission) < 100);
    tg_admission_destroy(admission);
}

static void no_memory_is_no_admission(void **state)
{
    struct tg_admission *admission = create(0, 5, "unlimited");
    uint64_t wait;

    (void)state;
    for (long n = 0; n < 2; n++) {
        (void)tg_memory_fail_after(n, 1);
        enum tg_admission_verdict verdict = admit(admission, "192.0.2.1", 0, &wait);
        (void)tg_memory_fail_after(-1, 0);
        assert_int_equal(verdict, TG_ADMISSION_TOO_MANY);
        assert_int_equal(tg_admission_addresses(admission), 0);
    }
    assert_int_equal(admit(admission, "192.0.2.1", 0, &wait), TG_ADMITTED);
    tg_admission_destroy(admission);
}

#define THREADS 4
#define ROUNDS 20000
#define MAX_ALL 3
#define MAX_EACH 2

struct crowd {
    struct tg_admission *admission;
    _Atomic int inside;
    _Atomic int inside_address;
    _Atomic int most;
    _Atomic int most_address;
};

static void note_most(_Atomic int *most, int now)
{
    int before = atomic_load(most);

    while (now > before && !atomic_compare_exchange_weak(most, &before, now)) {
        /* `before` is fresh now */
    }
}

static void *come_and_go(void *arg)
{
    struct crowd *crowd = arg;
    struct tg_address address = nth_address(42);
    uint64_t wait;

    for (int i = 0; i < ROUNDS; i++) {
        if (!tg_admission_enter(crowd->admission))
            continue;
        note_most(&crowd->most, atomic_fetch_add(&crowd->inside, 1) + 1);
        if (tg_admission_admit(crowd->admission, &address, 0, &wait) == TG_ADMITTED) {
            note_most(&crowd->most_address, atomic_fetch_add(&crowd->inside_address, 1) + 1);
            (void)atomic_fetch_sub(&crowd->inside_address, 1);
            tg_admission_release(crowd->admission, &address);
        }
        (void)atomic_fetch_sub(&crowd->inside, 1);
        tg_admission_leave(crowd->admission);
    }
    return NULL;
}

static void many_threads_never_pass_a_limit(void **state)
{
    struct crowd crowd = {.admission = create(MAX_ALL, MAX_EACH, "unlimited")};
    pthread_t threads[THREADS];

    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &crowd), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_in_range(crowd.most, 1, MAX_ALL);
    assert_in_range(crowd.most_address, 1, MAX_EACH);
    assert_int_equal(tg_admission_count(crowd.admission), 0);
    assert_int_equal(tg_admission_addresses(crowd.admission), 0);
    tg_admission_destroy(crowd.admission);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_process_has_a_limit),
        cmocka_unit_test(each_address_has_a_limit),
        cmocka_unit_test(an_ipv6_client_is_its_network),
        cmocka_unit_test(new_connections_have_a_rate),
        cmocka_unit_test(peers_without_an_address),
        cmocka_unit_test(the_table_is_bounded),
        cmocka_unit_test(the_table_shrinks),
        cmocka_unit_test(no_memory_is_no_admission),
        cmocka_unit_test(many_threads_never_pass_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
