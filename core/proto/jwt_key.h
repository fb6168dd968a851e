/* jwt_key.h - a key that tokens are verified with, from PEM, a secret or a JWK (RFC 7517), and signing.
 *
 * A key knows the algorithms it may be used with: those of its kind and size, and of these only the one
 * its JWK names. It is a public key or a secret, never both and never one in place of the other.
 */
#ifndef TG_PROTO_JWT_KEY_H
#define TG_PROTO_JWT_KEY_H

#include "proto/jwt.h"

struct tg_jwt_key {
    struct tg_public_key *public_key; /* owned; NULL: it is a secret */
    struct tg_mac_key *secret;        /* owned; NULL: it is a public key */
    uint32_t algorithms;              /* TG_JWT_BIT; not 0 */
    bool has_kid;
    char kid[TG_JWT_KID_SIZE];
};

/* TG_ERR_INVALID: error says why, without any part of the key. */
TG_MUST enum tg_err tg_jwt_key_from_pem(struct tg_jwt_key *out, const char *text, size_t len,
                                        struct tg_error *error);
TG_MUST enum tg_err tg_jwt_key_from_secret(struct tg_jwt_key *out, const void *secret, size_t len,
                                           struct tg_error *error);
/* A JWK of a checked document. Refused: private keys, `use` other than "sig", `key_ops` without "verify",
 * members named twice. */
TG_MUST enum tg_err tg_jwt_key_from_jwk(struct tg_jwt_key *out, const struct tg_json_value *jwk,
                                        struct tg_error *error);
void tg_jwt_key_fini(struct tg_jwt_key *key);

/* The one key that the token asks for; NULL, and why, when there is none or more than one. With a kid:
 * the key of that kid, or the only fitting key that has no kid at all. Without: the only fitting one. */
struct tg_jwt_key *tg_jwt_key_select(struct tg_jwt_key *keys, size_t count,
                                     const struct tg_jwt *jwt, const char **why);
bool tg_jwt_key_verifies(const struct tg_jwt_key *key, const struct tg_jwt *jwt);

/* --- signing --------------------------------------------------------------------------------------- */

struct tg_jwt_signer {
    struct tg_private_key *private_key; /* owned; NULL: it is a secret */
    struct tg_mac_key *secret;          /* owned */
};

TG_MUST enum tg_err tg_jwt_signer_from_pem(struct tg_jwt_signer *out, const char *text, size_t len,
                                           struct tg_error *error);
TG_MUST enum tg_err tg_jwt_signer_from_secret(struct tg_jwt_signer *out, const void *secret,
                                              size_t len, struct tg_error *error);
TG_MUST enum tg_err tg_jwt_signer_from_jwk(struct tg_jwt_signer *out,
                                           const struct tg_json_value *jwk, struct tg_error *error);
void tg_jwt_signer_fini(struct tg_jwt_signer *signer);

/* Appends the token. TG_ERR_INVALID: the key does not fit the algorithm. */
TG_MUST enum tg_err tg_jwt_sign(const struct tg_jwt_signer *signer, enum tg_jwt_algorithm algorithm,
                                const void *header, size_t header_len, const void *claims,
                                size_t claims_len, struct tg_buffer *out, struct tg_error *error);

#endif
