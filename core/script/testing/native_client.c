/* native_client.c - the clients of a simulated host, by number: the second argument of each function. */
#include <stdint.h>

#include "base/clock.h"
#include "script/plain.h"
#include "script/testing/native_internal.h"

static size_t check_number(lua_State *L)
{
    return (size_t)luaL_checkinteger(L, 2);
}

/* connect(host, target, headers, subprotocols, remote, tls, certificate, compress) -> number | nil, why */
static int l_connect(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    struct tg_sim_connect options = {
        .target = luaL_checkstring(L, 2),
        .headers = luaL_checkstring(L, 3),
        .subprotocols = luaL_optstring(L, 4, NULL),
        .remote = luaL_optstring(L, 5, NULL),
        .tls = lua_toboolean(L, 6) != 0,
        .certificate = luaL_optstring(L, 7, NULL),
        .compress = lua_toboolean(L, 8) != 0,
    };
    size_t number;

    if (host->backend->connect(host->sim, &options, &number, &host->error) != TG_ERR_OK)
        return tg__testing_failure(L, host);
    lua_pushinteger(L, (lua_Integer)number);
    return 1;
}

static void set_text(lua_State *L, const char *name, const char *value)
{
    if (value == NULL)
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

/* Plain data; nil for none. */
static void set_blob(lua_State *L, const char *name, struct tg_blob blob)
{
    tg_plain_push(L, blob.data, blob.len);
    lua_setfield(L, -2, name);
}

static void set_transitions(lua_State *L, const struct tg_lifecycle *lifecycle)
{
    struct tg_transition move;
    char at[TG_CLOCK_RFC3339_SIZE];

    lua_newtable(L);
    for (size_t i = 0; tg_lifecycle_transition(lifecycle, i, &move); i++) {
        lua_createtable(L, 0, 5);
        set_text(L, "from", tg_state_names[move.from]);
        set_text(L, "to", tg_state_names[move.to]);
        set_text(L, "reason", move.reason);
        tg_clock_rfc3339(move.at_ms, at);
        set_text(L, "at", at);
        lua_pushnumber(L, (lua_Number)move.at_ms / 1000);
        lua_setfield(L, -2, "time");
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "transitions");
}

/* facts(host, number) -> table */
static int l_facts(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    struct tg_sim_facts facts;

    host->backend->facts(host->sim, check_number(L), &facts);
    lua_createtable(L, 0, 12);
    set_text(L, "state", facts.state);
    set_text(L, "id", facts.id[0] == '\0' ? NULL : facts.id);
    set_text(L, "user_id", facts.user_id);
    set_text(L, "policy_version", facts.policy_version);
    set_blob(L, "identity", facts.identity);
    set_blob(L, "context", facts.context);
    set_blob(L, "session", facts.session);
    if (facts.lifecycle != NULL)
        set_transitions(L, facts.lifecycle);
    lua_pushboolean(L, facts.over);
    lua_setfield(L, -2, "over");
    if (facts.status != 0) {
        lua_pushinteger(L, facts.status);
        lua_setfield(L, -2, "status");
    }
    if (facts.close_code != 0) {
        lua_pushinteger(L, facts.close_code);
        lua_setfield(L, -2, "close_code");
    }
    set_text(L, "close_reason", facts.close_reason);
    if (facts.body != NULL && facts.body->len > 0) {
        lua_pushlstring(L, (const char *)tg_buffer_head(facts.body), facts.body->len);
        lua_setfield(L, -2, "body");
    }
    return 1;
}

/* header(host, number, i) -> name, value | nil; from 1 */
static int l_header(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    const char *name, *value;

    if (!host->backend->header(host->sim, check_number(L), (size_t)luaL_checkinteger(L, 3) - 1,
                               &name, &value))
        return 0;
    lua_pushstring(L, name);
    lua_pushstring(L, value);
    return 2;
}

/* send(host, number, text, data) -> whether it is open */
static int l_send(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    size_t len;
    const char *data = luaL_checklstring(L, 4, &len);

    lua_pushboolean(
        L, host->backend->send(host->sim, check_number(L), lua_toboolean(L, 3) != 0, data, len));
    return 1;
}

/* leave(host, number, code, reason) -> whether it was open */
static int l_leave(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);

    lua_pushboolean(L, host->backend->close(host->sim, check_number(L),
                                            (int)luaL_checkinteger(L, 3), luaL_checkstring(L, 4)));
    return 1;
}

static int l_drop(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);

    host->backend->drop(host->sim, check_number(L));
    return 0;
}

/* stall(host, number, window) */
static int l_stall(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);

    host->backend->stall(host->sim, check_number(L), (size_t)luaL_checkinteger(L, 3));
    return 0;
}

static int l_resume(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);

    host->backend->resume(host->sim, check_number(L));
    return 0;
}

/* take(host, number) -> "text" | "binary", data | nil */
static int l_take(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    bool text;

    tg_buffer_clear(&host->scratch);
    if (!host->backend->take(host->sim, check_number(L), &text, &host->scratch))
        return 0;
    lua_pushstring(L, text ? "text" : "binary");
    lua_pushlstring(L, (const char *)tg_buffer_head(&host->scratch), host->scratch.len);
    return 2;
}

const luaL_Reg tg__testing_client_functions[] = {
    {"connect", l_connect}, {"facts", l_facts}, {"header", l_header}, {"send", l_send},
    {"leave", l_leave},     {"drop", l_drop},   {"stall", l_stall},   {"resume", l_resume},
    {"take", l_take},       {NULL, NULL},
};
