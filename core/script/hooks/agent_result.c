/* agent_result.c - what an agent returned, taken off its coroutine under protection. */
#include "script/hooks/agent_result.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/json.h"

#define RESULTS_READ 3

struct reading {
    struct tg_call *call;
    int count;
    struct tg_agent_result *result;
    enum tg_err err;
    struct tg_error error;
};

/* A code is for programs: one short word in lower case. */
static bool is_code(const char *text, size_t len)
{
    return len > 0 && len < TG_AGENT_CODE_SIZE &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static enum tg_err read_failure(lua_State *L, struct reading *reading)
{
    struct tg_agent_result *result = reading->result;
    size_t len = 0;
    const char *code = "agent_failed";

    if (!lua_isnil(L, 3)) {
        code = lua_type(L, 3) == LUA_TSTRING ? lua_tolstring(L, 3, &len) : "";
        if (!is_code(code, len))
            return tg_error_set(&reading->error, TG_ERR_INVALID,
                                "the third result is the code of a failure: lower-case letters, "
                                "digits and _, as in return nil, \"no stock\", \"sold_out\"");
    }
    result->failed = true;
    (void)snprintf(result->code, sizeof result->code, "%s", code);
    (void)snprintf(result->message, sizeof result->message, "%s", lua_tostring(L, 2));
    return TG_ERR_OK;
}

static bool has_field(lua_State *L, int index, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, index);
    bool there = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return there;
}

static enum tg_err read_details(lua_State *L, struct reading *reading)
{
    struct tg_buffer *details = &reading->result->details;

    if (has_field(L, 2, "response") || has_field(L, 2, "duration_ms"))
        return tg_error_set(&reading->error, TG_ERR_INVALID,
                            "the second result cannot have response or duration_ms: the core "
                            "sends them");
    enum tg_err err = tg_lua_json_encode(L, 2, "details", details, &reading->error);
    if (err == TG_ERR_OK && ((const char *)tg_buffer_head(details))[0] != '{')
        err = tg_error_set(&reading->error, TG_ERR_INVALID,
                           "the second result is a list; a table with names expected, as in "
                           "return text, { usage = … }");
    return err;
}

/* A builder for tg_call_protect. */
static int read_results(lua_State *L)
{
    struct reading *reading = lua_touserdata(L, 1);
    lua_State *co = reading->call->co;

    luaL_checkstack(L, 10, "results");
    lua_settop(L, 0);
    lua_settop(co, lua_gettop(co) - reading->count + RESULTS_READ);
    lua_xmove(co, L, RESULTS_READ);
    if (lua_isnil(L, 1) && lua_type(L, 2) == LUA_TSTRING) {
        reading->err = read_failure(L, reading);
        return 0;
    }
    reading->err =
        tg_lua_json_encode(L, 1, "response", &reading->result->response, &reading->error);
    if (reading->err == TG_ERR_OK && lua_istable(L, 2))
        reading->err = read_details(L, reading);
    return 0;
}

enum tg_call_outcome tg_agent_result_read(struct tg_call *call, int count,
                                          struct tg_agent_result *result, struct tg_error *error)
{
    struct reading reading = {.call = call, .count = count, .result = result};

    memset(result, 0, sizeof *result);
    result->response = TG_BUFFER_INIT;
    result->details = TG_BUFFER_INIT;
    enum tg_call_outcome outcome =
        tg_call_protect(call->generation, read_results, &reading, &reading.error);
    if (outcome == TG_CALL_OK && reading.err != TG_ERR_OK)
        outcome = TG_CALL_ERROR;
    *error = reading.error;
    return outcome;
}

void tg_agent_result_fini(struct tg_agent_result *result)
{
    tg_buffer_fini(&result->response);
    tg_buffer_fini(&result->details);
}
