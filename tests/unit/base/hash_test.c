/* hash_test.c - published vectors, and a comparison that sees every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/hash.h"

static void assert_hex(const uint8_t *bytes, size_t len, const char *expected)
{
    char text[2 * TG_SHA256_SIZE + 1];
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    assert_string_equal(text, expected);
}

static void digests_match_the_published_ones(void **state)
{
    (void)state;
    uint8_t out[TG_SHA256_SIZE];
    tg_sha1("abc", 3, out);
    assert_hex(out, TG_SHA1_SIZE, "a9993e364706816aba3e25717850c26c9cd0d89d");
    tg_sha1(NULL, 0, out);
    assert_hex(out, TG_SHA1_SIZE, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    tg_sha256("abc", 3, out);
    assert_hex(out, TG_SHA256_SIZE,
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    tg_sha256(NULL, 0, out);
    assert_hex(out, TG_SHA256_SIZE,
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* RFC 4231, test cases 1, 2, 6 and 7. */
static void hmac_matches_the_published_ones(void **state)
{
    (void)state;
    uint8_t key[131];
    uint8_t out[TG_SHA256_SIZE];
    memset(key, 0x0b, 20);
    tg_hmac_sha256(key, 20, "Hi There", 8, out);
    assert_hex(out, sizeof out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    tg_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out);
    assert_hex(out, sizeof out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";
    tg_hmac_sha256(key, sizeof key, text, strlen(text), out);
    assert_hex(out, sizeof out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    text = "This is a test using a larger than block-size key and a larger than block-size data. "
           "The key needs to be hashed before being used by the HMAC algorithm.";
    tg_hmac_sha256(key, sizeof key, text, strlen(text), out);
    assert_hex(out, sizeof out, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
    tg_hmac_sha256(NULL, 0, NULL, 0, out);
    assert_hex(out, sizeof out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* RFC 6455 §1.3 */
static void the_handshake_answer_of_the_standard(void **state)
{
    (void)state;
    const char *key = "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t digest[TG_SHA1_SIZE];
    tg_sha1(key, strlen(key), digest);
    struct tg_buffer out = TG_BUFFER_INIT;
    assert_int_equal(tg_base64_encode(digest, sizeof digest, &out), TG_ERR_OK);
    assert_int_equal(out.len, TG_BASE64_LEN(TG_SHA1_SIZE));
    assert_memory_equal(tg_buffer_head(&out), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", out.len);
    tg_buffer_fini(&out);
}

static void comparison_sees_every_byte(void **state)
{
    (void)state;
    uint8_t a[40];
    uint8_t b[40];
    memset(a, 7, sizeof a);
    memset(b, 7, sizeof b);
    assert_true(tg_equal_constant_time(a, sizeof a, b, sizeof b));
    assert_true(tg_equal_constant_time(NULL, 0, NULL, 0));
    assert_false(tg_equal_constant_time(a, 40, b, 39));
    for (size_t i = 0; i < sizeof b; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            b[i] = (uint8_t)(b[i] ^ 1U << bit);
            assert_false(tg_equal_constant_time(a, sizeof a, b, sizeof b));
            b[i] = (uint8_t)(b[i] ^ 1U << bit);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_match_the_published_ones),
        cmocka_unit_test(hmac_matches_the_published_ones),
        cmocka_unit_test(the_handshake_answer_of_the_standard),
        cmocka_unit_test(comparison_sees_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
