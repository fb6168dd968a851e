/* options_values.c - the values of declared options: what was given, defaults, and what is missing.
 *
 * I1  The value of an option that is declared secret, or was given for one, is in no text of ours.
 */
#include "script/policy/options_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/policy/generation.h"
#include "script/policy/lines.h"
#include "script/policy/mistakes.h"

const char *const tg__option_type_names[TG_OPTION_TYPES] = {"string", "number", "boolean", "table"};

static const char *name_of(enum tg_option_type type)
{
    return type < TG_OPTION_TYPES ? tg__option_type_names[type] : "?";
}

/* Sets values.a.b.c to the value on top and pops it. False when a part of the path is no table. */
static bool set_value(struct tg_options_reading *r, const char *path)
{
    lua_State *L = r->L;
    int value = lua_gettop(L);
    const char *part = path;

    lua_pushvalue(L, r->values);
    for (const char *dot; (dot = strchr(part, '.')) != NULL; part = dot + 1) {
        lua_pushlstring(L, part, (size_t)(dot - part));
        lua_pushvalue(L, -1);
        lua_rawget(L, -3); /* table, name, inner? */
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
        }
        lua_replace(L, value + 1);
        lua_settop(L, value + 1);
        if (!lua_istable(L, -1)) {
            lua_settop(L, value - 1);
            return false;
        }
    }
    lua_pushstring(L, part);
    lua_pushvalue(L, value);
    lua_rawset(L, value + 1);
    lua_settop(L, value - 1);
    return true;
}

/* A variable's name cannot say where dots are: TIDEGATE_OPTIONS_UPSTREAM_URL is upstream.url here. */
static bool names_option(const struct tg_script_option *given, const char *path)
{
    if (strcmp(given->path, path) == 0)
        return true;
    if (!given->from_text || strlen(given->path) != strlen(path))
        return false;
    for (size_t i = 0; path[i] != '\0'; i++) {
        char c = path[i] == '.' ? '_' : (char)tolower((unsigned char)path[i]);
        if (given->path[i] != c)
            return false;
    }
    return true;
}

static const struct tg_script_option *find_given(const struct tg_options_reading *r,
                                                 const char *path)
{
    const struct tg_script_option *found = NULL;

    for (size_t i = 0; i < r->env->option_count; i++) {
        const struct tg_script_option *given = &r->env->options[i];
        if (strcmp(given->path, path) == 0)
            return given;
        if (names_option(given, path))
            found = given;
    }
    return found;
}

static bool has_members(const struct tg_options_reading *r, const char *path)
{
    size_t len = strlen(path);

    for (size_t i = 0; i < r->env->option_count; i++) {
        const char *given = r->env->options[i].path;
        if (strncmp(given, path, len) == 0 && given[len] == '.')
            return true;
    }
    return false;
}

/* Pushes the given value as the declared type; false when it is of another. */
static bool push_as(lua_State *L, const struct tg_script_option *given, enum tg_option_type type)
{
    char *end;

    switch (type) {
    case TG_OPTION_TYPE_STRING:
        if (given->kind != TG_SCRIPT_OPTION_STRING && !given->from_text)
            return false;
        lua_pushstring(L, given->text);
        return true;
    case TG_OPTION_TYPE_NUMBER:
        if (given->kind != TG_SCRIPT_OPTION_NUMBER && !given->from_text)
            return false;
        errno = 0;
        lua_pushnumber(L, strtod(given->text, &end));
        return end != given->text && *end == '\0' && errno == 0;
    case TG_OPTION_TYPE_BOOLEAN:
        if (given->kind != TG_SCRIPT_OPTION_BOOL && !given->from_text)
            return false;
        lua_pushboolean(L, strcmp(given->text, "true") == 0);
        return strcmp(given->text, "true") == 0 || strcmp(given->text, "false") == 0;
    case TG_OPTION_TYPE_TABLE: /* its members are given, never the whole */
    case TG_OPTION_TYPES:
        break;
    }
    return false;
}

static const char *hint_of(enum tg_option_type type)
{
    if (type == TG_OPTION_TYPE_STRING)
        return "; write it in quotes";
    return type == TG_OPTION_TYPE_TABLE ? "; give its members, each by its name" : "";
}

