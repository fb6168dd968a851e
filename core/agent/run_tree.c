/* run_tree.c - runs that call runs: how children begin, end with their parents, and are told about.
 *
 *   parent ──[call]──> child ──[ends by itself]──> the parent's watch hears of it, or, after a hand-off,
 *      │                 ^                         the parent ends with its result
 *      └──[ends]─────────┴──[given up]──> cancelled, told to nobody
 *
 * I6  A child is on its parent's list, and counted by the outermost run, until its end begins.
 * I7  While a child has a watch, its parent goes on: whatever ends the parent takes the watch away first.
 *     The executor's part is to give up what its script no longer waits for.
 */
#include <stdio.h>
#include <string.h>

#include "agent/run_internal.h"

/* Longest pause that timers can keep: children always have one, so that setting it again needs no memory. */
#define NEVER_MS (UINT64_MAX / 4)

static const struct tg_run_result given_up = {
    .outcome = TG_RUN_CANCELLED_OUTCOME,
    .code = "cancelled",
    .message = "the run that called it gave it up",
};

static void on_timeout(struct tg_timer *timer)
{
    struct tg_run *run = TG_CONTAINER_OF(timer, struct tg_run, timeout);
    tg__run_end_from_outside(run,
                             &(struct tg_run_result){.outcome = TG_RUN_TIMEOUT_OUTCOME,
                                                     .code = "timeout",
                                                     .message = "the run took longer than it may"});
}

static void on_given_up(struct tg_timer *timer)
{
    tg__run_end_from_outside(TG_CONTAINER_OF(timer, struct tg_run, timeout), &given_up);
}

/* The shorter of the agent's and everybody's. */
enum tg_err tg__run_arm(struct tg_run *run)
{
    uint64_t of_agent = run->limits.timeout_ms, of_all = run->runs->options.timeout_ms;
    uint64_t delay = of_agent == 0 || (of_all > 0 && of_all < of_agent) ? of_all : of_agent;
    if (delay == 0)
        delay = NEVER_MS;
    return tg_timer_start(tg_hub_get_timers(run->runs->hub), &run->timeout, delay, on_timeout);
}

static void unwatch(struct tg_run *run)
{
    if (run->watch != NULL)
        run->watch->child = NULL;
    run->watch = NULL;
}

static enum tg_err check_call(const struct tg_run *parent, const struct tg_run_request *request,
                              struct tg_run_limits *limits)
{
    const struct tg_run_executor *executor = &parent->runs->executor;
    if (parent->over)
        return TG_ERR_CLOSED;
    if (!executor->find_agent(executor->host, parent, request->agent, limits))
        return TG_ERR_NOT_FOUND;
    if (parent->depth >= TG_RUN_DEPTH_MAX)
        return TG_ERR_ILLEGAL;
    return parent->outermost->below >= parent->runs->options.max_children ? TG_ERR_LIMIT
                                                                          : TG_ERR_OK;
}

enum tg_err tg_runs_call(struct tg_run *parent, const struct tg_run_request *request,
                         struct tg_run_watch *watch)
{
    struct tg_run_limits limits = {0};
    struct tg_run *child = NULL;
    watch->child = NULL;
    enum tg_err err = check_call(parent, request, &limits);
    if (err == TG_ERR_OK)
        err = tg__run_create(&child, parent->runs, parent, NULL, request->agent, &limits);
    if (err != TG_ERR_OK)
        return err;
    tg_list_push(&parent->children, &child->sibling);
    parent->outermost->below++;
    return tg__run_launch(child, request, watch);
}

void tg_run_give_up(struct tg_run_watch *watch)
{
    struct tg_run *child = watch->child;
    if (child == NULL)
        return;
    unwatch(child);
    /* Not now: its last events could end the connection, in the middle of what its parent is doing. */
    if (!child->over) {
        enum tg_err err =
            tg_timer_start(tg_hub_get_timers(child->runs->hub), &child->timeout, 0, on_given_up);
        (void)err; /* it runs already, so that this cannot fail */
    }
}

void tg__run_leave_parent(struct tg_run *run)
{
    if (run->parent == NULL)
        return;
    tg_list_remove(&run->sibling);
    run->outermost->below--;
    run->parent = NULL;
    run->outermost = run;
}

void tg__run_end_children(struct tg_run *run, enum tg_run_outcome outcome)
{
    struct tg_run_result result = {
        .outcome = outcome == TG_RUN_LOST_OUTCOME ? outcome : TG_RUN_CANCELLED_OUTCOME,
        .code = outcome == TG_RUN_LOST_OUTCOME ? "connection_lost" : "cancelled",
        .message = outcome == TG_RUN_LOST_OUTCOME ? "the connection has ended"
                                                  : "the run that called it has ended",
    };
    struct tg_list *node;
    while ((node = tg_list_first(&run->children)) != NULL) {
        struct tg_run *child = TG_CONTAINER_OF(node, struct tg_run, sibling);
        unwatch(child);
        tg__run_end_from_outside(child, &result);
    }
}

void tg__run_tell_parent(struct tg_run *run, struct tg_run *parent,
                         const struct tg_run_result *result)
{
    struct tg_run_watch *watch = run->watch;
    if (watch == NULL) /* also when the parent has ended meanwhile */
        return;
    unwatch(run);
    if (watch->ended != NULL) {
        watch->ended(watch, result);
        return;
    }
    struct tg_run_result handed_off = *result;
    handed_off.handed_off_to = run->id;
    tg__run_end_from_outside(parent, &handed_off);
}

enum tg_err tg_run_spend(struct tg_run *run, uint64_t tokens, uint64_t *left)
{
    char message[80];
    struct tg_run *broke = NULL;
    *left = UINT64_MAX;
    if (run->over)
        return TG_ERR_CLOSED;
    for (struct tg_run *at = run; at != NULL; at = at->parent) {
        uint64_t max = at->limits.max_tokens;
        at->tokens = tokens > UINT64_MAX - at->tokens ? UINT64_MAX : at->tokens + tokens;
        if (max == 0)
            continue;
        if (at->tokens > max)
            broke = at;
        else if (max - at->tokens < *left)
            *left = max - at->tokens;
    }
    if (broke == NULL)
        return TG_ERR_OK;
    (void)snprintf(message, sizeof message, "the run used more than %llu tokens",
                   (unsigned long long)broke->limits.max_tokens);
    tg__run_end_from_outside(broke, &(struct tg_run_result){.outcome = TG_RUN_BUDGET_OUTCOME,
                                                            .code = "token_budget",
                                                            .message = message});
    return TG_ERR_CLOSED;
}
