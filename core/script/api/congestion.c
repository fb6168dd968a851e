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
#include "script/call/call.h"
#include "script/call/coroutine.h"

struct room_wait {
    struct tg_drain_waiter waiter;
    struct tg_call *call; /* borrowed: it ends the wait before it ends */
};

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
    tg_free(wait);
    tg_call_resume_wall(call);
    tg_call_wake(call, open ? build_true : build_closed, NULL);
}

static void cancel_wait(struct tg_call *call, void *ud)
{
    struct room_wait *wait = ud;
    tg_conn_stop_waiting(&wait->waiter);
    tg_free(wait);
    tg_call_resume_wall(call);
}

/* The call that should wait, or NULL. */
static struct tg_call *waiting_call(lua_State *L, const struct tg_conn *conn)
{
    struct tg_call *call = tg_call_current(L);
    if (call == NULL || call->cancelled || call->conn_serial != tg_conn_get_id(conn)->serial ||
        !tg_coroutine_reaches(L, call->co))
        return NULL;
    return call;
}

int tg_api_return_sent(struct lua_State *L, struct tg_conn *conn, enum tg_err err)
{
    if (err != TG_ERR_OK || conn == NULL || !tg_conn_is_congested(conn))
        return tg_api_push_result(L, err);
    struct tg_call *call = waiting_call(L, conn);
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
    tg_call_pause_wall(call);
    return tg_call_suspend(L, cancel_wait, wait);
}
