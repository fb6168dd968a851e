/* process_test.c - an agent that is a process, without the process: what waits where and how much of it, who is
 * told when something ends, and that a policy can declare nothing that is not allowed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/metrics.h"
#include "net/process.h"
#include "support/log_capture.h"
#include "support/script_fixture.h"

/* A place where processes come from, in which nothing happens by itself. */
static struct {
    struct tg_processes base;
    struct tg_process process;
    const struct tg_process_callbacks *callbacks; /* NULL: none runs */
    void *ctx;
    char command[256];
    char written[4096];
    size_t unwritten;
    int starts, closes;
    bool paused;
} fake;

static enum tg_err fake_start(struct tg_processes *from, const struct tg_process_order *order,
                              const struct tg_process_callbacks *callbacks, void *ctx,
                              struct tg_process **out)
{
    assert_null(fake.callbacks);
    fake.process.from = from;
    fake.callbacks = callbacks;
    fake.ctx = ctx;
    fake.starts++;
    fake.paused = false;
    (void)snprintf(fake.command, sizeof fake.command, "%s %s", order->arguments[0],
                   order->arguments[1] == NULL ? "" : order->arguments[1]);
    *out = &fake.process;
    return TG_ERR_OK;
}

static enum tg_err fake_write(struct tg_process *process, const void *data, size_t len)
{
    size_t used = strlen(fake.written);

    assert_ptr_equal(process, &fake.process);
    assert_non_null(fake.callbacks);
    (void)snprintf(fake.written + used, sizeof fake.written - used, "%.*s", (int)len,
                   (const char *)data);
    return TG_ERR_OK;
}

static size_t fake_unwritten(const struct tg_process *process)
{
    (void)process;
    return fake.unwritten;
}

static void fake_pause(struct tg_process *process)
{
    (void)process;
    fake.paused = true;
}

static void fake_resume(struct tg_process *process)
{
    (void)process;
    fake.paused = false;
}

static void fake_close(struct tg_process *process)
{
    (void)process;
    fake.callbacks = NULL;
    fake.closes++;
}

static const struct tg_processes_ops fake_ops = {
    .start = fake_start,
    .write = fake_write,
    .unwritten = fake_unwritten,
    .pause = fake_pause,
    .resume = fake_resume,
    .close = fake_close,
};

static void say(const char *line)
{
    assert_non_null(fake.callbacks);
    fake.callbacks->on_line(fake.ctx, line, strlen(line), false);
}

/* An event of that run whose text is so long. */
static void say_delta(int run, const char *text, size_t len)
{
    char *line = malloc(len + 256);

    assert_non_null(line);
    (void)snprintf(line, len + 256,
                   "{\"run_id\":\"run_%d\",\"type\":\"agent_delta\",\"text\":\"%-*s\"}", run,
                   (int)len, text);
    say(line);
    free(line);
}

static void end_process(int status)
{
    const struct tg_process_callbacks *callbacks = fake.callbacks;
    struct tg_process_end end = {TG_PROCESS_EXITED, status, "exited"};

    fake.callbacks = NULL;
    callbacks->on_end(fake.ctx, &end);
}

/* --- the stage ---------------------------------------------------------------------------------- */

static struct script_fixture fx;
static struct tg_metrics metrics;
static uint64_t now_ms;

/* The agent of a run that has an ID, and whose deltas "wait" for the test. */
static const char policy[] =
    "local agent = require 'tidegate.agent'\n"
    "local child = agent.process{ command = { 'tool', 'now' }, circuit = false }\n"
    "local n, policy = 0, { authenticate = print }\n"
    "function policy.message(wait)\n"
    "  n = n + 1\n"
    "  local run = { id = 'run_' .. n, agent = 'a' }\n"
    "  function run.delta(_, text) if text:find '^wait' then wait() end return true end\n"
    "  local response, text, code = child(run, 'hi')\n"
    "  return response or code\n"
    "end\n"
    "return policy\n";

