/* task_life.c - how a task begins and ends, and who hears of its error.
 *
 *   under way ─[returns]─> returned
 *       ├─[raises]──────> failed
 *       └─[cancelled, or its maker ended]─> cancelled
 *
 * I1  The object is anchored from the start of the call until it has ended and, if it failed, somebody has
 *     heard of it: lists and the call point into it.
 * I2  An error is heard once at least: by whoever waits, or in the log when the maker ends.
 * I3  Only calls of the same root wait for a task, so nobody goes on when the root has ended.
 */
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/log.h"
#include "base/memory.h"
#include "connection/connection.h"
#include "connection/redact.h"
#include "script/api/api.h"
#include "script/api/task.h"
#include "script/api/task_internal.h"
#include "script/call/call.h"

#define UNHEARD_MAX 16 /* of one call; the oldest is logged when there are more */

/* --- errors that nobody has heard ------------------------------------------------------------------ */

static void drop_anchor(lua_State *L, struct tg_task *task)
{
    luaL_unref(L, LUA_REGISTRYINDEX, task->anchor);
    task->anchor = LUA_NOREF;
}

static void report(struct tg_call *parent, struct tg_task *task)
{
    const struct tg_script_env *env = parent->generation->env;
    const struct tg_conn *conn =
        env->hub == NULL ? NULL : tg_hub_find_serial(env->hub, parent->conn_serial);
    char id[TG_CONN_ID_SIZE] = "";

    if (conn != NULL)
        tg_conn_id_text(conn, id);
    tg_log_about(conn, TG_LOG_ERROR, "task.failed", tg_log_str("id", id),
                 tg_log_str("policy", parent->generation->version),
                 tg_log_str("message", task->text != NULL ? task->text : "out of memory"),
                 tg_log_str("traceback", task->traceback));
    tg_list_remove(&task->unheard);
    drop_anchor(parent->generation->L, task);
}

void tg__task_heard(lua_State *L, struct tg_task *task)
{
    if (tg_list_empty(&task->unheard))
        return;
    tg_list_remove(&task->unheard);
    drop_anchor(L, task);
}

static struct tg_task *first_unheard(const struct tg_call *call)
{
    return TG_CONTAINER_OF(call->unheard.next, struct tg_task, unheard);
}

void tg_task_report_unheard(struct tg_call *call)
{
    while (!tg_list_empty(&call->unheard))
        report(call, first_unheard(call));
}

static void keep_unheard(struct tg_task *task)
{
    struct tg_call *parent = task->parent;
    size_t count = 0;

    tg_list_push(&parent->unheard, &task->unheard);
    TG_LIST_EACH (node, next, &parent->unheard)
        count++;
    if (count > UNHEARD_MAX)
        report(parent, first_unheard(parent));
}

/* --- the end of a task ----------------------------------------------------------------------------- */

int tg__task_push_outcome(lua_State *L, const struct tg_task *task, int index)
{
    luaL_checkstack(L, TG_TASK_VALUES_MAX + 4, "task");
    if (task->state == TG_TASK_CANCELLED)
        return tg_api_push_failure(L, "cancelled");
    lua_pushboolean(L, task->state == TG_TASK_RETURNED);
    if (task->state == TG_TASK_FAILED && task->count == 0) {
        lua_pushstring(L, task->text != NULL ? task->text : "out of memory");
        return 2;
    }
    if (task->count == 0)
        return 1;
    lua_getfenv(L, index);
    int values = lua_gettop(L);
    for (int i = 1; i <= task->count; i++)
        lua_rawgeti(L, values, i);
    lua_remove(L, values);
    return 1 + task->count;
}

/* A builder for tg_call_wake. */
static int build_outcome(lua_State *L)
{
    const struct tg_task *task = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, task->anchor);
    return tg__task_push_outcome(L, task, lua_gettop(L));
}

/* True when anybody was waiting. */
static bool wake_waiters(struct tg_task *task)
{
    struct tg_list *node;
    bool any = false;

    while ((node = tg_list_first(&task->waiters)) != NULL) {
        struct tg_call *waiter = TG_CONTAINER_OF(node, struct tg_call, waiting);
        any = true;
        tg_list_remove(node);
        if (!waiter->root->cancelled) /* else it ends this moment */
            tg_call_wake(waiter, build_outcome, task);
    }
    return any;
}

