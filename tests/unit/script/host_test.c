/* host_test.c - the switch between generations, and how long an old one stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lua.h>

#include <stdio.h>
#include <string.h>

#include "script/host_internal.h"
#include "support/log_capture.h"
#include "support/script_fixture.h"

static struct script_fixture fx;
static struct tg_host *host;
static struct tg_metrics metrics;

static void open_host(uint64_t drain_timeout_ms, size_t max_generations)
{
    struct tg_host_options options = {
        .env = fx.env, .drain_timeout_ms = drain_timeout_ms, .max_generations = max_generations};

    options.env.metrics = &metrics;
    assert_int_equal(tg_host_create(&host, &options), TG_ERR_OK);
}

static int setup(void **state)
{
    (void)state;
    fixture_open(&fx);
    memset(&metrics, 0, sizeof metrics);
    log_capture_start();
    open_host(10000, 4);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (fx.source == NULL)
        fx.generation = NULL; /* the host's */
    tg_host_destroy(host);
    log_capture_stop();
    fixture_close(&fx);
    return 0;
}

/* `mark` tells versions apart; `wait` makes the hook `message` suspend. */
static enum tg_err prepare(const char *mark, const char *body)
{
    char text[512];
    struct tg_source *source;

    (void)snprintf(
        text, sizeof text,
        "local p = {} function p.authenticate() end function p.message(wait) %s return '%s' "
        "end return p",
        body, mark);
    assert_int_equal(tg_source_read(&source, fixture_write(&fx, "policy.lua", text), &fx.error),
                     TG_ERR_OK);
    enum tg_err err = tg_host_prepare(host, source, &fx.error);
    tg_source_release(source);
    return err;
}

static void serve(const char *mark, const char *body)
{
    assert_int_equal(prepare(mark, body), TG_ERR_OK);
    tg_host_commit(host);
    fx.generation = host->current;
}

static void call_current(void)
{
    fx.generation = host->current;
    (void)fixture_call(&fx, 0);
}

static void run_loop_until_generations(size_t count)
{
    for (int i = 0; i < 1000 && tg_host_generations(host) != count; i++)
        (void)uv_run(&fx.loop, UV_RUN_ONCE);
    assert_int_equal(tg_host_generations(host), count);
}

static void nothing_serves_before_the_first_commit(void **state)
{
    (void)state;
    assert_string_equal(tg_host_version(host), "");
    assert_int_equal(tg_host_generations(host), 0);
    assert_false(tg_host_hook_defined(host, TG_HOOK_AUTHENTICATE));
    assert_int_equal(prepare("a", ""), TG_ERR_OK);
    assert_string_equal(tg_host_version(host), "");
    tg_host_commit(host);
    assert_int_equal(strlen(tg_host_version(host)), 12);
    assert_int_equal(tg_host_generations(host), 1);
    assert_true(tg_host_hook_defined(host, TG_HOOK_AUTHENTICATE));
    assert_true(tg_host_hook_defined(host, TG_HOOK_REAUTHENTICATE)); /* authenticate stands in */
    assert_false(tg_host_hook_defined(host, TG_HOOK_PREPARE));
}

static void commit_switches_new_calls_and_lets_old_ones_end(void **state)
{
    (void)state;
    serve("old", "wait()");
    call_current();
    struct tg_call *old = fixture_waiting;
    serve("new", "");
    assert_int_equal(tg_host_generations(host), 2);
    call_current();
    assert_string_equal(fx.result, "new");
    assert_ptr_equal(fixture_waiting, old);
    fixture_wake(0);
    assert_string_equal(fx.result, "old");
    run_loop_until_generations(1);
    assert_true(log_capture_has("policy.closed"));
}

static void a_generation_without_calls_is_closed_soon(void **state)
{
    (void)state;
    serve("a", "");
    serve("b", "");
    run_loop_until_generations(1);
}

