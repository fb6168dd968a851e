/* spec_state.c - the state that busted runs in.
 *
 *     call.h's trusted door ─> lua/tidegate/_specs.lua ─> busted ─> the spec ─> tidegate.testing
 *                                                                                  └─> native.c ─> app/
 *
 * The state is a generation without a policy, so that json and plain data work in it as in any other.
 */
#include "script/testing/spec_state.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "script/api/json.h"
#include "script/call/call.h"
#include "script/policy/generation_internal.h"
#include "script/policy/loader.h"
#include "script/testing/native.h"

struct run {
    const struct tg_specs *specs;
    int status;
};

/* For package.preload: the file of lua/ that the upvalue names. */
static int l_load_private(lua_State *L)
{
    tg_loader_push_private(L, lua_tostring(L, lua_upvalueindex(1)));
    lua_call(L, 0, 1);
    return 1;
}

static int l_load_native(lua_State *L)
{
    tg_testing_push_native(L, lua_touserdata(L, lua_upvalueindex(1)));
    return 1;
}

static void push_preload(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_remove(L, -2);
}

static void preload_modules(lua_State *L, const struct tg_testing_backend *backend)
{
    static const char *const files[][2] = {
        {"tidegate.testing", "tidegate/testing.lua"},
        {"tidegate._testing_client", "tidegate/_testing_client.lua"},
        {"tidegate._testing_http", "tidegate/_testing_http.lua"},
        {"tidegate._testing_websocket", "tidegate/_testing_websocket.lua"},
        {"tidegate._testing_jwt", "tidegate/_testing_jwt.lua"},
        {"tidegate._testing_process", "tidegate/_testing_process.lua"},
        {"tidegate._testing_options", "tidegate/_testing_options.lua"},
        {"tidegate._testing_request", "tidegate/_testing_request.lua"},
        {"tidegate._busted", "tidegate/_busted.lua"},
    };

    push_preload(L);
    lua_pushcfunction(L, tg_lua_json_open);
    lua_setfield(L, -2, "tidegate.json");
    lua_pushlightuserdata(L, (void *)(uintptr_t)backend);
    lua_pushcclosure(L, l_load_native, 1);
    lua_setfield(L, -2, "tidegate._simulation");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        lua_pushstring(L, files[i][1]);
        lua_pushcclosure(L, l_load_private, 1);
        lua_setfield(L, -2, files[i][0]);
    }
    lua_pop(L, 1);
}

static void push_list(lua_State *L, const char *const *texts, size_t count)
{
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushstring(L, texts[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static int run_specs(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);

    luaL_openlibs(L);
    tg_lua_json_open_types(L);
    preload_modules(L, run->specs->backend);
    tg_loader_push_private(L, "tidegate/_specs.lua");
    push_list(L, run->specs->paths, run->specs->path_count);
    push_list(L, run->specs->arguments, run->specs->argument_count);
    lua_call(L, 2, 1);
    run->status = (int)lua_tointeger(L, -1);
    return 0;
}

enum tg_err tg_specs_run(const struct tg_specs *specs, int *status, struct tg_error *error)
{
    struct tg_script_env env = {.worker = 0};
    struct tg_generation generation = {.env = &env};
    struct run run = {.specs = specs};

    if (tg__generation_open(&generation) != TG_ERR_OK)
        return tg_error_set(error, TG_ERR_NOMEM, "out of memory");
    enum tg_call_outcome outcome = tg_call_trusted(&generation, run_specs, &run, error);
    tg__generation_close(&generation);
    *status = run.status;
    return outcome == TG_CALL_OK ? TG_ERR_OK : TG_ERR_SCRIPT;
}
