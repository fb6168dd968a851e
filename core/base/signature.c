/* signature.c - verifying and signing with keys that signature_keys.c has made. */
#include "base/signature.h"

#include <string.h>

#include "base/signature_internal.h"

enum scheme { PKCS1, PSS, ECDSA };

static const struct {
    enum scheme scheme;
    mbedtls_md_type_t digest;
    uint8_t digest_size;
    enum tg_curve curve; /* ECDSA */
} algorithms[TG_SIGNATURE_ALGORITHMS] = {
    [TG_RS256] = {PKCS1, MBEDTLS_MD_SHA256, 32, TG_P256},
    [TG_RS384] = {PKCS1, MBEDTLS_MD_SHA384, 48, TG_P256},
    [TG_RS512] = {PKCS1, MBEDTLS_MD_SHA512, 64, TG_P256},
    [TG_PS256] = {PSS, MBEDTLS_MD_SHA256, 32, TG_P256},
    [TG_PS384] = {PSS, MBEDTLS_MD_SHA384, 48, TG_P256},
    [TG_PS512] = {PSS, MBEDTLS_MD_SHA512, 64, TG_P256},
    [TG_ES256] = {ECDSA, MBEDTLS_MD_SHA256, 32, TG_P256},
    [TG_ES384] = {ECDSA, MBEDTLS_MD_SHA384, 48, TG_P384},
    [TG_ES512] = {ECDSA, MBEDTLS_MD_SHA512, 64, TG_P521},
};

static bool fits(const struct tg__key *key, enum tg_signature_algorithm algorithm)
{
    if (algorithms[algorithm].scheme != ECDSA)
        return key->is_rsa;
    return !key->is_rsa && key->curve == algorithms[algorithm].curve;
}

static bool digest(enum tg_signature_algorithm algorithm, const void *data, size_t len,
                   uint8_t out[MBEDTLS_MD_MAX_SIZE])
{
    const mbedtls_md_info_t *info = mbedtls_md_info_from_type(algorithms[algorithm].digest);
    return info != NULL && mbedtls_md(info, data, len, out) == 0;
}

static bool verify_rsa(mbedtls_rsa_context *rsa, enum tg_signature_algorithm algorithm,
                       const uint8_t *hash, const uint8_t *signature, size_t signature_len)
{
    if (signature_len != mbedtls_rsa_get_len(rsa))
        return false;
    size_t size = algorithms[algorithm].digest_size;
    int failed =
        algorithms[algorithm].scheme == PSS
            ? tg__crypto_verify_pss(rsa, algorithms[algorithm].digest, hash, size, signature)
            : tg__crypto_verify_v15(rsa, algorithms[algorithm].digest, hash, size, signature);
    return failed == 0;
}

/* The library refuses r and s outside of 1 to n - 1. */
static bool verify_ec(const struct tg__key *key, enum tg_signature_algorithm algorithm,
                      const uint8_t *hash, const uint8_t *signature, size_t signature_len)
{
    size_t size = tg_curve_size(key->curve);
    if (signature_len != 2 * size)
        return false;
    mbedtls_mpi r;
    mbedtls_mpi s;
    mbedtls_mpi_init(&r);
    mbedtls_mpi_init(&s);
    int failed = mbedtls_mpi_read_binary(&r, signature, size);
    if (failed == 0)
        failed = mbedtls_mpi_read_binary(&s, signature + size, size);
    if (failed == 0)
        failed = mbedtls_ecdsa_verify(tg__crypto_group(&key->pk), hash,
                                      algorithms[algorithm].digest_size, tg__crypto_point(&key->pk),
                                      &r, &s);
    mbedtls_mpi_free(&r);
    mbedtls_mpi_free(&s);
    return failed == 0;
}

static enum tg_err result_of(int failed)
{
    if (failed == 0)
        return TG_ERR_OK;
    return failed == MBEDTLS_ERR_MPI_ALLOC_FAILED ? TG_ERR_NOMEM : TG_ERR_SYS;
}

/* Deterministic (RFC 6979): a bad random number generator cannot give the key away. */
static enum tg_err sign_ec(const struct tg__key *key, enum tg_signature_algorithm algorithm,
                           const uint8_t *hash, uint8_t *out)
{
    size_t size = tg_curve_size(key->curve);
    mbedtls_mpi r;
    mbedtls_mpi s;
    mbedtls_mpi_init(&r);
    mbedtls_mpi_init(&s);
    int failed = mbedtls_ecdsa_sign_det_ext(
        tg__crypto_group(&key->pk), &r, &s, tg__crypto_secret(&key->pk), hash,
        algorithms[algorithm].digest_size, algorithms[algorithm].digest, tg__crypto_random, NULL);
    if (failed == 0)
        failed = mbedtls_mpi_write_binary(&r, out, size);
    if (failed == 0)
        failed = mbedtls_mpi_write_binary(&s, out + size, size);
    mbedtls_mpi_free(&r);
    mbedtls_mpi_free(&s);
    return result_of(failed);
}

bool tg_public_key_fits(const struct tg_public_key *key, enum tg_signature_algorithm algorithm)
{
    return fits(&key->key, algorithm);
}

bool tg_private_key_fits(const struct tg_private_key *key, enum tg_signature_algorithm algorithm)
{
    return fits(&key->key, algorithm);
}

bool tg_signature_is_good(struct tg_public_key *key, enum tg_signature_algorithm algorithm,
                          const void *data, size_t len, const uint8_t *signature,
                          size_t signature_len)
{
    uint8_t hash[MBEDTLS_MD_MAX_SIZE];
    if (!fits(&key->key, algorithm) || !digest(algorithm, data, len, hash))
        return false;
    if (key->key.is_rsa)
        return verify_rsa(mbedtls_pk_rsa(key->key.pk), algorithm, hash, signature, signature_len);
    return verify_ec(&key->key, algorithm, hash, signature, signature_len);
}

enum tg_err tg_signature_make(struct tg_private_key *key, enum tg_signature_algorithm algorithm,
                              const void *data, size_t len, uint8_t out[TG_SIGNATURE_SIZE_MAX],
                              size_t *out_len)
{
    uint8_t hash[MBEDTLS_MD_MAX_SIZE];
    if (!fits(&key->key, algorithm))
        return TG_ERR_INVALID;
    if (!digest(algorithm, data, len, hash))
        return TG_ERR_SYS;
    if (!key->key.is_rsa) {
        *out_len = 2 * tg_curve_size(key->key.curve);
        return sign_ec(&key->key, algorithm, hash, out);
    }
    mbedtls_rsa_context *rsa = mbedtls_pk_rsa(key->key.pk);
    size_t size = algorithms[algorithm].digest_size;
    *out_len = mbedtls_rsa_get_len(rsa); /* 512 at most: see signature_keys.c */
    if (algorithms[algorithm].scheme == PSS)
        return result_of(tg__crypto_sign_pss(rsa, algorithms[algorithm].digest, hash, size, out));
    return result_of(tg__crypto_sign_v15(rsa, algorithms[algorithm].digest, hash, size, out));
}
