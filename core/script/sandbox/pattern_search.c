/* pattern_search.c - where in a text a match may begin.
 *
 * Most patterns begin with an item that must be there: then the text is passed over by that item alone.
 */
#include <string.h>

#include "script/sandbox/pattern_internal.h"

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
    *end = tg__pattern_item_end(m, p);
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

bool tg_pattern_is_special(const char *pattern, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (pattern[i] != '\0' && strchr("^$*+?.([%-", pattern[i]) != NULL)
            return true;
    }
    return false;
}
