/* options.c - what a policy says about the options that it takes. Their values are in options_values.c.
 */
#include "script/policy/options.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/log.h"
#include "base/suggest.h"
#include "script/hooks/view.h"
#include "script/policy/generation.h"
#include "script/policy/loader.h"
#include "script/policy/mistakes.h"
#include "script/policy/options_internal.h"

#define DEPTH_MAX 8
#define GROUP_MAX 128

static const char *const fields[] = {"default", "description", "required", "secret", "type"};
#define FIELDS (sizeof fields / sizeof fields[0])

static char declared_key; /* registry: path -> name of its type, of what the policy declares */

/* --- declarations ------------------------------------------------------------------------------- */

static bool read_type(struct tg_options_reading *r, struct tg_option_declaration *d)
{
    lua_getfield(r->L, d->index, "type");
    const char *name = lua_tostring(r->L, -1);
    lua_pop(r->L, 1); /* stays in its table */
    for (int i = 0; i < TG_OPTION_TYPES; i++) {
        if (strcmp(name, tg__option_type_names[i]) == 0) {
            d->type = (enum tg_option_type)i;
            return true;
        }
    }
    tg_mistakes_add(r->mistakes, "option-declaration",
                    "%s: the option %s has the type \"%s\"; types are \"string\", \"number\", "
                    "\"boolean\" and \"table\"",
                    r->where, d->path, name);
    return false;
}

static bool read_flag(struct tg_options_reading *r, const struct tg_option_declaration *d,
                      const char *field)
{
    lua_getfield(r->L, d->index, field);
    if (!lua_isnil(r->L, -1) && !lua_isboolean(r->L, -1))
        tg_mistakes_add(r->mistakes, "option-declaration",
                        "%s: %s of the option %s must be true or false, not a %s", r->where, field,
                        d->path, luaL_typename(r->L, -1));
    bool flag = lua_toboolean(r->L, -1) != 0;
    lua_pop(r->L, 1);
    return flag;
}

static void check_fields(struct tg_options_reading *r, const struct tg_option_declaration *d)
{
    lua_State *L = r->L;

    lua_pushnil(L);
    while (lua_next(L, d->index) != 0) {
        lua_pop(L, 1);
        const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
        const char *near = tg_suggest(name, fields, FIELDS);
        bool known = near != NULL && strcmp(near, name) == 0;
        if (!known)
            tg_mistakes_add(r->mistakes, "option-declaration",
                            "%s: the option %s has an unknown field \"%s\"%s%s%s", r->where,
                            d->path, name, near != NULL ? "; did you mean \"" : "",
                            near != NULL ? near : "", near != NULL ? "\"?" : "");
    }
}

