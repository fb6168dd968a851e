/* concurrency.c - what tasks and the shared store cost a script, beside a call of its own and a table.
 *
 *   tests/bench/concurrency [factor]     factor 1: a few seconds
 *
 * The script measures itself, in a hook of a real generation on a loop; the store also with two threads,
 * each with a state of its own, on the same keys and on different ones.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <uv.h>

#include "script/call/call.h"
#include "script/kv/kv.h"
#include "script/policy/generation.h"
#include "script/policy/source.h"

static const char policy[] =
    "local tide, time, kv = require 'tidegate', require 'tidegate.time', require 'tidegate.kv'\n"
    "local function each(n, fn)\n"
    "  local began = time.monotonic()\n"
    "  for i = 1, n do fn(i) end\n"
    "  return (time.monotonic() - began) / n * 1e9\n"
    "end\n"
    "local function add(a, b) return a + b end\n"
    "local store, text = {}, ('x'):rep(100)\n"
    "local value = { type = 'user', name = 'ada', roles = { 'writer', 'reader' }, since = "
    "1757500188 }\n"
    "local tasks = {\n"
    "  { 'a function of the script', 3e6, function(i) return add(i, 1) end },\n"
    "  { 'a coroutine, created and run', 3e5, function(i) return coroutine.wrap(add)(i, 1) end },\n"
    "  { 'tide.spawn and wait', 1e5, function(i) return tide.spawn(add, i, 1):wait() end },\n"
    "  { 'tide.all of ten', 1e4, function(i)\n"
    "      local function one() return i end\n"
    "      return tide.all { one, one, one, one, one, one, one, one, one, one } end },\n"
    "}\n"
    "local stores = {\n"
    "  { 'a table of the script, set', 3e6, function(i) store['key'] = i end },\n"
    "  { 'a table of the script, get', 3e6, function() return store['key'] end },\n"
    "  { 'kv.set of a number', 5e5, function(i) kv.set(KEY, i) end },\n"
    "  { 'kv.get of a number', 5e5, function() return kv.get(KEY) end },\n"
    "  { 'kv.incr', 5e5, function() return kv.incr(KEY) end },\n"
    "  { 'kv.set of a small table', 2e5, function() kv.set(KEY, value) end },\n"
    "  { 'kv.get of a small table', 2e5, function() return kv.get(KEY) end },\n"
    "  { 'kv.cas of a small table', 1e5, function() kv.cas(KEY, value, value) end },\n"
    "}\n"
    "local function measure(rows, report, factor)\n"
    "  for _, row in ipairs(rows) do report(row[1], each(row[2] * factor, row[3])) end\n"
    "end\n"
    "return { authenticate = print, message = function(report, what, factor)\n"
    "  measure(what == 'tasks' and tasks or stores, report, factor) end }\n";

struct bench {
    const char *what;
    const char *key;
    const char *heading;
    struct tg_kv *kv;
    double factor;
    bool done;
    double base_ns; /* what the first row took */
};

/* report(name, ns) */
static int l_report(lua_State *L)
{
    struct bench *bench = lua_touserdata(L, lua_upvalueindex(1));
    double ns = lua_tonumber(L, 2);

    if (bench->base_ns == 0)
        bench->base_ns = ns;
    if (bench->heading != NULL)
        printf("%-12s %-32s %8.0f ns %8.1f x\n", bench->heading, lua_tostring(L, 1), ns,
               ns / bench->base_ns);
    return 0;
}

static int build_call(lua_State *L)
{
    struct bench *bench = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, tg_generation_of(L)->hook_refs[TG_HOOK_MESSAGE]);
    lua_pushlightuserdata(L, bench);
    lua_pushcclosure(L, l_report, 1);
    lua_pushstring(L, bench->what);
    lua_pushnumber(L, bench->factor);
    return 4;
}

static void on_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                    const char *error_text, const char *traceback)
{
    struct bench *bench = call->owner;

    (void)results;
    (void)traceback;
    if (outcome != TG_CALL_OK)
        fprintf(stderr, "%s: %s\n", bench->what, error_text);
    bench->done = true;
}

/* The policy with this thread's key in it, as a file: a source is read from one. */
static struct tg_source *read_policy(const char *key)
{
    char path[] = "/tmp/tidegate-bench-XXXXXX";
    char file[64];
    struct tg_source *source = NULL;
    struct tg_error error = {.code = TG_ERR_OK};

    if (mkdtemp(path) == NULL)
        abort();
    (void)snprintf(file, sizeof file, "%s/policy.lua", path);
    FILE *stream = fopen(file, "we");
    if (stream == NULL)
        abort();
    fprintf(stream, "local KEY = '%s' ", key);
    fputs(policy, stream);
    (void)fclose(stream);
    if (tg_source_read(&source, file, &error) != TG_ERR_OK)
        fprintf(stderr, "%s\n", error.text);
    (void)unlink(file);
    (void)rmdir(path);
    return source;
}

static void *run(void *arg)
{
    struct bench *bench = arg;
    struct tg_script_env env = {.memory_max = (size_t)256 << 20, .kv = bench->kv};
    struct tg_generation *generation;
    struct tg_error error = {.code = TG_ERR_OK};
    struct tg_source *source = read_policy(bench->key);
    uv_loop_t loop;

    if (uv_loop_init(&loop) != 0 || tg_timers_create(&env.timers, &loop) != TG_ERR_OK ||
        tg_meter_create(&env.meter, 600000) != TG_ERR_OK ||
        tg_generation_create(&generation, &env, source, &error) != TG_ERR_OK) {
        fprintf(stderr, "cannot begin: %s\n", error.text);
        abort();
    }
    struct tg_call *call = tg_call_create(generation, TG_CALL_HOOK, 0, 0, on_done, bench);
    if (call == NULL)
        abort();
    tg_call_start(call, build_call, bench);
    while (!bench->done)
        (void)uv_run(&loop, UV_RUN_ONCE);
    tg_generation_destroy(generation);
    tg_source_release(source);
    tg_meter_destroy(env.meter);
    tg_timers_destroy(env.timers);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    return NULL;
}

static void run_two(struct tg_kv *kv, double factor, const char *heading, const char *other_key)
{
    struct bench first = {"stores", "key", heading, kv, factor, false, 0};
    struct bench second = {"stores", other_key, NULL, kv, factor, false, 0};
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, &second) != 0)
        abort();
    (void)run(&first);
    (void)pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    double factor = argc > 1 ? strtod(argv[1], NULL) : 1;
    struct tg_kv_options options = {.memory = (size_t)32 << 20, .value_max = (size_t)64 << 10};
    struct tg_error error;
    struct tg_kv *kv;

    if (tg_watchdog_start(&error) != TG_ERR_OK || tg_kv_create(&kv, &options) != TG_ERR_OK)
        return 1;
    (void)run(&(struct bench){"tasks", "key", "tasks", kv, factor, false, 0});
    (void)run(&(struct bench){"stores", "key", "1 thread", kv, factor, false, 0});
    run_two(kv, factor, "2, own keys", "other");
    run_two(kv, factor, "2, one key", "key");
    tg_kv_destroy(kv);
    tg_watchdog_stop();
    return 0;
}
