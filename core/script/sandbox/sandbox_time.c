/* sandbox_time.c - os.time and os.date by the clock that everything else goes by (base/clock.h), so that a
 * script in a simulation does not see two times.
 */
#include "script/sandbox/sandbox_internal.h"

#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"

/* Whole ones, as C's time. */
static lua_Number now_seconds(void)
{
    uint64_t seconds = tg_clock_wall_ms() / 1000;

    return (lua_Number)seconds;
}

static int call_original(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* os.time([table]) */
static int l_time(lua_State *L)
{
    if (!lua_isnoneornil(L, 1))
        return call_original(L);
    lua_pushnumber(L, now_seconds());
    return 1;
}

/* os.date([format [, time]]) */
static int l_date(lua_State *L)
{
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_pushnumber(L, now_seconds());
    }
    return call_original(L);
}

static void wrap(lua_State *L, int library, const char *name, lua_CFunction function)
{
    lua_getfield(L, library, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, library, name);
}

void tg__sandbox_use_clock(struct lua_State *L, int globals)
{
    lua_getfield(L, globals, "os");
    wrap(L, lua_gettop(L), "time", l_time);
    wrap(L, lua_gettop(L), "date", l_date);
    lua_pop(L, 1);
}
