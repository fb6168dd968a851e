/* suggest.c - edit distance with swaps of neighbours ("lsiten"), three rows at a time.
 */
#include "base/suggest.h"

#include <stdbool.h>
#include <string.h>

#define NAME_MAX_LEN 63

static char folded(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '-' ? '_' : c;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps that turn one into the other. Both are at most
 * NAME_MAX_LEN long. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NAME_MAX_LEN + 1];
    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            bool same = folded(a[i - 1]) == folded(b[j - 1]);
            row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + (same ? 0 : 1));
            if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) &&
                folded(a[i - 2]) == folded(b[j - 1]))
                row[j] = least(row[j], rows[(i - 2) % 3][j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

const char *tg_suggest(const char *name, const char *const *candidates, size_t count)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_LEN)
        return NULL;
    size_t limit = len / 3 < 2 ? 2 : len / 3;
    /* A name of one or two letters must keep one of them, or anything short would do. */
    limit = least(limit, len - 1);

    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t candidate_len = strlen(candidates[i]);
        if (candidate_len > NAME_MAX_LEN)
            continue;
        size_t found = distance(name, len, candidates[i], candidate_len);
        if (found > limit || (nearest != NULL && found == limit))
            continue;
        nearest = candidates[i];
        limit = found;
    }
    return nearest;
}
