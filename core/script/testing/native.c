/* native.c - a simulated host as a userdata, and what concerns the host as a whole.
 *
 * Every function takes the host first. The state is trusted: misuse by testing.lua raises, and that is all.
 */
#include "script/testing/native.h"

#include <string.h>

#include "base/memory.h"
#include "script/testing/native_internal.h"

static char metatable_key;

static struct tg_testing_host *test_host(lua_State *L)
{
    struct tg_testing_host *host = lua_touserdata(L, 1);

    if (host == NULL || !lua_getmetatable(L, 1))
        return NULL;
    lua_pushlightuserdata(L, &metatable_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    bool is_host = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return is_host ? host : NULL;
}

struct tg_testing_host *tg__testing_check(lua_State *L)
{
    struct tg_testing_host *host = test_host(L);

    if (host == NULL)
        luaL_error(L, "a host is expected");
    else if (host->sim == NULL)
        luaL_error(L, "the host is closed");
    return host;
}

int tg__testing_failure(lua_State *L, const struct tg_testing_host *host)
{
    lua_pushnil(L);
    lua_pushstring(L, host->error.text);
    return 2;
}

static void close_host(struct tg_testing_host *host)
{
    struct tg_sim *sim = host->sim;

    host->sim = NULL;
    if (sim != NULL)
        host->backend->destroy(sim);
}

static int l_host_gc(lua_State *L)
{
    struct tg_testing_host *host = lua_touserdata(L, 1);

    close_host(host);
    tg_buffer_fini(&host->scratch);
    return 0;
}

/* create(unix seconds) -> host | nil, why; 0 seconds: now */
static int l_create(lua_State *L)
{
    const struct tg_testing_backend *backend = lua_touserdata(L, lua_upvalueindex(1));
    lua_Number seconds = luaL_checknumber(L, 1);
    struct tg_testing_host *host = lua_newuserdata(L, sizeof *host);

    *host = (struct tg_testing_host){.backend = backend};
    lua_pushlightuserdata(L, &metatable_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_setmetatable(L, -2);
    if (backend->create(&host->sim, (uint64_t)(seconds * 1000), &host->error) != TG_ERR_OK)
        return tg__testing_failure(L, host);
    return 1;
}

/* set(host, key, index, value, where) -> true | nil, why */
static int l_set(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    struct tg_config_leaf leaf = {
        .key = luaL_checkstring(L, 2),
        .index = (size_t)luaL_checkinteger(L, 3),
        .where = luaL_checkstring(L, 5),
    };

    switch (lua_type(L, 4)) {
    case LUA_TSTRING:
        leaf.kind = TG_LEAF_STRING;
        leaf.string = lua_tostring(L, 4);
        break;
    case LUA_TNUMBER:
        leaf.kind = TG_LEAF_NUMBER;
        leaf.number = lua_tonumber(L, 4);
        break;
    case LUA_TBOOLEAN:
        leaf.kind = TG_LEAF_BOOL;
        leaf.flag = lua_toboolean(L, 4) != 0;
        break;
    default:
        leaf.kind = TG_LEAF_TABLE;
    }
    if (host->backend->set(host->sim, &leaf, &host->error) != TG_ERR_OK)
        return tg__testing_failure(L, host);
    lua_pushboolean(L, 1);
    return 1;
}

/* start(host) -> true | nil, why */
static int l_start(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);

    if (host->backend->start(host->sim, &host->error) != TG_ERR_OK)
        return tg__testing_failure(L, host);
    lua_pushboolean(L, 1);
    return 1;
}

static int load_source(lua_State *L, struct tg_testing_host *host, struct tg_source *source)
{
    enum tg_err err = host->backend->load(host->sim, source, &host->error);

    tg_source_release(source);
    if (err != TG_ERR_OK)
        return tg__testing_failure(L, host);
    lua_pushstring(L, host->backend->version(host->sim));
    return 1;
}

/* load(host, path) -> version | nil, why */
static int l_load(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    const char *path = luaL_checkstring(L, 2);
    struct tg_source *source;

    if (tg_source_read(&source, path, &host->error) != TG_ERR_OK)
        return tg__testing_failure(L, host);
    return load_source(L, host, source);
}

/* load_files(host, name, names, texts) -> version | nil, why; the lists are of the same length */
static int l_load_files(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    const char *name = luaL_checkstring(L, 2);
    size_t count = lua_objlen(L, 3);
    struct tg_source_text *files = lua_newuserdata(L, (count + 1) * sizeof *files);
    struct tg_source *source;

    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 3, (int)i + 1);
        lua_rawgeti(L, 4, (int)i + 1);
        files[i].path = luaL_checkstring(L, -2); /* both stay: they are in the lists */
        files[i].data = luaL_checklstring(L, -1, &files[i].len);
        lua_pop(L, 2);
    }
    if (tg_source_from_texts(&source, name, files, count, &host->error) != TG_ERR_OK)
        return tg__testing_failure(L, host);
    return load_source(L, host, source);
}

