/* sandbox_gsub.c - string.gsub over our own matcher, which the budget can stop.
 *
 * With a text as replacement it is done here whole. With a function or a table, lua/tidegate/_library.lua
 * asks for one match after the other, so that what it calls is called from Lua: it may wait, and no C
 * function is left on the stack.
 *
 * I1  What grows is a userdata that the running function or the substitution keeps: nothing leaks when a
 *     call raises.
 */
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/call/memory.h"
#include "script/sandbox/sandbox_internal.h"
#include "script/sandbox/sandbox_pattern.h"

/* Characters of a replacement between two looks at the budget. */
#define LOOK_EVERY 4096

/* In the caller's storage; `slot` of the stack holds the userdata that `bytes` is in, once it has grown. */
struct text {
    char *bytes;
    size_t used;
    size_t capacity;
    char small[512];
};

static void text_init(struct text *text)
{
    text->bytes = text->small;
    text->used = 0;
    text->capacity = sizeof text->small;
}

static void append(lua_State *L, int slot, struct text *text, const char *bytes, size_t len)
{
    if (len > text->capacity - text->used) {
        if (len > TG_SCRIPT_STRING_MAX - text->used)
            luaL_error(L, "string.gsub: the result would be larger than %dMiB",
                       (int)(TG_SCRIPT_STRING_MAX >> 20));
        size_t capacity = 2 * text->capacity;
        if (capacity > TG_SCRIPT_STRING_MAX)
            capacity = TG_SCRIPT_STRING_MAX;
        if (capacity < text->used + len)
            capacity = text->used + len;
        char *grown = lua_newuserdata(L, capacity);
        memcpy(grown, text->bytes, text->used);
        lua_replace(L, slot);
        text->bytes = grown;
        text->capacity = capacity;
    }
    memcpy(text->bytes + text->used, bytes, len);
    text->used += len;
}

struct substitution {
    struct text out;
    size_t at;    /* of the text: where to look next; what is before is in `out` */
    size_t count; /* of matches */
    size_t max;
    size_t from, to; /* the match whose replacement is awaited */
    bool awaiting;
    bool ended;
};

static void substitution_init(struct substitution *sub, double max)
{
    text_init(&sub->out);
    sub->at = sub->count = 0;
    sub->max = max >= 1 ? (max < (double)SIZE_MAX / 2 ? (size_t)max : SIZE_MAX / 2) : 0;
    sub->awaiting = sub->ended = false;
}

/* True when there is another match; what lies before it is in `out` then. */
static bool find_next(lua_State *L, int slot, struct substitution *sub, struct tg_pattern *m,
                      int level)
{
    if (sub->ended || sub->count >= sub->max ||
        !tg__pattern_found(L, m, level, tg_pattern_search(m, sub->at)))
        return false;
    append(L, slot, &sub->out, m->text + sub->at, (size_t)(m->from - m->text) - sub->at);
    sub->count++;
    sub->from = (size_t)(m->from - m->text);
    sub->to = (size_t)(m->to - m->text);
    return true;
}

/* After the replacement is in `out`. */
static void pass_match(lua_State *L, int slot, struct substitution *sub, const struct tg_pattern *m)
{
    size_t len = (size_t)(m->text_end - m->text);

    sub->ended = m->anchored;
    sub->at = sub->to;
    if (sub->to > sub->from)
        return;
    if (sub->to >= len) {
        sub->ended = true;
        return;
    }
    append(L, slot, &sub->out, m->text + sub->at, 1);
    sub->at++;
}

/* Pushes the text and the number of matches. */
static int finish(lua_State *L, int slot, struct substitution *sub, const char *text, size_t len)
{
    if (sub->count == 0) {
        lua_pushlstring(L, text, len);
    } else {
        append(L, slot, &sub->out, text + sub->at, len - sub->at);
        lua_pushlstring(L, sub->out.bytes, sub->out.used);
    }
    lua_pushinteger(L, (lua_Integer)sub->count);
    return 2;
}

static void append_capture(lua_State *L, int slot, struct text *out, const struct tg_pattern *m,
                           int index)
{
    tg__pattern_push(L, m, index, 1);
    size_t len;
    const char *bytes = lua_tolstring(L, -1, &len);
    append(L, slot, out, bytes, len);
    lua_pop(L, 1);
}

