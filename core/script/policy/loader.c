/* loader.c - what `require` finds.
 *
 * Modules are kept by name in a registry table. Which modules are being loaded right now is read off the
 * call stack, where every require under way has its name as first argument: so a module that failed
 * inside a pcall leaves nothing behind, and a loop is told with its names.
 *
 * I1  A policy's file is compiled as text, with the policy's globals.
 * I2  A policy gets library tables frozen; the library gets them as they are.
 */
#include "script/policy/loader.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/embedded.h"
#include "base/suggest.h"
#include "script/api/api.h"
#include "script/call/call.h"
#include "script/policy/generation.h"
#include "script/policy/library.h"
#include "script/policy/source.h"
#include "script/sandbox/frozen.h"
#include "script/sandbox/sandbox.h"

#define PATH_SIZE 256
#define CANDIDATES_MAX 128
#define FILE_JUMPS_MAX 20000 /* in a row: half a second */
#define LIBRARY "tidegate"

static char loaded_key; /* registry: module -> value, unfrozen */

static const struct {
    const char *module;
    const char *hint;
} hints[] = {
    {"bit", "it is a global"},
    {"cjson", "use tidegate.json"},
    {"cjson.safe", "use tidegate.json"},
    {"coroutine", "it is a global"},
    {"debug", "of it, debug.traceback is there as a global"},
    {"dkjson", "use tidegate.json"},
    {"ffi", "a policy cannot call C; use the tidegate.* modules"},
    {"io", "use tidegate.log to write and tidegate.http to fetch"},
    {"jit", "policies run in the interpreter, so that their time can be limited"},
    {"jwt", "use tidegate.jwt"},
    {"lfs", "a policy has no files"},
    {"math", "it is a global"},
    {"openssl", "use tidegate.crypto"},
    {"os", "of it, time, date, clock and difftime are there as a global"},
    {"resty.jwt", "use tidegate.jwt"},
    {"socket", "use tidegate.http"},
    {"socket.http", "use tidegate.http"},
    {"ssl", "use tidegate.http"},
    {"string", "it is a global"},
    {"table", "it is a global"},
    {"table.clear", "set the fields to nil, or use a new table"},
    {"table.new", "use {}"},
};

static const char *hint_for(const char *module)
{
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        if (strcmp(hints[i].module, module) == 0)
            return hints[i].hint;
    }
    return NULL;
}

static bool is_library(const char *module)
{
    size_t len = sizeof LIBRARY - 1;

    return strncmp(module, LIBRARY, len) == 0 && (module[len] == '\0' || module[len] == '.');
}

/* --- the library's files ------------------------------------------------------------------------ */

static const struct tg_embedded_file *find_embedded(const char *file)
{
    for (size_t i = 0; i < tg_embedded_files_count; i++) {
        if (strcmp(tg_embedded_files[i].name, file) == 0)
            return &tg_embedded_files[i];
    }
    return NULL;
}

/* Compiles the text; the function is pushed without an environment of its own. */
static void push_chunk(lua_State *L, const char *data, size_t len, const char *path)
{
    const char *name = lua_pushfstring(L, "@%s", path);

    if (luaL_loadbufferx(L, data, len, name, "t") != 0)
        lua_error(L);
    lua_remove(L, -2);
}

/* The same for a file of the policy. Parsing it is one C call that no budget can end. */
static void push_policy_chunk(lua_State *L, const struct tg_source_file *file)
{
    if (!tg_sandbox_jumps_within(file->data, file->len, FILE_JUMPS_MAX))
        luaL_error(L, "%s: more than %d times and, or, elseif, goto or break in one file; split it",
                   file->path, FILE_JUMPS_MAX);
    push_chunk(L, file->data, file->len, file->path);
}

/* While the source tree is there, its files are the library: no build between an edit and a test. */
static bool push_source_file(lua_State *L, const char *file)
{
#ifdef TG_SOURCE_LUA_DIR
    char path[sizeof TG_SOURCE_LUA_DIR + PATH_SIZE];
    struct stat status;

    (void)snprintf(path, sizeof path, "%s/%s", TG_SOURCE_LUA_DIR, file);
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > (16 << 20))
        return false;
    /* The memory first: nothing is open across what may raise. */
    size_t size = (size_t)status.st_size;
    char *data = lua_newuserdata(L, size + 1);
    FILE *stream = fopen(path, "re");
    if (stream == NULL) {
        lua_pop(L, 1);
        return false;
    }
    size_t len = fread(data, 1, size, stream);
    (void)fclose(stream);
    push_chunk(L, data, len, file);
    lua_remove(L, -2);
    return true;
