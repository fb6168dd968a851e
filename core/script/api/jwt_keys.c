/* jwt_keys.c - keys that a verifier holds: outside of Lua, overwritten when it is collected.
 *
 * A list only grows, while it is built. Room is made before a key is, and what a key needed is in the list
 * before anything raises.
 */
#include "script/api/jwt_keys.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/memory.h"
#include "proto/jwt_key.h"
#include "script/api/api.h"
#include "script/call/call.h"
#include "script/policy/generation.h"

#define KEYS_MAX 200
#define TEXT_BYTES_MAX ((size_t)1 << 20)

struct keys {
    struct tg_jwt_key *list; /* owned */
    size_t count, capacity;
};

static char metatable_key;

static struct keys *check_keys(lua_State *L, int index)
{
    struct keys *keys = tg_api_test_userdata(L, index, &metatable_key);
    if (keys == NULL)
        luaL_error(L, "keys expected, got %s", tg_api_type_name(L, index));
    return keys;
}

static int l_keys_gc(lua_State *L)
{
    struct keys *keys = lua_touserdata(L, 1);
    for (size_t i = 0; i < keys->count; i++)
        tg_jwt_key_fini(&keys->list[i]);
    tg_free(keys->list);
    *keys = (struct keys){0};
    return 0;
}

/* new_keys() -> keys */
static int l_new_keys(lua_State *L)
{
    struct keys *keys = lua_newuserdata(L, sizeof *keys);
    *keys = (struct keys){0};
    tg_api_push_registry(L, &metatable_key);
    lua_setmetatable(L, -2);
    return 1;
}

/* Where the next key goes. */
static struct tg_jwt_key *room(struct keys *keys, struct tg_error *error)
{
    if (keys->count == KEYS_MAX) {
        tg_error_set(error, TG_ERR_LIMIT, "more than %d keys", KEYS_MAX);
        return NULL;
    }
    if (keys->count == keys->capacity) {
        size_t capacity = keys->capacity == 0 ? 4 : keys->capacity * 2;
        struct tg_jwt_key *list = tg_realloc(keys->list, capacity * sizeof *list);
        if (list == NULL) {
            tg_error_set(error, TG_ERR_NOMEM, "out of memory");
            return NULL;
        }
        keys->list = list;
        keys->capacity = capacity;
    }
    return &keys->list[keys->count];
}

typedef enum tg_err (*make_fn)(struct tg_jwt_key *out, const void *data, size_t len,
                               struct tg_error *error);

static enum tg_err make_pem(struct tg_jwt_key *out, const void *data, size_t len,
                            struct tg_error *error)
{
    return tg_jwt_key_from_pem(out, data, len, error);
}

static enum tg_err make_jwk(struct tg_jwt_key *out, const void *data, size_t len,
                            struct tg_error *error)
{
    struct tg_json_value value;
    if (tg_json_parse(data, len, &value, NULL) != TG_ERR_OK)
        return tg_error_set(error, TG_ERR_INVALID, "the JWK is no JSON");
    return tg_jwt_key_from_jwk(out, &value, error);
}

/* add_…(keys, text) -> true | nil, why */
static int add(lua_State *L, make_fn make)
{
    size_t len = 0;
    struct tg_error error = {0};
    struct keys *keys = check_keys(L, 1);
    const char *text = luaL_checklstring(L, 2, &len);
    struct tg_jwt_key *key = room(keys, &error);
    if (key == NULL || make(key, text, len, &error) != TG_ERR_OK)
        return tg_api_push_failure(L, error.text);
    keys->count++;
    lua_pushboolean(L, 1);
    return 1;
}

static int l_add_pem(lua_State *L)
{
    return add(L, make_pem);
}

static int l_add_secret(lua_State *L)
{
    return add(L, tg_jwt_key_from_secret);
}

static int l_add_jwk(lua_State *L)
{
    return add(L, make_jwk);
}

/* Keys that cannot be used here are passed over (RFC 7517 §5). False: time is up. */
static bool add_each(lua_State *L, struct keys *keys, const struct tg_json_value *list,
                     struct tg_error *error)
{
    size_t cursor = 0;
    struct tg_json_value name;
    struct tg_json_value one;
    while (tg_json_next(list, &cursor, &name, &one)) {
        struct tg_jwt_key *key = room(keys, error);
        if (key == NULL)
            return true;
        if (tg_jwt_key_from_jwk(key, &one, error) == TG_ERR_OK)
            keys->count++;
        if (tg_api_out_of_time(L))
            return false;
    }
    return true;
}

