/* policy_agents.c - takes a policy's agents: functions, or tables of a function and what its runs may use. */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/memory.h"
#include "base/suggest.h"
#include "script/policy/generation.h"
#include "script/policy/mistakes.h"
#include "script/policy/policy_check_internal.h"

#define SECONDS_MAX 1e9
#define COUNT_MAX 9007199254740992.0 /* 2^53: what a number of Lua can count */

/* What an agent's table may hold besides `run`. */
static const struct limit {
    const char *key;
    size_t offset; /* of a uint64_t in struct tg_run_limits */
    bool seconds;
} limits[] = {
    {"timeout", offsetof(struct tg_run_limits, timeout_ms), true},
    {"max_tool_calls", offsetof(struct tg_run_limits, max_tool_calls), false},
    {"max_tokens", offsetof(struct tg_run_limits, max_tokens), false},
    {"max_concurrent_per_user", offsetof(struct tg_run_limits, max_per_user), false},
};
#define LIMITS (sizeof limits / sizeof limits[0])

static const char *place_of_agent(struct tg_policy_look *c, const char *name)
{
    char key[TG__PLACE_SIZE];

    (void)snprintf(key, sizeof key, "agents.%.100s", name);
    return tg__policy_place(c, key);
}

static void refuse_key(struct tg_policy_look *c, const char *name, const char *key)
{
    const char *keys[LIMITS + 1] = {"run"};

    for (size_t i = 0; i < LIMITS; i++)
        keys[i + 1] = limits[i].key;
    const char *near = tg_suggest(key, keys, LIMITS + 1);
    if (near != NULL)
        tg_mistakes_add(c->mistakes, "bad-agent",
                        "%s: the agent %s has an unknown key \"%s\"; did you mean \"%s\"?",
                        place_of_agent(c, name), name, key, near);
    else
        tg_mistakes_add(c->mistakes, "bad-agent",
                        "%s: the agent %s has an unknown key \"%s\"; it may have run, timeout, "
                        "max_tool_calls, max_tokens and max_concurrent_per_user",
                        place_of_agent(c, name), name, key);
}

/* The value on top. */
static bool take_limit(struct tg_policy_look *c, const char *name, const struct limit *limit,
                       struct tg_run_limits *out)
{
    double number = lua_type(c->L, -1) == LUA_TNUMBER ? lua_tonumber(c->L, -1) : -1;
    uint64_t value;

    if (limit->seconds ? !(number > 0 && number <= SECONDS_MAX)
                       : !(number >= 1 && number <= COUNT_MAX && floor(number) == number)) {
        tg_mistakes_add(c->mistakes, "bad-agent",
                        "%s: %s of the agent %s must be a %s; leave it out for no limit",
                        place_of_agent(c, name), limit->key, name,
                        limit->seconds ? "number of seconds over 0" : "whole number from 1 on");
        return false;
    }
    value = (uint64_t)(limit->seconds ? ceil(number * 1000) : number);
    memcpy((char *)out + limit->offset, &value, sizeof value);
    return true;
}

/* A key at -2 and its value on top. */
static bool take_member(struct tg_policy_look *c, const char *name, struct tg_run_limits *out)
{
    const char *key = lua_type(c->L, -2) == LUA_TSTRING ? lua_tostring(c->L, -2) : "?";

    if (strcmp(key, "run") == 0)
        return true;
    for (size_t i = 0; i < LIMITS; i++) {
        if (strcmp(limits[i].key, key) == 0)
            return take_limit(c, name, &limits[i], out);
    }
    refuse_key(c, name, key);
    return false;
}

/* The table on top is replaced by its function. */
static bool take_table(struct tg_policy_look *c, const char *name, struct tg_run_limits *out)
{
    lua_State *L = c->L;
    int table = lua_gettop(L);
    bool right = true;

    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        right = take_member(c, name, out) && right;
        lua_pop(L, 1);
    }
    lua_pushliteral(L, "run");
    lua_rawget(L, table);
    lua_replace(L, table);
    if (lua_isfunction(L, table))
        return right;
    tg_mistakes_add(c->mistakes, "bad-agent",
                    "%s: the agent %s is a table without a function run; write { run = "
                    "function(run, input) … end, timeout = 60 }",
                    place_of_agent(c, name), name);
    return false;
}

/* Key at -2, value on top; both stay, the value as a function when this is true. */
static bool check_agent(struct tg_policy_look *c, struct tg_run_limits *out)
{
    if (lua_type(c->L, -2) != LUA_TSTRING) {
        tg_mistakes_add(c->mistakes, "bad-agent",
                        "%s: agents has a %s as a key; agents have names: agents = { supervisor = "
                        "function(run, input) … end }",
                        tg__policy_place(c, "agents"), luaL_typename(c->L, -2));
        return false;
    }
    const char *name = lua_tostring(c->L, -2);
    if (name[0] == '\0' || lua_objlen(c->L, -2) != strlen(name)) {
        tg_mistakes_add(c->mistakes, "bad-agent", "%s: an agent needs a name",
                        tg__policy_place(c, "agents"));
        return false;
    }
    if (lua_isfunction(c->L, -1))
        return true;
    if (lua_istable(c->L, -1))
        return take_table(c, name, out);
    tg_mistakes_add(
        c->mistakes, "bad-agent",
        "%s: the agent %s is a %s; it must be a function(run, input) … end that returns "
        "the answer",
        place_of_agent(c, name), name, luaL_typename(c->L, -1));
    return false;
}

static void add_row(struct tg_generation *generation, const char *name,
                    const struct tg_run_limits *of_agent)
{
    struct tg_agent_row *row = tg_xcalloc(1, sizeof *row + strlen(name) + 1);

    row->limits = *of_agent;
    memcpy(row->name, name, strlen(name) + 1);
    tg_list_push(&generation->agents, &row->node);
    tg_free(generation->default_agent);
    generation->default_agent = &row->node == generation->agents.next ? tg_xstrdup(name) : NULL;
}

void tg__policy_take_agents(struct tg_policy_look *c)
{
    lua_State *L = c->L;

    lua_getfield(L, c->policy, "agents");
    int agents = lua_gettop(L);
    if (lua_isnil(L, agents)) {
        lua_pop(L, 1);
        return;
    }
    if (!lua_istable(L, agents)) {
        tg_mistakes_add(
            c->mistakes, "bad-agent",
            "%s: agents is a %s, not a table: agents = { supervisor = function(run, input) "
            "… end }",
            tg__policy_place(c, "agents"), luaL_typename(L, agents));
        lua_pop(L, 1);
        return;
    }
    lua_newtable(L); /* a copy: what the policy does to its table later changes nothing */
    lua_pushnil(L);
    while (lua_next(L, agents) != 0) {
        struct tg_run_limits of_agent = {0};
        if (check_agent(c, &of_agent)) {
            add_row(c->generation, lua_tostring(L, -2), &of_agent);
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, agents + 1);
        } else {
            lua_pop(L, 1);
        }
    }
    c->generation->agents_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);
}
