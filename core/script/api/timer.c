/* timer.c - the module tidegate.timer: work that the policy does by itself, once or again and again.
 *
 *   set ─[the generation serves]─> running ─[fires, cancelled, the generation is retired]─> over
 *
 * A timer belongs to the generation whose script has set it. What it fires is a call like a hook, without
 * a connection.
 *
 * I1  The object is anchored while the timer is set or its callback is under way: the generation's list,
 *     the heap of deadlines and the call point into it.
 * I2  One callback of a timer is under way at a time. A tick that finds it so is skipped and counted.
 */
#include "script/api/timer.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/log.h"
#include "script/api/api.h"
#include "script/call/call.h"
#include "script/hooks/hooks_internal.h"

#define TIMERS_MAX 1000
#define SECONDS_MAX 31536000.0
#define EVERY_SECONDS_MIN 0.01

static char metatable_key;
static char methods_key;

/* The userdata; its environment has the function at 1. */
struct script_timer {
    struct tg_timer timer;
    struct tg_list node;              /* generation->timers, while set */
    struct tg_generation *generation; /* borrowed: its state holds this */
    uint64_t interval_ms;
    bool repeats;
    bool set;
    struct tg_call *call; /* borrowed while the callback is under way */
    int anchor;
};

static struct tg_timers *timers_of(const struct script_timer *timer)
{
    return timer->generation->env->timers;
}

static void drop_anchor_if_over(struct script_timer *timer)
{
    if (timer->set || timer->call != NULL)
        return;
    luaL_unref(timer->generation->L, LUA_REGISTRYINDEX, timer->anchor);
    timer->anchor = LUA_NOREF;
}

static void unset(struct script_timer *timer)
{
    if (!timer->set)
        return;
    timer->set = false;
    timer->generation->timer_count--;
    tg_list_remove(&timer->node);
    if (tg_timer_running(&timer->timer))
        tg_timer_stop(timers_of(timer), &timer->timer);
}

/* --- a tick ---------------------------------------------------------------------------------------- */

static void count(const struct script_timer *timer, enum tg_hook_outcome outcome)
{
    struct tg_metrics *metrics = timer->generation->env->metrics;

    if (metrics != NULL)
        tg_counter_add(&metrics->timer_outcomes[outcome], 1);
}

static void log_failure(const struct script_timer *timer, enum tg_hook_outcome outcome,
                        const char *message, const char *traceback)
{
    tg_log(TG_LOG_ERROR, "timer.failed", tg_log_str("policy", timer->generation->version),
           tg_log_uint("worker", timer->generation->env->worker),
           tg_log_str("outcome", tg_hook_outcome_names[outcome]), tg_log_str("message", message),
           tg_log_str("traceback", traceback));
}

static void on_tick_done(struct tg_call *call, enum tg_call_outcome ended, int results,
                         const char *error_text, const char *traceback)
{
    struct script_timer *timer = call->owner;
    enum tg_hook_outcome outcome = tg__hook_outcome_of(ended);

    (void)results;
    timer->call = NULL;
    count(timer, outcome);
    if (outcome != TG_HOOK_OK_OUTCOME)
        log_failure(timer, outcome, error_text, traceback);
    drop_anchor_if_over(timer);
}

static void on_tick_dropped(struct tg_call *call)
{
    struct script_timer *timer = call->owner;

    timer->call = NULL;
    count(timer, TG_HOOK_CANCELLED_OUTCOME);
    drop_anchor_if_over(timer);
}

/* A builder for tg_call_start: the function and the timer. */
static int build_tick(lua_State *L)
{
    const struct script_timer *timer = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, timer->anchor);
    lua_getfenv(L, -1);
    lua_rawgeti(L, -1, 1);
    lua_pushvalue(L, -3);
    return 2;
}

static void begin_tick(struct script_timer *timer)
{
    struct tg_generation *generation = timer->generation;

    timer->call = tg_call_create(generation, TG_CALL_TIMER, 0, generation->env->wall_budget_ms,
                                 on_tick_done, timer);
    if (timer->call == NULL) {
        count(timer, TG_HOOK_MEMORY_OUTCOME);
        log_failure(timer, TG_HOOK_MEMORY_OUTCOME, "out of memory", NULL);
        drop_anchor_if_over(timer);
        return;
    }
    timer->call->on_dropped = on_tick_dropped;
    tg_call_start(timer->call, build_tick, timer);
}

static void on_timer(struct tg_timer *heap_timer);

/* TG_ERR_NOMEM, TG_ERR_CLOSED. */
static enum tg_err arm(struct script_timer *timer, uint64_t delay_ms)
{
    return tg_timer_start(timers_of(timer), &timer->timer, delay_ms, on_timer);
}

static void on_timer(struct tg_timer *heap_timer)
{
    struct script_timer *timer = TG_CONTAINER_OF(heap_timer, struct script_timer, timer);
    uint64_t late_ms = tg_timers_now_ms(timers_of(timer)) - tg_timer_due_ms(heap_timer);

    if (timer->repeats) {
        /* Ticks stay where they were meant to be, however late this one is. There is room in the heap:
         * this timer has just left it. */
        if (arm(timer, timer->interval_ms - late_ms % timer->interval_ms) != TG_ERR_OK)
            unset(timer);
    } else {
        unset(timer);
    }
    if (timer->call == NULL)
        begin_tick(timer);
    else if (timer->generation->env->metrics != NULL)
        tg_counter_add(&timer->generation->env->metrics->timer_ticks_skipped, 1);
}

