/* lines.c - on which line of a Lua text a key gets its value.
 *
 * A small reader of tokens (names, strings, the rest by its character) and, over it, a stack of the keys
 * of the table constructors that are open. It never fails: a text that it does not understand has no
 * lines to tell.
 */
#include "script/policy/lines.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 16
#define NAME_MAX_BYTES 64
#define PATH_MAX_BYTES 256

enum token { END, NAME, STRING, OTHER };

struct reader {
    const char *at;
    const char *end;
    int line;
    enum token token;
    int token_line;
    char character;            /* OTHER */
    char name[NAME_MAX_BYTES]; /* NAME, STRING; cut */
};

struct finder {
    struct reader reader;
    const char *key;
    int found;
    int depth; /* of open constructors */
    char names[DEPTH_MAX][NAME_MAX_BYTES];
};

static char peek(const struct reader *r, size_t ahead)
{
    return (size_t)(r->end - r->at) > ahead ? r->at[ahead] : '\0';
}

static void skip(struct reader *r, size_t count)
{
    while (count-- > 0 && r->at < r->end) {
        if (*r->at == '\n')
            r->line++;
        r->at++;
    }
}

/* The number of '=' in a long bracket that opens here, or -1. */
static int long_bracket(const struct reader *r)
{
    int level = 0;

    if (peek(r, 0) != '[')
        return -1;
    while (peek(r, (size_t)level + 1) == '=')
        level++;
    return peek(r, (size_t)level + 1) == '[' ? level : -1;
}

static void skip_long(struct reader *r, int level)
{
    skip(r, (size_t)level + 2);
    while (r->at < r->end) {
        int equals = 0;
        if (*r->at == ']') {
            while (peek(r, (size_t)equals + 1) == '=')
                equals++;
            if (equals == level && peek(r, (size_t)level + 1) == ']') {
                skip(r, (size_t)level + 2);
                return;
            }
        }
        skip(r, 1);
    }
}

static void skip_blank(struct reader *r)
{
    for (;;) {
        if (isspace((unsigned char)peek(r, 0))) {
            skip(r, 1);
        } else if (peek(r, 0) == '-' && peek(r, 1) == '-') {
            skip(r, 2);
            int level = long_bracket(r);
            if (level >= 0)
                skip_long(r, level);
            else
                while (r->at < r->end && *r->at != '\n')
                    skip(r, 1);
        } else {
            return;
        }
    }
}

static void keep(struct reader *r, const char *from, size_t len)
{
    (void)snprintf(r->name, sizeof r->name, "%.*s", (int)(len < 1024 ? len : 1024), from);
}

static void read_string(struct reader *r)
{
    char quote = *r->at;
    const char *from = r->at + 1;

    skip(r, 1);
    while (r->at < r->end && *r->at != quote && *r->at != '\n')
        skip(r, *r->at == '\\' ? 2 : 1);
    keep(r, from, (size_t)(r->at - from));
    skip(r, 1);
}

static void next(struct reader *r)
{
    skip_blank(r);
    r->token_line = r->line;
    const char *from = r->at;
    char c = peek(r, 0);
    int level = long_bracket(r);

    if (r->at >= r->end) {
        r->token = END;
    } else if (isalpha((unsigned char)c) || c == '_') {
        while (isalnum((unsigned char)peek(r, 0)) || peek(r, 0) == '_')
            skip(r, 1);
        keep(r, from, (size_t)(r->at - from));
        r->token = NAME;
    } else if (c == '"' || c == '\'') {
        read_string(r);
        r->token = STRING;
    } else if (level >= 0) {
        skip_long(r, level);
        r->name[0] = '\0';
        r->token = STRING;
    } else {
        /* "==" is no assignment; a character of its own stands for the pair. */
        bool pair = (c == '=' || c == '~' || c == '<' || c == '>') && peek(r, 1) == '=';
        r->token = OTHER;
        r->character = pair ? '?' : c;
        skip(r, pair ? 2 : 1);
    }
}

static bool is(const struct reader *r, char character)
{
    return r->token == OTHER && r->character == character;
}

/* The open constructors' keys and then `last`, joined by dots, equal the key. */
static void check(struct finder *f, const char *last, int line)
{
    char path[PATH_MAX_BYTES];
    size_t used = 0;

    for (int i = 0; i < f->depth && i < DEPTH_MAX; i++) {
        int n = snprintf(path + used, sizeof path - used, "%s%s", f->names[i],
                         f->names[i][0] != '\0' ? "." : "");
        if (n < 0 || (size_t)n >= sizeof path - used)
            return;
        used += (size_t)n;
    }
    (void)snprintf(path + used, sizeof path - used, "%s", last);
    const char *dot = strchr(path, '.');
    /* Outside a constructor the first name is the variable's. */
    if (strcmp(path, f->key) == 0 || (f->depth == 0 && dot != NULL && strcmp(dot + 1, f->key) == 0))
        f->found = line;
}

static void open_constructor(struct finder *f, const char *name)
{
    if (f->depth < DEPTH_MAX)
        (void)snprintf(f->names[f->depth], NAME_MAX_BYTES, "%s", name);
    f->depth++;
    next(&f->reader);
}

/* After a key: "= value", where a value that is a constructor is entered under that key. */
static void take_value(struct finder *f, const char *key, int line)
{
    struct reader *r = &f->reader;

    if (!is(r, '='))
        return;
    check(f, key, line);
    next(r);
    if (!is(r, '{'))
        return;
    if (f->depth == 0) { /* config.limits = {…}: what follows the variable's name */
        const char *dot = strchr(key, '.');
        open_constructor(f, dot != NULL ? dot + 1 : "");
    } else {
        open_constructor(f, key);
    }
}

/* A name, and the .names that follow it. */
static void take_name(struct finder *f)
{
    struct reader *r = &f->reader;
    char path[PATH_MAX_BYTES];
    int line = r->token_line;
    bool function = strcmp(r->name, "function") == 0;

    if (function) {
        next(r);
        line = r->token_line;
        if (r->token != NAME)
            return;
    }
    size_t used = (size_t)snprintf(path, sizeof path, "%s", r->name);
    next(r);
    while (is(r, '.') || is(r, ':')) {
        next(r);
        if (r->token != NAME)
            return;
        if (used + strlen(r->name) + 2 < sizeof path)
            used += (size_t)snprintf(path + used, sizeof path - used, ".%s", r->name);
        next(r);
    }
    if (function && is(r, '('))
        check(f, path, line);
    else
        take_value(f, path, line);
}

/* ["name"] = in a constructor, or after a variable's name. */
static void take_bracket(struct finder *f)
{
    struct reader *r = &f->reader;
    char key[NAME_MAX_BYTES];
    int line = r->token_line;

    next(r);
    if (r->token != STRING)
        return;
    memcpy(key, r->name, sizeof key);
    next(r);
    if (!is(r, ']'))
        return;
    next(r);
    take_value(f, key, line);
}

int tg_lines_of_key(const char *text, size_t len, const char *key)
{
    struct finder finder = {.reader = {.at = text, .end = text + len, .line = 1}, .key = key};
    struct finder *f = &finder;

    next(&f->reader);
    while (f->reader.token != END) {
        if (f->reader.token == NAME) {
            take_name(f);
        } else if (is(&f->reader, '{')) {
            open_constructor(f, "");
        } else if (is(&f->reader, '[')) {
            take_bracket(f);
        } else {
            if (is(&f->reader, '}') && f->depth > 0)
                f->depth--;
            next(&f->reader);
        }
    }
    return f->found;
}
