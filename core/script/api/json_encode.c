/* json_encode.c - a Lua value as JSON text.
 *
 * What a table becomes: a marked one what its mark says; one with text keys an object; one with keys
 * 1…n an array (holes become null while fewer than half are missing); an empty one {}. A mixture is
 * refused rather than guessed. Numbers are written so that they read back as they were.
 *
 * I1  The walk is raw and needs no Lua memory after the stack is reserved.
 * I2  Each visited value writes at least one byte, so the size limit ends every walk; the CPU budget,
 *     which cannot interrupt a C function, is asked on the way.
 */
#include "script/api/json.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/json_number.h"
#include "base/json_text.h"
#include "base/utf8.h"
#include "script/api/api.h"
#include "script/api/json_marks.h"
#include "script/hooks/view.h"
#include "script/policy/path.h"

#define DEPTH_MAX 64
/* A list with at most this many slots may have any holes. */
#define SPARSE_FREE 16
#define TIME_CHECK_EVERY 256
/* Asked of the buffer at a time. */
#define ROOM ((size_t)256)

struct encoder {
    lua_State *L;
    struct tg_buffer *out;
    char *from; /* what is not committed to `out` yet */
    char *at;   /* where the next byte goes; in `out`, as far as `end` */
    char *end;
    size_t bytes_max; /* of out->len */
    struct tg_error *error;
    struct tg_path path;
    unsigned visited; /* values */
};

static enum tg_err refuse(struct encoder *e, enum tg_err code, const char *what)
{
    char where[160];
    tg_path_text(e->L, &e->path, where, sizeof where);
    return tg_error_set(e->error, code, "%s %s", where, what);
}

static enum tg_err out_of_time(struct encoder *e)
{
    return tg_error_set(e->error, TG_ERR_BUDGET, "%s took too long to write as JSON", e->path.root);
}

static void commit(struct encoder *e)
{
    if (e->at != e->from)
        tg_buffer_commit(e->out, (size_t)(e->at - e->from));
    e->from = e->at;
}

static enum tg_err make_room(struct encoder *e, size_t len)
{
    commit(e);
    size_t left = e->bytes_max - e->out->len;
    if (len > left)
        return tg_error_set(e->error, TG_ERR_LIMIT, "%s is larger than %zu bytes as JSON",
                            e->path.root, TG_LUA_JSON_MAX);
    size_t wanted = len > ROOM ? len : ROOM;
    if (wanted > left)
        wanted = left;
    e->at = (char *)tg_buffer_reserve(e->out, wanted);
    if (e->at == NULL) {
        e->from = e->end = NULL;
        return tg_error_set(e->error, TG_ERR_NOMEM, "out of memory");
    }
    e->from = e->at;
    e->end = e->at + wanted;
    return TG_ERR_OK;
}

/* Room for `len` bytes at e->at. */
static inline enum tg_err need(struct encoder *e, size_t len)
{
    enum tg_err err = (size_t)(e->end - e->at) >= len ? TG_ERR_OK : make_room(e, len);
    assert(err != TG_ERR_OK || e->at != NULL);
    return err;
}

static inline enum tg_err put(struct encoder *e, const void *data, size_t len)
{
    enum tg_err err = need(e, len);
    if (err == TG_ERR_OK) {
        memcpy(e->at, data, len);
        e->at += len;
    }
    return err;
}

static inline enum tg_err put_char(struct encoder *e, char c)
{
    return put(e, &c, 1);
}

static enum tg_err put_escape(struct encoder *e, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    size_t len = 2;
    switch (c) {
    case '"':
    case '\\':
        text[1] = (char)c;
        break;
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    default:
        len = 6;
        break;
    }
    return put(e, text, len);
}

