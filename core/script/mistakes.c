/* mistakes.c - the mistakes of a policy, all that were found and not only the first. */
#include "script/mistakes.h"

#include <stdio.h>
#include <string.h>

void tg_mistakes_add(struct tg_mistakes *mistakes, const char *format, ...)
{
    char text[sizeof mistakes->error.text];
    char *all = mistakes->error.text;
    size_t used = strlen(all), len;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    len = strlen(text);
    mistakes->count++;
    if (mistakes->report != NULL)
        mistakes->report(mistakes->ctx, text);
    if (used == 0)
        (void)tg_error_set(&mistakes->error, TG_ERR_SCRIPT, "%s", text);
    else if (used + len + 2 <= sizeof mistakes->error.text) {
        all[used] = '\n';
        memcpy(all + used + 1, text, len + 1);
    }
}
