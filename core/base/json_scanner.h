/* json_scanner.h - finds where a JSON value ends and whether it is one. For json_reader only.
 */
#ifndef TG_BASE_JSON_SCANNER_H
#define TG_BASE_JSON_SCANNER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json_reader.h"

struct tg__json_scanner {
    const char *at; /* borrowed, like end */
    const char *end;
    const char *what;   /* the mistake at `at`, NULL so far */
    uint64_t is_object; /* bit per depth, from 0: that container is an object */
    unsigned depth;     /* open containers */
};

/* Scans one whole value from `at`, its leading white space skipped, and leaves `at` behind it. On
 * false `what` says what is wrong at `at`. */
bool tg__json_scan_value(struct tg__json_scanner *s);
/* The same for a key and its colon; `key` is its raw text. */
bool tg__json_scan_key(struct tg__json_scanner *s, struct tg_json_value *key);
/* Into an object, or an array, at its bracket. */
bool tg__json_enter(struct tg__json_scanner *s, bool object);
/* After a member of the object that was entered: true when another one follows. When none does, `at` is behind
 * the brace, or `what` is set. */
bool tg__json_next_member(struct tg__json_scanner *s);

/* The next byte after white space, 0 at the end (a NUL byte is no JSON either). */
char tg__json_peek_space(struct tg__json_scanner *s);
static inline char tg__json_peek(struct tg__json_scanner *s)
{
    /* What machines write has no white space. */
    return s->at < s->end && (uint8_t)*s->at > ' ' ? *s->at : tg__json_peek_space(s);
}

/* What a value that starts with `c` is; TG_JSON_NONE when none does. */
enum tg_json_kind tg__json_kind_at(char c);

/* At a 'u'; *at moves behind the escape, or behind both of a surrogate pair. -1: no character, and *at
 * stays. */
int32_t tg__json_unicode_escape(const char **at, const char *end);

/* What stands for a backslash and this letter; 0 when nothing does. */
char tg__json_plain_escape(char letter);

#endif
