/* json_writer.c - JSON into a buffer, commas and escapes included.
 *
 * Depth d (1 to 32) has bit d-1 of has_item. Nothing is written after the first failure, so what is in
 * the buffer then is a cut document that must not be used.
 */
#include "base/json_writer.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "base/utf8.h"

#define DEPTH_MAX 32
#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

static void put(struct tg_json_writer *w, const void *data, size_t len)
{
    if (!w->failed && tg_buffer_append(w->out, data, len) != TG_ERR_OK)
        w->failed = true;
}

/* Room for `len` bytes, or NULL after a failure. */
static uint8_t *room_for(struct tg_json_writer *w, size_t len)
{
    uint8_t *room = w->failed ? NULL : tg_buffer_reserve(w->out, len);
    w->failed = room == NULL;
    return room;
}

static void put_char(struct tg_json_writer *w, char c)
{
    uint8_t *room = room_for(w, 1);
    if (room == NULL)
        return;
    *room = (uint8_t)c;
    tg_buffer_commit(w->out, 1);
}

/* The comma before an item, unless it is the first one or the value of a key. */
static void begin_item(struct tg_json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->depth == 0)
        return;
    uint32_t bit = UINT32_C(1) << (w->depth - 1);
    if ((w->has_item & bit) != 0)
        put_char(w, ',');
    w->has_item |= bit;
}

static void begin(struct tg_json_writer *w, char bracket)
{
    begin_item(w);
    if (w->depth == DEPTH_MAX)
        w->failed = true;
    if (w->failed)
        return;
    put_char(w, bracket);
    w->depth++;
    w->has_item &= ~(UINT32_C(1) << (w->depth - 1));
}

static void end(struct tg_json_writer *w, char bracket)
{
    if (w->failed)
        return;
    assert(w->depth > 0 && !w->after_key);
    w->depth--;
    put_char(w, bracket);
}

/* Writes the escape of one ASCII byte that is not plain. */
static void put_escape(struct tg_json_writer *w, uint8_t byte)
{
    static const char names[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
                                 ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};
    char text[8];
    int len = byte < sizeof names && names[byte] != '\0'
                  ? snprintf(text, sizeof text, "\\%c", names[byte])
                  : snprintf(text, sizeof text, "\\u%04x", byte);
    put(w, text, (size_t)len);
}

/* The rest of a string that is not plain all through, with its closing quote. */
static void put_rest(struct tg_json_writer *w, const char *data, size_t len)
{
    size_t at = 0;
    while (at < len && !w->failed) {
        size_t from = at;
        size_t character = 1;
        /* As long as possible without a change, in one piece. */
        while (at < len && character > 0) {
            uint32_t codepoint;
            if ((uint8_t)data[at] < 0x80)
                character = tg__json_is_special(data[at]) ? 0 : 1;
            else
                character = tg_utf8_next(data + at, len - at, &codepoint);
            at += character;
        }
        put(w, data + from, at - from);
        if (at == len)
            break;
        if ((uint8_t)data[at] < 0x80)
            put_escape(w, (uint8_t)data[at]);
        else
            put(w, REPLACEMENT, 3);
        at++;
    }
    put_char(w, '"');
}

static void put_string(struct tg_json_writer *w, const char *data, size_t len)
{
    char *room = (char *)room_for(w, len + 2);
    if (room == NULL)
        return;
    room[0] = '"';
    size_t plain = tg_json_copy_plain(room + 1, data, len);
    room[plain + 1] = '"';
    tg_buffer_commit(w->out, plain == len ? plain + 2 : plain + 1);
    if (plain < len)
        put_rest(w, data + plain, len - plain);
}

static void put_digits(struct tg_json_writer *w, bool negative, uint64_t value)
{
    char text[24];
    char *at = text + sizeof text;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    if (negative)
        *--at = '-';
    tg_json_raw(w, at, (size_t)(text + sizeof text - at));
}

struct tg_json_writer tg_json_writer_on(struct tg_buffer *out)
{
    return (struct tg_json_writer){.out = out};
}

bool tg_json_writer_failed(const struct tg_json_writer *w)
{
    return w->failed;
}

void tg_json_begin_object(struct tg_json_writer *w)
{
    begin(w, '{');
}

void tg_json_end_object(struct tg_json_writer *w)
{
    end(w, '}');
}

void tg_json_begin_array(struct tg_json_writer *w)
{
    begin(w, '[');
}

void tg_json_end_array(struct tg_json_writer *w)
{
    end(w, ']');
}

void tg_json_key(struct tg_json_writer *w, const char *key)
{
    assert(w->failed || !w->after_key);
    begin_item(w);
    size_t len = strlen(key);
    uint8_t *room = room_for(w, len + 3);
    w->after_key = true;
    if (room == NULL)
        return;
    room[0] = '"';
    memcpy(room + 1, key, len);
    memcpy(room + 1 + len, "\":", 2);
    tg_buffer_commit(w->out, len + 3);
}

void tg_json_keyn(struct tg_json_writer *w, const char *key, size_t len)
{
    assert(w->failed || !w->after_key);
    begin_item(w);
    put_string(w, key, len);
    put_char(w, ':');
    w->after_key = true;
}

void tg_json_str(struct tg_json_writer *w, const char *value)
{
    if (value == NULL)
        tg_json_null(w);
    else
        tg_json_strn(w, value, strlen(value));
}

void tg_json_strn(struct tg_json_writer *w, const char *data, size_t len)
{
    begin_item(w);
    put_string(w, data, len);
}

void tg_json_int(struct tg_json_writer *w, int64_t value)
{
    put_digits(w, value < 0, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void tg_json_uint(struct tg_json_writer *w, uint64_t value)
{
    put_digits(w, false, value);
}

void tg_json_real(struct tg_json_writer *w, double value)
{
    if (!isfinite(value)) {
        tg_json_null(w);
        return;
    }
    char text[32];
    int len = 0;
    for (int digits = 15; digits <= 17; digits++) {
        len = snprintf(text, sizeof text, "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (back >= value && back <= value)
            break;
    }
    tg_json_raw(w, text, (size_t)len);
}

void tg_json_bool(struct tg_json_writer *w, bool value)
{
    tg_json_raw(w, value ? "true" : "false", value ? 4 : 5);
}

void tg_json_null(struct tg_json_writer *w)
{
    tg_json_raw(w, "null", 4);
}

void tg_json_raw(struct tg_json_writer *w, const void *json, size_t len)
{
    begin_item(w);
    put(w, json, len);
}

void tg_json_raw_members(struct tg_json_writer *w, const char *object, size_t len)
{
    assert(len >= 2 && object[0] == '{' && object[len - 1] == '}');
    if (len > 2)
        tg_json_raw(w, object + 1, len - 2);
}

void tg_json_member_str(struct tg_json_writer *w, const char *key, const char *value)
{
    tg_json_key(w, key);
    tg_json_str(w, value);
}

void tg_json_member_uint(struct tg_json_writer *w, const char *key, uint64_t value)
{
    tg_json_key(w, key);
    tg_json_uint(w, value);
}

void tg_json_member_real(struct tg_json_writer *w, const char *key, double value)
{
    tg_json_key(w, key);
    tg_json_real(w, value);
}

void tg_json_member_bool(struct tg_json_writer *w, const char *key, bool value)
{
    tg_json_key(w, key);
    tg_json_bool(w, value);
}

void tg_json_member_time(struct tg_json_writer *w, const char *key, uint64_t wall_ms)
{
    char text[TG_CLOCK_RFC3339_SIZE];

    tg_clock_rfc3339(wall_ms, text);
    tg_json_member_str(w, key, text);
}
