/* closing.c - ending the connections of a user or a token on all workers, and waiting for the number. */
#include "script/api/closing.h"

#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/call/call.h"
#include "script/hooks/closing.h"
#include "script/host_internal.h"

static void cancel_closing(struct tg_call *call, void *wait)
{
    struct tg_host *host = tg__host_of(call->generation);
    (void)tg_map_remove(&host->remote_waits, (uint64_t)(uintptr_t)wait);
}

int tg_api_close_matching(lua_State *L, const struct tg_closing *what)
{
    struct tg_script_env *env = tg_api_env(L);
    if (env->post_closing == NULL) {
        size_t closed = env->hub == NULL ? 0 : tg_closing_carry_out(env->hub, what);
        lua_pushnumber(L, (lua_Number)closed);
        return 1;
    }
    struct tg_call *call = tg_call_current(L);
    struct tg_host *host = tg__host_of(call->generation);
    uint64_t ticket = ++host->next_ticket;
    enum tg_err err = tg_map_put(&host->remote_waits, ticket, call);
    if (err != TG_ERR_OK)
        return tg_api_push_result(L, err);
    err = env->post_closing(env->post_ctx, what, ticket);
    if (err == TG_ERR_OK)
        return tg_call_suspend(L, cancel_closing, (void *)(uintptr_t)ticket);
    (void)tg_map_remove(&host->remote_waits, ticket);
    return tg_api_push_result(L, err);
}

int tg_api_close_user(lua_State *L)
{
    struct tg_closing what = {.by = TG_CLOSING_USER};
    size_t len = 0;
    tg_api_contexts(L, "tide.close_user", TG_IN_CALL);
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "tide.close_user: a user_id (text) expected, got %s",
                          tg_api_type_name(L, 1));
    what.key = lua_tolstring(L, 1, &len);
    what.code = tg_api_check_close(L, "tide.close_user", 2, &what.reason);
    if (len == 0 || strlen(what.key) != len) { /* nobody's */
        lua_pushnumber(L, 0);
        return 1;
    }
    return tg_api_close_matching(L, &what);
}

static int push_count(lua_State *L)
{
    lua_pushnumber(L, (lua_Number) * (const size_t *)lua_touserdata(L, 1));
    return 1;
}

void tg_host_closing_done(struct tg_host *host, uint64_t ticket, size_t closed)
{
    struct tg_call *call = tg_map_remove(&host->remote_waits, ticket);
    if (call != NULL)
        tg_call_wake(call, push_count, &closed);
}
