/* hook_cost.c - what the safety of one hook call costs: the same call with and without its budgets and
 * metrics.
 *
 *   hook_cost VARIANT CALLS      runs one variant once, for instruction counts (hook_cost.py)
 *   hook_cost                    runs all, interleaved, and prints nanoseconds a call and ratios
 *
 * Variants build on each other, so that each row is the price of one thing:
 *   call     a coroutine of the pool, arguments, resume, results
 *   cpu      + the CPU budget (meter begin and end)
 *   wall     + the wall budget (a timer, which only a call that waits sets)
 *   metrics  + outcome counter and duration histogram: what a hook of a connection pays
 *   moves    + two transitions of the connection's state, checked, counted and kept, as around a run
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lua.h>
#include <uv.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/stopwatch.h"
#include "connection/state.h"
#include "script/call/call.h"
#include "script/policy/generation.h"

enum variant { CALL, CPU, WALL, METRICS, MOVES, VARIANTS };
static const char *const variant_names[VARIANTS] = {"call", "cpu", "wall", "metrics", "moves"};

#define ROUNDS 31
#define CALLS_A_ROUND 50000
#define WALL_MS 10000
#define CPU_MS 5000 /* what valgrind needs to load the library; the price does not depend on it */

/* A hook of the usual size: looks something up, builds a short text. */
static const char policy_text[] =
    "local rooms = { lobby = 'Lobby', hall = 'Hall' }\n"
    "local policy = {}\n"
    "function policy.authenticate(conn, credentials) return { user_id = 'ann' } end\n"
    "function policy.message(name, text)\n"
    "  local room = rooms[name]\n"
    "  if not room then return nil, 'no such room' end\n"
    "  return room .. ': ' .. text\n"
    "end\n"
    "return policy\n";

struct bench {
    uv_loop_t loop;
    struct tg_script_env env;
    struct tg_meter *meter;
    struct tg_metrics *metrics;
    struct tg_source *source;
    struct tg_generation *generation;
    struct tg_lifecycle lifecycle; /* of the connection whose hook it is */
    struct tg_conn_id id;
    uint64_t ended;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "hook_cost: %s\n", what);
    exit(1);
}

static void load(struct bench *bench)
{
    char path[] = "/tmp/hook_cost_XXXXXX.lua";
    struct tg_error error = {.text = "out of memory"};
    int fd = mkstemps(path, 4);

    if (fd < 0 || write(fd, policy_text, sizeof policy_text - 1) != (ssize_t)sizeof policy_text - 1)
        die("cannot write the policy");
    (void)close(fd);
    if (tg_source_read(&bench->source, path, &error) != TG_ERR_OK ||
        tg_generation_create(&bench->generation, &bench->env, bench->source, &error) != TG_ERR_OK)
        die(error.text);
    (void)unlink(path);
}

static void move(struct bench *bench, enum tg_state to, const char *reason)
{
    if (tg_lifecycle_move(&bench->lifecycle, to, reason, &bench->id, bench->metrics) != TG_ERR_OK)
        die("an illegal transition");
}

static void set_up(struct bench *bench)
{
    struct tg_error error = {.text = ""};

    memset(bench, 0, sizeof *bench);
    tg_stopwatch_calibrate();
    bench->metrics = calloc(1, sizeof *bench->metrics);
    if (bench->metrics == NULL || uv_loop_init(&bench->loop) != 0 ||
        tg_watchdog_start(&error) != TG_ERR_OK ||
        tg_meter_create(&bench->meter, CPU_MS) != TG_ERR_OK ||
        tg_timers_create(&bench->env.timers, &bench->loop) != TG_ERR_OK)
        die("cannot set up");
    bench->env.meter = bench->meter;
    bench->env.memory_max = (size_t)64 << 20;
    load(bench);
    tg_lifecycle_init(&bench->lifecycle, bench->metrics);
    for (enum tg_state state = TG_ACCEPTED; state <= TG_PROCESSING_READY; state++)
        move(bench, state, "set up");
}

