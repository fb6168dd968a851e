/* call_coroutine.c - the coroutines that calls run in: those that ended well are used again.
 *
 * I1  A coroutine in the pool has an empty stack and has never failed.
 */
#include <lauxlib.h>
#include <lua.h>

#include "script/call/call_internal.h"

static int l_new_coroutine(lua_State *L)
{
    struct tg_call *call = lua_touserdata(L, 1);

    call->co = lua_newthread(L);
    call->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

bool tg__call_take_coroutine(struct tg_call *call)
{
    struct tg_generation *generation = call->generation;

    if (generation->pool_count == 0)
        return tg__door_run(generation, l_new_coroutine, call, NULL) == TG_CALL_OK;
    call->co_ref = generation->pool_refs[--generation->pool_count];
    lua_rawgeti(generation->L, LUA_REGISTRYINDEX, call->co_ref);
    call->co = lua_tothread(generation->L, -1);
    lua_pop(generation->L, 1);
    return true;
}

void tg__call_give_coroutine(struct tg_call *call, bool reusable)
{
    struct tg_generation *generation = call->generation;
    size_t room = sizeof generation->pool_refs / sizeof generation->pool_refs[0];

    lua_settop(call->co, 0);
    if (reusable && generation->pool_count < room)
        generation->pool_refs[generation->pool_count++] = call->co_ref;
    else
        luaL_unref(generation->L, LUA_REGISTRYINDEX, call->co_ref);
}
