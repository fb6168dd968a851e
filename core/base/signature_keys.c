/* signature_keys.c - keys from numbers and from PEM (signature_pem.c), each checked in full before anybody
 * gets it.
 *
 * The library takes keys that nobody should use: short RSA, exponents that make verifying as slow as
 * signing, curves that RFC 7518 does not know. So both ways of making a key end in examine().
 */
#include <assert.h>
#include <string.h>

#include "base/memory.h"
#include "base/signature_internal.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define RSA_PRIVATE_BITS_MAX 4096 /* signing with more takes longer than a script may */
#define EXPONENT_BITS_MAX 64

static const struct {
    mbedtls_ecp_group_id id;
    size_t size;
} curves[] = {
    [TG_P256] = {MBEDTLS_ECP_DP_SECP256R1, 32},
    [TG_P384] = {MBEDTLS_ECP_DP_SECP384R1, 48},
    [TG_P521] = {MBEDTLS_ECP_DP_SECP521R1, 66},
};

size_t tg_curve_size(enum tg_curve curve)
{
    return curves[curve].size;
}

/* --- checking ------------------------------------------------------------------------------------- */

static enum tg_err examine_rsa(const mbedtls_rsa_context *rsa, size_t bits_max,
                               struct tg_error *error)
{
    mbedtls_mpi n;
    mbedtls_mpi e;
    mbedtls_mpi_init(&n);
    mbedtls_mpi_init(&e);
    int failed = mbedtls_rsa_export(rsa, &n, NULL, NULL, NULL, &e);
    size_t bits = mbedtls_mpi_bitlen(&n);
    size_t exponent_bits = mbedtls_mpi_bitlen(&e);
    mbedtls_mpi_free(&n);
    mbedtls_mpi_free(&e);
    if (failed != 0 || mbedtls_rsa_check_pubkey(rsa) != 0)
        return tg_error_set(error, TG_ERR_INVALID, "the numbers of the RSA key make no key");
    if (bits < RSA_BITS_MIN || bits > bits_max)
        return tg_error_set(error, TG_ERR_INVALID,
                            "the RSA key has %zu bits; from %d to %zu are taken", bits,
                            RSA_BITS_MIN, bits_max);
    if (exponent_bits > EXPONENT_BITS_MAX)
        return tg_error_set(error, TG_ERR_INVALID,
                            "the RSA key has a public exponent of %zu bits; %d at most",
                            exponent_bits, EXPONENT_BITS_MAX);
    return TG_ERR_OK;
}

static enum tg_err examine_ec(struct tg__key *key, struct tg_error *error)
{
    const mbedtls_ecp_group *group = tg__crypto_group(&key->pk);
    size_t i = 0;
    while (i < sizeof curves / sizeof curves[0] && curves[i].id != group->id)
        i++;
    if (i == sizeof curves / sizeof curves[0])
        return tg_error_set(error, TG_ERR_INVALID,
                            "an EC key on a curve that is not supported; P-256, P-384 and P-521 "
                            "are");
    key->curve = (enum tg_curve)i;
    if (mbedtls_ecp_check_pubkey(group, tg__crypto_point(&key->pk)) != 0)
        return tg_error_set(error, TG_ERR_INVALID, "the EC key is no point of its curve");
    return TG_ERR_OK;
}

static enum tg_err examine(struct tg__key *key, size_t rsa_bits_max, struct tg_error *error)
{
    mbedtls_pk_type_t type = mbedtls_pk_get_type(&key->pk);
    key->is_rsa = type == MBEDTLS_PK_RSA;
    if (key->is_rsa)
        return examine_rsa(mbedtls_pk_rsa(key->pk), rsa_bits_max, error);
    if (type == MBEDTLS_PK_ECKEY)
        return examine_ec(key, error);
    return tg_error_set(error, TG_ERR_INVALID, "this kind of key is not supported; %s",
                        TG__KEYS_SUPPORTED);
}