#else
    (void)L;
    (void)file;
    return false;
#endif
}

static bool push_library_file(lua_State *L, const char *file)
{
    if (push_source_file(L, file))
        return true;
    const struct tg_embedded_file *embedded = find_embedded(file);
    if (embedded == NULL)
        return false;
    push_chunk(L, embedded->data, embedded->size, file);
    return true;
}

void tg_loader_push_private(struct lua_State *L, const char *file)
{
    if (!push_library_file(L, file))
        luaL_error(L, "the library file %s is missing", file);
}

static bool push_library_chunk(lua_State *L, const char *module)
{
    char file[PATH_SIZE];
    size_t len = strlen(module);

    if (len + sizeof "/init.lua" > sizeof file || strpbrk(module, "/\\") != NULL ||
        strstr(module, "..") != NULL)
        return false;
    for (size_t i = 0; i <= len; i++)
        file[i] = module[i] == '.' ? '/' : module[i];
    memcpy(file + len, ".lua", sizeof ".lua");
    if (!push_library_file(L, file)) {
        memcpy(file + len, "/init.lua", sizeof "/init.lua");
        if (!push_library_file(L, file))
            return false;
    }
    tg_sandbox_push_library(L);
    (void)lua_setfenv(L, -2);
    return true;
}

/* Pushes the function that makes a library module. */
static bool push_library_maker(lua_State *L, const char *module)
{
    const struct tg_library_module *rows;
    size_t count = tg_library_modules(&rows);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].name, module) == 0) {
            lua_pushcfunction(L, rows[i].open);
            return true;
        }
    }
    return push_library_chunk(L, module);
}

/* --- errors ------------------------------------------------------------------------------------- */

/* "tidegate/http.lua" -> "tidegate.http"; false for what is private. */
static bool module_of_file(const char *file, char out[PATH_SIZE])
{
    size_t len = strlen(file);

    if (len < 5 || len >= PATH_SIZE || strstr(file, "/_") != NULL)
        return false;
    len -= sizeof ".lua" - 1;
    if (len > 5 && memcmp(file + len - 5, "/init", 5) == 0)
        len -= 5;
    for (size_t i = 0; i < len; i++)
        out[i] = file[i] == '/' ? '.' : file[i];
    out[len] = '\0';
    return true;
}

static int library_missing(lua_State *L, const char *module)
{
    const char *candidates[CANDIDATES_MAX];
    char name[PATH_SIZE];
    const struct tg_library_module *rows;
    size_t count = 0, row_count = tg_library_modules(&rows);

    luaL_checkstack(L, CANDIDATES_MAX, "require");
    for (size_t i = 0; i < row_count && count < CANDIDATES_MAX; i++) {
        if (strstr(rows[i].name, "._") == NULL)
            candidates[count++] = rows[i].name;
    }
    for (size_t i = 0; i < tg_embedded_files_count && count < CANDIDATES_MAX / 2; i++) {
        if (module_of_file(tg_embedded_files[i].name, name)) {
            lua_pushstring(L, name);
            candidates[count++] = lua_tostring(L, -1);
        }
    }
    const char *near = tg_suggest(module, candidates, count);
    if (near != NULL)
        return luaL_error(L, "no library module \"%s\"; did you mean \"%s\"?", module, near);
    return luaL_error(L, "no library module \"%s\"", module);
}

static int own_missing(lua_State *L, const struct tg_source *source, const char *module)
{
    const char *candidates[CANDIDATES_MAX];
    const struct tg_source_file *file;
    size_t count = 0;
    const char *hint = hint_for(module);

    if (hint != NULL)
        return luaL_error(L, "module \"%s\" is not available in policies; %s", module, hint);
    if (strpbrk(module, "/\\") != NULL)
        return luaL_error(L,
                          "module \"%s\" not found: write dots between folders, as in "
                          "require \"users.store\"",
                          module);
    for (size_t i = 0; (file = tg_source_at(source, i)) != NULL && count < CANDIDATES_MAX; i++)
        candidates[count++] = file->module;
    const char *near = tg_suggest(module, candidates, count);
    const char *path = luaL_gsub(L, module, ".", "/");
    if (near != NULL && near[0] != '\0')
        return luaL_error(L,
                          "module \"%s\" not found; did you mean \"%s\"? (looked for %s.lua and "
                          "%s/init.lua beside %s)",
                          module, near, path, path, tg_source_entry(source)->path);
    return luaL_error(L,
                      "module \"%s\" not found: no %s.lua and no %s/init.lua beside %s (a policy "
                      "requires its own files and tidegate.* only)",
                      module, path, path, tg_source_entry(source)->path);
}

