/* line_splitter.h - lines out of bytes that come in pieces.
 */
#ifndef TG_BASE_LINE_SPLITTER_H
#define TG_BASE_LINE_SPLITTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

/* Zero-initialise, then set max and lone_cr. */
struct tg_line_splitter {
    struct tg_buffer partial; /* owned; the line so far */
    size_t max;               /* bytes of a line, without its end */
    bool lone_cr;             /* a CR ends a line, too, and not only LF and CRLF */
    bool after_cr;            /* an LF that comes now belongs to the line before */
    bool given;               /* `partial` is a line that was handed out */
};

struct tg_line {
    const char
        *data; /* into the bytes or the splitter; valid until its next call. NULL: none yet */
    size_t len;
};

void tg_line_splitter_fini(struct tg_line_splitter *splitter);

/* Takes bytes up to the end of the next line, *used of them; all when there is no end, and line->data is
 * NULL then. TG_ERR_LIMIT: the line is longer than max; TG_ERR_NOMEM. Not to be used after an error. */
TG_MUST enum tg_err tg_line_splitter_feed(struct tg_line_splitter *splitter, const void *data,
                                          size_t len, size_t *used, struct tg_line *line);

/* At the end of the bytes: what is there of a line without an end; data NULL: nothing. */
struct tg_line tg_line_splitter_rest(struct tg_line_splitter *splitter);

#endif