static enum tg_err examine_private(struct tg__key *key, struct tg_error *error)
{
    enum tg_err err = examine(key, RSA_PRIVATE_BITS_MAX, error);
    if (err != TG_ERR_OK)
        return err;
    if (key->is_rsa) {
        if (mbedtls_rsa_check_privkey(mbedtls_pk_rsa(key->pk)) != 0)
            return tg_error_set(error, TG_ERR_INVALID, "the numbers of the RSA key do not fit");
    } else if (tg__crypto_check_pair(&key->pk) != 0) {
        return tg_error_set(error, TG_ERR_INVALID,
                            "the private and the public half of the EC key do not fit");
    }
    return TG_ERR_OK;
}

/* --- numbers --------------------------------------------------------------------------------------- */

static enum tg_err import_rsa(struct tg__key *key, const struct tg_rsa_numbers *numbers,
                              struct tg_error *error)
{
    const struct tg_octets *all[] = {&numbers->n, &numbers->e, &numbers->d, &numbers->p,
                                     &numbers->q};
    size_t bits_max = numbers->d.len > 0 ? RSA_PRIVATE_BITS_MAX : RSA_BITS_MAX;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i]->len > bits_max / 8 + 1)
            return tg_error_set(error, TG_ERR_INVALID, "a number of the RSA key is too long");
    }
    if (numbers->d.len > 0 && (numbers->p.len == 0 || numbers->q.len == 0))
        return tg_error_set(error, TG_ERR_INVALID, "the RSA key lacks its primes");
    if (mbedtls_pk_setup(&key->pk, mbedtls_pk_info_from_type(MBEDTLS_PK_RSA)) != 0)
        return tg_error_set(error, TG_ERR_NOMEM, "out of memory");
    mbedtls_rsa_context *rsa = mbedtls_pk_rsa(key->pk);
    /* NULL: not given. */
    int failed = mbedtls_rsa_import_raw(
        rsa, numbers->n.data, numbers->n.len, numbers->p.data, numbers->p.len, numbers->q.data,
        numbers->q.len, numbers->d.data, numbers->d.len, numbers->e.data, numbers->e.len);
    if (failed == 0)
        failed = mbedtls_rsa_complete(rsa);
    if (failed != 0)
        return tg_error_set(error, TG_ERR_INVALID, "the numbers of the RSA key make no key");
    return TG_ERR_OK;
}

static enum tg_err import_ec(struct tg__key *key, enum tg_curve curve, struct tg_octets x,
                             struct tg_octets y, struct tg_octets d, struct tg_error *error)
{
    uint8_t point[1 + 2 * 66];
    size_t size = curves[curve].size;
    if (x.len != size || y.len != size || (d.data != NULL && d.len != size))
        return tg_error_set(error, TG_ERR_INVALID,
                            "the numbers of the EC key must have %zu bytes each", size);
    if (mbedtls_pk_setup(&key->pk, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) != 0)
        return tg_error_set(error, TG_ERR_NOMEM, "out of memory");
    point[0] = 4; /* not compressed */
    memcpy(point + 1, x.data, size);
    memcpy(point + 1 + size, y.data, size);
    mbedtls_ecp_group *group = tg__crypto_group(&key->pk);
    int failed = mbedtls_ecp_group_load(group, curves[curve].id);
    if (failed == 0)
        failed =
            mbedtls_ecp_point_read_binary(group, tg__crypto_point(&key->pk), point, 1 + 2 * size);
    if (failed == 0 && d.data != NULL)
        failed = mbedtls_mpi_read_binary(tg__crypto_secret(&key->pk), d.data, d.len);
    if (failed != 0)
        return tg_error_set(error, TG_ERR_INVALID, "the numbers of the EC key make no key");
    return TG_ERR_OK;
}

/* --- the two types --------------------------------------------------------------------------------- */

