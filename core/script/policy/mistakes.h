/* mistakes.h - what is wrong with a policy: every finding as a record, not only the first as a text.
 *
 * A text reads "PATH:LINE: what is wrong; what to do". `run` shows it as it is; the record is made by
 * cutting it at these marks, so that both say the same.
 */
#ifndef TG_SCRIPT_MISTAKES_H
#define TG_SCRIPT_MISTAKES_H

#include <stddef.h>

#include "base/error.h"

enum tg_severity { TG_SEVERITY_ERROR, TG_SEVERITY_WARNING };

struct tg_finding {
    enum tg_severity severity;
    const char *code; /* one of check/codes.h, or luacheck's */
    const char *file; /* "" when the text names none */
    int line;         /* from 1; 0: not known */
    int column;       /* from 1; 0: not known */
    const char *message;
    const char *hint; /* what to do; "" when there is nothing to say */
};

/* The finding and its strings are borrowed until the function returns. */
typedef void (*tg_finding_fn)(void *ctx, const struct tg_finding *finding);

struct tg_mistakes {
    struct tg_error error; /* as many as fit, a line each */
    size_t count;          /* warnings do not count */
    tg_finding_fn report;  /* NULL, or gets each */
    void *ctx;
};

/* Something for which the policy is refused. `code` is a constant. */
void tg_mistakes_add(struct tg_mistakes *mistakes, const char *code, const char *format, ...)
    TG_PRINTF(3, 4);
/* Something that only `check` tells. */
void tg_mistakes_warn(struct tg_mistakes *mistakes, const char *code, const char *format, ...)
    TG_PRINTF(3, 4);

/* Cuts a text in place and fills in file, line, message and hint of the finding. */
void tg_finding_cut(struct tg_finding *finding, char *text);
/* The same for a text without a place: message and hint. */
void tg_finding_cut_hint(struct tg_finding *finding, char *text);

#endif
