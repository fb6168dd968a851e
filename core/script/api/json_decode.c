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
#include "script/api/api.h"
#include "script/api/json_marks.h"

#define TIME_CHECK_EVERY 256

struct decoder {
    lua_State *L;
    const char *at;
    const char *end;
    unsigned made; /* values */
};

static void skip_blank(struct decoder *d)
{
    while (d->at < d->end && (*d->at == ' ' || *d->at == '\n' || *d->at == '\t' || *d->at == '\r'))
        d->at++;
}

/* After a value or a key: the one character that separates it from what follows. */
static char take_mark(struct decoder *d)
{
    skip_blank(d);
    char c = *d->at;
    d->at++;
    skip_blank(d);
    return c;
}

static void push_string(struct decoder *d)
{
    const char *from = ++d->at;
    bool escaped = false;
    while (*d->at != '"') {
        if (*d->at == '\\') {
            escaped = true;
            d->at++;
        }
        d->at++;
    }
    size_t len = (size_t)(d->at - from);
    d->at++;
    if (!escaped) {
        lua_pushlstring(d->L, from, len);
        return;
    }
    struct tg_json_value raw = {.kind = TG_JSON_STRING, .raw = from - 1, .len = len + 2};
    struct tg_buffer *scratch = tg_lua_json_scratch(d->L);
    if (tg_json_decode_string(&raw, scratch) != TG_ERR_OK)
        luaL_error(d->L, "not enough memory");
    lua_pushlstring(d->L, scratch->len == 0 ? "" : (const char *)tg_buffer_head(scratch),
                    scratch->len);
}

static void push_number(struct decoder *d)
{
    const char *from = d->at;
    bool plain = true;
    double number = 0;
    while (d->at < d->end && strchr("+-.eE0123456789", *d->at) != NULL && *d->at != '\0') {
        plain = plain && *d->at >= '0' && *d->at <= '9';
        number = number * 10 + (*d->at - '0');
        d->at++;
    }
    size_t len = (size_t)(d->at - from);
    if (!plain || len > 15) {
        struct tg_json_value raw = {.kind = TG_JSON_NUMBER, .raw = from, .len = len};
        number = tg_json_number(&raw);
    }
    lua_pushnumber(d->L, number);
}

static void push_value(struct decoder *d);

static void push_array(struct decoder *d)
{
    int i = 0;
    lua_newtable(d->L);
    d->at++;
    skip_blank(d);
    if (*d->at == ']') {
        d->at++;
    } else {
        do {
            push_value(d);
            lua_rawseti(d->L, -2, ++i);
        } while (take_mark(d) == ',');
    }
    tg_json_mark(d->L, -1, TG_JSON_MARKED_ARRAY);
}

static void push_object(struct decoder *d)
{
    lua_newtable(d->L);
    d->at++;
    skip_blank(d);
    if (*d->at == '}') {
        d->at++;
        return;
    }
    do {
        push_string(d);
        take_mark(d);
        push_value(d);
        lua_rawset(d->L, -3);
    } while (take_mark(d) == ',');
}

static void push_value(struct decoder *d)
{
    luaL_checkstack(d->L, 6, "JSON");
    if (++d->made % TIME_CHECK_EVERY == 0 && tg_api_out_of_time(d->L))
        tg_api_raise_out_of_time(d->L);
    switch (*d->at) {
    case '{':
        push_object(d);
        return;
    case '[':
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
    skip_blank(&d);
    assert(d.at < d.end);
    push_value(&d);
}
