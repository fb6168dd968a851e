/* meta_test.c - the editor annotations declare exactly what there is: modules, types, hooks.
 *
 * What there is is asked of a real state, and of the text of modules that only specs can load; so what is
 * added anywhere is found without a line here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/embedded.h"
#include "script/api/api.h"
#include "script/call/call.h"
#include "script/hooks/credentials.h"
#include "script/hooks/view.h"
#include "script/host_internal.h"
#include "script/plain.h"
#include "script/policy/library.h"
#include "script/policy/loader.h"
#include "script/policy/policy_check.h"
#include "support/bare_lua.h"
#include "support/stage.h"

struct collecting {
    struct tg_buffer facts;
    int undeclared; /* types whose members nobody told */
};

/* Replaces the table on top by one of what kind each of its fields is. */
static void describe(lua_State *L)
{
    int from = lua_gettop(L);

    luaL_checkstack(L, 8, "describe");
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, from) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2); /* key, key, value */
        if (lua_type(L, -1) == LUA_TTABLE)
            describe(L);
        else {
            lua_pushstring(L, luaL_typename(L, -1));
            lua_replace(L, -2);
        }
        lua_rawset(L, from + 1);
    }
    lua_replace(L, from);
}

static int l_load_module(lua_State *L)
{
    tg_loader_push_library(L, lua_tostring(L, 1));
    return 1;
}

/* modules[name], for what a policy can load; the others are looked at as text. */
static void add_module(lua_State *L, const char *name)
{
    lua_pushcfunction(L, l_load_module);
    lua_pushstring(L, name);
    if (lua_pcall(L, 1, 1, 0) == 0 && lua_istable(L, -1)) {
        describe(L);
        lua_setfield(L, -2, name);
    } else {
        lua_pop(L, 1);
    }
}

/* "tidegate/http.lua" -> "tidegate.http"; false for what is private. */
static bool module_name(const char *file, char out[128])
{
    size_t len = strlen(file) - 4;

    if (strstr(file, "/_") != NULL || len >= 128)
        return false;
    memcpy(out, file, len);
    out[len] = '\0';
    for (char *slash; (slash = strchr(out, '/')) != NULL;)
        *slash = '.';
    return true;
}

static void push_modules(lua_State *L)
{
    const struct tg_library_module *rows;
    size_t count = tg_library_modules(&rows);
    char name[128];

    lua_newtable(L);
    for (size_t i = 0; i < count; i++) {
        if (strstr(rows[i].name, "._") == NULL) /* those are private */
            add_module(L, rows[i].name);
    }
    for (size_t i = 0; i < tg_embedded_files_count; i++) {
        if (module_name(tg_embedded_files[i].name, name))
            add_module(L, name);
    }
}

static void push_files(lua_State *L, bool public)
{
    char name[128];
    int count = 0;

    lua_newtable(L);
    for (size_t i = 0; i < tg_embedded_files_count; i++) {
        if (module_name(tg_embedded_files[i].name, name) != public)
            continue;
        lua_pushstring(L, tg_embedded_files[i].name);
        lua_rawseti(L, -2, ++count);
    }
}

static void push_hooks(lua_State *L)
{
    lua_newtable(L);
    for (int hook = 0; hook < TG_HOOKS; hook++) {
        lua_pushstring(L, tg_policy_signature((enum tg_hook)hook));
        lua_setfield(L, -2, tg_hook_names[hook]);
    }
}

static void push_members_of(lua_State *L, const char *const *names)
{
    lua_newtable(L);
    for (; *names != NULL; names++) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, *names);
    }
}

static void push_classes(lua_State *L)
{
    tg_api_push_classes(L);
    int classes = lua_gettop(L);
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, classes) != 0) {
        lua_pop(L, 1);
        tg_api_push_members(L, lua_tostring(L, -1));
        lua_setfield(L, classes + 1, lua_tostring(L, -2));
    }
    push_members_of(L, tg_request_fields);
    lua_setfield(L, classes + 1, "tidegate.Request");
    push_members_of(L, tg_credentials_fields);
    lua_setfield(L, classes + 1, "tidegate.Credentials");
    lua_remove(L, classes);
}