static int setup(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    memset(&metrics, 0, sizeof metrics);
    fake.base.ops = &fake_ops;
    log_capture_start();
    fixture_open(&fx);
    tg_timers_destroy(fx.env.timers);
    now_ms = 1000;
    assert_int_equal(tg_timers_create_manual(&fx.env.timers, now_ms), TG_ERR_OK);
    fx.env.processes = &fake.base;
    fx.env.metrics = &metrics;
    fx.env.programs.any = true;
    fx.done = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    while (fx.generation != NULL && !tg_list_empty(&fx.generation->calls))
        tg_call_cancel(TG_CONTAINER_OF(fx.generation->calls.next, struct tg_call, node));
    fixture_close(&fx);
    log_capture_stop();
    return 0;
}

static void load(void)
{
    if (fixture_load(&fx, policy) != TG_ERR_OK)
        fail_msg("%s", fx.error.text);
}

static void pass_ms(uint64_t ms)
{
    now_ms += ms;
    tg_timers_set_now(fx.env.timers, now_ms);
    while (tg_timers_fire(fx.env.timers)) {
    }
}

static struct tg_call *ask(void)
{
    return fixture_call(&fx, 0);
}

static void assert_ended(int done, const char *result)
{
    assert_int_equal(fx.done, done);
    assert_int_equal(fx.outcome, TG_CALL_OK);
    assert_string_equal(fx.result, result);
}

/* --- tests -------------------------------------------------------------------------------------- */

static void a_program_that_is_not_allowed_does_not_load(void **state)
{
    static const char *const allowed[] = {"/usr/bin/env"};

    (void)state;
    fx.env.programs = (struct tg_script_programs){.any = false};
    assert_int_not_equal(fixture_load(&fx, policy), TG_ERR_OK);
    assert_text_has(fx.error.text, "policy.lua:2: agent.process: \"tool\" may not be run");
    assert_text_has(fx.error.text, "agents.processes");
    fx.env.programs.allowed = (struct tg_script_texts){allowed, 1};
    assert_int_not_equal(fixture_load(&fx, policy), TG_ERR_OK);
    assert_text_has(fx.error.text, "may not be run");
}

static void what_runs_is_the_path_that_is_allowed(void **state)
{
    static const char *const allowed[] = {"/usr/bin/env"};

    (void)state;
    fx.env.programs = (struct tg_script_programs){.allowed = {allowed, 1}};
    assert_int_equal(
        fixture_load(&fx,
                     "local child = require('tidegate.agent').process{ command = { 'env', 'x' } }\n"
                     "return { authenticate = print, message = function(wait)\n"
                     "  return child({ id = 'run_1', agent = 'a' }, 'hi') end }"),
        TG_ERR_OK);
    struct tg_call *call = ask();
    assert_non_null(call);
    assert_string_equal(fake.command, "/usr/bin/env x");
    tg_call_cancel(call);
}

static void a_run_is_a_line_and_lines_are_its_events(void **state)
{
    (void)state;
    load();
    assert_int_equal(fake.starts, 0);
    assert_non_null(ask());
    assert_int_equal(fake.starts, 1);
    assert_string_equal(fake.command, "tool now");
    assert_text_has(fake.written, "\"run_id\":\"run_1\"");
    assert_int_equal(fake.written[strlen(fake.written) - 1], '\n');
    say_delta(1, "a", 1);
    assert_int_equal(fx.done, 0);
    say("{\"type\":\"agent_completed\",\"run_id\":\"run_1\",\"response\":\"well\"}");
    assert_ended(1, "well");
    assert_null(strstr(fake.written, "agent_cancel"));
}

static void lines_that_nobody_takes_make_the_process_wait(void **state)
{
    (void)state;
    load();
    assert_non_null(ask());
    say_delta(1, "wait", 10); /* the script waits inside it */
    assert_non_null(fixture_waiting);
    int lines = 0;
    for (; !fake.paused && lines < 100; lines++)
        say_delta(1, "more", 100000);
    assert_in_range(lines, 10, 12); /* 1 MiB */
    assert_true(fx.generation->memory_used > (size_t)1 << 20);
    fixture_wake(0);
    while (fx.done == 0 && fake.paused)
        pass_ms(1);
    assert_false(fake.paused);
    say("{\"type\":\"agent_completed\",\"run_id\":\"run_1\",\"response\":\"all\"}");
    pass_ms(1);
    assert_ended(1, "all");
}

