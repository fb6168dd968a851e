/* kv.c - the module tidegate.kv: the store that all workers share.
 *
 * Nothing here waits for more than another worker's copy of one value, so these functions do not suspend
 * and work at load time, too. Where there is no server (check, the probe of a reload) the state gets a
 * small store of its own, which goes with it: what loading a policy writes there leaves no trace.
 *
 * cas compares outside the store: it reads, compares, and stores if the entry has kept its version. So two
 * tables are equal whatever the order of their keys, and no lock is held meanwhile.
 */
#include "script/api/kv.h"

#include <math.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/api/json.h"
#include "script/call/call.h"
#include "script/hooks/view.h"
#include "script/kv/kv.h"
#include "script/plain.h"

#define OWN_MEMORY ((size_t)1 << 20)
#define OWN_VALUE_MAX ((size_t)64 << 10)
#define TTL_SECONDS_MAX 315360000.0 /* ten years */
#define CAS_TRIES 100

static char own_key;       /* registry: the state's own store */
static char metatable_key; /* of that */

/* --- arguments ------------------------------------------------------------------------------------- */

static struct tg_kv *store_of(lua_State *L)
{
    struct tg_kv *kv = tg_api_env(L)->kv;

    if (kv != NULL)
        return kv;
    tg_api_push_registry(L, &own_key);
    struct tg_kv **own = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return *own;
}

static struct tg_kv_key check_key(lua_State *L, const char *name)
{
    struct tg_kv_key key = {"", 0};

    if (lua_type(L, 1) != LUA_TSTRING)
        luaL_error(L, "%s: a key (text of 1 to %d bytes) expected, got %s", name, TG_KV_KEY_MAX,
                   tg_api_type_name(L, 1));
    key.data = lua_tolstring(L, 1, &key.len);
    if (key.len == 0 || key.len > TG_KV_KEY_MAX)
        luaL_error(L, "%s: a key has 1 to %d bytes, this one has %d", name, TG_KV_KEY_MAX,
                   (int)key.len);
    return key;
}

/* { ttl = seconds } at `index`, or nothing. */
static uint64_t check_ttl(lua_State *L, const char *name, int index)
{
    char text[64];
    uint64_t ttl_ms = TG_KV_FOREVER;

    if (lua_isnoneornil(L, index))
        return ttl_ms;
    if (!lua_istable(L, index))
        luaL_error(L, "%s: { ttl = seconds } expected, got %s", name, tg_api_type_name(L, index));
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "ttl") != 0) {
            tg_api_value_text(L, -2, text, sizeof text);
            luaL_error(L, "%s: there is no option \"%s\"; there is ttl (seconds)", name, text);
        }
        lua_Number seconds = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
        if (!(seconds > 0 && seconds <= TTL_SECONDS_MAX))
            luaL_error(L, "%s: ttl must be seconds, more than 0 and at most ten years", name);
        lua_pop(L, 1);
        ttl_ms = (uint64_t)ceil(seconds * 1000);
    }
    return ttl_ms;
}

/* The value at `index`, encoded into the scratch buffer; NULL: too large. */
static struct tg_buffer *check_value(lua_State *L, const char *name, int index, size_t max)
{
    struct tg_error error;
    struct tg_buffer *bytes = tg_lua_json_scratch(L);

    if (lua_isnoneornil(L, index))
        luaL_error(L, "%s: a value expected; kv.delete takes one away", name);
    enum tg_err err = tg_plain_encode(L, index, "value", max, bytes, &error);
    if (err == TG_ERR_LIMIT)
        return NULL;
    if (err != TG_ERR_OK)
        luaL_error(L, "%s: %s", name, error.text);
    return bytes;
}

static int push_stored(lua_State *L, enum tg_err err, const char *not_so)
{
    if (err == TG_ERR_EXISTS)
        return tg_api_push_failure(L, not_so);
    if (err == TG_ERR_LIMIT)
        return tg_api_push_failure(L, "too large");
    return tg_api_push_result(L, err);
}

/* --- functions ------------------------------------------------------------------------------------- */

