/* passes.c - the module tidegate.passes over script/passes.h. Where no server is (check, a probe) there are no
 * passes: nothing is issued, nothing is known.
 */
#include "script/api/passes.h"

#include <math.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/json_reader.h"
#include "script/api/api.h"
#include "script/api/closing.h"
#include "script/api/json.h"
#include "script/call/call.h"
#include "script/hooks/closing.h"
#include "script/passes.h"
#include "script/policy/generation.h"

#define TOKEN_TTL_SECONDS_MAX 315360000.0 /* ten years */

static const char *check_text(lua_State *L, int index, const char *name, const char *what,
                              size_t max, size_t *len)
{
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "%s: %s (text) expected, got %s", name, what, tg_api_type_name(L, index));
    const char *text = lua_tolstring(L, index, len);
    if (*len == 0 || *len > max)
        luaL_error(L, "%s: %s has 1 to %d bytes, this one has %d", name, what, (int)max, (int)*len);
    return text;
}

/* --- tickets --------------------------------------------------------------------------------------- */

/* Pushes the field of the table at 1, nil when it is not there. */
static int push_field(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, 1);
    return lua_type(L, -1);
}

/* A misspelt one must not be passed over: "orgin" would make a ticket that is good for every page. */
static void check_names(lua_State *L)
{
    static const char *const names[] = {"identity", "origin", "ttl"};
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        size_t i = 0;
        while (i < sizeof names / sizeof names[0] && strcmp(names[i], name) != 0)
            i++;
        if (i == sizeof names / sizeof names[0])
            luaL_error(L,
                       "passes.issue: there is no option \"%s\"; there are identity, origin, ttl",
                       name);
    }
}

static uint64_t check_ticket_ttl(lua_State *L)
{
    uint64_t ttl_ms = TG_TICKET_TTL_MS;
    if (push_field(L, "ttl") != LUA_TNIL) {
        lua_Number seconds = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
        if (!(seconds > 0 && seconds * 1000 <= TG_TICKET_TTL_MAX_MS))
            luaL_error(L, "passes.issue: ttl is seconds, more than 0 and at most %d",
                       TG_TICKET_TTL_MAX_MS / 1000);
        ttl_ms = (uint64_t)ceil(seconds * 1000);
    }
    lua_pop(L, 1);
    return ttl_ms;
}

/* Leaves the origin on the stack. */
static void check_origin(lua_State *L, struct tg_ticket_order *order)
{
    if (push_field(L, "origin") == LUA_TNIL)
        return;
    order->origin = check_text(L, lua_gettop(L), "passes.issue", "origin", TG_TICKET_ORIGIN_MAX,
                               &order->origin_len);
}

/* The identity as JSON in the scratch buffer. */
static void check_identity(lua_State *L, struct tg_ticket_order *order)
{
    struct tg_error error;
    struct tg_json_value document;
    char user_id[257];
    int type = push_field(L, "identity");
    if (type != LUA_TTABLE)
        luaL_error(L, "passes.issue: identity (a table with user_id) expected, got %s",
                   tg_api_type_name(L, -1));
    struct tg_buffer *json = tg_lua_json_scratch(L);
    if (tg_lua_json_encode(L, lua_gettop(L), "identity", json, &error) != TG_ERR_OK)
        luaL_error(L, "passes.issue: %s", error.text);
    order->identity = tg_buffer_head(json);
    order->identity_len = json->len;
    bool good = tg_json_parse(order->identity, order->identity_len, &document, NULL) == TG_ERR_OK;
    struct tg_json_value user = good ? tg_json_member(&document, "user_id") : document;
    if (!good || tg_json_copy_string(&user, user_id, sizeof user_id) != TG_ERR_OK ||
        user_id[0] == '\0')
        luaL_error(L, "passes.issue: identity.user_id (text of 1 to 256 bytes) expected");
}

/* passes.issue{ identity, origin, ttl } -> ticket, expires_at | nil, why */
static int l_passes_issue(lua_State *L)
{
    struct tg_ticket_order order = {.ttl_ms = TG_TICKET_TTL_MS};
    char ticket[TG_TICKET_SIZE];
    double expires_at = 0;
    struct tg_passes *passes = tg_api_env(L)->passes;
    tg_api_contexts(L, "passes.issue", TG_IN_CALL);
    if (lua_type(L, 1) != LUA_TTABLE)
        return luaL_error(L, "passes.issue: { identity = { user_id = … } } expected, got %s",
                          tg_api_type_name(L, 1));
    lua_settop(L, 1);
    check_names(L);
    order.ttl_ms = check_ticket_ttl(L);
    check_origin(L, &order);
    check_identity(L, &order);
    if (passes == NULL)
        return tg_api_push_failure(L, "unavailable");
    enum tg_err err = tg_passes_issue(passes, &order, ticket, &expires_at);
    if (err == TG_ERR_LIMIT)
        return tg_api_push_failure(L, order.identity_len > TG_TICKET_IDENTITY_MAX ? "too large"
                                                                                  : "too many");
    if (err != TG_ERR_OK)
        return tg_api_push_result(L, err);
    lua_pushstring(L, ticket);
    lua_pushnumber(L, expires_at);
    return 2;
}