static void a_run_that_ends_lets_go_of_its_lines(void **state)
{
    (void)state;
    load();
    struct tg_call *call = ask();
    say_delta(1, "wait", 10);
    while (!fake.paused)
        say_delta(1, "more", 100000);
    tg_call_cancel(call);
    assert_false(fake.paused);
    assert_true(fx.generation->memory_used < (size_t)1 << 20);
    assert_text_has(fake.written, "{\"type\":\"agent_cancel\",\"run_id\":\"run_1\"}\n");
}

static void lines_for_which_the_state_has_no_room_end_the_run(void **state)
{
    (void)state;
    load();
    assert_non_null(ask());
    say_delta(1, "wait", 10);
    fx.generation->memory_max = fx.generation->memory_used + 200000;
    for (int i = 0; i < 4; i++)
        say_delta(1, "more", 100000);
    fx.generation->memory_max = (size_t)16 << 20;
    fixture_wake(0);
    pass_ms(1);
    assert_ended(1, "bad_upstream_answer");
}

static void requests_that_are_not_read_are_refused_beyond_a_bound(void **state)
{
    (void)state;
    load();
    assert_non_null(ask());
    fake.unwritten = (size_t)4 << 20;
    assert_null(ask());
    assert_ended(1, "upstream_unavailable");
    fake.unwritten = 1000;
    assert_non_null(ask());
}

static void an_end_is_told_to_every_run_once_and_from_the_loop(void **state)
{
    (void)state;
    load();
    assert_non_null(ask());
    assert_non_null(ask());
    say_delta(1, "wait", 10);
    say("{\"type\":\"agent_completed\",\"run_id\":\"run_1\",\"response\":\"in time\"}");
    end_process(1);
    assert_int_equal(fx.done, 0);
    pass_ms(0);
    assert_ended(1, "upstream_unavailable"); /* of the second run */
    fixture_wake(0);
    assert_ended(2, "in time"); /* it had come before the end */
    assert_int_equal(fake.starts, 1);
}

static void a_process_is_not_told_of_runs_that_another_had(void **state)
{
    (void)state;
    load();
    assert_non_null(ask());
    say("{\"type\":\"agent_completed\",\"run_id\":\"run_1\",\"response\":\"well\"}");
    struct tg_call *begun = ask();
    assert_non_null(ask());
    say_delta(2, "wait", 10);
    end_process(0);
    fake.written[0] = '\0';
    pass_ms(0);
    assert_int_equal(fake.starts, 2);
    assert_text_has(fake.written, "\"run_id\":\"run_3\""); /* nothing had come for it: once more */
    tg_call_cancel(begun);
    assert_null(strstr(fake.written, "run_2"));
}

static void silence_ends_a_run_and_the_process_is_told(void **state)
{
    (void)state;
    load();
    assert_non_null(ask());
    pass_ms(59999);
    say_delta(1, "a", 1);
    pass_ms(59999);
    assert_int_equal(fx.done, 0);
    pass_ms(1);
    assert_ended(1, "upstream_timeout");
    assert_text_has(fake.written, "agent_cancel");
}

static void a_flood_for_nobody_is_read_in_portions(void **state)
{
    static const char line[] = "{\"run_id\":\"run_of_nobody\"}";

    (void)state;
    load();
    assert_non_null(ask());
    int lines = 0;
    for (; !fake.paused && lines < 1000000; lines++)
        say(line);
    assert_in_range(lines, 30000, 50000); /* 1 MiB */
    pass_ms(999);
    assert_true(fake.paused);
    pass_ms(1);
    assert_false(fake.paused);
    assert_in_range(log_capture_matches("process.line_dropped"), 1, 6);
    assert_false(log_capture_has("run_of_nobody"));
}

static void a_line_that_is_cut_ends_the_run_that_it_quotes(void **state)
{
    static const char line[] = "{\"run_id\":\"run_2\",\"text\":\"aaaa";

    (void)state;
    load();
    assert_non_null(ask());
    assert_non_null(ask());
    fake.callbacks->on_line(fake.ctx, line, sizeof line - 1, true);
    fake.callbacks->on_line(fake.ctx, "aaaaaaa", 7, true);
    pass_ms(0);
    assert_ended(1, "bad_upstream_answer");
    say("{\"type\":\"agent_completed\",\"run_id\":\"run_1\",\"response\":\"well\"}");
    assert_ended(2, "well");
}

