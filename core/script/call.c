/* call.c - the one door into Lua.
 *
 * Everything that may raise runs in here, under lua_resume for scripts and lua_cpcall for our own
 * builders on the main state. Around it: the meter (CPU), the wall timer, the turn-taking, and the
 * pool of coroutines that ended well and are used again.
 *
 *   created ─[start]─> ready ─> running ─[returns, raises, over budget]─> done (on_done, freed)
 *                        ^         │ [tg_call_suspend]
 *                        └─[wake]─ suspended ─[cancel, abandon, wall timer]─> done
 *
 * I4  A coroutine in the pool has an empty stack and has never failed.
 * I5  No allocation of ours is held across a call that can raise: failure texts are copied last.
 *
 * What a failure is called is in call_failure.c, what scripts' C functions use in call_wait.c.
 */
#include "script/call.h"

#include <assert.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "base/memory.h"
#include "script/api/session.h"
#include "script/call_failure.h"
#include "script/host_internal.h"

/* Enough for a new coroutine's guaranteed stack. */
#define BUILT_MAX 17

const char *const tg_call_outcome_names[TG_CALL_MEMORY + 1] = {
    [TG_CALL_OK] = "ok",
    [TG_CALL_YIELDED] = "yielded",
    [TG_CALL_ERROR] = "error",
    [TG_CALL_CPU_BUDGET] = "cpu_budget",
    [TG_CALL_WALL_BUDGET] = "wall_budget",
    [TG_CALL_MEMORY] = "memory",
};

/* Whose turn it is on this thread. A worker's calls take turns whatever generation they belong to. */
static _Thread_local struct {
    bool taken;   /* somebody goes through the ready calls */
    bool metered; /* inside Lua, on the meter */
    struct tg_list ready;
} door;

struct build {
    int (*builder)(lua_State *L);
    void *ud;
    lua_State *to; /* where the built values go; NULL: nowhere */
    int count;
};

static int l_build(lua_State *L)
{
    struct build *build = lua_touserdata(L, 1);

    lua_settop(L, 0);
    lua_pushlightuserdata(L, build->ud);
    build->count = build->builder(L);
    if (build->to == NULL)
        return 0;
    if (build->count > BUILT_MAX)
        return luaL_error(L, "too many arguments: %d", build->count);
    lua_xmove(L, build->to, build->count);
    return 0;
}

static enum tg_call_outcome outcome_of(int status, bool expired)
{
    if (expired)
        return TG_CALL_CPU_BUDGET;
    if (status == 0)
        return TG_CALL_OK;
    if (status == LUA_YIELD)
        return TG_CALL_YIELDED;
    return status == LUA_ERRMEM ? TG_CALL_MEMORY : TG_CALL_ERROR;
}

struct trace {
    lua_State *co;
    char *text; /* owned; NULL when there is none */
};

static int l_trace(lua_State *L)
{
    struct trace *trace = lua_touserdata(L, 1);
    size_t len;

    luaL_traceback(L, trace->co, NULL, 0);
    const char *text = lua_tolstring(L, -1, &len);
    trace->text = tg_strndup(text, len);
    return 0;
}

