/* rebuild_test.c - a state that cannot be trusted any more is built anew, and no other is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "script/host_internal.h"
#include "script/policy/rebuild.h"
#include "script/sandbox/sandbox.h"
#include "support/log_capture.h"
#include "support/script_fixture.h"
#include "support/stage.h"

static struct script_fixture fx;
static struct tg_host *host;
static struct tg_metrics metrics;

/* What the hook does is told by waking it. */
enum { WORK, HOARD, WASTE, LOOP };
static const char policy[] =
    "local kept, p = {}, { authenticate = function() end }\n"
    "local function fill(t) for i = 1, 1e9 do t[i] = ('x'):rep(1e6) .. i end end\n"
    "function p.message(wait)\n"
    "  local what = wait()\n"
    "  if what == 1 then fill(kept) elseif what == 2 then fill({})\n"
    "  elseif what == 3 then while true do end end\n"
    "  return #kept\n"
    "end return p";

static void serve(const char *text)
{
    struct tg_source *source;
    assert_int_equal(tg_source_read(&source, fixture_write(&fx, "policy.lua", text), &fx.error),
                     TG_ERR_OK);
    if (tg_host_prepare(host, source, &fx.error) != TG_ERR_OK)
        fail_msg("%s", fx.error.text);
    tg_source_release(source);
    tg_host_commit(host);
}

static int open_with_budget(uint64_t budget_ms)
{
    fixture_open(&fx);
    fixture_set_budget(&fx, budget_ms);
    memset(&metrics, 0, sizeof metrics);
    log_capture_start();
    struct tg_host_options options = {
        .env = fx.env, .drain_timeout_ms = 10000, .max_generations = 4};
    options.env.metrics = &metrics;
    options.env.worker = 7;
    assert_int_equal(tg_host_create(&host, &options), TG_ERR_OK);
    serve(policy);
    return 0;
}

/* Memory is to run out before the time does, however slow the machine is just now. */
static int setup(void **state)
{
    (void)state;
    return open_with_budget(5000);
}

/* For scripts that loop until they are killed. */
static int setup_short(void **state)
{
    (void)state;
    return open_with_budget(50);
}

static int teardown(void **state)
{
    (void)state;
    fx.generation = NULL; /* the host's */
    tg_host_destroy(host);
    log_capture_stop();
    fixture_close(&fx);
    return 0;
}

static struct tg_call *begin(void)
{
    fx.generation = host->current;
    return fixture_call(&fx, 0);
}

static void call(double what)
{
    assert_non_null(begin());
    fixture_wake(what);
}

static void expect_work(void)
{
    call(WORK);
    assert_int_equal(fx.outcome, TG_CALL_OK);
    assert_string_equal(fx.result, "0");
}

static void turn_until_rebuilds(size_t count)
{
    uint64_t give_up = tg_clock_monotonic_ms() + 20000;
    while (log_capture_matches("policy.rebuilt") < count && tg_clock_monotonic_ms() < give_up)
        (void)uv_run(&fx.loop, UV_RUN_ONCE);
    assert_int_equal(log_capture_matches("policy.rebuilt"), count);
}

static uint64_t rebuilds(enum tg_rebuild why)
{
    return tg_counter_get(&metrics.script_rebuilds[why]);
}

static void a_policy_that_hoards_starts_anew(void **state)
{
    char version[TG_POLICY_VERSION_SIZE];
    (void)state;
    memcpy(version, tg_host_version(host), sizeof version);
    const struct tg_generation *old = host->current;
    call(HOARD);
    assert_int_equal(fx.outcome, TG_CALL_MEMORY);
    assert_ptr_equal(host->current, old); /* not under the call */
    turn_until_rebuilds(1);
    assert_true(log_capture_has("policy.rebuilt reason=memory worker=7"));
    assert_string_equal(tg_host_version(host), version);
    assert_true(host->current->memory_used < host->current->memory_max / 2);
    assert_int_equal(rebuilds(TG_REBUILD_MEMORY), 1);
    expect_work();
    while (tg_host_generations(host) > 1)
        (void)uv_run(&fx.loop, UV_RUN_ONCE);
    assert_true(tg_counter_get(&metrics.script_memory_bytes) < fx.env.memory_max / 2);
}

static void what_waits_in_the_old_state_may_end(void **state)
{
    (void)state;
    (void)begin();
    struct tg_call *waits = fixture_waiting;
    call(HOARD);
    turn_until_rebuilds(1);
    assert_int_equal(tg_host_generations(host), 2);
    expect_work();
    fixture_waiting = waits;
    fixture_wake(WORK);
    assert_int_equal(fx.outcome, TG_CALL_OK);
    assert_string_not_equal(fx.result, "0"); /* it sees what was hoarded */
}

