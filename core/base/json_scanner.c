/* json_scanner.c - the grammar of JSON (RFC 8259), without recursion: the kinds of open containers
 * are one bit each, so hostile nesting costs no stack.
 *
 * The caller has checked that the bytes are UTF-8. So strings need only be searched for quotes,
 * escapes and control characters.
 */
#include "base/json_scanner.h"

#include <string.h>

#include "base/json_text.h"

static bool fail(struct tg__json_scanner *s, const char *what)
{
    s->what = what;
    return false;
}

char tg__json_peek_space(struct tg__json_scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
    return s->at < s->end ? *s->at : '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Four hex digits at `at`, or -1. */
static int32_t hex4(const char *at, const char *end)
{
    if (end - at < 4)
        return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

int32_t tg__json_unicode_escape(const char **at, const char *end)
{
    int32_t first = hex4(*at + 1, end);
    if (first < 0xD800 || first > 0xDFFF) {
        *at += first < 0 ? 0 : 5;
        return first;
    }
    if (first > 0xDBFF || end - *at < 11 || (*at)[5] != '\\' || (*at)[6] != 'u')
        return -1;
    int32_t second = hex4(*at + 7, end);
    if (second < 0xDC00 || second > 0xDFFF)
        return -1;
    *at += 11;
    return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
}

char tg__json_plain_escape(char letter)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    const char *found = letter == '\0' ? NULL : strchr(letters, letter);
    return found == NULL ? '\0' : meanings[found - letters];
}

static bool scan_escape(struct tg__json_scanner *s)
{
    if (s->at == s->end)
        return fail(s, "unfinished string");
    if (*s->at == 'u') {
        if (tg__json_unicode_escape(&s->at, s->end) < 0)
            return fail(s, "bad \\u escape");
        return true;
    }
    if (tg__json_plain_escape(*s->at) == '\0')
        return fail(s, "unknown escape");
    s->at++;
    return true;
}

static bool scan_string(struct tg__json_scanner *s)
{
    s->at = tg_json_skip_plain(s->at + 1, s->end);
    while (s->at < s->end) {
        char c = *s->at;
        if ((uint8_t)c < 0x20)
            return fail(s, "control character in a string");
        s->at++;
        if (c == '"')
            return true;
        if (!scan_escape(s))
            return false;
        s->at = tg_json_skip_plain(s->at, s->end);
    }
    return fail(s, "unfinished string");
}

static bool skip_digits(struct tg__json_scanner *s)
{
    const char *from = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > from;
}

static bool skip_char(struct tg__json_scanner *s, char c)
{
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool scan_number(struct tg__json_scanner *s)
{
    skip_char(s, '-');
    if (!skip_char(s, '0') && !skip_digits(s))
        return fail(s, "a number without digits");
    if (skip_char(s, '.') && !skip_digits(s))
        return fail(s, "no digit after the decimal point");
    if (skip_char(s, 'e') || skip_char(s, 'E')) {
        if (!skip_char(s, '+'))
            skip_char(s, '-');
        if (!skip_digits(s))
            return fail(s, "no digit in the exponent");
    }
    return true;
}

static bool scan_word(struct tg__json_scanner *s, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
        return fail(s, "unknown word");
    s->at += len;
    return true;
}

enum tg_json_kind tg__json_kind_at(char c)
{
    switch (c) {
    case '{':
        return TG_JSON_OBJECT;
    case '[':
        return TG_JSON_ARRAY;
    case '"':
        return TG_JSON_STRING;
    case 't':
    case 'f':
        return TG_JSON_BOOL;
    case 'n':
        return TG_JSON_NULL;
    default:
        return c == '-' || (c >= '0' && c <= '9') ? TG_JSON_NUMBER : TG_JSON_NONE;
    }
}

static bool scan_scalar(struct tg__json_scanner *s)
{
    char c = tg__json_peek(s);
    switch (tg__json_kind_at(c)) {
    case TG_JSON_STRING:
        return scan_string(s);
    case TG_JSON_NUMBER:
        return scan_number(s);
    case TG_JSON_BOOL:
        return scan_word(s, c == 't' ? "true" : "false");
    case TG_JSON_NULL:
        return scan_word(s, "null");
    case TG_JSON_NONE:
    case TG_JSON_ARRAY:
    case TG_JSON_OBJECT:
        break;
    }
    return fail(s, s->at == s->end ? "unexpected end" : "unexpected character");
}

bool tg__json_scan_key(struct tg__json_scanner *s, struct tg_json_value *key)
{
    if (tg__json_peek(s) != '"')
        return fail(s, "a key must be a string");
    const char *from = s->at;
    if (!scan_string(s))
        return false;
    *key = (struct tg_json_value){TG_JSON_STRING, from, (size_t)(s->at - from)};
    if (tg__json_peek(s) != ':')
        return fail(s, "expected a colon");
    s->at++;
    return true;
}

static bool skip_key(struct tg__json_scanner *s)
{
    struct tg_json_value unused;
    return tg__json_scan_key(s, &unused);
}

static bool in_object(const struct tg__json_scanner *s)
{
    return (s->is_object >> (s->depth - 1) & 1) != 0;
}

bool tg__json_enter(struct tg__json_scanner *s, bool object)
{
    if (s->depth == TG_JSON_DEPTH_MAX)
        return fail(s, "nested too deeply");
    uint64_t bit = UINT64_C(1) << s->depth;
    s->is_object = object ? s->is_object | bit : s->is_object & ~bit;
    s->depth++;
    s->at++;
    return true;
}

bool tg__json_next_member(struct tg__json_scanner *s)
{
    char c = tg__json_peek(s);
    if (c != ',' && c != '}')
        return fail(s, "expected , or }");
    s->at++;
    if (c == '}')
        s->depth--;
    return c == ',';
}

/* After a value: closes what ends here, down to `depth` open containers, and moves to the next value, if there
 * is one. */
static bool leave_containers(struct tg__json_scanner *s, unsigned depth)
{
    while (s->depth > depth) {
        char c = tg__json_peek(s);
        if (c == ',') {
            s->at++;
            return !in_object(s) || skip_key(s);
        }
        if (c != (in_object(s) ? '}' : ']'))
            return fail(s, in_object(s) ? "expected , or }" : "expected , or ]");
        s->at++;
        s->depth--;
    }
    return true;
}

bool tg__json_scan_value(struct tg__json_scanner *s)
{
    unsigned depth = s->depth;
    do {
        char c = tg__json_peek(s);
        if (c == '{' || c == '[') {
            bool object = c == '{';
            if (!tg__json_enter(s, object))
                return false;
            if (tg__json_peek(s) != (object ? '}' : ']')) {
                if (object && !skip_key(s))
                    return false;
                continue;
            }
        } else if (!scan_scalar(s)) {
            return false;
        }
        if (!leave_containers(s, depth))
            return false;
    } while (s->depth > depth);
    return true;
}
