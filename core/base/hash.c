/* hash.c - digests by mbedTLS, HMAC and base64 here.
 *
 * HMAC is written out (RFC 2104) because the library's own allocates, and so could fail. Base64 is
 * written out because the library's decoder is lenient: two texts must not mean the same token.
 */
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/sha1.h>
#include <mbedtls/sha256.h>
#include <mbedtls/version.h>

#define BLOCK 64 /* of SHA-256 */

/* 2.28 marks the functions that return a result with _ret; 3.x has only those, without the mark. */
#if MBEDTLS_VERSION_NUMBER < 0x03000000
#define LIBRARY(name) name##_ret
#else
#define LIBRARY(name) name
#endif

struct part {
    const void *data;
    size_t len;
};

struct alphabet {
    const char *digits;
    bool padded;
};

static const struct alphabet standard = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", true};
static const struct alphabet url_safe = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", false};

static void must_be_zero(int result)
{
    if (result != 0) {
        fprintf(stderr, "tidegate: the crypto library refused to hash (%d)\n", result);
        abort();
    }
}

/* Digest of the two parts, one after the other. */
static void sha256_of(struct part first, struct part second, uint8_t out[TG_SHA256_SIZE])
{
    mbedtls_sha256_context context;
    mbedtls_sha256_init(&context);
    must_be_zero(LIBRARY(mbedtls_sha256_starts)(&context, 0));
    must_be_zero(LIBRARY(mbedtls_sha256_update)(&context, first.data, first.len));
    must_be_zero(LIBRARY(mbedtls_sha256_update)(&context, second.data, second.len));
    must_be_zero(LIBRARY(mbedtls_sha256_finish)(&context, out));
    mbedtls_sha256_free(&context);
}

static enum tg_err encode(const struct alphabet *alphabet, const uint8_t *bytes, size_t len,
                          struct tg_buffer *out)
{
    if (len == 0)
        return TG_ERR_OK;
    char *text = len > SIZE_MAX / 2 ? NULL : (char *)tg_buffer_reserve(out, TG_BASE64_LEN(len));
    if (text == NULL)
        return TG_ERR_NOMEM;
    size_t n = 0;
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t group = (uint32_t)bytes[i] << 16;
        if (have > 1)
            group |= (uint32_t)bytes[i + 1] << 8;
        if (have > 2)
            group |= bytes[i + 2];
        for (size_t digit = 0; digit < 4; digit++) {
            if (digit <= have)
                text[n++] = alphabet->digits[group >> (18 - 6 * digit) & 63];
            else if (alphabet->padded)
                text[n++] = '=';
        }
    }
    tg_buffer_commit(out, n);
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

/* The value of a digit, or -1. */
static int value_of(const struct alphabet *alphabet, char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == alphabet->digits[62])
        return 62;
    return c == alphabet->digits[63] ? 63 : -1;
}

static enum tg_err decode(const struct alphabet *alphabet, const char *text, size_t len,
                          struct tg_buffer *out)
{
    len = unpadded_length(alphabet, text, len);
    if (len == SIZE_MAX)
        return TG_ERR_INVALID;
    if (len == 0)
        return TG_ERR_OK;
    uint8_t *bytes = tg_buffer_reserve(out, len / 4 * 3 + 2);
    if (bytes == NULL)
        return TG_ERR_NOMEM;
    size_t n = 0;
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(alphabet, text[i]);
        if (value < 0)
            return TG_ERR_INVALID;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes[n++] = (uint8_t)(bits >> held);
            bits &= (UINT32_C(1) << held) - 1;
        }
    }
    if (bits != 0)
        return TG_ERR_INVALID;
    tg_buffer_commit(out, n);
    return TG_ERR_OK;
}

void tg_sha1(const void *data, size_t len, uint8_t out[TG_SHA1_SIZE])
{
    must_be_zero(LIBRARY(mbedtls_sha1)(data, len, out));
}

void tg_sha256(const void *data, size_t len, uint8_t out[TG_SHA256_SIZE])
{
    must_be_zero(LIBRARY(mbedtls_sha256)(data, len, out, 0));
}

void tg_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                    uint8_t out[TG_SHA256_SIZE])
{
    uint8_t block[BLOCK] = {0};
    uint8_t inner[TG_SHA256_SIZE];
    if (key_len > BLOCK)
        tg_sha256(key, key_len, block);
    else if (key_len > 0)
        memcpy(block, key, key_len);
    for (size_t i = 0; i < BLOCK; i++)
        block[i] ^= 0x36;
    sha256_of((struct part){block, BLOCK}, (struct part){data, len}, inner);
    for (size_t i = 0; i < BLOCK; i++)
        block[i] ^= 0x36 ^ 0x5c;
    sha256_of((struct part){block, BLOCK}, (struct part){inner, sizeof inner}, out);
    explicit_bzero(block, sizeof block);
    explicit_bzero(inner, sizeof inner);
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

bool tg_equal_constant_time(const void *a, size_t a_len, const void *b, size_t b_len)
{
    if (a_len != b_len)
        return false;
    /* volatile: the compiler may not notice that the answer is known after the first difference. */
    const volatile uint8_t *left = a;
    const volatile uint8_t *right = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < a_len; i++)
        difference = (uint8_t)(difference | (left[i] ^ right[i]));
    return difference == 0;
}

void tg_hash_library_version(char out[TG_HASH_VERSION_SIZE])
{
    mbedtls_version_get_string(out);
}
