/* json_reader.h - a strict JSON (RFC 8259) pull reader over bytes in memory. Allocates nothing.
 *
 * The core looks into messages with it (type, id, data) and the client and tests read whole
 * documents. Strict: UTF-8 only, no trailing bytes, no leading zeros, no lone surrogates, depth at
 * most TG_JSON_DEPTH_MAX. Iterative: hostile nesting costs no C stack.
 */
#ifndef TG_BASE_JSON_READER_H
#define TG_BASE_JSON_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define TG_JSON_DEPTH_MAX 64

enum tg_json_kind {
    TG_JSON_NONE, /* absent */
    TG_JSON_NULL,
    TG_JSON_BOOL,
    TG_JSON_NUMBER,
    TG_JSON_STRING,
    TG_JSON_ARRAY,
    TG_JSON_OBJECT
};

/* A value inside a checked document: its raw bytes (quotes and brackets included), borrowed from
 * the document. */
struct tg_json_value {
    enum tg_json_kind kind;
    const char *raw;
    size_t len;
};

/* Checks that [data, data+len) is exactly one JSON value and returns it. On TG_ERR_PROTO error says
 * what and at which byte. */
TG_MUST enum tg_err tg_json_parse(const char *data, size_t len, struct tg_json_value *out,
                                  struct tg_error *error);

/* Member of a checked object; kind NONE when absent or when `object` is no object. The last of
 * equal keys wins (as every decoder in use here does). Escaped keys are compared decoded. */
struct tg_json_value tg_json_member(const struct tg_json_value *object, const char *key);

/* The same for several keys in one walk: values[i] is the member keys[i]. */
void tg_json_members(const struct tg_json_value *object, const char *const *keys,
                     struct tg_json_value *values, size_t count);

/* tg_json_parse and tg_json_members in one walk, for a message: its bytes are known to be UTF-8. */
TG_MUST enum tg_err tg_json_parse_members(const char *data, size_t len, struct tg_json_value *out,
                                          const char *const *keys, struct tg_json_value *values,
                                          size_t count, struct tg_error *error);

/* Walks members or elements of a checked container. Start with *cursor = 0; false at the end. For
 * arrays `key` is set to kind NONE. */
bool tg_json_next(const struct tg_json_value *container, size_t *cursor, struct tg_json_value *key,
                  struct tg_json_value *value);

/* True when `value` is a string equal to text (decoded). Most differ in the first letter. */
bool tg__json_equals(const struct tg_json_value *value, const char *text);
static inline bool tg_json_equals(const struct tg_json_value *value, const char *text)
{
    return value->kind == TG_JSON_STRING &&
           (value->raw[1] == text[0] || value->raw[1] == '\\' || text[0] == '\0') &&
           tg__json_equals(value, text);
}

/* Appends the decoded bytes of a string value. TG_ERR_INVALID when it is no string. */
TG_MUST enum tg_err tg_json_decode_string(const struct tg_json_value *value, struct tg_buffer *out);

/* Decodes into a fixed array with a NUL. TG_ERR_LIMIT when it does not fit or holds a NUL byte. */
TG_MUST enum tg_err tg_json_copy_string(const struct tg_json_value *value, char *out, size_t size);

/* 0 when it is no number; infinite when it is too large for a double. */
double tg_json_number(const struct tg_json_value *value);
bool tg_json_true(const struct tg_json_value *value); /* the literal true */

#endif