static enum tg_err put_any_string(struct encoder *e, const char *text, size_t len)
{
    if (!tg_utf8_valid(text, len))
        return refuse(e, TG_ERR_INVALID, "is not UTF-8 text");
    const char *end = text + len;
    enum tg_err err = put_char(e, '"');
    while (err == TG_ERR_OK) {
        const char *special = tg_json_skip_plain(text, end);
        err = put(e, text, (size_t)(special - text));
        if (special == end)
            break;
        if (err == TG_ERR_OK)
            err = put_escape(e, (unsigned char)*special);
        text = special + 1;
    }
    return err == TG_ERR_OK ? put_char(e, '"') : err;
}

/* Checked and copied at once as long as it is plain, which keys and most values are to their end. */
static enum tg_err put_string(struct encoder *e, const char *text, size_t len)
{
    enum tg_err err = need(e, len + 2);
    if (err != TG_ERR_OK)
        return err;
    if (tg_json_copy_plain(e->at + 1, text, len) < len)
        return put_any_string(e, text, len);
    e->at[0] = '"';
    e->at[len + 1] = '"';
    e->at += len + 2;
    return TG_ERR_OK;
}

static enum tg_err put_number(struct encoder *e, double number)
{
    if (!isfinite(number))
        return refuse(e, TG_ERR_INVALID, "is not a finite number");
    char text[TG_JSON_NUMBER_SIZE];
    return put(e, text, tg_json_write_number(text, number));
}

static enum tg_err put_key(struct encoder *e, int index)
{
    char text[32];
    size_t len = 0;
    const char *key = text;
    if (lua_type(e->L, index) == LUA_TSTRING) {
        key = lua_tolstring(e->L, index, &len);
    } else if (lua_type(e->L, index) == LUA_TNUMBER) {
        len = (size_t)snprintf(text, sizeof text, "%.14g", lua_tonumber(e->L, index));
    } else {
        return refuse(e, TG_ERR_INVALID, "has a key that is no text");
    }
    enum tg_err err = put_string(e, key, len);
    return err == TG_ERR_OK ? put_char(e, ':') : err;
}

static enum tg_err encode_value(struct encoder *e, int index);

/* The first key and its value are on top, if there is one. */
static enum tg_err encode_object(struct encoder *e, int index, bool any_key, bool more)
{
    lua_State *L = e->L;
    int value = lua_gettop(L), key = value - 1;
    enum tg_err err = put_char(e, '{');
    for (bool first = true; err == TG_ERR_OK && more; first = false) {
        if (!any_key && lua_type(L, key) == LUA_TNUMBER)
            return refuse(e, TG_ERR_INVALID, "mixes list items and named fields");
        e->path.keys[e->path.depth++] = key;
        if (!first)
            err = put_char(e, ',');
        if (err == TG_ERR_OK)
            err = put_key(e, key);
        if (err == TG_ERR_OK)
            err = encode_value(e, value);
        e->path.depth--;
        lua_settop(L, key);
        more = err == TG_ERR_OK && lua_next(L, index) != 0;
    }
    return err == TG_ERR_OK ? put_char(e, '}') : err;
}

/* The highest index of a table whose keys should all be 1…n. */
static enum tg_err measure_list(struct encoder *e, int index, size_t *length)
{
    lua_State *L = e->L;
    size_t count = 0;
    *length = 0;
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        lua_pop(L, 1);
        double key = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
        if (key < 1 || key != floor(key))
            return refuse(e, TG_ERR_INVALID,
                          lua_type(L, -1) == LUA_TNUMBER
                              ? "is a table with a number key that is no list index"
                              : "mixes list items and named fields");
        if (key > 1e9)
            return refuse(e, TG_ERR_INVALID, "is a list with a very large index");
        *length = (size_t)key > *length ? (size_t)key : *length;
        count++;
    }
    if (*length > SPARSE_FREE && *length > 2 * count)
        return refuse(e, TG_ERR_INVALID,
                      "is a list with too many holes (json.object sends it as an object)");
    return TG_ERR_OK;
}

