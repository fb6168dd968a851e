/* auth.c - what lua/tidegate/_auth asks of the core: what a block returned if it is no plain value, errors at
 * the policy's line, and one asking for all.
 */
#include "script/api/auth.h"

#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/api/flight.h"
#include "script/api/tide.h"
#include "script/policy/generation.h"
#include "script/policy/loader.h"
#include "script/sandbox/sandbox.h"

#define OUR_FILES "@tidegate/_auth"

/* raise(text): at the innermost line that is not the library's */
static int l_raise(lua_State *L)
{
    return tg_api_raise_outside(L, OUR_FILES);
}

/* describe(value) -> short text */
static int l_describe(lua_State *L)
{
    lua_pushstring(L, tg_api_type_name(L, 1));
    return 1;
}

/* marker(value) -> "need_message" | "reject", status, reason | nil */
static int l_marker(lua_State *L)
{
    lua_settop(L, 1);
    const struct tg_marker *marker = tg_marker_at(L, 1);
    if (marker == NULL || marker->kind == TG_MARKER_DEGRADED)
        return 0;
    if (marker->kind == TG_MARKER_NEED_MESSAGE) {
        lua_pushliteral(L, "need_message");
        return 1;
    }
    lua_pushliteral(L, "reject");
    lua_pushinteger(L, marker->status);
    lua_pushstring(L, marker->reason);
    return 3;
}

/* count(event): one of tg_auth_event_names */
static int l_count(lua_State *L)
{
    const char *event = luaL_checkstring(L, 1);
    struct tg_metrics *metrics = tg_generation_of(L)->env->metrics;
    size_t i = 0;
    while (i < TG_AUTH_EVENTS && strcmp(tg_auth_event_names[i], event) != 0)
        i++;
    luaL_argcheck(L, i < TG_AUTH_EVENTS, 1, "no such event");
    if (metrics != NULL)
        tg_counter_add(&metrics->auth_events[i], 1);
    return 0;
}

static const luaL_Reg core[] = {
    {"raise", l_raise}, {"describe", l_describe}, {"marker", l_marker}, {"count", l_count},
    {NULL, NULL},
};

int tg_lua_auth_open(struct lua_State *L)
{
    tg_loader_push_private(L, "tidegate/_auth/init.lua");
    tg_sandbox_push_library(L);
    (void)lua_setfenv(L, -2);
    lua_createtable(L, 0, 8);
    tg_api_set_functions(L, core);
    tg_flight_add_functions(L);
    lua_call(L, 1, 1);
    return 1;
}
