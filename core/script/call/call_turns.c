/* call_turns.c - whose turn it is on this thread: calls are resumed one at a time, in the order in which
 * they became ready, whatever generation they belong to.
 *
 * I5  Scripts that keep each other ready do not hold the loop: after TURNS_NS, or TURNS_MAX resumes, the
 *     others go on from the loop.
 */
#include "base/stopwatch.h"
#include "script/call/call_internal.h"

#define TURNS_NS UINT64_C(5000000)
#define TURNS_MAX 1000

static _Thread_local struct {
    bool taken; /* somebody goes through the ready calls, or will when it is through */
    struct tg_list ready;
    struct tg_timer later; /* for those that the loop did not wait for */
} turns;

bool tg__turns_hold(void)
{
    bool mine = !turns.taken;

    if (turns.ready.next == NULL)
        tg_list_init(&turns.ready);
    turns.taken = true;
    return mine;
}

static void on_later(struct tg_timer *timer)
{
    (void)timer;
    tg__turns_let_go(tg__turns_hold(), true);
}

/* False: there is no loop to go on from, or no memory for that. */
static bool go_on_later(void)
{
    const struct tg_call *next = TG_CONTAINER_OF(turns.ready.next, struct tg_call, ready);
    struct tg_timers *timers = next->generation->env->timers;

    return tg_timer_running(&turns.later) ||
           (timers != NULL && tg_timer_start(timers, &turns.later, 0, on_later) == TG_ERR_OK);
}

static void run_ready(void)
{
    uint64_t began_ns = 0;
    struct tg_list *node;

    for (int count = 0; (node = tg_list_first(&turns.ready)) != NULL; count++) {
        /* The first one holds up nobody: most are alone, and a clock costs a tenth of a hook call. */
        if (count == 1)
            began_ns = tg_stopwatch_ns();
        bool enough =
            count >= TURNS_MAX || (count > 1 && tg_stopwatch_since_ns(began_ns) > TURNS_NS);
        if (enough && go_on_later())
            return;
        tg_list_remove(node);
        tg__call_resume(TG_CONTAINER_OF(node, struct tg_call, ready));
    }
}

void tg__turns_let_go(bool mine, bool run)
{
    if (!mine)
        return;
    if (run || (!tg_list_empty(&turns.ready) && !go_on_later()))
        run_ready();
    turns.taken = false;
}

bool tg__turns_wanted(void)
{
    return !tg_list_empty(&turns.ready);
}

void tg__turns_line_up(struct tg_call *call)
{
    tg_list_push(&turns.ready, &call->ready);
}
