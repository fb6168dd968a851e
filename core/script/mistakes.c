/* mistakes.c - the mistakes of a policy, all that were found and not only the first. */
#include "script/mistakes.h"

#include <stdio.h>
#include <string.h>

void tg_mistakes_add(struct tg_mistakes *mistakes, const char *format, ...)
{
    char text[sizeof mistakes->error.text];
    char *all = mistakes->error.text;
    size_t used = strlen(all);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    mistakes->count++;
    if (mistakes->report != NULL)
        mistakes->report(mistakes->ctx, text);
    if (used == 0)
        (void)tg_error_set(&mistakes->error, TG_ERR_SCRIPT, "%s", text);
    else if (used + strlen(text) + 2 <= sizeof mistakes->error.text)
        (void)snprintf(all + used, sizeof mistakes->error.text - used, "\n%s", text);
}