static int l_collect(lua_State *L)
{
    (void)lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

/* Our own small work on behalf of a call that failed: its memory limit must not stop us. */
static void run_unlimited(struct tg_generation *generation, lua_CFunction function, void *ud)
{
    bool before = generation->memory_unlimited;
    int height = lua_gettop(generation->L);

    generation->memory_unlimited = true;
    if (lua_cpcall(generation->L, function, ud) != 0)
        lua_settop(generation->L, height);
    generation->memory_unlimited = before;
}

static char *traceback_of(struct tg_generation *generation, lua_State *co)
{
    struct trace trace = {.co = co};

    run_unlimited(generation, l_trace, &trace);
    return trace.text;
}

static void meter_begin(struct tg_generation *generation)
{
    if (generation->env->meter != NULL)
        tg_meter_begin(generation->env->meter, generation->L);
    door.metered = true;
}

static bool meter_end(struct tg_generation *generation)
{
    door.metered = false;
    return generation->env->meter != NULL && tg_meter_end(generation->env->meter);
}

/* Runs a C function on the main state. What it leaves there is nothing; errors go to `error`. */
static enum tg_call_outcome run_on_main(struct tg_generation *generation, lua_CFunction function,
                                        void *ud, struct tg_error *error)
{
    lua_State *L = generation->L;
    int height = lua_gettop(L);
    bool meter = !door.metered;

    if (meter)
        meter_begin(generation);
    int status = lua_cpcall(L, function, ud);
    bool expired = meter && meter_end(generation);
    struct tg_failure failure = {.outcome = outcome_of(status, expired)};
    if (failure.outcome != TG_CALL_OK) {
        tg__failure_describe(generation, L, &failure);
        if (error != NULL)
            *error = failure.error;
    }
    lua_settop(L, height);
    if (failure.outcome == TG_CALL_MEMORY)
        run_unlimited(generation, l_collect, NULL);
    return failure.outcome;
}

/* --- the life of a call ------------------------------------------------------------------------- */

static int l_new_coroutine(lua_State *L)
{
    struct tg_call *call = lua_touserdata(L, 1);

    call->co = lua_newthread(L);
    call->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static bool take_coroutine(struct tg_call *call)
{
    struct tg_generation *generation = call->generation;

    if (generation->pool_count == 0)
        return run_on_main(generation, l_new_coroutine, call, NULL) == TG_CALL_OK;
    call->co_ref = generation->pool_refs[--generation->pool_count];
    lua_rawgeti(generation->L, LUA_REGISTRYINDEX, call->co_ref);
    call->co = lua_tothread(generation->L, -1);
    lua_pop(generation->L, 1);
    return true;
}

static void give_coroutine_back(struct tg_call *call, bool reusable)
{
    struct tg_generation *generation = call->generation;
    size_t room = sizeof generation->pool_refs / sizeof generation->pool_refs[0];

    lua_settop(call->co, 0);
    if (reusable && generation->pool_count < room)
        generation->pool_refs[generation->pool_count++] = call->co_ref;
    else
        luaL_unref(generation->L, LUA_REGISTRYINDEX, call->co_ref);
}

static void stop_wall_timer(struct tg_call *call)
{
    if (tg_timer_running(&call->wall_timer))
        tg_timer_stop(call->generation->env->timers, &call->wall_timer);
}

static void drop_wait(struct tg_call *call)
{
    tg_wait_cancel_fn cancel = call->wait_cancel;
    void *wait = call->wait;

    call->wait_cancel = NULL;
    call->wait = NULL;
    if (cancel != NULL)
        cancel(call, wait);
}

/* Ends the call: tells its owner unless it was cancelled, and frees it. */
static void finish(struct tg_call *call, enum tg_call_outcome outcome, int results,
                   const char *text, const char *traceback)
{
    struct tg_generation *generation = call->generation;
    bool tell = !call->cancelled;

    stop_wall_timer(call);
    tg_list_remove(&call->ready);
    call->cancelled = true;
    if (tell)
        call->on_done(call, outcome, results, text, traceback);
    give_coroutine_back(call, outcome == TG_CALL_OK);
    /* LuaJIT does not collect when an allocation fails: what the call left must not fail the next one. */
    if (outcome == TG_CALL_MEMORY)
        run_unlimited(generation, l_collect, NULL);
    tg_list_remove(&call->node);
    generation->call_count--;
    tg_free(call);
    if (generation->env->host != NULL)
        tg__host_call_ended(generation->env->host, generation);
}

static void finish_failed(struct tg_call *call, struct tg_failure *failure)
{
    struct tg_generation *generation = call->generation;

    failure->traceback = traceback_of(generation, call->co);
    finish(call, failure->outcome, 0, failure->error.text, failure->traceback);
    tg_free(failure->traceback);
}

/* Writes back the sessions that the call has read; a session that cannot be kept is an error of the
 * script like any other. */
static enum tg_call_outcome keep_sessions(struct tg_call *call, enum tg_call_outcome outcome,
                                          struct tg_error *error)
{
    bool well = outcome == TG_CALL_OK || outcome == TG_CALL_YIELDED;

    if (!call->sessions_read)
        return outcome;
    enum tg_err err = tg_session_keep(call, outcome != TG_CALL_YIELDED, error);
    return well && err != TG_ERR_OK ? TG_CALL_ERROR : outcome;
}

static void after_resume(struct tg_call *call, enum tg_call_outcome resumed)
{
    struct tg_failure failure = {.outcome = resumed};
    enum tg_call_outcome outcome = keep_sessions(call, resumed, &failure.error);

    failure.outcome = outcome;
    if (outcome == TG_CALL_YIELDED && call->wait_cancel != NULL && !call->cancelled)
        return;
    drop_wait(call);
    if (outcome == TG_CALL_OK) {
        finish(call, outcome, lua_gettop(call->co), NULL, NULL);
    } else if (call->cancelled) {
        finish(call, TG_CALL_ERROR, 0, NULL, NULL);
    } else if (outcome == TG_CALL_YIELDED) {
        failure.outcome = TG_CALL_ERROR;
        (void)tg_error_set(&failure.error, TG_ERR_SCRIPT, "yielded outside a coroutine");
        finish_failed(call, &failure);
    } else {
        if (outcome == resumed)
            tg__failure_describe(call->generation, call->co, &failure);
        finish_failed(call, &failure);
    }
}

static void resume(struct tg_call *call)
{
    struct tg_generation *generation = call->generation;
    int args = call->args;

    call->args = 0;
    call->running = true;
    generation->current = call;
    meter_begin(generation);
    int status = lua_resume(call->co, args);
    bool expired = meter_end(generation);
    generation->current = NULL;
    call->running = false;
    assert(lua_gettop(generation->L) == 0);
    after_resume(call, outcome_of(status, expired));
}

static struct tg_list *ready_calls(void)
{
    if (door.ready.next == NULL)
        tg_list_init(&door.ready);
    return &door.ready;
}

/* Gives the call its turn: now, or after those before it when somebody is at it. */
static void take_turn(struct tg_call *call)
{
    struct tg_list *ready = ready_calls();
    struct tg_list *node;

    tg_list_push(ready, &call->ready);
    if (door.taken)
        return;
    door.taken = true;
    while ((node = tg_list_first(ready)) != NULL) {
        tg_list_remove(node);
        resume(TG_CONTAINER_OF(node, struct tg_call, ready));
    }
    door.taken = false;
}

static void on_wall_timer(struct tg_timer *timer)
{
    struct tg_call *call = TG_CONTAINER_OF(timer, struct tg_call, wall_timer);
    struct tg_failure failure = {.outcome = TG_CALL_WALL_BUDGET};
    char place[TG_METER_WHERE_SIZE];

    tg__failure_place(call->co, place, sizeof place);
    (void)tg_error_set(&failure.error, TG_ERR_BUDGET,
                       "%stook longer than %llums in all (script.wall_budget)", place,
                       (unsigned long long)call->wall_ms);
    drop_wait(call);
    finish_failed(call, &failure);
}

struct tg_call *tg_call_create(struct tg_generation *generation, enum tg_call_kind kind,
                               uint64_t conn_serial, uint64_t wall_ms, tg_call_done_fn on_done,
                               void *owner)
{
    struct tg_call *call = tg_calloc(1, sizeof *call);

    if (call == NULL)
        return NULL;
    call->generation = generation;
    call->kind = kind;
    call->conn_serial = conn_serial;
    call->wall_ms = wall_ms;
    call->on_done = on_done;
    call->owner = owner;
    tg_list_init(&call->ready);
    if (!take_coroutine(call)) {
        tg_free(call);
        return NULL;
    }
    tg_list_push(&generation->calls, &call->node);
    generation->call_count++;
    return call;
}

/* Moves what the builder makes to the coroutine; ends the call when it fails. */
static bool build_into(struct tg_call *call, int (*builder)(lua_State *L), void *ud, int *count)
{
    struct build build = {.builder = builder, .ud = ud, .to = call->co};
    struct tg_failure failure = {.outcome = TG_CALL_OK};

    failure.outcome = run_on_main(call->generation, l_build, &build, &failure.error);
    *count = build.count;
    if (failure.outcome == TG_CALL_OK)
        return true;
    finish_failed(call, &failure);
    return false;
}

void tg_call_start(struct tg_call *call, int (*builder)(struct lua_State *L), void *ud)
{
    struct tg_timers *timers = call->generation->env->timers;
    int count;

    call->started_ns = tg_clock_monotonic_ns();
    if (!build_into(call, builder, ud, &count))
        return;
    call->args = count - 1;
    if (call->wall_ms != 0 && timers != NULL &&
        tg_timer_start(timers, &call->wall_timer, call->wall_ms, on_wall_timer) != TG_ERR_OK) {
        /* A hook that nobody would end in time must not begin. */
        finish(call, TG_CALL_MEMORY, 0, "out of memory for the wall timer", NULL);
        return;
    }
    take_turn(call);
}

void tg_call_wake(struct tg_call *call, int (*builder)(struct lua_State *L), void *ud)
{
    int count = 0;

    assert(call->wait_cancel != NULL && !call->running);
    call->wait_cancel = NULL;
    call->wait = NULL;
    lua_settop(call->co, 0);
    if (builder != NULL && !build_into(call, builder, ud, &count))
        return;
    call->args = count;
    take_turn(call);
}

void tg_call_cancel(struct tg_call *call)
{
    if (call->cancelled)
        return;
    call->cancelled = true;
    if (call->running)
        return;
    drop_wait(call);
    finish(call, TG_CALL_ERROR, 0, NULL, NULL);
}

void tg_call_abandon(struct tg_call *call, const char *why)
{
    struct tg_failure failure = {.outcome = TG_CALL_ERROR};

    assert(!call->running);
    if (call->cancelled)
        return;
    (void)tg_error_set(&failure.error, TG_ERR_CLOSED, "%s", why);
    drop_wait(call);
    finish_failed(call, &failure);
}

enum tg_call_outcome tg_call_protect(struct tg_generation *generation,
                                     int (*builder)(struct lua_State *L), void *ud,
                                     struct tg_error *error)
{
    struct build build = {.builder = builder, .ud = ud};

    return run_on_main(generation, l_build, &build, error);
}

struct load {
    int (*builder)(lua_State *L);
    void *ud;
    int ref;
};

static int l_load(lua_State *L)
{
    struct load *load = lua_touserdata(L, 1);

    lua_settop(L, 0);
    lua_pushlightuserdata(L, load->ud);
    if (load->builder(L) == 0)
        lua_pushnil(L);
    load->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

enum tg_call_outcome tg_call_load(struct tg_generation *generation,
                                  int (*builder)(struct lua_State *L), void *ud,
                                  struct tg_error *error)
{
    struct load load = {.builder = builder, .ud = ud, .ref = LUA_NOREF};
    enum tg_call_outcome outcome = run_on_main(generation, l_load, &load, error);

    if (outcome != TG_CALL_OK)
        return outcome;
    /* A registry slot that exists: reading and freeing it allocates nothing. */
    lua_rawgeti(generation->L, LUA_REGISTRYINDEX, load.ref);
    luaL_unref(generation->L, LUA_REGISTRYINDEX, load.ref);
    return outcome;
}
