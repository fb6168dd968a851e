/* hash.c - digests by mbedTLS, HMAC here.
 *
 * HMAC is written out (RFC 2104) because the library's own allocates, and so could fail.
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
