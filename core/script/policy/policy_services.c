/* policy_services.c - takes a policy's services: checks that become a part of `prepare`. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/services.h"
#include "script/policy/generation.h"
#include "script/policy/mistakes.h"
#include "script/policy/policy_check_internal.h"

#define NAME_BYTES_MAX 63

/* Key at -2, value on top; both stay. */
static bool check_service(struct tg_policy_look *c)
{
    char key[TG__PLACE_SIZE];
    const char *name = lua_type(c->L, -2) == LUA_TSTRING ? lua_tostring(c->L, -2) : "";

    if (name[0] == '\0' || strlen(name) > NAME_BYTES_MAX || lua_objlen(c->L, -2) != strlen(name)) {
        tg_mistakes_add(c->mistakes, "bad-service",
                        "%s: services have names of 1 to 63 bytes: services = { database = "
                        "function(conn, context) … end }",
                        tg__policy_place(c, "services"));
        return false;
    }
    if (lua_isfunction(c->L, -1))
        return true;
    (void)snprintf(key, sizeof key, "services.%.100s", name);
    tg_mistakes_add(c->mistakes, "bad-service",
                    "%s: the service %s is a %s; it must be a function(conn, context) … end that "
                    "returns true, or nil and why it is missing",
                    tg__policy_place(c, key), name, luaL_typename(c->L, -1));
    return false;
}

void tg__policy_take_services(struct tg_policy_look *c)
{
    lua_State *L = c->L;
    size_t count = 0;

    lua_getfield(L, c->policy, "services");
    int services = lua_gettop(L);
    if (!lua_istable(L, services)) {
        if (!lua_isnil(L, services))
            tg_mistakes_add(c->mistakes, "bad-service",
                            "%s: services is a %s, not a table: services = { database = "
                            "function(conn, context) … end }",
                            tg__policy_place(c, "services"), luaL_typename(L, services));
        lua_pop(L, 1);
        return;
    }
    lua_newtable(L); /* a copy, as of agents */
    lua_pushnil(L);
    while (lua_next(L, services) != 0) {
        if (!check_service(c)) {
            lua_pop(L, 1);
            continue;
        }
        count++;
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, services + 1);
    }
    if (count > 0) {
        c->generation->services_ref =
            tg_services_build(L, services + 1, c->generation->hook_refs[TG_HOOK_PREPARE]);
        lua_settop(L, services + 1);
        c->generation->checks_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_settop(L, services - 1);
}