static void push_declared(lua_State *L)
{
    lua_pushlightuserdata(L, &declared_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushlightuserdata(L, &declared_key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void note_declared(lua_State *L, const char *path, const char *type)
{
    push_declared(L);
    lua_pushstring(L, type);
    lua_setfield(L, -2, path);
    lua_pop(L, 1);
}

static void declare_option(struct tg_options_reading *r, const char *path, int index)
{
    struct tg_option_declaration d = {.index = index};

    (void)snprintf(d.path, sizeof d.path, "%s", path);
    note_declared(r->L, path, "");
    tg__options_look_at(r, path);
    check_fields(r, &d);
    if (!read_type(r, &d))
        return;
    note_declared(r->L, path, tg__option_type_names[d.type]);
    d.required = read_flag(r, &d, "required");
    d.secret = read_flag(r, &d, "secret");
    tg__options_complete(r, &d);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names in a group, sorted, so that mistakes come in the same order every time. They stay alive as
 * keys of the table. */
static size_t group_names(struct tg_options_reading *r, int group, const char **names)
{
    size_t count = 0;

    lua_pushnil(r->L);
    while (lua_next(r->L, group) != 0) {
        lua_pop(r->L, 1);
        if (lua_type(r->L, -1) != LUA_TSTRING)
            tg_mistakes_add(r->mistakes, "option-declaration",
                            "%s: the names of options must be text", r->where);
        else if (count < GROUP_MAX)
            names[count++] = lua_tostring(r->L, -1);
    }
    qsort(names, count, sizeof *names, compare_names);
    return count;
}

static bool is_declaration(lua_State *L, int index)
{
    lua_getfield(L, index, "type");
    bool is = lua_type(L, -1) == LUA_TSTRING;
    lua_pop(L, 1);
    return is;
}

/* What stands where a declaration is expected. */
static void refuse_declaration(struct tg_options_reading *r, const char *prefix, const char *name,
                               const char *path)
{
    const char *near = tg_suggest(name, fields, FIELDS);

    tg__options_look_at(r, path);
    if (near != NULL && strcmp(near, name) == 0 && prefix[0] != '\0')
        tg_mistakes_add(r->mistakes, "option-declaration",
                        "%s: the option %s has no type; add type = \"string\", \"number\", "
                        "\"boolean\" or \"table\"",
                        r->where, prefix);
    else
        tg_mistakes_add(r->mistakes, "option-declaration",
                        "%s: the option %s needs a declaration, as in { type = \"string\" }",
                        r->where, path);
}

static void declare_group(struct tg_options_reading *r, int group, const char *prefix, int depth)
{
    lua_State *L = r->L;
    const char *names[GROUP_MAX];
    char path[TG_OPTION_PATH_SIZE];

    luaL_checkstack(L, 16, "options");
    size_t count = group_names(r, group, names);
    for (size_t i = 0; i < count; i++) {
        int len =
            snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", names[i]);
        lua_getfield(L, group, names[i]);
        if (!lua_istable(L, -1) || len >= (int)sizeof path || depth == DEPTH_MAX)
            refuse_declaration(r, prefix, names[i], path);
        else if (is_declaration(L, -1))
            declare_option(r, path, lua_gettop(L));
        else
            declare_group(r, lua_gettop(L), path, depth + 1);
        lua_pop(L, 1);
    }
}

/* --- what was given and nobody takes ---------------------------------------------------------------- */

/* Variables of the environment cannot tell dots from underscores, nor cases. */
static bool same_name(const char *given, const char *declared)
{
    size_t i = 0;
    while (given[i] != '\0' && (given[i] == declared[i] ||
                                (given[i] == '_' && (declared[i] == '.' || declared[i] == '_')) ||
                                given[i] == tolower((unsigned char)declared[i])))
        i++;
    return given[i] == '\0' && declared[i] == '\0';
}

static bool is_taken(const char *given, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(names[i]);
        if (same_name(given, names[i]) || (strncmp(given, names[i], len) == 0 && given[len] == '.'))
            return true;
    }
    return false;
}

/* A misspelt option is one that is not given, such as a limit or an issuer: the server serves, and says so.
 * Only what looks like a declared one: a policy may read what it does not declare. */
static void warn_of_misspelt(struct tg_options_reading *r)
{
    const char *names[GROUP_MAX];
    size_t count = 0;

    if (r->env->worker != 1) /* all say the same */
        return;
    push_declared(r->L);
    for (lua_pushnil(r->L); count < GROUP_MAX && lua_next(r->L, -2) != 0; lua_pop(r->L, 1))
        names[count++] = lua_tostring(r->L, -2); /* stays in the table */
    for (size_t i = 0; i < r->env->option_count; i++) {
        const char *given = r->env->options[i].path;
        const char *near = is_taken(given, names, count) ? NULL : tg_suggest(given, names, count);
        if (near != NULL)
            tg_log(TG_LOG_WARN, "policy.option_unknown", tg_log_str("option", given),
                   tg_log_str("did_you_mean", near));
    }
}

/* Pushes the table behind tide.options, or a new one that nobody sees. */
static void push_values(lua_State *L)
{
    tg_loader_push_library(L, "tidegate");
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "options");
        lua_replace(L, -2);
    }
    if (tg_view_is(L, -1))
        tg_view_unwrap(L, -1);
    else
        lua_newtable(L);
    lua_replace(L, -2);
}

void tg_options_declare(struct lua_State *L, int index, struct tg_mistakes *mistakes)
{
    struct tg_options_reading reading = {
        .L = L, .mistakes = mistakes, .env = tg_generation_of(L)->env};

    luaL_checkstack(L, 16, "options");
    if (lua_isnil(L, index))
        return;
    tg__options_look_at(&reading, "");
    if (!lua_istable(L, index)) {
        tg_mistakes_add(mistakes, "option-declaration",
                        "%s: options is a %s, not a table of declarations such as "
                        "{ api_key = { type = \"string\", required = true } }",
                        reading.where, luaL_typename(L, index));
        return;
    }
    push_values(L);
    reading.values = lua_gettop(L);
    declare_group(&reading, index, "", 0);
    tg__options_report_missing(&reading);
    warn_of_misspelt(&reading);
    lua_settop(L, reading.values - 1);
}

void tg_options_push_declared(struct lua_State *L)
{
    push_declared(L);
}
