/* call_start.c - what a call begins with, and what it is woken with. */
#include <assert.h>

#include <lua.h>

#include "base/stopwatch.h"
#include "script/call/call_failure.h"
#include "script/call/call_internal.h"

/* The outcome of a builder that ran on the call's own coroutine; ends the call when it failed. */
static bool is_built(struct tg_call *call, int status, bool expired)
{
    struct tg_failure failure;
    enum tg_call_outcome outcome = tg__door_outcome(call->generation, status, expired);

    if (outcome == TG_CALL_OK)
        return true;
    failure = (struct tg_failure){.outcome = outcome};
    tg__failure_describe(call->generation, call->co, &failure);
    tg__call_fail(call, &failure);
    return false;
}

/* Nobody is before it: one time on the meter is enough for the builder and for what it is resumed with. */
static void start_now(struct tg_call *call, int (*builder)(struct lua_State *L), void *ud)
{
    struct tg_generation *generation = call->generation;

    tg__door_enter(generation);
    int status = tg__door_push(generation, call->co, builder, ud);
    if (status == 0) {
        call->args = lua_gettop(call->co) - 1;
        tg__call_resume_metered(call);
    } else {
        (void)is_built(call, status, tg__door_leave(generation));
    }
}

static void start_in_turn(struct tg_call *call, int (*builder)(struct lua_State *L), void *ud)
{
    struct tg_generation *generation = call->generation;
    bool meter = tg__door_is_free();

    if (meter)
        tg__door_enter(generation);
    int status = tg__door_push(generation, call->co, builder, ud);
    bool expired = meter && tg__door_leave(generation);
    if (!is_built(call, status, expired))
        return;
    call->args = lua_gettop(call->co) - 1;
    tg__turns_line_up(call);
}

void tg_call_start(struct tg_call *call, int (*builder)(struct lua_State *L), void *ud)
{
    bool mine = tg__turns_hold();

    call->started_ns = tg_stopwatch_ns();
    if (mine && tg__door_is_free() && !tg__turns_wanted())
        start_now(call, builder, ud);
    else
        start_in_turn(call, builder, ud);
    tg__turns_let_go(mine, true);
}

/* Moves what the builder makes to the coroutine, which waits; ends the call when it fails. */
static bool build_into(struct tg_call *call, int (*builder)(lua_State *L), void *ud, int *count)
{
    struct tg_failure failure = {.outcome = TG_CALL_OK};

    failure.outcome =
        tg__door_build(call->generation, call->co, builder, ud, count, &failure.error);
    if (failure.outcome == TG_CALL_OK)
        return true;
    tg__call_fail(call, &failure);
    return false;
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
    bool mine = tg__turns_hold();
    tg__turns_line_up(call);
    tg__turns_let_go(mine, true);
}