static void settle(struct tg_generation *generation, struct tg_task *task, enum tg_task_state state)
{
    struct tg_task_group *group = task->group;

    task->state = state;
    task->call = NULL;
    task->group = NULL;
    bool heard = wake_waiters(task) || group != NULL;
    if (group != NULL)
        tg__task_group_ended(group, task);
    if (state == TG_TASK_FAILED && !heard)
        keep_unheard(task);
    else
        drop_anchor(generation->L, task);
}

struct ending {
    struct tg_task *task;
    lua_State *co;
    int count; /* on top of `co` */
};

/* A builder for tg_call_protect. */
static int store_values(lua_State *L)
{
    const struct ending *ending = lua_touserdata(L, 1);

    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ending->task->anchor);
    lua_createtable(L, ending->count, 0);
    for (int i = ending->count; i > 0; i--) {
        lua_xmove(ending->co, L, 1);
        lua_rawseti(L, 2, i);
    }
    lua_setfenv(L, 1);
    return 0;
}

static void on_task_done(struct tg_call *call, enum tg_call_outcome outcome, int results,
                         const char *error_text, const char *traceback)
{
    struct tg_task *task = call->owner;
    struct tg_error error;
    struct ending ending = {task, call->co, call->raised ? 1 : results};

    if (outcome == TG_CALL_OK && results > TG_TASK_VALUES_MAX) {
        outcome = TG_CALL_ERROR;
        error_text = "a task may return 16 values at most";
        ending.count = 0;
    }
    if (ending.count > 0 &&
        tg_call_protect(call->generation, store_values, &ending, &error) == TG_CALL_OK) {
        task->count = ending.count;
    } else if (ending.count > 0 && outcome == TG_CALL_OK) {
        outcome = TG_CALL_MEMORY;
        error_text = error.text;
    }
    if (error_text != NULL)
        task->text = tg_strndup(error_text, strlen(error_text));
    if (traceback != NULL)
        task->traceback = tg_strndup(traceback, strlen(traceback));
    settle(call->generation, task, outcome == TG_CALL_OK ? TG_TASK_RETURNED : TG_TASK_FAILED);
}

static void on_task_dropped(struct tg_call *call)
{
    settle(call->generation, call->owner, TG_TASK_CANCELLED);
}

/* --- the beginning --------------------------------------------------------------------------------- */

const char *tg__task_refusal(const struct tg_call *parent, size_t more)
{
    if (parent == NULL)
        return "cannot be used while the policy is being loaded; call it in a hook, an agent or a "
               "timer";
    if (more > TG_TASKS_MAX - parent->root->task_count)
        return "more than 1000 tasks at a time; wait for some first";
    return NULL;
}

int tg__task_raise(lua_State *L, const char *name, const char *text)
{
    luaL_where(L, 2);
    lua_pushfstring(L, "%s: %s", name, text);
    lua_concat(L, 2);
    return lua_error(L);
}

struct tg_task *tg__task_push(lua_State *L, struct tg_call *parent)
{
    struct tg_task *task = lua_newuserdata(L, sizeof *task);

    memset(task, 0, sizeof *task);
    task->state = TG_TASK_CANCELLED;
    task->parent = parent;
    task->anchor = LUA_NOREF;
    tg_list_init(&task->member);
    tg_list_init(&task->waiters);
    tg_list_init(&task->unheard);
    tg__task_set_type(L);
    lua_pushvalue(L, -1);
    task->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    if (!parent->cancelled) { /* else it ends where it waits next: nothing begins any more */
        task->call = tg_call_create_task(parent, on_task_done, on_task_dropped, task);
        task->state = TG_TASK_UNDER_WAY;
    }
    if (task->call == NULL)
        drop_anchor(L, task);
    if (task->state == TG_TASK_UNDER_WAY && task->call == NULL)
        luaL_error(L, "not enough memory");
    return task;
}

struct beginning {
    lua_State *from;
    int count;
};

/* A builder for tg_call_start. */
static int move_function(lua_State *L)
{
    const struct beginning *beginning = lua_touserdata(L, 1);

    luaL_checkstack(L, beginning->count, "task");
    lua_xmove(beginning->from, L, beginning->count);
    return beginning->count;
}

void tg__task_start(lua_State *L, struct tg_task *task, int count)
{
    struct beginning beginning = {L, count};
    int below = lua_gettop(L) - count;

    if (task->call != NULL)
        tg_call_start(task->call, move_function, &beginning);
    lua_settop(L, below);
}
