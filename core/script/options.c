/* options.c - what a policy says about the options that it takes, and the values it gets.
 *
 * I1  The value of an option that is declared secret, or was given for one, is in no text of ours.
 */
#include "script/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/suggest.h"
#include "script/generation.h"
#include "script/lines.h"
#include "script/loader.h"
#include "script/mistakes.h"
#include "script/view.h"

#define PATH_SIZE 128
#define PLACE_SIZE 256
#define DEPTH_MAX 8
#define GROUP_MAX 128
#define MISSING_MAX 16

static const char *const fields[] = {"default", "description", "required", "secret", "type"};
#define FIELDS (sizeof fields / sizeof fields[0])

enum type { STRING, NUMBER, BOOLEAN, TYPES };
static const char *const type_names[TYPES] = {"string", "number", "boolean"};

static const char *name_of(enum type type)
{
    return type < TYPES ? type_names[type] : "?";
}

struct declaration {
    char path[PATH_SIZE];
    enum type type;
    bool required;
    bool secret;
    int index; /* of its table */
};

struct reading {
    lua_State *L;
    char where[PLACE_SIZE]; /* of what is looked at */
    struct tg_mistakes *mistakes;
    const struct tg_script_env *env;
    int values; /* index of the table behind tide.options */
    char missing[MISSING_MAX][PATH_SIZE];
    size_t missing_count;
};

/* Where the entry file declares this option, or options as a whole (path ""). */
static void look_at(struct reading *r, const char *path)
{
    const struct tg_source_file *entry = tg_source_entry(tg_generation_of(r->L)->source);
    char key[PATH_SIZE + sizeof "options."];

    (void)snprintf(key, sizeof key, "options%s%s", path[0] != '\0' ? "." : "", path);
    int line = tg_lines_of_key(entry->data, entry->len, key);
    if (line == 0)
        line = tg_lines_of_key(entry->data, entry->len, "options");
    (void)snprintf(r->where, sizeof r->where, line > 0 ? "%.200s:%d" : "%.200s", entry->path, line);
}

/* --- the table of values ------------------------------------------------------------------------ */

/* Sets values.a.b.c to the value on top and pops it. False when a part of the path is no table. */
static bool set_value(struct reading *r, const char *path)
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

static const struct tg_script_option *find_given(const struct reading *r, const char *path)
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

/* Pushes the given value as the declared type; false when it is of another. */
static bool push_as(lua_State *L, const struct tg_script_option *given, enum type type)
{
    char *end;

    switch (type) {
    case STRING:
        if (given->kind != TG_SCRIPT_OPTION_STRING && !given->from_text)
            return false;
        lua_pushstring(L, given->text);
        return true;
    case NUMBER:
        if (given->kind != TG_SCRIPT_OPTION_NUMBER && !given->from_text)
            return false;
        errno = 0;
        lua_pushnumber(L, strtod(given->text, &end));
        return end != given->text && *end == '\0' && errno == 0;
    case BOOLEAN:
        if (given->kind != TG_SCRIPT_OPTION_BOOL && !given->from_text)
            return false;
        lua_pushboolean(L, strcmp(given->text, "true") == 0);
        return strcmp(given->text, "true") == 0 || strcmp(given->text, "false") == 0;
    case TYPES:
        break;
    }
    return false;
}

static void complete_given(struct reading *r, const struct declaration *d,
                           const struct tg_script_option *given)
{
    int top = lua_gettop(r->L);

    if (push_as(r->L, given, d->type)) {
        if (!set_value(r, d->path))
            tg_mistakes_add(r->mistakes, "%s: the option %s was given beside a value for its group",
                            r->where, d->path);
        return;
    }
    lua_settop(r->L, top);
    if (d->secret)
        tg_mistakes_add(r->mistakes, "%s: the option %s must be a %s", r->where, d->path,
                        name_of(d->type));
    else
        tg_mistakes_add(r->mistakes, "%s: the option %s must be a %s, and \"%.60s\" was given%s",
                        r->where, d->path, name_of(d->type), given->text,
                        d->type == STRING ? "; write it in quotes" : "");
}

static bool has_default_type(lua_State *L, int index, enum type type)
{
    static const int lua_types[TYPES] = {LUA_TSTRING, LUA_TNUMBER, LUA_TBOOLEAN};

    return lua_type(L, index) == lua_types[type];
}

static void complete_default(struct reading *r, const struct declaration *d)
{
    lua_State *L = r->L;

    lua_getfield(L, d->index, "default");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        if (d->required && r->missing_count < MISSING_MAX)
            memcpy(r->missing[r->missing_count++], d->path, PATH_SIZE);
    } else if (!has_default_type(L, -1, d->type)) {
        tg_mistakes_add(r->mistakes, "%s: the default of the option %s is a %s, and its type is %s",
                        r->where, d->path, luaL_typename(L, -1), name_of(d->type));
        lua_pop(L, 1);
    } else if (!set_value(r, d->path)) {
        tg_mistakes_add(
            r->mistakes,
            "%s: the option %s belongs to a group, and the group was given as one value", r->where,
            d->path);
    }
}

