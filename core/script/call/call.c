/* call.c - the life of a call.
 *
 *   created ─[start]─> ready ─> running ─[returns, raises, over budget]─> done (on_done, freed)
 *                        ^         │ [tg_call_suspend]
 *                        └─[wake]─ suspended ─[cancel, abandon, wall timer]─> done
 *
 * Tasks hang below the call that made them and end with it. One that is running when that happens only
 * hears of it: it has no parent any more, and is freed when its resume is over.
 *
 * I4  A task that is over a budget ends with all that belongs to its root: no script gets more time or
 *     memory by spreading its work over tasks.
 *
 * How a call begins and goes on is in call_start.c, protected work and the meter in call_door.c, the wall
 * budget in call_wall.c, whose turn it is in call_turns.c, the pool of calls in call_coroutine.c, what a
 * failure is called in call_failure.c, what scripts' C functions use in call_wait.c.
 */
#include "script/call/call.h"

#include <assert.h>

#include <lua.h>

#include "base/clock.h"
#include "base/memory.h"
#include "script/api/session.h"
#include "script/api/task.h"
#include "script/call/call_failure.h"
#include "script/call/call_internal.h"
#include "script/host_internal.h"

const char *const tg_call_outcome_names[TG_CALL_MEMORY + 1] = {
    [TG_CALL_OK] = "ok",
    [TG_CALL_YIELDED] = "yielded",
    [TG_CALL_ERROR] = "error",
    [TG_CALL_CPU_BUDGET] = "cpu_budget",
    [TG_CALL_WALL_BUDGET] = "wall_budget",
    [TG_CALL_MEMORY] = "memory",
};

/* --- the end of a call ---------------------------------------------------------------------------- */

static void drop_wait(struct tg_call *call)
{
    tg_wait_cancel_fn cancel = call->wait_cancel;
    void *wait = call->wait;

    call->wait_cancel = NULL;
    call->wait = NULL;
    if (cancel != NULL)
        cancel(call, wait);
}

static void cancel_tasks(struct tg_call *call)
{
    struct tg_list *node;

    while ((node = tg_list_first(&call->tasks)) != NULL)
        tg_call_cancel(TG_CONTAINER_OF(node, struct tg_call, sibling));
}

static void drop_held(struct tg_call *call)
{
    struct tg_list *node;

    while ((node = tg_list_first(&call->held)) != NULL) {
        struct tg_call_held *held = TG_CONTAINER_OF(node, struct tg_call_held, node);
        tg_list_remove(node);
        held->drop(held);
    }
}

static void leave_root(struct tg_call *call)
{
    if (call->root == call)
        return;
    tg_list_remove(&call->sibling);
    call->root->task_count--;
    call->root = call;
}

/* Ends the call: tells its owner unless it was cancelled, and frees it. */
static void finish(struct tg_call *call, enum tg_call_outcome outcome, int results,
                   const char *text, const char *traceback)
{
    struct tg_generation *generation = call->generation;
    bool mine = tg__turns_hold();
    bool tell = !call->cancelled;

    call->cancelled = true;
    cancel_tasks(call);
    drop_held(call);
    leave_root(call);
    tg__wall_stop(call);
    tg_list_remove(&call->ready);
    if (tell)
        call->on_done(call, outcome, results, text, traceback);
    else if (call->on_dropped != NULL)
        call->on_dropped(call);
    tg_task_report_unheard(call);
    tg_list_remove(&call->node);
    generation->call_count--;
    tg__call_give(call, outcome == TG_CALL_OK);
    if (outcome == TG_CALL_MEMORY)
        tg__door_collect(generation);
    if (generation->env->host != NULL)
        tg__host_call_ended(generation->env->host, generation);
    /* Whoever cancels is in the middle of something, and scripts must not run into it. */
    tg__turns_let_go(mine, tell);
}

static void trace(const struct tg_call *call, struct tg_failure *failure)
{
    failure->traceback = tg__failure_kept_trace(call->generation, failure->outcome);
    if (failure->traceback == NULL)
        failure->traceback = tg__door_traceback(call->generation, call->co);
}

static void finish_traced(struct tg_call *call, struct tg_failure *failure)
{
    finish(call, failure->outcome, 0, failure->error.text, failure->traceback);
    tg_free(failure->traceback);
}

void tg__call_fail(struct tg_call *call, struct tg_failure *failure)
{
    trace(call, failure);
    finish_traced(call, failure);
}

/* --- a turn --------------------------------------------------------------------------------------- */

/* Writes back the sessions that the root has read; a session that cannot be kept is an error of the
 * script like any other. */
static enum tg_call_outcome keep_sessions(struct tg_call *call, enum tg_call_outcome outcome,
                                          struct tg_error *error)
{
    bool well = outcome == TG_CALL_OK || outcome == TG_CALL_YIELDED;
    bool ended = call->root == call && outcome != TG_CALL_YIELDED;

    if (!call->root->sessions_read)
        return outcome;
    enum tg_err err = tg_session_keep(call->root, ended, error);
    return well && err != TG_ERR_OK ? TG_CALL_ERROR : outcome;
}

/* I4: what is over a budget is the root, whichever of its tasks it was. The task is gone when the root no
 * longer waits for it. */
static void end_failed(struct tg_call *call, struct tg_failure *failure)
{
    bool over = failure->outcome == TG_CALL_CPU_BUDGET || failure->outcome == TG_CALL_MEMORY;
    struct tg_call *ends = over ? call->root : call;

    trace(call, failure);
    drop_wait(ends);
    finish_traced(ends, failure);
}

