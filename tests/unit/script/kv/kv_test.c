/* kv_test.c - the shared store: its operations, its bounds, its clock, and many threads at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "script/kv/kv.h"
#include "script/plain.h"

#define FOREVER TG_KV_FOREVER
/* What an entry takes beside its key and value; two entries show it. */
static size_t overhead;

static struct tg_kv *kv;
static struct tg_clock_fake clock_now = {.monotonic_ns = 5000000000};

static void open_store(size_t memory, size_t value_max)
{
    struct tg_kv_options options = {.memory = memory, .value_max = value_max};

    tg_kv_destroy(kv);
    kv = NULL;
    assert_int_equal(tg_kv_create(&kv, &options), TG_ERR_OK);
}

static struct tg_kv_stats stats(void)
{
    struct tg_kv_stats out;

    tg_kv_read_stats(kv, &out);
    return out;
}

static int setup(void **state)
{
    (void)state;
    tg_clock_use(&clock_now);
    open_store((size_t)1 << 20, 4096);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_kv_destroy(kv);
    kv = NULL;
    tg_clock_use(NULL);
    return 0;
}

static void pass_ms(uint64_t ms)
{
    clock_now.monotonic_ns += ms * 1000000;
}

static struct tg_kv_key key_of(const char *text)
{
    return (struct tg_kv_key){text, strlen(text)};
}

static enum tg_err set(const char *key, const char *value, uint64_t ttl_ms)
{
    return tg_kv_set(kv, key_of(key), value, strlen(value), ttl_ms);
}

/* The value, or NULL; valid until the next call. */
static const char *get(const char *key)
{
    static char text[8192];
    struct tg_buffer value = TG_BUFFER_INIT;
    uint64_t version;
    enum tg_err err = tg_kv_get(kv, TG_KV_GET, key_of(key), &value, &version);

    assert_true(err == TG_ERR_OK || err == TG_ERR_NOT_FOUND);
    assert_true(value.len < sizeof text);
    memcpy(text, value.len == 0 ? (const uint8_t *)"" : tg_buffer_head(&value), value.len);
    text[value.len] = '\0';
    tg_buffer_fini(&value);
    return err == TG_ERR_OK ? text : NULL;
}

static uint64_t version_of(const char *key)
{
    struct tg_buffer value = TG_BUFFER_INIT;
    uint64_t version = 0;
    enum tg_err err = tg_kv_get(kv, TG_KV_GET, key_of(key), &value, &version);

    assert_int_equal(err, TG_ERR_OK);
    tg_buffer_fini(&value);
    return version;
}

static void what_is_set_is_there_until_it_is_deleted(void **state)
{
    (void)state;
    assert_null(get("a"));
    assert_int_equal(set("a", "one", FOREVER), TG_ERR_OK);
    assert_int_equal(set("b", "", FOREVER), TG_ERR_OK);
    assert_string_equal(get("a"), "one");
    assert_string_equal(get("b"), "");
    assert_int_equal(set("a", "two", FOREVER), TG_ERR_OK);
    assert_string_equal(get("a"), "two");
    assert_true(tg_kv_delete(kv, key_of("a")));
    assert_false(tg_kv_delete(kv, key_of("a")));
    assert_null(get("a"));
    assert_int_equal(stats().entries, 1);
}

static void keys_may_hold_any_bytes(void **state)
{
    struct tg_kv_key keys[] = {{"a\0b", 3}, {"a\0c", 3}, {"a", 1}, {"\xff\xfe", 2}};
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(tg_kv_set(kv, keys[i], &i, sizeof i, FOREVER), TG_ERR_OK);
    for (size_t i = 0; i < 4; i++) {
        struct tg_buffer value = TG_BUFFER_INIT;
        uint64_t version;
        assert_int_equal(tg_kv_get(kv, TG_KV_GET, keys[i], &value, &version), TG_ERR_OK);
        assert_memory_equal(tg_buffer_head(&value), &i, sizeof i);
        tg_buffer_fini(&value);
    }
}

