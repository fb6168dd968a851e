/* script_fixture.c - see script_fixture.h. */
#include "support/script_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "base/sanitizer.h"

struct tg_call *fixture_waiting;
int fixture_waits, fixture_cancels;

/* Keeps a poll short: uv_run(UV_RUN_ONCE) polls after it has run the timers that were due. */
static void on_tick(uv_timer_t *tick)
{
    (void)tick;
}

void fixture_open(struct script_fixture *fx)
{
    struct tg_error error;

    memset(fx, 0, sizeof *fx);
    (void)snprintf(fx->dir, sizeof fx->dir, "/tmp/tidegate-test-XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    assert_int_equal(uv_loop_init(&fx->loop), 0);
    assert_int_equal(uv_timer_init(&fx->loop, &fx->tick), 0);
    assert_int_equal(uv_timer_start(&fx->tick, on_tick, 1, 1), 0);
    assert_int_equal(tg_watchdog_start(&error), TG_ERR_OK);
    assert_int_equal(tg_timers_create(&fx->env.timers, &fx->loop), TG_ERR_OK);
    assert_int_equal(tg_meter_create(&fx->env.meter, 50), TG_ERR_OK);
    fx->env.memory_max = (size_t)16 << 20;
    fixture_waits = fixture_cancels = 0;
    fixture_waiting = NULL;
}

void fixture_set_budget(struct script_fixture *fx, uint64_t ms)
{
#if TG_UNDER_TSAN
    ms *= 20;
#endif
    tg_meter_destroy(fx->env.meter);
    assert_int_equal(tg_meter_create(&fx->env.meter, ms), TG_ERR_OK);
}

static void drop(struct script_fixture *fx)
{
    if (fx->generation != NULL) {
        assert_int_equal(fx->generation->call_count, 0);
        assert_int_equal(lua_gettop(fx->generation->L), 0);
    }
    tg_generation_destroy(fx->generation);
    tg_source_release(fx->source);
    fx->generation = NULL;
    fx->source = NULL;
}

void fixture_close(struct script_fixture *fx)
{
    char command[128];

    drop(fx);
    tg_meter_destroy(fx->env.meter);
    tg_watchdog_stop();
    tg_timers_destroy(fx->env.timers);
    uv_close((uv_handle_t *)&fx->tick, NULL);
    (void)uv_run(&fx->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fx->loop), 0);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", fx->dir);
    assert_int_equal(system(command), 0);
}

int fixture_setup(void **state)
{
    fixture_open(*state);
    return 0;
}

int fixture_teardown(void **state)
{
    fixture_close(*state);
    return 0;
}

const char *fixture_write(struct script_fixture *fx, const char *name, const char *text)
{
    static char path[256];

    (void)snprintf(path, sizeof path, "%s/%s", fx->dir, name);
    for (char *slash = path + strlen(fx->dir) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *stream = fopen(path, "we");
    assert_non_null(stream);
    assert_int_equal(fwrite(text, 1, strlen(text), stream), strlen(text));
    assert_int_equal(fclose(stream), 0);
    return path;
}

enum tg_err fixture_load(struct script_fixture *fx, const char *text)
{
    const char *path = fixture_write(fx, "policy.lua", text);

    drop(fx);
    enum tg_err err = tg_source_read(&fx->source, path, &fx->error);
    if (err == TG_ERR_OK)
        err = tg_generation_create(&fx->generation, &fx->env, fx->source, &fx->error);
    return err;
}

void fixture_load_body(struct script_fixture *fx, const char *body)
{
    size_t size = strlen(body) + 512;
    char *text = malloc(size);

    assert_non_null(text);
    (void)snprintf(text, size,
                   "local tide = require 'tidegate' local time = require 'tidegate.time' "
                   "local policy = {} function policy.authenticate() end "
                   "function policy.message(wait, ...) %s\nend return policy",
                   body);
    enum tg_err err = fixture_load(fx, text);
    free(text);
    if (err != TG_ERR_OK)
        fail_msg("%s", fx->error.text);
}

static void on_wait_cancelled(struct tg_call *call, void *wait)
{
    assert_ptr_equal(wait, &fixture_waits);
    if (call == fixture_waiting)
        fixture_waiting = NULL;
    fixture_cancels++;
}

static int l_wait(lua_State *L)
{
    fixture_waits++;
    fixture_waiting = tg_call_current(L);
    return tg_call_suspend(L, on_wait_cancelled, &fixture_waits);
}

static int build_number(lua_State *L)
{
    lua_pushnumber(L, *(double *)lua_touserdata(L, 1));
    return 1;
}

void fixture_wake(double value)
{
    struct tg_call *call = fixture_waiting;

    assert_non_null(call);
    fixture_waiting = NULL;
    tg_call_wake(call, build_number, &value);
}

static void on_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                    const char *error_text, const char *traceback)
{
    struct script_fixture *fx = call->owner;

    fx->done++;
    fx->outcome = outcome;
    fx->results = results;
    fx->result[0] = '\0';
    if (results > 0) {
        lua_State *co = call->co;
        int first = lua_gettop(co) - results + 1;
        int type = lua_type(co, first);
        if (type == LUA_TSTRING || type == LUA_TNUMBER) {
            lua_pushvalue(co, first);
            (void)snprintf(fx->result, sizeof fx->result, "%s", lua_tostring(co, -1));
            lua_pop(co, 1);
        } else if (type == LUA_TBOOLEAN) {
            (void)snprintf(fx->result, sizeof fx->result, "%s",
                           lua_toboolean(co, first) ? "true" : "false");
        } else {
            (void)snprintf(fx->result, sizeof fx->result, "(%s)", lua_typename(co, type));
        }
    }
    (void)snprintf(fx->text, sizeof fx->text, "%s", error_text != NULL ? error_text : "");
    (void)snprintf(fx->traceback, sizeof fx->traceback, "%s", traceback != NULL ? traceback : "");
}

static int build_message(lua_State *L)
{
    const struct tg_generation *generation = tg_generation_of(L);

    lua_rawgeti(L, LUA_REGISTRYINDEX, generation->hook_refs[TG_HOOK_MESSAGE]);
    lua_pushcfunction(L, l_wait);
    return 2;
}

struct tg_call *fixture_call(struct script_fixture *fx, uint64_t wall_ms)
{
    int before = fx->done;
    struct tg_call *call = tg_call_create(fx->generation, TG_CALL_HOOK, 0, wall_ms, on_done, fx);

    assert_non_null(call);
    call->hook = TG_HOOK_MESSAGE;
    tg_call_start(call, build_message, NULL);
    assert_int_equal(lua_gettop(fx->generation->L), 0);
    return fx->done == before ? call : NULL;
}

void fixture_run(struct script_fixture *fx, const char *body)
{
    fixture_load_body(fx, body);
    assert_null(fixture_call(fx, 0));
}

void fixture_loop_until(struct script_fixture *fx, int done)
{
    uint64_t due_ms = tg_clock_monotonic_ms() + 20000;

    while (fx->done < done && tg_clock_monotonic_ms() < due_ms)
        (void)uv_run(&fx->loop, UV_RUN_ONCE);
    assert_int_equal(fx->done, done);
}
