/* pattern.c - Lua's patterns over bytes, in steps that can be counted and stopped.
 *
 * The classic recursive matcher: each item of the pattern is tried at the text's head, repetition goes
 * as far as it can (or as little as it must) and gives back step by step. A call of itself for the rest
 * of the pattern is what a capture or a repetition costs, and DEPTH_MAX bounds those.
 *
 * I1  Every loop over the text or the pattern pays for its rounds with spend(), so between two looks at
 *     the budget there is a bounded amount of work (one item of the pattern, at most).
 * I2  Once `stop` is set every function returns NULL up to the public one, which reports it.
 */
#include "script/pattern.h"

#include <string.h>

/* As LuaJIT's. */
#define DEPTH_MAX 200
/* Steps between two looks at the budget; a step is one to a few nanoseconds. */
#define FUEL 8192
/* Bytes that memchr and memcmp pass in about the time of a step. */
#define BYTES_A_STEP 16

#define LEN_UNFINISHED ((ptrdiff_t)-1)
#define LEN_POSITION ((ptrdiff_t)-2)

#define ESCAPE '%'

/* What is done for each byte: the two pointers that it moves shall stay in registers. */
#define HOT __attribute__((always_inline)) inline

/* --- characters --------------------------------------------------------------------------------- */

enum class { CONTROL = 1, SPACE = 2, PUNCT = 4, DIGIT = 8, HEX = 16, UPPER = 32, LOWER = 64 };
#define ALPHA (UPPER | LOWER)
#define ALNUM (ALPHA | DIGIT)
#define GRAPH (ALNUM | PUNCT)

/* ASCII, whatever the locale. */
static const unsigned char classes[256] = {
    [0x00 ... 0x08] = CONTROL,   [0x09 ... 0x0d] = CONTROL | SPACE,
    [0x0e ... 0x1f] = CONTROL,   [' '] = SPACE,
    ['!' ... '/'] = PUNCT,       ['0' ... '9'] = DIGIT | HEX,
    [':' ... '@'] = PUNCT,       ['A' ... 'F'] = UPPER | HEX,
    ['G' ... 'Z'] = UPPER,       ['[' ... '`'] = PUNCT,
    ['a' ... 'f'] = LOWER | HEX, ['g' ... 'z'] = LOWER,
    ['{' ... '~'] = PUNCT,       [0x7f] = CONTROL,
};

/* Which classes a letter after % names. */
static const unsigned char named[256] = {
    ['a'] = ALPHA, ['c'] = CONTROL, ['d'] = DIGIT, ['g'] = GRAPH, ['l'] = LOWER,
    ['p'] = PUNCT, ['s'] = SPACE,   ['u'] = UPPER, ['w'] = ALNUM, ['x'] = HEX,
};

static unsigned char byte_at(const char *p)
{
    return (unsigned char)*p;
}

HOT static bool is_in_class(unsigned char c, unsigned char name)
{
    unsigned char lower = name | 0x20;

    if ((name & 0xc0) != 0x40)
        return name == c;
    if (named[lower] != 0)
        return ((classes[c] & named[lower]) != 0) == (name == lower);
    if (lower == 'z')
        return (c == 0) == (name == lower);
    return name == c;
}

/* `set` is at its [ and `end` at its ]. */
static bool is_in_set(unsigned char c, const char *set, const char *end)
{
    bool inside = true;

    if (set[1] == '^') {
        inside = false;
        set++;
    }
    while (++set < end) {
        if (*set == ESCAPE) {
            set++;
            if (is_in_class(c, byte_at(set)))
                return inside;
        } else if (set[1] == '-' && set + 2 < end) {
            set += 2;
            if (byte_at(set - 2) <= c && c <= byte_at(set))
                return inside;
        } else if (byte_at(set) == c) {
            return inside;
        }
    }
    return !inside;
}

/* The item from `p` up to `end`, without what repeats it. */
HOT static bool is_item(unsigned char c, const char *p, const char *end)
{
    switch (*p) {
    case '.':
        return true;
    case ESCAPE:
        return is_in_class(c, byte_at(p + 1));
    case '[':
        return is_in_set(c, p, end - 1);
    default:
        return byte_at(p) == c;
    }
}

/* --- the account -------------------------------------------------------------------------------- */

static const char *fail(struct tg_pattern *m, const char *why)
{
    m->stop = TG_PATTERN_WRONG;
    m->error = why;
    return NULL;
}

