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
 * Protected work and the meter are in call_door.c, whose turn it is in call_turns.c, the pool of
 * coroutines in call_coroutine.c, what a failure is called in call_failure.c, what scripts' C functions
 * use in call_wait.c.
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

/* When a paused wall timer is due. It stays among the running ones, so that setting it again needs no
 * memory. */
#define NEVER_MS (UINT64_MAX / 4)

const char *const tg_call_outcome_names[TG_CALL_MEMORY + 1] = {
    [TG_CALL_OK] = "ok",
    [TG_CALL_YIELDED] = "yielded",
    [TG_CALL_ERROR] = "error",
    [TG_CALL_CPU_BUDGET] = "cpu_budget",
    [TG_CALL_WALL_BUDGET] = "wall_budget",
    [TG_CALL_MEMORY] = "memory",
};

/* --- the end of a call ---------------------------------------------------------------------------- */

static struct tg_timers *timers_of(const struct tg_call *call)
{
    return call->generation->env->timers;
}

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
    if (tg_timer_running(&call->wall_timer))
        tg_timer_stop(timers_of(call), &call->wall_timer);
    tg_list_remove(&call->ready);
    if (tell)
        call->on_done(call, outcome, results, text, traceback);
    else if (call->on_dropped != NULL)
        call->on_dropped(call);
    tg_task_report_unheard(call);
    tg__call_give_coroutine(call, outcome == TG_CALL_OK);
    if (outcome == TG_CALL_MEMORY)
        tg__door_collect(generation);
    tg_list_remove(&call->node);
    generation->call_count--;
    tg_free(call);
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

static void finish_failed(struct tg_call *call, struct tg_failure *failure)
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

static void after_resume(struct tg_call *call, enum tg_call_outcome resumed)
{
    struct tg_failure failure = {.outcome = resumed};
    enum tg_call_outcome outcome = keep_sessions(call, resumed, &failure.error);

    failure.outcome = outcome;
    if (outcome == TG_CALL_YIELDED && call->wait_cancel != NULL && !call->cancelled)
        return;
    drop_wait(call);
    if (outcome == TG_CALL_OK) {
        finish(call, outcome, lua_gettop(call->co), NULL, NULL);
    } else if (call->cancelled) {
        finish(call, TG_CALL_ERROR, 0, NULL, NULL);
    } else if (outcome == TG_CALL_YIELDED) {
        failure.outcome = TG_CALL_ERROR;
        (void)tg_error_set(&failure.error, TG_ERR_SCRIPT, "yielded outside a coroutine");
        finish_failed(call, &failure);
    } else {
        call->raised = outcome == resumed && outcome == TG_CALL_ERROR;
        if (outcome == resumed)
            tg__failure_describe(call->generation, call->co, &failure);
        end_failed(call, &failure);
    }
}

void tg__call_resume(struct tg_call *call)
{
    struct tg_generation *generation = call->generation;
    int args = call->args;

    call->args = 0;
    call->running = true;
    generation->current = call;
    tg__door_enter(generation);
    int status = lua_resume(call->co, args);
    bool expired = tg__door_leave(generation);
    generation->current = NULL;
    call->running = false;
    assert(lua_gettop(generation->L) == 0);
    after_resume(call, tg__door_outcome(generation, status, expired));
}

/* --- the wall budget ------------------------------------------------------------------------------ */

static void on_wall_timer(struct tg_timer *timer)
{
    struct tg_call *call = TG_CONTAINER_OF(timer, struct tg_call, wall_timer);
    struct tg_failure failure = {.outcome = TG_CALL_WALL_BUDGET};
    char place[TG_METER_WHERE_SIZE];

    tg__failure_place(call->co, place, sizeof place);
    (void)tg_error_set(&failure.error, TG_ERR_BUDGET,
                       "%stook longer than %llums in all (script.wall_budget)", place,
                       (unsigned long long)call->wall_ms);
    drop_wait(call);
    finish_failed(call, &failure);
}

/* A timer that runs can always be set again. */
static void set_wall_timer(struct tg_call *root, uint64_t delay_ms)
{
    enum tg_err err = tg_timer_start(timers_of(root), &root->wall_timer, delay_ms, on_wall_timer);

    assert(err == TG_ERR_OK || err == TG_ERR_CLOSED);
    (void)err;
}

void tg_call_pause_wall(struct tg_call *call)
{
    struct tg_call *root = call->root;

    if (root->wall_pauses++ > 0 || !tg_timer_running(&root->wall_timer))
        return;
    uint64_t now = tg_timers_now_ms(timers_of(root));
    uint64_t due = root->wall_timer.due_ms;
    root->wall_left_ms = due > now ? due - now : 1;
    set_wall_timer(root, NEVER_MS);
}

void tg_call_resume_wall(struct tg_call *call)
{
    struct tg_call *root = call->root;

    assert(root->wall_pauses > 0);
    if (--root->wall_pauses == 0 && tg_timer_running(&root->wall_timer))
        set_wall_timer(root, root->wall_left_ms);
}

/* --- from outside --------------------------------------------------------------------------------- */

struct tg_call *tg_call_create(struct tg_generation *generation, enum tg_call_kind kind,
                               uint64_t conn_serial, uint64_t wall_ms, tg_call_done_fn on_done,
                               void *owner)
{
    struct tg_call *call = tg_calloc(1, sizeof *call);

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
    if (!tg__call_take_coroutine(call)) {
        tg_free(call);
        return NULL;
    }
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

/* Moves what the builder makes to the coroutine; ends the call when it fails. */
static bool build_into(struct tg_call *call, int (*builder)(lua_State *L), void *ud, int *count)
{
    struct tg_failure failure = {.outcome = TG_CALL_OK};

    failure.outcome =
        tg__door_build(call->generation, call->co, builder, ud, count, &failure.error);
    if (failure.outcome == TG_CALL_OK)
        return true;
    finish_failed(call, &failure);
    return false;
}

void tg_call_start(struct tg_call *call, int (*builder)(struct lua_State *L), void *ud)
{
    int count;

    call->started_ns = tg_clock_monotonic_ns();
    if (!build_into(call, builder, ud, &count))
        return;
    call->args = count - 1;
    if (call->wall_ms != 0 && timers_of(call) != NULL &&
        tg_timer_start(timers_of(call), &call->wall_timer, call->wall_ms, on_wall_timer) !=
            TG_ERR_OK) {
        /* A hook that nobody would end in time must not begin. */
        finish(call, TG_CALL_MEMORY, 0, "out of memory for the wall timer", NULL);
        return;
    }
    tg__turns_take(call);
}

void tg_call_wake(struct tg_call *call, int (*builder)(struct lua_State *L), void *ud)
{
    int count = 0;

    assert(call->wait_cancel != NULL && !call->running);
    call->wait_cancel = NULL;
    call->wait = NULL;
    lua_settop(call->co, 0);
    if (builder != NULL && !build_into(call, builder, ud, &count))
        return;
    call->args = count;
    tg__turns_take(call);
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
    finish_failed(call, &failure);
}
