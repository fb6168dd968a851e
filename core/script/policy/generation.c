/* generation.c - one lua_State, built from one version of the policy.
 *
 *   open state ─> environments, types, require ─> run the entry file ─> check what it returned ─> ready
 *        └───────────────┴──────────────────────────────┴──[any mistake]──> closed, nothing is left
 *
 * I1  The state is reached from any of its coroutines by its allocator's argument, the generation.
 * I2  The memory limit holds from the first line of the policy on; before that, and while the state is
 *     closed, only our own code runs.
 */
#include "script/policy/generation.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/sanitizer.h"
#include "script/api/timer.h"
#include "script/call/call.h"
#include "script/call/memory.h"
#include "script/policy/generation_internal.h"
#include "script/policy/library.h"
#include "script/policy/loader.h"
#include "script/policy/mistakes.h"
#include "script/policy/policy_check.h"
#include "script/sandbox/sandbox.h"

/* More than an empty state needs. */
#define NEW_STATE_BYTES ((size_t)64 << 10)
/* Several times what the library and a policy of the usual size take, and what the collector lets messages take. */
#define SMALL_BLOCKS_BYTES ((size_t)2 << 20)
#define MEDIUM_BLOCKS_BYTES ((size_t)2 << 20)

/* An error outside protected mode: ours, and nothing can be trusted any more. */
static int on_panic(lua_State *L)
{
    tg_log(TG_LOG_ERROR, "script.panic",
           tg_log_str("message",
                      lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "(no message)"));
    abort();
}

/* luaL_unref keeps its list of free references in a field that its first use makes. Made here, so that no
 * later one allocates: some come outside protected mode. */
static void prepare_references(lua_State *L)
{
    lua_pushboolean(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, luaL_ref(L, LUA_REGISTRYINDEX));
}

static int build_references(lua_State *L)
{
    prepare_references(L);
    return 0;
}

enum tg_err tg__generation_open(struct tg_generation *generation)
{
    tg_list_init(&generation->calls);
    tg_list_init(&generation->timers);
    tg_list_init(&generation->agents);
    tg_list_init(&generation->node);
    for (int i = 0; i < TG_HOOKS; i++)
        generation->hook_refs[i] = LUA_NOREF;
    generation->agents_ref = LUA_NOREF;
    generation->checks_ref = LUA_NOREF;
    generation->services_ref = LUA_NOREF;
    generation->memory_unlimited = true;
    void *room = tg_alloc(NEW_STATE_BYTES); /* see tg_script_alloc */
    if (room == NULL)
        return TG_ERR_NOMEM;
    tg_free(room);
    generation->L = lua_newstate(tg_script_alloc, generation);
    if (generation->L == NULL)
        return TG_ERR_NOMEM;
    (void)lua_atpanic(generation->L, on_panic);
    if (!TG_UNDER_ASAN && !tg_memory_may_fail()) { /* which are to see every block of the state */
        tg_block_pool_init(&generation->small_blocks, SMALL_BLOCKS_BYTES);
        tg_block_pool_init(&generation->medium_blocks, MEDIUM_BLOCKS_BYTES);
    }
    if (tg_call_protect(generation, build_references, NULL, NULL) == TG_CALL_OK &&
        tg_call_open(generation))
        return TG_ERR_OK;
    tg__generation_close(generation);
    return TG_ERR_NOMEM;
}

void tg__generation_close(struct tg_generation *generation)
{
    if (generation->L == NULL)
        return;
    generation->memory_unlimited = true;
    tg_collector_close(generation);
    lua_close(generation->L);
    generation->L = NULL; /* not before: the allocator looks at it */
    tg_call_close(generation);
    tg_block_pool_fini(&generation->small_blocks);
    tg_block_pool_fini(&generation->medium_blocks);
}

static int build_library(lua_State *L)
{
    tg_loader_open(L);
    tg_sandbox_open(L, true);
    tg_library_open_types(L);
    return 0;
}

struct loading {
    struct tg_generation *generation;
    struct tg_mistakes *mistakes;
};

static int load_policy(lua_State *L)
{
    struct loading *loading = lua_touserdata(L, 1);

    tg_loader_push_entry(L);
    lua_call(L, 0, 1);
    tg_policy_check(L, lua_gettop(L), loading->generation, loading->mistakes);
    return 0;
}

static enum tg_err err_of(enum tg_call_outcome outcome)
{
    switch (outcome) {
    case TG_CALL_OK:
        return TG_ERR_OK;
    case TG_CALL_MEMORY:
        return TG_ERR_NOMEM;
    case TG_CALL_CPU_BUDGET:
    case TG_CALL_WALL_BUDGET:
        return TG_ERR_BUDGET;
    case TG_CALL_ERROR:
    case TG_CALL_YIELDED:
        break;
    }
    return TG_ERR_SCRIPT;
}

