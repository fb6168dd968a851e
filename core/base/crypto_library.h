/* crypto_library.h - the headers of the crypto library that signatures need, and everything that differs
 * between its versions: 2.28 (Debian 12) and 3.6 (Debian 13).
 *
 * For core/base/signature*.c, mac.c and password.c only. Random bytes for the library come from base/random.
 */
#ifndef TG_BASE_CRYPTO_LIBRARY_H
#define TG_BASE_CRYPTO_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#include <mbedtls/ecdsa.h>
#include <mbedtls/ecp.h>
#include <mbedtls/md.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/rsa.h>
#include <mbedtls/sha256.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#include "base/random.h"

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#define TG_CRYPTO_LIBRARY_3 1
#define TG_CRYPTO_MEMBER(name) MBEDTLS_PRIVATE(name)
#define TG_CRYPTO_SHA256(verb) mbedtls_sha256_##verb
#else
#define TG_CRYPTO_LIBRARY_3 0
#define TG_CRYPTO_MEMBER(name) name
#define TG_CRYPTO_SHA256(verb) mbedtls_sha256_##verb##_ret
#endif

static inline int tg__crypto_random(void *ctx, unsigned char *out, size_t len)
{
    (void)ctx;
    tg_random_bytes(out, len);
    return 0;
}

static inline int tg__crypto_parse_private(mbedtls_pk_context *key, const unsigned char *pem,
                                           size_t size)
{
#if TG_CRYPTO_LIBRARY_3
    return mbedtls_pk_parse_key(key, pem, size, NULL, 0, tg__crypto_random, NULL);
#else
    return mbedtls_pk_parse_key(key, pem, size, NULL, 0);
#endif
}

static inline mbedtls_ecp_group *tg__crypto_group(const mbedtls_pk_context *key)
{
    return &mbedtls_pk_ec(*key)->TG_CRYPTO_MEMBER(grp);
}

static inline mbedtls_ecp_point *tg__crypto_point(const mbedtls_pk_context *key)
{
    return &mbedtls_pk_ec(*key)->TG_CRYPTO_MEMBER(Q);
}

static inline mbedtls_mpi *tg__crypto_secret(const mbedtls_pk_context *key)
{
    return &mbedtls_pk_ec(*key)->TG_CRYPTO_MEMBER(d);
}

/* Zero when Q is d times the generator. */
static inline int tg__crypto_check_pair(const mbedtls_pk_context *key)
{
#if TG_CRYPTO_LIBRARY_3
    return mbedtls_pk_check_pair(key, key, tg__crypto_random, NULL);
#else
    return mbedtls_pk_check_pair(key, key);
#endif
}

static inline int tg__crypto_verify_v15(mbedtls_rsa_context *rsa, mbedtls_md_type_t digest,
                                        const uint8_t *hash, size_t len, const uint8_t *signature)
{
#if TG_CRYPTO_LIBRARY_3
    return mbedtls_rsa_rsassa_pkcs1_v15_verify(rsa, digest, (unsigned)len, hash, signature);
#else
    return mbedtls_rsa_rsassa_pkcs1_v15_verify(rsa, NULL, NULL, MBEDTLS_RSA_PUBLIC, digest,
                                               (unsigned)len, hash, signature);
#endif
}

/* The salt is as long as the hash, and MGF1 uses the same one. */
static inline int tg__crypto_verify_pss(mbedtls_rsa_context *rsa, mbedtls_md_type_t digest,
                                        const uint8_t *hash, size_t len, const uint8_t *signature)
{
#if TG_CRYPTO_LIBRARY_3
    return mbedtls_rsa_rsassa_pss_verify_ext(rsa, digest, (unsigned)len, hash, digest, (int)len,
                                             signature);
#else
    return mbedtls_rsa_rsassa_pss_verify_ext(rsa, NULL, NULL, MBEDTLS_RSA_PUBLIC, digest,
                                             (unsigned)len, hash, digest, (int)len, signature);
#endif
}

static inline void tg__crypto_set_padding(mbedtls_rsa_context *rsa, int padding,
                                          mbedtls_md_type_t digest)
{
#if TG_CRYPTO_LIBRARY_3
    (void)mbedtls_rsa_set_padding(rsa, padding, digest); /* both are among those it knows */
#else
    mbedtls_rsa_set_padding(rsa, padding, (int)digest);
#endif
}

static inline int tg__crypto_sign_v15(mbedtls_rsa_context *rsa, mbedtls_md_type_t digest,
                                      const uint8_t *hash, size_t len, uint8_t *signature)
{
    tg__crypto_set_padding(rsa, MBEDTLS_RSA_PKCS_V15, MBEDTLS_MD_NONE);
#if TG_CRYPTO_LIBRARY_3
    return mbedtls_rsa_rsassa_pkcs1_v15_sign(rsa, tg__crypto_random, NULL, digest, (unsigned)len,
                                             hash, signature);
#else
    return mbedtls_rsa_rsassa_pkcs1_v15_sign(rsa, tg__crypto_random, NULL, MBEDTLS_RSA_PRIVATE,
                                             digest, (unsigned)len, hash, signature);
#endif
}

static inline int tg__crypto_sign_pss(mbedtls_rsa_context *rsa, mbedtls_md_type_t digest,
                                      const uint8_t *hash, size_t len, uint8_t *signature)
{
    tg__crypto_set_padding(rsa, MBEDTLS_RSA_PKCS_V21, digest);
    return mbedtls_rsa_rsassa_pss_sign_ext(rsa, tg__crypto_random, NULL, digest, (unsigned)len,
                                           hash, (int)len, signature);
}

#endif
