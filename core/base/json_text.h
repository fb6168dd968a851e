/* json_text.h - the plain part of a JSON string, by the word. Most of a message is that.
 */
#ifndef TG_BASE_JSON_TEXT_H
#define TG_BASE_JSON_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define TG__JSON_ONES UINT64_C(0x0101010101010101)
#define TG__JSON_HIGHS (TG__JSON_ONES << 7)

/* Not 0 when one of the eight bytes is a quote, a backslash or a control character: then the highest bit of the
 * first such byte is set, and none of those before it (the first being the lowest). */
static inline uint64_t tg__json_special(uint64_t word)
{
    uint64_t quote = word ^ (TG__JSON_ONES * '"'), escape = word ^ (TG__JSON_ONES * '\\');

    return (((quote - TG__JSON_ONES) & ~quote) | ((escape - TG__JSON_ONES) & ~escape) |
            ((word - TG__JSON_ONES * 0x20) & ~word)) &
           TG__JSON_HIGHS;
}

static inline int tg__json_is_special(char c)
{
    return (uint8_t)c < 0x20 || c == '"' || c == '\\';
}

/* The first quote, backslash or control character of [at, end), or end. */
static inline const char *tg_json_skip_plain(const char *at, const char *end)
{
#ifdef __SSE2__
    while (end - at >= (ptrdiff_t)sizeof(__m128i)) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        __m128i quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
        __m128i escapes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
        __m128i low = _mm_set1_epi8(0x1f); /* as unsigned, none of them is above it */
        __m128i controls = _mm_cmpeq_epi8(_mm_max_epu8(bytes, low), low);
        int found = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, escapes), controls));
        if (found != 0)
            return at + __builtin_ctz((unsigned)found);
        at += sizeof(__m128i);
    }
#endif
    while ((size_t)(end - at) >= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        uint64_t special = tg__json_special(word);
        if (special != 0) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return at + __builtin_ctzll(special) / 8;
#else
            break;
#endif
        }
        at += sizeof word;
    }
    while (at < end && !tg__json_is_special(*at))
        at++;
    return at;
}

/* Copies text to `out`, which has room for all of it, up to the first byte that is special or not ASCII; returns
 * how many bytes that are. */
static inline size_t tg_json_copy_plain(char *out, const char *text, size_t len)
{
    size_t i = 0;

    for (; len - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, text + i, sizeof word);
        if ((tg__json_special(word) | (word & TG__JSON_HIGHS)) != 0)
            break;
        memcpy(out + i, &word, sizeof word);
    }
    if (i > 0 && len - i < sizeof(uint64_t)) { /* the last word whole, with bytes seen before */
        uint64_t word;
        memcpy(&word, text + len - sizeof word, sizeof word);
        if ((tg__json_special(word) | (word & TG__JSON_HIGHS)) == 0) {
            memcpy(out + len - sizeof word, &word, sizeof word);
            return len;
        }
    }
    for (; i < len && !tg__json_is_special(text[i]) && (uint8_t)text[i] < 0x80; i++)
        out[i] = text[i];
    return i;
}

#endif
