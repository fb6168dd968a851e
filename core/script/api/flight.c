/* flight.c - see flight.h.
 *
 *     landed ─[begin]─> under way ─[land, or the root of who began it ends]─> landed, who waited goes on
 *
 * I1  While under way the flight is anchored: it is on a list of the call that began it.
 * I2  Who waits has a deadline of its own. Landing only brings it forward, so nobody is resumed from inside
 *     a call that ends.
 */
#include "script/api/flight.h"

#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/memory.h"
#include "script/api/api.h"
#include "script/call/call.h"

#define WAIT_SECONDS_MAX 60.0

struct flight {
    struct tg_call_held held;
    bool under_way;
    int anchor;
    struct tg_generation *generation; /* borrowed; owns the state that this is in */
    struct tg_list waiters;           /* struct waiter.node */
};

struct waiter {
    struct tg_list node;
    struct tg_timer timer;
    struct tg_call *call; /* borrowed: it ends the wait before it ends */
};

static char metatable_key;

static void on_wait_over(struct tg_timer *timer)
{
    struct waiter *waiter = TG_CONTAINER_OF(timer, struct waiter, timer);
    struct tg_call *call = waiter->call;
    tg_list_remove(&waiter->node);
    tg_free(waiter);
    tg_call_wake(call, NULL, NULL);
}

static void cancel_wait(struct tg_call *call, void *wait)
{
    struct waiter *waiter = wait;
    tg_list_remove(&waiter->node);
    tg_timer_stop(call->generation->env->timers, &waiter->timer);
    tg_free(waiter);
}

static void land(struct flight *flight)
{
    struct tg_list *node;
    struct tg_timers *timers = flight->generation->env->timers;
    if (!flight->under_way)
        return;
    flight->under_way = false;
    tg_list_remove(&flight->held.node);
    while ((node = tg_list_first(&flight->waiters)) != NULL) {
        struct waiter *waiter = TG_CONTAINER_OF(node, struct waiter, node);
        tg_list_remove(node);
        if (tg_timer_start(timers, &waiter->timer, 0, on_wait_over) != TG_ERR_OK)
            continue; /* it runs on, until its deadline */
    }
    luaL_unref(flight->generation->L, LUA_REGISTRYINDEX, flight->anchor);
    flight->anchor = LUA_NOREF;
}

static void on_dropped(struct tg_call_held *held)
{
    land(TG_CONTAINER_OF(held, struct flight, held));
}

static struct flight *check_flight(lua_State *L)
{
    struct flight *flight = tg_api_test_userdata(L, 1, &metatable_key);
    if (flight == NULL)
        luaL_error(L, "flight expected, got %s", tg_api_type_name(L, 1));
    return flight;
}

/* new_flight() -> flight, landed */
static int l_new_flight(lua_State *L)
{
    struct flight *flight = lua_newuserdata(L, sizeof *flight);
    memset(flight, 0, sizeof *flight);
    flight->anchor = LUA_NOREF;
    flight->generation = tg_generation_of(L);
    flight->held.drop = on_dropped;
    tg_list_init(&flight->held.node);
    tg_list_init(&flight->waiters);
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
    return 1;
}

/* begin(flight) -> true: this call does it | false: another one does */
static int l_begin(lua_State *L)
{
    struct flight *flight = check_flight(L);
    struct tg_call *call = tg_call_current(L);
    bool mine = !flight->under_way && call != NULL;
    if (mine) {
        lua_pushvalue(L, 1);
        flight->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
        flight->under_way = true;
        tg_call_hold(call, &flight->held);
    }
    lua_pushboolean(L, mine);
    return 1;
}

/* wait(flight, seconds): until it has landed, or that long */
static int l_wait(lua_State *L)
{
    struct flight *flight = check_flight(L);
    lua_Number seconds = luaL_checknumber(L, 2);
    struct tg_call *call = tg_call_current(L);
    if (!flight->under_way || call == NULL)
        return 0;
    luaL_argcheck(L, seconds >= 0 && seconds <= WAIT_SECONDS_MAX, 2, "seconds expected");
    struct waiter *waiter = tg_calloc(1, sizeof *waiter);
    if (waiter == NULL)
        return luaL_error(L, "not enough memory");
    waiter->call = call;
    tg_list_init(&waiter->node);
    if (tg_timer_start(call->generation->env->timers, &waiter->timer, (uint64_t)(seconds * 1000),
                       on_wait_over) != TG_ERR_OK) {
        tg_free(waiter);
        return luaL_error(L, "not enough memory");
    }
    tg_list_push(&flight->waiters, &waiter->node);
    return tg_call_suspend(L, cancel_wait, waiter); /* frees it when it cannot */
}

/* land(flight): who waits goes on */
static int l_land(lua_State *L)
{
    land(check_flight(L));
    return 0;
}

static const luaL_Reg functions[] = {
    {"new_flight", l_new_flight},
    {"begin", l_begin},
    {"wait", l_wait},
    {"land", l_land},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {{NULL, NULL}};

void tg_flight_open_type(struct lua_State *L)
{
    tg_api_set_metatable(L, &metatable_key, metamethods);
}

void tg_flight_add_functions(struct lua_State *L)
{
    tg_api_set_functions(L, functions);
}
