/* process.c - what lua/tidegate/agent/process.lua asks of the core: declare a process, ask it for a run, take
 * the lines that it answers, wait for more.
 *
 * The Lua file has checked what a script gave; what is read here is what it made of it. Whether the program may
 * be run is decided here, when the policy is loaded, and by the configuration alone.
 */
#include "script/api/process.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/memory.h"
#include "net/process.h"
#include "script/api/api.h"
#include "script/api/process_child.h"

static char child_key;
static char exchange_key;

static struct tg_child *check_child(lua_State *L)
{
    struct tg_child *child = tg_api_test_userdata(L, 1, &child_key);

    if (child == NULL)
        luaL_error(L, "a process expected, got %s", tg_api_type_name(L, 1));
    return child;
}

static struct tg_exchange *check_exchange(lua_State *L)
{
    struct tg_exchange *exchange = tg_api_test_userdata(L, 1, &exchange_key);

    if (exchange == NULL)
        luaL_error(L, "an exchange expected, got %s", tg_api_type_name(L, 1));
    return exchange;
}

/* --- declaring ---------------------------------------------------------------------------------- */

static struct tg_child *push_child(lua_State *L)
{
    struct tg_child *child = lua_newuserdata(L, sizeof *child);

    memset(child, 0, sizeof *child);
    child->generation = tg_generation_of(L);
    tg_list_init(&child->exchanges);
    tg_api_push_registry(L, &child_key);
    lua_setmetatable(L, -2);
    return child;
}

/* The folder of the policy's entry file; NULL for one that is nowhere. */
static char *policy_folder(const struct tg_generation *generation)
{
    char real[PATH_MAX];
    const char *path = tg_source_entry(generation->source)->path;
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? tg_strndup(".", 1)
                                 : tg_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    bool there = folder != NULL && realpath(folder, real) != NULL;

    tg_free(folder);
    return there ? tg_strndup(real, strlen(real)) : NULL;
}

static void add_word(lua_State *L, struct tg_buffer *words, const char *word)
{
    if (tg_buffer_append(words, word, strlen(word) + 1) != TG_ERR_OK)
        luaL_error(L, "not enough memory");
}

/* The text at the place of the list on top; the list keeps it. */
static const char *text_at(lua_State *L, int list, size_t place)
{
    lua_rawgeti(L, list, (int)place);
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1);
    return text;
}

/* Whether one of the "NAME=value" at `list` has the name of this one. */
static bool is_replaced(lua_State *L, int list, const char *variable)
{
    size_t name_len = strcspn(variable, "=") + 1;

    for (size_t i = 1; i <= lua_objlen(L, list); i++)
        if (strncmp(text_at(L, list, i), variable, name_len) == 0)
            return true;
    return false;
}

/* Ours first, but for those that the policy sets itself. */
static void add_environment(lua_State *L, struct tg_child *child, int list)
{
    struct tg_buffer ours = TG_BUFFER_INIT;
    bool fits = tg_process_environment(&ours) == TG_ERR_OK;
    const char *start = (const char *)tg_buffer_head(&ours);

    for (const char *at = start; fits && at < start + ours.len; at += strlen(at) + 1) {
        if (is_replaced(L, list, at))
            continue;
        fits = tg_buffer_append(&child->words, at, strlen(at) + 1) == TG_ERR_OK;
        child->variable_count++;
    }
    tg_buffer_fini(&ours);
    if (!fits)
        luaL_error(L, "not enough memory");
    for (size_t i = 1; i <= lua_objlen(L, list); i++) {
        add_word(L, &child->words, text_at(L, list, i));
        child->variable_count++;
    }
}

static lua_Number read_number(lua_State *L, int settings, const char *field)
{
    lua_getfield(L, settings, field);
    lua_Number number = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return number;
}

static void set_name(lua_State *L, struct tg_child *child, int settings, const char *program)
{
    const char *slash = strrchr(program, '/');

    lua_getfield(L, settings, "name");
    const char *name = lua_tostring(L, -1);
    if (name == NULL)
        name = slash == NULL ? program : slash + 1;
    (void)snprintf(child->name, sizeof child->name, "%s", name);
    lua_pop(L, 1);
}

static enum tg_err find_program(const struct tg_child *child, const char *word, const char **out,
                                struct tg_error *error)
{
    const struct tg_script_programs *programs = &child->generation->env->programs;

    *out = word;
    if (programs->any)
        return TG_ERR_OK;
    return tg_program_find(word, child->folder, programs->allowed.items, programs->allowed.count,
                           out, error);
}

/* new{ command, env = { "NAME=value", … }, name, max_event, failures, rest } -> process | nil, why */
static int l_new(lua_State *L)
{
    struct tg_error error = {.text = ""};
    const char *program;

    if (tg_call_current(L) != NULL)
        return tg_api_push_failure(L, "declare it once, at the top of the file");
    lua_settop(L, 1);
    struct tg_child *child = push_child(L);
    lua_getfield(L, 1, "command"); /* 3 */
    lua_getfield(L, 1, "env");     /* 4 */
    child->folder = policy_folder(child->generation);
    if (find_program(child, text_at(L, 3, 1), &program, &error) != TG_ERR_OK)
        return tg_api_push_failure(L, error.text);
    set_name(L, child, 1, program);
    add_word(L, &child->words, program);
    child->argument_count = lua_objlen(L, 3);
    for (size_t i = 2; i <= child->argument_count; i++)
        add_word(L, &child->words, text_at(L, 3, i));
    add_environment(L, child, 4);
    child->line_max = (size_t)read_number(L, 1, "max_event");
    child->failures_max = (uint64_t)read_number(L, 1, "failures");
    child->rest_ms = (uint64_t)(read_number(L, 1, "rest") * 1000);
    lua_settop(L, 2);
    return 1;
}