static void tear_down(struct bench *bench)
{
    tg_lifecycle_fini(&bench->lifecycle, bench->metrics);
    tg_generation_destroy(bench->generation);
    tg_source_release(bench->source);
    tg_timers_destroy(bench->env.timers);
    (void)uv_run(&bench->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&bench->loop);
    tg_meter_destroy(bench->meter);
    tg_watchdog_stop();
    free(bench->metrics);
}

static void on_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                    const char *error_text, const char *traceback)
{
    struct bench *bench = call->owner;

    (void)traceback;
    if (outcome != TG_CALL_OK || results != 1)
        die(error_text == NULL ? "the hook gave no result" : error_text);
    bench->ended++;
}

static void on_done_counted(struct tg_call *call, enum tg_call_outcome outcome, int results,
                            const char *error_text, const char *traceback)
{
    struct bench *bench = call->owner;

    on_done(call, outcome, results, error_text, traceback);
    tg_counter_add(&bench->metrics->hook_outcomes[TG_HOOK_MESSAGE][0], 1);
    tg_histogram_observe(&bench->metrics->hook_duration[TG_HOOK_MESSAGE],
                         tg_stopwatch_since_ns(call->started_ns) / 1000);
}

static int push_call(lua_State *L)
{
    const struct bench *bench = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, bench->generation->hook_refs[TG_HOOK_MESSAGE]);
    lua_pushliteral(L, "lobby");
    lua_pushliteral(L, "good morning to all of you");
    return 3;
}

static void run(struct bench *bench, enum variant variant, uint64_t calls)
{
    tg_call_done_fn done = variant >= METRICS ? on_done_counted : on_done;
    uint64_t wall_ms = variant >= WALL ? WALL_MS : 0;

    bench->env.meter = variant >= CPU ? bench->meter : NULL;
    for (uint64_t i = 0; i < calls; i++) {
        struct tg_call *call =
            tg_call_create(bench->generation, TG_CALL_HOOK, 1, wall_ms, done, bench);
        if (call == NULL)
            die("out of memory");
        if (variant >= MOVES)
            move(bench, TG_PROCESSING, "run started");
        tg_call_start(call, push_call, bench);
        if (variant >= MOVES)
            move(bench, TG_PROCESSING_READY, "last run ended");
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void compare_all(struct bench *bench)
{
    static double ns[VARIANTS][ROUNDS];
    double base = 0;

    for (int round = 0; round < ROUNDS; round++) {
        for (int variant = 0; variant < VARIANTS; variant++) {
            uint64_t before = tg_clock_monotonic_ns();
            run(bench, (enum variant)variant, CALLS_A_ROUND);
            ns[variant][round] = (double)(tg_clock_monotonic_ns() - before) / CALLS_A_ROUND;
        }
    }
    (void)printf("%-8s %10s %8s   (medians of %d interleaved rounds of %d calls)\n", "variant",
                 "ns a call", "ratio", ROUNDS, CALLS_A_ROUND);
    for (int variant = 0; variant < VARIANTS; variant++) {
        qsort(ns[variant], ROUNDS, sizeof(double), compare);
        double median = ns[variant][ROUNDS / 2];
        if (variant == CALL)
            base = median;
        (void)printf("%-8s %10.1f %8.3f\n", variant_names[variant], median, median / base);
    }
}

int main(int argc, char **argv)
{
    struct bench bench;
    int variant = VARIANTS;

    if (argc == 3) {
        for (variant = 0; variant < VARIANTS && strcmp(argv[1], variant_names[variant]) != 0;)
            variant++;
    }
    if (argc != 1 && (argc != 3 || variant == VARIANTS)) {
        (void)fprintf(stderr, "usage: hook_cost [call|cpu|wall|metrics|moves CALLS]\n");
        return 2;
    }
    set_up(&bench);
    if (argc == 1)
        compare_all(&bench);
    else
        run(&bench, (enum variant)variant, strtoull(argv[2], NULL, 10));
    tear_down(&bench);
    return 0;
}