__attribute__((noinline, cold)) static bool refuel(struct tg_pattern *m)
{
    m->fuel = FUEL;
    if (m->expired != NULL && m->expired(m->ud))
        m->stop = TG_PATTERN_EXPIRED;
    return m->stop == TG_PATTERN_NONE;
}

/* False: stop. */
HOT static bool spend(struct tg_pattern *m, size_t steps)
{
    m->fuel -= (long)steps;
    return m->fuel > 0 || refuel(m);
}

/* --- items -------------------------------------------------------------------------------------- */

/* What follows the set whose [ is before `p`. */
static const char *end_of_set(struct tg_pattern *m, const char *p)
{
    if (*p == '^')
        p++;
    do {
        if (*p == '\0')
            return fail(m, "malformed pattern (missing ']')");
        if (*p++ == ESCAPE && *p != '\0')
            p++;
    } while (*p != ']');
    return p + 1;
}

/* What follows the item at `p`; NULL when it is wrong or the time is up. */
static const char *end_of_item(struct tg_pattern *m, const char *p)
{
    const char *end;

    switch (*p) {
    case ESCAPE:
        return p[1] == '\0' ? fail(m, "malformed pattern (ends with '%')") : p + 2;
    case '[':
        end = end_of_set(m, p + 1);
        return end != NULL && spend(m, (size_t)(end - p)) ? end : NULL;
    default:
        return p + 1;
    }
}

/* A set is walked for each byte that is held against it. */
static size_t cost_of(const char *p, const char *end)
{
    return *p == '[' ? (size_t)(end - p) : 1;
}

static const char *match_rest(struct tg_pattern *m, const char *s, const char *p);

/* Passes the bytes that the item matches, as many as until the next look at the budget. */
static const char *pass_items(struct tg_pattern *m, const char *s, const char *p, const char *end)
{
    const char *limit = m->text_end - s >= m->fuel ? s + (m->fuel - 1) : m->text_end;
    const char *at = s;

    if (*p == ESCAPE && named[byte_at(p + 1) | 0x20] != 0 && (p[1] & 0xc0) == 0x40) {
        unsigned char mask = named[byte_at(p + 1) | 0x20];
        bool inside = (p[1] & 0x20) != 0;
        while (at < limit && ((classes[byte_at(at)] & mask) != 0) == inside)
            at++;
    } else {
        while (at < limit && is_item(byte_at(at), p, end))
            at++;
    }
    m->fuel -= at - s;
    return at;
}

/* * and +: as many as there are, then fewer and fewer. */
static const char *match_most(struct tg_pattern *m, const char *s, const char *p, const char *end)
{
    size_t cost = cost_of(p, end);
    const char *at = *p == '.' ? m->text_end : s;

    if (cost == 1)
        at = pass_items(m, at, p, end);
    while (at < m->text_end && is_item(byte_at(at), p, end)) {
        at++;
        if (!spend(m, cost))
            return NULL;
    }
    for (;; at--) {
        const char *matched = match_rest(m, at, end + 1);
        if (matched != NULL || m->stop != TG_PATTERN_NONE || at == s)
            return matched;
    }
}

/* -: as few as will do. */
static const char *match_fewest(struct tg_pattern *m, const char *s, const char *p, const char *end)
{
    size_t cost = cost_of(p, end);

    for (;;) {
        const char *matched = match_rest(m, s, end + 1);
        if (matched != NULL || m->stop != TG_PATTERN_NONE)
            return matched;
        if (s >= m->text_end || !is_item(byte_at(s), p, end) || !spend(m, cost))
            return NULL;
        s++;
    }
}

/* %bxy, with `p` at x. */
static const char *match_balance(struct tg_pattern *m, const char *s, const char *p)
{
    size_t open = 1;

    if (p[0] == '\0' || p[1] == '\0')
        return fail(m, "unbalanced pattern");
    if (s >= m->text_end || *s != p[0])
        return NULL;
    while (++s < m->text_end) {
        if (!spend(m, 1))
            return NULL;
        if (*s == p[1]) {
            if (--open == 0)
                return s + 1;
        } else if (*s == p[0]) {
            open++;
        }
    }
    return NULL;
}

/* %f[set], with `p` at what follows %f: where the set begins to hold. Returns what follows it. */
static const char *match_frontier(struct tg_pattern *m, const char *s, const char *p)
{
    unsigned char before = s == m->text ? 0 : byte_at(s - 1);
    unsigned char after = s == m->text_end ? 0 : byte_at(s);

    if (*p != '[')
        return fail(m, "missing '[' after '%f' in pattern");
    const char *end = end_of_item(m, p);
    if (end == NULL || is_in_set(before, p, end - 1) || !is_in_set(after, p, end - 1))
        return NULL;
    return end;
}

