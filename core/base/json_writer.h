/* json_writer.h - writes JSON (RFC 8259) into a tg_buffer, keeping commas and nesting right.
 *
 *     struct tg_json_writer w = tg_json_writer_on(&buffer);
 *     tg_json_begin_object(&w);
 *     tg_json_key(&w, "type"); tg_json_str(&w, "pong");
 *     tg_json_end_object(&w);
 *     if (tg_json_writer_failed(&w)) …
 *
 * Errors (out of memory, depth over 32) are sticky: write on and ask once at the end. Strings that
 * are not UTF-8 have each bad byte replaced by U+FFFD, so that the output is always valid.
 */
#ifndef TG_BASE_JSON_WRITER_H
#define TG_BASE_JSON_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

struct tg_json_writer {
    struct tg_buffer *out; /* borrowed */
    uint32_t has_item;     /* bit per depth: an item was written at this depth */
    uint8_t depth;
    bool after_key;
    bool failed;
};

struct tg_json_writer tg_json_writer_on(struct tg_buffer *out);
bool tg_json_writer_failed(const struct tg_json_writer *w);

void tg_json_begin_object(struct tg_json_writer *w);
void tg_json_end_object(struct tg_json_writer *w);
void tg_json_begin_array(struct tg_json_writer *w);
void tg_json_end_array(struct tg_json_writer *w);
/* A key of ours: it is written as it is, so it needs no escape. */
void tg_json_key(struct tg_json_writer *w, const char *key);
/* Any key. */
void tg_json_keyn(struct tg_json_writer *w, const char *key, size_t len);
void tg_json_str(struct tg_json_writer *w, const char *value); /* NULL writes null */
void tg_json_strn(struct tg_json_writer *w, const char *data, size_t len);
void tg_json_int(struct tg_json_writer *w, int64_t value);
void tg_json_uint(struct tg_json_writer *w, uint64_t value);
/* The shortest that reads back; null for NaN and infinities. */
void tg_json_real(struct tg_json_writer *w, double value);
void tg_json_bool(struct tg_json_writer *w, bool value);
void tg_json_null(struct tg_json_writer *w);
/* One value that is JSON already and trusted to be valid. */
void tg_json_raw(struct tg_json_writer *w, const void *json, size_t len);
/* All members of a JSON object, into the object that is open; it has no blanks around its braces. */
void tg_json_raw_members(struct tg_json_writer *w, const char *object, size_t len);

/* Shorthands for the common "key": value. */
void tg_json_member_str(struct tg_json_writer *w, const char *key, const char *value);
void tg_json_member_uint(struct tg_json_writer *w, const char *key, uint64_t value);
void tg_json_member_real(struct tg_json_writer *w, const char *key, double value);
void tg_json_member_bool(struct tg_json_writer *w, const char *key, bool value);
/* A wall clock in milliseconds, as RFC 3339 text. */
void tg_json_member_time(struct tg_json_writer *w, const char *key, uint64_t wall_ms);

#endif