static void set_if_looks_at_the_version(void **state)
{
    (void)state;
    assert_int_equal(tg_kv_set_if(kv, TG_KV_ADD, key_of("k"), 0, "1", 1, FOREVER), TG_ERR_OK);
    assert_int_equal(tg_kv_set_if(kv, TG_KV_ADD, key_of("k"), 0, "2", 1, FOREVER), TG_ERR_EXISTS);
    uint64_t version = version_of("k");
    assert_int_equal(tg_kv_set_if(kv, TG_KV_CAS, key_of("k"), version, "3", 1, FOREVER), TG_ERR_OK);
    assert_int_equal(tg_kv_set_if(kv, TG_KV_CAS, key_of("k"), version, "4", 1, FOREVER),
                     TG_ERR_EXISTS);
    assert_string_equal(get("k"), "3");
    /* Set to the same bytes, or deleted and set again: it is another one. */
    version = version_of("k");
    assert_int_equal(set("k", "3", FOREVER), TG_ERR_OK);
    assert_int_equal(tg_kv_set_if(kv, TG_KV_CAS, key_of("k"), version, "5", 1, FOREVER),
                     TG_ERR_EXISTS);
    version = version_of("k");
    assert_true(tg_kv_delete(kv, key_of("k")));
    assert_int_equal(set("k", "3", FOREVER), TG_ERR_OK);
    assert_int_equal(tg_kv_set_if(kv, TG_KV_CAS, key_of("k"), version, "5", 1, FOREVER),
                     TG_ERR_EXISTS);
}

static void incr_counts_and_leaves_what_is_no_number(void **state)
{
    double result = 0;
    (void)state;
    assert_int_equal(tg_kv_incr(kv, key_of("n"), 2, 1000, &result), TG_ERR_OK);
    assert_true(result == 2);
    uint64_t version = version_of("n");
    pass_ms(600);
    assert_int_equal(tg_kv_incr(kv, key_of("n"), -0.5, 1000, &result), TG_ERR_OK);
    assert_true(result == 1.5);
    assert_int_not_equal(version_of("n"), version);
    pass_ms(400); /* it keeps the time to live of its beginning */
    assert_int_equal(tg_kv_incr(kv, key_of("n"), 1, FOREVER, &result), TG_ERR_OK);
    assert_true(result == 1);
    assert_int_equal(set("t", "text", FOREVER), TG_ERR_OK);
    assert_int_equal(tg_kv_incr(kv, key_of("t"), 1, FOREVER, &result), TG_ERR_INVALID);
    assert_string_equal(get("t"), "text");
}

static void what_has_expired_is_not_there(void **state)
{
    uint64_t left = 0;
    double result;
    (void)state;
    assert_int_equal(set("a", "1", 1000), TG_ERR_OK);
    assert_int_equal(tg_kv_ttl(kv, key_of("a"), &left), TG_ERR_OK);
    assert_int_equal(left, 1000);
    pass_ms(999);
    assert_int_equal(tg_kv_ttl(kv, key_of("a"), &left), TG_ERR_OK);
    assert_int_equal(left, 1);
    assert_string_equal(get("a"), "1");
    pass_ms(1);
    assert_null(get("a"));
    assert_int_equal(tg_kv_ttl(kv, key_of("a"), &left), TG_ERR_NOT_FOUND);
    assert_int_equal(stats().entries, 0);
    /* Every operation takes it for gone. */
    for (int i = 0; i < 4; i++) {
        assert_int_equal(set("b", "x", 10), TG_ERR_OK);
        pass_ms(10);
        if (i == 0)
            assert_false(tg_kv_delete(kv, key_of("b")));
        if (i == 1)
            assert_int_equal(tg_kv_set_if(kv, TG_KV_ADD, key_of("b"), 0, "y", 1, FOREVER),
                             TG_ERR_OK);
        if (i == 2)
            assert_int_equal(tg_kv_incr(kv, key_of("b"), 1, FOREVER, &result), TG_ERR_OK);
    }
    /* Without a time to live a new value has none. */
    assert_int_equal(set("c", "1", 10), TG_ERR_OK);
    assert_int_equal(set("c", "2", FOREVER), TG_ERR_OK);
    pass_ms(100000);
    assert_string_equal(get("c"), "2");
    assert_int_equal(tg_kv_ttl(kv, key_of("c"), &left), TG_ERR_OK);
    assert_true(left == FOREVER);
    assert_int_equal(stats().evictions, 0);
}

static void writes_sweep_up_what_has_expired(void **state)
{
    char key[32];
    (void)state;
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "old%d", i);
        assert_int_equal(set(key, "x", 10), TG_ERR_OK);
    }
    assert_int_equal(stats().entries, 1000);
    pass_ms(10);
    for (int i = 0; i < 20000; i++) { /* many times the chains of the store, in every shard */
        (void)snprintf(key, sizeof key, "new%d", i % 1000);
        assert_int_equal(set(key, "x", FOREVER), TG_ERR_OK);
    }
    assert_int_equal(stats().entries, 1000);
    assert_int_equal(stats().evictions, 0);
}