static enum tg_err encode_array(struct encoder *e, int index)
{
    lua_State *L = e->L;
    size_t length = 0;
    int top = lua_gettop(L);
    enum tg_err err = measure_list(e, index, &length);
    if (err == TG_ERR_OK)
        err = put_char(e, '[');
    for (size_t i = 1; i <= length && err == TG_ERR_OK; i++) {
        lua_settop(L, top);
        lua_pushnumber(L, (lua_Number)i);
        e->path.keys[e->path.depth++] = lua_gettop(L);
        lua_rawgeti(L, index, (int)i);
        if (i > 1)
            err = put_char(e, ',');
        if (err == TG_ERR_OK)
            err = encode_value(e, lua_gettop(L));
        e->path.depth--;
    }
    return err == TG_ERR_OK ? put_char(e, ']') : err;
}

static enum tg_err encode_table(struct encoder *e, int index)
{
    lua_State *L = e->L;
    int top = lua_gettop(L);
    enum tg_err err;
    if (e->path.depth >= DEPTH_MAX)
        return refuse(e, TG_ERR_LIMIT, "is nested too deeply (a table that contains itself?)");
    /* Every time: the same large and nearly empty table may be in a list thousands of times. */
    if (tg_api_out_of_time(L))
        return out_of_time(e);
    enum tg_json_mark mark = tg_json_mark_of(L, index);
    lua_pushnil(L);
    bool any = lua_next(L, index) != 0;
    bool list = mark == TG_JSON_MARKED_ARRAY ||
                (mark == TG_JSON_UNMARKED && any && lua_type(L, -2) == LUA_TNUMBER);
    if (list) {
        lua_settop(L, top);
        err = encode_array(e, index);
    } else {
        err = encode_object(e, index, mark == TG_JSON_MARKED_OBJECT, any);
    }
    lua_settop(L, top);
    return err;
}

static enum tg_err encode_userdata(struct encoder *e, int index)
{
    if (!tg_view_is(e->L, index))
        return refuse(e, TG_ERR_INVALID, "is userdata and cannot be written as JSON");
    tg_view_unwrap(e->L, index);
    enum tg_err err = encode_table(e, lua_gettop(e->L));
    lua_pop(e->L, 1);
    return err;
}

static enum tg_err encode_value(struct encoder *e, int index)
{
    lua_State *L = e->L;
    size_t len = 0;
    const char *text;
    if (++e->visited % TIME_CHECK_EVERY == 0 && tg_api_out_of_time(L))
        return out_of_time(e);
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        return put(e, "null", 4);
    case LUA_TBOOLEAN:
        return lua_toboolean(L, index) ? put(e, "true", 4) : put(e, "false", 5);
    case LUA_TNUMBER:
        return put_number(e, lua_tonumber(L, index));
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        return put_string(e, text, len);
    case LUA_TTABLE:
        return encode_table(e, index);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == NULL)
            return put(e, "null", 4);
        return refuse(e, TG_ERR_INVALID, "is userdata and cannot be written as JSON");
    case LUA_TUSERDATA:
        return encode_userdata(e, index);
    case LUA_TFUNCTION:
        return refuse(e, TG_ERR_INVALID, "is a function and cannot be written as JSON");
    default:
        return refuse(e, TG_ERR_INVALID, "cannot be written as JSON");
    }
}

enum tg_err tg_lua_json_encode(lua_State *L, int index, const char *root, struct tg_buffer *out,
                               struct tg_error *error)
{
    size_t before = out->len;
    struct encoder e;
    e.L = L;
    e.out = out;
    e.from = e.at = e.end = NULL;
    e.bytes_max = before + TG_LUA_JSON_MAX;
    e.error = error;
    e.path.root = root;
    e.path.depth = 0; /* its keys are set as the walk goes down */
    e.visited = 0;
    luaL_checkstack(L, 4 * DEPTH_MAX + 10, "JSON");
    if (index < 0 && index > LUA_REGISTRYINDEX)
        index += lua_gettop(L) + 1;
    int top = lua_gettop(L);
    enum tg_err err = encode_value(&e, index);
    lua_settop(L, top);
    if (err == TG_ERR_OK)
        commit(&e);
    else
        out->len = before;
    return err;
}
