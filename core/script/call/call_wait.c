/* call_wait.c - what C functions that scripts call ask of the call they run in, and how they suspend it. */
#include <assert.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/call/call.h"
#include "script/call/coroutine.h"

struct tg_call *tg_call_current(struct lua_State *L)
{
    return tg_generation_of(L)->current;
}

static const char *place_for(unsigned contexts)
{
    if ((contexts & TG_IN_HOOK) != 0)
        return "in a hook";
    if ((contexts & TG_IN_RUN) != 0)
        return "in an agent";
    return (contexts & TG_IN_TIMER) != 0 ? "in a timer" : "at the top of the file";
}

void tg_api_contexts(struct lua_State *L, const char *name, unsigned contexts)
{
    const struct tg_call *call = tg_call_current(L);

    if (call == NULL) {
        if ((contexts & TG_IN_LOAD) == 0)
            luaL_error(L, "%s cannot be used while the policy is being loaded; call it in a hook",
                       name);
        return;
    }
    switch (call->works_as) {
    case TG_CALL_HOOK:
        if ((contexts & TG_IN_HOOK) == 0)
            luaL_error(L, "%s cannot be used in the hook %s; it belongs %s", name,
                       tg_hook_names[call->hook], place_for(contexts));
        return;
    case TG_CALL_RUN:
        if ((contexts & TG_IN_RUN) == 0)
            luaL_error(L, "%s cannot be used in an agent; it belongs %s", name,
                       place_for(contexts));
        return;
    case TG_CALL_TIMER:
        if ((contexts & TG_IN_TIMER) == 0)
            luaL_error(L, "%s cannot be used in a timer; it belongs %s", name, place_for(contexts));
        return;
    case TG_CALL_TASK:
        return; /* a task works as its root */
    }
}

int tg_call_suspend(struct lua_State *L, tg_wait_cancel_fn cancel, void *wait)
{
    struct tg_call *call = tg_call_current(L);

    assert(call != NULL && call->wait_cancel == NULL && cancel != NULL);
    if (!tg_coroutine_reaches(L, call->co)) {
        cancel(call, wait);
        return luaL_error(L,
                          "cannot wait here: inside __tostring, an error handler or an iterator of "
                          "the library nothing can wait");
    }
    call->wait_cancel = cancel;
    call->wait = wait;
    if (L == call->co)
        return lua_yield(L, 0);
    tg_coroutine_push_marker(L);
    return lua_yield(L, 1);
}
