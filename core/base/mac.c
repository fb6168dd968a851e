/* mac.c - HMAC by the crypto library. Unlike hash.c it may fail: the library's own allocates. */
#include "base/mac.h"

#include <string.h>

#include "base/crypto_library.h"
#include "base/hash.h"
#include "base/memory.h"

struct tg_mac_key {
    size_t len;
    uint8_t secret[];
};

static const struct {
    mbedtls_md_type_t digest;
    size_t size;
} algorithms[TG_MAC_ALGORITHMS] = {
    [TG_HS256] = {MBEDTLS_MD_SHA256, 32},
    [TG_HS384] = {MBEDTLS_MD_SHA384, 48},
    [TG_HS512] = {MBEDTLS_MD_SHA512, 64},
};

enum tg_err tg_mac_key_create(struct tg_mac_key **out, const void *secret, size_t len,
                              struct tg_error *error)
{
    if (len < TG_MAC_SECRET_MIN || len > TG_MAC_SECRET_MAX)
        return tg_error_set(error, TG_ERR_INVALID,
                            "the secret has %zu bytes; from %d to %d are taken", len,
                            TG_MAC_SECRET_MIN, TG_MAC_SECRET_MAX);
    struct tg_mac_key *key = tg_alloc(sizeof *key + len);
    if (key == NULL)
        return tg_error_set(error, TG_ERR_NOMEM, "out of memory");
    key->len = len;
    memcpy(key->secret, secret, len);
    *out = key;
    return TG_ERR_OK;
}

void tg_mac_key_destroy(struct tg_mac_key *key)
{
    if (key == NULL)
        return;
    explicit_bzero(key->secret, key->len);
    tg_free(key);
}

bool tg_mac_key_fits(const struct tg_mac_key *key, enum tg_mac_algorithm algorithm)
{
    return key->len >= algorithms[algorithm].size;
}

enum tg_err tg_mac_make(const struct tg_mac_key *key, enum tg_mac_algorithm algorithm,
                        const void *data, size_t len, uint8_t out[TG_MAC_SIZE_MAX], size_t *out_len)
{
    if (!tg_mac_key_fits(key, algorithm))
        return TG_ERR_INVALID;
    const mbedtls_md_info_t *info = mbedtls_md_info_from_type(algorithms[algorithm].digest);
    if (info == NULL)
        return TG_ERR_SYS;
    *out_len = algorithms[algorithm].size;
    int failed = mbedtls_md_hmac(info, key->secret, key->len, data, len, out);
    if (failed == 0)
        return TG_ERR_OK;
    return failed == MBEDTLS_ERR_MD_ALLOC_FAILED ? TG_ERR_NOMEM : TG_ERR_SYS;
}

bool tg_mac_is_good(const struct tg_mac_key *key, enum tg_mac_algorithm algorithm, const void *data,
                    size_t len, const uint8_t *mac, size_t mac_len)
{
    uint8_t expected[TG_MAC_SIZE_MAX];
    size_t expected_len = 0;
    bool good = tg_mac_make(key, algorithm, data, len, expected, &expected_len) == TG_ERR_OK &&
                tg_equal_constant_time(expected, expected_len, mac, mac_len);
    explicit_bzero(expected, sizeof expected);
    return good;
}
