/* task.c - tide.spawn and the object it gives: work of one hook, run or timer that goes on beside it.
 *
 * A task is a call below the one that made it (call.h). Its Lua object outlives the call and keeps how it
 * ended (task_life.c).
 *
 * What raises an error on are small Lua functions (lua/tidegate/_task.lua) around C ones: what a wait
 * returns is made by a builder, and what that raised no pcall of the script would catch.
 */
#include "script/api/task.h"

#include <lauxlib.h>
#include <lua.h>

#include "base/memory.h"
#include "script/api/api.h"
#include "script/api/task_internal.h"
#include "script/call/call.h"
#include "script/policy/loader.h"
#include "script/sandbox/sandbox.h"

static char metatable_key;
static char methods_key;

/* tide.spawn(fn, ...) -> task */
static int l_tide_spawn(lua_State *L)
{
    int count = lua_gettop(L);
    struct tg_call *parent = tg_call_current(L);
    const char *refusal = tg__task_refusal(parent, 1);

    if (refusal != NULL)
        return luaL_error(L, "tide.spawn: %s", refusal);
    if (lua_type(L, 1) != LUA_TFUNCTION)
        return luaL_error(L, "tide.spawn: a function expected, got %s", tg_api_type_name(L, 1));
    if (count > 1 + TG_TASK_VALUES_MAX)
        return luaL_error(L, "tide.spawn: %d arguments at most", TG_TASK_VALUES_MAX);
    struct tg_task *task = tg__task_push(L, parent);
    lua_insert(L, 1);
    tg__task_start(L, task, count);
    return 1;
}

static struct tg_task *check_task(lua_State *L)
{
    struct tg_task *task = tg_api_test_userdata(L, 1, &metatable_key);

    if (task == NULL)
        luaL_error(L, "task expected, got %s (call methods with a colon: task:cancel())",
                   tg_api_type_name(L, 1));
    return task;
}

static bool is_above(const struct tg_call *call, const struct tg_call *other)
{
    for (; call->kind == TG_CALL_TASK; call = ((const struct tg_task *)call->owner)->parent) {
        if (call == other)
            return true;
    }
    return false;
}

static void stop_waiting(struct tg_call *call, void *wait)
{
    (void)wait;
    tg_list_remove(&call->waiting);
}

/* wait(task) -> true, results… | false, error | nil, "cancelled" */
static int l_task_wait(lua_State *L)
{
    struct tg_task *task = tg_api_test_userdata(L, 1, &metatable_key);

    if (task == NULL)
        return tg__task_raise(L, "task:wait", "a task expected (call it with a colon)");
    lua_settop(L, 1);
    tg__task_heard(L, task);
    if (task->state != TG_TASK_UNDER_WAY)
        return tg__task_push_outcome(L, task, 1);
    struct tg_call *call = tg_call_current(L);
    if (call->cancelled) /* it may have lost its root, and ends where it waits */
        return tg_call_suspend(L, stop_waiting, task);
    if (call->root != task->call->root)
        return tg__task_raise(L, "task:wait", "the task belongs to another hook, run or timer");
    if (is_above(call, task->call))
        return tg__task_raise(L, "task:wait",
                              "a task cannot wait for itself, nor for one that made it");
    tg_list_push(&task->waiters, &call->waiting);
    return tg_call_suspend(L, stop_waiting, task);
}

/* task:cancel() -> true | false: it had ended already */
static int l_task_cancel(lua_State *L)
{
    struct tg_task *task = check_task(L);
    bool under_way = task->state == TG_TASK_UNDER_WAY;

    if (under_way)
        tg_call_cancel(task->call);
    lua_pushboolean(L, under_way);
    return 1;
}

static int l_task_index(lua_State *L)
{
    check_task(L);
    return tg_api_index_method(L, &methods_key, "a task", "task:wait() and task:cancel()");
}

static int l_task_tostring(lua_State *L)
{
    static const char *const states[] = {"under way", "returned", "failed", "cancelled"};

    lua_pushfstring(L, "task (%s)", states[check_task(L)->state]);
    return 1;
}

static int l_task_gc(lua_State *L)
{
    struct tg_task *task = lua_touserdata(L, 1);

    tg_free(task->text);
    tg_free(task->traceback);
    task->text = NULL;
    task->traceback = NULL;
    return 0;
}

static const luaL_Reg metamethods[] = {
    {"__index", l_task_index},
    {"__tostring", l_task_tostring},
    {"__gc", l_task_gc},
    {NULL, NULL},
};

/* Pushes wait and all, which raise errors on. */
static void push_raising(lua_State *L)
{
    tg_loader_push_private(L, "tidegate/_task.lua");
    tg_sandbox_push_library(L);
    lua_getfield(L, -1, "error");
    lua_remove(L, -2);
    lua_pushcfunction(L, l_task_wait);
    lua_pushcfunction(L, tg__task_all);
    lua_call(L, 3, 2);
}

void tg__task_set_type(lua_State *L)
{
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
}

void tg_task_open_type(lua_State *L)
{
    tg_api_set_metatable(L, &metatable_key, metamethods);
    lua_newtable(L);
    tg_api_declare_class(L, "tidegate.Task", &metatable_key, &methods_key);
}

void tg_task_add_functions(lua_State *L)
{
    int module = lua_gettop(L);

    lua_pushcfunction(L, l_tide_spawn);
    lua_setfield(L, module, "spawn");
    push_raising(L);
    lua_setfield(L, module, "all");
    lua_pushlightuserdata(L, &methods_key);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, l_task_cancel);
    lua_setfield(L, -2, "cancel");
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "wait");
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_settop(L, module);
}
