/* policy_check.c - looks at what a policy's entry file returned and takes its hooks.
 *
 * The place of a function is known to Lua; that of any other value is looked for in the file's text.
 * Agents are in policy_agents.c, services in policy_services.c.
 */
#include "script/policy/policy_check.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/suggest.h"
#include "script/policy/generation.h"
#include "script/policy/lines.h"
#include "script/policy/mistakes.h"
#include "script/policy/options.h"
#include "script/policy/policy_check_internal.h"

#define NAMES_MAX 128

/* What a policy may have besides hooks. */
static const char *const facts[] = {"name", "version", "description"};
#define FACTS (sizeof facts / sizeof facts[0])

static const char *const signatures[TG_HOOKS] = {
    [TG_HOOK_UPGRADE] = "upgrade(request)",
    [TG_HOOK_AUTHENTICATE] = "authenticate(conn, credentials)",
    [TG_HOOK_REAUTHENTICATE] = "reauthenticate(conn, credentials)",
    [TG_HOOK_CREATE_CONTEXT] = "create_context(conn, identity)",
    [TG_HOOK_PREPARE] = "prepare(conn, context)",
    [TG_HOOK_ROUTE] = "route(conn, message)",
    [TG_HOOK_MESSAGE] = "message(conn, message)",
    [TG_HOOK_BINARY] = "binary(conn, bytes)",
    [TG_HOOK_TEXT] = "text(conn, text)",
    [TG_HOOK_CLOSED] = "closed(conn, info)",
    [TG_HOOK_MIGRATE] = "migrate(conn, session, from_version)",
};

const char *tg__policy_place(struct tg_policy_look *c, const char *key)
{
    const struct tg_source_file *entry = tg_source_entry(c->generation->source);
    int line = key == NULL ? 0 : tg_lines_of_key(entry->data, entry->len, key);

    if (line > 0)
        (void)snprintf(c->place, sizeof c->place, "%.200s:%d", entry->path, line);
    else
        (void)snprintf(c->place, sizeof c->place, "%.200s", entry->path);
    return c->place;
}

/* Where the function on top was written; one of C's is looked for by its key. */
static const char *place_of_function(struct tg_policy_look *c, const char *key)
{
    lua_Debug ar;

    lua_pushvalue(c->L, -1);
    if (lua_getinfo(c->L, ">S", &ar) == 0 || ar.linedefined <= 0)
        return tg__policy_place(c, key);
    (void)snprintf(c->place, sizeof c->place, "%.200s:%d", ar.short_src, ar.linedefined);
    return c->place;
}

static void take_hook(struct tg_policy_look *c, enum tg_hook hook)
{
    const char *name = tg_hook_names[hook];

    lua_getfield(c->L, c->policy, name);
    if (lua_isfunction(c->L, -1)) {
        c->generation->hook_refs[hook] = luaL_ref(c->L, LUA_REGISTRYINDEX);
        return;
    }
    if (!lua_isnil(c->L, -1))
        tg_mistakes_add(c->mistakes, "bad-hook",
                        "%s: the hook %s is a %s; it must be a function: %s … end",
                        tg__policy_place(c, name), name, luaL_typename(c->L, -1), signatures[hook]);
    lua_pop(c->L, 1);
}

static bool has_hook(const struct tg_policy_look *c, enum tg_hook hook)
{
    return c->generation->hook_refs[hook] != LUA_NOREF;
}

static void refuse_beside_text(struct tg_policy_look *c, enum tg_hook hook)
{
    if (!has_hook(c, TG_HOOK_TEXT) || !has_hook(c, hook))
        return;
    lua_rawgeti(c->L, LUA_REGISTRYINDEX, c->generation->hook_refs[hook]);
    tg_mistakes_add(
        c->mistakes, "hook-beside-text",
        "%s: %s beside text: a policy with text speaks a protocol of its own, and its text "
        "frames never become messages; remove one of them",
        place_of_function(c, tg_hook_names[hook]), tg_hook_names[hook]);
    lua_pop(c->L, 1);
}

static void take_hooks(struct tg_policy_look *c)
{
    for (int hook = 0; hook < TG_HOOKS; hook++)
        take_hook(c, (enum tg_hook)hook);
    lua_getfield(c->L, c->policy, "authenticate");
    if (lua_isnil(c->L, -1))
        tg_mistakes_add(
            c->mistakes, "no-authenticate",
            "%s: no authenticate hook: a policy must say who may connect; add function "
            "policy.authenticate(conn, credentials) … end, which returns an identity such as "
            "{ user_id = \"…\" } (there is no default)",
            tg__policy_place(c, NULL));
    lua_pop(c->L, 1);
    refuse_beside_text(c, TG_HOOK_ROUTE);
    refuse_beside_text(c, TG_HOOK_MESSAGE);
}

