/* plain.c - plain data: Lua values as bytes that belong to the core and outlive any state.
 *
 * One tag byte a value; a text has its length before it, in one byte or, after LONG, in four; a table is its
 * mark, two size hints, its keys and values in turn, and an end tag. What is kept of every idle client is
 * written like this (connection/facts.h), hence the small lengths. Both directions recurse over at most
 * DEPTH_MAX tables, which also is what ends a cycle.
 *
 * I1  The walk looks at values only raw: no metamethod runs and nothing is converted in place.
 * I2  Encoding needs no Lua memory after the stack is reserved, so it cannot raise while `out` grows.
 */
#include "script/plain.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/api/api.h"
#include "script/api/json_marks.h"
#include "script/hooks/view.h"
#include "script/policy/path.h"

#define DEPTH_MAX 32
/* Beyond this a table grows as it is filled: hints come from the table's own size. */
#define HINT_MAX 4096
#define HINTS_SIZE (2 * sizeof(uint16_t))
#define LONG 0xff

enum tag {
    TAG_NIL = 'n',
    TAG_NULL = '0',
    TAG_FALSE = 'f',
    TAG_TRUE = 't',
    TAG_NUMBER = 'd',
    TAG_STRING = 's',
    TAG_TABLE = '{',
    TAG_ARRAY = '[',
    TAG_OBJECT = 'o',
    TAG_END = '}'
};

struct encoder {
    lua_State *L;
    struct tg_buffer *out;
    size_t bytes_max; /* of the value */
    size_t before;    /* what `out` held */
    struct tg_error *error;
    struct tg_path path;
};

static enum tg_err refuse(struct encoder *e, enum tg_err code, const char *what)
{
    char where[160];
    tg_path_text(e->L, &e->path, where, sizeof where);
    return tg_error_set(e->error, code, "%s %s", where, what);
}

/* Room for `len` more bytes, or NULL and *err. */
static uint8_t *reserve(struct encoder *e, size_t len, enum tg_err *err)
{
    uint8_t *room = NULL;
    if (len > e->bytes_max || e->out->len - e->before > e->bytes_max - len)
        *err = tg_error_set(e->error, TG_ERR_LIMIT, "%s is larger than %zu bytes when kept",
                            e->path.root, e->bytes_max);
    else if ((room = tg_buffer_reserve(e->out, len)) == NULL)
        *err = tg_error_set(e->error, TG_ERR_NOMEM, "out of memory");
    else
        tg_buffer_commit(e->out, len);
    return room;
}

/* A tag and what belongs to it. */
static enum tg_err put(struct encoder *e, enum tag tag, const void *data, size_t len)
{
    enum tg_err err = TG_ERR_OK;
    uint8_t *room = reserve(e, 1 + len, &err);
    if (room == NULL)
        return err;
    room[0] = (uint8_t)tag;
    if (len > 0)
        memcpy(room + 1, data, len);
    return TG_ERR_OK;
}

static enum tg_err put_tag(struct encoder *e, enum tag tag)
{
    return put(e, tag, NULL, 0);
}

static enum tg_err put_string(struct encoder *e, int index)
{
    size_t len = 0;
    const char *text = lua_tolstring(e->L, index, &len);
    if (len > UINT32_MAX)
        return refuse(e, TG_ERR_LIMIT, "is too long a string");
    uint32_t long_len = (uint32_t)len;
    enum tg_err err = TG_ERR_OK;
    uint8_t *room = reserve(e, 2 + (len < LONG ? 0 : sizeof long_len) + len, &err);
    if (room == NULL)
        return err;
    *room++ = TAG_STRING;
    *room++ = len < LONG ? (uint8_t)len : LONG;
    if (len >= LONG) {
        memcpy(room, &long_len, sizeof long_len);
        room += sizeof long_len;
    }
    memcpy(room, text, len);
    return TG_ERR_OK;
}

static enum tg_err encode_table(struct encoder *e, int index);

