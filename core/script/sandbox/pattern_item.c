/* pattern_item.c - the items of a pattern: classes of characters and where an item ends. */
#include "script/sandbox/pattern_internal.h"

enum class { CONTROL = 1, SPACE = 2, PUNCT = 4, DIGIT = 8, HEX = 16, UPPER = 32, LOWER = 64 };
#define ALPHA (UPPER | LOWER)
#define ALNUM (ALPHA | DIGIT)
#define GRAPH (ALNUM | PUNCT)

/* ASCII, whatever the locale. */
const unsigned char tg__pattern_classes[256] = {
    [0x00 ... 0x08] = CONTROL,   [0x09 ... 0x0d] = CONTROL | SPACE,
    [0x0e ... 0x1f] = CONTROL,   [' '] = SPACE,
    ['!' ... '/'] = PUNCT,       ['0' ... '9'] = DIGIT | HEX,
    [':' ... '@'] = PUNCT,       ['A' ... 'F'] = UPPER | HEX,
    ['G' ... 'Z'] = UPPER,       ['[' ... '`'] = PUNCT,
    ['a' ... 'f'] = LOWER | HEX, ['g' ... 'z'] = LOWER,
    ['{' ... '~'] = PUNCT,       [0x7f] = CONTROL,
};

/* Which classes a letter after % names. */
const unsigned char tg__pattern_named[256] = {
    ['a'] = ALPHA, ['c'] = CONTROL, ['d'] = DIGIT, ['g'] = GRAPH, ['l'] = LOWER,
    ['p'] = PUNCT, ['s'] = SPACE,   ['u'] = UPPER, ['w'] = ALNUM, ['x'] = HEX,
};

const char *tg__pattern_fail(struct tg_pattern *m, const char *why)
{
    m->stop = TG_PATTERN_WRONG;
    m->error = why;
    return NULL;
}

bool tg__pattern_refuel(struct tg_pattern *m)
{
    m->fuel = FUEL;
    if (m->expired != NULL && m->expired(m->ud))
        m->stop = TG_PATTERN_EXPIRED;
    return m->stop == TG_PATTERN_NONE;
}

/* What follows the set whose [ is before `p`. */
static const char *end_of_set(struct tg_pattern *m, const char *p)
{
    if (*p == '^')
        p++;
    do {
        if (*p == '\0')
            return tg__pattern_fail(m, "malformed pattern (missing ']')");
        if (*p++ == ESCAPE && *p != '\0')
            p++;
    } while (*p != ']');
    return p + 1;
}

const char *tg__pattern_item_end(struct tg_pattern *m, const char *p)
{
    const char *end;

    switch (*p) {
    case ESCAPE:
        return p[1] == '\0' ? tg__pattern_fail(m, "malformed pattern (ends with '%')") : p + 2;
    case '[':
        end = end_of_set(m, p + 1);
        return end != NULL && spend(m, (size_t)(end - p)) ? end : NULL;
    default:
        return p + 1;
    }
}
