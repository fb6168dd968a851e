/* task_group.c - tide.all: several functions at once, and one wait for all of them.
 *
 * The group is what the tasks report to when they end. It waits in place of them, so that the first that
 * fails ends the wait, whichever it is.
 *
 * I1  Lua keeps the group (`anchor`) while it has members: their tasks point to it.
 */
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/api/task_internal.h"
#include "script/call/call.h"

/* Its environment is the table of tasks by the script's keys. */
struct tg_task_group {
    struct tg_call *call;   /* borrowed: who waits; NULL: nobody yet, or no longer */
    struct tg_list members; /* tg_task.member: those under way */
    struct tg_task *failed; /* the first that did; in the environment */
    int anchor;
};

static void give_up(struct tg_task_group *group)
{
    struct tg_list *node;

    while ((node = tg_list_first(&group->members)) != NULL) {
        struct tg_task *task = TG_CONTAINER_OF(node, struct tg_task, member);
        tg_list_remove(node);
        task->group = NULL; /* it need not report its end any more */
        if (task->call != NULL)
            tg_call_cancel(task->call);
    }
}

static void drop_anchor(lua_State *L, struct tg_task_group *group)
{
    luaL_unref(L, LUA_REGISTRYINDEX, group->anchor);
    group->anchor = LUA_NOREF;
}

/* Sets results[key], or errors[key], of the task on top; the key is below it. errors is made when there is
 * any. */
static void add_result(lua_State *L, int results, int errors)
{
    const struct tg_task *task = lua_touserdata(L, -1);
    int key = lua_gettop(L) - 1;

    if (task->count == 0)
        return;
    lua_getfenv(L, -1);
    lua_rawgeti(L, -1, 1);
    if (!lua_isnil(L, -1)) {
        lua_pushvalue(L, key);
        lua_insert(L, -2);
        lua_rawset(L, results);
        return;
    }
    lua_rawgeti(L, -2, 2);
    if (task->count < 2 || lua_isnil(L, -1))
        return;
    if (lua_isnil(L, errors)) {
        lua_newtable(L);
        lua_replace(L, errors);
    }
    lua_pushvalue(L, key);
    lua_insert(L, -2);
    lua_rawset(L, errors);
}

/* The group is at `index`. */
static int push_outcome(lua_State *L, const struct tg_task_group *group, int index)
{
    luaL_checkstack(L, 12, "tide.all");
    lua_getfenv(L, index);
    int tasks = lua_gettop(L), results = tasks + 2, errors = tasks + 3;
    if (group->failed != NULL) {
        lua_pushnil(L);
        while (lua_next(L, tasks) != 0) {
            if (lua_touserdata(L, -1) == group->failed)
                return tg__task_push_outcome(L, group->failed, lua_gettop(L));
            lua_pop(L, 1);
        }
    }
    lua_pushboolean(L, 1);
    lua_newtable(L);
    lua_pushnil(L);
    lua_pushnil(L);
    while (lua_next(L, tasks) != 0) {
        int key = lua_gettop(L) - 1;
        add_result(L, results, errors);
        lua_settop(L, key);
    }
    return 3;
}

/* A builder for tg_call_wake. */
static int build_outcome(lua_State *L)
{
    const struct tg_task_group *group = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, group->anchor);
    return push_outcome(L, group, lua_gettop(L));
}

void tg__task_group_ended(struct tg_task_group *group, struct tg_task *task)
{
    struct tg_call *call = group->call;

    tg_list_remove(&task->member);
    if (task->state == TG_TASK_FAILED && group->failed == NULL)
        group->failed = task;
    if (call == NULL || (group->failed == NULL && !tg_list_empty(&group->members)))
        return;
    group->call = NULL;
    give_up(group);
    lua_State *L = call->generation->L;
    if (!call->root->cancelled) /* else it ends this moment */
        tg_call_wake(call, build_outcome, group);
    drop_anchor(L, group);
}

static void stop_waiting(struct tg_call *call, void *wait)
{
    struct tg_task_group *group = wait;

    group->call = NULL;
    give_up(group);
    drop_anchor(call->generation->L, group);
}

/* How many there are; more than TG_TASKS_MAX are not counted. */
static size_t check_functions(lua_State *L)
{
    char key[64];
    char text[160];
    size_t count = 0;

    if (!lua_istable(L, 1)) {
        (void)snprintf(text, sizeof text, "a table of functions expected, got %s",
                       tg_api_type_name(L, 1));
        tg__task_raise(L, "tide.all", text);
    }
    lua_pushnil(L);
    while (count <= TG_TASKS_MAX && lua_next(L, 1) != 0) {
        if (lua_type(L, -1) != LUA_TFUNCTION) {
            tg_api_value_text(L, -2, key, sizeof key);
            (void)snprintf(text, sizeof text, "\"%s\" is a %s; functions expected", key,
                           tg_api_type_name(L, -1));
            tg__task_raise(L, "tide.all", text);
        }
        lua_pop(L, 1);
        count++;
    }
    lua_settop(L, 1);
    return count;
}

/* At 2, with a task for each function of the table at 1 in its environment, at 3. Nothing has begun. */
static struct tg_task_group *push_group(lua_State *L, struct tg_call *parent)
{
    struct tg_task_group *group = lua_newuserdata(L, sizeof *group);

    memset(group, 0, sizeof *group);
    tg_list_init(&group->members);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfenv(L, 2);
    lua_pushnil(L);
    while (lua_next(L, 1) != 0) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        (void)tg__task_push(L, parent);
        lua_rawset(L, 3);
    }
    lua_pushvalue(L, 2);
    group->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    return group;
}

int tg__task_all(lua_State *L)
{
    lua_settop(L, 1);
    luaL_checkstack(L, 20, "tide.all");
    size_t count = check_functions(L);
    struct tg_call *parent = tg_call_current(L);
    const char *refusal = tg__task_refusal(parent, count);
    if (refusal != NULL)
        return tg__task_raise(L, "tide.all", refusal);
    struct tg_task_group *group = push_group(L, parent);
    /* From here on nothing raises: members point to the group. */
    lua_pushnil(L);
    while (lua_next(L, 3) != 0) {
        struct tg_task *task = lua_touserdata(L, -1);
        if (task->call != NULL) {
            task->group = group;
            tg_list_push(&group->members, &task->member);
        }
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_rawget(L, 1);
        tg__task_start(L, task, 1);
    }
    if (group->failed == NULL && !tg_list_empty(&group->members)) {
        group->call = parent;
        return tg_call_suspend(L, stop_waiting, group);
    }
    give_up(group);
    drop_anchor(L, group);
    return push_outcome(L, group, 2);
}
