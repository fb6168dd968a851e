/* scan.c - looks at the text of a policy's files, in a state of its own that runs nothing of the policy.
 *
 * No meter and no memory limit: all that runs is ours, over files that the source has bounded.
 */
#include "script/check/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/memory.h"
#include "base/suggest.h"
#include "script/api/api.h"
#include "script/call/call.h"
#include "script/hooks/credentials.h"
#include "script/plain.h"
#include "script/policy/generation_internal.h"
#include "script/policy/library.h"
#include "script/policy/lines.h"
#include "script/policy/loader.h"
#include "script/policy/policy_check.h"
#include "script/sandbox/sandbox.h"

#define TEXT_SIZE 1024
#define NAMES_MAX 512

/* The libraries that the sandbox made are frozen; this is what `pairs` of policy code sees. */
static const char list_globals[] =
    "local globals, list = ...\n"
    "local pairs, type, sort = globals.pairs, globals.type, globals.table.sort\n"
    "local names = {}\n"
    "for name, value in pairs(globals) do\n"
    "  names[#names + 1] = name\n"
    "  if type(value) == 'table' and name ~= '_G' then\n"
    "    for field in pairs(value) do names[#names + 1] = name .. '.' .. field end\n"
    "  end\n"
    "end\n"
    "sort(names)\n"
    "for i = 1, #names do list(names[i]) end\n";

static const struct tg_scan *scan_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* --- tools -------------------------------------------------------------------------------------- */

/* report(severity, code, path, line, column, text) */
static int l_report(lua_State *L)
{
    const struct tg_scan *scan = scan_of(L);
    char text[TEXT_SIZE];
    struct tg_finding finding = {
        .severity =
            strcmp(luaL_checkstring(L, 1), "error") == 0 ? TG_SEVERITY_ERROR : TG_SEVERITY_WARNING,
        .code = luaL_checkstring(L, 2),
        .file = luaL_checkstring(L, 3),
        .line = (int)luaL_checkinteger(L, 4),
        .column = (int)luaL_checkinteger(L, 5),
    };

    (void)snprintf(text, sizeof text, "%s", luaL_checkstring(L, 6));
    tg_finding_cut_hint(&finding, text);
    scan->report(scan->ctx, &finding);
    return 0;
}

/* file(path) */
static int l_file(lua_State *L)
{
    const struct tg_scan *scan = scan_of(L);

    scan->file(scan->ctx, luaL_checkstring(L, 1));
    return 0;
}

/* compile(text, path) -> nil, or what LuaJIT says is wrong with it */
static int l_compile(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *name = lua_pushfstring(L, "@%s", luaL_checkstring(L, 2));

    if (luaL_loadbufferx(L, text, len, name, "t") != 0)
        return 1;
    lua_pushnil(L);
    return 1;
}

/* suggest(name, names) -> the nearest of them, or nil */
static int l_suggest(lua_State *L)
{
    const char *names[NAMES_MAX];
    const char *name = luaL_checkstring(L, 1);
    size_t count = 0;

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    for (size_t i = 1; i <= lua_objlen(L, 2) && count < NAMES_MAX; i++) {
        lua_rawgeti(L, 2, (int)i);
        names[count++] = lua_tostring(L, -1); /* stays in the table */
        lua_pop(L, 1);
    }
    lua_pushstring(L, tg_suggest(name, names, count)); /* NULL pushes nil */
    return 1;
}

/* line_of_key(text, key) -> where the key gets its value; 0: not found */
static int l_line_of_key(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    lua_pushinteger(L, tg_lines_of_key(text, len, luaL_checkstring(L, 2)));
    return 1;
}

static void push_tools(lua_State *L, const struct tg_scan *scan)
{
    static const luaL_Reg rows[] = {
        {"report", l_report},           {"file", l_file},
        {"compile", l_compile},         {"suggest", l_suggest},
        {"line_of_key", l_line_of_key}, {NULL, NULL},
    };

    lua_newtable(L);
    for (const luaL_Reg *row = rows; row->name != NULL; row++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)scan);
        lua_pushcclosure(L, row->func, 1);
        lua_setfield(L, -2, row->name);
    }
    tg_sandbox_push_policy(L);
    lua_setfield(L, -2, "globals");
    tg_loader_push_require(L, 0);
    lua_setfield(L, -2, "require");
}

/* --- facts -------------------------------------------------------------------------------------- */

static void set_string(lua_State *L, const char *key, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

static void set_bool(lua_State *L, const char *key, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, key);
}

static void push_modules(lua_State *L, const struct tg_source *source)
{
    const struct tg_source_file *file;

    lua_newtable(L);
    for (size_t i = 0; (file = tg_source_at(source, i)) != NULL; i++) {
        if (tg_source_find(source, file->module) != file)
            continue; /* x/init.lua beside x.lua: nobody gets it */
        lua_createtable(L, 0, 3);
        set_string(L, "path", file->path);
        lua_pushlstring(L, file->data, file->len);
        lua_setfield(L, -2, "text");
        set_bool(L, "used", tg_source_is_used(source, file));
        lua_setfield(L, -2, file->module);
    }
}

/* "authenticate(conn, credentials)" -> { "conn", "credentials" } */
static void push_signature(lua_State *L, const char *signature)
{
    const char *at = strchr(signature, '(');
    int count = 0;

    lua_newtable(L);
    while (at != NULL && *at != ')' && *at != '\0') {
        at += strspn(at, "(, ");
        size_t len = strcspn(at, ",) ");
        if (len > 0) {
            lua_pushlstring(L, at, len);
            lua_rawseti(L, -2, ++count);
        }
        at += len;
    }
}