static void bytes_are_counted_exactly(void **state)
{
    size_t expected;
    (void)state;
    assert_int_equal(stats().bytes, 0);
    assert_int_equal(set("k", "", FOREVER), TG_ERR_OK);
    overhead = stats().bytes - 1;
    assert_in_range(overhead, 32, 128);
    assert_int_equal(set("key2", "value", FOREVER), TG_ERR_OK);
    expected = 2 * overhead + 1 + 4 + 5;
    assert_int_equal(stats().bytes, expected);
    assert_int_equal(set("key2", "longer value", FOREVER), TG_ERR_OK);
    assert_int_equal(stats().bytes, expected + 7);
    assert_true(tg_kv_delete(kv, key_of("key2")));
    assert_true(tg_kv_delete(kv, key_of("k")));
    assert_int_equal(stats().bytes, 0);
}

/* One shard, room for four entries. */
static void what_was_used_longest_ago_goes_first(void **state)
{
    (void)state;
    bytes_are_counted_exactly(state);
    open_store(4 * (overhead + 1 + 100), 100);
    char value[101] = {0};
    memset(value, 'v', 100);
    const char *const keys[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        assert_int_equal(set(keys[i], value, FOREVER), TG_ERR_OK);
    assert_int_equal(stats().bytes, 4 * (overhead + 1 + 100));
    assert_non_null(get("a")); /* so b is the oldest */
    assert_int_equal(set("e", value, FOREVER), TG_ERR_OK);
    assert_null(get("b"));
    assert_non_null(get("a"));
    assert_non_null(get("c"));
    assert_int_equal(stats().evictions, 1);
    assert_int_equal(stats().bytes, 4 * (overhead + 1 + 100));
    /* The same size in place of an old value: nobody has to go. */
    assert_int_equal(set("d", value, FOREVER), TG_ERR_OK);
    assert_int_equal(stats().evictions, 1);
    /* A large one takes the room of several. */
    char large[301] = {0};
    memset(large, 'l', 300);
    assert_int_equal(set("f", large, FOREVER), TG_ERR_OK);
    assert_int_equal(stats().entries, 2);
    assert_non_null(get("d"));
    /* What has expired is no loss. */
    assert_int_equal(set("g", value, 10), TG_ERR_OK);
    uint64_t evictions = stats().evictions;
    pass_ms(10);
    assert_int_equal(set("h", value, FOREVER), TG_ERR_OK);
    assert_int_equal(stats().evictions, evictions);
    /* More than all of it is refused and changes nothing. */
    assert_int_equal(tg_kv_set(kv, key_of("h"), large, 4096, FOREVER), TG_ERR_LIMIT);
    assert_string_equal(get("h"), value);
}

static void memory_stays_within_its_bound(void **state)
{
    char key[32];
    char value[1024];
    (void)state;
    open_store((size_t)256 << 10, 1024);
    memset(value, 'x', sizeof value);
    for (uint64_t i = 0; i < 20000; i++) {
        int n = snprintf(key, sizeof key, "key%d", (int)(i * 2654435761 % 7000));
        struct tg_kv_key k = {key, (size_t)n};
        assert_int_equal(tg_kv_set(kv, k, value, i * 40503 % sizeof value, FOREVER), TG_ERR_OK);
        assert_true(stats().bytes <= (size_t)256 << 10);
    }
    assert_true(stats().bytes > (size_t)200 << 10);
    assert_true(stats().evictions > 1000);
}

static void running_out_of_memory_changes_nothing(void **state)
{
    struct tg_kv_options options = {.memory = 1 << 20, .value_max = 4096};
    struct tg_kv *other = NULL;
    struct tg_buffer value = TG_BUFFER_INIT;
    uint64_t version;
    double result;
    (void)state;
    assert_int_equal(set("a", "1", FOREVER), TG_ERR_OK);
    (void)tg_memory_fail_after(0, 1);
    enum tg_err set_err = set("a", "2", FOREVER);
    enum tg_err if_err = tg_kv_set_if(kv, TG_KV_ADD, key_of("b"), 0, "1", 1, FOREVER);
    enum tg_err incr_err = tg_kv_incr(kv, key_of("n"), 1, FOREVER, &result);
    enum tg_err get_err = tg_kv_get(kv, TG_KV_GET, key_of("a"), &value, &version);
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(set_err, TG_ERR_NOMEM);
    assert_int_equal(if_err, TG_ERR_NOMEM);
    assert_int_equal(incr_err, TG_ERR_NOMEM);
    assert_int_equal(get_err, TG_ERR_NOMEM);
    assert_string_equal(get("a"), "1");
    assert_int_equal(stats().entries, 1);
    for (long n = 0;; n++) {
        (void)tg_memory_fail_after(n, 1);
        enum tg_err err = tg_kv_create(&other, &options);
        (void)tg_memory_fail_after(-1, 0);
        if (err == TG_ERR_OK)
            break;
        assert_int_equal(err, TG_ERR_NOMEM);
    }
    tg_kv_destroy(other);
}

static void operations_are_counted(void **state)
{
    uint64_t left;
    double result;
    (void)state;
    (void)get("a");
    assert_int_equal(set("a", "1", FOREVER), TG_ERR_OK);
    (void)get("a");
    assert_int_equal(tg_kv_set_if(kv, TG_KV_ADD, key_of("a"), 0, "1", 1, FOREVER), TG_ERR_EXISTS);
    assert_int_equal(tg_kv_incr(kv, key_of("n"), 1, FOREVER, &result), TG_ERR_OK);
    assert_int_equal(tg_kv_ttl(kv, key_of("a"), &left), TG_ERR_OK);
    (void)tg_kv_delete(kv, key_of("a"));
    const uint64_t expected[TG_KV_OPERATIONS] = {
        [TG_KV_GET] = 2,  [TG_KV_SET] = 1,    [TG_KV_ADD] = 1,
        [TG_KV_INCR] = 1, [TG_KV_DELETE] = 1, [TG_KV_TTL] = 1,
    };
    assert_memory_equal(stats().operations, expected, sizeof expected);
}

/* --- threads --------------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 100000

static pthread_barrier_t together; /* so that no thread is through before the next begins */

static void run_threads(void *(*fn)(void *), void *arg)
{
    pthread_t threads[THREADS];
    void *failed = NULL;

    assert_int_equal(pthread_barrier_init(&together, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fn, arg), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    (void)pthread_barrier_destroy(&together);
}

static void *count_up(void *arg)
{
    double result;

    (void)pthread_barrier_wait(&together);
    for (int i = 0; i < ROUNDS; i++)
        if (tg_kv_incr(kv, key_of(i % 2 == 0 ? "even" : "odd"), 1, FOREVER, &result) != TG_ERR_OK)
            return kv;
    return arg;
}

static void no_increment_of_any_thread_is_lost(void **state)
{
    const int half = THREADS * ROUNDS / 2;
    double even, odd;
    (void)state;
    run_threads(count_up, NULL);
    assert_int_equal(tg_kv_incr(kv, key_of("even"), 0, FOREVER, &even), TG_ERR_OK);
    assert_int_equal(tg_kv_incr(kv, key_of("odd"), 0, FOREVER, &odd), TG_ERR_OK);
    assert_true(even == half && odd == half);
}

/* Not atomic: what the lock guards. */
static int guarded;

static void *take_lock_and_count(void *arg)
{
    (void)pthread_barrier_wait(&together);
    for (int i = 0; i < ROUNDS / 20; i++) {
        while (tg_kv_set_if(kv, TG_KV_ADD, key_of("lock"), 0, "x", 1, FOREVER) != TG_ERR_OK)
            ;
        guarded++;
        (void)tg_kv_delete(kv, key_of("lock"));
    }
    return arg;
}

static void add_is_a_lock(void **state)
{
    (void)state;
    guarded = 0;
    run_threads(take_lock_and_count, NULL);
    assert_int_equal(guarded, THREADS * ROUNDS / 20);
}

/* Reads, adds one, and stores if nobody was in between. */
static void *add_by_version(void *arg)
{
    char bytes[TG_PLAIN_NUMBER_SIZE];
    struct tg_buffer value = TG_BUFFER_INIT;

    (void)pthread_barrier_wait(&together);
    for (int i = 0; i < ROUNDS / 20;) {
        uint64_t version = 0;
        double number = 0;
        tg_buffer_clear(&value);
        if (tg_kv_get(kv, TG_KV_CAS, key_of("n"), &value, &version) == TG_ERR_OK)
            (void)tg_plain_read_number(tg_buffer_head(&value), value.len, &number);
        tg_plain_write_number(bytes, number + 1);
        if (tg_kv_set_if(kv, TG_KV_CAS, key_of("n"), version, bytes, sizeof bytes, FOREVER) ==
            TG_ERR_OK)
            i++;
    }
    tg_buffer_fini(&value);
    return arg;
}

static void a_store_by_version_loses_nothing(void **state)
{
    const int added = THREADS * (ROUNDS / 20);
    double number;
    (void)state;
    run_threads(add_by_version, NULL);
    assert_int_equal(tg_kv_incr(kv, key_of("n"), 0, FOREVER, &number), TG_ERR_OK);
    assert_true(number == added);
}

/* Everything at once, in little memory: for the sanitizers, and the accounts must add up afterwards. */
static void *do_anything(void *arg)
{
    struct tg_buffer value = TG_BUFFER_INIT;
    uint64_t seed = (uint64_t)(uintptr_t)&value, version, left;
    char key[16];
    char bytes[512] = {0};
    double number;

    (void)pthread_barrier_wait(&together);
    for (int i = 0; i < ROUNDS / 4; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        int n = snprintf(key, sizeof key, "k%d", (int)(seed >> 33) % 200);
        struct tg_kv_key k = {key, (size_t)n};
        enum tg_err err = TG_ERR_OK;
        tg_buffer_clear(&value);
        switch ((seed >> 20) % 7) {
        case 0:
        case 1:
            err = tg_kv_set(kv, k, bytes, (seed >> 40) % sizeof bytes, (seed >> 50) % 3);
            break;
        case 2:
            err = tg_kv_get(kv, TG_KV_GET, k, &value, &version);
            break;
        case 3:
            err = tg_kv_incr(kv, k, 1, FOREVER, &number);
            break;
        case 4:
            (void)tg_kv_delete(kv, k);
            break;
        case 5:
            err = tg_kv_ttl(kv, k, &left);
            break;
        default:
            err = tg_kv_set_if(kv, TG_KV_ADD, k, 0, bytes, 100, FOREVER);
        }
        if (err == TG_ERR_NOMEM || err == TG_ERR_LIMIT)
            return kv;
    }
    tg_buffer_fini(&value);
    return arg;
}

static void everything_at_once_leaves_the_accounts_right(void **state)
{
    char key[16];
    (void)state;
    open_store((size_t)32 << 10, 512);
    run_threads(do_anything, NULL);
    assert_true(stats().bytes <= (size_t)32 << 10);
    for (int i = 0; i < 200; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)tg_kv_delete(kv, key_of(key));
    }
    assert_int_equal(stats().entries, 0);
    assert_int_equal(stats().bytes, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void a_store_that_keeps_refuses_what_is_new_when_it_is_full(void **state)
{
    struct tg_kv_options options = {.memory = 4096, .value_max = 512, .keep = true};
    char value[400] = {0};
    char key[16];
    int count = 0;
    enum tg_err err = TG_ERR_OK;

    (void)state;
    tg_kv_destroy(kv);
    kv = NULL;
    assert_int_equal(tg_kv_create(&kv, &options), TG_ERR_OK);
    for (; count < 100 && err == TG_ERR_OK; count++) {
        (void)snprintf(key, sizeof key, "key%02d", count);
        err = tg_kv_set(kv, key_of(key), value, sizeof value, 1000);
    }
    assert_int_equal(err, TG_ERR_LIMIT);
    assert_in_range(count, 5, 11);
    assert_int_equal(stats().entries, (uint64_t)count - 1);
    assert_int_equal(stats().evictions, 0);
    /* In place of itself it fits, and what has expired makes room. */
    assert_int_equal(tg_kv_set(kv, key_of("key00"), value, sizeof value, 2000), TG_ERR_OK);
    pass_ms(1000);
    assert_int_equal(tg_kv_set(kv, key_of(key), value, sizeof value, 1000), TG_ERR_OK);
    assert_int_equal(stats().entries, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_store_that_keeps_refuses_what_is_new_when_it_is_full),
        TEST(what_is_set_is_there_until_it_is_deleted),
        TEST(keys_may_hold_any_bytes),
        TEST(set_if_looks_at_the_version),
        TEST(incr_counts_and_leaves_what_is_no_number),
        TEST(what_has_expired_is_not_there),
        TEST(writes_sweep_up_what_has_expired),
        TEST(bytes_are_counted_exactly),
        TEST(what_was_used_longest_ago_goes_first),
        TEST(memory_stays_within_its_bound),
        TEST(running_out_of_memory_changes_nothing),
        TEST(operations_are_counted),
        TEST(no_increment_of_any_thread_is_lost),
        TEST(add_is_a_lock),
        TEST(a_store_by_version_loses_nothing),
        TEST(everything_at_once_leaves_the_accounts_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