static const char *code_of(enum tg_err err)
{
    if (err == TG_ERR_BUDGET)
        return "cpu-budget";
    return err == TG_ERR_NOMEM ? "memory" : "load-failed";
}

/* On failure `mistakes` has at least one. */
static enum tg_err build(struct tg_generation *generation, struct tg_mistakes *mistakes)
{
    struct loading loading = {generation, mistakes};
    struct tg_error error = {.text = "out of memory"};
    enum tg_err err = tg__generation_open(generation);

    if (err == TG_ERR_OK)
        err = err_of(tg_call_protect(generation, build_library, NULL, &error));
    if (err == TG_ERR_OK) {
        generation->memory_unlimited = false;
        err = err_of(tg_call_load(generation, load_policy, &loading, &error));
    }
    if (err != TG_ERR_OK) {
        tg_mistakes_add(mistakes, code_of(err), "%s", error.text);
        return err;
    }
    lua_pop(generation->L, 1);
    generation->memory_loaded = generation->memory_used;
    return mistakes->count > 0 ? TG_ERR_SCRIPT : TG_ERR_OK;
}

enum tg_err tg_generation_build(struct tg_generation **out, struct tg_script_env *env,
                                struct tg_source *source, struct tg_mistakes *mistakes)
{
    struct tg_generation *generation = tg_calloc(1, sizeof *generation);

    if (generation == NULL) {
        tg_mistakes_add(mistakes, code_of(TG_ERR_NOMEM), "%s: out of memory",
                        tg_source_path(source));
        return TG_ERR_NOMEM;
    }
    generation->env = env;
    generation->memory_max = env->memory_max;
    generation->source = tg_source_retain(source);
    enum tg_err err = build(generation, mistakes);
    if (err != TG_ERR_OK) {
        mistakes->error.code = err;
        tg_generation_destroy(generation);
        return err;
    }
    tg_source_seal(source);
    memcpy(generation->version, tg_source_version(source), sizeof generation->version);
    *out = generation;
    return TG_ERR_OK;
}

enum tg_err tg_generation_create(struct tg_generation **out, struct tg_script_env *env,
                                 struct tg_source *source, struct tg_error *error)
{
    struct tg_mistakes mistakes = {.count = 0};
    enum tg_err err = tg_generation_build(out, env, source, &mistakes);

    if (err != TG_ERR_OK && error != NULL)
        *error = mistakes.error;
    return err;
}

void tg_generation_destroy(struct tg_generation *generation)
{
    if (generation == NULL)
        return;
    if (generation->L != NULL)
        tg_lua_timers_end(generation);
    tg__generation_close(generation);
    tg_source_release(generation->source);
    TG_LIST_EACH (node, next, &generation->agents)
        tg_free(TG_CONTAINER_OF(node, struct tg_agent_row, node));
    tg_free(generation->default_agent);
    tg_free(generation);
}

struct tg_generation *tg_generation_of(struct lua_State *L)
{
    void *generation;

    (void)lua_getallocf(L, &generation);
    return generation;
}

void tg_generation_each_hook(const struct tg_generation *generation,
                             void (*fn)(void *ctx, const char *name), void *ctx)
{
    for (int hook = 0; hook < TG_HOOKS; hook++) {
        if (generation->hook_refs[hook] != LUA_NOREF)
            fn(ctx, tg_hook_names[hook]);
    }
}

struct key_list {
    int ref;            /* of the table whose keys they are */
    const char **names; /* owned by the caller; room for all */
    size_t count;
    size_t room;
};

static int list_keys(lua_State *L)
{
    struct key_list *list = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, list->ref);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pop(L, 1);
        if (list->count < list->room)
            list->names[list->count] =
                lua_tostring(L, -1); /* stays: a key of a table that is kept */
        list->count++;
    }
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted. */
static void each_key(struct tg_generation *generation, int ref,
                     void (*fn)(void *ctx, const char *name), void *ctx)
{
    struct key_list list = {.ref = ref};

    if (ref == LUA_NOREF || tg_call_protect(generation, list_keys, &list, NULL) != TG_CALL_OK ||
        list.count == 0)
        return;
    list.room = list.count;
    list.count = 0;
    list.names = tg_calloc(list.room, sizeof *list.names);
    if (list.names == NULL)
        return;
    if (tg_call_protect(generation, list_keys, &list, NULL) == TG_CALL_OK) {
        qsort(list.names, list.count, sizeof *list.names, compare_names);
        for (size_t i = 0; i < list.count; i++)
            fn(ctx, list.names[i]);
    }
    tg_free(list.names);
}

void tg_generation_each_agent(struct tg_generation *generation,
                              void (*fn)(void *ctx, const char *name), void *ctx)
{
    each_key(generation, generation->agents_ref, fn, ctx);
}

void tg_generation_each_service(struct tg_generation *generation,
                                void (*fn)(void *ctx, const char *name), void *ctx)
{
    each_key(generation, generation->checks_ref, fn, ctx);
}
