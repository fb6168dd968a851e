/* suggest.h - "did you mean": the nearest name in a list, by edit distance.
 */
#ifndef TG_BASE_SUGGEST_H
#define TG_BASE_SUGGEST_H

#include <stddef.h>

/* The candidate nearest to `name`, or NULL when none is near enough to help (distance over a third
 * of the length, at least 2). Case is ignored, '-' and '_' are the same. */
const char *tg_suggest(const char *name, const char *const *candidates, size_t count);

#endif
