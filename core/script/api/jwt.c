/* jwt.c - what lua/tidegate/_jwt.lua asks of the core: verify a token by rules that it has checked, make one,
 * and raise at the policy's line.
 *
 * What a verification allocates belongs to a userdata, so that running out of memory in Lua leaks nothing.
 */
#include "script/api/jwt.h"

#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "proto/jwt_key.h"
#include "script/api/api.h"
#include "script/api/flight.h"
#include "script/api/json.h"
#include "script/api/jwt_keys.h"
#include "script/policy/loader.h"
#include "script/sandbox/sandbox.h"

#define FILE_NAME "tidegate/_jwt.lua"
#define OUR_FILES "@tidegate/_jw"
#define AUDIENCES_MAX 16

struct work {
    struct tg_jwt jwt;
    struct tg_jwt_signer signer;
    struct tg_buffer token;
};

static char metatable_key;

static void finish_work(struct work *work)
{
    tg_jwt_fini(&work->jwt);
    tg_jwt_signer_fini(&work->signer);
    tg_buffer_fini(&work->token);
}

static int l_work_gc(lua_State *L)
{
    finish_work(lua_touserdata(L, 1));
    return 0;
}

static struct work *push_work(lua_State *L)
{
    struct work *work = lua_newuserdata(L, sizeof *work);
    memset(work, 0, sizeof *work);
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
    return work;
}

/* --- for the Lua file ------------------------------------------------------------------------------ */

/* raise(text): at the innermost line that is not the library's */
static int l_raise(lua_State *L)
{
    return tg_api_raise_outside(L, OUR_FILES);
}

/* describe(value) -> short text */
static int l_describe(lua_State *L)
{
    lua_pushstring(L, tg_api_type_name(L, 1));
    return 1;
}

/* suggest(key, names) -> the name that the key was meant to be | nil */
static int l_suggest(lua_State *L)
{
    const char *names[32];
    size_t count = 0;
    const char *key = luaL_checkstring(L, 1);
    lua_settop(L, 2);
    lua_pushnil(L);
    while (count < sizeof names / sizeof names[0] && lua_next(L, 2) != 0) {
        names[count++] = lua_tostring(L, -2);
        lua_pop(L, 1);
    }
    lua_pushstring(L, tg_api_suggest(key, names, count));
    return 1;
}

/* --- verifying ------------------------------------------------------------------------------------- */

static const char *text_field(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    const char *text = lua_tostring(L, -1); /* anchored in the table */
    lua_pop(L, 1);
    return text;
}

static double number_field(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    double number = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return number;
}

static bool flag_field(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    bool flag = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return flag;
}