/* kv.get(key) -> value | nil */
static int l_kv_get(lua_State *L)
{
    struct tg_kv_key key = check_key(L, "kv.get");
    struct tg_buffer *bytes = tg_lua_json_scratch(L);
    uint64_t version;
    enum tg_err err = tg_kv_get(store_of(L), TG_KV_GET, key, bytes, &version);

    if (err == TG_ERR_NOT_FOUND)
        return 0;
    if (err != TG_ERR_OK)
        return luaL_error(L, "kv.get: %s", tg_err_text(err));
    tg_plain_push(L, tg_buffer_head(bytes), bytes->len);
    return 1;
}

/* kv.set(key, value [, opts]) -> true | nil, why */
static int l_kv_set(lua_State *L)
{
    struct tg_kv_key key = check_key(L, "kv.set");
    struct tg_kv *kv = store_of(L);
    uint64_t ttl_ms = check_ttl(L, "kv.set", 3);
    const struct tg_buffer *bytes = check_value(L, "kv.set", 2, tg_kv_value_max(kv));

    if (bytes == NULL)
        return tg_api_push_failure(L, "too large");
    return push_stored(L, tg_kv_set(kv, key, tg_buffer_head(bytes), bytes->len, ttl_ms), "");
}

/* kv.add(key, value [, opts]) -> true | nil, "exists" */
static int l_kv_add(lua_State *L)
{
    struct tg_kv_key key = check_key(L, "kv.add");
    struct tg_kv *kv = store_of(L);
    uint64_t ttl_ms = check_ttl(L, "kv.add", 3);
    const struct tg_buffer *bytes = check_value(L, "kv.add", 2, tg_kv_value_max(kv));

    if (bytes == NULL)
        return tg_api_push_failure(L, "too large");
    return push_stored(
        L, tg_kv_set_if(kv, TG_KV_ADD, key, 0, tg_buffer_head(bytes), bytes->len, ttl_ms),
        "exists");
}

/* kv.incr(key [, by [, opts]]) -> number | nil, "not a number" */
static int l_kv_incr(lua_State *L)
{
    struct tg_kv_key key = check_key(L, "kv.incr");
    lua_Number by = 1;
    double result;

    if (!lua_isnoneornil(L, 2)) {
        by = lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : (lua_Number)NAN;
        if (!isfinite(by))
            return luaL_error(L, "kv.incr: a number to add expected, got %s",
                              tg_api_type_name(L, 2));
    }
    uint64_t ttl_ms = check_ttl(L, "kv.incr", 3);
    enum tg_err err = tg_kv_incr(store_of(L), key, by, ttl_ms, &result);
    if (err == TG_ERR_INVALID)
        return tg_api_push_failure(L, "not a number");
    if (err != TG_ERR_OK)
        return push_stored(L, err, "");
    lua_pushnumber(L, result);
    return 1;
}

/* kv.delete(key) -> boolean: it was there */
static int l_kv_delete(lua_State *L)
{
    struct tg_kv_key key = check_key(L, "kv.delete");

    lua_pushboolean(L, tg_kv_delete(store_of(L), key));
    return 1;
}

/* kv.ttl(key) -> seconds, math.huge when it stays, nil when there is none */
static int l_kv_ttl(lua_State *L)
{
    struct tg_kv_key key = check_key(L, "kv.ttl");
    uint64_t left_ms;

    if (tg_kv_ttl(store_of(L), key, &left_ms) != TG_ERR_OK)
        return 0;
    lua_pushnumber(L, left_ms == TG_KV_FOREVER ? HUGE_VAL : (lua_Number)left_ms / 1000);
    return 1;
}

/* --- cas ------------------------------------------------------------------------------------------- */

static bool equal(lua_State *L, int stored, int other);

/* Has `other` the same value under every key of `stored`? Counts these. */
static bool has_all(lua_State *L, int stored, int other, size_t *pairs)
{
    bool same = true;

    luaL_checkstack(L, 8, "kv.cas");
    lua_pushnil(L);
    while (same && lua_next(L, stored) != 0) {
        int value = lua_gettop(L);
        lua_pushvalue(L, value - 1);
        lua_rawget(L, other);
        same = equal(L, value, value + 1);
        *pairs += 1;
        lua_settop(L, value - 1);
    }
    return same;
}

static bool has_no_more_than(lua_State *L, int table, size_t pairs)
{
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        if (pairs-- == 0) {
            lua_pop(L, 2);
            return false;
        }
        lua_pop(L, 1);
    }
    return true;
}

