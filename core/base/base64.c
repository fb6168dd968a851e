/* base64.c - base64 by groups: three bytes, four digits.
 *
 * Written out because the crypto library's decoder is lenient: two texts must not mean the same token.
 */
#include "base/base64.h"

#include <stdbool.h>
#include <string.h>

struct alphabet {
    const char *digits;
    /* One more than what a digit stands for; 0: it is none. */
    const uint8_t *values;
    bool padded;
};

/* What both alphabets have. */
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define LETTER_VALUES                                                                              \
    ['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8,        \
    ['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, \
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23,            \
    ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30,            \
    ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37,            \
    ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44,            \
    ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50, ['y'] = 51,            \
    ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57, ['5'] = 58,            \
    ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62

static const uint8_t standard_values[256] = {LETTER_VALUES, ['+'] = 63, ['/'] = 64};
static const uint8_t url_safe_values[256] = {LETTER_VALUES, ['-'] = 63, ['_'] = 64};
static const struct alphabet standard = {LETTERS "+/", standard_values, true};
static const struct alphabet url_safe = {LETTERS "-_", url_safe_values, false};

static char *write_group(const struct alphabet *alphabet, const uint8_t bytes[3], char *out)
{
    uint32_t group = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];

    out[0] = alphabet->digits[group >> 18];
    out[1] = alphabet->digits[group >> 12 & 63];
    out[2] = alphabet->digits[group >> 6 & 63];
    out[3] = alphabet->digits[group & 63];
    return out + 4;
}

/* Returns the end; `out` has room for padding, wanted or not. */
static char *write_text(const struct alphabet *alphabet, const uint8_t *bytes, size_t len,
                        char *out)
{
    for (; len >= 3; bytes += 3, len -= 3)
        out = write_group(alphabet, bytes, out);
    if (len == 0)
        return out;
    out = write_group(alphabet, (const uint8_t[3]){bytes[0], len == 2 ? bytes[1] : 0, 0}, out);
    if (!alphabet->padded)
        return out - (3 - len);
    memset(out - (3 - len), '=', 3 - len);
    return out;
}

static enum tg_err encode(const struct alphabet *alphabet, const void *data, size_t len,
                          struct tg_buffer *out)
{
    if (len == 0)
        return TG_ERR_OK;
    char *text = len > SIZE_MAX / 2 ? NULL : (char *)tg_buffer_reserve(out, TG_BASE64_LEN(len));
    if (text == NULL)
        return TG_ERR_NOMEM;
    tg_buffer_commit(out, (size_t)(write_text(alphabet, data, len, text) - text));
    return TG_ERR_OK;
}

/* The length without padding, or SIZE_MAX when the padding or the length is wrong. */
static size_t unpadded_length(const struct alphabet *alphabet, const char *text, size_t len)
{
    if (alphabet->padded) {
        if (len % 4 != 0)
            return SIZE_MAX;
        for (int i = 0; i < 2 && len > 0 && text[len - 1] == '='; i++)
            len--;
    }
    return len % 4 == 1 ? SIZE_MAX : len;
}

static uint32_t value_of(const struct alphabet *alphabet, char digit)
{
    return alphabet->values[(uint8_t)digit] - UINT32_C(1);
}

/* More than 24 bits: one of them is no digit. */
static uint32_t read_group(const struct alphabet *alphabet, const char digits[4])
{
    return value_of(alphabet, digits[0]) << 18 | value_of(alphabet, digits[1]) << 12 |
           value_of(alphabet, digits[2]) << 6 | value_of(alphabet, digits[3]);
}

static enum tg_err decode(const struct alphabet *alphabet, const char *text, size_t len,
                          struct tg_buffer *out)
{
    len = unpadded_length(alphabet, text, len);
    if (len == SIZE_MAX)
        return TG_ERR_INVALID;
    if (len == 0)
        return TG_ERR_OK;
    uint8_t *bytes = tg_buffer_reserve(out, len / 4 * 3 + 3);
    if (bytes == NULL)
        return TG_ERR_NOMEM;
    uint32_t all = 0;
    size_t n = 0;
    while (len > 0) {
        char digits[4] = {'A', 'A', 'A', 'A'}; /* which stand for 0 */
        size_t have = len < 4 ? len : 4;
        memcpy(digits, text, have);
        uint32_t group = read_group(alphabet, digits);
        for (size_t i = 0; i < 3; i++)
            bytes[n + i] = (uint8_t)(group >> (16 - 8 * i));
        all |= group;
        n += have - 1;
        text += have;
        len -= have;
        /* What the last group holds beyond its bytes has to be nothing. */
        if (have < 4 && (group & ((UINT32_C(1) << 8 * (4 - have)) - 1)) != 0)
            return TG_ERR_INVALID;
    }
    if (all > 0xffffff)
        return TG_ERR_INVALID;
    tg_buffer_commit(out, n);
    return TG_ERR_OK;
}

enum tg_err tg_base64_encode(const void *data, size_t len, struct tg_buffer *out)
{
    return encode(&standard, data, len, out);
}

enum tg_err tg_base64_decode(const char *text, size_t len, struct tg_buffer *out)
{
    return decode(&standard, text, len, out);
}

enum tg_err tg_base64url_encode(const void *data, size_t len, struct tg_buffer *out)
{
    return encode(&url_safe, data, len, out);
}

enum tg_err tg_base64url_decode(const char *text, size_t len, struct tg_buffer *out)
{
    return decode(&url_safe, text, len, out);
}

void tg_base64_write(const void *data, size_t len, char *out)
{
    (void)write_text(&standard, data, len, out);
}

uint32_t tg_base64_group(const char digits[4])
{
    return read_group(&standard, digits);
}
