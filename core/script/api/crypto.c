/* crypto.c - the module tidegate.crypto: random bytes, digests, text encodings, a safe comparison.
 *
 * Digests are raw bytes; crypto.hex makes them text. Input is bounded, since a digest of a huge string
 * is one C call that no budget can interrupt.
 */
#include "script/api/crypto.h"

#include <lauxlib.h>
#include <lua.h>

#include "base/base64.h"
#include "base/hash.h"
#include "base/random.h"
#include "script/api/api.h"
#include "script/api/crypto_password.h"
#include "script/api/json.h"

#define RANDOM_BYTES_MAX (64 << 10)
#define INPUT_BYTES_MAX ((size_t)4 << 20)

static const char *check_bytes(lua_State *L, int index, const char *name, size_t *len)
{
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "%s: a string expected as argument %d, got %s", name, index,
                   tg_api_type_name(L, index));
    const char *bytes = lua_tolstring(L, index, len);
    if (*len > INPUT_BYTES_MAX)
        luaL_error(L, "%s: more than 4 MiB at once", name);
    return bytes;
}

/* Random bytes in the state's scratch buffer. */
static const uint8_t *make_random(lua_State *L, const char *name, size_t *len)
{
    lua_Number n = lua_type(L, 1) == LUA_TNUMBER ? lua_tonumber(L, 1) : 0;
    if (!(n >= 1 && n <= RANDOM_BYTES_MAX) || n != (lua_Number)(size_t)n)
        luaL_error(L, "%s: a whole number of bytes from 1 to 65536 expected", name);
    *len = (size_t)n;
    uint8_t *bytes = tg_buffer_reserve(tg_lua_json_scratch(L), *len);
    if (bytes == NULL)
        luaL_error(L, "not enough memory");
    tg_random_bytes(bytes, *len);
    return bytes;
}

static int push_hex(lua_State *L, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (size_t i = 0; i < len; i++) {
        luaL_addchar(&text, digits[bytes[i] >> 4]);
        luaL_addchar(&text, digits[bytes[i] & 15]);
    }
    luaL_pushresult(&text);
    return 1;
}

/* crypto.random_bytes(n) -> n bytes from the system's generator */
static int l_crypto_random_bytes(lua_State *L)
{
    size_t len = 0;
    const uint8_t *bytes = make_random(L, "crypto.random_bytes", &len);
    lua_pushlstring(L, (const char *)bytes, len);
    return 1;
}

/* crypto.random_hex(n) -> n bytes as 2n hex digits */
static int l_crypto_random_hex(lua_State *L)
{
    size_t len = 0;
    const uint8_t *bytes = make_random(L, "crypto.random_hex", &len);
    return push_hex(L, bytes, len);
}

/* crypto.hex(bytes) -> text */
static int l_crypto_hex(lua_State *L)
{
    size_t len = 0;
    const char *bytes = check_bytes(L, 1, "crypto.hex", &len);
    return push_hex(L, (const uint8_t *)bytes, len);
}

/* crypto.sha256(bytes) -> 32 bytes */
static int l_crypto_sha256(lua_State *L)
{
    size_t len = 0;
    uint8_t digest[TG_SHA256_SIZE];
    const char *bytes = check_bytes(L, 1, "crypto.sha256", &len);
    tg_sha256(bytes, len, digest);
    lua_pushlstring(L, (const char *)digest, sizeof digest);
    return 1;
}

/* crypto.hmac_sha256(key, bytes) -> 32 bytes */
static int l_crypto_hmac_sha256(lua_State *L)
{
    size_t key_len = 0;
    size_t len = 0;
    uint8_t digest[TG_SHA256_SIZE];
    const char *key = check_bytes(L, 1, "crypto.hmac_sha256", &key_len);
    const char *bytes = check_bytes(L, 2, "crypto.hmac_sha256", &len);
    tg_hmac_sha256(key, key_len, bytes, len, digest);
    lua_pushlstring(L, (const char *)digest, sizeof digest);
    return 1;
}

/* crypto.equal(a, b) -> boolean, in the same time wherever they differ */
static int l_crypto_equal(lua_State *L)
{
    size_t a_len = 0;
    size_t b_len = 0;
    const char *a = check_bytes(L, 1, "crypto.equal", &a_len);
    const char *b = check_bytes(L, 2, "crypto.equal", &b_len);
    lua_pushboolean(L, tg_equal_constant_time(a, a_len, b, b_len));
    return 1;
}

typedef enum tg_err (*codec_fn)(const void *data, size_t len, struct tg_buffer *out);

static int push_encoded(lua_State *L, const char *name, codec_fn encode)
{
    size_t len = 0;
    const char *bytes = check_bytes(L, 1, name, &len);
    struct tg_buffer *out = tg_lua_json_scratch(L);
    if (encode(bytes, len, out) != TG_ERR_OK)
        return luaL_error(L, "not enough memory");
    lua_pushlstring(L, out->len == 0 ? "" : (const char *)tg_buffer_head(out), out->len);
    return 1;
}

static int push_decoded(lua_State *L, const char *name,
                        enum tg_err (*decode)(const char *text, size_t len, struct tg_buffer *out),
                        const char *why)
{
    size_t len = 0;
    const char *text = check_bytes(L, 1, name, &len);
    struct tg_buffer *out = tg_lua_json_scratch(L);
    enum tg_err err = decode(text, len, out);
    if (err == TG_ERR_NOMEM)
        return luaL_error(L, "not enough memory");
    if (err != TG_ERR_OK)
        return tg_api_push_failure(L, why);
    lua_pushlstring(L, out->len == 0 ? "" : (const char *)tg_buffer_head(out), out->len);
    return 1;
}

/* crypto.base64.encode(bytes) -> text */
static int l_base64_encode(lua_State *L)
{
    return push_encoded(L, "crypto.base64.encode", tg_base64_encode);
}

/* crypto.base64.decode(text) -> bytes | nil, why */
static int l_base64_decode(lua_State *L)
{
    return push_decoded(L, "crypto.base64.decode", tg_base64_decode, "not base64");
}

/* crypto.base64url.encode(bytes) -> text without padding */
static int l_base64url_encode(lua_State *L)
{
    return push_encoded(L, "crypto.base64url.encode", tg_base64url_encode);
}

/* crypto.base64url.decode(text) -> bytes | nil, why */
static int l_base64url_decode(lua_State *L)
{
    return push_decoded(L, "crypto.base64url.decode", tg_base64url_decode, "not base64url");
}

static const luaL_Reg functions[] = {
    {"random_bytes", l_crypto_random_bytes},
    {"random_hex", l_crypto_random_hex},
    {"hex", l_crypto_hex},
    {"sha256", l_crypto_sha256},
    {"hmac_sha256", l_crypto_hmac_sha256},
    {"equal", l_crypto_equal},
    {NULL, NULL},
};
static const luaL_Reg base64_functions[] = {
    {"encode", l_base64_encode},
    {"decode", l_base64_decode},
    {NULL, NULL},
};
static const luaL_Reg base64url_functions[] = {
    {"encode", l_base64url_encode},
    {"decode", l_base64url_decode},
    {NULL, NULL},
};

int tg_crypto_open(lua_State *L)
{
    lua_createtable(L, 0, 10);
    tg_api_set_functions(L, functions);
    tg_crypto_password_add_functions(L);
    lua_createtable(L, 0, 2);
    tg_api_set_functions(L, base64_functions);
    lua_setfield(L, -2, "base64");
    lua_createtable(L, 0, 2);
    tg_api_set_functions(L, base64url_functions);
    lua_setfield(L, -2, "base64url");
    return 1;
}