/* The replacement text with its %0 to %9. *passed counts its characters over all matches. */
static void append_template(lua_State *L, int slot, struct text *out, const struct tg_pattern *m,
                            const char *template, size_t len, size_t *passed)
{
    size_t plain = 0;

    for (size_t i = 0; i < len; i++) {
        if (++*passed % LOOK_EVERY == 0 && tg_api_out_of_time(L))
            (void)tg_api_raise_out_of_time(L);
        if (template[i] != '%')
            continue;
        append(L, slot, out, template + plain, i - plain);
        i++;
        plain = i + 1;
        if (template[i] == '0')
            append(L, slot, out, m->from, (size_t)(m->to - m->from));
        else if (template[i] > '0' && template[i] <= '9')
            append_capture(L, slot, out, m, template[i] - '1');
        else /* when the text ends here, its zero byte, as in Lua */
            append(L, slot, out, template + i, 1);
    }
    if (plain < len)
        append(L, slot, out, template + plain, len - plain);
}

/* gsub(s, pattern, text [, n]) -> text, n */
static int l_gsub(lua_State *L)
{
    size_t len, template_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checkstring(L, 2);
    double max = luaL_optnumber(L, 4, (lua_Number)len + 1);
    size_t passed = 0;
    struct substitution sub;
    struct tg_pattern m;

    if (lua_type(L, 3) != LUA_TSTRING && lua_type(L, 3) != LUA_TNUMBER)
        return luaL_argerror(L, 3, "string/function/table expected");
    const char *template = lua_tolstring(L, 3, &template_len);
    lua_settop(L, 5);
    substitution_init(&sub, max);
    tg__pattern_open(L, &m, text, len, pattern, true);
    while (find_next(L, 5, &sub, &m, 1)) {
        append_template(L, 5, &sub.out, &m, template, template_len, &passed);
        pass_match(L, 5, &sub, &m);
    }
    return finish(L, 5, &sub, text, len);
}

/* gsub_begin(n | nil) -> substitution */
static int l_gsub_begin(lua_State *L)
{
    double max = luaL_optnumber(L, 1, (lua_Number)(SIZE_MAX / 2));
    struct substitution *sub = lua_newuserdata(L, sizeof *sub);

    substitution_init(sub, max);
    return 1;
}

/* Keeps what has grown with the substitution. */
static void keep_grown(lua_State *L, int sub, int slot)
{
    if (lua_isnil(L, slot))
        return;
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, slot);
    lua_rawseti(L, -2, 1);
    (void)lua_setfenv(L, sub);
}

static void append_value(lua_State *L, int slot, struct substitution *sub, int value,
                         const char *text)
{
    size_t len;

    if (!lua_toboolean(L, value)) {
        append(L, slot, &sub->out, text + sub->from, sub->to - sub->from);
        return;
    }
    if (!lua_isstring(L, value)) {
        lua_pushfstring(L, "invalid replacement value (a %s)", luaL_typename(L, value));
        (void)tg__pattern_raise(L, 2, lua_tostring(L, -1));
    }
    const char *bytes = lua_tolstring(L, value, &len);
    append(L, slot, &sub->out, bytes, len);
}

/* gsub_step(substitution, s, pattern [, replacement of the last match]) -> true, captures… | false, text, n.
 * Errors are raised at the line of who called the caller. */
static int l_gsub_step(lua_State *L)
{
    struct substitution *sub = lua_touserdata(L, 1);
    size_t len;
    const char *text = lua_tolstring(L, 2, &len);
    const char *pattern = lua_tostring(L, 3);
    struct tg_pattern m;

    lua_settop(L, 5);
    tg__pattern_open(L, &m, text, len, pattern, true);
    if (sub->awaiting) {
        append_value(L, 5, sub, 4, text);
        pass_match(L, 5, sub, &m);
    }
    sub->awaiting = find_next(L, 5, sub, &m, 2);
    lua_pushboolean(L, sub->awaiting);
    if (!sub->awaiting)
        return 1 + finish(L, 5, sub, text, len);
    keep_grown(L, 1, 5);
    return 1 + tg__pattern_push_all(L, &m, true, 2);
}

void tg__sandbox_add_gsub(struct lua_State *L)
{
    static const luaL_Reg rows[] = {
        {"gsub", l_gsub},
        {"gsub_begin", l_gsub_begin},
        {"gsub_step", l_gsub_step},
        {NULL, NULL},
    };

    tg_api_set_functions(L, rows);
}
