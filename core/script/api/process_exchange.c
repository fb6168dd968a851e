/* process_exchange.c - one run's request and the lines that answer it: what has come is kept for the script,
 * which waits for it.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/log.h"
#include "script/api/process_child.h"
#include "script/policy/generation.h"

#define QUEUE_BYTES_MAX ((size_t)1 << 20)
#define CANCELS_BYTES_MAX ((size_t)8 << 20) /* that the process has not read */

static struct tg_timers *timers_of(const struct tg_exchange *exchange)
{
    return exchange->generation->env->timers;
}

bool tg_exchange_charge(struct tg_exchange *exchange)
{
    return tg_generation_charge(exchange->generation, &exchange->charged,
                                exchange->request.capacity + exchange->lines.capacity);
}

static void set_queued(struct tg_child *child, size_t queued)
{
    child->queued = queued;
    if (queued > QUEUE_BYTES_MAX)
        tg_child_set_pause(child, TG_CHILD_QUEUE_FULL, true);
    else if (queued <= QUEUE_BYTES_MAX / 2)
        tg_child_set_pause(child, TG_CHILD_QUEUE_FULL, false);
}

static void drop_lines(struct tg_exchange *exchange)
{
    if (exchange->child != NULL)
        set_queued(exchange->child, exchange->child->queued - exchange->lines.len);
    tg_buffer_fini(&exchange->lines);
    (void)tg_exchange_charge(exchange);
}

/* --- waiting ------------------------------------------------------------------------------------ */

/* Pushes whether it was in time, and gives up what kept the object. */
static int build_woken(lua_State *L)
{
    struct tg_exchange *exchange = lua_touserdata(L, 1);
    int ref = exchange->ref;

    exchange->ref = LUA_NOREF;
    lua_pushboolean(L, exchange->in_time);
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    return 1;
}

/* The last thing that is done with it: it may be collected in here. */
static void wake(struct tg_exchange *exchange, bool in_time)
{
    struct tg_call *call = exchange->waiter;

    if (call == NULL)
        return;
    tg_timer_stop(timers_of(exchange), &exchange->idle);
    exchange->waiter = NULL;
    exchange->in_time = in_time;
    tg_call_wake(call, build_woken, exchange);
}

static void on_idle(struct tg_timer *timer)
{
    struct tg_exchange *exchange = TG_CONTAINER_OF(timer, struct tg_exchange, idle);

    wake(exchange, exchange->code != NULL);
}

static void cancel_wait(struct tg_call *call, void *wait)
{
    struct tg_exchange *exchange = wait;

    (void)call;
    tg_timer_stop(timers_of(exchange), &exchange->idle);
    exchange->waiter = NULL;
    luaL_unref(exchange->generation->L, LUA_REGISTRYINDEX, exchange->ref);
    exchange->ref = LUA_NOREF;
    tg_exchange_end(exchange, false);
}

int tg_exchange_wait(struct lua_State *L, int index, uint64_t ms)
{
    struct tg_exchange *exchange = lua_touserdata(L, index);

    if (exchange->lines.len > 0 || exchange->code != NULL || exchange->child == NULL) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushvalue(L, index);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    if (tg_timer_start(timers_of(exchange), &exchange->idle, ms, on_idle) != TG_ERR_OK) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        return luaL_error(L, "not enough memory");
    }
    assert(exchange->waiter == NULL);
    exchange->ref = ref;
    exchange->waiter = tg_call_current(L);
    return tg_call_suspend(L, cancel_wait, exchange);
}

/* --- its life ----------------------------------------------------------------------------------- */

static void on_dropped(struct tg_call_held *held)
{
    tg_exchange_end(TG_CONTAINER_OF(held, struct tg_exchange, held), false);
}

void tg_exchange_begin(struct tg_exchange *exchange, struct tg_child *child)
{
    exchange->child = child;
    exchange->held.drop = on_dropped;
    tg_list_push(&child->exchanges, &exchange->node);
    tg_call_hold(tg_call_current(exchange->generation->L), &exchange->held);
}

/* A line of its own; a child that reads nothing is not told. */
static void tell_cancel(const struct tg_child *child, const char *run_id)
{
    char line[TG_RUN_ID_ROOM + 64];
    int len =
        snprintf(line, sizeof line, "{\"type\":\"agent_cancel\",\"run_id\":\"%s\"}\n", run_id);

    if (tg_process_unwritten(child->process) < CANCELS_BYTES_MAX &&
        tg_process_write(child->process, line, (size_t)len) == TG_ERR_OK)
        return;
    tg_log(TG_LOG_WARN, "process.cancel_not_told", tg_log_str("name", child->name),
           tg_log_str("run", run_id));
}

void tg_exchange_end(struct tg_exchange *exchange, bool answered)
{
    struct tg_child *child = exchange->child;

    if (child == NULL)
        return;
    drop_lines(exchange);
    exchange->child = NULL;
    tg_list_remove(&exchange->node);
    tg_list_remove(&exchange->held.node);
    if (answered)
        child->answered = true;
    else if (child->process != NULL && exchange->sent)
        tell_cancel(child, exchange->run_id);
    tg_buffer_fini(&exchange->request);
    (void)tg_exchange_charge(exchange);
}

void tg_exchange_fail(struct tg_exchange *exchange, const char *code, const char *text,
                      const char *why)
{
    if (exchange->code != NULL)
        return;
    exchange->code = code;
    exchange->text = text;
    (void)snprintf(exchange->why, sizeof exchange->why, "%s", why);
    /* It runs already, so moving it needs no memory; were it not to move, it would come later. */
    if (exchange->waiter != NULL &&
        tg_timer_start(timers_of(exchange), &exchange->idle, 0, on_idle) != TG_ERR_OK)
        tg_log(TG_LOG_WARN, "process.late", tg_log_str("run", exchange->run_id));
}

void tg_exchange_take_line(struct tg_exchange *exchange, const char *data, size_t len)
{
    size_t before = exchange->lines.len;

    if (exchange->code != NULL)
        return;
    tg_buffer_fini(&exchange->request);
    enum tg_err err = tg_buffer_append(&exchange->lines, data, len);
    if (err == TG_ERR_OK)
        err = tg_buffer_append(&exchange->lines, "\n", 1);
    if (err != TG_ERR_OK || !tg_exchange_charge(exchange)) {
        tg_buffer_fini(&exchange->lines);
        (void)tg_exchange_charge(exchange);
        set_queued(exchange->child, exchange->child->queued - before);
        tg_exchange_fail(exchange, "bad_upstream_answer",
                         "the upstream sent more at once than is allowed",
                         "no memory for its lines (script.memory)");
        return;
    }
    set_queued(exchange->child, exchange->child->queued + len + 1);
    wake(exchange, true);
}

const char *tg_exchange_peek(const struct tg_exchange *exchange, size_t *len)
{
    const char *data = (const char *)tg_buffer_head(&exchange->lines);

    if (data == NULL)
        return NULL;
    *len = (size_t)((const char *)memchr(data, '\n', exchange->lines.len) - data);
    return data;
}

void tg_exchange_taken(struct tg_exchange *exchange, size_t len)
{
    tg_buffer_consume(&exchange->lines, len + 1, 4096);
    (void)tg_exchange_charge(exchange);
    if (exchange->child != NULL)
        set_queued(exchange->child, exchange->child->queued - len - 1);
}