/* Is the value on top one of those in the table? */
static bool is_value_of(lua_State *L, int table)
{
    int value = lua_gettop(L);
    bool found = false;

    lua_pushnil(L);
    while (!found && lua_next(L, table) != 0) {
        found = lua_rawequal(L, -1, value) != 0;
        lua_pop(L, 1);
    }
    lua_settop(L, value);
    return found;
}

/* Metatables of ours in the registry with an __index, but for that of views, which are data. */
static int count_undeclared(lua_State *L)
{
    int undeclared = 0, base = lua_gettop(L);

    tg_api_push_classes(L);
    lua_newtable(L);
    tg_view_wrap(L, "view", 0);
    lua_getmetatable(L, -1); /* classes, view, its metatable */
    lua_pushnil(L);
    while (lua_next(L, LUA_REGISTRYINDEX) != 0) {
        if (lua_istable(L, -1) && !lua_rawequal(L, -1, base + 3)) {
            lua_pushliteral(L, "__index");
            lua_rawget(L, -2);
            bool indexed = !lua_isnil(L, -1);
            lua_pop(L, 1);
            undeclared += indexed && !is_value_of(L, base + 1) ? 1 : 0;
        }
        lua_pop(L, 1);
    }
    lua_settop(L, base);
    return undeclared;
}

static int collect(lua_State *L)
{
    struct collecting *collecting = lua_touserdata(L, 1);
    struct tg_error error;

    luaL_checkstack(L, 30, "collect");
    lua_newtable(L);
    int facts = lua_gettop(L);
    push_modules(L);
    lua_setfield(L, facts, "modules");
    push_files(L, true);
    lua_setfield(L, facts, "files");
    push_files(L, false);
    lua_setfield(L, facts, "private");
    push_hooks(L);
    lua_setfield(L, facts, "hooks");
    push_classes(L);
    lua_setfield(L, facts, "classes");
    collecting->undeclared = count_undeclared(L);
    if (tg_plain_encode(L, facts, "facts", 1 << 20, &collecting->facts, &error) != TG_ERR_OK)
        return luaL_error(L, "%s", error.text);
    return 0;
}

static void collect_exports(struct stage *stage, struct collecting *collecting)
{
    struct tg_error error = {.text = ""};

    stage_load(stage, "return { authenticate = function() end }");
    if (tg_call_protect(stage->host->current, collect, collecting, &error) != TG_CALL_OK)
        fail_msg("%s", error.text);
}

static void annotations_declare_what_there_is_and_no_more(void **state)
{
    struct collecting collecting = {.facts = TG_BUFFER_INIT};
    size_t differences;

    collect_exports(*state, &collecting);
    lua_State *L = bare_lua_open();
    if (luaL_loadfile(L, TG_TEST_SOURCE_DIR "/tests/support/meta_compare.lua") != 0)
        fail_msg("%s", lua_tostring(L, -1));
    lua_pushstring(L, TG_TEST_SOURCE_DIR);
    tg_plain_push(L, tg_buffer_head(&collecting.facts), collecting.facts.len);
    if (lua_pcall(L, 2, 1, 0) != 0)
        fail_msg("%s", lua_tostring(L, -1));
    differences = lua_objlen(L, -1);
    for (size_t i = 1; i <= differences; i++) {
        lua_rawgeti(L, 1, (int)i);
        print_error("%s\n", lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    bare_lua_close(L);
    tg_buffer_fini(&collecting.facts);
    assert_int_equal(differences, 0);
}

static void every_type_tells_its_members(void **state)
{
    struct collecting collecting = {.facts = TG_BUFFER_INIT};

    collect_exports(*state, &collecting);
    tg_buffer_fini(&collecting.facts);
    if (collecting.undeclared > 0)
        fail_msg("%d types have an __index and no tg_api_declare_class", collecting.undeclared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(annotations_declare_what_there_is_and_no_more, stage_setup,
                                        stage_teardown),
        cmocka_unit_test_setup_teardown(every_type_tells_its_members, stage_setup, stage_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
