/* call_failure.c - how a call failed, in words.
 *
 * An error object is never asked for its text (__tostring is the script's code): what is neither string
 * nor number is named by its type.
 */
#include "script/call_failure.h"

#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>

void tg__failure_place(struct lua_State *L, char *out, size_t size)
{
    lua_Debug ar;

    out[0] = '\0';
    for (int level = 0; lua_getstack(L, level, &ar) != 0; level++) {
        if (lua_getinfo(L, "Sl", &ar) != 0 && ar.currentline > 0) {
            (void)snprintf(out, size, "%s:%d: ", ar.short_src, ar.currentline);
            return;
        }
    }
}

/* The error object on top of L as text; allocates nothing in the state and runs nothing. */
static void raised_text(lua_State *L, struct tg_error *error)
{
    char place[TG_METER_WHERE_SIZE];
    int type = lua_type(L, -1);

    if (type == LUA_TSTRING) {
        (void)tg_error_set(error, TG_ERR_SCRIPT, "%s", lua_tostring(L, -1));
        return;
    }
    tg__failure_place(L, place, sizeof place);
    if (type == LUA_TNUMBER)
        (void)tg_error_set(error, TG_ERR_SCRIPT, "%s%.14g", place, lua_tonumber(L, -1));
    else
        (void)tg_error_set(error, TG_ERR_SCRIPT, "%s(error object is a %s)", place,
                           lua_typename(L, type));
}

void tg__failure_describe(const struct tg_generation *generation, struct lua_State *L,
                          struct tg_failure *failure)
{
    char place[TG_METER_WHERE_SIZE];
    const char *where;

    switch (failure->outcome) {
    case TG_CALL_CPU_BUDGET:
        where = tg_meter_where(generation->env->meter);
        (void)tg_error_set(&failure->error, TG_ERR_BUDGET,
                           "%s%scomputed for more than %llums without waiting "
                           "(script.cpu_budget)",
                           where, where[0] != '\0' ? ": " : "",
                           (unsigned long long)tg_meter_budget_ms(generation->env->meter));
        return;
    case TG_CALL_MEMORY:
        tg__failure_place(L, place, sizeof place);
        (void)tg_error_set(&failure->error, TG_ERR_NOMEM,
                           "%sout of memory: the policy may use %zuKiB (script.memory)", place,
                           generation->memory_max / 1024);
        return;
    case TG_CALL_ERROR:
    case TG_CALL_OK:
    case TG_CALL_YIELDED:
    case TG_CALL_WALL_BUDGET:
        raised_text(L, &failure->error);
        return;
    }
}