static void memory_that_comes_back_is_no_reason(void **state)
{
    (void)state;
    call(WASTE);
    assert_int_equal(fx.outcome, TG_CALL_MEMORY);
    assert_false(host->rebuild.wanted);
    expect_work();
    assert_int_equal(rebuilds(TG_REBUILD_MEMORY), 0);
}

static void what_a_policy_needs_from_the_start_is_no_reason(void **state)
{
    char text[1024];
    (void)state;
    (void)snprintf(text, sizeof text,
                   "local big = {} for i = 1, 10 do big[i] = ('x'):rep(1e6) .. i end\n"
                   "%.*s p.closed = function() return big end return p", /* a hook keeps it */
                   (int)(sizeof policy - sizeof " return p"), policy);
    serve(text);
    assert_true(host->current->memory_used > host->current->memory_max / 2);
    call(WASTE);
    assert_int_equal(fx.outcome, TG_CALL_MEMORY);
    assert_false(host->rebuild.wanted); /* a new state would be as full */
    expect_work();
}

static void a_kill_in_the_policy_s_own_code_is_no_reason(void **state)
{
    (void)state;
    call(LOOP);
    assert_int_equal(fx.outcome, TG_CALL_CPU_BUDGET);
    assert_false(host->rebuild.wanted);
}

/* --- kills inside a library module ------------------------------------------------------------- */

static const char *chunk_name;

static int build_library_call(lua_State *L)
{
    static const char module[] = "local deep = 0\n"
                                 "return function(fn) deep = deep + 1 fn() deep = deep - 1 end";
    static const char loop[] = "return function() while true do end end";
    static const char inside[] =
        "local library, loop = ... return function() "
        "local co = coroutine.create(function() library(loop) end) coroutine.resume(co) end";
    (void)luaL_loadbuffer(L, inside, sizeof inside - 1, "@policy.lua");
    tg_sandbox_push_policy(L);
    (void)lua_setfenv(L, -2);
    (void)luaL_loadbuffer(L, module, sizeof module - 1, chunk_name);
    lua_call(L, 0, 1);
    (void)luaL_loadbuffer(L, loop, sizeof loop - 1, "@policy.lua");
    lua_call(L, 0, 1);
    lua_call(L, 2, 1);
    return 1;
}

static void on_done(struct tg_call *ended, enum tg_call_outcome outcome, int results,
                    const char *text, const char *traceback)
{
    (void)ended;
    (void)results;
    (void)text;
    (void)traceback;
    fx.outcome = outcome;
}

static void kill_inside(const char *name)
{
    chunk_name = name;
    struct tg_call *killed = tg_call_create(host->current, TG_CALL_HOOK, 0, 0, on_done, NULL);
    assert_non_null(killed);
    tg_call_start(killed, build_library_call, NULL);
    assert_int_equal(fx.outcome, TG_CALL_CPU_BUDGET);
}

static void a_kill_inside_the_library_is_a_reason(void **state)
{
    (void)state;
    kill_inside("@tidegate/thing.lua");
    turn_until_rebuilds(1);
    assert_int_equal(rebuilds(TG_REBUILD_KILLED), 1);
    expect_work();
}

static void a_kill_inside_its_private_files_is_none(void **state)
{
    (void)state;
    kill_inside("@tidegate/_thing.lua");
    assert_false(host->rebuild.wanted);
    kill_inside("@mine/tidegate/thing.lua");
    assert_false(host->rebuild.wanted);
}

/* --- when and how often ------------------------------------------------------------------------ */

static void the_next_to_begin_need_not_wait_for_the_loop(void **state)
{
    (void)state;
    call(HOARD);
    assert_true(host->rebuild.wanted);
    tg__rebuild_if_due(host);
    assert_int_equal(rebuilds(TG_REBUILD_MEMORY), 1);
    assert_false(host->rebuild.wanted);
    tg__rebuild_if_due(host);
    assert_int_equal(rebuilds(TG_REBUILD_MEMORY), 1);
}

static void never_below_a_call(void **state)
{
    (void)state;
    call(HOARD);
    host->current->current = (struct tg_call *)&fx; /* as while it runs */
    tg__rebuild_if_due(host);
    assert_int_equal(rebuilds(TG_REBUILD_MEMORY), 0);
    host->current->current = NULL;
}

static void those_that_come_soon_wait_longer_and_longer(void **state)
{
    uint64_t delay = 1000;
    (void)state;
    call(HOARD);
    turn_until_rebuilds(1);
    for (int i = 0; i < 8; i++) {
        call(HOARD);
        assert_true(host->rebuild.wanted);
        tg__rebuild_if_due(host); /* not yet */
        assert_true(host->rebuild.wanted);
        uint64_t now = tg_timers_now_ms(host->env.timers);
        assert_in_range(host->rebuild.not_before_ms, now + 1, now + delay);
        assert_int_equal(tg_timer_due_ms(&host->rebuild.timer), host->rebuild.not_before_ms);
        host->rebuild.not_before_ms = now; /* the time has come */
        tg__rebuild_if_due(host);
        assert_int_equal(rebuilds(TG_REBUILD_MEMORY), (uint64_t)i + 2);
        delay = delay * 2 > 60000 ? 60000 : delay * 2;
        assert_int_equal(host->rebuild.delay_ms, delay);
    }
    host->rebuild.not_before_ms = 0; /* long ago */
    host->rebuild.delay_ms = 0;
    call(HOARD);
    tg__rebuild_if_due(host);
    assert_int_equal(host->rebuild.delay_ms, 1000);
}

