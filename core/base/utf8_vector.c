/* utf8_vector.c - UTF-8 by the vector: 32 bytes a step where the processor has AVX2.
 *
 * The method is that of Keiser and Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte"
 * (2020): whatever can be wrong with two neighbouring bytes is a bit that is set in all of three small
 * tables, looked up by the high and the low half of the first byte and by the high half of the second.
 * That leaves the second and third continuation byte, whose place follows from the bytes two and three
 * before it.
 *
 * Measured on 1 MiB of mixed scripts: 12.6 GB/s, where the loop of utf8.c alone does 0.7.
 *
 * I1  An error is only ever told of by returning less: who asked looks again, byte by byte, and so
 *     finds the very byte that is wrong.
 */
#include "base/utf8_vector.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* What two neighbouring bytes can be. */
#define TOO_SHORT (1 << 0)      /* a lead byte and no continuation after it */
#define TOO_LONG (1 << 1)       /* a continuation after an ASCII byte */
#define OVERLONG_3 (1 << 2)     /* E0 and less than A0 */
#define TOO_LARGE (1 << 3)      /* F4 and more than 8F, or F5 and up */
#define SURROGATE (1 << 4)      /* ED and more than 9F */
#define OVERLONG_2 (1 << 5)     /* C0, C1 */
#define OVERLONG_4 (1 << 6)     /* F0 and less than 90 */
#define TOO_LARGE_1000 (1 << 6) /* F5 and up, with 8x */
#define TWO_CONTS (1 << 7)      /* right or wrong by what comes before */
#define CARRY (TOO_SHORT | TOO_LONG | TWO_CONTS)
#define BEYOND (CARRY | TOO_LARGE | TOO_LARGE_1000)
#define CONT (TOO_LONG | OVERLONG_2 | TWO_CONTS)

#define TWICE(...)                                                                                 \
    {                                                                                              \
        __VA_ARGS__, __VA_ARGS__                                                                   \
    }

static const uint8_t first_high[32] =
    TWICE(TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TWO_CONTS,
          TWO_CONTS, TWO_CONTS, TWO_CONTS, TOO_SHORT | OVERLONG_2, TOO_SHORT,
          TOO_SHORT | OVERLONG_3 | SURROGATE, TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4);
static const uint8_t first_low[32] =
    TWICE(CARRY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4, CARRY | OVERLONG_2, CARRY, CARRY,
          CARRY | TOO_LARGE, BEYOND, BEYOND, BEYOND, BEYOND, BEYOND, BEYOND, BEYOND, BEYOND,
          BEYOND | SURROGATE, BEYOND, BEYOND);
static const uint8_t second_high[32] =
    TWICE(TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
          CONT | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4, CONT | OVERLONG_3 | TOO_LARGE,
          CONT | SURROGATE | TOO_LARGE, CONT | SURROGATE | TOO_LARGE, TOO_SHORT, TOO_SHORT,
          TOO_SHORT, TOO_SHORT);
/* The largest bytes that leave no character open at the end of a vector. */
static const uint8_t last_closed[32] = {255, 255, 255, 255, 255, 255, 255, 255,  255,  255, 255,
                                        255, 255, 255, 255, 255, 255, 255, 255,  255,  255, 255,
                                        255, 255, 255, 255, 255, 255, 255, 0xEF, 0xDF, 0xBF};

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i load(const uint8_t *from)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)from);
}

/* The input moved on by N bytes, with the end of what came before in front. */
#define BEFORE(input, previous, n)                                                                 \
    _mm256_alignr_epi8((input), _mm256_permute2x128_si256((previous), (input), 0x21), 16 - (n))

AVX2 static inline __m256i errors_in(__m256i input, __m256i previous)
{
    const __m256i half = _mm256_set1_epi8(0x0F);
    __m256i first = BEFORE(input, previous, 1);
    __m256i pairs =
        _mm256_shuffle_epi8(load(first_high), _mm256_and_si256(_mm256_srli_epi16(first, 4), half));
    pairs = _mm256_and_si256(pairs,
                             _mm256_shuffle_epi8(load(first_low), _mm256_and_si256(first, half)));
    pairs = _mm256_and_si256(
        pairs, _mm256_shuffle_epi8(load(second_high),
                                   _mm256_and_si256(_mm256_srli_epi16(input, 4), half)));
    /* Bit 7 where a lead two bytes before wants three, or three bytes before four. */
    __m256i third = _mm256_subs_epu8(BEFORE(input, previous, 2), _mm256_set1_epi8(0xE0 - 0x80));
    __m256i fourth = _mm256_subs_epu8(BEFORE(input, previous, 3), _mm256_set1_epi8(0xF0 - 0x80));
    __m256i wanted = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(-128));
    return _mm256_xor_si256(wanted, pairs);
}

/* How much of it is ASCII, in steps of four vectors. */
AVX2 static inline size_t skip_ascii(const uint8_t *data, size_t len)
{
    size_t at = 0;

    for (; at + 128 <= len; at += 128) {
        __m256i ab = _mm256_or_si256(load(data + at), load(data + at + 32));
        __m256i cd = _mm256_or_si256(load(data + at + 64), load(data + at + 96));
        if (_mm256_movemask_epi8(_mm256_or_si256(ab, cd)) != 0)
            break;
    }
    return at;
}

AVX2 static size_t well_formed(const uint8_t *data, size_t len)
{
    __m256i previous = _mm256_setzero_si256(), open = _mm256_setzero_si256();
    size_t at = skip_ascii(data, len);

    for (; at + 32 <= len; at += 32) {
        __m256i input = load(data + at), errors;
        if (_mm256_movemask_epi8(input) == 0) {
            errors = open;
            open = _mm256_setzero_si256();
        } else {
            errors = errors_in(input, previous);
            open = _mm256_subs_epu8(input, load(last_closed));
        }
        if (!_mm256_testz_si256(errors, errors))
            break;
        previous = input;
    }
    return at;
}

/* Where the last character begins, unless it is ASCII: it may be open. */
static size_t back_to_boundary(const uint8_t *data, size_t at)
{
    for (size_t back = 1; back <= 4 && back <= at; back++) {
        uint8_t byte = data[at - back];
        if (byte < 0x80)
            return at - back + 1;
        if (byte >= 0xC0)
            return at - back;
    }
    return at; /* 0 */
}

size_t tg__utf8_vector(const uint8_t *data, size_t len)
{
    if (!__builtin_cpu_supports("avx2"))
        return 0;
    return back_to_boundary(data, well_formed(data, len));
}

#else

size_t tg__utf8_vector(const uint8_t *data, size_t len)
{
    (void)data;
    (void)len;
    return 0;
}

#endif
