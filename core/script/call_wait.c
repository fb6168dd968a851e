/* call_wait.c - what C functions that scripts call ask of the call they run in, and how they suspend it. */
#include <assert.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/call.h"
#include "script/coroutine.h"

struct tg_call *tg_call_current(struct lua_State *L)
{
    return tg_generation_of(L)->current;
}

void tg_api_contexts(struct lua_State *L, const char *name, unsigned contexts)
{
    const struct tg_call *call = tg_call_current(L);

    if (call == NULL && (contexts & TG_IN_LOAD) == 0)
        luaL_error(L, "%s cannot be used while the policy is being loaded; call it in a hook",
                   name);
    if (call != NULL && call->kind == TG_CALL_HOOK && (contexts & TG_IN_HOOK) == 0)
        luaL_error(L, "%s cannot be used in the hook %s; it belongs %s", name,
                   tg_hook_names[call->hook],
                   (contexts & TG_IN_RUN) != 0 ? "in an agent" : "at the top of the file");
    if (call != NULL && call->kind == TG_CALL_RUN && (contexts & TG_IN_RUN) == 0)
        luaL_error(L, "%s cannot be used in an agent; it belongs %s", name,
                   (contexts & TG_IN_HOOK) != 0 ? "in a hook" : "at the top of the file");
}

int tg_call_suspend(struct lua_State *L, tg_wait_cancel_fn cancel, void *wait)
{
    struct tg_call *call = tg_call_current(L);

    assert(call != NULL && call->wait_cancel == NULL && cancel != NULL);
    if (!tg_coroutine_reaches(L, call->co)) {
        cancel(call, wait);
        return luaL_error(L, "cannot wait here: inside a sort comparison, a gsub callback or an "
                             "iterator of the library nothing can wait");
    }
    call->wait_cancel = cancel;
    call->wait = wait;
    if (L == call->co)
        return lua_yield(L, 0);
    tg_coroutine_push_marker(L);
    return lua_yield(L, 1);
}
