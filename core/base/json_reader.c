/* json_reader.c - looking into documents: everything here walks with the scanner, which checks one
 * value and finds where it ends.
 *
 * After tg_json_parse the walk cannot fail; strings are decoded on the way, one character at a time.
 */
#include "base/json_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scanner.h"
#include "base/utf8.h"

/* Numbers up to this length go to strtod as they are. */
#define SHORT_NUMBER 64
/* More digits than any double needs to be told from its neighbours, rounding apart. */
#define SIGNIFICANT 40
/* Beyond any exponent that the digits of a document in memory could make good again. */
#define EXPONENT_LIMIT 1000000000000L

/* Takes one value of a document that is known to be good. */
static struct tg_json_value take_value(struct tg__json_scanner *s)
{
    enum tg_json_kind kind = tg__json_kind_at(tg__json_peek(s));
    const char *from = s->at;
    if (!tg__json_scan_value(s))
        return (struct tg_json_value){.kind = TG_JSON_NONE};
    return (struct tg_json_value){kind, from, (size_t)(s->at - from)};
}

static size_t valid_utf8_prefix(const char *data, size_t len)
{
    size_t at = 0;
    size_t step = 1;
    while (at < len && step > 0) {
        uint32_t codepoint;
        step = tg_utf8_next(data + at, len - at, &codepoint);
        at += step;
    }
    return at;
}

/* Takes the next decoded bytes of a string's inside from *at; returns how many, 1 to 4. */
static size_t take_decoded(const char **at, const char *end, char out[4])
{
    if (**at != '\\') {
        out[0] = *(*at)++;
        return 1;
    }
    (*at)++;
    if (**at == 'u')
        return tg_utf8_encode((uint32_t)tg__json_unicode_escape(at, end), out);
    out[0] = tg__json_plain_escape(*(*at)++);
    return 1;
}

/* Collects the leading digits of [at, end), up to the exponent, without leading zeros; returns how
 * many, and in *scale the power of ten that they are to be taken times. */
static size_t take_digits(const char *at, const char *end, char out[SIGNIFICANT], long *scale)
{
    size_t digits = 0;
    bool after_point = false;
    *scale = 0;
    for (; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.') {
            after_point = true;
            continue;
        }
        bool leading_zero = digits == 0 && *at == '0';
        bool dropped = digits == SIGNIFICANT;
        if (!leading_zero && !dropped)
            out[digits++] = *at;
        if (after_point && !dropped)
            *scale -= 1;
        else if (!after_point && dropped)
            *scale += 1;
    }
    return digits;
}

/* The exponent as written, 0 when there is none. */
static long take_exponent(const char *raw, size_t len)
{
    const char *end = raw + len;
    const char *at = raw;
    while (at < end && *at != 'e' && *at != 'E')
        at++;
    if (at == end)
        return 0;
    at++;
    bool negative = *at == '-';
    if (*at == '-' || *at == '+')
        at++;
    long exponent = 0;
    for (; at < end && exponent < EXPONENT_LIMIT; at++)
        exponent = exponent * 10 + (*at - '0');
    return negative ? -exponent : exponent;
}

/* Value of a number too long for a copy: its leading digits and where the point belongs. */
static double long_number(const char *raw, size_t len)
{
    bool negative = *raw == '-';
    char text[SIGNIFICANT + 32];
    long scale;
    size_t digits = take_digits(raw + negative, raw + len, text, &scale);
    if (digits == 0)
        return negative ? -0.0 : 0.0;
    snprintf(text + digits, sizeof text - digits, "e%ld", scale + take_exponent(raw, len));
    double value = strtod(text, NULL);
    return negative ? -value : value;
}

static void clear_values(struct tg_json_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (struct tg_json_value){.kind = TG_JSON_NONE};
}

static void note_member(const struct tg_json_value *name, const struct tg_json_value *value,
                        const char *const *keys, struct tg_json_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (tg_json_equals(name, keys[i])) {
            values[i] = *value;
            return; /* no key is asked for twice */
        }
    }
}

/* At the brace of an object: what take_value does, and members are noted on the way. */
static struct tg_json_value take_object(struct tg__json_scanner *s, const char *const *keys,
                                        struct tg_json_value *values, size_t count)
{
    const char *from = s->at;
    struct tg_json_value name;
    bool more = tg__json_enter(s, true) && tg__json_peek(s) != '}';
    bool empty = !more;
    while (more && tg__json_scan_key(s, &name)) {
        struct tg_json_value value = take_value(s);
        if (s->what != NULL)
            break;
        note_member(&name, &value, keys, values, count);
        more = tg__json_next_member(s);
    }
    if (empty && s->what == NULL)
        (void)tg__json_next_member(s);
    return (struct tg_json_value){TG_JSON_OBJECT, from, (size_t)(s->at - from)};
}

/* `what`: a mistake that was found before. */
static enum tg_err conclude(struct tg__json_scanner *s, const char *data, struct tg_json_value *out,
                            struct tg_error *error)
{
    if (s->what == NULL && (tg__json_peek(s) != '\0' || s->at != s->end))
        s->what = "bytes after the value";
    if (s->what == NULL)
        return TG_ERR_OK;
    *out = (struct tg_json_value){.kind = TG_JSON_NONE};
    return tg_error_set(error, TG_ERR_PROTO, "%s at byte %zu", s->what, (size_t)(s->at - data));
}

