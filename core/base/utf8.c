/* utf8.c - UTF-8 as a table of lead bytes.
 *
 * While inside a character the state holds how many bytes are still to come (low byte) and the range
 * that the next one must be in (second and third byte). Only the byte after the lead has a range of
 * its own: that is where overlong forms, surrogates and values over U+10FFFF show. After a bad byte
 * the state is INVALID for good.
 */
#include "base/utf8.h"

#include <string.h>

#include "base/utf8_vector.h"
#include "base/vector.h"

#define INVALID UINT32_MAX
#define SHORT 64 /* bytes that are looked at by the word before any vector */
#define EXPECT(bytes, low, high) ((uint32_t)(bytes) | (uint32_t)(low) << 8 | (uint32_t)(high) << 16)
#define ANY(bytes) EXPECT(bytes, 0x80, 0xBF)

/* By lead byte; 0 for bytes that cannot start a character of several bytes. */
static const uint32_t after_lead[256] =
    {
        [0xC2 ... 0xDF] = ANY(1), [0xE0] = EXPECT(2, 0xA0, 0xBF),
        [0xE1 ... 0xEC] = ANY(2), [0xED] = EXPECT(2, 0x80, 0x9F),
        [0xEE ... 0xEF] = ANY(2), [0xF0] = EXPECT(3, 0x90, 0xBF),
        [0xF1 ... 0xF3] = ANY(3), [0xF4] = EXPECT(3, 0x80, 0x8F),
};

/* The state after `byte` in `state`; INVALID when the byte is out of place. */
static inline uint32_t step(uint32_t state, uint8_t byte)
{
    if (state == 0) {
        uint32_t next = after_lead[byte];
        if (next == 0 && byte >= 0x80)
            return INVALID;
        return next;
    }
    if (byte < (uint8_t)(state >> 8) || byte > (uint8_t)(state >> 16))
        return INVALID;
    uint32_t missing = (state & 0xFF) - 1;
    return missing == 0 ? 0 : ANY(missing);
}

static inline const uint8_t *skip_ascii(const uint8_t *at, const uint8_t *end)
{
    uint64_t word;
    while ((size_t)(end - at) >= sizeof word) {
        memcpy(&word, at, sizeof word);
        if ((word & UINT64_C(0x8080808080808080)) != 0)
            break;
        at += sizeof word;
    }
    while (at < end && *at < 0x80)
        at++;
    return at;
}

bool tg_utf8_feed(struct tg_utf8 *utf8, const void *data, size_t len)
{
    uint32_t state = utf8->state;
    if (state == INVALID)
        return false;
    if (len == 0)
        return true;
    const uint8_t *at = data;
    const uint8_t *end = at + len;
    bool looked = false; /* by the vector: what is left is short, or wrong */
    while (at < end) {
        if (state == 0) {
            if (end - at >= TG_UTF8_VECTOR_MIN && !looked)
                at += tg__utf8_vector(tg_vector_width(), at, (size_t)(end - at));
            looked = true;
            at = skip_ascii(at, end);
            if (at == end)
                break;
        }
        state = step(state, *at++);
        if (state == INVALID)
            break;
    }
    utf8->state = state;
    return state != INVALID;
}

/* By the word, the last one overlapping the one before: most messages are short and ASCII. */
static inline bool is_short_ascii(const uint8_t *at, size_t len)
{
    uint64_t seen = 0, word;
    if (len < sizeof word) {
        for (size_t i = 0; i < len; i++)
            seen |= at[i];
        return seen < 0x80;
    }
    for (size_t i = 0; i + sizeof word <= len; i += sizeof word) {
        memcpy(&word, at + i, sizeof word);
        seen |= word;
    }
    memcpy(&word, at + len - sizeof word, sizeof word);
    return ((seen | word) & UINT64_C(0x8080808080808080)) == 0;
}

bool tg_utf8_valid(const void *data, size_t len)
{
    if (len < SHORT && is_short_ascii(data, len))
        return true;
    struct tg_utf8 utf8 = {0};
    return tg_utf8_feed(&utf8, data, len) && tg_utf8_complete(&utf8);
}

size_t tg_utf8_next(const void *data, size_t len, uint32_t *codepoint)
{
    if (len == 0)
        return 0;
    const uint8_t *bytes = data;
    uint32_t state = step(0, bytes[0]);
    if (state == 0) {
        *codepoint = bytes[0];
        return 1;
    }
    if (state == INVALID)
        return 0;
    size_t total = (state & 0xFF) + 1;
    uint32_t value = bytes[0] & (0x7FU >> total);
    for (size_t i = 1; i < total; i++) {
        if (i == len || (state = step(state, bytes[i])) == INVALID)
            return 0;
        value = value << 6 | (bytes[i] & 0x3FU);
    }
    *codepoint = value;
    return total;
}

size_t tg_utf8_cut(const char *text, size_t len, size_t max)
{
    if (len <= max)
        return len;
    size_t cut = max;
    while (cut > 0 && max - cut < 3 && ((uint8_t)text[cut] & 0xC0) == 0x80)
        cut--;
    /* No lead byte near: this is not UTF-8, and there is no character to keep whole. */
    return ((uint8_t)text[cut] & 0xC0) == 0x80 ? max : cut;
}
