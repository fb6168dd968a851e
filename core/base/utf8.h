/* utf8.h - incremental UTF-8 validation (RFC 3629): overlong forms, surrogates and values over
 * U+10FFFF are refused at the first byte that shows it, across any split of the input.
 */
#ifndef TG_BASE_UTF8_H
#define TG_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_utf8 {
    uint32_t state; /* 0: at a character boundary */
};

/* false: not UTF-8, and nothing that follows can repair it. Runs of ASCII are checked by the word. */
bool tg_utf8_feed(struct tg_utf8 *utf8, const void *data, size_t len);
static inline bool tg_utf8_complete(const struct tg_utf8 *utf8)
{
    return utf8->state == 0;
}
bool tg_utf8_valid(const void *data, size_t len);

/* Bytes of the character that [data, data+len) starts with, its value in *codepoint; 0 when there is
 * no whole, well-formed one. */
size_t tg_utf8_next(const void *data, size_t len, uint32_t *codepoint);

/* The other way: returns how many bytes it takes. `codepoint` is at most U+10FFFF. */
static inline size_t tg_utf8_encode(uint32_t codepoint, char out[4])
{
    if (codepoint < 0x80) {
        out[0] = (char)codepoint;
        return 1;
    }
    if (codepoint < 0x800) {
        out[0] = (char)(0xC0 | codepoint >> 6);
        out[1] = (char)(0x80 | (codepoint & 0x3F));
        return 2;
    }
    if (codepoint < 0x10000) {
        out[0] = (char)(0xE0 | codepoint >> 12);
        out[1] = (char)(0x80 | (codepoint >> 6 & 0x3F));
        out[2] = (char)(0x80 | (codepoint & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | codepoint >> 18);
    out[1] = (char)(0x80 | (codepoint >> 12 & 0x3F));
    out[2] = (char)(0x80 | (codepoint >> 6 & 0x3F));
    out[3] = (char)(0x80 | (codepoint & 0x3F));
    return 4;
}

/* Largest n <= max such that cutting `text` at n splits no character (for short reason texts). */
size_t tg_utf8_cut(const char *text, size_t len, size_t max);

#endif
