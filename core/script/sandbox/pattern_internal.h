/* pattern_internal.h - what the matcher's files share: one byte against one item, and the account of steps.
 *
 * In a header, since it is done for each byte of the text.
 */
#ifndef TG_SCRIPT_PATTERN_INTERNAL_H
#define TG_SCRIPT_PATTERN_INTERNAL_H

#include "script/sandbox/pattern.h"

/* Steps between two looks at the budget; a step is one to a few nanoseconds. */
#define FUEL 8192
/* Bytes that memchr and memcmp pass in about the time of a step. */
#define BYTES_A_STEP 16
#define ESCAPE '%'

/* What is done for each byte: the two pointers that it moves shall stay in registers. */
#define HOT __attribute__((always_inline)) inline

/* By byte: the classes that it is in (ASCII, whatever the locale), and those that it names after a %. */
extern const unsigned char tg__pattern_classes[256];
extern const unsigned char tg__pattern_named[256];

/* Returns NULL. */
const char *tg__pattern_fail(struct tg_pattern *m, const char *why);
bool tg__pattern_refuel(struct tg_pattern *m);
/* What follows the item at `p`; NULL when it is wrong or the time is up. */
const char *tg__pattern_item_end(struct tg_pattern *m, const char *p);

HOT static unsigned char byte_at(const char *p)
{
    return (unsigned char)*p;
}

HOT static bool is_in_class(unsigned char c, unsigned char name)
{
    unsigned char lower = name | 0x20;

    if ((name & 0xc0) != 0x40)
        return name == c;
    if (tg__pattern_named[lower] != 0)
        return ((tg__pattern_classes[c] & tg__pattern_named[lower]) != 0) == (name == lower);
    if (lower == 'z')
        return (c == 0) == (name == lower);
    return name == c;
}

/* `set` is at its [ and `end` at its ]. */
HOT static bool is_in_set(unsigned char c, const char *set, const char *end)
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

/* False: stop. */
HOT static bool spend(struct tg_pattern *m, size_t steps)
{
    m->fuel -= (long)steps;
    return m->fuel > 0 || tg__pattern_refuel(m);
}

/* A set is walked for each byte that is held against it. */
HOT static size_t cost_of(const char *p, const char *end)
{
    return *p == '[' ? (size_t)(end - p) : 1;
}

#endif