enum tg_err tg_json_parse(const char *data, size_t len, struct tg_json_value *out,
                          struct tg_error *error)
{
    struct tg__json_scanner s = {.at = data, .end = data + len};
    if (tg_utf8_valid(data, len)) {
        *out = take_value(&s);
    } else {
        s.at = data + valid_utf8_prefix(data, len);
        s.what = "not UTF-8";
    }
    return conclude(&s, data, out, error);
}

enum tg_err tg_json_parse_members(const char *data, size_t len, struct tg_json_value *out,
                                  const char *const *keys, struct tg_json_value *values,
                                  size_t count, struct tg_error *error)
{
    struct tg__json_scanner s = {.at = data, .end = data + len};
    clear_values(values, count);
    *out = tg__json_peek(&s) == '{' ? take_object(&s, keys, values, count) : take_value(&s);
    enum tg_err err = conclude(&s, data, out, error);
    if (err != TG_ERR_OK)
        clear_values(values, count);
    return err;
}

struct tg_json_value tg_json_member(const struct tg_json_value *object, const char *key)
{
    struct tg_json_value found;
    tg_json_members(object, &key, &found, 1);
    return found;
}

void tg_json_members(const struct tg_json_value *object, const char *const *keys,
                     struct tg_json_value *values, size_t count)
{
    clear_values(values, count);
    if (object->kind != TG_JSON_OBJECT)
        return;
    size_t cursor = 0;
    struct tg_json_value name;
    struct tg_json_value value;
    while (tg_json_next(object, &cursor, &name, &value))
        note_member(&name, &value, keys, values, count);
}

bool tg_json_next(const struct tg_json_value *container, size_t *cursor, struct tg_json_value *key,
                  struct tg_json_value *value)
{
    if (container->kind != TG_JSON_ARRAY && container->kind != TG_JSON_OBJECT)
        return false;
    /* The byte at the cursor is the opening bracket or the comma before the next item. */
    struct tg__json_scanner s = {.at = container->raw + *cursor,
                                 .end = container->raw + container->len};
    if (s.at == s.end)
        return false;
    s.at++;
    char next = tg__json_peek(&s);
    if (next == ']' || next == '}' || next == '\0')
        return false;
    *key = (struct tg_json_value){.kind = TG_JSON_NONE};
    if (container->kind == TG_JSON_OBJECT) {
        *key = take_value(&s);
        tg__json_peek(&s);
        s.at++;
    }
    *value = take_value(&s);
    tg__json_peek(&s);
    *cursor = (size_t)(s.at - container->raw);
    return value->kind != TG_JSON_NONE;
}

bool tg__json_equals(const struct tg_json_value *value, const char *text)
{
    const char *at = value->raw + 1;
    const char *end = value->raw + value->len - 1;
    size_t left = strlen(text);
    if (memchr(at, '\\', (size_t)(end - at)) == NULL)
        return (size_t)(end - at) == left && memcmp(at, text, left) == 0;
    while (at < end) {
        char bytes[4];
        size_t n = take_decoded(&at, end, bytes);
        if (n > left || memcmp(text, bytes, n) != 0)
            return false;
        text += n;
        left -= n;
    }
    return left == 0;
}

enum tg_err tg_json_decode_string(const struct tg_json_value *value, struct tg_buffer *out)
{
    if (value->kind != TG_JSON_STRING)
        return TG_ERR_INVALID;
    const char *at = value->raw + 1;
    const char *end = value->raw + value->len - 1;
    /* Decoding never makes a string longer; the room for one more character is for the copies. */
    char *room = (char *)tg_buffer_reserve(out, value->len + 4);
    if (room == NULL)
        return TG_ERR_NOMEM;
    size_t n = 0;
    while (at < end)
        n += take_decoded(&at, end, room + n);
    tg_buffer_commit(out, n);
    return TG_ERR_OK;
}

enum tg_err tg_json_copy_string(const struct tg_json_value *value, char *out, size_t size)
{
    if (size == 0)
        return TG_ERR_LIMIT;
    out[0] = '\0';
    if (value->kind != TG_JSON_STRING)
        return TG_ERR_INVALID;
    const char *at = value->raw + 1;
    const char *end = value->raw + value->len - 1;
    size_t n = 0;
    while (at < end) {
        char bytes[4];
        size_t got = take_decoded(&at, end, bytes);
        if (got >= size - n || bytes[0] == '\0') {
            out[0] = '\0';
            return TG_ERR_LIMIT;
        }
        memcpy(out + n, bytes, got);
        n += got;
    }
    out[n] = '\0';
    return TG_ERR_OK;
}

double tg_json_number(const struct tg_json_value *value)
{
    if (value->kind != TG_JSON_NUMBER)
        return 0;
    if (value->len >= SHORT_NUMBER)
        return long_number(value->raw, value->len);
    char text[SHORT_NUMBER];
    memcpy(text, value->raw, value->len);
    text[value->len] = '\0';
    return strtod(text, NULL);
}

bool tg_json_true(const struct tg_json_value *value)
{
    return value->kind == TG_JSON_BOOL && value->len == 4;
}