static void what_is_no_json_ends_the_run_whose_id_it_holds_whole(void **state)
{
    (void)state;
    load();
    assert_non_null(ask());
    say("run_12 arun_13, xrun_ run_");
    pass_ms(0);
    assert_int_equal(fx.done, 0);
    say("run_ oops (run_1): {");
    pass_ms(0);
    assert_ended(1, "bad_upstream_answer");
}

static void the_end_of_the_state_is_the_end_of_the_process(void **state)
{
    (void)state;
    load();
    struct tg_call *call = ask();
    tg_call_cancel(call);
    assert_int_equal(fake.closes, 0);
    load(); /* another version in its place */
    assert_int_equal(fake.closes, 1);
    assert_non_null(call = ask());
    assert_int_equal(fake.starts, 2);
    tg_call_cancel(call);
}

static uint64_t waiting_restarts(void)
{
    return tg_counter_get(&metrics.process_restarts_waiting);
}

static void restarts_that_wait_are_counted(void **state)
{
    (void)state;
    load();
    assert_non_null(ask());
    end_process(1);
    assert_int_equal(waiting_restarts(), 0); /* nobody needs it */
    assert_non_null(ask());
    struct tg_call *second = ask();
    assert_int_equal(waiting_restarts(), 1);
    pass_ms(100);
    assert_int_equal(fake.starts, 2);
    assert_int_equal(waiting_restarts(), 0);
    tg_call_cancel(second);
    end_process(1);
    pass_ms(0);
    struct tg_call *call = ask();
    assert_int_equal(waiting_restarts(), 1);
    tg_call_cancel(call);
    load(); /* another version in its place */
    assert_int_equal(waiting_restarts(), 0);
}

/* Whether so many allocations are enough for the call itself, which the fixture wants. */
static bool enough_for_a_call(long allowed)
{
    (void)tg_memory_fail_after(allowed, 1);
    struct tg_call *call = tg_call_create(fx.generation, TG_CALL_HOOK, 0, 0, NULL, NULL);
    (void)tg_memory_fail_after(-1, 0);
    if (call != NULL)
        tg_call_cancel(call);
    return call != NULL;
}

static void memory_that_is_out_ends_the_run_and_nothing_else(void **state)
{
    long allowed = 0;
    int failures = 0;
    bool survived = false;

    (void)state;
    for (; !survived && allowed < 200; allowed++) {
        load();
        fx.done = 0;
        if (!enough_for_a_call(allowed))
            continue;
        (void)tg_memory_fail_after(allowed, 0);
        struct tg_call *call = ask();
        (void)tg_memory_fail_after(-1, 0);
        survived = call != NULL;
        failures += survived ? 0 : 1;
        if (survived)
            tg_call_cancel(call);
    }
    assert_true(survived);
    assert_true(failures > 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_program_that_is_not_allowed_does_not_load),
        TEST(what_runs_is_the_path_that_is_allowed),
        TEST(a_run_is_a_line_and_lines_are_its_events),
        TEST(lines_that_nobody_takes_make_the_process_wait),
        TEST(a_run_that_ends_lets_go_of_its_lines),
        TEST(lines_for_which_the_state_has_no_room_end_the_run),
        TEST(requests_that_are_not_read_are_refused_beyond_a_bound),
        TEST(an_end_is_told_to_every_run_once_and_from_the_loop),
        TEST(a_process_is_not_told_of_runs_that_another_had),
        TEST(silence_ends_a_run_and_the_process_is_told),
        TEST(a_flood_for_nobody_is_read_in_portions),
        TEST(a_line_that_is_cut_ends_the_run_that_it_quotes),
        TEST(what_is_no_json_ends_the_run_whose_id_it_holds_whole),
        TEST(the_end_of_the_state_is_the_end_of_the_process),
        TEST(restarts_that_wait_are_counted),
        TEST(memory_that_is_out_ends_the_run_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
