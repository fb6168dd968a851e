/* sandbox_library.c - functions of the libraries that need a bound or must know read-only tables; and
 * load, which takes text only.
 *
 * The wrappers are in lua/tidegate/_library.lua; here is what only C can answer them.
 *
 * What load takes is bounded twice. LuaJIT's parser passes 60 KiB a millisecond, but walks a list of
 * jumps from its beginning for each `or`, `and`, `elseif`, `goto` and `break`: 6500 in a row take 50 ms,
 * 50,000 take three seconds. A policy's own files may have more: they are parsed on the main thread first,
 * whose budget then ends a load that took too long before any worker sees it.
 */
#include "script/sandbox/sandbox_internal.h"

#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/call/memory.h"
#include "script/hooks/view.h"
#include "script/policy/loader.h"
#include "script/sandbox/frozen.h"
#include "script/sandbox/sandbox.h"

#define CHUNK_BYTES_MAX ((size_t)256 << 10)
#define CHUNK_JUMPS_MAX 2500
#define CHUNK_TOO_LARGE "the text to load is larger than 256KiB"

static char load_key; /* registry: what makes load, from _library.lua */

static int l_is_read_only(lua_State *L)
{
    lua_pushboolean(L, tg_view_is(L, 1) || tg_frozen_is(L, 1));
    return 1;
}

static int l_refuse(lua_State *L)
{
    if (!tg_view_is(L, 1))
        return tg_frozen_refuse_write(L, 1);
    lua_settop(L, 2);
    return tg_view_refuse_write(L, 1, "?");
}

static int l_readable(lua_State *L)
{
    if (tg_view_is(L, 1))
        tg_view_unwrap(L, 1);
    else
        tg_frozen_unwrap(L, 1);
    return 1;
}

/* Bytes of the argument as string.rep takes it; 0 for what it will not take. */
static double length_of(lua_State *L, int index)
{
    int type = lua_type(L, index);

    if (type == LUA_TSTRING)
        return (double)lua_objlen(L, index);
    return type == LUA_TNUMBER ? 32 : 0;
}

/* too_large(s, n, sep): whether string.rep would make more than it may */
static int l_too_large(lua_State *L)
{
    double size = lua_tonumber(L, 2) * (length_of(L, 1) + length_of(L, 3));

    lua_pushboolean(L, size > (double)TG_SCRIPT_STRING_MAX);
    return 1;
}

static int l_refuse_size(lua_State *L)
{
    return luaL_error(L, "string.rep: the result would be larger than %dMiB",
                      (int)(TG_SCRIPT_STRING_MAX >> 20));
}

static int l_check_nesting(lua_State *L)
{
    tg_api_check_nesting(L, 2);
    return 0;
}

/* comparable(a, b): whether `<` has an answer, be it by a metamethod */
static int l_comparable(lua_State *L)
{
    int type = lua_type(L, 1);
    bool simple = type == LUA_TNUMBER || type == LUA_TSTRING;

    lua_settop(L, 2);
    if (simple && lua_type(L, 2) == type)
        lua_pushboolean(L, 1);
    else if (luaL_getmetafield(L, 1, "__lt") && luaL_getmetafield(L, 2, "__lt"))
        lua_pushboolean(L, lua_rawequal(L, -1, -2));
    else
        lua_pushboolean(L, 0);
    return 1;
}

void tg__sandbox_guard_libraries(struct lua_State *L, int globals, int base)
{
    static const luaL_Reg core[] = {
        {"is_read_only", l_is_read_only}, {"refuse", l_refuse},
        {"readable", l_readable},         {"too_large", l_too_large},
        {"refuse_size", l_refuse_size},   {"check_nesting", l_check_nesting},
        {"comparable", l_comparable},     {NULL, NULL},
    };

    lua_pushlightuserdata(L, &load_key);
    tg_loader_push_private(L, "tidegate/_library.lua");
    lua_pushvalue(L, base);
    lua_getfield(L, globals, "table");
    lua_getfield(L, globals, "string");
    lua_getfield(L, globals, "os");
    lua_newtable(L);
    tg_api_set_functions(L, core);
    tg__sandbox_add_patterns(L);
    tg__sandbox_add_gsub(L);
    lua_pushnumber(L, (lua_Number)CHUNK_BYTES_MAX);
    lua_setfield(L, -2, "chunk_max");
    lua_pushliteral(L, CHUNK_TOO_LARGE);
    lua_setfield(L, -2, "chunk_too_large");
    tg_loader_push_private(L, "tidegate/_sort.lua");
    lua_call(L, 6, 1);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_jump(const char *word, size_t len)
{
    static const char *const words[] = {"and", "or", "elseif", "goto", "break"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i]) == len && memcmp(words[i], word, len) == 0)
            return true;
    }
    return false;
}

bool tg_sandbox_jumps_within(const char *text, size_t len, size_t max)
{
    size_t jumps = 0;

    for (size_t i = 0; i < len; i++) {
        size_t from = i;
        while (i < len && is_word(text[i]))
            i++;
        if (is_jump(text + from, i - from) && ++jumps > max)
            return false;
    }
    return true;
}

/* NULL, or why the text is not loaded. */
static const char *chunk_refusal(const char *text, size_t len)
{
    if (len > CHUNK_BYTES_MAX)
        return CHUNK_TOO_LARGE;
    if (!tg_sandbox_jumps_within(text, len, CHUNK_JUMPS_MAX))
        return "the text to load has more than 2500 times and, or, elseif, goto or break";
    return NULL;
}

static int call_original(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* load(text [, name [, mode [, env]]]); upvalues: LuaJIT's own, the globals. */
static int l_load(lua_State *L)
{
    bool has_env = lua_gettop(L) >= 4;
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *refusal = chunk_refusal(text, len);

    (void)luaL_optstring(L, 2, NULL);
    if (refusal != NULL)
        return tg_api_push_failure(L, refusal);
    lua_settop(L, 4);
    if (!has_env) {
        lua_pushvalue(L, lua_upvalueindex(2));
        lua_replace(L, 4);
    }
    if (lua_isnil(L, 2)) {
        lua_pushvalue(L, 1);
        lua_replace(L, 2);
    }
    lua_pushliteral(L, "t");
    lua_replace(L, 3);
    return call_original(L);
}

/* loadstring(text [, name]) */
static int l_loadstring(lua_State *L)
{
    (void)luaL_checkstring(L, 1);
    lua_settop(L, 2);
    return l_load(L);
}

void tg__sandbox_add_load(struct lua_State *L, int globals, int base)
{
    lua_getfield(L, base, "load");
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, l_loadstring, 2);
    lua_setfield(L, globals, "loadstring");

    lua_pushlightuserdata(L, &load_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_getfield(L, base, "load");
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, l_load, 2);
    lua_call(L, 1, 1);
    lua_setfield(L, globals, "load");
}
