/* sandbox_pattern.c - string.find, match, gmatch and gsub over our own matcher, which the budget can stop.
 *
 * gsub with a text as replacement is done here whole. With a function or a table, lua/tidegate/_library.lua
 * asks for one match after the other, so that what it calls is called from Lua: it may wait, and no C
 * function is left on the stack.
 *
 * I1  What grows is a userdata that the running function or the substitution keeps: nothing leaks when a
 *     call raises.
 */
#include "script/sandbox_internal.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/memory.h"
#include "script/pattern.h"

/* Characters of a replacement between two looks at the budget. */
#define LOOK_EVERY 4096
/* False beginnings of a plain text before memmem is asked. */
#define PLAIN_TRIES 16

static bool is_out_of_time(void *L)
{
    return tg_api_out_of_time(L);
}

/* --- errors and captures ------------------------------------------------------------------------ */

/* At the line of the `level`th caller. */
static int raise_at(lua_State *L, int level, const char *why)
{
    luaL_where(L, level);
    lua_pushstring(L, why);
    lua_concat(L, 2);
    return lua_error(L);
}

static bool check_result(lua_State *L, const struct tg_pattern *m, int level,
                         enum tg_pattern_result result)
{
    if (result == TG_PATTERN_WRONG)
        (void)raise_at(L, level, m->error);
    if (result == TG_PATTERN_EXPIRED)
        (void)tg_api_raise_out_of_time(L);
    return result == TG_PATTERN_FOUND;
}

static void push_capture(lua_State *L, const struct tg_pattern *m, int index, int level)
{
    const char *at;
    size_t len;
    const char *wrong = tg_pattern_capture(m, index, &at, &len);

    if (wrong != NULL)
        (void)raise_at(L, level, wrong);
    if (len == TG_PATTERN_POSITION)
        lua_pushinteger(L, at - m->text + 1);
    else
        lua_pushlstring(L, at, len);
}

/* All of them; the whole match when there are none and it is asked for. */
static int push_captures(lua_State *L, const struct tg_pattern *m, bool whole, int level)
{
    int count = m->captures == 0 && whole ? 1 : m->captures;

    luaL_checkstack(L, count, "too many captures");
    for (int i = 0; i < count; i++)
        push_capture(L, m, i, level);
    return count;
}

static void init_pattern(lua_State *L, struct tg_pattern *m, const char *text, size_t len,
                         const char *pattern, bool anchors)
{
    tg_pattern_init(m, text, len, pattern, anchors);
    m->expired = is_out_of_time;
    m->ud = L;
}

/* --- find, match, gmatch ------------------------------------------------------------------------ */

/* The argument `init` as an offset into the text. */
static size_t check_init(lua_State *L, int index, size_t len)
{
    lua_Integer init = luaL_optinteger(L, index, 1);

    if (init < 0)
        init += (lua_Integer)len;
    else if (init > 0)
        init--;
    if (init < 0)
        return 0;
    return (size_t)init > len ? len : (size_t)init;
}

/* Where the first byte is rare, memchr alone is fastest; a text that is made of first bytes is for memmem,
 * whose time is linear whatever the text. */
static const char *find_plain(const char *text, size_t len, const char *what, size_t what_len)
{
    const char *end = text + len;

    for (int tries = 0; tries < PLAIN_TRIES && what_len > 0; tries++) {
        if ((size_t)(end - text) < what_len)
            return NULL;
        text = memchr(text, what[0], (size_t)(end - text) - what_len + 1);
        if (text == NULL)
            return NULL;
        if (memcmp(text, what, what_len) == 0)
            return text;
        text++;
    }
    return memmem(text, (size_t)(end - text), what, what_len);
}

/* string.find(s, pattern [, init [, plain]]) */
static int l_string_find(lua_State *L)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    size_t at = check_init(L, 3, len);
    struct tg_pattern m;

    if (lua_toboolean(L, 4) || !tg_pattern_is_special(pattern, pattern_len)) {
        const char *found = find_plain(text + at, len - at, pattern, pattern_len);
        if (found == NULL) {
            lua_pushnil(L);
            return 1;
        }
        lua_pushinteger(L, found - text + 1);
        lua_pushinteger(L, found - text + (ptrdiff_t)pattern_len);
        return 2;
    }
    init_pattern(L, &m, text, len, pattern, true);
    if (!check_result(L, &m, 1, tg_pattern_search(&m, at))) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, m.from - text + 1);
    lua_pushinteger(L, m.to - text);
    return push_captures(L, &m, false, 1) + 2;
}

/* string.match(s, pattern [, init]) */
static int l_string_match(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checkstring(L, 2);
    size_t at = check_init(L, 3, len);
    struct tg_pattern m;

    init_pattern(L, &m, text, len, pattern, true);
    if (check_result(L, &m, 1, tg_pattern_search(&m, at)))
        return push_captures(L, &m, true, 1);
    lua_pushnil(L);
    return 1;
}

/* Upvalues: the text, the pattern, the offset to go on from. */
static int l_gmatch_step(lua_State *L)
{
    size_t len;
    const char *text = lua_tolstring(L, lua_upvalueindex(1), &len);
    const char *pattern = lua_tostring(L, lua_upvalueindex(2));
    size_t at = (size_t)lua_tonumber(L, lua_upvalueindex(3));
    struct tg_pattern m;

    if (at > len)
        return 0;
    init_pattern(L, &m, text, len, pattern, false);
    if (!check_result(L, &m, 1, tg_pattern_search(&m, at)))
        return 0;
    /* After an empty match, one further: the next is another. */
    lua_pushnumber(L, (lua_Number)(m.to - text + (m.to == m.from ? 1 : 0)));
    lua_replace(L, lua_upvalueindex(3));
    return push_captures(L, &m, true, 1);
}

/* string.gmatch(s, pattern) */
static int l_string_gmatch(lua_State *L)
{
    (void)luaL_checkstring(L, 1);
    (void)luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, l_gmatch_step, 3);
    return 1;
}

/* --- a text that grows -------------------------------------------------------------------------- */

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

/* --- gsub --------------------------------------------------------------------------------------- */

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
        !check_result(L, m, level, tg_pattern_search(m, sub->at)))
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
    push_capture(L, m, index, 1);
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
    init_pattern(L, &m, text, len, pattern, true);
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
        (void)raise_at(L, 2, lua_tostring(L, -1));
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
    init_pattern(L, &m, text, len, pattern, true);
    if (sub->awaiting) {
        append_value(L, 5, sub, 4, text);
        pass_match(L, 5, sub, &m);
    }
    sub->awaiting = find_next(L, 5, sub, &m, 2);
    lua_pushboolean(L, sub->awaiting);
    if (!sub->awaiting)
        return 1 + finish(L, 5, sub, text, len);
    keep_grown(L, 1, 5);
    return 1 + push_captures(L, &m, true, 2);
}

void tg__sandbox_add_patterns(struct lua_State *L)
{
    static const luaL_Reg rows[] = {
        {"find", l_string_find},
        {"match", l_string_match},
        {"gmatch", l_string_gmatch},
        {"gsub", l_gsub},
        {"gsub_begin", l_gsub_begin},
        {"gsub_step", l_gsub_step},
        {NULL, NULL},
    };

    tg_api_set_functions(L, rows);
}