static void push_signatures(lua_State *L)
{
    lua_newtable(L);
    for (int hook = 0; hook < TG_HOOKS; hook++) {
        push_signature(L, tg_policy_signature((enum tg_hook)hook));
        lua_setfield(L, -2, tg_hook_names[hook]);
    }
    push_signature(L, "agent(run, input)");
    lua_setfield(L, -2, "agent");
    push_signature(L, "service(conn, context)");
    lua_setfield(L, -2, "service");
}

/* Replaces the table on top by a list of its keys. */
static void keys_of(lua_State *L)
{
    int table = lua_gettop(L), count = 0;

    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, table + 1, ++count);
    }
    lua_remove(L, table);
}

static void push_names(lua_State *L, const char *const *names)
{
    lua_newtable(L);
    for (int i = 0; names[i] != NULL; i++) {
        lua_pushstring(L, names[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

static void push_fields(lua_State *L)
{
    lua_newtable(L);
    tg_api_push_members(L, "tidegate.Conn");
    keys_of(L);
    lua_setfield(L, -2, "conn");
    tg_api_push_members(L, "tidegate.Run");
    keys_of(L);
    lua_setfield(L, -2, "run");
    push_names(L, tg_request_fields);
    lua_setfield(L, -2, "request");
    push_names(L, tg_credentials_fields);
    lua_setfield(L, -2, "credentials");
}

static void push_given(lua_State *L, const struct tg_script_env *env)
{
    lua_newtable(L);
    for (size_t i = 0; i < env->option_count; i++) {
        lua_createtable(L, 0, 2);
        set_string(L, "path", env->options[i].path);
        set_bool(L, "from_text", env->options[i].from_text);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_facts(lua_State *L, const struct tg_scan *scan)
{
    static const char *const empty[] = {"hooks", "agents", "services", "declared"};

    if (scan->facts != NULL) {
        tg_plain_push(L, tg_buffer_head(scan->facts), scan->facts->len);
    } else {
        lua_newtable(L);
        for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
            lua_newtable(L);
            lua_setfield(L, -2, empty[i]);
        }
    }
    set_bool(L, "loaded", scan->facts != NULL);
    set_bool(L, "folder", scan->folder);
    set_bool(L, "has_origins", scan->has_origins);
    push_modules(L, scan->source);
    lua_setfield(L, -2, "modules");
    push_signatures(L);
    lua_setfield(L, -2, "signatures");
    push_fields(L);
    lua_setfield(L, -2, "fields");
    push_given(L, scan->env);
    lua_setfield(L, -2, "given");
}

/* --- the state ---------------------------------------------------------------------------------- */

static int open_state(lua_State *L)
{
    tg_loader_open(L);
    tg_sandbox_open(L, true);
    tg_library_open_types(L);
    return 0;
}

static int run_scan(lua_State *L)
{
    const struct tg_scan *scan = lua_touserdata(L, 1);

    luaL_checkstack(L, 20, "check");
    tg_loader_push_library(L, "tidegate._check");
    push_facts(L, scan);
    push_tools(L, scan);
    lua_call(L, 2, 0);
    return 0;
}

/* Runs the builder in a new state with the sandbox and the library. */
static enum tg_err run_in_state(struct tg_script_env *env, struct tg_source *source,
                                int (*builder)(lua_State *L), void *ud, struct tg_error *error)
{
    struct tg_generation generation = {.env = env, .source = source};

    (void)tg_error_set(error, TG_ERR_NOMEM, "out of memory");
    if (tg__generation_open(&generation) != TG_ERR_OK)
        return TG_ERR_NOMEM;
    enum tg_call_outcome outcome = tg_call_protect(&generation, open_state, NULL, error);
    if (outcome == TG_CALL_OK)
        outcome = tg_call_protect(&generation, builder, ud, error);
    tg__generation_close(&generation);
    return outcome == TG_CALL_OK ? TG_ERR_OK : TG_ERR_SCRIPT;
}

enum tg_err tg_scan_run(const struct tg_scan *scan, struct tg_error *error)
{
    struct tg_script_env env = {.options = scan->env->options,
                                .option_count = scan->env->option_count,
                                .server = scan->env->server};
    struct tg_scan copy = *scan;

    return run_in_state(&env, scan->source, run_scan, &copy, error);
}

struct listing {
    void (*fn)(void *ctx, const char *name);
    void *ctx;
};

static int l_list(lua_State *L)
{
    const struct listing *listing = lua_touserdata(L, lua_upvalueindex(1));

    listing->fn(listing->ctx, luaL_checkstring(L, 1));
    return 0;
}

static int run_listing(lua_State *L)
{
    if (luaL_loadbufferx(L, list_globals, sizeof list_globals - 1, "=globals", "t") != 0)
        return lua_error(L);
    tg_sandbox_push_policy(L);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, l_list, 1);
    lua_call(L, 2, 0);
    return 0;
}

enum tg_err tg_scan_each_global(void (*fn)(void *ctx, const char *name), void *ctx,
                                struct tg_error *error)
{
    struct tg_script_env env = {.options = NULL};
    struct listing listing = {.fn = fn, .ctx = ctx};

    return run_in_state(&env, NULL, run_listing, &listing, error);
}
