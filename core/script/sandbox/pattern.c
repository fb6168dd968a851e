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
#include <string.h>

#include "script/sandbox/pattern_internal.h"

/* As LuaJIT's. */
#define DEPTH_MAX 200

#define LEN_UNFINISHED ((ptrdiff_t)-1)
#define LEN_POSITION ((ptrdiff_t)-2)

/* --- items -------------------------------------------------------------------------------------- */

static const char *match_rest(struct tg_pattern *m, const char *s, const char *p);

/* Passes the bytes that the item matches, as many as until the next look at the budget. */
static const char *pass_items(struct tg_pattern *m, const char *s, const char *p, const char *end)
{
    const char *limit = m->text_end - s >= m->fuel ? s + (m->fuel - 1) : m->text_end;
    const char *at = s;

    if (*p == ESCAPE && tg__pattern_named[byte_at(p + 1) | 0x20] != 0 && (p[1] & 0xc0) == 0x40) {
        unsigned char mask = tg__pattern_named[byte_at(p + 1) | 0x20];
        bool inside = (p[1] & 0x20) != 0;
        while (at < limit && ((tg__pattern_classes[byte_at(at)] & mask) != 0) == inside)
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
        return tg__pattern_fail(m, "unbalanced pattern");
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
        return tg__pattern_fail(m, "missing '[' after '%f' in pattern");
    const char *end = tg__pattern_item_end(m, p);
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
        return tg__pattern_fail(m, "too many captures");
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
        return tg__pattern_fail(m, "invalid pattern capture");
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
        return tg__pattern_fail(m, "invalid capture index");
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
    const char *end = tg__pattern_item_end(m, *p);
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
        return tg__pattern_fail(m, "pattern too complex");
    do {
        if (!spend(m, 1))
            return NULL;
    } while (step(m, &s, &p) == STEP_ON);
    m->depth--;
    return m->stop == TG_PATTERN_NONE ? s : NULL;
}

/* --- public ------------------------------------------------------------------------------------- */

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
