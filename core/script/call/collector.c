/* collector.c - the pace of LuaJIT's collector.
 *
 *   watch ─> [cycle ends: the watcher's finalizer] ─> alive, begin_at, LuaJIT's pause ─> watch
 *
 * I1  The watcher is reached from nowhere, so each cycle ends it, and LuaJIT runs its finalizer before it works out
 *     from the pause when the next cycle begins.
 * I2  When there is no memory for the next watcher the next call makes it; until then the pause stays.
 */
#include "script/call/collector.h"

#include <lauxlib.h>
#include <lua.h>

#include "script/policy/generation.h"

/* Garbage that is worth a cycle, however little is alive. */
#define GARBAGE ((size_t)512 << 10)
#define SMALL_GARBAGE ((size_t)64 << 10)
/* Of large blocks, before the collector is made to do more. */
#define PACE_BYTES ((size_t)128 << 10)

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void set_pause(lua_State *L, struct tg_generation *generation)
{
    struct tg_collector *collector = &generation->collector;
    size_t alive = generation->memory_used, max = generation->memory_max;
    size_t room = larger(alive, GARBAGE), left = max > alive ? max - alive : 0;

    /* What comes while a cycle is under way needs room, too. */
    if (room > left / 2)
        room = larger(left / 2, SMALL_GARBAGE);
    collector->alive = alive;
    collector->begin_at = alive + room;
    collector->small = 0;
    (void)lua_gc(L, LUA_GCSETPAUSE, (int)(100 + room * 100 / alive));
}

static void watch(lua_State *L, struct tg_generation *generation);

static int l_watcher_gc(lua_State *L)
{
    struct tg_generation *generation = tg_generation_of(L);

    generation->collector.watched = false;
    if (generation->collector.closing)
        return 0;
    set_pause(L, generation);
    watch(L, generation);
    return 0;
}

static void watch(lua_State *L, struct tg_generation *generation)
{
    (void)lua_newuserdata(L, 0);
    if (luaL_newmetatable(L, "tidegate.collector")) {
        lua_pushcfunction(L, l_watcher_gc);
        lua_setfield(L, -2, "__gc");
    }
    (void)lua_setmetatable(L, -2);
    lua_pop(L, 1);
    generation->collector.watched = true;
}

void tg_collector_keep_pace(lua_State *L)
{
    struct tg_generation *generation = tg_generation_of(L);
    struct tg_collector *collector = &generation->collector;
    size_t used = generation->memory_used, max = generation->memory_max;

    if (!collector->watched)
        watch(L, generation);
    if (collector->small >= larger(collector->alive, SMALL_GARBAGE)) {
        collector->small = 0;
        (void)lua_gc(L, LUA_GCSTEP, 0); /* the first: the others come by themselves */
        return;
    }
    if (collector->large < PACE_BYTES)
        return;
    size_t kib = used < collector->begin_at ? 0 : collector->large / 1024 / 2;
    /* With little room left: soon enough for a collection to be through before it is used up. */
    if (used > max / 2) {
        size_t room = used < max ? max - used : 0;
        kib += collector->large / 1024 * (used / (room + 1));
    }
    if (kib > used / 1024)
        kib = used / 1024;
    collector->large = 0;
    if (kib > 0)
        (void)lua_gc(L, LUA_GCSTEP, (int)kib);
}

void tg_collector_close(struct tg_generation *generation)
{
    generation->collector.closing = true;
}