/* rollback(host) -> version | nil, why */
static int l_rollback(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);

    if (host->backend->rollback(host->sim, &host->error) != TG_ERR_OK)
        return tg__testing_failure(L, host);
    lua_pushstring(L, host->backend->version(host->sim));
    return 1;
}

static int l_version(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);

    lua_pushstring(L, host->backend->version(host->sim));
    return 1;
}

static int l_drain(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);

    host->backend->drain(host->sim);
    return 0;
}

/* close(host); a second time nothing happens */
static int l_close(lua_State *L)
{
    struct tg_testing_host *host = test_host(L);

    if (host == NULL)
        return luaL_error(L, "a host is expected");
    close_host(host);
    return 0;
}

/* advance(host, ms) -> "quiet" | "http" | "restless", milliseconds left */
static int l_advance(lua_State *L)
{
    static const char *const names[] = {
        [TG_SIM_QUIET] = "quiet", [TG_SIM_WANTS_HTTP] = "http", [TG_SIM_RESTLESS] = "restless"};
    struct tg_testing_host *host = tg__testing_check(L);
    uint64_t left_ms = 0;
    enum tg_sim_rest rest =
        host->backend->advance(host->sim, (uint64_t)luaL_checknumber(L, 2), &left_ms);

    lua_pushstring(L, names[rest]);
    lua_pushnumber(L, (lua_Number)left_ms);
    return 2;
}

/* now(host) -> unix seconds */
static int l_now(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);

    lua_pushnumber(L, (lua_Number)host->backend->wall_ms(host->sim) / 1000);
    return 1;
}

/* metrics(host) -> Prometheus text */
static int l_metrics(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);

    tg_buffer_clear(&host->scratch);
    if (host->backend->metrics(host->sim, &host->scratch) != TG_ERR_OK)
        return luaL_error(L, "out of memory");
    lua_pushlstring(L, (const char *)tg_buffer_head(&host->scratch), host->scratch.len);
    return 1;
}

/* log_line(host, i) -> JSON | nil; from 1 */
static int l_log_line(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    const char *line = host->backend->log_line(host->sim, (size_t)luaL_checkinteger(L, 2) - 1);

    if (line == NULL)
        lua_pushnil(L);
    else
        lua_pushstring(L, line);
    return 1;
}

static void add_functions(lua_State *L, const luaL_Reg *rows,
                          const struct tg_testing_backend *backend)
{
    for (; rows->name != NULL; rows++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)backend);
        lua_pushcclosure(L, rows->func, 1);
        lua_setfield(L, -2, rows->name);
    }
}

void tg_testing_push_native(struct lua_State *L, const struct tg_testing_backend *backend)
{
    static const luaL_Reg functions[] = {
        {"create", l_create},
        {"set", l_set},
        {"start", l_start},
        {"load", l_load},
        {"load_files", l_load_files},
        {"rollback", l_rollback},
        {"version", l_version},
        {"drain", l_drain},
        {"close", l_close},
        {"advance", l_advance},
        {"now", l_now},
        {"metrics", l_metrics},
        {"log_line", l_log_line},
        {NULL, NULL},
    };

    lua_pushlightuserdata(L, &metatable_key);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_host_gc);
    lua_setfield(L, -2, "__gc");
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    add_functions(L, functions, backend);
    add_functions(L, tg__testing_client_functions, backend);
    add_functions(L, tg__testing_http_functions, backend);
    add_functions(L, tg__testing_process_functions, backend);
}