static enum tg_err encode_value(struct encoder *e, int index)
{
    lua_State *L = e->L;
    lua_Number number;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        return put_tag(e, TAG_NIL);
    case LUA_TBOOLEAN:
        return put_tag(e, lua_toboolean(L, index) ? TAG_TRUE : TAG_FALSE);
    case LUA_TNUMBER:
        number = lua_tonumber(L, index);
        return put(e, TAG_NUMBER, &number, sizeof number);
    case LUA_TSTRING:
        return put_string(e, index);
    case LUA_TTABLE:
        return encode_table(e, index);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == NULL)
            return put_tag(e, TAG_NULL);
        return refuse(e, TG_ERR_INVALID, "is userdata and cannot be kept");
    case LUA_TUSERDATA:
        if (tg_view_is(L, index)) {
            tg_view_unwrap(L, index);
            enum tg_err err = encode_table(e, lua_gettop(L));
            lua_pop(L, 1);
            return err;
        }
        return refuse(e, TG_ERR_INVALID, "is userdata and cannot be kept");
    case LUA_TFUNCTION:
        return refuse(e, TG_ERR_INVALID, "is a function and cannot be kept");
    case LUA_TTHREAD:
        return refuse(e, TG_ERR_INVALID, "is a coroutine and cannot be kept");
    default:
        return refuse(e, TG_ERR_INVALID, "cannot be kept");
    }
}

static enum tg_err encode_pairs(struct encoder *e, int index, uint32_t *pairs)
{
    lua_State *L = e->L;
    enum tg_err err = TG_ERR_OK;
    lua_pushnil(L);
    while (err == TG_ERR_OK && lua_next(L, index) != 0) {
        int value = lua_gettop(L);
        e->path.keys[e->path.depth++] = value - 1;
        int key_type = lua_type(L, value - 1);
        if (key_type != LUA_TSTRING && key_type != LUA_TNUMBER && key_type != LUA_TBOOLEAN)
            err = refuse(e, TG_ERR_INVALID, "has a key that is no text, number or boolean");
        if (err == TG_ERR_OK)
            err = encode_value(e, value - 1);
        if (err == TG_ERR_OK)
            err = encode_value(e, value);
        e->path.depth--;
        *pairs += 1;
        lua_settop(L, value - 1);
    }
    return err;
}

static enum tg_err encode_table(struct encoder *e, int index)
{
    static const enum tag tags[] = {
        [TG_JSON_UNMARKED] = TAG_TABLE,
        [TG_JSON_MARKED_ARRAY] = TAG_ARRAY,
        [TG_JSON_MARKED_OBJECT] = TAG_OBJECT,
    };
    int top = lua_gettop(e->L);
    if (e->path.depth >= DEPTH_MAX)
        return refuse(e, TG_ERR_LIMIT, "is nested too deeply (a table that contains itself?)");
    /* The same large and nearly empty table may be in a list thousands of times. */
    if (tg_api_out_of_time(e->L))
        return tg_error_set(e->error, TG_ERR_BUDGET, "%s took too long to keep", e->path.root);
    size_t length = lua_objlen(e->L, index);
    uint16_t hints[2] = {length > HINT_MAX ? HINT_MAX : (uint16_t)length, 0};
    enum tg_err err = put(e, tags[tg_json_mark_of(e->L, index)], hints, sizeof hints);
    if (err != TG_ERR_OK)
        return err;
    size_t hint_at = e->out->len - sizeof hints[1];
    uint32_t pairs = 0;
    err = encode_pairs(e, index, &pairs);
    if (err == TG_ERR_OK)
        err = put_tag(e, TAG_END);
    lua_settop(e->L, top);
    if (err != TG_ERR_OK)
        return err;
    pairs = pairs > hints[0] ? pairs - hints[0] : 0;
    hints[1] = pairs > HINT_MAX ? HINT_MAX : (uint16_t)pairs;
    memcpy(tg_buffer_head(e->out) + hint_at, &hints[1], sizeof hints[1]);
    return TG_ERR_OK;
}

enum tg_err tg_plain_encode(lua_State *L, int index, const char *root, size_t max_bytes,
                            struct tg_buffer *out, struct tg_error *error)
{
    struct encoder e = {.L = L,
                        .out = out,
                        .bytes_max = max_bytes,
                        .before = out->len,
                        .error = error,
                        .path = {.root = root}};
    if (!lua_checkstack(L, 4 * DEPTH_MAX + 10))
        return tg_error_set(error, TG_ERR_LIMIT, "%s: no stack left", root);
    if (index < 0 && index > LUA_REGISTRYINDEX)
        index += lua_gettop(L) + 1;
    int top = lua_gettop(L);
    enum tg_err err = encode_value(&e, index);
    lua_settop(L, top);
    if (err != TG_ERR_OK)
        out->len = e.before;
    return err;
}

struct decoder {
    lua_State *L;
    const uint8_t *at;
    const uint8_t *end;
};

static void take(struct decoder *d, void *out, size_t len)
{
    assert((size_t)(d->end - d->at) >= len);
    memcpy(out, d->at, len);
    d->at += len;
}