/* --- require ------------------------------------------------------------------------------------ */

static int l_require(lua_State *L);

/* Pushes the module that a require at this level of the call stack loads; false when it is none. */
static bool push_required(lua_State *L, lua_Debug *ar)
{
    (void)lua_getinfo(L, "f", ar);
    bool require = lua_tocfunction(L, -1) == l_require;
    lua_pop(L, 1);
    return require && lua_getlocal(L, ar, 1) != NULL;
}

/* Raises when a require of this module is under way further up the stack. */
static void check_loop(lua_State *L, const char *module)
{
    lua_Debug ar;
    int chain = lua_gettop(L) + 1;

    lua_pushfstring(L, "%s", module);
    for (int level = 1; lua_getstack(L, level, &ar) != 0; level++) {
        /* To reach a level costs as much as it is deep. */
        if (tg_api_out_of_time(L))
            tg_api_raise_out_of_time(L);
        if (!push_required(L, &ar))
            continue;
        bool same = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), module) == 0;
        lua_pushliteral(L, " -> ");
        lua_pushvalue(L, chain);
        lua_concat(L, 3);
        lua_replace(L, chain);
        if (same)
            luaL_error(L, "modules require each other in a loop: %s", lua_tostring(L, chain));
    }
    lua_settop(L, chain - 1);
}

static void push_own_maker(lua_State *L, const char *module)
{
    struct tg_source *source = tg_generation_of(L)->source;
    const struct tg_source_file *file = module[0] == '\0' ? NULL : tg_source_find(source, module);

    if (file == NULL)
        own_missing(L, source, module);
    else if (tg_call_current(L) != NULL)
        luaL_error(L,
                   "module \"%s\" is required for the first time while the policy runs; require it "
                   "at the top of the file (the version covers what is loaded with the policy)",
                   module);
    else {
        tg_source_mark_used(source, file);
        push_policy_chunk(L, file);
        tg_sandbox_push_policy(L);
        (void)lua_setfenv(L, -2);
    }
}

/* Pushes the module's value, loading it if need be. */
static void push_module(lua_State *L, const char *module, bool library)
{
    luaL_checkstack(L, 20, "require");
    lua_pushlightuserdata(L, &loaded_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    int loaded = lua_gettop(L);
    lua_getfield(L, loaded, module);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        check_loop(L, module);
        if (!library)
            push_own_maker(L, module);
        else if (!push_library_maker(L, module))
            library_missing(L, module);
        lua_pushstring(L, module);
        lua_call(L, 1, 1);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushboolean(L, 1);
        }
        lua_pushvalue(L, -1);
        lua_setfield(L, loaded, module);
    }
    lua_remove(L, loaded);
}

/* require(module); upvalue 1: for the library. Argument 1 stays in its place: see the file's head. */
static int l_require(lua_State *L)
{
    bool for_library = lua_toboolean(L, lua_upvalueindex(1)) != 0;

    luaL_checktype(L, 1, LUA_TSTRING);
    lua_settop(L, 1);
    const char *module = lua_tostring(L, 1);
    bool library = is_library(module);
    if (for_library && !library)
        return luaL_error(L, "the library requires \"%s\", which is not part of it", module);
    if (library && !for_library && strstr(module, "._") != NULL)
        return library_missing(L, module);
    push_module(L, module, library);
    if (library && !for_library && lua_istable(L, -1))
        tg_frozen_wrap(L, module);
    return 1;
}

void tg_loader_open(struct lua_State *L)
{
    lua_pushlightuserdata(L, &loaded_key);
    lua_newtable(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void tg_loader_push_require(struct lua_State *L, int for_library)
{
    lua_pushboolean(L, for_library);
    lua_pushcclosure(L, l_require, 1);
}

void tg_loader_push_entry(struct lua_State *L)
{
    struct tg_source *source = tg_generation_of(L)->source;
    const struct tg_source_file *entry = tg_source_entry(source);

    tg_source_mark_used(source, entry);
    push_policy_chunk(L, entry);
    tg_sandbox_push_policy(L);
    (void)lua_setfenv(L, -2);
}

void tg_loader_push_library(struct lua_State *L, const char *module)
{
    push_module(L, module, true);
}
