/* mistakes.c - what is wrong with a policy: every finding as a record, not only the first as a text. */
#include "script/policy/mistakes.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a text "PATH:LINE: …" the colon before LINE; NULL when there is none. */
static char *find_line(char *text)
{
    for (char *at = strchr(text, ':'); at != NULL; at = strchr(at + 1, ':')) {
        size_t digits = strspn(at + 1, "0123456789");
        if (digits > 0 && at[1 + digits] == ':' && at[2 + digits] == ' ')
            return at;
    }
    return NULL;
}

/* The "; " that ends what is wrong; one in quotes belongs to a name. */
static char *find_hint(char *text)
{
    bool quoted = false;

    for (char *at = text; *at != '\0'; at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (!quoted && at[0] == ';' && at[1] == ' ')
            return at;
    }
    return NULL;
}

static void cut_hint(struct tg_finding *finding, char *text)
{
    char *hint = find_hint(text);

    finding->message = text;
    finding->hint = "";
    if (hint != NULL) {
        *hint = '\0';
        finding->hint = hint + 2;
    }
}

/* "policies/a.lua: what": a path ends in .lua or names a folder; anything else is part of the sentence. */
static char *find_path_end(char *text)
{
    char *colon = strstr(text, ": ");

    if (colon == NULL || memchr(text, ' ', (size_t)(colon - text)) != NULL)
        return NULL;
    bool is_path = (colon - text > 4 && memcmp(colon - 4, ".lua", 4) == 0) ||
                   memchr(text, '/', (size_t)(colon - text)) != NULL;
    return is_path ? colon : NULL;
}

static void report(struct tg_mistakes *mistakes, enum tg_severity severity, const char *code,
                   char *text)
{
    struct tg_finding finding = {.severity = severity, .code = code};

    if (mistakes->report == NULL)
        return;
    tg_finding_cut(&finding, text);
    mistakes->report(mistakes->ctx, &finding);
}

void tg_mistakes_add(struct tg_mistakes *mistakes, const char *code, const char *format, ...)
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
    if (used == 0)
        (void)tg_error_set(&mistakes->error, TG_ERR_SCRIPT, "%s", text);
    else if (used + len + 2 <= sizeof mistakes->error.text) {
        all[used] = '\n';
        memcpy(all + used + 1, text, len + 1);
    }
    report(mistakes, TG_SEVERITY_ERROR, code, text);
}

void tg_mistakes_warn(struct tg_mistakes *mistakes, const char *code, const char *format, ...)
{
    char text[sizeof mistakes->error.text];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    report(mistakes, TG_SEVERITY_WARNING, code, text);
}

void tg_finding_cut(struct tg_finding *finding, char *text)
{
    char *place = find_line(text), *rest = text;

    finding->file = "";
    finding->line = 0;
    if (place != NULL) {
        finding->file = text;
        finding->line = atoi(place + 1);
        rest = strchr(place + 1, ':') + 2;
        *place = '\0';
    } else if ((place = find_path_end(text)) != NULL) {
        finding->file = text;
        rest = place + 2;
        *place = '\0';
    }
    cut_hint(finding, rest);
}

void tg_finding_cut_hint(struct tg_finding *finding, char *text)
{
    cut_hint(finding, text);
}