/* --- captures ----------------------------------------------------------------------------------- */

/* With `p` at the parenthesis. */
static const char *open_capture(struct tg_pattern *m, const char *s, const char *p)
{
    bool position = p[1] == ')';

    if (m->captures >= TG_PATTERN_CAPTURES)
        return fail(m, "too many captures");
    m->capture[m->captures].at = s;
    m->capture[m->captures].len = position ? LEN_POSITION : LEN_UNFINISHED;
    m->captures++;
    const char *matched = match_rest(m, s, position ? p + 2 : p + 1);
    if (matched == NULL)
        m->captures--;
    return matched;
}

static const char *close_capture(struct tg_pattern *m, const char *s, const char *p)
{
    int index = m->captures - 1;

    while (index >= 0 && m->capture[index].len != LEN_UNFINISHED)
        index--;
    if (index < 0)
        return fail(m, "invalid pattern capture");
    m->capture[index].len = s - m->capture[index].at;
    const char *matched = match_rest(m, s, p + 1);
    if (matched == NULL)
        m->capture[index].len = LEN_UNFINISHED;
    return matched;
}

/* %1: the text of an earlier capture once more. */
static const char *match_again(struct tg_pattern *m, const char *s, char digit)
{
    int index = digit - '1';

    if (index < 0 || index >= m->captures || m->capture[index].len == LEN_UNFINISHED)
        return fail(m, "invalid capture index");
    /* A position is longer than any text. */
    size_t len = (size_t)m->capture[index].len;
    if ((size_t)(m->text_end - s) < len || !spend(m, len / BYTES_A_STEP) ||
        memcmp(m->capture[index].at, s, len) != 0)
        return NULL;
    return s + len;
}

/* --- the matcher -------------------------------------------------------------------------------- */

enum step { STEP_ON, STEP_ENDED, STEP_ITEM };

/* What % means beyond a class. ON moves both on; ENDED is "no match"; ITEM: it is a class. */
static enum step step_escape(struct tg_pattern *m, const char **s, const char **p)
{
    const char *after;
    char kind = (*p)[1];
    int moved;

    if (kind == 'b') {
        after = match_balance(m, *s, *p + 2);
        moved = 4;
    } else if (kind >= '0' && kind <= '9') {
        after = match_again(m, *s, kind);
        moved = 2;
    } else if (kind == 'f') {
        const char *rest = match_frontier(m, *s, *p + 2);
        if (rest != NULL)
            *p = rest;
        return rest != NULL ? STEP_ON : STEP_ENDED;
    } else {
        return STEP_ITEM;
    }
    if (after == NULL)
        return STEP_ENDED;
    *s = after;
    *p += moved;
    return STEP_ON;
}

/* One item with what repeats it. ENDED: *s is how the match as a whole ended. */
HOT static enum step step_item(struct tg_pattern *m, const char **s, const char **p)
{
    const char *end = end_of_item(m, *p);
    bool here = end != NULL && *s < m->text_end && is_item(byte_at(*s), *p, end);
    const char *matched = NULL;

    if (end == NULL) {
        *s = NULL;
        return STEP_ENDED;
    }
    switch (*end) {
    case '?':
        matched = here ? match_rest(m, *s + 1, end + 1) : NULL;
        if (matched != NULL || m->stop != TG_PATTERN_NONE)
            break;
        *p = end + 1;
        return STEP_ON;
    case '*':
        matched = match_most(m, *s, *p, end);
        break;
    case '+':
        matched = here ? match_most(m, *s + 1, *p, end) : NULL;
        break;
    case '-':
        matched = match_fewest(m, *s, *p, end);
        break;
    default:
        if (!here)
            break;
        *s += 1;
        *p = end;
        return STEP_ON;
    }
    *s = matched;
    return STEP_ENDED;
}

HOT static enum step step(struct tg_pattern *m, const char **s, const char **p)
{
    enum step taken = STEP_ITEM;

    switch (**p) {
    case '(':
        *s = open_capture(m, *s, *p);
        return STEP_ENDED;
    case ')':
        *s = close_capture(m, *s, *p);
        return STEP_ENDED;
    case '\0':
        return STEP_ENDED;
    case '$':
        if ((*p)[1] != '\0')
            break;
        if (*s != m->text_end)
            *s = NULL;
        return STEP_ENDED;
    case ESCAPE:
        taken = step_escape(m, s, p);
        if (taken == STEP_ENDED)
            *s = NULL;
        break;
    default:
        break;
    }
    return taken == STEP_ITEM ? step_item(m, s, p) : taken;
}

