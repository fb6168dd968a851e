/* signature_pem.c - what the library reads out of PEM text, and its failures in words. */
#include <string.h>

#include "base/memory.h"
#include "base/signature_internal.h"

#define PEM_BYTES_MAX ((size_t)64 << 10)

static enum tg_err pem_failure(int result, struct tg_error *error)
{
    if (result == MBEDTLS_ERR_PK_ALLOC_FAILED || result == MBEDTLS_ERR_PEM_ALLOC_FAILED ||
        result == MBEDTLS_ERR_X509_ALLOC_FAILED)
        return tg_error_set(error, TG_ERR_NOMEM, "out of memory");
    if (result == MBEDTLS_ERR_PK_PASSWORD_REQUIRED || result == MBEDTLS_ERR_PK_PASSWORD_MISMATCH)
        return tg_error_set(error, TG_ERR_INVALID,
                            "the key is encrypted; give it without a password");
    if (result == MBEDTLS_ERR_PK_UNKNOWN_PK_ALG || result == MBEDTLS_ERR_X509_UNKNOWN_SIG_ALG)
        return tg_error_set(error, TG_ERR_INVALID, "this kind of key is not supported; %s",
                            TG__KEYS_SUPPORTED);
    if (result == MBEDTLS_ERR_PK_UNKNOWN_NAMED_CURVE)
        return tg_error_set(error, TG_ERR_INVALID,
                            "an EC key on a curve that is not supported; P-256, P-384 and P-521 "
                            "are");
    return tg_error_set(error, TG_ERR_INVALID, "the PEM text holds no key that can be read");
}

/* The certificate's key, moved out of it. */
static int parse_certificate(mbedtls_pk_context *pk, const unsigned char *pem, size_t size)
{
    mbedtls_x509_crt certificate;
    mbedtls_x509_crt_init(&certificate);
    int result = mbedtls_x509_crt_parse(&certificate, pem, size);
    if (result == 0) {
        mbedtls_pk_free(pk);
        *pk = certificate.pk;
        mbedtls_pk_init(&certificate.pk);
    }
    mbedtls_x509_crt_free(&certificate);
    return result;
}

enum tg_err tg__key_parse_pem(struct tg__key *key, const char *text, size_t len, bool private,
                              struct tg_error *error)
{
    if (len > PEM_BYTES_MAX)
        return tg_error_set(error, TG_ERR_INVALID, "the PEM text is larger than 64 KiB");
    if (memchr(text, '\0', len) != NULL)
        return tg_error_set(error, TG_ERR_INVALID, "the PEM text holds a NUL byte");
    char *copy = tg_strndup(text, len); /* the parsers want the NUL */
    if (copy == NULL)
        return tg_error_set(error, TG_ERR_NOMEM, "out of memory");
    const unsigned char *pem = (const unsigned char *)copy;
    enum tg_err err = TG_ERR_OK;
    if (strstr(copy, "-----BEGIN ") == NULL)
        err = tg_error_set(error, TG_ERR_INVALID, "the text is no PEM (no -----BEGIN line)");
    else if (!private && strstr(copy, "PRIVATE KEY-----") != NULL)
        err = tg_error_set(error, TG_ERR_INVALID,
                           "this is a private key; whoever only verifies gets the public one");
    if (err == TG_ERR_OK) {
        int result = private ? tg__crypto_parse_private(&key->pk, pem, len + 1)
                     : strstr(copy, "-----BEGIN CERTIFICATE-----") != NULL
                         ? parse_certificate(&key->pk, pem, len + 1)
                         : mbedtls_pk_parse_public_key(&key->pk, pem, len + 1);
        if (result != 0)
            err = pem_failure(result, error);
    }
    explicit_bzero(copy, len);
    tg_free(copy);
    return err;
}
