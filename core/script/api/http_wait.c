/* http_wait.c - between the network and a script: what arrives is kept for the script, which waits for it.
 *
 * A whole answer wakes its script once, when it is over. A stream wakes it at its head, and then whenever
 * it waits for more. Owners of a fetch are told from the loop, so no script runs when one of these
 * callbacks begins.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "base/log.h"
#include "script/api/api.h"
#include "script/api/http_response.h"
#include "script/policy/generation.h"

#define CANCELLED TG_FETCH_OUTCOMES /* the row of the metrics behind the outcomes */

/* --- accounts ----------------------------------------------------------------------------------- */

bool tg_http_charge(struct tg_http_response *response)
{
    size_t bytes = response->head.capacity + response->body.capacity +
                   response->lines.partial.capacity + response->events.lines.partial.capacity +
                   response->events.data.capacity;

    return tg_generation_charge(response->generation, &response->charged, bytes);
}

static void count_start(const struct tg_http_response *response)
{
    struct tg_metrics *metrics = response->generation->env->metrics;

    if (metrics != NULL)
        tg_counter_add(&metrics->http_in_flight, 1);
}

static void count_end(const struct tg_http_response *response, size_t row)
{
    char host[TG_FETCH_HOST_SIZE];
    struct tg_metrics *metrics = response->generation->env->metrics;
    uint64_t us = (tg_clock_monotonic_ns() - response->started_ns) / 1000;

    if (metrics != NULL) {
        tg_counter_sub(&metrics->http_in_flight, 1);
        tg_counter_add(&metrics->http_requests[row], 1);
        tg_histogram_observe(&metrics->http_duration, us);
    }
    if (!tg_log_enabled(TG_LOG_DEBUG) || response->head.len == 0)
        return;
    tg_fetch_host((const char *)tg_buffer_head(&response->head), host);
    tg_log(TG_LOG_DEBUG, "http.request", tg_log_str("method", response->method),
           tg_log_str("host", host), tg_log_int("status", response->status),
           tg_log_str("outcome", row == CANCELLED ? "cancelled" : tg_fetch_outcome_names[row]),
           tg_log_uint("ms", us / 1000));
}

static void set_over(struct tg_http_response *response, enum tg_fetch_outcome outcome,
                     const char *text)
{
    tg_list_remove(&response->held.node);
    response->fetch = NULL;
    response->over = true;
    response->outcome = outcome;
    (void)snprintf(response->text, sizeof response->text, "%s", text);
}

void tg_http_end(struct tg_http_response *response, enum tg_fetch_outcome outcome, const char *text)
{
    struct tg_fetch *fetch = response->fetch;

    if (fetch == NULL)
        return;
    set_over(response, outcome, text);
    count_end(response, outcome == TG_FETCH_CLOSED ? (size_t)CANCELLED : (size_t)outcome);
    tg_fetch_cancel(fetch);
}

void tg_http_spoil(struct tg_http_response *response, enum tg_fetch_outcome outcome,
                   const char *text)
{
    tg_http_end(response, outcome, text);
    tg_buffer_fini(&response->body);
    tg_line_splitter_fini(&response->lines);
    tg_event_stream_fini(&response->events);
    (void)tg_http_charge(response);
    response->outcome = outcome;
    (void)snprintf(response->text, sizeof response->text, "%s", text);
}

void tg_http_free(struct tg_http_response *response)
{
    tg_http_end(response, TG_FETCH_CLOSED, "closed");
    tg_buffer_fini(&response->head);
    tg_buffer_fini(&response->body);
    tg_line_splitter_fini(&response->lines);
    tg_event_stream_fini(&response->events);
    (void)tg_http_charge(response);
}

/* --- waiting ------------------------------------------------------------------------------------ */

/* What http.get returns. */
static int build_answer(lua_State *L)
{
    struct tg_http_response *response = lua_touserdata(L, 1);

    tg_api_push_kept(L, &response->ref);
    if (response->stream ? response->has_head : response->outcome == TG_FETCH_OK)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, response->text);
    lua_pushstring(L, tg_fetch_outcome_names[response->outcome]);
    return 3;
}

/* The wait inside a read: the Lua around it looks for itself. */
static int build_nothing(lua_State *L)
{
    struct tg_http_response *response = lua_touserdata(L, 1);

    tg_api_push_kept(L, &response->ref);
    return 0;
}

/* The last thing that is done with it: it may be collected in here. */
static void wake(struct tg_http_response *response, lua_CFunction builder)
{
    struct tg_call *call = response->waiter;

    if (call == NULL)
        return;
    response->waiter = NULL;
    tg_call_wake(call, builder, response);
}

static void wake_reader(struct tg_http_response *response)
{
    wake(response, response->reading == TG_HTTP_UNREAD ? build_answer : build_nothing);
}

static void stop_waiting(struct tg_http_response *response)
{
    response->waiter = NULL;
    luaL_unref(response->generation->L, LUA_REGISTRYINDEX, response->ref);
    response->ref = LUA_NOREF;
}

