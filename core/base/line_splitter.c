/* line_splitter.c - lines out of bytes that come in pieces.
 *
 * A line that is whole in the bytes fed is handed out as it lies there; only one that is cut is copied.
 */
#include "base/line_splitter.h"

#include <string.h>

void tg_line_splitter_fini(struct tg_line_splitter *splitter)
{
    tg_buffer_fini(&splitter->partial);
}

/* Bytes before the end of the line; `len` when there is none. */
static size_t find_end(const struct tg_line_splitter *splitter, const char *data, size_t len)
{
    const char *lf = memchr(data, '\n', len);
    size_t end = lf == NULL ? len : (size_t)(lf - data);
    const char *cr = splitter->lone_cr ? memchr(data, '\r', end) : NULL;

    return cr == NULL ? end : (size_t)(cr - data);
}

/* A CR at the end of what is here may be the first half of a CRLF, and then is none of the line. */
static bool too_long(const struct tg_line_splitter *splitter, const char *data, size_t len)
{
    const char *before = (const char *)tg_buffer_head(&splitter->partial);
    size_t total = splitter->partial.len + len;
    char last = len > 0 ? data[len - 1] : total > 0 ? before[total - 1] : '\0';

    return total > splitter->max + (!splitter->lone_cr && last == '\r' ? 1 : 0);
}

static struct tg_line whole(const struct tg_line_splitter *splitter, const char *data, size_t len)
{
    if (!splitter->lone_cr && len > 0 && data[len - 1] == '\r')
        len--;
    return (struct tg_line){data, len};
}

enum tg_err tg_line_splitter_feed(struct tg_line_splitter *splitter, const void *bytes, size_t len,
                                  size_t *used, struct tg_line *line)
{
    const char *data = bytes;
    size_t skipped = 0;

    *line = (struct tg_line){NULL, 0};
    *used = len;
    if (splitter->given) {
        tg_buffer_clear(&splitter->partial);
        splitter->given = false;
    }
    if (len == 0)
        return TG_ERR_OK;
    if (splitter->after_cr && data[0] == '\n')
        skipped = 1;
    splitter->after_cr = false;
    data += skipped;
    len -= skipped;
    size_t end = len == 0 ? 0 : find_end(splitter, data, len);
    if (too_long(splitter, data, end))
        return TG_ERR_LIMIT;
    bool ended = end < len;
    if ((!ended && end > 0) || splitter->partial.len > 0) {
        if (tg_buffer_append(&splitter->partial, data, end) != TG_ERR_OK)
            return TG_ERR_NOMEM;
    }
    if (!ended)
        return TG_ERR_OK;
    *used = skipped + end + 1;
    splitter->after_cr = data[end] == '\r';
    splitter->given = splitter->partial.len > 0;
    *line = splitter->given ? whole(splitter, (const char *)tg_buffer_head(&splitter->partial),
                                    splitter->partial.len)
                            : whole(splitter, data, end);
    return TG_ERR_OK;
}

struct tg_line tg_line_splitter_rest(struct tg_line_splitter *splitter)
{
    bool nothing = splitter->given || splitter->partial.len == 0;

    splitter->given = true;
    return nothing ? (struct tg_line){NULL, 0}
                   : whole(splitter, (const char *)tg_buffer_head(&splitter->partial),
                           splitter->partial.len);
}
