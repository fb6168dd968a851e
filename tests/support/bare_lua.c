/* bare_lua.c - a Lua state with the script API's types but no generation. */
#include "support/bare_lua.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "script/api/crypto.h"
#include "script/api/json.h"
#include "script/hooks/view.h"
#include "script/policy/generation.h"

static long allocations_left = -1;
static char last_error[1024];

static void *allocate(void *ud, void *block, size_t old_size, size_t new_size)
{
    (void)ud;
    if (new_size == 0) {
        free(block);
        return NULL;
    }
    if (new_size > old_size && allocations_left >= 0) {
        if (allocations_left == 0)
            return NULL;
        allocations_left--;
    }
    return realloc(block, new_size);
}

/* wrap(table): a view named "thing". */
static int l_wrap(lua_State *L)
{
    lua_settop(L, 1);
    tg_view_wrap(L, "thing", 0);
    return 1;
}

static void set_global(lua_State *L, const char *name, lua_CFunction open)
{
    lua_pushcfunction(L, open);
    lua_call(L, 0, 1);
    lua_setglobal(L, name);
}

struct lua_State *bare_lua_open(void)
{
    static struct tg_script_env env; /* there is nothing in it */
    struct tg_generation *generation = calloc(1, sizeof *generation);
    assert_non_null(generation);
    generation->env = &env;
    lua_State *L = lua_newstate(allocate, generation);
    assert_non_null(L);
    luaL_openlibs(L);
    tg_lua_json_open_types(L);
    tg_view_open(L);
    set_global(L, "json", tg_lua_json_open);
    set_global(L, "crypto", tg_crypto_open);
    lua_pushcfunction(L, l_wrap);
    lua_setglobal(L, "wrap");
    lua_settop(L, 0);
    return L;
}

void bare_lua_close(struct lua_State *L)
{
    struct tg_generation *generation = tg_generation_of(L);
    bare_lua_fail_after(-1);
    lua_close(L);
    free(generation);
}

int bare_lua_setup(void **state)
{
    *state = bare_lua_open();
    return 0;
}

int bare_lua_teardown(void **state)
{
    bare_lua_close(*state);
    return 0;
}

void bare_lua_run(struct lua_State *L, const char *code)
{
    if (luaL_loadbuffer(L, code, strlen(code), "=test") != 0 ||
        lua_pcall(L, 0, LUA_MULTRET, 0) != 0)
        fail_msg("%s\nin: %s", lua_tostring(L, -1), code);
}

const char *bare_lua_error(struct lua_State *L, const char *code)
{
    int top = lua_gettop(L);
    if (luaL_loadbuffer(L, code, strlen(code), "=test") == 0 && lua_pcall(L, 0, 0, 0) == 0)
        fail_msg("should raise: %s", code);
    const char *text = lua_tostring(L, -1);
    snprintf(last_error, sizeof last_error, "%s", text == NULL ? luaL_typename(L, -1) : text);
    lua_settop(L, top);
    return last_error;
}

void bare_lua_fail_after(long successes)
{
    allocations_left = successes;
}
