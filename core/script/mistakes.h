/* mistakes.h - the mistakes of a policy, all that were found and not only the first. */
#ifndef TG_SCRIPT_MISTAKES_H
#define TG_SCRIPT_MISTAKES_H

#include <stddef.h>

#include "base/error.h"

struct tg_mistakes {
    struct tg_error error; /* as many as fit, a line each */
    size_t count;
    void (*report)(void *ctx, const char *text); /* NULL, or gets each */
    void *ctx;
};

void tg_mistakes_add(struct tg_mistakes *mistakes, const char *format, ...) TG_PRINTF(2, 3);

#endif