/* The rules at `table`, whose texts they borrow. */
static struct tg_jwt_rules read_rules(lua_State *L, int table, const char *audiences[AUDIENCES_MAX])
{
    struct tg_jwt_rules rules = {
        .algorithms = (uint32_t)number_field(L, table, "algorithms"),
        .bytes_max = (size_t)number_field(L, table, "max_bytes"),
        .typ = text_field(L, table, "typ"),
        .issuer = text_field(L, table, "issuer"),
        .audiences = audiences,
        .exp_required = flag_field(L, table, "require_exp"),
        .sub_required = flag_field(L, table, "require_sub"),
        .leeway = number_field(L, table, "leeway"),
        .max_age = number_field(L, table, "max_age"),
    };
    lua_getfield(L, table, "audiences");
    int list = lua_gettop(L);
    for (int i = 1; i <= AUDIENCES_MAX; i++) {
        lua_rawgeti(L, list, i);
        if (lua_isnil(L, -1))
            break;
        audiences[rules.audience_count++] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    lua_settop(L, list - 1);
    return rules;
}

static enum tg_jwt_code verify(struct tg_jwt *jwt, const char *token, size_t len,
                               const struct tg_jwt_rules *rules, struct tg_jwt_key *keys,
                               size_t count, const char **why)
{
    enum tg_jwt_code code = tg_jwt_open(jwt, token, len, rules, why);
    if (code != TG_JWT_OK_CODE)
        return code;
    const struct tg_jwt_key *key = tg_jwt_key_select(keys, count, jwt, why);
    if (key == NULL)
        return TG_JWT_KEY_CODE;
    if (!tg_jwt_key_verifies(key, jwt)) {
        *why = "the token is not signed by the key that it names";
        return TG_JWT_SIGNATURE_CODE;
    }
    return tg_jwt_read_claims(jwt, rules, (double)tg_clock_wall_ms() / 1000, why);
}

static int push_refusal(lua_State *L, enum tg_jwt_code code, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    lua_pushstring(L, tg_jwt_code_names[code]);
    return 3;
}

/* verify(rules, keys, token) -> claims | nil, why, code */
static int l_verify(lua_State *L)
{
    const char *audiences[AUDIENCES_MAX] = {NULL};
    const char *why = "";
    size_t count = 0;
    size_t len = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    struct tg_jwt_key *keys = tg_jwt_keys_check(L, 2, &count);
    if (lua_type(L, 3) != LUA_TSTRING) /* clients send what they like, or nothing */
        return push_refusal(L, TG_JWT_MALFORMED_CODE, "there is no token");
    const char *token = lua_tolstring(L, 3, &len);
    struct tg_jwt_rules rules = read_rules(L, 1, audiences);
    struct work *work = push_work(L);
    enum tg_jwt_code code = verify(&work->jwt, token, len, &rules, keys, count, &why);
    if (code == TG_JWT_OK_CODE)
        tg_lua_json_push(L, (const char *)tg_buffer_head(&work->jwt.claims), work->jwt.claims.len);
    finish_work(work);
    return code == TG_JWT_OK_CODE ? 1 : push_refusal(L, code, why);
}

/* --- signing --------------------------------------------------------------------------------------- */

static enum tg_err read_signer(struct tg_jwt_signer *signer, const char *kind, const char *text,
                               size_t len, struct tg_error *error)
{
    struct tg_json_value jwk;
    if (strcmp(kind, "pem") == 0)
        return tg_jwt_signer_from_pem(signer, text, len, error);
    if (strcmp(kind, "secret") == 0)
        return tg_jwt_signer_from_secret(signer, text, len, error);
    if (tg_json_parse(text, len, &jwk, NULL) != TG_ERR_OK)
        return tg_error_set(error, TG_ERR_INVALID, "the JWK is no JSON");
    return tg_jwt_signer_from_jwk(signer, &jwk, error);
}

/* sign(algorithm, kind, key, header, claims) -> token | nil, why; kind: pem, secret, jwk */
static int l_sign(lua_State *L)
{
    size_t key_len = 0;
    size_t header_len = 0;
    size_t claims_len = 0;
    struct tg_error error = {0};
    enum tg_jwt_algorithm algorithm = tg_jwt_algorithm_find(luaL_checkstring(L, 1));
    luaL_argcheck(L, algorithm != TG_JWT_ALGORITHMS, 1, "algorithm expected");
    const char *kind = luaL_checkstring(L, 2);
    const char *key = luaL_checklstring(L, 3, &key_len);
    const char *header = luaL_checklstring(L, 4, &header_len);
    const char *claims = luaL_checklstring(L, 5, &claims_len);
    struct work *work = push_work(L);
    enum tg_err err = read_signer(&work->signer, kind, key, key_len, &error);
    if (err == TG_ERR_OK)
        err = tg_jwt_sign(&work->signer, algorithm, header, header_len, claims, claims_len,
                          &work->token, &error);
    if (err == TG_ERR_OK)
        lua_pushlstring(L, (const char *)tg_buffer_head(&work->token), work->token.len);
    finish_work(work);
    return err == TG_ERR_OK ? 1 : tg_api_push_failure(L, error.text);
}

static const luaL_Reg core[] = {
    {"raise", l_raise},   {"describe", l_describe}, {"suggest", l_suggest},
    {"verify", l_verify}, {"sign", l_sign},         {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_work_gc},
    {NULL, NULL},
};

/* algorithms: name -> its bit */
static void add_algorithms(lua_State *L)
{
    lua_createtable(L, 0, TG_JWT_ALGORITHMS);
    for (int i = 0; i < TG_JWT_ALGORITHMS; i++) {
        lua_pushnumber(L, TG_JWT_BIT(i));
        lua_setfield(L, -2, tg_jwt_algorithm_names[i]);
    }
    lua_setfield(L, -2, "algorithms");
}

void tg_lua_jwt_open_types(struct lua_State *L)
{
    tg_api_set_metatable(L, &metatable_key, metamethods);
    tg_jwt_keys_open_type(L);
    tg_flight_open_type(L);
}

int tg_lua_jwt_open(struct lua_State *L)
{
    tg_loader_push_private(L, FILE_NAME);
    tg_sandbox_push_library(L);
    (void)lua_setfenv(L, -2);
    tg_loader_push_private(L, "tidegate/_jwks.lua");
    tg_sandbox_push_library(L);
    (void)lua_setfenv(L, -2);
    lua_createtable(L, 0, 20);
    tg_api_set_functions(L, core);
    tg_jwt_keys_add_functions(L);
    tg_flight_add_functions(L);
    add_algorithms(L);
    lua_pushvalue(L, -1);
    lua_insert(L, -3);
    lua_call(L, 1, 1); /* _jwks.lua(core) */
    lua_call(L, 2, 1); /* _jwt.lua(core, jwks) */
    return 1;
}