static void after_yield(struct tg_call *call)
{
    struct tg_failure failure = {.outcome = TG_CALL_ERROR};

    if (call->wait_cancel != NULL && tg__wall_arm(call))
        return;
    if (call->wait_cancel != NULL) {
        drop_wait(call);
        finish(call, TG_CALL_MEMORY, 0, "out of memory for the wall timer", NULL);
        return;
    }
    (void)tg_error_set(&failure.error, TG_ERR_SCRIPT, "yielded outside a coroutine");
    tg__call_fail(call, &failure);
}

/* The text of a failure takes some hundred bytes that most calls do not need. */
static void after_more(struct tg_call *call, enum tg_call_outcome resumed)
{
    struct tg_failure failure = {.outcome = resumed};
    enum tg_call_outcome outcome = keep_sessions(call, resumed, &failure.error);

    failure.outcome = outcome;
    if (outcome == TG_CALL_YIELDED && !call->cancelled) {
        after_yield(call);
        return;
    }
    drop_wait(call);
    if (outcome == TG_CALL_OK) {
        finish(call, outcome, lua_gettop(call->co), NULL, NULL);
    } else if (call->cancelled) {
        finish(call, TG_CALL_ERROR, 0, NULL, NULL);
    } else {
        call->raised = outcome == resumed && outcome == TG_CALL_ERROR;
        if (outcome == resumed)
            tg__failure_describe(call->generation, call->co, &failure);
        end_failed(call, &failure);
    }
}

void tg__call_resume_metered(struct tg_call *call)
{
    struct tg_generation *generation = call->generation;
    int args = call->args;

    call->args = 0;
    call->running = true;
    generation->current = call;
    int status = lua_resume(call->co, args);
    bool expired = tg__door_leave(generation);
    generation->current = NULL;
    call->running = false;
    assert(lua_gettop(generation->L) == 0);
    enum tg_call_outcome outcome = tg__door_outcome(generation, status, expired);
    if (outcome == TG_CALL_OK && !call->root->sessions_read && call->wait_cancel == NULL)
        finish(call, outcome, lua_gettop(call->co), NULL, NULL);
    else
        after_more(call, outcome);
}

void tg__call_resume(struct tg_call *call)
{
    tg__door_enter(call->generation);
    tg__call_resume_metered(call);
}

void tg__call_wall_over(struct tg_call *call)
{
    struct tg_failure failure = {.outcome = TG_CALL_WALL_BUDGET};
    char place[TG_METER_WHERE_SIZE];

    tg__failure_place(call->co, place, sizeof place);
    (void)tg_error_set(&failure.error, TG_ERR_BUDGET,
                       "%stook longer than %llums in all (script.wall_budget)", place,
                       (unsigned long long)call->wall_ms);
    drop_wait(call);
    tg__call_fail(call, &failure);
}

/* --- from outside --------------------------------------------------------------------------------- */

struct tg_call *tg_call_create(struct tg_generation *generation, enum tg_call_kind kind,
                               uint64_t conn_serial, uint64_t wall_ms, tg_call_done_fn on_done,
                               void *owner)
{
    struct tg_call *call = tg__call_take(generation);

    if (call == NULL)
        return NULL;
    call->generation = generation;
    call->kind = kind;
    call->works_as = kind;
    call->root = call;
    call->conn_serial = conn_serial;
    call->wall_ms = wall_ms;
    call->on_done = on_done;
    call->owner = owner;
    tg_list_init(&call->ready);
    tg_list_init(&call->tasks);
    tg_list_init(&call->sibling);
    tg_list_init(&call->unheard);
    tg_list_init(&call->waiting);
    tg_list_init(&call->held);
    tg_list_push(&generation->calls, &call->node);
    generation->call_count++;
    return call;
}

struct tg_call *tg_call_create_task(struct tg_call *parent, tg_call_done_fn on_done,
                                    tg_call_dropped_fn on_dropped, void *owner)
{
    assert(!parent->cancelled);
    struct tg_call *call =
        tg_call_create(parent->generation, TG_CALL_TASK, parent->conn_serial, 0, on_done, owner);

    if (call == NULL)
        return NULL;
    call->works_as = parent->works_as;
    call->hook = parent->hook;
    call->on_dropped = on_dropped;
    call->root = parent->root;
    call->root->task_count++;
    tg_list_push(&parent->tasks, &call->sibling);
    return call;
}

void tg_call_cancel(struct tg_call *call)
{
    if (call->cancelled)
        return;
    call->cancelled = true;
    if (!call->running)
        drop_wait(call);
    cancel_tasks(call);
    leave_root(call); /* also when it runs: its root may be gone before it stops */
    if (!call->running)
        finish(call, TG_CALL_ERROR, 0, NULL, NULL);
}

void tg_call_hold(struct tg_call *call, struct tg_call_held *held)
{
    tg_list_push(&call->root->held, &held->node);
}

void tg_call_abandon(struct tg_call *call, const char *why)
{
    struct tg_failure failure = {.outcome = TG_CALL_ERROR};

    assert(!call->running);
    if (call->cancelled)
        return;
    (void)tg_error_set(&failure.error, TG_ERR_CLOSED, "%s", why);
    drop_wait(call);
    tg__call_fail(call, &failure);
}
