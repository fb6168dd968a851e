/* call_wall.c - how long a call may take in all.
 *
 * I1  The timer runs from the first wait on. Before that the call runs, and so the loop does not and no timer
 *     could fire; or it is ready, and its turn comes. Most calls never wait: to them the wall budget costs
 *     nothing.
 * I2  A timer that runs can always be set again; so a paused one runs on, and is due in NEVER_MS.
 */
#include <assert.h>

#include "base/stopwatch.h"
#include "script/call/call_internal.h"

#define NEVER_MS (UINT64_MAX / 4)

static struct tg_timers *timers_of(const struct tg_call *call)
{
    return call->generation->env->timers;
}

static bool has_budget(const struct tg_call *root)
{
    return root->wall_ms != 0 && timers_of(root) != NULL;
}

/* Since its start. */
static uint64_t age_ms(const struct tg_call *root)
{
    return tg_stopwatch_since_ns(root->started_ns) / 1000000;
}

static uint64_t left_ms(const struct tg_call *root)
{
    uint64_t now_ms = root->wall_due_ms != 0 ? tg_timers_now_ms(timers_of(root)) : age_ms(root);
    uint64_t due_ms = root->wall_due_ms != 0 ? root->wall_due_ms : root->wall_ms;

    return due_ms > now_ms ? due_ms - now_ms : 1;
}

static void on_wall_timer(struct tg_timer *timer)
{
    tg__call_wall_over(TG_CONTAINER_OF(timer, struct tg_call, wall_timer));
}

static void set_again(struct tg_call *root, uint64_t delay_ms)
{
    if (!tg_timer_running(&root->wall_timer))
        return;
    enum tg_err err = tg_timer_start(timers_of(root), &root->wall_timer, delay_ms, on_wall_timer);
    assert(err == TG_ERR_OK || err == TG_ERR_CLOSED);
    (void)err;
}

bool tg__wall_arm(struct tg_call *call)
{
    if (!has_budget(call) || tg_timer_running(&call->wall_timer))
        return true;
    uint64_t delay_ms = NEVER_MS;
    if (call->wall_pauses == 0) {
        delay_ms = left_ms(call);
        call->wall_due_ms = tg_timers_now_ms(timers_of(call)) + delay_ms;
    }
    return tg_timer_start(timers_of(call), &call->wall_timer, delay_ms, on_wall_timer) == TG_ERR_OK;
}

void tg__wall_stop(struct tg_call *call)
{
    if (tg_timer_running(&call->wall_timer))
        tg_timer_stop(timers_of(call), &call->wall_timer);
}

void tg_call_pause_wall(struct tg_call *call)
{
    struct tg_call *root = call->root;

    if (root->wall_pauses++ > 0 || !has_budget(root))
        return;
    root->wall_left_ms = left_ms(root);
    set_again(root, NEVER_MS);
}

void tg_call_resume_wall(struct tg_call *call)
{
    struct tg_call *root = call->root;

    assert(root->wall_pauses > 0);
    if (--root->wall_pauses > 0 || !has_budget(root))
        return;
    root->wall_due_ms = tg_timers_now_ms(timers_of(root)) + root->wall_left_ms;
    set_again(root, root->wall_left_ms);
}