static void complete_given(struct tg_options_reading *r, const struct tg_option_declaration *d,
                           const struct tg_script_option *given)
{
    int top = lua_gettop(r->L);

    if (push_as(r->L, given, d->type)) {
        if (!set_value(r, d->path))
            tg_mistakes_add(r->mistakes, "option-value",
                            "%s: the option %s was given beside a value for its group", r->where,
                            d->path);
        return;
    }
    lua_settop(r->L, top);
    if (d->secret)
        tg_mistakes_add(r->mistakes, "option-value", "%s: the option %s must be a %s", r->where,
                        d->path, name_of(d->type));
    else
        tg_mistakes_add(r->mistakes, "option-value",
                        "%s: the option %s must be a %s, and \"%.60s\" was given%s", r->where,
                        d->path, name_of(d->type), given->text, hint_of(d->type));
}

static bool has_default_type(lua_State *L, int index, enum tg_option_type type)
{
    static const int lua_types[TG_OPTION_TYPES] = {LUA_TSTRING, LUA_TNUMBER, LUA_TBOOLEAN,
                                                   LUA_TTABLE};

    return lua_type(L, index) == lua_types[type];
}

static void complete_default(struct tg_options_reading *r, const struct tg_option_declaration *d)
{
    lua_State *L = r->L;

    lua_getfield(L, d->index, "default");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        if (d->required && r->missing_count < TG_OPTION_MISSING_MAX)
            memcpy(r->missing[r->missing_count++], d->path, TG_OPTION_PATH_SIZE);
    } else if (!has_default_type(L, -1, d->type)) {
        tg_mistakes_add(r->mistakes, "option-declaration",
                        "%s: the default of the option %s is a %s, and its type is %s", r->where,
                        d->path, luaL_typename(L, -1), name_of(d->type));
        lua_pop(L, 1);
    } else if (!set_value(r, d->path)) {
        tg_mistakes_add(
            r->mistakes, "option-value",
            "%s: the option %s belongs to a group, and the group was given as one value", r->where,
            d->path);
    }
}

void tg__options_look_at(struct tg_options_reading *r, const char *path)
{
    const struct tg_source_file *entry = tg_source_entry(tg_generation_of(r->L)->source);
    char key[TG_OPTION_PATH_SIZE + sizeof "options."];

    (void)snprintf(key, sizeof key, "options%s%s", path[0] != '\0' ? "." : "", path);
    int line = tg_lines_of_key(entry->data, entry->len, key);
    if (line == 0)
        line = tg_lines_of_key(entry->data, entry->len, "options");
    (void)snprintf(r->where, sizeof r->where, line > 0 ? "%.200s:%d" : "%.200s", entry->path, line);
}

void tg__options_complete(struct tg_options_reading *r, const struct tg_option_declaration *d)
{
    const struct tg_script_option *given = find_given(r, d->path);

    if (given != NULL)
        complete_given(r, d, given);
    else if (d->type == TG_OPTION_TYPE_TABLE && has_members(r, d->path))
        return; /* tide.options has them as they were given */
    else
        complete_default(r, d);
}

void tg__options_report_missing(struct tg_options_reading *r)
{
    char list[256] = "";
    char variable[TG_OPTION_PATH_SIZE];
    size_t used = 0;

    if (r->missing_count == 0)
        return;
    tg__options_look_at(r, "");
    for (size_t i = 0; i < r->missing_count && used < sizeof list - 1; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "",
                                 r->missing[i]);
    const char *first = r->missing[0];
    (void)snprintf(variable, sizeof variable, "%s", first);
    for (char *c = variable; *c != '\0'; c++)
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
    const char *dot = strchr(first, '.');
    int group_len = dot != NULL ? (int)(dot - first) : 0;
    tg_mistakes_add(
        r->mistakes, "missing-option",
        "%s: missing option%s: %s; give %s with --set options.%s=…, "
        "TIDEGATE_OPTIONS_%s=…, or options = { %.*s%s%s = …%s } in the configuration file",
        r->where, r->missing_count > 1 ? "s" : "", list, r->missing_count > 1 ? "each" : "it",
        first, variable, group_len, first, group_len > 0 ? " = { " : "",
        dot != NULL ? dot + 1 : first, group_len > 0 ? " }" : "");
}