static void cancel_wait(struct tg_call *call, void *wait)
{
    struct tg_http_response *response = wait;

    (void)call;
    tg_http_end(response, TG_FETCH_CLOSED, "cancelled");
    stop_waiting(response);
}

static void drop(struct tg_call_held *held)
{
    tg_http_end(TG_CONTAINER_OF(held, struct tg_http_response, held), TG_FETCH_CLOSED,
                "closed: the hook or agent that opened it has ended");
}

/* --- from the network --------------------------------------------------------------------------- */

static void fail(struct tg_http_response *response, enum tg_fetch_outcome outcome, const char *text)
{
    tg_http_end(response, outcome, text);
    tg_buffer_fini(&response->body);
    (void)tg_http_charge(response);
    wake_reader(response);
}

static enum tg_err add_text(struct tg_buffer *out, const char *text)
{
    return tg_buffer_append(out, text, strlen(text) + 1);
}

static enum tg_err keep_head(struct tg_http_response *response, const struct tg_fetch_head *head)
{
    tg_buffer_clear(&response->head);
    enum tg_err err = add_text(&response->head, head->url);
    for (size_t i = 0; err == TG_ERR_OK && i < head->header_count; i++) {
        err = add_text(&response->head, head->headers[i].name);
        if (err == TG_ERR_OK)
            err = add_text(&response->head, head->headers[i].value);
    }
    response->status = head->status;
    (void)snprintf(response->version, sizeof response->version, "%s", head->version);
    response->header_count = err == TG_ERR_OK ? head->header_count : 0;
    return err;
}

static void on_head(void *ctx, const struct tg_fetch_head *head)
{
    struct tg_http_response *response = ctx;

    if (keep_head(response, head) != TG_ERR_OK || !tg_http_charge(response)) {
        fail(response, TG_FETCH_TOO_LARGE, "no memory for the answer's headers (script.memory)");
        return;
    }
    response->has_head = true;
    if (response->stream)
        wake(response, build_answer);
}

static void on_data(void *ctx, const void *data, size_t len)
{
    struct tg_http_response *response = ctx;
    bool bounded = !response->stream || response->want_all;

    if (bounded && response->response_max != 0 &&
        response->body.len + len > response->response_max) {
        fail(response, TG_FETCH_TOO_LARGE, "the answer is larger than max_response");
        return;
    }
    if (tg_buffer_append(&response->body, data, len) != TG_ERR_OK || !tg_http_charge(response)) {
        fail(response, TG_FETCH_TOO_LARGE, "no memory for the answer (script.memory)");
        return;
    }
    if (!bounded && response->body.len >= TG_FETCH_WINDOW) {
        response->paused = true;
        tg_fetch_pause(response->fetch);
    }
    if (response->stream && response->reading != TG_HTTP_UNREAD)
        wake(response, build_nothing);
}

static void on_done(void *ctx, enum tg_fetch_outcome outcome, const char *text)
{
    struct tg_http_response *response = ctx;

    set_over(response, outcome, text);
    count_end(response, (size_t)outcome);
    wake_reader(response);
}

static const struct tg_fetch_callbacks callbacks = {on_head, on_data, on_done};

/* --- what scripts begin ------------------------------------------------------------------------- */

int tg_http_begin(struct lua_State *L, int index, const struct tg_fetch_request *request)
{
    struct tg_http_response *response = lua_touserdata(L, index);
    struct tg_call *call = tg_call_current(L);

    (void)snprintf(response->method, sizeof response->method, "%s", request->method);
    response->stream = request->stream;
    if (add_text(&response->head, request->url) != TG_ERR_OK)
        return luaL_error(L, "not enough memory");
    lua_pushvalue(L, index);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    if (tg_fetch_start(call->generation->env->http, request, &callbacks, response,
                       &response->fetch) != TG_ERR_OK) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        return luaL_error(L, "not enough memory");
    }
    response->ref = ref;
    response->waiter = call;
    response->started_ns = tg_clock_monotonic_ns();
    response->held.drop = drop;
    if (response->stream)
        tg_call_hold(call, &response->held);
    count_start(response);
    return tg_call_suspend(L, cancel_wait, response);
}

int tg_http_wait(struct lua_State *L, int index)
{
    struct tg_http_response *response = lua_touserdata(L, index);

    if (response->over)
        return 0;
    if (response->paused) {
        response->paused = false;
        tg_fetch_resume(response->fetch);
    }
    lua_pushvalue(L, index);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    assert(response->waiter == NULL);
    response->ref = ref;
    response->waiter = tg_call_current(L);
    return tg_call_suspend(L, cancel_wait, response);
}

void tg_http_taken(struct tg_http_response *response, size_t len)
{
    tg_buffer_consume(&response->body, len, 4096);
    (void)tg_http_charge(response);
    if (!response->paused || response->body.len >= TG_FETCH_WINDOW / 2)
        return;
    response->paused = false;
    tg_fetch_resume(response->fetch);
}
