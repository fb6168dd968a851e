/* terminal.c - text of others, without what a terminal would obey. */
#include "app/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool tg_terminal_wants_colour(void)
{
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

/* Bytes of the control character that begins here; 0: it is none. C0, DEL, and the C1 controls (U+0080 to
 * U+009F: C2 80 to C2 9F). */
static size_t control_size(const char *text, size_t len)
{
    unsigned char c = (unsigned char)text[0];

    if (c < ' ' || c == 0x7f)
        return 1;
    return c == 0xc2 && len > 1 && (unsigned char)text[1] <= 0x9f ? 2 : 0;
}

static bool is_space(char c)
{
    return c == '\n' || c == '\t';
}

void tg_terminal_write(FILE *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        size_t skip = control_size(text + i, len - i);
        if (skip == 0 || is_space(text[i]))
            fputc(text[i], out);
        else
            i += skip - 1;
    }
}

void tg_terminal_write_line(FILE *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        size_t skip = control_size(text + i, len - i);
        if (skip == 0)
            fputc(text[i], out);
        else if (is_space(text[i]))
            fputc(' ', out);
        else
            i += skip - 1;
    }
}

size_t tg_terminal_width(const char *text, size_t len)
{
    size_t width = 0;

    for (size_t i = 0; i < len; i++) {
        size_t skip = control_size(text + i, len - i);
        bool continues = ((unsigned char)text[i] & 0xc0) == 0x80;
        if (skip > 0 && !is_space(text[i]))
            i += skip - 1;
        else if (!continues)
            width++;
    }
    return width;
}
