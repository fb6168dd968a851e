/* websocket_wait.c - between the network and a script: messages that arrive are kept for the script, which
 * waits for them. Owners of a link are told from the loop, so no script runs when one of these callbacks
 * begins.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/log.h"
#include "base/metrics.h"
#include "script/api/api.h"
#include "script/api/websocket.h"
#include "script/policy/generation.h"

/* Of messages that nobody has taken; then the server has to wait. */
#define WINDOW ((size_t)64 << 10)
#define CANCELLED TG_FETCH_OUTCOMES /* the row of the metrics behind the outcomes */

/* --- accounts ----------------------------------------------------------------------------------- */

bool tg_websocket_charge(struct tg_websocket *socket)
{
    return tg_generation_charge(socket->generation, &socket->charged,
                                socket->inbox.capacity + socket->farewell.capacity);
}

static void count_start(const struct tg_websocket *socket)
{
    struct tg_metrics *metrics = socket->generation->env->metrics;

    if (metrics != NULL)
        tg_counter_add(&metrics->websockets_out, 1);
}

static void count_end(const struct tg_websocket *socket, size_t row)
{
    struct tg_metrics *metrics = socket->generation->env->metrics;

    if (metrics != NULL) {
        tg_counter_sub(&metrics->websockets_out, 1);
        tg_counter_add(&metrics->websockets_out_ended[row], 1);
    }
    tg_log(TG_LOG_DEBUG, "websocket.end", tg_log_str("host", socket->host),
           tg_log_str("outcome", row == CANCELLED ? "cancelled" : tg_fetch_outcome_names[row]),
           tg_log_int("status", socket->status), tg_log_int("code", socket->code));
}

/* --- the end ------------------------------------------------------------------------------------ */

static void set_over(struct tg_websocket *socket, enum tg_fetch_outcome outcome, const char *text)
{
    tg_list_remove(&socket->held.node);
    tg_timer_stop(socket->generation->env->timers, &socket->rest_timer);
    socket->link = NULL;
    socket->open = false;
    socket->over = true;
    socket->resting = false;
    socket->outcome = outcome;
    (void)snprintf(socket->text, sizeof socket->text, "%s", text);
}

static void end_with(struct tg_websocket *socket, int code, const char *reason,
                     enum tg_fetch_outcome outcome, const char *text)
{
    struct tg_ws_link *link = socket->link;

    if (link == NULL)
        return;
    set_over(socket, outcome, text);
    count_end(socket, outcome == TG_FETCH_CLOSED ? (size_t)CANCELLED : (size_t)outcome);
    tg_ws_close(link, code, reason);
}

void tg_websocket_end(struct tg_websocket *socket, int code, const char *reason)
{
    end_with(socket, code, reason, TG_FETCH_CLOSED, "closed");
}

/* Its call is over, or given up: the server is told, as far as it still listens. */
static void leave(struct tg_websocket *socket, const char *text)
{
    bool waits;

    if (socket->open && socket->farewell.len > 0 &&
        tg_ws_send(socket->link, true, tg_buffer_head(&socket->farewell), socket->farewell.len,
                   &waits) == TG_ERR_NOMEM)
        tg_log(TG_LOG_WARN, "websocket.no_memory", tg_log_str("host", socket->host));
    end_with(socket, 1000, "", TG_FETCH_CLOSED, text);
}

static void drop(struct tg_call_held *held)
{
    leave(TG_CONTAINER_OF(held, struct tg_websocket, held),
          "closed: the hook or agent that opened it has ended");
}

void tg_websocket_free(struct tg_websocket *socket)
{
    leave(socket, "closed");
    tg_buffer_fini(&socket->inbox);
    tg_buffer_fini(&socket->farewell);
    (void)tg_websocket_charge(socket);
}

int tg_websocket_push_failure(struct lua_State *L, const struct tg_websocket *socket)
{
    const char *how = socket->status != 0              ? "status"
                      : socket->outcome == TG_FETCH_OK ? "ended"
                                                       : tg_fetch_outcome_names[socket->outcome];

    lua_pushnil(L);
    lua_pushstring(L, socket->text);
    lua_pushstring(L, how);
    lua_pushinteger(L, socket->status != 0 ? socket->status : socket->code);
    return 4;
}

/* --- waiting ------------------------------------------------------------------------------------ */