static void a_reload_makes_it_needless(void **state)
{
    struct tg_source *source = tg_source_retain(host->current->source);
    (void)state;
    call(HOARD);
    assert_int_equal(tg_host_prepare(host, source, &fx.error), TG_ERR_OK);
    tg_source_release(source);
    tg_host_commit(host);
    assert_false(host->rebuild.wanted);
    expect_work();
    assert_int_equal(rebuilds(TG_REBUILD_MEMORY), 0);
}

static void one_that_drains_is_not_rebuilt(void **state)
{
    struct tg_source *source = tg_source_retain(host->current->source);
    (void)state;
    (void)begin();
    struct tg_call *old = fixture_waiting;
    assert_int_equal(tg_host_prepare(host, source, &fx.error), TG_ERR_OK);
    tg_source_release(source);
    tg_host_commit(host);
    fixture_waiting = old;
    fixture_wake(HOARD);
    assert_int_equal(fx.outcome, TG_CALL_MEMORY);
    assert_false(host->rebuild.wanted);
}

static void one_that_fails_leaves_the_old_state(void **state)
{
    (void)state;
    const struct tg_generation *old = host->current;
    call(HOARD);
    host->env.memory_max = 1000;
    tg__rebuild_if_due(host);
    assert_true(log_capture_has("error policy.rebuild_failed reason=memory"));
    assert_ptr_equal(host->current, old);
    assert_int_equal(rebuilds(TG_REBUILD_MEMORY), 0);
    assert_false(host->rebuild.wanted);
    host->env.memory_max = fx.env.memory_max;
    call(HOARD); /* asks again, later */
    assert_true(host->rebuild.wanted);
}

/* --- on real connections ----------------------------------------------------------------------- */

static struct tg_generation *spoil(struct stage *stage)
{
    tg__rebuild_ask(stage->host->current, TG_REBUILD_MEMORY);
    assert_true(stage->host->rebuild.wanted);
    return stage->host->current;
}

static void a_hook_or_run_that_begins_meets_a_state_that_is_well(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    static const char text[] = "{\"type\":\"x\"}";
    struct tg_hook_input input = {.data = text, .len = sizeof text - 1};
    stage_load(stage, "local n = 0 return { authenticate = function() return {user_id = 'a'} end,\n"
                      "message = function(conn) n = n + 1 conn:send({n = n}) end,\n"
                      "agents = { a = function() n = n + 1 return n end } }");
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, text);
    bench_expect(bench, client, "{\"n\":1}");
    const struct tg_generation *old = spoil(stage);
    tg_host_hook_start(stage->host, bench_conn(bench), TG_HOOK_MESSAGE, &input);
    assert_ptr_not_equal(stage->host->current, old);
    bench_expect(bench, client, "{\"n\":1}"); /* what it counted is gone */
    stage->host->rebuild.not_before_ms = 0;
    old = spoil(stage);
    struct tg_run_request request = {.agent = "a"};
    assert_int_equal(tg_runs_start(bench->runs, bench_conn(bench), &request), TG_ERR_OK);
    assert_ptr_not_equal(stage->host->current, old);
    bench_expect(bench, client, "agent_started");
    bench_expect(bench, client, "\"response\":1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_OF_A_KILL(name) cmocka_unit_test_setup_teardown(name, setup_short, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_policy_that_hoards_starts_anew),
        TEST(what_waits_in_the_old_state_may_end),
        TEST(memory_that_comes_back_is_no_reason),
        TEST(what_a_policy_needs_from_the_start_is_no_reason),
        TEST_OF_A_KILL(a_kill_in_the_policy_s_own_code_is_no_reason),
        TEST_OF_A_KILL(a_kill_inside_the_library_is_a_reason),
        TEST_OF_A_KILL(a_kill_inside_its_private_files_is_none),
        TEST(the_next_to_begin_need_not_wait_for_the_loop),
        TEST(never_below_a_call),
        TEST(those_that_come_soon_wait_longer_and_longer),
        TEST(a_reload_makes_it_needless),
        TEST(one_that_drains_is_not_rebuilt),
        TEST(one_that_fails_leaves_the_old_state),
        cmocka_unit_test_setup_teardown(a_hook_or_run_that_begins_meets_a_state_that_is_well,
                                        stage_setup, stage_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