/* --- with the generation --------------------------------------------------------------------------- */

void tg_lua_timers_begin(struct tg_generation *generation)
{
    generation->serves = true;
    TG_LIST_EACH (node, next, &generation->timers) {
        struct script_timer *timer = TG_CONTAINER_OF(node, struct script_timer, node);
        if (arm(timer, timer->interval_ms) != TG_ERR_OK) {
            log_failure(timer, TG_HOOK_MEMORY_OUTCOME, "out of memory: the timer does not begin",
                        NULL);
            unset(timer);
            drop_anchor_if_over(timer);
        }
    }
}

void tg_lua_timers_end(struct tg_generation *generation)
{
    generation->serves = false;
    while (!tg_list_empty(&generation->timers)) {
        struct script_timer *timer =
            TG_CONTAINER_OF(generation->timers.next, struct script_timer, node);
        unset(timer);
        drop_anchor_if_over(timer);
    }
}

/* --- what scripts call ----------------------------------------------------------------------------- */

static uint64_t check_interval(lua_State *L, const char *name, bool repeats)
{
    lua_Number seconds = lua_type(L, 1) == LUA_TNUMBER ? lua_tonumber(L, 1) : -1;
    lua_Number least = repeats ? EVERY_SECONDS_MIN : 0;

    if (!(seconds >= least && seconds <= SECONDS_MAX))
        luaL_error(L, "%s: seconds from %s to 31536000 (a year) expected", name,
                   repeats ? "0.01" : "0");
    if (lua_type(L, 2) != LUA_TFUNCTION)
        luaL_error(L, "%s: a function expected as second argument, got %s", name,
                   tg_api_type_name(L, 2));
    return (uint64_t)(seconds * 1000 + 0.5);
}

/* Leaves the new timer at 3. */
static struct script_timer *push_timer(lua_State *L)
{
    struct script_timer *timer = lua_newuserdata(L, sizeof *timer);

    memset(timer, 0, sizeof *timer);
    tg_list_init(&timer->node);
    timer->generation = tg_generation_of(L);
    timer->anchor = LUA_NOREF;
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, 3);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, 3);
    lua_pushvalue(L, 3);
    timer->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    return timer;
}

static int make_timer(lua_State *L, const char *name, bool repeats)
{
    struct tg_generation *generation = tg_generation_of(L);
    uint64_t interval_ms = check_interval(L, name, repeats);

    lua_settop(L, 2);
    if (generation->retired)
        return tg_api_push_failure(L, "reloaded");
    if (generation->timer_count == TIMERS_MAX)
        return tg_api_push_failure(L, "too many timers");
    struct script_timer *timer = push_timer(L);
    timer->interval_ms = interval_ms;
    timer->repeats = repeats;
    timer->set = true;
    generation->timer_count++;
    tg_list_push(&generation->timers, &timer->node);
    if (generation->serves && arm(timer, interval_ms) != TG_ERR_OK) {
        unset(timer);
        drop_anchor_if_over(timer);
        return tg_api_push_result(L, TG_ERR_NOMEM);
    }
    lua_pushvalue(L, 3);
    return 1;
}

/* timer.after(seconds, fn) -> timer | nil, why */
static int l_timer_after(lua_State *L)
{
    return make_timer(L, "timer.after", false);
}

/* timer.every(seconds, fn) -> timer | nil, why */
static int l_timer_every(lua_State *L)
{
    return make_timer(L, "timer.every", true);
}

static struct script_timer *check_timer(lua_State *L)
{
    struct script_timer *timer = tg_api_test_userdata(L, 1, &metatable_key);

    if (timer == NULL)
        luaL_error(L, "timer expected, got %s (call methods with a colon: timer:cancel())",
                   tg_api_type_name(L, 1));
    return timer;
}

/* timer:cancel() -> true | false: it was over already */
static int l_timer_cancel(lua_State *L)
{
    struct script_timer *timer = check_timer(L);
    bool set = timer->set;

    unset(timer);
    if (set)
        drop_anchor_if_over(timer);
    lua_pushboolean(L, set);
    return 1;
}

static int l_timer_index(lua_State *L)
{
    check_timer(L);
    return tg_api_index_method(L, &methods_key, "a timer", "timer:cancel()");
}

static int l_timer_tostring(lua_State *L)
{
    char text[64];
    const struct script_timer *timer = check_timer(L);

    (void)snprintf(text, sizeof text, "timer (%s %gs%s)", timer->repeats ? "every" : "after",
                   (double)timer->interval_ms / 1000, timer->set ? "" : ", over");
    lua_pushstring(L, text);
    return 1;
}

static const luaL_Reg metamethods[] = {
    {"__index", l_timer_index},
    {"__tostring", l_timer_tostring},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"cancel", l_timer_cancel},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"after", l_timer_after},
    {"every", l_timer_every},
    {NULL, NULL},
};

void tg_lua_timer_open_type(lua_State *L)
{
    tg_api_open_methods(L, "tidegate.Timer", &metatable_key, metamethods, &methods_key, methods);
}

int tg_lua_timer_open(lua_State *L)
{
    lua_createtable(L, 0, 2);
    tg_api_set_functions(L, functions);
    return 1;
}