/* The first message of the inbox, and whether it is text. */
static int take_message(lua_State *L, struct tg_websocket *socket)
{
    struct tg_websocket_head head;
    const uint8_t *at = tg_buffer_head(&socket->inbox);

    memcpy(&head, at, sizeof head);
    lua_pushlstring(L, (const char *)at + sizeof head, (size_t)head.len);
    lua_pushboolean(L, head.text);
    tg_buffer_consume(&socket->inbox, sizeof head + (size_t)head.len, 4096);
    (void)tg_websocket_charge(socket);
    if (socket->paused && socket->inbox.len < WINDOW / 2) {
        socket->paused = false;
        if (socket->link != NULL)
            tg_ws_resume(socket->link);
    }
    return 2;
}

/* What websocket.open returns. */
static int build_opened(lua_State *L)
{
    struct tg_websocket *socket = lua_touserdata(L, 1);

    tg_api_push_kept(L, &socket->ref);
    return socket->open ? 1 : tg_websocket_push_failure(L, socket);
}

static int build_received(lua_State *L)
{
    struct tg_websocket *socket = lua_touserdata(L, 1);

    tg_api_push_kept(L, &socket->ref);
    return socket->inbox.len > 0 ? take_message(L, socket) : tg_websocket_push_failure(L, socket);
}

static int build_sent(lua_State *L)
{
    struct tg_websocket *socket = lua_touserdata(L, 1);

    tg_api_push_kept(L, &socket->ref);
    if (socket->over)
        return tg_websocket_push_failure(L, socket);
    lua_pushboolean(L, 1);
    return 1;
}

/* The last thing that is done with it: it may be collected in here. */
static void wake_waiter(struct tg_websocket *socket)
{
    static const lua_CFunction builders[] = {
        [TG_WEBSOCKET_FOR_OPEN] = build_opened,
        [TG_WEBSOCKET_FOR_MESSAGE] = build_received,
        [TG_WEBSOCKET_FOR_ROOM] = build_sent,
    };
    struct tg_call *call = socket->waiter;
    enum tg_websocket_wait wait = socket->wait;

    if (call == NULL)
        return;
    socket->waiter = NULL;
    socket->wait = TG_WEBSOCKET_NO_WAIT;
    tg_call_wake(call, builders[wait], socket);
}

static void stop_waiting(struct tg_websocket *socket)
{
    socket->waiter = NULL;
    socket->wait = TG_WEBSOCKET_NO_WAIT;
    luaL_unref(socket->generation->L, LUA_REGISTRYINDEX, socket->ref);
    socket->ref = LUA_NOREF;
}

static void cancel_wait(struct tg_call *call, void *wait)
{
    struct tg_websocket *socket = wait;

    (void)call;
    leave(socket, "cancelled");
    stop_waiting(socket);
}

/* Keeps the object at `index` while the current call waits for it. */
static void start_waiting(lua_State *L, int index, enum tg_websocket_wait wait)
{
    struct tg_websocket *socket = lua_touserdata(L, index);

    lua_pushvalue(L, index);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    assert(socket->waiter == NULL);
    socket->ref = ref;
    socket->waiter = tg_call_current(L);
    socket->wait = wait;
}

/* --- from the network --------------------------------------------------------------------------- */

static void on_open(void *ctx, const char *subprotocol)
{
    struct tg_websocket *socket = ctx;

    (void)subprotocol;
    socket->open = true;
    wake_waiter(socket);
}

static void give_up(struct tg_websocket *socket, int code, enum tg_fetch_outcome outcome,
                    const char *text)
{
    end_with(socket, code, "", outcome, text);
    wake_waiter(socket);
}

static void on_message(void *ctx, bool text, const void *data, size_t len)
{
    struct tg_websocket *socket = ctx;
    struct tg_websocket_head head = {.len = len, .text = text};

    if (socket->resting) {
        give_up(socket, 1002, TG_FETCH_PROTOCOL, "a message came that nobody had asked for");
        return;
    }
    uint8_t *room = tg_buffer_reserve(&socket->inbox, sizeof head + len);
    if (room == NULL || !tg_websocket_charge(socket)) {
        tg_buffer_fini(&socket->inbox); /* the script needs room to hear of it */
        (void)tg_websocket_charge(socket);
        give_up(socket, 1009, TG_FETCH_TOO_LARGE, "no memory for the message (script.memory)");
        return;
    }
    memcpy(room, &head, sizeof head);
    if (len > 0)
        memcpy(room + sizeof head, data, len);
    tg_buffer_commit(&socket->inbox, sizeof head + len);
    if (socket->inbox.len >= WINDOW) {
        socket->paused = true;
        tg_ws_pause(socket->link);
    }
    if (socket->wait == TG_WEBSOCKET_FOR_MESSAGE)
        wake_waiter(socket);
}

