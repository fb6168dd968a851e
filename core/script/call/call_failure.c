/* call_failure.c - how a call failed, in words.
 *
 * An error object is never asked for its text (__tostring is the script's code): what is neither string
 * nor number is named by its type.
 */
#include "script/call/call_failure.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/memory.h"
#include "script/api/api.h"
#include "script/call/memory.h"
#include "script/call/trace.h"

void tg__failure_place(struct lua_State *L, char *out, size_t size)
{
    char place[TG_METER_WHERE_SIZE];

    tg_trace_own_place(L, place, sizeof place);
    (void)snprintf(out, size, "%s%s", place, place[0] != '\0' ? ": " : "");
}

char *tg__failure_kept_trace(const struct tg_generation *generation, enum tg_call_outcome outcome)
{
    const struct tg_meter *meter = generation->env->meter;

    if (outcome != TG_CALL_CPU_BUDGET || meter == NULL || tg_meter_trace(meter)[0] == '\0')
        return NULL;
    return tg_strndup(tg_meter_trace(meter), strlen(tg_meter_trace(meter)));
}

/* What is known of the place of a failure. */
static void kept_place(const struct tg_generation *generation, lua_State *L, char *out, size_t size)
{
    tg__failure_place(L, out, size);
    if (out[0] == '\0' && L == generation->L && generation->source != NULL) /* at load time */
        (void)snprintf(out, size, "%s: ", tg_source_path(generation->source));
}

/* The error object on top of L as text; allocates nothing in the state and runs nothing. */
static void raised_text(const struct tg_generation *generation, lua_State *L,
                        struct tg_error *error)
{
    char place[TG_METER_WHERE_SIZE + 2];
    int type = lua_type(L, -1);

    kept_place(generation, L, place, sizeof place);
    /* The one error to which LuaJIT adds no place. */
    if (type == LUA_TSTRING && strcmp(lua_tostring(L, -1), "stack overflow") == 0) {
        (void)tg_error_set(error, TG_ERR_SCRIPT,
                           "%sstack overflow (a function that calls itself without end?)", place);
        return;
    }
    if (type == LUA_TSTRING) {
        (void)tg_error_set(error, TG_ERR_SCRIPT, "%s", lua_tostring(L, -1));
        return;
    }
    if (type == LUA_TNUMBER)
        (void)tg_error_set(error, TG_ERR_SCRIPT, "%s%.14g", place, lua_tonumber(L, -1));
    else
        (void)tg_error_set(error, TG_ERR_SCRIPT, "%s(error object is a %s)", place,
                           lua_typename(L, type));
}

int tg__failure_handler(struct lua_State *L)
{
    struct tg_error error;

    lua_settop(L, 1);
    if (tg_api_out_of_time(L))
        tg_meter_note(tg_generation_of(L)->env->meter, L);
    raised_text(tg_generation_of(L), L, &error);
    lua_pushstring(L, error.text);
    return 1;
}

void tg__failure_describe(const struct tg_generation *generation, struct lua_State *L,
                          struct tg_failure *failure)
{
    char place[TG_METER_WHERE_SIZE + 2];
    const char *where;

    switch (failure->outcome) {
    case TG_CALL_CPU_BUDGET:
        where = tg_meter_where(generation->env->meter);
        if (where[0] != '\0')
            (void)snprintf(place, sizeof place, "%s: ", where);
        else
            kept_place(generation, L, place, sizeof place);
        (void)tg_error_set(&failure->error, TG_ERR_BUDGET,
                           "%scomputed for more than %llums without waiting (script.cpu_budget)",
                           place, (unsigned long long)tg_meter_budget_ms(generation->env->meter));
        return;
    case TG_CALL_MEMORY:
        kept_place(generation, L, place, sizeof place);
        (void)tg_error_set(&failure->error, TG_ERR_NOMEM,
                           "%sout of memory: the policy may use %zuKiB (script.memory), and a "
                           "string may have %zuMiB",
                           place, generation->memory_max / 1024, TG_SCRIPT_STRING_MAX >> 20);
        return;
    case TG_CALL_ERROR:
    case TG_CALL_OK:
    case TG_CALL_YIELDED:
    case TG_CALL_WALL_BUDGET:
        raised_text(generation, L, &failure->error);
        return;
    }
}
