/* utf8_test.c - every table row whole, at every split and byte by byte, beside ASCII of every length;
 * then every code point there is, against the definition of RFC 3629.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "base/utf8_vector.h"
#include "base/vector.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *const good[] = {
    "",
    "a",
    "\x7F",
    "\xC2\x80",
    "\xDF\xBF",
    "\xE0\xA0\x80",
    "\xE2\x82\xAC",
    "\xED\x9F\xBF",
    "\xEE\x80\x80",
    "\xEF\xBF\xBF",
    "\xEF\xBB\xBF",
    "\xF0\x90\x80\x80",
    "\xF0\x9F\x98\x80",
    "\xF4\x8F\xBF\xBF",
    "0123456\xC3\xA9",
    "01234567\xC3\xA9 89abcdef",
    "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 mixed \xC3\xA9 text, long enough for whole words",
};

/* The mistake shows at the byte with this index, and not before. */
static const struct {
    const char *bytes;
    size_t bad_at;
} bad[] = {
    {"\x80", 0},
    {"\xBF", 0},
    {"\xC0\x80", 0},
    {"\xC0"
     "a",
     0},
    {"\xE0"
     "a",
     1},
    {"\xF0"
     "a",
     1},
    {"\xC1\xBF", 0},
    {"\xF5\x80\x80\x80", 0},
    {"\xFE", 0},
    {"\xFF", 0},
    {"\xC2\x7F", 1},
    {"\xC2\xC0", 1},
    {"\xE0\x80\x80", 1},
    {"\xE0\x9F\xBF", 1},
    {"\xED\xA0\x80", 1},
    {"\xED\xBF\xBF", 1},
    {"\xF0\x80\x80\x80", 1},
    {"\xF0\x8F\xBF\xBF", 1},
    {"\xF4\x90\x80\x80", 1},
    {"\xE2\x82"
     "a",
     2},
    {"\xE2\x82\xC2", 2},
    {"\xF0\x9F\x98\x7F", 3},
    {"\xF0\x9F\x98\xFF", 3},
    {"\xC3\xA9\xA9", 2},
    {"plain ascii of many words\xFF", 25},
    {"plain ascii of many words\xFF and as many after it", 25},
};

static const char *const unfinished[] = {
    "\xC2", "\xE0\xA0", "\xE2",         "\xE2\x82",
    "\xF0", "\xF0\x9F", "\xF0\x9F\x98", "01234567\xF4\x8F\xBF",
};

static void good_text_passes_at_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        size_t len = strlen(good[i]);
        assert_true(tg_utf8_valid(good[i], len));
        for (size_t split = 0; split <= len; split++) {
            struct tg_utf8 utf8 = {0};
            assert_true(tg_utf8_feed(&utf8, good[i], split));
            assert_true(tg_utf8_feed(&utf8, good[i] + split, len - split));
            assert_true(tg_utf8_complete(&utf8));
        }
        struct tg_utf8 utf8 = {0};
        for (size_t at = 0; at < len; at++)
            assert_true(tg_utf8_feed(&utf8, good[i] + at, 1));
        assert_true(tg_utf8_complete(&utf8));
    }
}

static void bad_text_fails_at_the_first_bad_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        size_t len = strlen(bad[i].bytes);
        assert_false(tg_utf8_valid(bad[i].bytes, len));
        struct tg_utf8 utf8 = {0};
        assert_true(tg_utf8_feed(&utf8, bad[i].bytes, bad[i].bad_at));
        assert_false(tg_utf8_feed(&utf8, bad[i].bytes + bad[i].bad_at, 1));
        for (size_t split = 0; split <= len; split++) {
            utf8 = (struct tg_utf8){0};
            bool first = tg_utf8_feed(&utf8, bad[i].bytes, split);
            assert_int_equal(first, split <= bad[i].bad_at);
            assert_false(tg_utf8_feed(&utf8, bad[i].bytes + split, len - split) &&
                         tg_utf8_complete(&utf8));
        }
    }
}

static void nothing_repairs_a_bad_byte(void **state)
{
    (void)state;
    struct tg_utf8 utf8 = {0};
    assert_false(tg_utf8_feed(&utf8, "\xC3\xFF", 2));
    assert_false(tg_utf8_feed(&utf8, "good", 4));
    assert_false(tg_utf8_feed(&utf8, "", 0));
    assert_false(tg_utf8_complete(&utf8));
}

static void unfinished_text_is_not_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(unfinished); i++) {
        struct tg_utf8 utf8 = {0};
        assert_true(tg_utf8_feed(&utf8, unfinished[i], strlen(unfinished[i])));
        assert_false(tg_utf8_complete(&utf8));
        assert_false(tg_utf8_valid(unfinished[i], strlen(unfinished[i])));
    }
    assert_true(tg_utf8_valid(NULL, 0));
}

/* A bad byte anywhere in ASCII of any length and alignment is found. */
static void words_hide_no_byte(void **state)
{
    (void)state;
    char text[64];
    for (size_t from = 0; from < 8; from++) {
        for (size_t len = 1; len < 40; len++) {
            for (size_t at = 0; at < len; at++) {
                memset(text, 'a', sizeof text);
                assert_true(tg_utf8_valid(text + from, len));
                text[from + at] = (char)0x80;
                assert_false(tg_utf8_valid(text + from, len));
            }
        }
    }
}

/* The same verdict one byte at a time: no word and no vector has a part in it. */
static bool fed_by_bytes(struct tg_utf8 *utf8, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!tg_utf8_feed(utf8, text + i, 1))
            return false;
    }
    return true;
}

