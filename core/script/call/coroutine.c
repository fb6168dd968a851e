/* coroutine.c - the C half of the coroutines that scripts make; see lua/tidegate/_coroutine.lua.
 *
 * I1  parents[co] is whoever resumed the script's coroutine co, from its resume until it has yielded,
 *     ended or failed; also while it waits for the host. The host's own coroutines are never a key, and
 *     no script can reach one.
 */
#include "script/call/coroutine.h"

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/policy/generation.h"
#include "script/policy/loader.h"

static char marker_key;  /* its address is the marker */
static char parents_key; /* registry: coroutine -> who resumed it */

void tg_coroutine_push_marker(struct lua_State *L)
{
    lua_pushlightuserdata(L, &marker_key);
}

/* What xpcall calls in place of the script's handler. After a kill the handler would run inside the hook,
 * where no hook can stop it. */
static int l_guarded(lua_State *L)
{
    if (tg_api_out_of_time(L)) {
        lua_settop(L, 1);
        return 1;
    }
    tg_api_check_nesting(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* guard(handler) -> function */
static int l_guard(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushcclosure(L, l_guarded, 1);
    return 1;
}

static void push_parents(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    /* Weak on both sides: an abandoned coroutine and who resumed it often hold each other. */
    lua_pushliteral(L, "kv");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushlightuserdata(L, &parents_key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void tg_coroutine_push(struct lua_State *L, int base)
{
    tg_loader_push_private(L, "tidegate/_coroutine.lua");
    lua_pushvalue(L, base);
    tg_coroutine_push_marker(L);
    push_parents(L);
    lua_pushcfunction(L, l_guard);
    lua_call(L, 4, 2);
}

bool tg_coroutine_reaches(struct lua_State *L, struct lua_State *outermost)
{
    bool reaches = lua_isyieldable(L) != 0;
    lua_State *co = L;

    luaL_checkstack(L, 4, "coroutine");
    lua_pushlightuserdata(L, &parents_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    (void)lua_pushthread(L);
    while (reaches && co != outermost) {
        lua_rawget(L, -2); /* the coroutine on top -> its parent */
        co = lua_tothread(L, -1);
        reaches = co != NULL && lua_isyieldable(co) != 0;
    }
    lua_pop(L, 2);
    return reaches;
}

int tg_coroutine_chain(struct lua_State *L, struct lua_State **chain, int max)
{
    int top = lua_gettop(L);
    int count = 0;

    chain[count++] = L;
    lua_pushlightuserdata(L, &parents_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    (void)lua_pushthread(L);
    while (count < max && lua_istable(L, top + 1)) {
        lua_rawget(L, top + 1); /* the coroutine on top -> who resumed it */
        lua_State *parent = lua_tothread(L, -1);
        if (parent == NULL && lua_toboolean(L, -1))
            parent = tg_generation_of(L)->L;
        if (parent == NULL)
            break;
        chain[count++] = parent;
        if (parent == tg_generation_of(L)->L)
            break;
    }
    lua_settop(L, top);
    return count;
}