static void on_written(void *ctx)
{
    struct tg_websocket *socket = ctx;

    if (socket->wait == TG_WEBSOCKET_FOR_ROOM)
        wake_waiter(socket);
}

static void on_done(void *ctx, const struct tg_ws_done *done)
{
    struct tg_websocket *socket = ctx;

    socket->status = done->status;
    socket->code = done->code;
    set_over(socket, done->outcome, done->text);
    count_end(socket, (size_t)done->outcome);
    wake_waiter(socket);
}

static const struct tg_ws_link_callbacks callbacks = {on_open, on_message, on_written, on_done};

/* --- what scripts begin ------------------------------------------------------------------------- */

int tg_websocket_begin(struct lua_State *L, int index, const struct tg_ws_request *request)
{
    struct tg_websocket *socket = lua_touserdata(L, index);
    struct tg_call *call = tg_call_current(L);

    tg_fetch_host(request->url, socket->host);
    socket->idle_timeout_ms = request->idle_timeout_ms;
    start_waiting(L, index, TG_WEBSOCKET_FOR_OPEN);
    if (tg_ws_start(call->generation->env->websockets, request, &callbacks, socket,
                    &socket->link) != TG_ERR_OK) {
        stop_waiting(socket);
        return luaL_error(L, "not enough memory");
    }
    socket->held.drop = drop;
    tg_call_hold(call, &socket->held);
    count_start(socket);
    return tg_call_suspend(L, cancel_wait, socket);
}

int tg_websocket_send(struct lua_State *L, int index, const char *text, size_t len)
{
    struct tg_websocket *socket = lua_touserdata(L, index);
    bool waits = false;

    if (socket->over)
        return tg_websocket_push_failure(L, socket);
    enum tg_err err = tg_ws_send(socket->link, true, text, len, &waits);
    if (err == TG_ERR_NOMEM)
        return luaL_error(L, "not enough memory");
    if (err == TG_ERR_OK && !waits) {
        lua_pushboolean(L, 1);
        return 1;
    }
    start_waiting(L, index, TG_WEBSOCKET_FOR_ROOM); /* or for what is ending it */
    return tg_call_suspend(L, cancel_wait, socket);
}

int tg_websocket_receive(struct lua_State *L, int index)
{
    struct tg_websocket *socket = lua_touserdata(L, index);

    if (socket->inbox.len > 0)
        return take_message(L, socket);
    if (socket->over)
        return tg_websocket_push_failure(L, socket);
    start_waiting(L, index, TG_WEBSOCKET_FOR_MESSAGE);
    return tg_call_suspend(L, cancel_wait, socket);
}

/* --- between two calls -------------------------------------------------------------------------- */

static void on_rested(struct tg_timer *timer)
{
    tg_websocket_end(TG_CONTAINER_OF(timer, struct tg_websocket, rest_timer), 1000, "");
}

bool tg_websocket_rest(struct tg_websocket *socket, uint64_t ms)
{
    if (!socket->open || socket->inbox.len > 0 ||
        tg_timer_start(socket->generation->env->timers, &socket->rest_timer, ms, on_rested) !=
            TG_ERR_OK)
        return false;
    tg_list_remove(&socket->held.node);
    tg_buffer_fini(&socket->farewell);
    (void)tg_websocket_charge(socket);
    socket->resting = true;
    tg_ws_set_idle_timeout(socket->link, 0);
    return true;
}

bool tg_websocket_wake(struct tg_websocket *socket, struct tg_call *call)
{
    if (!socket->open || !socket->resting)
        return false;
    tg_timer_stop(socket->generation->env->timers, &socket->rest_timer);
    socket->resting = false;
    tg_ws_set_idle_timeout(socket->link, socket->idle_timeout_ms);
    tg_call_hold(call, &socket->held);
    return true;
}