/* --- a run -------------------------------------------------------------------------------------- */

static struct tg_exchange *push_exchange(lua_State *L)
{
    struct tg_exchange *exchange = lua_newuserdata(L, sizeof *exchange);

    memset(exchange, 0, sizeof *exchange);
    exchange->generation = tg_generation_of(L);
    exchange->ref = LUA_NOREF;
    tg_list_init(&exchange->node);
    tg_list_init(&exchange->held.node);
    tg_api_push_registry(L, &exchange_key);
    lua_setmetatable(L, -2);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, -2); /* keeps the child */
    return exchange;
}

static bool is_asked(const struct tg_child *child, const char *run_id)
{
    TG_LIST_EACH (node, next, &child->exchanges)
        if (strcmp(TG_CONTAINER_OF(node, struct tg_exchange, node)->run_id, run_id) == 0)
            return true;
    return false;
}

/* ask(process, run_id, line) -> exchange */
static int l_ask(lua_State *L)
{
    struct tg_child *child = check_child(L);
    size_t len;

    if (tg_call_current(L) == NULL)
        return luaL_error(L, "agent.process: an agent cannot run while the policy is being loaded");
    const char *run_id = luaL_checkstring(L, 2);
    const char *line = luaL_checklstring(L, 3, &len);
    if (is_asked(child, run_id))
        return luaL_error(L, "agent.process: this run is with this agent already");
    lua_settop(L, 3);
    struct tg_exchange *exchange = push_exchange(L);
    (void)snprintf(exchange->run_id, sizeof exchange->run_id, "%s", run_id);
    if (tg_buffer_append(&exchange->request, line, len) != TG_ERR_OK ||
        tg_buffer_append(&exchange->request, "\n", 1) != TG_ERR_OK || !tg_exchange_charge(exchange))
        return luaL_error(L, "not enough memory");
    tg_exchange_begin(exchange, child);
    (void)tg_child_ask(child, exchange);
    return 1;
}

/* take(exchange) -> line | nil, code, text, why: nothing more comes | false: wait */
static int l_take(lua_State *L)
{
    struct tg_exchange *exchange = check_exchange(L);
    size_t len = 0;
    const char *line = tg_exchange_peek(exchange, &len);

    if (line != NULL) {
        lua_pushlstring(L, line, len);
        tg_exchange_taken(exchange, len);
        return 1;
    }
    if (exchange->code == NULL && exchange->child != NULL) {
        lua_pushboolean(L, 0);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, exchange->code == NULL ? "cancelled" : exchange->code);
    lua_pushstring(L, exchange->text == NULL ? "the run has ended" : exchange->text);
    lua_pushstring(L, exchange->why);
    return 4;
}

/* wait(exchange, seconds) -> whether there is something to take */
static int l_wait(lua_State *L)
{
    struct tg_exchange *exchange = check_exchange(L);
    lua_Number seconds = luaL_checknumber(L, 2);

    if (exchange->waiter != NULL || tg_call_current(L) == NULL)
        return luaL_error(L, "agent.process: another task waits for this agent already");
    return tg_exchange_wait(L, 1, seconds < 0.001 ? 1 : (uint64_t)(seconds * 1000));
}

/* close(exchange, answered) */
static int l_close(lua_State *L)
{
    tg_exchange_end(check_exchange(L), lua_toboolean(L, 2) != 0);
    return 0;
}

static int l_child_gc(lua_State *L)
{
    tg_child_free(lua_touserdata(L, 1));
    return 0;
}

static int l_exchange_gc(lua_State *L)
{
    struct tg_exchange *exchange = lua_touserdata(L, 1);

    tg_exchange_end(exchange, false);
    tg_buffer_fini(&exchange->request);
    tg_buffer_fini(&exchange->lines);
    (void)tg_exchange_charge(exchange);
    return 0;
}

static const luaL_Reg child_metamethods[] = {{"__gc", l_child_gc}, {NULL, NULL}};
static const luaL_Reg exchange_metamethods[] = {{"__gc", l_exchange_gc}, {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"new", l_new},   {"ask", l_ask},     {"take", l_take},
    {"wait", l_wait}, {"close", l_close}, {NULL, NULL},
};

void tg_lua_process_open_types(lua_State *L)
{
    tg_api_set_metatable(L, &child_key, child_metamethods);
    tg_api_set_metatable(L, &exchange_key, exchange_metamethods);
}

int tg_lua_process_open(lua_State *L)
{
    lua_createtable(L, 0, 5);
    tg_api_set_functions(L, functions);
    return 1;
}
