/* json_plain.h - how far text may stand between JSON's quotes as it is.
 *
 * Eight bytes at a time: nearly all text that is written as JSON needs no escape, and the search for
 * the first that does was a third of what an agent event cost.
 */
#ifndef TG_BASE_JSON_PLAIN_H
#define TG_BASE_JSON_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TG__EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* ASCII, no control character, neither quote nor backslash. */
static inline bool tg_json_is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* Is every byte of the word plain? A byte's top bit is borrowed into exactly when it is below what is
 * subtracted, or a lower byte was: then the answer is no either way. */
static inline bool tg__json_word_is_plain(uint64_t word)
{
    uint64_t quote = word ^ TG__EACH_BYTE('"');
    uint64_t backslash = word ^ TG__EACH_BYTE('\\');
    uint64_t below = (word - TG__EACH_BYTE(0x20)) | (quote - TG__EACH_BYTE(1)) |
                     (backslash - TG__EACH_BYTE(1)) | word;
    return (below & TG__EACH_BYTE(0x80)) == 0;
}

/* Bytes at the front that are all plain. */
static inline size_t tg_json_plain_prefix(const char *text, size_t len)
{
    size_t at = 0;
    for (uint64_t word; len - at >= sizeof word; at += sizeof word) {
        memcpy(&word, text + at, sizeof word);
        if (!tg__json_word_is_plain(word))
            break;
    }
    if (len - at < sizeof(uint64_t) && at > 0) { /* the last word whole, with bytes seen before */
        uint64_t word;
        memcpy(&word, text + len - sizeof word, sizeof word);
        if (tg__json_word_is_plain(word))
            return len;
    }
    while (at < len && tg_json_is_plain((uint8_t)text[at]))
        at++;
    return at;
}

#endif
