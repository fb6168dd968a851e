/* json_marks.c - which tables are arrays or objects for JSON. */
#include "script/api/json_marks.h"

#include <stdbool.h>

#include <lua.h>

static char keys[TG_JSON_MARKED_OBJECT + 1]; /* registry keys of the metatables */

static void push_metatable(lua_State *L, enum tg_json_mark mark)
{
    lua_pushlightuserdata(L, &keys[mark]);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

void tg_json_marks_open(lua_State *L)
{
    static const char *const names[] = {
        [TG_JSON_MARKED_ARRAY] = "json.array",
        [TG_JSON_MARKED_OBJECT] = "json.object",
    };
    for (int mark = TG_JSON_MARKED_ARRAY; mark <= TG_JSON_MARKED_OBJECT; mark++) {
        lua_pushlightuserdata(L, &keys[mark]);
        lua_createtable(L, 0, 1);
        lua_pushstring(L,
                       names[mark]); /* what getmetatable shows, and what makes it unchangeable */
        lua_setfield(L, -2, "__metatable");
        lua_rawset(L, LUA_REGISTRYINDEX);
    }
}

void tg_json_mark(lua_State *L, int index, enum tg_json_mark mark)
{
    if (index < 0 && index > LUA_REGISTRYINDEX)
        index += lua_gettop(L) + 1;
    push_metatable(L, mark);
    lua_setmetatable(L, index);
}

static bool has_mark(lua_State *L, enum tg_json_mark mark)
{
    push_metatable(L, mark);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 1);
    return same;
}

enum tg_json_mark tg_json_mark_of(lua_State *L, int index)
{
    enum tg_json_mark mark = TG_JSON_UNMARKED;
    if (!lua_getmetatable(L, index))
        return mark;
    if (has_mark(L, TG_JSON_MARKED_ARRAY))
        mark = TG_JSON_MARKED_ARRAY;
    else if (has_mark(L, TG_JSON_MARKED_OBJECT))
        mark = TG_JSON_MARKED_OBJECT;
    lua_pop(L, 1);
    return mark;
}
