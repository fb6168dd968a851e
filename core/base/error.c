/* error.c - texts and classes of error codes, and error messages that fit.
 *
 * A message is formatted beside the struct first: the arguments may point into the very text that is
 * being replaced ("file: %s" around an earlier message).
 */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* Room for the characters that straddle the end of tg_error.text, to see where to cut. */
#define LOOK_AHEAD 4

const char *tg_err_text(enum tg_err code)
{
    switch (code) {
#define X(name, value, class, text)                                                                \
    case TG_ERR_##name:                                                                            \
        return text;
        TG_ERR_MAP(X)
#undef X
    }
    return "unknown error";
}

enum tg_err_class tg_err_class_of(enum tg_err code)
{
    switch (code) {
#define X(name, value, class, text)                                                                \
    case TG_ERR_##name:                                                                            \
        return TG_CLASS_##class;
        TG_ERR_MAP(X)
#undef X
    }
    return TG_CLASS_LOCAL;
}

enum tg_err tg_error_set(struct tg_error *error, enum tg_err code, const char *format, ...)
{
    if (error == NULL)
        return code;
    char full[sizeof error->text + LOOK_AHEAD];
    va_list args;
    va_start(args, format);
    int printed = vsnprintf(full, sizeof full, format, args);
    va_end(args);
    if (printed < 0)
        snprintf(full, sizeof full, "%s", tg_err_text(code));
    size_t len = tg_utf8_cut(full, strlen(full), sizeof error->text - 1);
    memcpy(error->text, full, len);
    error->text[len] = '\0';
    error->code = code;
    return code;
}
