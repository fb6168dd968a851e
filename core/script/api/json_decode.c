/* json_decode.c - JSON text as a Lua value, in one pass over a document that base/json_reader has
 * checked in full, so nothing here looks for mistakes.
 *
 * null becomes json.null; arrays are marked as such, so that an empty one stays one when it is written
 * again. Holds no heap memory of its own: unescaped text is put together in the state's scratch.
 */
#include "script/api/json.h"

#include <assert.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/json_reader.h"
#include "base/json_text.h"
#include "script/api/api.h"
#include "script/api/json_marks.h"

#define TIME_CHECK_EVERY 256
/* Values that wait on the stack for the table they go into. */
#define AT_ONCE 32
#define STACK_OF_CONTAINER (AT_ONCE + 6)

struct decoder {
    lua_State *L;
    const char *at;
    const char *end;
    unsigned made; /* values */
};

static void skip_any_blank(struct decoder *d)
{
    while (d->at < d->end && (*d->at == ' ' || *d->at == '\n' || *d->at == '\t' || *d->at == '\r'))
        d->at++;
}

static inline void skip_blank(struct decoder *d)
{
    if (d->at == d->end || (uint8_t)*d->at <= ' ') /* what machines write has no white space */
        skip_any_blank(d);
}

/* After a value or a key: the one character that separates it from what follows. */
static inline char take_mark(struct decoder *d)
{
    skip_blank(d);
    char c = *d->at;
    d->at++;
    skip_blank(d);
    return c;
}

static void push_escaped(struct decoder *d, const char *from, size_t len)
{
    struct tg_json_value raw = {.kind = TG_JSON_STRING, .raw = from - 1, .len = len + 2};
    struct tg_buffer *scratch = tg_lua_json_scratch(d->L);
    if (tg_json_decode_string(&raw, scratch) != TG_ERR_OK)
        luaL_error(d->L, "not enough memory");
    lua_pushlstring(d->L, scratch->len == 0 ? "" : (const char *)tg_buffer_head(scratch),
                    scratch->len);
}

static void push_string(struct decoder *d)
{
    const char *from = d->at + 1;
    const char *at = tg_json_skip_plain(from, d->end);
    bool escaped = *at == '\\';
    while (*at == '\\')
        at = tg_json_skip_plain(at + 2, d->end);
    d->at = at + 1;
    if (escaped)
        push_escaped(d, from, (size_t)(at - from));
    else
        lua_pushlstring(d->L, from, (size_t)(at - from));
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void push_number(struct decoder *d)
{
    const char *from = d->at;
    double number = 0;
    for (; d->at < d->end && is_digit(*d->at); d->at++)
        number = number * 10 + (*d->at - '0');
    bool plain = d->at - from <= 15;
    while (d->at < d->end && (is_digit(*d->at) || *d->at == '.' || *d->at == '-' || *d->at == '+' ||
                              *d->at == 'e' || *d->at == 'E')) {
        plain = false;
        d->at++;
    }
    if (!plain) {
        struct tg_json_value raw = {
            .kind = TG_JSON_NUMBER, .raw = from, .len = (size_t)(d->at - from)};
        number = tg_json_number(&raw);
    }
    lua_pushnumber(d->L, number);
}

static void push_value(struct decoder *d);

/* The `count` values on top become the elements from `first` on of the array below them. */
static void store_elements(lua_State *L, int array, int first, int count)
{
    for (int i = first + count - 1; i >= first; i--)
        lua_rawseti(L, array, i);
}

/* A table that is made with room for what goes in is four times as fast as one that grows with it, and how much
 * goes in is known only behind it. So values wait on the stack, up to AT_ONCE of them. */
static void push_array(struct decoder *d)
{
    lua_State *L = d->L;
    int base = lua_gettop(L), stored = 0, waiting = 0;
    bool more;

    d->at++;
    skip_blank(d);
    more = *d->at != ']';
    if (!more)
        d->at++;
    while (more) {
        push_value(d);
        waiting++;
        more = take_mark(d) == ',';
        if (more && waiting < AT_ONCE)
            continue;
        if (stored == 0) {
            lua_createtable(L, more ? 2 * AT_ONCE : waiting, 0);
            lua_insert(L, base + 1);
        }
        store_elements(L, base + 1, stored + 1, waiting);
        stored += waiting;
        waiting = 0;
    }
    if (stored == 0)
        lua_createtable(L, 0, 0);
    tg_json_mark(L, -1, TG_JSON_MARKED_ARRAY);
}

/* The `count` pairs on top go into the object below them, in their order: the last of equal keys wins. */
static void store_members(lua_State *L, int object, int count)
{
    for (int at = object + 1; at <= object + 2 * count; at += 2) {
        lua_pushvalue(L, at);
        lua_pushvalue(L, at + 1);
        lua_rawset(L, object);
    }
    lua_settop(L, object);
}

static void push_object(struct decoder *d)
{
    lua_State *L = d->L;
    int object = lua_gettop(L) + 1, waiting = 0;
    bool made = false, more;

    d->at++;
    skip_blank(d);
    more = *d->at != '}';
    if (!more)
        d->at++;
    while (more) {
        push_string(d);
        (void)take_mark(d);
        push_value(d);
        waiting++;
        more = take_mark(d) == ',';
        if (more && waiting < AT_ONCE / 2)
            continue;
        if (!made) {
            lua_createtable(L, 0, more ? AT_ONCE : waiting);
            lua_insert(L, object);
            made = true;
        }
        store_members(L, object, waiting);
        waiting = 0;
    }
    if (!made)
        lua_createtable(L, 0, 0);
}

static void push_value(struct decoder *d)
{
    if (++d->made % TIME_CHECK_EVERY == 0 && tg_api_out_of_time(d->L))
        tg_api_raise_out_of_time(d->L);
    switch (*d->at) {
    case '{':
        luaL_checkstack(d->L, STACK_OF_CONTAINER, "JSON");
        push_object(d);
        return;
    case '[':
        luaL_checkstack(d->L, STACK_OF_CONTAINER, "JSON");
        push_array(d);
        return;
    case '"':
        push_string(d);
        return;
    case 't':
        lua_pushboolean(d->L, 1);
        d->at += 4;
        return;
    case 'f':
        lua_pushboolean(d->L, 0);
        d->at += 5;
        return;
    case 'n':
        lua_pushlightuserdata(d->L, NULL);
        d->at += 4;
        return;
    default:
        push_number(d);
        return;
    }
}

void tg_lua_json_push(lua_State *L, const char *text, size_t len)
{
    struct decoder d = {.L = L, .at = text, .end = text + len};
    luaL_checkstack(L, 4, "JSON");
    skip_blank(&d);
    assert(d.at < d.end);
    push_value(&d);
}