/* Equal when they say the same; marks of json.array and the like do not count. Goes no deeper and looks at
 * no more pairs than the stored one has. */
static bool equal(lua_State *L, int stored, int other)
{
    size_t pairs = 0;

    if (tg_view_is(L, other)) {
        tg_view_unwrap(L, other);
        lua_replace(L, other);
    }
    if (!lua_istable(L, stored) || !lua_istable(L, other))
        return lua_rawequal(L, stored, other) != 0;
    int top = lua_gettop(L);
    bool same = has_all(L, stored, other, &pairs) && has_no_more_than(L, other, pairs);
    lua_settop(L, top);
    return same;
}

/* Reads the entry and compares it with the value at 2. False: it is another one; an error raises. */
static bool is_expected(lua_State *L, struct tg_kv *kv, struct tg_kv_key key, uint64_t *version)
{
    struct tg_buffer *bytes = tg_lua_json_scratch(L);
    enum tg_err err = tg_kv_get(kv, TG_KV_CAS, key, bytes, version);

    if (err == TG_ERR_NOT_FOUND) {
        *version = 0;
        return lua_isnil(L, 2);
    }
    if (err != TG_ERR_OK)
        luaL_error(L, "kv.cas: %s", tg_err_text(err));
    int top = lua_gettop(L);
    tg_plain_push(L, tg_buffer_head(bytes), bytes->len);
    bool same = equal(L, top + 1, 2);
    lua_settop(L, top);
    return same;
}

/* Tries until nobody was in between. */
static enum tg_err exchange(lua_State *L, struct tg_kv *kv, struct tg_kv_key key, uint64_t ttl_ms)
{
    enum tg_err err = TG_ERR_EXISTS;
    uint64_t version;

    for (int i = 0; i < CAS_TRIES && err == TG_ERR_EXISTS && !tg_api_out_of_time(L); i++) {
        if (!is_expected(L, kv, key, &version))
            return TG_ERR_EXISTS;
        /* Encoded again: the scratch buffer held what was read. */
        const struct tg_buffer *bytes = check_value(L, "kv.cas", 3, tg_kv_value_max(kv));
        if (bytes == NULL)
            return TG_ERR_LIMIT;
        err = tg_kv_set_if(kv, TG_KV_CAS, key, version, tg_buffer_head(bytes), bytes->len, ttl_ms);
    }
    return err;
}

/* kv.cas(key, expected, value [, opts]) -> true | nil, "changed" */
static int l_kv_cas(lua_State *L)
{
    lua_settop(L, 4);
    struct tg_kv_key key = check_key(L, "kv.cas");
    uint64_t ttl_ms = check_ttl(L, "kv.cas", 4);

    return push_stored(L, exchange(L, store_of(L), key, ttl_ms), "changed");
}

/* --- the module ------------------------------------------------------------------------------------ */

static int l_own_gc(lua_State *L)
{
    struct tg_kv **own = lua_touserdata(L, 1);

    tg_kv_destroy(*own);
    *own = NULL;
    return 0;
}

static const luaL_Reg own_metamethods[] = {
    {"__gc", l_own_gc},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"get", l_kv_get},       {"set", l_kv_set}, {"add", l_kv_add}, {"incr", l_kv_incr},
    {"delete", l_kv_delete}, {"cas", l_kv_cas}, {"ttl", l_kv_ttl}, {NULL, NULL},
};

static void make_own(lua_State *L)
{
    struct tg_kv_options options = {.memory = OWN_MEMORY, .value_max = OWN_VALUE_MAX};

    lua_pushlightuserdata(L, &own_key);
    struct tg_kv **own = lua_newuserdata(L, sizeof(struct tg_kv *));
    *own = NULL;
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
    if (tg_kv_create(own, &options) != TG_ERR_OK)
        luaL_error(L, "not enough memory");
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void tg_lua_kv_open_type(lua_State *L)
{
    tg_api_set_metatable(L, &metatable_key, own_metamethods);
}

int tg_lua_kv_open(lua_State *L)
{
    if (tg_api_env(L)->kv == NULL)
        make_own(L);
    lua_createtable(L, 0, 7);
    tg_api_set_functions(L, functions);
    return 1;
}