static int push_denied(lua_State *L, enum tg_ticket_outcome outcome)
{
    lua_pushnil(L);
    lua_pushstring(L, tg_ticket_outcome_names[outcome]);
    return 2;
}

/* passes.take(ticket [, origin]) -> identity | nil, outcome */
static int l_passes_take(lua_State *L)
{
    enum tg_ticket_outcome outcome;
    size_t len = 0;
    size_t origin_len = 0;
    struct tg_passes *passes = tg_api_env(L)->passes;
    tg_api_contexts(L, "passes.take", TG_IN_CALL);
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "passes.take: a ticket (text) expected, got %s",
                          tg_api_type_name(L, 1));
    if (!lua_isnoneornil(L, 2) && lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "passes.take: the origin must be text, got %s",
                          tg_api_type_name(L, 2));
    const char *ticket = lua_tolstring(L, 1, &len);
    const char *origin = lua_isnoneornil(L, 2) ? NULL : lua_tolstring(L, 2, &origin_len);
    struct tg_buffer *identity = tg_lua_json_scratch(L);
    if (passes == NULL)
        return push_denied(L, TG_TICKET_UNKNOWN);
    enum tg_err err = tg_passes_take(passes, ticket, len, origin, origin_len, identity, &outcome);
    if (err != TG_ERR_OK)
        return luaL_error(L, "passes.take: %s", tg_err_text(err));
    if (outcome != TG_TICKET_USED)
        return push_denied(L, outcome);
    /* Not from the scratch buffer, which reading needs for itself. */
    lua_pushlstring(L, (const char *)tg_buffer_head(identity), identity->len);
    const char *json = lua_tolstring(L, -1, &len);
    tg_lua_json_push(L, json, len);
    return 1;
}

/* --- revocations ----------------------------------------------------------------------------------- */

/* passes.revoke(token_id, ttl) -> connections closed | nil, why */
static int l_passes_revoke(lua_State *L)
{
    size_t len = 0;
    struct tg_passes *passes = tg_api_env(L)->passes;
    tg_api_contexts(L, "passes.revoke", TG_IN_CALL);
    const char *token_id = check_text(L, 1, "passes.revoke", "a token's ID", TG_TOKEN_ID_MAX, &len);
    lua_Number seconds = lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : 0;
    if (!(seconds > 0 && seconds <= TOKEN_TTL_SECONDS_MAX))
        return luaL_error(L, "passes.revoke: ttl is seconds, more than 0 and at most ten years: as "
                             "long as the token would have been good");
    if (strlen(token_id) != len)
        return luaL_error(L, "passes.revoke: a token's ID has no NUL in it");
    if (passes == NULL)
        return tg_api_push_failure(L, "unavailable");
    enum tg_err err = tg_passes_revoke(passes, token_id, len, (uint64_t)ceil(seconds * 1000));
    if (err == TG_ERR_LIMIT)
        return tg_api_push_failure(L, "too many");
    if (err != TG_ERR_OK)
        return tg_api_push_result(L, err);
    struct tg_closing what = {
        .by = TG_CLOSING_TOKEN, .key = token_id, .code = 4401, .reason = TG_REVOKED_REASON};
    return tg_api_close_matching(L, &what);
}

/* passes.is_revoked(token_id) -> boolean */
static int l_passes_is_revoked(lua_State *L)
{
    size_t len = 0;
    struct tg_passes *passes = tg_api_env(L)->passes;
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "passes.is_revoked: a token's ID (text) expected, got %s",
                          tg_api_type_name(L, 1));
    const char *token_id = lua_tolstring(L, 1, &len);
    lua_pushboolean(L, passes != NULL && tg_passes_is_revoked(passes, token_id, len));
    return 1;
}

static const luaL_Reg functions[] = {
    {"issue", l_passes_issue},
    {"take", l_passes_take},
    {"revoke", l_passes_revoke},
    {"is_revoked", l_passes_is_revoked},
    {NULL, NULL},
};

int tg_lua_passes_open(lua_State *L)
{
    lua_createtable(L, 0, 4);
    tg_api_set_functions(L, functions);
    return 1;
}
