/* api_timer_test.c - tidegate.timer: when callbacks come, and when they do not come any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "connection/hooks.h"
#include "script/host_internal.h"
#include "script/kv/kv.h"
#include "support/log_capture.h"
#include "support/script_fixture.h"

static struct script_fixture fx;
static struct tg_host *host;
static struct tg_metrics metrics;
static struct tg_kv *kv;
static struct tg_timers *timers; /* by hand: time is what the test says */
static uint64_t now_ms;

static int setup(void **state)
{
    struct tg_kv_options store = {.memory = 1 << 20, .value_max = 1024};
    (void)state;
    fixture_open(&fx);
    memset(&metrics, 0, sizeof metrics);
    log_capture_start();
    now_ms = 1000;
    assert_int_equal(tg_timers_create_manual(&timers, now_ms), TG_ERR_OK);
    assert_int_equal(tg_kv_create(&kv, &store), TG_ERR_OK);
    struct tg_host_options options = {
        .env = fx.env, .drain_timeout_ms = 10000, .max_generations = 4};
    options.env.timers = timers;
    options.env.metrics = &metrics;
    options.env.kv = kv;
    options.env.wall_budget_ms = 5000;
    assert_int_equal(tg_host_create(&host, &options), TG_ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_host_destroy(host);
    tg_timers_destroy(timers);
    tg_kv_destroy(kv);
    log_capture_stop();
    fixture_close(&fx);
    return 0;
}

/* A policy whose top is `code`; it says what happens by `say`, which adds to a text in the store. */
static enum tg_err prepare(const char *code)
{
    char text[2048];
    struct tg_source *source;

    (void)snprintf(text, sizeof text,
                   "local tide, timer, time = require 'tidegate', require 'tidegate.timer', "
                   "require 'tidegate.time' local kv = require 'tidegate.kv'\n"
                   "local function say(w) kv.set('said', (kv.get('said') or '') .. w) end\n"
                   "%s\nreturn { authenticate = print }",
                   code);
    assert_int_equal(tg_source_read(&source, fixture_write(&fx, "policy.lua", text), &fx.error),
                     TG_ERR_OK);
    enum tg_err err = tg_host_prepare(host, source, &fx.error);
    tg_source_release(source);
    return err;
}

static void serve(const char *code)
{
    if (prepare(code) != TG_ERR_OK)
        fail_msg("%s", fx.error.text);
    tg_host_commit(host);
}

static void pass_ms(uint64_t ms)
{
    for (uint64_t end = now_ms + ms; now_ms < end;) {
        tg_timers_set_now(timers, ++now_ms);
        while (tg_timers_fire(timers)) {
        }
    }
}

/* What was said since the last call. plain.h keeps a short text behind a tag and its length. */
static const char *said(void)
{
    static char text[512];
    struct tg_kv_key key = {"said", 4};
    struct tg_buffer value = TG_BUFFER_INIT;
    uint64_t version;

    text[0] = '\0';
    if (tg_kv_get(kv, TG_KV_GET, key, &value, &version) == TG_ERR_OK) {
        assert_in_range(value.len, 2, 250);
        memcpy(text, tg_buffer_head(&value) + 2, value.len - 2);
        text[value.len - 2] = '\0';
        (void)tg_kv_delete(kv, key);
    }
    tg_buffer_fini(&value);
    return text;
}

static uint64_t outcomes(enum tg_hook_outcome outcome)
{
    return tg_counter_get(&metrics.timer_outcomes[outcome]);
}

static void after_comes_once(void **state)
{
    (void)state;
    serve("timer.after(0.05, function() say('a') end) timer.after(0, function() say('0') end)");
    assert_string_equal(said(), "");
    pass_ms(49);
    assert_string_equal(said(), "0");
    pass_ms(1);
    assert_string_equal(said(), "a");
    pass_ms(1000);
    assert_string_equal(said(), "");
    assert_int_equal(outcomes(TG_HOOK_OK_OUTCOME), 2);
    assert_int_equal(host->current->timer_count, 0);
}

static void every_comes_again(void **state)
{
    (void)state;
    serve("local n = 0 timer.every(0.1, function(t) n = n + 1 say('x') "
          "if n == 3 then assert(t:cancel() == true and t:cancel() == false) end end)");
    pass_ms(99);
    assert_string_equal(said(), "");
    pass_ms(1);
    assert_string_equal(said(), "x");
    pass_ms(100);
    assert_string_equal(said(), "x");
    pass_ms(1000);
    assert_string_equal(said(), "x");
    assert_int_equal(host->current->timer_count, 0);
}

static void ticks_keep_their_places_when_the_loop_is_late(void **state)
{
    uint64_t due;
    (void)state;
    serve("timer.every(0.1, function() say('x') end)");
    now_ms += 350; /* due at 100: one call, and the next at 400 */
    tg_timers_set_now(timers, now_ms);
    while (tg_timers_fire(timers)) {
    }
    assert_string_equal(said(), "x");
    assert_true(tg_timers_next_due(timers, &due));
    assert_int_equal(due, 1400);
}

static void a_tick_is_skipped_while_the_one_before_is_under_way(void **state)
{
    (void)state;
    serve("timer.every(0.1, function() say('(') time.sleep(0.25) say(')') end)");
    pass_ms(1000);
    assert_string_equal(said(), "()()()(");
    assert_int_equal(tg_counter_get(&metrics.timer_ticks_skipped), 6);
}

static void they_begin_with_the_version_that_serves_and_stop_with_it(void **state)
{
    (void)state;
    assert_int_equal(prepare("timer.every(0.1, function() say('p') end)"), TG_ERR_OK);
    pass_ms(500); /* prepared, and given up */
    tg_host_abort(host);
    pass_ms(500);
    assert_string_equal(said(), "");
    serve("timer.every(0.1, function() say('a') end)");
    pass_ms(150);
    assert_string_equal(said(), "a");
    assert_int_equal(prepare("timer.every(0.1, function() say('b') end)"), TG_ERR_OK);
    pass_ms(100);
    assert_string_equal(said(), "a");
    tg_host_commit(host);
    pass_ms(100);
    assert_string_equal(said(), "b");
}

static void a_callback_under_way_ends_on_its_version(void **state)
{
    (void)state;
    serve("timer.every(0.1, function() say('(') time.sleep(0.2) say(')') "
          "local t, why = timer.after(0, print) say(tostring(t) .. why) end)");
    pass_ms(150);
    serve("");
    assert_int_equal(tg_host_generations(host), 2);
    pass_ms(500);
    assert_string_equal(said(), "()nilreloaded");
    assert_int_equal(tg_host_generations(host), 1);
    assert_int_equal(outcomes(TG_HOOK_OK_OUTCOME), 1);
}

static void timers_may_be_set_anywhere_and_by_each_other(void **state)
{
    (void)state;
    serve("timer.after(0.1, function() say('1') "
          "timer.after(0.1, function() say('2') tide.spawn(function() time.sleep(0.1) "
          "timer.after(0.1, function() say('3') end) end):wait() end) end)");
    pass_ms(250);
    assert_string_equal(said(), "12");
    pass_ms(200);
    assert_string_equal(said(), "3");
}

static void cancel_stops_ticks_and_not_the_callback_under_way(void **state)
{
    (void)state;
    serve("local t = timer.every(0.1, function() say('(') time.sleep(0.2) say(')') end) "
          "timer.after(0.15, function() say(tostring(t:cancel())) end)");
    pass_ms(1000);
    assert_string_equal(said(), "(true)");
}

static void an_error_is_logged_and_every_goes_on(void **state)
{
    (void)state;
    serve("local n = 0 timer.every(0.1, function() n = n + 1 if n == 2 then\nerror('no luck') end "
          "say('x') end) timer.after(0.1, function() time.sleep(100) end) "
          "timer.after(0.1, function() while true do end end)");
    pass_ms(400);
    assert_string_equal(said(), "xxx");
    assert_int_equal(log_capture_matches("timer.failed"), 2);
    assert_true(log_capture_has("policy.lua:4: no luck"));
    assert_true(log_capture_has("stack traceback"));
    assert_true(log_capture_has(host->current->version));
    assert_int_equal(outcomes(TG_HOOK_ERROR_OUTCOME), 1);
    assert_int_equal(outcomes(TG_HOOK_CPU_BUDGET_OUTCOME), 1);
    pass_ms(5000);
    assert_int_equal(outcomes(TG_HOOK_WALL_BUDGET_OUTCOME), 1);
}

static void the_end_of_the_host_drops_all_of_it(void **state)
{
    (void)state;
    serve("timer.every(0.1, function() time.sleep(3) end) timer.after(100, print)");
    pass_ms(150);
    tg_host_destroy(host);
    host = NULL;
    assert_int_equal(outcomes(TG_HOOK_CANCELLED_OUTCOME), 1);
    assert_false(tg_timers_next_due(timers, &(uint64_t){0}));
}

static void limits_and_misuse(void **state)
{
    static const struct {
        const char *code;
        const char *text;
    } rows[] = {
        {"timer.after(-1, print)", "policy.lua:3: timer.after: seconds from 0 to 31536000"},
        {"timer.after('1', print)", "policy.lua:3: timer.after: seconds from 0"},
        {"timer.every(0, print)", "timer.every: seconds from 0.01 to 31536000"},
        {"timer.every(0/0, print)", "timer.every: seconds from 0.01"},
        {"timer.every(1)", "timer.every: a function expected as second argument, got nothing"},
        {"timer.every(1, print).stop()", "a timer has no field \"stop\"; it has timer:cancel()"},
        {"timer.every(1, print).cancel()", "timer expected, got nothing"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(prepare(rows[i].code), TG_ERR_SCRIPT);
        if (strstr(fx.error.text, rows[i].text) == NULL)
            fail_msg("\"%s\" is not in \"%s\"", rows[i].text, fx.error.text);
    }
    serve("for i = 1, 1000 do assert(timer.after(0.1, function() end)) end "
          "local t, why = timer.after(1, print) assert(t == nil and why == 'too many timers') "
          "timer.every(1, print)");
    assert_int_equal(host->current->timer_count, 1000);
    pass_ms(200);
    assert_int_equal(outcomes(TG_HOOK_OK_OUTCOME), 1000);
    assert_int_equal(host->current->timer_count, 0);
    pass_ms(2000); /* those that ended too early are free: the collector has nothing to find */
}

static void running_out_of_memory_loses_a_tick_and_no_more(void **state)
{
    (void)state;
    serve("timer.every(0.1, function() say('x') end)");
    (void)tg_memory_fail_after(0, 1);
    pass_ms(100);
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(outcomes(TG_HOOK_OK_OUTCOME), 0);
    assert_int_equal(outcomes(TG_HOOK_MEMORY_OUTCOME), 1);
    pass_ms(100);
    assert_string_equal(said(), "x");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(after_comes_once),
        TEST(every_comes_again),
        TEST(ticks_keep_their_places_when_the_loop_is_late),
        TEST(a_tick_is_skipped_while_the_one_before_is_under_way),
        TEST(they_begin_with_the_version_that_serves_and_stop_with_it),
        TEST(a_callback_under_way_ends_on_its_version),
        TEST(timers_may_be_set_anywhere_and_by_each_other),
        TEST(cancel_stops_ticks_and_not_the_callback_under_way),
        TEST(an_error_is_logged_and_every_goes_on),
        TEST(the_end_of_the_host_drops_all_of_it),
        TEST(limits_and_misuse),
        TEST(running_out_of_memory_loses_a_tick_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
