/* version.c - asks LuaJIT for its version.
 *
 * The header only knows what the program was compiled with; the loaded library says it as
 * `jit.version`, which takes a state for a moment.
 */
#include "script/policy/version.h"

#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>

void tg_script_luajit_version(char *out, size_t size)
{
    lua_State *L = luaL_newstate();

    snprintf(out, size, "%s", LUAJIT_VERSION);
    if (L == NULL)
        return;
    luaL_openlibs(L);
    lua_getglobal(L, "jit");
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "version");
        if (lua_isstring(L, -1))
            snprintf(out, size, "%s", lua_tostring(L, -1));
    }
    lua_close(L);
}
