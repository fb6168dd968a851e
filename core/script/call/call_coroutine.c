/* call_coroutine.c - calls and the coroutines they run in: those that ended well are used again, both.
 *
 * I1  A coroutine in the pool has an empty stack and has never failed.
 * I2  Nobody looks at a call in the pool; AddressSanitizer watches that.
 */
#include <lauxlib.h>
#include <lua.h>

#include "base/memory.h"
#include "base/sanitizer.h"
#include "script/call/call_internal.h"

static int l_new_coroutine(lua_State *L)
{
    struct tg_call *call = lua_touserdata(L, 1);

    call->co = lua_newthread(L);
    call->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static struct tg_call *take_from_pool(struct tg_generation *generation)
{
    struct tg_call *call = generation->pool[--generation->pool_count];

    TG_UNPOISON(call, sizeof *call);
    return call;
}

struct tg_call *tg__call_take(struct tg_generation *generation)
{
    struct tg_call *call;

    if (generation->pool_count > 0) {
        call = take_from_pool(generation);
        *call = (struct tg_call){.co = call->co, .co_ref = call->co_ref};
        return call;
    }
    call = tg_calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    if (tg__door_run(generation, l_new_coroutine, call, NULL) != TG_CALL_OK) {
        tg_free(call);
        return NULL;
    }
    return call;
}

void tg__call_give(struct tg_call *call, bool reusable)
{
    struct tg_generation *generation = call->generation;
    size_t room = sizeof generation->pool / sizeof generation->pool[0];

    lua_settop(call->co, 0);
    if (reusable && generation->pool_count < room) {
        TG_POISON(call, sizeof *call);
        generation->pool[generation->pool_count++] = call;
        return;
    }
    luaL_unref(generation->L, LUA_REGISTRYINDEX, call->co_ref);
    tg_free(call);
}

void tg_call_close(struct tg_generation *generation)
{
    while (generation->pool_count > 0)
        tg_free(take_from_pool(generation));
}