/* How far the text is well formed, up to the end of the last whole character. */
static size_t well_formed_bytes(const char *text, size_t len)
{
    struct tg_utf8 utf8 = {0};
    size_t whole = 0;

    for (size_t i = 0; i < len && tg_utf8_feed(&utf8, text + i, 1); i++)
        if (tg_utf8_complete(&utf8))
            whole = i + 1;
    return whole;
}

/* Vectors of each width that this processor has claim no more than is so: all of it, and before an error nearly all. */
static void check_vectors(const char *text, size_t len, bool expected)
{
    size_t whole = well_formed_bytes(text, len);

    for (unsigned width = tg_vector_width(); width >= 32; width /= 2) {
        size_t claimed = tg__utf8_vector(width, (const uint8_t *)text, len);
        if (claimed > whole || claimed != well_formed_bytes(text, claimed) ||
            claimed + (expected ? 0 : width + 4) < whole)
            fail_msg("%zu bytes, %zu well formed: %zu by vectors of %u", len, whole, claimed,
                     width);
    }
}

static void check_verdict(const char *text, size_t len)
{
    struct tg_utf8 whole = {0}, bytes = {0};
    bool expected = fed_by_bytes(&bytes, text, len);
    if (tg_utf8_feed(&whole, text, len) != expected ||
        tg_utf8_complete(&whole) != tg_utf8_complete(&bytes))
        fail_msg("%zu bytes: expected %s", len, expected ? "well formed" : "an error");
    check_vectors(text, len, expected);
}

/* Every row of the tables at every place among text that vectors look at, up to the very end. */
static void vectors_hide_no_byte(void **state)
{
    (void)state;
    static const char *const fillers[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    char text[512];
    for (size_t f = 0; f < COUNT(fillers); f++) {
        size_t step = strlen(fillers[f]);
        for (size_t before = 0; before + step <= 140; before += step) {
            for (size_t row = 0; row < COUNT(good) + COUNT(bad) + COUNT(unfinished); row++) {
                const char *piece = row < COUNT(good) ? good[row]
                                    : row < COUNT(good) + COUNT(bad)
                                        ? bad[row - COUNT(good)].bytes
                                        : unfinished[row - COUNT(good) - COUNT(bad)];
                size_t len = 0;
                while (len < before) {
                    memcpy(text + len, fillers[f], step);
                    len += step;
                }
                memcpy(text + len, piece, strlen(piece));
                len += strlen(piece);
                check_verdict(text, len);
                for (size_t after = 0; after < 90; after += step) {
                    memcpy(text + len, fillers[f], step);
                    len += step;
                }
                check_verdict(text, len);
            }
        }
    }
}

static size_t encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t marks[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = len; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(marks[len] | c);
    return len;
}

/* Text of all scripts in which one byte is changed. */
static void a_changed_byte_is_judged_alike(void **state)
{
    (void)state;
    uint32_t seed = 20231, tries = 60000;
    while (tries-- > 0) {
        char text[300];
        size_t len = 0, wanted;
        seed = seed * 1664525 + 1013904223;
        wanted = 64 + (seed >> 8) % 200;
        while (len < wanted) {
            seed = seed * 1664525 + 1013904223;
            uint32_t c = seed >> 11;
            static const uint32_t limits[] = {0x80, 0x800, 0x10000, 0x110000};
            c %= limits[seed >> 30];
            if (c < 0xD800 || c > 0xDFFF)
                len += encode(c, text + len);
        }
        seed = seed * 1664525 + 1013904223;
        text[(seed >> 8) % len] = (char)(seed >> 24);
        check_verdict(text, len);
    }
}

static void every_code_point_follows_the_definition(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x120000; c++) {
        char bytes[4];
        size_t len = encode(c, bytes);
        bool expected = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
        uint32_t back = 0;
        if (tg_utf8_valid(bytes, len) != expected ||
            tg_utf8_next(bytes, len, &back) != (expected ? len : 0) || (expected && back != c))
            fail_msg("U+%04X", (unsigned)c);
        if (len > 1 && tg_utf8_next(bytes, len - 1, &back) != 0)
            fail_msg("U+%04X cut short", (unsigned)c);
    }
    uint32_t none;
    assert_int_equal(tg_utf8_next("", 0, &none), 0);
}

static void cuts_keep_characters_whole(void **state)
{
    (void)state;
    const char *text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z";
    static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
    for (size_t max = 0; max < COUNT(expected); max++)
        assert_int_equal(tg_utf8_cut(text, strlen(text), max), expected[max]);
    assert_int_equal(tg_utf8_cut("\x80\x80\x80\x80\x80\x80", 6, 5), 5);
}

static void every_codepoint_is_encoded_as_it_is_read(void **state)
{
    (void)state;
    for (uint32_t codepoint = 0; codepoint <= 0x10FFFF; codepoint++) {
        char bytes[4];
        uint32_t read;
        if (codepoint == 0xD800)
            codepoint = 0xE000; /* surrogates are no characters */
        size_t len = tg_utf8_encode(codepoint, bytes);
        assert_int_equal(tg_utf8_next(bytes, len, &read), len);
        assert_int_equal(read, codepoint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_codepoint_is_encoded_as_it_is_read),
        cmocka_unit_test(good_text_passes_at_every_split),
        cmocka_unit_test(bad_text_fails_at_the_first_bad_byte),
        cmocka_unit_test(nothing_repairs_a_bad_byte),
        cmocka_unit_test(unfinished_text_is_not_complete),
        cmocka_unit_test(words_hide_no_byte),
        cmocka_unit_test(vectors_hide_no_byte),
        cmocka_unit_test(a_changed_byte_is_judged_alike),
        cmocka_unit_test(every_code_point_follows_the_definition),
        cmocka_unit_test(cuts_keep_characters_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
