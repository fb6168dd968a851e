/* json.c - the module tidegate.json. */
#include "script/api/json.h"

#include <lauxlib.h>
#include <lua.h>

#include "base/json_reader.h"
#include "script/api/json_marks.h"
#include "script/hooks/view.h"
#include "script/policy/generation.h"

/* Kept between uses up to this size. */
#define SCRATCH_KEEP_BYTES ((size_t)64 << 10)

static char scratch_key; /* registry: what generation->json_scratch points to */

static int l_scratch_gc(lua_State *L)
{
    tg_buffer_fini(lua_touserdata(L, 1));
    return 0;
}

void tg_lua_json_open_types(lua_State *L)
{
    tg_json_marks_open(L);
    lua_pushlightuserdata(L, &scratch_key);
    struct tg_buffer *scratch = lua_newuserdata(L, sizeof *scratch);
    *scratch = TG_BUFFER_INIT;
    tg_generation_of(L)->json_scratch = scratch;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_scratch_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

struct tg_buffer *tg_lua_json_scratch(lua_State *L)
{
    struct tg_buffer *scratch = tg_generation_of(L)->json_scratch;
    if (scratch->capacity > SCRATCH_KEEP_BYTES)
        tg_buffer_fini(scratch);
    else
        tg_buffer_clear(scratch);
    return scratch;
}

/* json.encode(value) -> text | nil, why */
static int l_json_encode(lua_State *L)
{
    struct tg_error error;
    luaL_checkany(L, 1);
    struct tg_buffer *scratch = tg_lua_json_scratch(L);
    if (tg_lua_json_encode(L, 1, "value", scratch, &error) != TG_ERR_OK) {
        lua_pushnil(L);
        lua_pushstring(L, error.text);
        return 2;
    }
    lua_pushlstring(L, (const char *)tg_buffer_head(scratch), scratch->len);
    return 1;
}

/* json.decode(text) -> value | nil, why */
static int l_json_decode(lua_State *L)
{
    size_t len = 0;
    struct tg_error error;
    struct tg_json_value value = {0};
    luaL_checktype(L, 1, LUA_TSTRING);
    const char *text = lua_tolstring(L, 1, &len);
    enum tg_err err = TG_ERR_OK;
    if (len > TG_LUA_JSON_MAX)
        err = tg_error_set(&error, TG_ERR_LIMIT, "text is larger than %zu bytes", TG_LUA_JSON_MAX);
    else
        err = tg_json_parse(text, len, &value, &error);
    if (err != TG_ERR_OK) {
        lua_pushnil(L);
        lua_pushstring(L, error.text);
        return 2;
    }
    tg_lua_json_push(L, value.raw, value.len);
    return 1;
}

static int mark_argument(lua_State *L, enum tg_json_mark mark)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getmetatable(L, 1) && tg_json_mark_of(L, 1) == TG_JSON_UNMARKED)
        return luaL_error(L, "the table has a metatable of its own and cannot be marked");
    lua_settop(L, 1);
    tg_json_mark(L, 1, mark);
    return 1;
}

/* json.array([table]) -> the same table, marked */
static int l_json_array(lua_State *L)
{
    return mark_argument(L, TG_JSON_MARKED_ARRAY);
}

/* json.object([table]) -> the same table, marked */
static int l_json_object(lua_State *L)
{
    return mark_argument(L, TG_JSON_MARKED_OBJECT);
}

static const luaL_Reg functions[] = {
    {"encode", l_json_encode},
    {"decode", l_json_decode},
    {"array", l_json_array},
    {"object", l_json_object},
    {NULL, NULL},
};

int tg_lua_json_open(lua_State *L)
{
    lua_createtable(L, 0, 5);
    for (const luaL_Reg *row = functions; row->name != NULL; row++) {
        lua_pushcfunction(L, row->func);
        lua_setfield(L, -2, row->name);
    }
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
