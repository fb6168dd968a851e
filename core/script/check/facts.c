/* facts.c - what a policy that loaded is, as plain data for the scan of its text. */
#include "script/check/facts.h"

#include <lauxlib.h>
#include <lua.h>

#include "script/call/call.h"
#include "script/plain.h"
#include "script/policy/generation.h"
#include "script/policy/options.h"

#define FACTS_BYTES_MAX ((size_t)4 << 20)

struct work {
    struct tg_generation *generation;
    struct tg_buffer *out;
    enum tg_err err;
    struct tg_error *error;
};

/* Replaces the function on top by its place. */
static void push_place(lua_State *L)
{
    lua_Debug ar;

    (void)lua_getinfo(L, ">S", &ar);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, ar.source[0] == '@' ? ar.source + 1 : ar.source);
    lua_setfield(L, -2, "path");
    lua_pushinteger(L, ar.linedefined);
    lua_setfield(L, -2, "line");
    lua_pushinteger(L, ar.lastlinedefined);
    lua_setfield(L, -2, "last");
}

static void push_hooks(lua_State *L, const struct tg_generation *generation)
{
    lua_newtable(L);
    for (int hook = 0; hook < TG_HOOKS; hook++) {
        if (generation->hook_refs[hook] == LUA_NOREF)
            continue;
        lua_rawgeti(L, LUA_REGISTRYINDEX, generation->hook_refs[hook]);
        push_place(L);
        lua_setfield(L, -2, tg_hook_names[hook]);
    }
}

/* Of the functions in the table at `ref`. */
static void push_places(lua_State *L, int ref)
{
    lua_newtable(L);
    int places = lua_gettop(L);
    if (ref == LUA_NOREF)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    lua_pushnil(L);
    while (lua_next(L, places + 1) != 0) {
        push_place(L);
        lua_setfield(L, places, lua_tostring(L, -2));
    }
    lua_settop(L, places);
}

static int build(lua_State *L)
{
    struct work *work = lua_touserdata(L, 1);

    luaL_checkstack(L, 16, "check");
    lua_createtable(L, 0, 4);
    int facts = lua_gettop(L);
    push_hooks(L, work->generation);
    lua_setfield(L, facts, "hooks");
    push_places(L, work->generation->agents_ref);
    lua_setfield(L, facts, "agents");
    push_places(L, work->generation->checks_ref);
    lua_setfield(L, facts, "services");
    tg_options_push_declared(L);
    lua_setfield(L, facts, "declared");
    work->err = tg_plain_encode(L, facts, "facts", FACTS_BYTES_MAX, work->out, work->error);
    return 0;
}

enum tg_err tg_check_facts(struct tg_generation *generation, struct tg_buffer *out,
                           struct tg_error *error)
{
    struct work work = {.generation = generation, .out = out, .error = error};

    if (tg_call_protect(generation, build, &work, error) != TG_CALL_OK)
        return TG_ERR_NOMEM;
    return work.err;
}
