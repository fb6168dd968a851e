/* config_file.c - reads a configuration file in a state of its own.
 *
 *   read the text ─> run it in the bare sandbox ─> flatten the table into leaves ─> sort ─> hand them on
 *
 * The state is gone before the first leaf is handed on; leaves are copies.
 */
#include "script/config_file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "script/call/call.h"
#include "script/policy/generation_internal.h"
#include "script/policy/lines.h"
#include "script/policy/loader.h"
#include "script/sandbox/sandbox.h"

#define FILE_BYTES_MAX ((size_t)1 << 20)
#define STATE_BYTES_MAX ((size_t)16 << 20)
#define CPU_BUDGET_MS 1000
#define DEPTH_MAX 8
#define LEAVES_MAX 4096
#define KEY_SIZE 256
#define WHERE_SIZE 320

struct leaf {
    struct tg_config_leaf public; /* key and string owned */
};

struct config {
    const char *path;
    struct tg_buffer text;
    struct leaf *leaves; /* owned */
    size_t count;
    size_t capacity;
};

static enum tg_err read_text(struct config *config, struct tg_error *error)
{
    FILE *stream = fopen(config->path, "re");
    size_t n;

    if (stream == NULL)
        return tg_error_set(error, TG_ERR_SYS, "%s: %s", config->path, strerror(errno));
    do {
        uint8_t *room = tg_buffer_reserve(&config->text, 16384);
        if (room == NULL)
            break;
        n = fread(room, 1, 16384, stream);
        tg_buffer_commit(&config->text, n);
    } while (n > 0 && config->text.len <= FILE_BYTES_MAX);
    int failed = ferror(stream);
    (void)fclose(stream);
    if (failed)
        return tg_error_set(error, TG_ERR_SYS, "%s: cannot be read", config->path);
    if (config->text.len > FILE_BYTES_MAX)
        return tg_error_set(error, TG_ERR_LIMIT, "%s: larger than 1MiB", config->path);
    return TG_ERR_OK;
}

/* --- leaves ------------------------------------------------------------------------------------- */

static void where_of(const struct config *config, const char *key, char out[WHERE_SIZE])
{
    const char *text = (const char *)tg_buffer_head(&config->text);
    int line = text == NULL ? 0 : tg_lines_of_key(text, config->text.len, key);

    if (line > 0)
        (void)snprintf(out, WHERE_SIZE, "%.200s:%d", config->path, line);
    else
        (void)snprintf(out, WHERE_SIZE, "%.200s", config->path);
}

static _Noreturn void fail(lua_State *L, const struct config *config, const char *key,
                           const char *what)
{
    char where[WHERE_SIZE];

    where_of(config, key, where);
    lua_pushfstring(L, "%s: %s %s", where, key[0] == '\0' ? "the configuration" : key, what);
    (void)lua_error(L);
    abort(); /* not reached: lua_error does not say that it never returns */
}

/* The new leaf belongs to the config before anything can raise. */
static struct tg_config_leaf *add_leaf(lua_State *L, struct config *config, const char *key)
{
    if (config->count == LEAVES_MAX)
        fail(L, config, "", "has too many values");
    if (config->count == config->capacity) {
        size_t capacity = config->capacity == 0 ? 64 : config->capacity * 2;
        struct leaf *leaves = tg_realloc(config->leaves, capacity * sizeof *leaves);
        if (leaves == NULL)
            fail(L, config, "", "is too large: out of memory");
        config->leaves = leaves;
        config->capacity = capacity;
    }
    struct tg_config_leaf *leaf = &config->leaves[config->count].public;
    *leaf = (struct tg_config_leaf){.key = tg_strndup(key, strlen(key))};
    config->count++;
    if (leaf->key == NULL)
        fail(L, config, "", "is too large: out of memory");
    return leaf;
}

/* The value on top. */
static void add_value(lua_State *L, struct config *config, const char *key, size_t index)
{
    struct tg_config_leaf *leaf;

    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        leaf = add_leaf(L, config, key);
        leaf->kind = TG_LEAF_STRING;
        leaf->string = tg_strndup(lua_tostring(L, -1), lua_objlen(L, -1));
        if (leaf->string == NULL)
            fail(L, config, "", "is too large: out of memory");
        if (strlen(leaf->string) != lua_objlen(L, -1))
            fail(L, config, key, "has a zero byte in its text");
        break;
    case LUA_TNUMBER:
        leaf = add_leaf(L, config, key);
        leaf->kind = TG_LEAF_NUMBER;
        leaf->number = lua_tonumber(L, -1);
        if (!isfinite(leaf->number))
            fail(L, config, key, "is no finite number");
        break;
    case LUA_TBOOLEAN:
        leaf = add_leaf(L, config, key);
        leaf->kind = TG_LEAF_BOOL;
        leaf->flag = lua_toboolean(L, -1) != 0;
        break;
    default:
        lua_pushfstring(L, "is a %s; a configuration holds text, numbers, true, false and tables",
                        luaL_typename(L, -1));
        fail(L, config, key, lua_tostring(L, -1));
    }
    leaf->index = index;
}

static void add_list(lua_State *L, struct config *config, int table, const char *key)
{
    size_t len = lua_objlen(L, table);

    for (size_t i = 1; i <= len; i++) {
        lua_rawgeti(L, table, (int)i);
        if (lua_istable(L, -1))
            fail(L, config, key, "is a list with a table in it; lists hold plain values");
        add_value(L, config, key, i);
        lua_pop(L, 1);
    }
}

