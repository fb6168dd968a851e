/* http_lines.c - what some versions of llhttp let pass in a head: bare CR or LF, folded lines. Read in
 * another way by a proxy, they smuggle requests past it.
 */
#include <string.h>

#include "proto/http_internal.h"

/* What is wrong with a byte of the head after `last`; NULL when nothing is. */
static const char *judge_byte(const struct tg_http *http, uint8_t last, uint8_t byte)
{
    if (http->head_used == 0 && last == 0 && byte == 0x16) /* a TLS record of type handshake */
        return "this port speaks plain HTTP, not TLS";
    if (last == '\n' && (byte == ' ' || byte == '\t'))
        return "a header line is folded or starts with a blank";
    if (last == '\r' && byte != '\n')
        return "a carriage return without a line feed";
    if (byte == '\n' && last != '\r')
        return "a line feed without a carriage return";
    return byte == '\0' ? "a NUL byte in the head" : NULL;
}

/* Nothing is wrong after the first byte: CR LF at the end, and neither they nor NUL before. */
static bool is_clean(const char *line, size_t len)
{
    return len > 2 && line[len - 2] == '\r' && line[len - 1] == '\n' &&
           memchr(line, '\r', len - 2) == NULL && memchr(line, '\0', len - 2) == NULL;
}

/* `line` ends with its first line feed, if it holds one. */
static size_t judge_line(struct tg_http *http, const char *line, size_t len, const char **why)
{
    /* Nearly all lines; byte by byte was 3 % of what a connection costs. */
    if (is_clean(line, len) && judge_byte(http, http->last, (uint8_t)line[0]) == NULL) {
        http->last = '\n';
        return len;
    }
    for (size_t i = 0; i < len; i++) {
        *why = judge_byte(http, http->last, (uint8_t)line[i]);
        if (*why != NULL)
            return i;
        http->last = (uint8_t)line[i];
    }
    return len;
}

size_t tg__http_judge_lines(struct tg_http *http, const char *data, size_t len, const char **why)
{
    size_t good = 0;
    size_t line_len = 0;

    /* One of at most two bytes may be the end of the head; what follows that is not judged. */
    do {
        const char *line = data + good;
        const char *end = memchr(line, '\n', len - good);
        line_len = end == NULL ? len - good : (size_t)(end - line) + 1;
        size_t fine = judge_line(http, line, line_len, why);
        good += fine;
        if (fine < line_len)
            break;
    } while (good < len && line_len > 2);
    return good;
}
