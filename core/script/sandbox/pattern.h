/* pattern.h - Lua's patterns over bytes, in steps that can be counted and stopped.
 *
 * What LuaJIT's own functions match, this matches, with the same captures and the same words for a wrong
 * pattern; but a pattern that backtracks for ever asks `expired` on the way. Knows no Lua state.
 */
#ifndef TG_SCRIPT_PATTERN_H
#define TG_SCRIPT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#define TG_PATTERN_CAPTURES 32

enum tg_pattern_result {
    TG_PATTERN_NONE,
    TG_PATTERN_FOUND,
    TG_PATTERN_WRONG,  /* `error` says why */
    TG_PATTERN_EXPIRED /* `expired` said so */
};

/* A pattern and the text that it is matched against, in the caller's storage; both borrowed. */
struct tg_pattern {
    const char *text;
    const char *text_end;
    const char *pattern;       /* ends with its first zero byte; a leading ^ is taken off by init */
    bool (*expired)(void *ud); /* asked every few thousand steps; NULL: never */
    void *ud;
    bool anchored;

    /* After FOUND, until the next use. */
    const char *from;
    const char *to;
    int captures;
    struct {
        const char *at;
        ptrdiff_t len; /* or one of the private marks */
    } capture[TG_PATTERN_CAPTURES];

    const char *error; /* after WRONG; static */

    /* Private. */
    enum tg_pattern_result stop;
    int depth;
    long fuel;
};

/* `pattern` must end with a zero byte. `anchors`: a leading ^ means "here only", as everywhere but in
 * gmatch, where it is a character like others. */
void tg_pattern_init(struct tg_pattern *m, const char *text, size_t len, const char *pattern,
                     bool anchors);

/* A match that begins exactly at `at`, and the first one that begins there or later (there only when
 * anchored). `at` is at most the length of the text. */
enum tg_pattern_result tg_pattern_match(struct tg_pattern *m, size_t at);
enum tg_pattern_result tg_pattern_search(struct tg_pattern *m, size_t at);

/* Capture `index` (from 0) of what was found; index 0 of a pattern without captures is the whole. A
 * position capture has `at` inside the text and *len TG_PATTERN_POSITION. NULL, or what is wrong. */
#define TG_PATTERN_POSITION ((size_t)-1)
const char *tg_pattern_capture(const struct tg_pattern *m, int index, const char **at, size_t *len);

/* False when every byte of the pattern stands for itself. */
bool tg_pattern_is_special(const char *pattern, size_t len);

#endif
