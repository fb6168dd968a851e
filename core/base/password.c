/* password.c - PBKDF2 by the crypto library's SHA-256, but for its loop: the library's own cannot pause, and
 * hashes the padded key anew each time. Here both halves of HMAC begin from a kept state, which is twice as
 * fast: what the server pays is what an attacker pays, too.
 */
#include "base/password.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto_library.h"
#include "base/hash.h"
#include "base/memory.h"

#define BLOCK 64 /* of SHA-256 */

_Static_assert(TG_PASSWORD_HASH_SIZE == TG_SHA256_SIZE, "one block of PBKDF2");

struct tg_password_work {
    mbedtls_sha256_context inner, outer; /* after the padded key */
    uint8_t last[TG_SHA256_SIZE];        /* U_i */
    uint8_t sum[TG_SHA256_SIZE];         /* U_1 ^ … ^ U_i */
    uint32_t left;
};

static void must_be_zero(int result)
{
    if (result != 0) {
        (void)fprintf(stderr, "tidegate: the crypto library refused to hash (%d)\n", result);
        abort();
    }
}

static void begin_half(mbedtls_sha256_context *half, const uint8_t key[BLOCK], uint8_t pad)
{
    uint8_t padded[BLOCK];
    for (size_t i = 0; i < BLOCK; i++)
        padded[i] = key[i] ^ pad;
    mbedtls_sha256_init(half);
    must_be_zero(TG_CRYPTO_SHA256(starts)(half, 0));
    must_be_zero(TG_CRYPTO_SHA256(update)(half, padded, BLOCK));
    explicit_bzero(padded, sizeof padded);
}

static void finish_half(const mbedtls_sha256_context *half, const uint8_t *data, size_t len,
                        const uint8_t *more, size_t more_len, uint8_t out[TG_SHA256_SIZE])
{
    mbedtls_sha256_context context;
    mbedtls_sha256_init(&context);
    mbedtls_sha256_clone(&context, half);
    must_be_zero(TG_CRYPTO_SHA256(update)(&context, data, len));
    if (more_len > 0)
        must_be_zero(TG_CRYPTO_SHA256(update)(&context, more, more_len));
    must_be_zero(TG_CRYPTO_SHA256(finish)(&context, out));
    mbedtls_sha256_free(&context);
}

struct tg_password_work *tg_password_create(const void *password, size_t len, const void *salt,
                                            size_t salt_len, uint32_t iterations)
{
    static const uint8_t first_block[4] = {0, 0, 0, 1};
    uint8_t key[BLOCK] = {0};
    uint8_t half[TG_SHA256_SIZE];
    struct tg_password_work *work = tg_calloc(1, sizeof *work);
    if (work == NULL)
        return NULL;
    if (len > BLOCK)
        tg_sha256(password, len, key);
    else if (len > 0)
        memcpy(key, password, len);
    begin_half(&work->inner, key, 0x36);
    begin_half(&work->outer, key, 0x5c);
    explicit_bzero(key, sizeof key);
    finish_half(&work->inner, salt, salt_len, first_block, sizeof first_block, half);
    finish_half(&work->outer, half, sizeof half, NULL, 0, work->last);
    memcpy(work->sum, work->last, sizeof work->sum);
    work->left = iterations - 1;
    return work;
}

uint32_t tg_password_step(struct tg_password_work *work, uint32_t iterations)
{
    uint8_t half[TG_SHA256_SIZE];
    for (uint32_t n = iterations < work->left ? iterations : work->left; n > 0; n--) {
        finish_half(&work->inner, work->last, sizeof work->last, NULL, 0, half);
        finish_half(&work->outer, half, sizeof half, NULL, 0, work->last);
        for (size_t i = 0; i < sizeof work->sum; i++)
            work->sum[i] ^= work->last[i];
        work->left--;
    }
    return work->left;
}

void tg_password_result(const struct tg_password_work *work, uint8_t out[TG_PASSWORD_HASH_SIZE])
{
    memcpy(out, work->sum, TG_PASSWORD_HASH_SIZE);
}

void tg_password_destroy(struct tg_password_work *work)
{
    if (work == NULL)
        return;
    mbedtls_sha256_free(&work->inner);
    mbedtls_sha256_free(&work->outer);
    explicit_bzero(work, sizeof *work);
    tg_free(work);
}
