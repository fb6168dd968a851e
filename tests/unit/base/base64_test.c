/* base64_test.c - published vectors, every digit in every place, and a decoder that knows one spelling for each
 * value.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/memory.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

typedef enum tg_err (*coder_fn)(const void *data, size_t len, struct tg_buffer *out);
typedef enum tg_err (*decoder_fn)(const char *text, size_t len, struct tg_buffer *out);

static void check_pair(coder_fn encode, decoder_fn decode, const void *data, size_t len,
                       const char *text)
{
    struct tg_buffer out = TG_BUFFER_INIT;
    assert_int_equal(tg_buffer_append_str(&out, ">"), TG_ERR_OK);
    assert_int_equal(encode(data, len, &out), TG_ERR_OK);
    assert_int_equal(out.len, strlen(text) + 1);
    assert_memory_equal(tg_buffer_head(&out) + 1, text, strlen(text));
    tg_buffer_clear(&out);
    assert_int_equal(tg_buffer_append_str(&out, ">"), TG_ERR_OK);
    assert_int_equal(decode(text, strlen(text), &out), TG_ERR_OK);
    assert_int_equal(out.len, len + 1);
    assert_memory_equal(tg_buffer_head(&out) + 1, data, len);
    tg_buffer_fini(&out);
}

/* RFC 4648 §10, and bytes that use the digits 62 and 63. */
static void base64_matches_the_published_ones(void **state)
{
    (void)state;
    static const struct {
        const char *data, *standard, *url;
    } rows[] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xFB\xEF\xFF", "++//", "--__"},
        {"\xFF\xFE", "//4=", "__4"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = strlen(rows[i].data);
        check_pair(tg_base64_encode, tg_base64_decode, rows[i].data, len, rows[i].standard);
        check_pair(tg_base64url_encode, tg_base64url_decode, rows[i].data, len, rows[i].url);
    }
}

static void assert_refused(decoder_fn decode, const char *text, size_t len)
{
    struct tg_buffer out = TG_BUFFER_INIT;
    assert_int_equal(tg_buffer_append_str(&out, "kept"), TG_ERR_OK);
    assert_int_equal(decode(text, len, &out), TG_ERR_INVALID);
    assert_int_equal(out.len, 4);
    assert_memory_equal(tg_buffer_head(&out), "kept", 4);
    tg_buffer_fini(&out);
}

static void other_spellings_are_refused(void **state)
{
    (void)state;
    static const char *const standard[] = {
        "Z",        "Zg",   "Zg=",     "Zg===",    "Zh==",   "Zm9=",  "=",     "==",
        "===",      "====", "Z===",    "Zg==Zg==", "Zm9v\n", " Zm9v", "Zm 9v", "Zm9v=",
        "Zm9v====", "--__", "Zm9\x80", "Zm9*",     "Z=9v",   "Zm=v",
    };
    for (size_t i = 0; i < COUNT(standard); i++)
        assert_refused(tg_base64_decode, standard[i], strlen(standard[i]));
    assert_refused(tg_base64_decode, "Zm9\0", 4);

    static const char *const url[] = {
        "Z", "Zg==", "Zh", "Zm9", "Zm8=", "++//", "Zm9vY", "Zm9v\n", "Zm9v ", "=", "Zm9vYg=",
    };
    for (size_t i = 0; i < COUNT(url); i++)
        assert_refused(tg_base64url_decode, url[i], strlen(url[i]));
}

static void random_bytes_come_back(void **state)
{
    (void)state;
    srand(3);
    for (size_t len = 0; len < 200; len++) {
        uint8_t bytes[200];
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)rand();
        struct tg_buffer text = TG_BUFFER_INIT;
        struct tg_buffer back = TG_BUFFER_INIT;
        assert_int_equal(tg_base64url_encode(bytes, len, &text), TG_ERR_OK);
        const char *head = len == 0 ? "" : (const char *)tg_buffer_head(&text);
        assert_int_equal(tg_base64url_decode(head, text.len, &back), TG_ERR_OK);
        assert_int_equal(back.len, len);
        if (len > 0)
            assert_memory_equal(tg_buffer_head(&back), bytes, len);
        tg_buffer_fini(&text);
        tg_buffer_fini(&back);
    }
}

static void failing_memory_is_reported(void **state)
{
    (void)state;
    struct tg_buffer out = TG_BUFFER_INIT;
    tg_memory_fail_after(0, 1);
    assert_int_equal(tg_base64_encode("abc", 3, &out), TG_ERR_NOMEM);
    assert_int_equal(tg_base64_decode("Zm9v", 4, &out), TG_ERR_NOMEM);
    tg_memory_fail_after(-1, 0);
    assert_int_equal(out.len, 0);
}

/* Into an array: the same text, and not a byte behind it. */
static void arrays_get_the_same_text(void **state)
{
    (void)state;
    uint8_t bytes[40];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        char text[TG_BASE64_LEN(sizeof bytes) + 1];
        struct tg_buffer expected = TG_BUFFER_INIT;
        memset(text, '#', sizeof text);
        tg_base64_write(bytes, len, text);
        assert_int_equal(tg_base64_encode(bytes, len, &expected), TG_ERR_OK);
        assert_int_equal(expected.len, TG_BASE64_LEN(len));
        if (len > 0)
            assert_memory_equal(text, tg_buffer_head(&expected), expected.len);
        assert_int_equal(text[TG_BASE64_LEN(len)], '#');
        tg_buffer_fini(&expected);
    }
}

/* Each byte there is, in each place of a group. */
static void groups_are_read_digit_by_digit(void **state)
{
    (void)state;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned byte = 0; byte < 256; byte++) {
        const char *digit = byte == 0 ? NULL : strchr(digits, (int)byte);
        for (unsigned place = 0; place < 4; place++) {
            char group[4] = {'A', 'A', 'A', 'A'};
            group[place] = (char)byte;
            uint32_t bits = tg_base64_group(group);
            if (digit == NULL)
                assert_true(bits > 0xffffff);
            else
                assert_int_equal(bits, (uint32_t)(digit - digits) << (18 - 6 * place));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_matches_the_published_ones),
        cmocka_unit_test(other_spellings_are_refused),
        cmocka_unit_test(random_bytes_come_back),
        cmocka_unit_test(failing_memory_is_reported),
        cmocka_unit_test(arrays_get_the_same_text),
        cmocka_unit_test(groups_are_read_digit_by_digit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
