/* sandbox_pattern.c - string.find, match and gmatch over our own matcher, which the budget can stop. */
#include "script/sandbox/sandbox_pattern.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/sandbox/sandbox_internal.h"

/* False beginnings of a plain text before memmem is asked. */
#define PLAIN_TRIES 16
#define PLAIN_WINDOW ((size_t)1 << 20)

static bool is_out_of_time(void *L)
{
    return tg_api_out_of_time(L);
}

/* --- errors and captures ------------------------------------------------------------------------ */

int tg__pattern_raise(lua_State *L, int level, const char *why)
{
    luaL_where(L, level);
    lua_pushstring(L, why);
    lua_concat(L, 2);
    return lua_error(L);
}

bool tg__pattern_found(lua_State *L, const struct tg_pattern *m, int level,
                       enum tg_pattern_result result)
{
    if (result == TG_PATTERN_WRONG)
        (void)tg__pattern_raise(L, level, m->error);
    if (result == TG_PATTERN_EXPIRED)
        (void)tg_api_raise_out_of_time(L);
    return result == TG_PATTERN_FOUND;
}

void tg__pattern_push(lua_State *L, const struct tg_pattern *m, int index, int level)
{
    const char *at;
    size_t len;
    const char *wrong = tg_pattern_capture(m, index, &at, &len);

    if (wrong != NULL)
        (void)tg__pattern_raise(L, level, wrong);
    if (len == TG_PATTERN_POSITION)
        lua_pushinteger(L, at - m->text + 1);
    else
        lua_pushlstring(L, at, len);
}

int tg__pattern_push_all(lua_State *L, const struct tg_pattern *m, bool whole, int level)
{
    int count = m->captures == 0 && whole ? 1 : m->captures;

    luaL_checkstack(L, count, "too many captures");
    for (int i = 0; i < count; i++)
        tg__pattern_push(L, m, i, level);
    return count;
}

void tg__pattern_open(lua_State *L, struct tg_pattern *m, const char *text, size_t len,
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

/* memmem, whose time is linear whatever the text, in windows between which the budget is asked. */
static const char *find_slowly(lua_State *L, const char *text, size_t len, const char *what,
                               size_t what_len)
{
    size_t step = what_len < PLAIN_WINDOW / 4 ? PLAIN_WINDOW : 4 * what_len;

    while (len >= what_len) {
        size_t window = len - what_len > step ? step + what_len : len;
        const char *found = memmem(text, window, what, what_len);
        if (found != NULL || window == len)
            return found;
        if (tg_api_out_of_time(L))
            (void)tg_api_raise_out_of_time(L);
        text += step;
        len -= step;
    }
    return NULL;
}

/* Where the first byte is rare, memchr alone is fastest. */
static const char *find_plain(lua_State *L, const char *text, size_t len, const char *what,
                              size_t what_len)
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
    return find_slowly(L, text, (size_t)(end - text), what, what_len);
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
        const char *found = find_plain(L, text + at, len - at, pattern, pattern_len);
        if (found == NULL) {
            lua_pushnil(L);
            return 1;
        }
        lua_pushinteger(L, found - text + 1);
        lua_pushinteger(L, found - text + (ptrdiff_t)pattern_len);
        return 2;
    }
    tg__pattern_open(L, &m, text, len, pattern, true);
    if (!tg__pattern_found(L, &m, 1, tg_pattern_search(&m, at))) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, m.from - text + 1);
    lua_pushinteger(L, m.to - text);
    return tg__pattern_push_all(L, &m, false, 1) + 2;
}

/* string.match(s, pattern [, init]) */
static int l_string_match(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checkstring(L, 2);
    size_t at = check_init(L, 3, len);
    struct tg_pattern m;

    tg__pattern_open(L, &m, text, len, pattern, true);
    if (tg__pattern_found(L, &m, 1, tg_pattern_search(&m, at)))
        return tg__pattern_push_all(L, &m, true, 1);
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
    tg__pattern_open(L, &m, text, len, pattern, false);
    if (!tg__pattern_found(L, &m, 1, tg_pattern_search(&m, at)))
        return 0;
    /* After an empty match, one further: the next is another. */
    lua_pushnumber(L, (lua_Number)(m.to - text + (m.to == m.from ? 1 : 0)));
    lua_replace(L, lua_upvalueindex(3));
    return tg__pattern_push_all(L, &m, true, 1);
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

void tg__sandbox_add_patterns(struct lua_State *L)
{
    static const luaL_Reg rows[] = {
        {"find", l_string_find},
        {"match", l_string_match},
        {"gmatch", l_string_gmatch},
        {NULL, NULL},
    };

    tg_api_set_functions(L, rows);
}