/* Both types are a struct tg__key and nothing else. */
static struct tg__key *new_key(void)
{
    static_assert(sizeof(struct tg_public_key) == sizeof(struct tg__key), "one member");
    static_assert(sizeof(struct tg_private_key) == sizeof(struct tg__key), "one member");
    struct tg__key *key = tg_calloc(1, sizeof *key);
    if (key != NULL)
        mbedtls_pk_init(&key->pk);
    return key;
}

static void destroy(struct tg__key *key)
{
    if (key == NULL)
        return;
    mbedtls_pk_free(&key->pk); /* overwrites its numbers */
    explicit_bzero(key, sizeof *key);
    tg_free(key);
}

static enum tg_err no_memory(struct tg_error *error)
{
    return tg_error_set(error, TG_ERR_NOMEM, "out of memory");
}

static enum tg_err finish_public(struct tg_public_key **out, struct tg__key *key, enum tg_err err,
                                 struct tg_error *error)
{
    if (err == TG_ERR_OK)
        err = examine(key, RSA_BITS_MAX, error);
    if (err == TG_ERR_OK)
        *out = (struct tg_public_key *)key;
    else
        destroy(key);
    return err;
}

static enum tg_err finish_private(struct tg_private_key **out, struct tg__key *key, enum tg_err err,
                                  struct tg_error *error)
{
    if (err == TG_ERR_OK)
        err = examine_private(key, error);
    if (err == TG_ERR_OK)
        *out = (struct tg_private_key *)key;
    else
        destroy(key);
    return err;
}

enum tg_err tg_public_key_from_pem(struct tg_public_key **out, const char *text, size_t len,
                                   struct tg_error *error)
{
    struct tg__key *key = new_key();
    if (key == NULL)
        return no_memory(error);
    return finish_public(out, key, tg__key_parse_pem(key, text, len, false, error), error);
}

enum tg_err tg_public_key_from_rsa(struct tg_public_key **out, struct tg_octets n,
                                   struct tg_octets e, struct tg_error *error)
{
    struct tg_rsa_numbers numbers = {.n = n, .e = e};
    struct tg__key *key = new_key();
    if (key == NULL)
        return no_memory(error);
    return finish_public(out, key, import_rsa(key, &numbers, error), error);
}

enum tg_err tg_public_key_from_ec(struct tg_public_key **out, enum tg_curve curve,
                                  struct tg_octets x, struct tg_octets y, struct tg_error *error)
{
    struct tg__key *key = new_key();
    if (key == NULL)
        return no_memory(error);
    return finish_public(out, key, import_ec(key, curve, x, y, (struct tg_octets){0}, error),
                         error);
}

void tg_public_key_destroy(struct tg_public_key *key)
{
    destroy((struct tg__key *)key);
}

enum tg_err tg_private_key_from_pem(struct tg_private_key **out, const char *text, size_t len,
                                    struct tg_error *error)
{
    struct tg__key *key = new_key();
    if (key == NULL)
        return no_memory(error);
    return finish_private(out, key, tg__key_parse_pem(key, text, len, true, error), error);
}

enum tg_err tg_private_key_from_rsa(struct tg_private_key **out,
                                    const struct tg_rsa_numbers *numbers, struct tg_error *error)
{
    struct tg__key *key = new_key();
    if (key == NULL)
        return no_memory(error);
    return finish_private(out, key, import_rsa(key, numbers, error), error);
}

enum tg_err tg_private_key_from_ec(struct tg_private_key **out, enum tg_curve curve,
                                   struct tg_octets x, struct tg_octets y, struct tg_octets d,
                                   struct tg_error *error)
{
    struct tg__key *key = new_key();
    if (key == NULL)
        return no_memory(error);
    return finish_private(out, key, import_ec(key, curve, x, y, d, error), error);
}

void tg_private_key_destroy(struct tg_private_key *key)
{
    destroy((struct tg__key *)key);
}