/* --- declarations ------------------------------------------------------------------------------- */

static bool read_type(struct reading *r, struct declaration *d)
{
    lua_getfield(r->L, d->index, "type");
    const char *name = lua_tostring(r->L, -1);
    lua_pop(r->L, 1); /* stays in its table */
    for (int i = 0; i < TYPES; i++) {
        if (strcmp(name, type_names[i]) == 0) {
            d->type = (enum type)i;
            return true;
        }
    }
    tg_mistakes_add(r->mistakes,
                    "%s: the option %s has the type \"%s\"; types are \"string\", \"number\" and "
                    "\"boolean\"",
                    r->where, d->path, name);
    return false;
}

static bool read_flag(struct reading *r, const struct declaration *d, const char *field)
{
    lua_getfield(r->L, d->index, field);
    if (!lua_isnil(r->L, -1) && !lua_isboolean(r->L, -1))
        tg_mistakes_add(r->mistakes, "%s: %s of the option %s must be true or false, not a %s",
                        r->where, field, d->path, luaL_typename(r->L, -1));
    bool flag = lua_toboolean(r->L, -1) != 0;
    lua_pop(r->L, 1);
    return flag;
}

static void check_fields(struct reading *r, const struct declaration *d)
{
    lua_State *L = r->L;

    lua_pushnil(L);
    while (lua_next(L, d->index) != 0) {
        lua_pop(L, 1);
        const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
        const char *near = tg_suggest(name, fields, FIELDS);
        bool known = near != NULL && strcmp(near, name) == 0;
        if (!known)
            tg_mistakes_add(r->mistakes, "%s: the option %s has an unknown field \"%s\"%s%s%s",
                            r->where, d->path, name, near != NULL ? "; did you mean \"" : "",
                            near != NULL ? near : "", near != NULL ? "\"?" : "");
    }
}

static void declare_option(struct reading *r, const char *path, int index)
{
    struct declaration d = {.index = index};

    (void)snprintf(d.path, sizeof d.path, "%s", path);
    look_at(r, path);
    check_fields(r, &d);
    if (!read_type(r, &d))
        return;
    d.required = read_flag(r, &d, "required");
    d.secret = read_flag(r, &d, "secret");
    const struct tg_script_option *given = find_given(r, d.path);
    if (given != NULL)
        complete_given(r, &d, given);
    else
        complete_default(r, &d);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names in a group, sorted, so that mistakes come in the same order every time. They stay alive as
 * keys of the table. */
static size_t group_names(struct reading *r, int group, const char **names)
{
    size_t count = 0;

    lua_pushnil(r->L);
    while (lua_next(r->L, group) != 0) {
        lua_pop(r->L, 1);
        if (lua_type(r->L, -1) != LUA_TSTRING)
            tg_mistakes_add(r->mistakes, "%s: the names of options must be text", r->where);
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
static void refuse_declaration(struct reading *r, const char *prefix, const char *name,
                               const char *path)
{
    const char *near = tg_suggest(name, fields, FIELDS);

    look_at(r, path);
    if (near != NULL && strcmp(near, name) == 0 && prefix[0] != '\0')
        tg_mistakes_add(r->mistakes,
                        "%s: the option %s has no type; add type = \"string\", \"number\" or "
                        "\"boolean\"",
                        r->where, prefix);
    else
        tg_mistakes_add(r->mistakes,
                        "%s: the option %s needs a declaration, as in { type = \"string\" }",
                        r->where, path);
}

static void declare_group(struct reading *r, int group, const char *prefix, int depth)
{
    lua_State *L = r->L;
    const char *names[GROUP_MAX];
    char path[PATH_SIZE];

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

/* --- what is missing ---------------------------------------------------------------------------- */

static void report_missing(struct reading *r)
{
    char list[256] = "";
    char variable[PATH_SIZE];
    size_t used = 0;

    if (r->missing_count == 0)
        return;
    look_at(r, "");
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
        r->mistakes,
        "%s: missing option%s: %s; give %s with --set options.%s=…, "
        "TIDEGATE_OPTIONS_%s=…, or options = { %.*s%s%s = …%s } in the configuration file",
        r->where, r->missing_count > 1 ? "s" : "", list, r->missing_count > 1 ? "each" : "it",
        first, variable, group_len, first, group_len > 0 ? " = { " : "",
        dot != NULL ? dot + 1 : first, group_len > 0 ? " }" : "");
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
    struct reading reading = {.L = L, .mistakes = mistakes, .env = tg_generation_of(L)->env};

    luaL_checkstack(L, 16, "options");
    if (lua_isnil(L, index))
        return;
    look_at(&reading, "");
    if (!lua_istable(L, index)) {
        tg_mistakes_add(mistakes,
                        "%s: options is a %s, not a table of declarations such as "
                        "{ api_key = { type = \"string\", required = true } }",
                        reading.where, luaL_typename(L, index));
        return;
    }
    push_values(L);
    reading.values = lua_gettop(L);
    declare_group(&reading, index, "", 0);
    report_missing(&reading);
    lua_settop(L, reading.values - 1);
}
