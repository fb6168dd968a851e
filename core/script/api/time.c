/* time.c - the module tidegate.time: clocks, and a sleep that suspends the script and not the worker. */
#include "script/api/time.h"

#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "base/memory.h"
#include "script/api/api.h"
#include "script/call/call.h"

#define SLEEP_SECONDS_MAX 86400.0

struct nap {
    struct tg_timer timer;
    struct tg_call *call; /* borrowed: it ends the nap before it ends */
};

/* time.now() -> unix seconds, with a fraction */
static int l_time_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)tg_clock_wall_ms() / 1000);
    return 1;
}

/* time.monotonic() -> seconds from some start, never set back */
static int l_time_monotonic(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)tg_clock_monotonic_ns() / 1e9);
    return 1;
}

static void on_nap_over(struct tg_timer *timer)
{
    struct nap *nap = TG_CONTAINER_OF(timer, struct nap, timer);
    struct tg_call *call = nap->call;
    tg_free(nap);
    tg_call_wake(call, NULL, NULL);
}

static void cancel_nap(struct tg_call *call, void *wait)
{
    struct nap *nap = wait;
    tg_timer_stop(call->generation->env->timers, &nap->timer);
    tg_free(nap);
}

/* time.sleep(seconds) */
static int l_time_sleep(lua_State *L)
{
    tg_api_contexts(L, "time.sleep", TG_IN_CALL);
    lua_Number seconds = lua_type(L, 1) == LUA_TNUMBER ? lua_tonumber(L, 1) : -1;
    if (!(seconds >= 0 && seconds <= SLEEP_SECONDS_MAX))
        return luaL_error(L, "time.sleep: seconds from 0 to 86400 expected");
    struct nap *nap = tg_calloc(1, sizeof *nap);
    if (nap == NULL)
        return luaL_error(L, "not enough memory");
    nap->call = tg_call_current(L);
    if (tg_timer_start(nap->call->generation->env->timers, &nap->timer, (uint64_t)(seconds * 1000),
                       on_nap_over) != TG_ERR_OK) {
        tg_free(nap);
        return luaL_error(L, "not enough memory");
    }
    return tg_call_suspend(L, cancel_nap, nap); /* frees the nap when it cannot */
}

static const luaL_Reg functions[] = {
    {"now", l_time_now},
    {"monotonic", l_time_monotonic},
    {"sleep", l_time_sleep},
    {NULL, NULL},
};

int tg_time_open(lua_State *L)
{
    lua_createtable(L, 0, 3);
    tg_api_set_functions(L, functions);
    return 1;
}