/* add_set(keys, json) -> true | nil, why */
static int l_add_set(lua_State *L)
{
    size_t len = 0;
    struct tg_error error = {0};
    struct tg_json_value set;
    struct keys *keys = check_keys(L, 1);
    const char *text = luaL_checklstring(L, 2, &len);
    size_t before = keys->count;
    if (len > TEXT_BYTES_MAX)
        return tg_api_push_failure(L, "the JWKS is larger than 1 MiB");
    if (tg_json_parse(text, len, &set, NULL) != TG_ERR_OK)
        return tg_api_push_failure(L, "the JWKS is no JSON");
    struct tg_json_value list = tg_json_member(&set, "keys");
    if (list.kind != TG_JSON_ARRAY)
        return tg_api_push_failure(L, "the JWKS has no list \"keys\"");
    if (!add_each(L, keys, &list, &error))
        return tg_api_raise_out_of_time(L);
    if (keys->count == before) {
        lua_pushnil(L);
        lua_pushfstring(L, "the JWKS has no key that can be used%s%s",
                        error.text[0] == '\0' ? "" : "; the last one: ", error.text);
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* usable(keys) -> bits of the algorithms that some key is for */
static int l_usable(lua_State *L)
{
    const struct keys *keys = check_keys(L, 1);
    uint32_t bits = 0;
    for (size_t i = 0; i < keys->count; i++)
        bits |= keys->list[i].algorithms;
    lua_pushnumber(L, bits);
    return 1;
}

/* idle(keys, bits) -> true when there is a key that none of these algorithms uses */
static int l_idle(lua_State *L)
{
    const struct keys *keys = check_keys(L, 1);
    uint32_t bits = (uint32_t)luaL_checknumber(L, 2);
    bool idle = false;
    for (size_t i = 0; i < keys->count; i++)
        idle = idle || (keys->list[i].algorithms & bits) == 0;
    lua_pushboolean(L, idle);
    return 1;
}

/* --- files ----------------------------------------------------------------------------------------- */

static const struct tg_script_option *find_option(const struct tg_script_env *env, const char *name)
{
    for (size_t i = 0; i < env->option_count; i++) {
        if (strcmp(env->options[i].path, name) == 0 &&
            env->options[i].kind == TG_SCRIPT_OPTION_STRING)
            return &env->options[i];
    }
    return NULL;
}

/* Bytes read into `out`, which has TEXT_BYTES_MAX + 1; -1: it cannot be read. */
static ssize_t read_file(const char *path, char *out)
{
    struct stat status;
    ssize_t used = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return -1;
    ssize_t got = fstat(file, &status) == 0 && S_ISREG(status.st_mode) ? 1 : -1;
    while (got > 0 && (size_t)used <= TEXT_BYTES_MAX) {
        got = read(file, out + used, TEXT_BYTES_MAX + 1 - (size_t)used);
        used += got > 0 ? got : 0;
    }
    (void)close(file);
    return got < 0 ? -1 : used;
}

/* read_option_file(option) -> text | nil, why: the file that the configuration's option names. Scripts have
 * no files; the path is the operator's and never the script's. */
static int l_read_option_file(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (tg_call_current(L) != NULL)
        return tg_api_push_failure(L,
                                   "a file is read at the top of the policy only, not in a hook");
    const struct tg_script_option *option = find_option(tg_api_env(L), name);
    if (option == NULL) {
        lua_pushnil(L);
        lua_pushfstring(L, "no file is configured: set options.%s to the path of one", name);
        return 2;
    }
    char *bytes = lua_newuserdata(L, TEXT_BYTES_MAX + 1);
    ssize_t len = read_file(option->text, bytes);
    if (len < 0 || (size_t)len > TEXT_BYTES_MAX) {
        lua_pushnil(L);
        lua_pushfstring(L, "the file of options.%s %s", name,
                        len < 0 ? "cannot be read" : "is larger than 1 MiB");
        return 2;
    }
    lua_pushlstring(L, bytes, (size_t)len);
    explicit_bzero(bytes, (size_t)len);
    return 1;
}

static const luaL_Reg functions[] = {
    {"new_keys", l_new_keys},
    {"add_pem", l_add_pem},
    {"add_secret", l_add_secret},
    {"add_jwk", l_add_jwk},
    {"add_set", l_add_set},
    {"usable", l_usable},
    {"idle", l_idle},
    {"read_option_file", l_read_option_file},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_keys_gc},
    {NULL, NULL},
};

void tg_jwt_keys_open_type(struct lua_State *L)
{
    tg_api_set_metatable(L, &metatable_key, metamethods);
}

struct tg_jwt_key *tg_jwt_keys_check(struct lua_State *L, int index, size_t *count)
{
    const struct keys *keys = check_keys(L, index);
    *count = keys->count;
    return keys->list;
}

void tg_jwt_keys_add_functions(struct lua_State *L)
{
    tg_api_set_functions(L, functions);
}