static void add_table(lua_State *L, struct config *config, int table, const char *prefix, int depth)
{
    char key[KEY_SIZE];
    size_t len = lua_objlen(L, table), named = 0, numbered = 0;

    luaL_checkstack(L, 8, "configuration");
    if (depth > DEPTH_MAX)
        fail(L, config, prefix, "is nested too deeply");
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        if (lua_type(L, -2) == LUA_TNUMBER) {
            numbered++;
            lua_pop(L, 1);
            continue;
        }
        if (lua_type(L, -2) != LUA_TSTRING)
            fail(L, config, prefix, "has a key that is no text");
        named++;
        int n = snprintf(key, sizeof key, "%s%s%s", prefix, prefix[0] != '\0' ? "." : "",
                         lua_tostring(L, -2));
        if (n >= (int)sizeof key)
            fail(L, config, prefix, "has a key that is too long");
        if (lua_istable(L, -1))
            add_table(L, config, lua_gettop(L), key, depth + 1);
        else
            add_value(L, config, key, 0);
        lua_pop(L, 1);
    }
    if (numbered != len || (numbered > 0 && (named > 0 || prefix[0] == '\0')))
        fail(L, config, prefix, "mixes named values and list elements, or has gaps in a list");
    if (numbered > 0)
        add_list(L, config, table, prefix);
    else if (named == 0 && prefix[0] != '\0')
        add_leaf(L, config, prefix)->kind = TG_LEAF_TABLE;
}

static int build_sandbox(lua_State *L)
{
    tg_sandbox_open(L, false);
    return 0;
}

static int run_file(lua_State *L)
{
    struct config *config = lua_touserdata(L, 1);
    const char *name = lua_pushfstring(L, "@%s", config->path);
    const char *text = (const char *)tg_buffer_head(&config->text);

    if (luaL_loadbufferx(L, text != NULL ? text : "", config->text.len, name, "t") != 0)
        return lua_error(L);
    tg_sandbox_push_policy(L);
    (void)lua_setfenv(L, -2);
    lua_call(L, 0, 1);
    if (!lua_istable(L, -1))
        return luaL_error(L, "%s: returned %s; a configuration file ends with return { … }",
                          config->path, luaL_typename(L, -1));
    add_table(L, config, lua_gettop(L), "", 0);
    return 0;
}

static int compare_leaves(const void *a, const void *b)
{
    const struct leaf *x = a, *y = b;
    int order = strcmp(x->public.key, y->public.key);

    if (order != 0)
        return order;
    return x->public.index < y->public.index ? -1 : x->public.index > y->public.index;
}

static enum tg_err run_in_state(struct config *config, struct tg_meter *meter,
                                struct tg_error *error)
{
    struct tg_script_env env = {.meter = meter};
    struct tg_generation generation = {.env = &env, .memory_max = STATE_BYTES_MAX};

    (void)tg_error_set(error, TG_ERR_NOMEM, "%s: out of memory", config->path);
    if (tg__generation_open(&generation) != TG_ERR_OK)
        return TG_ERR_NOMEM;
    enum tg_call_outcome outcome = tg_call_protect(&generation, build_sandbox, NULL, error);
    generation.memory_unlimited = false;
    if (outcome == TG_CALL_OK)
        outcome = tg_call_load(&generation, run_file, config, error);
    tg__generation_close(&generation);
    return outcome == TG_CALL_OK ? TG_ERR_OK : TG_ERR_INVALID;
}

static enum tg_err run_on_budget(struct config *config, struct tg_error *error)
{
    struct tg_meter *meter;
    enum tg_err err = tg_watchdog_start(error);

    if (err != TG_ERR_OK)
        return err;
    err = tg_meter_create(&meter, CPU_BUDGET_MS);
    if (err == TG_ERR_OK) {
        err = run_in_state(config, meter, error);
        tg_meter_destroy(meter);
    }
    tg_watchdog_stop();
    return err;
}

static enum tg_err hand_on(const struct config *config, tg_config_leaf_fn fn, void *ctx,
                           struct tg_error *error)
{
    char where[WHERE_SIZE];
    enum tg_err err = TG_ERR_OK;

    for (size_t i = 0; i < config->count && err == TG_ERR_OK; i++) {
        struct tg_config_leaf leaf = config->leaves[i].public;
        where_of(config, leaf.key, where);
        leaf.where = where;
        err = fn(ctx, &leaf, error);
    }
    return err;
}

enum tg_err tg_config_file_read(const char *path, tg_config_leaf_fn fn, void *ctx,
                                struct tg_error *error)
{
    struct config config = {.path = path};
    enum tg_err err = read_text(&config, error);

    if (err == TG_ERR_OK)
        err = run_on_budget(&config, error);
    if (err == TG_ERR_OK) {
        if (config.count > 1)
            qsort(config.leaves, config.count, sizeof *config.leaves, compare_leaves);
        err = hand_on(&config, fn, ctx, error);
    }
    for (size_t i = 0; i < config.count; i++) {
        tg_free((void *)(uintptr_t)config.leaves[i].public.key);
        tg_free((void *)(uintptr_t)config.leaves[i].public.string);
    }
    tg_free(config.leaves);
    tg_buffer_fini(&config.text);
    return err;
}
