/* jwt_key.c - keys of tokens: which algorithms they are for, choosing one, using it. */
#include "proto/jwt_key.h"

#include <string.h>

#include "base/base64.h"
#include "proto/jwt_internal.h"

uint32_t tg__jwt_key_fitting(const struct tg_jwt_key *key)
{
    uint32_t bits = 0;
    for (int i = 0; i < TG_JWT_ALGORITHMS; i++) {
        enum tg_jwt_algorithm algorithm = (enum tg_jwt_algorithm)i;
        enum tg_mac_algorithm mac;
        enum tg_signature_algorithm signature;
        bool fits = false;
        if (tg_jwt_algorithm_mac(algorithm, &mac))
            fits = key->secret != NULL && tg_mac_key_fits(key->secret, mac);
        else if (tg_jwt_algorithm_signature(algorithm, &signature))
            fits = key->public_key != NULL && tg_public_key_fits(key->public_key, signature);
        if (fits)
            bits |= TG_JWT_BIT(algorithm);
    }
    return bits;
}

enum tg_err tg_jwt_key_from_pem(struct tg_jwt_key *out, const char *text, size_t len,
                                struct tg_error *error)
{
    *out = (struct tg_jwt_key){0};
    enum tg_err err = tg_public_key_from_pem(&out->public_key, text, len, error);
    out->algorithms = err == TG_ERR_OK ? tg__jwt_key_fitting(out) : 0;
    return err;
}

enum tg_err tg_jwt_key_from_secret(struct tg_jwt_key *out, const void *secret, size_t len,
                                   struct tg_error *error)
{
    *out = (struct tg_jwt_key){0};
    enum tg_err err = tg_mac_key_create(&out->secret, secret, len, error);
    out->algorithms = err == TG_ERR_OK ? tg__jwt_key_fitting(out) : 0;
    return err;
}

void tg_jwt_key_fini(struct tg_jwt_key *key)
{
    tg_public_key_destroy(key->public_key);
    tg_mac_key_destroy(key->secret);
    *key = (struct tg_jwt_key){0};
}

static bool is_candidate(const struct tg_jwt_key *key, const struct tg_jwt *jwt, bool by_kid)
{
    if ((key->algorithms & TG_JWT_BIT(jwt->algorithm)) == 0)
        return false;
    if (by_kid)
        return key->has_kid && strcmp(key->kid, jwt->kid) == 0;
    return !jwt->has_kid || !key->has_kid;
}

static struct tg_jwt_key *only_one(struct tg_jwt_key *keys, size_t count, const struct tg_jwt *jwt,
                                   bool by_kid, size_t *found)
{
    struct tg_jwt_key *one = NULL;
    *found = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_candidate(&keys[i], jwt, by_kid)) {
            one = &keys[i];
            ++*found;
        }
    }
    return *found == 1 ? one : NULL;
}

struct tg_jwt_key *tg_jwt_key_select(struct tg_jwt_key *keys, size_t count,
                                     const struct tg_jwt *jwt, const char **why)
{
    size_t found = 0;
    struct tg_jwt_key *key = NULL;
    if (jwt->has_kid)
        key = only_one(keys, count, jwt, true, &found);
    if (found == 0)
        key = only_one(keys, count, jwt, false, &found);
    if (found == 0)
        *why = "no key is known for this token";
    else if (found > 1)
        *why = "more than one key would do for this token, and it does not say which (kid)";
    return key;
}

bool tg_jwt_key_verifies(const struct tg_jwt_key *key, const struct tg_jwt *jwt)
{
    enum tg_mac_algorithm mac;
    enum tg_signature_algorithm signature;
    const uint8_t *bytes = tg_buffer_head(&jwt->signature);
    if (bytes == NULL || (key->algorithms & TG_JWT_BIT(jwt->algorithm)) == 0)
        return false;
    if (tg_jwt_algorithm_mac(jwt->algorithm, &mac))
        return key->secret != NULL && tg_mac_is_good(key->secret, mac, jwt->text, jwt->signed_len,
                                                     bytes, jwt->signature.len);
    return tg_jwt_algorithm_signature(jwt->algorithm, &signature) && key->public_key != NULL &&
           tg_signature_is_good(key->public_key, signature, jwt->text, jwt->signed_len, bytes,
                                jwt->signature.len);
}

/* --- signing --------------------------------------------------------------------------------------- */

enum tg_err tg_jwt_signer_from_pem(struct tg_jwt_signer *out, const char *text, size_t len,
                                   struct tg_error *error)
{
    *out = (struct tg_jwt_signer){0};
    return tg_private_key_from_pem(&out->private_key, text, len, error);
}

enum tg_err tg_jwt_signer_from_secret(struct tg_jwt_signer *out, const void *secret, size_t len,
                                      struct tg_error *error)
{
    *out = (struct tg_jwt_signer){0};
    return tg_mac_key_create(&out->secret, secret, len, error);
}

void tg_jwt_signer_fini(struct tg_jwt_signer *signer)
{
    tg_private_key_destroy(signer->private_key);
    tg_mac_key_destroy(signer->secret);
    *signer = (struct tg_jwt_signer){0};
}

static enum tg_err make(const struct tg_jwt_signer *signer, enum tg_jwt_algorithm algorithm,
                        const void *data, size_t len, uint8_t out[TG_SIGNATURE_SIZE_MAX],
                        size_t *out_len)
{
    enum tg_mac_algorithm mac;
    enum tg_signature_algorithm signature;
    if (tg_jwt_algorithm_mac(algorithm, &mac) && signer->secret != NULL)
        return tg_mac_make(signer->secret, mac, data, len, out, out_len);
    if (tg_jwt_algorithm_signature(algorithm, &signature) && signer->private_key != NULL)
        return tg_signature_make(signer->private_key, signature, data, len, out, out_len);
    return TG_ERR_INVALID;
}

/* Appends to `out`, which is left with half a token on error. */
static enum tg_err put(const struct tg_jwt_signer *signer, enum tg_jwt_algorithm algorithm,
                       struct tg_octets header, struct tg_octets claims, struct tg_buffer *out)
{
    uint8_t signature[TG_SIGNATURE_SIZE_MAX];
    size_t signature_len = 0;
    size_t before = out->len;
    if (tg_base64url_encode(header.data, header.len, out) != TG_ERR_OK ||
        tg_buffer_append(out, ".", 1) != TG_ERR_OK ||
        tg_base64url_encode(claims.data, claims.len, out) != TG_ERR_OK)
        return TG_ERR_NOMEM;
    enum tg_err err = make(signer, algorithm, tg_buffer_head(out) + before, out->len - before,
                           signature, &signature_len);
    if (err != TG_ERR_OK)
        return err;
    if (tg_buffer_append(out, ".", 1) != TG_ERR_OK ||
        tg_base64url_encode(signature, signature_len, out) != TG_ERR_OK)
        return TG_ERR_NOMEM;
    return TG_ERR_OK;
}

enum tg_err tg_jwt_sign(const struct tg_jwt_signer *signer, enum tg_jwt_algorithm algorithm,
                        const void *header, size_t header_len, const void *claims,
                        size_t claims_len, struct tg_buffer *out, struct tg_error *error)
{
    enum tg_err err = put(signer, algorithm, (struct tg_octets){header, header_len},
                          (struct tg_octets){claims, claims_len}, out);
    if (err == TG_ERR_INVALID)
        return tg_error_set(error, err, "the key does not fit %s",
                            tg_jwt_algorithm_names[algorithm]);
    if (err != TG_ERR_OK)
        return tg_error_set(error, err, "signing failed: %s", tg_err_text(err));
    return err;
}