/* Runs begin with a message of Tidegate's own protocol, which a policy with text does not speak. */
static void warn_beside_text(struct tg_policy_look *c)
{
    if (c->generation->agents_ref != LUA_NOREF && !tg_list_empty(&c->generation->agents) &&
        has_hook(c, TG_HOOK_TEXT))
        tg_mistakes_warn(c->mistakes, "unreachable-agent",
                         "%s: no agent can be reached: a policy with text gets its text frames as "
                         "they are, and no message ever starts a run; remove text or the agents",
                         tg__policy_place(c, "agents"));
}

/* --- other keys --------------------------------------------------------------------------------- */

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static void check_unknown_function(struct tg_policy_look *c, const char *name)
{
    const char *near = tg_suggest(name, tg_hook_names, TG_HOOKS);
    const char *place = place_of_function(c, name);

    if (near != NULL)
        tg_mistakes_add(c->mistakes, "unknown-hook",
                        "%s: unknown hook \"%s\"; did you mean \"%s\"?", place, name, near);
    else
        tg_mistakes_add(
            c->mistakes, "unknown-hook",
            "%s: unknown hook \"%s\"; write a function of your own as local function %s, "
            "or begin its name with _",
            place, name, name);
}

/* A key that is no hook; the value is on top. Data of the policy's own may stand in its table. */
static void check_other(struct tg_policy_look *c, const char *name)
{
    static const char *const tables[] = {"agents", "options", "services"};

    if (is_one_of(name, tables, 3) || name[0] == '_' || is_one_of(name, tg_hook_names, TG_HOOKS))
        return;
    if (is_one_of(name, facts, FACTS)) {
        if (lua_type(c->L, -1) != LUA_TSTRING)
            tg_mistakes_add(c->mistakes, "bad-key", "%s: %s must be text, not a %s",
                            tg__policy_place(c, name), name, luaL_typename(c->L, -1));
    } else if (lua_isfunction(c->L, -1)) {
        check_unknown_function(c, name);
    } else if (lua_istable(c->L, -1)) {
        const char *near = tg_suggest(name, tables, 3);
        if (near != NULL)
            tg_mistakes_add(c->mistakes, "unknown-key",
                            "%s: unknown key \"%s\"; did you mean \"%s\"?",
                            tg__policy_place(c, name), name, near);
    }
}

/* Sorted by name, so that mistakes come in the same order every time. */
static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_others(struct tg_policy_look *c)
{
    const char *names[NAMES_MAX];
    size_t count = 0;

    lua_pushnil(c->L);
    while (lua_next(c->L, c->policy) != 0) {
        lua_pop(c->L, 1);
        if (lua_type(c->L, -1) == LUA_TSTRING && count < NAMES_MAX)
            names[count++] = lua_tostring(c->L, -1);
    }
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        lua_pushstring(c->L, names[i]);
        lua_rawget(c->L, c->policy);
        check_other(c, names[i]);
        lua_pop(c->L, 1);
    }
}

void tg_policy_check(struct lua_State *L, int index, struct tg_generation *generation,
                     struct tg_mistakes *mistakes)
{
    struct tg_policy_look check = {
        .L = L, .policy = index, .generation = generation, .mistakes = mistakes};
    struct tg_policy_look *c = &check;

    luaL_checkstack(L, 20, "policy");
    if (!lua_istable(L, index)) {
        tg_mistakes_add(
            mistakes, "no-hooks",
            "%s: the file returned %s%s, not a table of hooks; end it with return policy",
            tg__policy_place(c, NULL), lua_isnil(L, index) ? "" : "a ",
            lua_isnil(L, index) ? "nothing" : luaL_typename(L, index));
        return;
    }
    take_hooks(c);
    tg__policy_take_agents(c);
    warn_beside_text(c);
    tg__policy_take_services(c);
    check_others(c);
    lua_getfield(L, index, "options");
    tg_options_declare(L, lua_gettop(L), mistakes);
    lua_pop(L, 1);
}

const char *tg_policy_signature(enum tg_hook hook)
{
    return signatures[hook];
}