static void abort_and_failure_change_nothing(void **state)
{
    char version[TG_POLICY_VERSION_SIZE];
    (void)state;
    serve("a", "");
    memcpy(version, tg_host_version(host), sizeof version);
    assert_int_equal(prepare("b", ""), TG_ERR_OK);
    tg_host_abort(host);
    tg_host_commit(host); /* nothing is prepared */
    assert_string_equal(tg_host_version(host), version);
    assert_int_equal(prepare("c", "syntax error"), TG_ERR_SCRIPT);
    tg_host_commit(host);
    assert_string_equal(tg_host_version(host), version);
    call_current();
    assert_string_equal(fx.result, "a");
}

static void a_second_prepare_replaces_the_first(void **state)
{
    (void)state;
    assert_int_equal(prepare("a", ""), TG_ERR_OK);
    assert_int_equal(prepare("b", ""), TG_ERR_OK);
    tg_host_commit(host);
    call_current();
    assert_string_equal(fx.result, "b");
}

static void after_the_drain_timeout_calls_are_ended(void **state)
{
    (void)state;
    tg_host_destroy(host);
    open_host(20, 4);
    serve("old", "pcall(wait)");
    call_current();
    serve("new", "");
    fixture_loop_until(&fx, 1);
    assert_int_equal(fx.outcome, TG_CALL_ERROR);
    assert_non_null(strstr(fx.text, "reloaded"));
    assert_int_equal(fixture_cancels, 1);
    run_loop_until_generations(1);
}

static void too_many_generations_end_the_oldest(void **state)
{
    (void)state;
    tg_host_destroy(host);
    open_host(100000, 2);
    serve("one", "wait()");
    call_current();
    serve("two", "wait()");
    call_current();
    struct tg_call *second = fixture_waiting;
    assert_int_equal(tg_host_generations(host), 2);
    serve("three", "");
    fixture_loop_until(&fx, 1);
    assert_non_null(strstr(fx.text, "reloaded"));
    run_loop_until_generations(2);
    assert_ptr_equal(fixture_waiting, second); /* untouched */
    fixture_wake(0);
    assert_string_equal(fx.result, "two");
    run_loop_until_generations(1);
}

static void the_memory_gauge_follows_all_generations(void **state)
{
    (void)state;
    serve("a", "");
    uint64_t one = tg_counter_get(&metrics.script_memory_bytes);
    assert_true(one > 10000);
    assert_int_equal(prepare("b", ""), TG_ERR_OK);
    assert_true(tg_counter_get(&metrics.script_memory_bytes) > one + 10000);
    tg_host_abort(host);
    assert_true(tg_counter_get(&metrics.script_memory_bytes) < one + 10000);
    serve("c", "p._kept = {} for i = 1, 1000 do p._kept[i] = ('x'):rep(100) .. i end");
    run_loop_until_generations(1);
    one = tg_counter_get(&metrics.script_memory_bytes);
    call_current(); /* the gauge moves with each call that ends */
    assert_true(tg_counter_get(&metrics.script_memory_bytes) > one + 100000);
}

static void destroy_drops_what_is_under_way(void **state)
{
    (void)state;
    serve("a", "wait()");
    call_current();
    serve("b", "wait()");
    call_current();
    assert_int_equal(prepare("c", ""), TG_ERR_OK);
    tg_host_destroy(host);
    host = NULL;
    assert_int_equal(fixture_cancels, 2);
    assert_int_equal(fx.done, 0);
}

static void a_generation_knows_its_host(void **state)
{
    (void)state;
    serve("a", "");
    assert_ptr_equal(tg__host_of(host->current), host);
    fx.generation = NULL;
    fixture_load_body(&fx, "");
    assert_null(tg__host_of(fx.generation));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_serves_before_the_first_commit),
        TEST(commit_switches_new_calls_and_lets_old_ones_end),
        TEST(a_generation_without_calls_is_closed_soon),
        TEST(abort_and_failure_change_nothing),
        TEST(a_second_prepare_replaces_the_first),
        TEST(after_the_drain_timeout_calls_are_ended),
        TEST(too_many_generations_end_the_oldest),
        TEST(the_memory_gauge_follows_all_generations),
        TEST(destroy_drops_what_is_under_way),
        TEST(a_generation_knows_its_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