/* Where the match of all that is left of the pattern ends. */
static const char *match_rest(struct tg_pattern *m, const char *s, const char *p)
{
    if (++m->depth > DEPTH_MAX)
        return fail(m, "pattern too complex");
    do {
        if (!spend(m, 1))
            return NULL;
    } while (step(m, &s, &p) == STEP_ON);
    m->depth--;
    return m->stop == TG_PATTERN_NONE ? s : NULL;
}

/* --- public ------------------------------------------------------------------------------------- */

void tg_pattern_init(struct tg_pattern *m, const char *text, size_t len, const char *pattern,
                     bool anchors)
{
    m->text = text;
    m->text_end = text + len;
    m->anchored = anchors && *pattern == '^';
    m->pattern = pattern + (m->anchored ? 1 : 0);
    m->expired = NULL;
    m->ud = NULL;
    m->captures = 0;
    m->error = NULL;
    m->stop = TG_PATTERN_NONE;
    m->fuel = FUEL;
}

enum tg_pattern_result tg_pattern_match(struct tg_pattern *m, size_t at)
{
    m->captures = 0;
    m->depth = 0;
    m->from = m->text + at;
    m->to = match_rest(m, m->from, m->pattern);
    if (m->stop != TG_PATTERN_NONE)
        return m->stop;
    return m->to != NULL ? TG_PATTERN_FOUND : TG_PATTERN_NONE;
}

/* The item that every match begins with, after at most a few parentheses; NULL when there is no such item or
 * it is wrong. */
static const char *first_item(struct tg_pattern *m, const char **end)
{
    const char *p = m->pattern;

    for (int i = 0; i < 3 && *p == '('; i++)
        p += p[1] == ')' ? 2 : 1;
    if (*p == '\0' || *p == '(' || *p == ')' || *p == '$')
        return NULL;
    if (*p == ESCAPE && (p[1] == 'b' || p[1] == 'f' || (p[1] >= '0' && p[1] <= '9')))
        return NULL;
    *end = end_of_item(m, p);
    return *end == NULL || (**end != '\0' && strchr("*?-", **end) != NULL) ? NULL : p;
}

/* The next place at or after `at` where the item matches; NULL: none, or the time is up. */
static const char *next_item(struct tg_pattern *m, const char *at, const char *p, const char *end)
{
    bool literal = end == p + 1 && *p != '.';
    size_t cost = cost_of(p, end);

    if (literal) {
        const char *found = memchr(at, *p, (size_t)(m->text_end - at));
        return found != NULL && spend(m, (size_t)(found - at) / BYTES_A_STEP) ? found : NULL;
    }
    while (at < m->text_end && !is_item(byte_at(at), p, end)) {
        at++;
        if (!spend(m, cost))
            return NULL;
    }
    return at < m->text_end ? at : NULL;
}

enum tg_pattern_result tg_pattern_search(struct tg_pattern *m, size_t at)
{
    size_t len = (size_t)(m->text_end - m->text);
    const char *end = NULL;
    const char *item = m->anchored ? NULL : first_item(m, &end);
    enum tg_pattern_result result;

    if (m->stop != TG_PATTERN_NONE)
        return m->stop;
    for (;; at++) {
        if (item != NULL) {
            const char *next = next_item(m, m->text + at, item, end);
            if (next == NULL)
                return m->stop;
            at = (size_t)(next - m->text);
        }
        result = tg_pattern_match(m, at);
        if (result != TG_PATTERN_NONE || m->anchored || at >= len)
            return result;
    }
}

const char *tg_pattern_capture(const struct tg_pattern *m, int index, const char **at, size_t *len)
{
    if (index == 0 && m->captures == 0) {
        *at = m->from;
        *len = (size_t)(m->to - m->from);
        return NULL;
    }
    if (index < 0 || index >= m->captures)
        return "invalid capture index";
    if (m->capture[index].len == LEN_UNFINISHED)
        return "unfinished capture";
    *at = m->capture[index].at;
    *len =
        m->capture[index].len == LEN_POSITION ? TG_PATTERN_POSITION : (size_t)m->capture[index].len;
    return NULL;
}

bool tg_pattern_is_special(const char *pattern, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (pattern[i] != '\0' && strchr("^$*+?.([%-", pattern[i]) != NULL)
            return true;
    }
    return false;
}
