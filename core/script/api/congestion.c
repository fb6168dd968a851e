/* congestion.c - see congestion.h.
 *
 * The limit on the wait is the connection's own (limits.outbox_timeout), so the wall timer of the call
 * stands still meanwhile: a slow client is ended as a slow client, not as a slow script.
 */
#include "script/api/congestion.h"

#include <lua.h>

#include "base/memory.h"
#include "connection/connection.h"
#include "script/api/api.h"
#include "script/call.h"
#include "script/coroutine.h"

struct room_wait {
    struct tg_drain_waiter waiter;
    struct tg_call *call;  /* borrowed: it ends the wait before it ends */
    uint64_t wall_left_ms; /* 0: it had no wall timer */
};

static struct tg_timers *timers_of(const struct tg_call *call)
{
    return call->generation->env->timers;
}

static void stop_wall_clock(struct room_wait *wait)
{
    struct tg_timer *timer = &wait->call->wall_timer;
    uint64_t now = tg_timers_now_ms(timers_of(wait->call));
    if (!tg_timer_running(timer))
        return;
    wait->wall_left_ms = timer->due_ms > now ? timer->due_ms - now : 1;
    tg_timer_stop(timers_of(wait->call), timer);
}

static bool start_wall_clock(const struct room_wait *wait)
{
    struct tg_timer *timer = &wait->call->wall_timer;
    return wait->wall_left_ms == 0 ||
           tg_timer_start(timers_of(wait->call), timer, wait->wall_left_ms, timer->fn) == TG_ERR_OK;
}

static int build_true(lua_State *L)
{
    lua_settop(L, 0);
    return tg_api_push_result(L, TG_ERR_OK);
}

static int build_closed(lua_State *L)
{
    lua_settop(L, 0);
    return tg_api_push_result(L, TG_ERR_CLOSED);
}

static void on_room(struct tg_drain_waiter *waiter, bool open)
{
    struct room_wait *wait = TG_CONTAINER_OF(waiter, struct room_wait, waiter);
    struct tg_call *call = wait->call;
    bool timed = start_wall_clock(wait);
    tg_free(wait);
    if (!timed) { /* a hook that nobody would end in time must not go on */
        call->wait_cancel = NULL;
        tg_call_abandon(call, "out of memory for the wall timer");
        return;
    }
    tg_call_wake(call, open ? build_true : build_closed, NULL);
}

static void cancel_wait(struct tg_call *call, void *ud)
{
    struct room_wait *wait = ud;
    (void)call;
    tg_conn_stop_waiting(&wait->waiter);
    tg_free(wait);
}

/* The call that should wait, or NULL. */
static struct tg_call *waiting_call(lua_State *L, const struct tg_conn *conn)
{
    struct tg_call *call = tg_call_current(L);
    if (call == NULL || call->cancelled || !tg_conn_is_congested(conn) ||
        call->conn_serial != tg_conn_get_id(conn)->serial || !tg_coroutine_reaches(L, call->co))
        return NULL;
    return call;
}

int tg_api_return_sent(struct lua_State *L, struct tg_conn *conn, enum tg_err err)
{
    struct tg_call *call = err == TG_ERR_OK && conn != NULL ? waiting_call(L, conn) : NULL;
    if (call == NULL)
        return tg_api_push_result(L, err);
    struct room_wait *wait = tg_calloc(1, sizeof *wait);
    if (wait == NULL)
        return tg_api_push_result(L, err); /* the limit of the outbox is still there */
    wait->call = call;
    wait->waiter.fn = on_room;
    if (tg_conn_wait_drained(conn, &wait->waiter) != TG_ERR_OK) {
        tg_free(wait);
        return tg_api_push_result(L, err);
    }
    stop_wall_clock(wait);
    return tg_call_suspend(L, cancel_wait, wait);
}