/* The length of a text, after its tag; what follows is the text. */
static size_t take_length(struct decoder *d)
{
    uint8_t first = 0;
    uint32_t len = 0;
    take(d, &first, 1);
    if (first != LONG)
        len = first;
    else
        take(d, &len, sizeof len);
    assert((size_t)(d->end - d->at) >= len);
    return len;
}

static void push_value(struct decoder *d);

static void push_table(struct decoder *d, enum tag tag)
{
    uint16_t hints[2];
    take(d, hints, sizeof hints);
    luaL_checkstack(d->L, 6, "plain data");
    lua_createtable(d->L, hints[0], hints[1]);
    while (*d->at != TAG_END) {
        push_value(d);
        push_value(d);
        lua_rawset(d->L, -3);
    }
    d->at++;
    if (tag != TAG_TABLE)
        tg_json_mark(d->L, -1, tag == TAG_ARRAY ? TG_JSON_MARKED_ARRAY : TG_JSON_MARKED_OBJECT);
}

static void push_value(struct decoder *d)
{
    uint8_t tag = 0;
    size_t len = 0;
    lua_Number number = 0;
    take(d, &tag, 1);
    switch ((enum tag)tag) {
    case TAG_NIL:
        lua_pushnil(d->L);
        return;
    case TAG_NULL:
        lua_pushlightuserdata(d->L, NULL);
        return;
    case TAG_FALSE:
    case TAG_TRUE:
        lua_pushboolean(d->L, tag == TAG_TRUE);
        return;
    case TAG_NUMBER:
        take(d, &number, sizeof number);
        lua_pushnumber(d->L, number);
        return;
    case TAG_STRING:
        len = take_length(d);
        lua_pushlstring(d->L, (const char *)d->at, len);
        d->at += len;
        return;
    case TAG_TABLE:
    case TAG_ARRAY:
    case TAG_OBJECT:
        push_table(d, (enum tag)tag);
        return;
    case TAG_END:
        break;
    }
    assert(false && "plain data that encode did not write");
}

void tg_plain_push(lua_State *L, const void *data, size_t len)
{
    if (len == 0) {
        lua_pushnil(L);
        return;
    }
    struct decoder d = {.L = L, .at = data, .end = (const uint8_t *)data + len};
    luaL_checkstack(L, 6, "plain data");
    push_value(&d);
    assert(d.at == d.end);
}

/* Passes over one value, tables with all that is in them. */
static void skip_value(struct decoder *d)
{
    size_t depth = 0;

    do {
        size_t len = 0;
        enum tag tag = (enum tag) * d->at++;
        if (tag == TAG_STRING)
            len = take_length(d);
        else if (tag == TAG_NUMBER)
            len = sizeof(lua_Number);
        else if (tag == TAG_TABLE || tag == TAG_ARRAY || tag == TAG_OBJECT) {
            len = HINTS_SIZE;
            depth++;
        } else if (tag == TAG_END)
            depth--;
        assert((size_t)(d->end - d->at) >= len);
        d->at += len;
    } while (depth > 0);
}

/* Passes over one value; true when it is a text. */
static bool take_text(struct decoder *d, const char **text, size_t *len)
{
    if (*d->at != TAG_STRING) {
        skip_value(d);
        return false;
    }
    d->at++;
    *len = take_length(d);
    *text = (const char *)d->at;
    d->at += *len;
    return true;
}

const char *tg_plain_find_string(const void *data, size_t len, const char *field, size_t *text_len)
{
    const char *text = NULL;
    struct decoder d = {.at = data, .end = (const uint8_t *)data + len};

    if (len == 0 || (*d.at != TAG_TABLE && *d.at != TAG_OBJECT))
        return NULL;
    d.at += 1 + HINTS_SIZE;
    while (*d.at != TAG_END) {
        bool named = take_text(&d, &text, text_len) && *text_len == strlen(field) &&
                     memcmp(text, field, *text_len) == 0;
        if (take_text(&d, &text, text_len) && named)
            return text;
    }
    return NULL;
}

bool tg_plain_read_number(const void *data, size_t len, double *number)
{
    const uint8_t *bytes = data;
    if (len != TG_PLAIN_NUMBER_SIZE || bytes[0] != TAG_NUMBER)
        return false;
    memcpy(number, bytes + 1, sizeof *number);
    return true;
}

void tg_plain_write_number(void *data, double number)
{
    uint8_t *bytes = data;
    bytes[0] = TAG_NUMBER;
    memcpy(bytes + 1, &number, sizeof number);
}
