/* call_door.c - protected work, and the meter around everything that runs Lua.
 *
 * I1  The meter is not nested: what runs while Lua does is on the meter already.
 * I2  No allocation of ours is held across a call that can raise: failure texts are copied last.
 *
 * What a failure is called is in call_failure.c.
 */
#include <lauxlib.h>
#include <lua.h>

#include "base/memory.h"
#include "script/call/call_failure.h"
#include "script/call/call_internal.h"
#include "script/policy/rebuild.h"

/* Enough for a new coroutine's guaranteed stack. */
#define BUILT_MAX 17

/* What a reference never is (the registry keeps its list of free ones there). */
#define NO_REF 0

static _Thread_local bool metered; /* inside Lua, on the meter */

bool tg__door_is_free(void)
{
    return !metered;
}

void tg__door_enter(struct tg_generation *generation)
{
    if (generation->env->meter != NULL)
        tg_meter_begin(generation->env->meter, generation->L);
    metered = true;
}

bool tg__door_leave(struct tg_generation *generation)
{
    metered = false;
    return generation->env->meter != NULL && tg_meter_end(generation->env->meter);
}

enum tg_call_outcome tg__door_outcome(struct tg_generation *generation, int status, bool expired)
{
    if (status == LUA_ERRERR)
        tg__rebuild_ask(generation, TG_REBUILD_INTERNAL);
    if (expired && tg_meter_in_library(generation->env->meter))
        tg__rebuild_ask(generation, TG_REBUILD_KILLED);
    if (expired)
        return TG_CALL_CPU_BUDGET;
    if (status == 0)
        return TG_CALL_OK;
    if (status == LUA_YIELD)
        return TG_CALL_YIELDED;
    return status == LUA_ERRMEM ? TG_CALL_MEMORY : TG_CALL_ERROR;
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

char *tg__door_traceback(struct tg_generation *generation, struct lua_State *co)
{
    struct trace trace = {.co = co};

    run_unlimited(generation, l_trace, &trace);
    return trace.text;
}

static int l_collect(lua_State *L)
{
    (void)lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

void tg__door_collect(struct tg_generation *generation)
{
    run_unlimited(generation, l_collect, NULL);
    /* More than half of what a new state would have free is taken by what the policy keeps: with so little
     * left, call after call would fail. */
    size_t loaded = generation->memory_loaded;
    if (generation->memory_used > loaded && generation->memory_max > loaded &&
        generation->memory_used - loaded > (generation->memory_max - loaded) / 2)
        tg__rebuild_ask(generation, TG_REBUILD_MEMORY);
}

/* The error object of what failed is on top of the main state. */
static void describe(struct tg_generation *generation, enum tg_call_outcome outcome,
                     struct tg_error *error)
{
    struct tg_failure failure = {.outcome = outcome};

    tg__failure_describe(generation, generation->L, &failure);
    if (error != NULL)
        *error = failure.error;
}

/* After protected work on the main state, which was `height` high before. */
static enum tg_call_outcome settle(struct tg_generation *generation, int height, int status,
                                   bool expired, struct tg_error *error)
{
    enum tg_call_outcome outcome = tg__door_outcome(generation, status, expired);

    if (outcome != TG_CALL_OK)
        describe(generation, outcome, error);
    lua_settop(generation->L, height);
    if (outcome == TG_CALL_MEMORY)
        tg__door_collect(generation);
    return outcome;
}

enum tg_call_outcome tg__door_run(struct tg_generation *generation,
                                  int (*function)(struct lua_State *L), void *ud,
                                  struct tg_error *error)
{
    int height = lua_gettop(generation->L);
    bool meter = !metered;

    if (meter)
        tg__door_enter(generation);
    int status = lua_cpcall(generation->L, function, ud);
    bool expired = meter && tg__door_leave(generation);
    return settle(generation, height, status, expired, error);
}

struct tg_build {
    int (*builder)(lua_State *L);
    void *ud;
    lua_State *to; /* where the built values go; NULL: they stay */
    bool drop;     /* or go nowhere */
    int count;
};

static int l_build(lua_State *L)
{
    struct tg_build *build = tg_generation_of(L)->build;

    /* lua_cpcall has pushed it already. This may raise: LuaJIT keeps a table of their upper halves. */
    if (lua_gettop(L) == 0)
        lua_pushlightuserdata(L, build->ud);
    build->count = build->builder(L);
    if (build->drop)
        return 0;
    if (build->count > BUILT_MAX)
        return luaL_error(L, "too many arguments: %d", build->count);
    if (build->to == NULL)
        return build->count;
    lua_xmove(L, build->to, build->count);
    return 0;
}

static int l_open(lua_State *L)
{
    lua_pushcfunction(L, l_build);
    tg_generation_of(L)->build_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

bool tg_call_open(struct tg_generation *generation)
{
    generation->build_ref = NO_REF;
    return tg__door_run(generation, l_open, NULL, NULL) == TG_CALL_OK;
}

/* lua_cpcall makes a function for each of its calls, a block for the collector: 400 instructions of a hook's
 * 3,300. This one is always the same. */
static int run_build(struct tg_generation *generation, lua_State *L, struct tg_build *build)
{
    struct tg_build *outer = generation->build;
    int status;

    generation->build = build;
    if (generation->build_ref == NO_REF) {
        status = lua_cpcall(L, l_build, build->ud);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, generation->build_ref);
        status = lua_pcall(L, 0, LUA_MULTRET, 0);
    }
    generation->build = outer;
    return status;
}

int tg__door_push(struct tg_generation *generation, struct lua_State *co,
                  int (*builder)(struct lua_State *L), void *ud)
{
    struct tg_build build = {.builder = builder, .ud = ud};

    return run_build(generation, co, &build);
}

enum tg_call_outcome tg__door_build(struct tg_generation *generation, struct lua_State *to,
                                    int (*builder)(struct lua_State *L), void *ud, int *count,
                                    struct tg_error *error)
{
    struct tg_build build = {.builder = builder, .ud = ud, .to = to, .drop = to == NULL};
    int height = lua_gettop(generation->L);
    bool meter = !metered;

    if (meter)
        tg__door_enter(generation);
    int status = run_build(generation, generation->L, &build);
    bool expired = meter && tg__door_leave(generation);
    *count = build.count;
    return settle(generation, height, status, expired, error);
}

enum tg_call_outcome tg_call_protect(struct tg_generation *generation,
                                     int (*builder)(struct lua_State *L), void *ud,
                                     struct tg_error *error)
{
    int count;

    return tg__door_build(generation, NULL, builder, ud, &count, error);
}

struct load {
    int (*builder)(lua_State *L);
    void *ud;
    int ref;
    bool memory; /* it failed so; raised again it would be an error like others */
};

static int l_load(lua_State *L)
{
    struct load *load = lua_touserdata(L, 1);

    lua_settop(L, 0);
    lua_pushcfunction(L, tg__failure_handler);
    lua_pushcfunction(L, load->builder);
    lua_pushlightuserdata(L, load->ud);
    int status = lua_pcall(L, 1, 1, 1);
    load->memory = status == LUA_ERRMEM;
    if (status != 0)
        return lua_error(L);
    load->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

enum tg_call_outcome tg_call_load(struct tg_generation *generation,
                                  int (*builder)(struct lua_State *L), void *ud,
                                  struct tg_error *error)
{
    struct load load = {.builder = builder, .ud = ud, .ref = LUA_NOREF};
    enum tg_call_outcome outcome = tg__door_run(generation, l_load, &load, error);

    if (outcome == TG_CALL_ERROR && load.memory) {
        describe(generation, TG_CALL_MEMORY, error);
        return TG_CALL_MEMORY;
    }
    if (outcome != TG_CALL_OK)
        return outcome;
    /* A registry slot that exists: reading and freeing it allocates nothing. */
    lua_rawgeti(generation->L, LUA_REGISTRYINDEX, load.ref);
    luaL_unref(generation->L, LUA_REGISTRYINDEX, load.ref);
    return outcome;
}

enum tg_call_outcome tg_call_trusted(struct tg_generation *generation,
                                     int (*builder)(struct lua_State *L), void *ud,
                                     struct tg_error *error)
{
    struct tg_build build = {.builder = builder, .ud = ud, .drop = true};
    int height = lua_gettop(generation->L);
    enum tg_call_outcome outcome =
        tg__door_outcome(generation, run_build(generation, generation->L, &build), false);

    if (outcome != TG_CALL_OK)
        describe(generation, outcome, error);
    lua_settop(generation->L, height);
    return outcome;
}
