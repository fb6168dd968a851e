/* signature.h - asymmetric signatures (RFC 7518 §3.3 to §3.5): keys, verifying, signing.
 *
 * A public key can only verify and a private one only sign, and neither is a secret for HMAC (mac.h):
 * what mixes them up does not compile. Every key was checked when it was made: RSA has 2048 to 8192 bits and
 * a small exponent, EC is P-256, P-384 or P-521 with a point on the curve. Private RSA keys have 4096 bits at
 * most, and come with their primes: more, or finding them, takes longer than a script may. There is no
 * EdDSA: the crypto library has none.
 *
 * A key is of one thread (the library caches inside it). Private ones are overwritten when destroyed.
 * Error texts never hold any part of a key.
 */
#ifndef TG_BASE_SIGNATURE_H
#define TG_BASE_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum tg_signature_algorithm {
    TG_RS256, /* RSASSA-PKCS1-v1_5 */
    TG_RS384,
    TG_RS512,
    TG_PS256, /* RSASSA-PSS, salt as long as the hash, MGF1 with the same hash */
    TG_PS384,
    TG_PS512,
    TG_ES256, /* ECDSA on the curve of that size, r and s one after the other */
    TG_ES384,
    TG_ES512,
    TG_SIGNATURE_ALGORITHMS
};

enum tg_curve { TG_P256, TG_P384, TG_P521 };

/* Bytes of a coordinate, and of each half of a signature. */
size_t tg_curve_size(enum tg_curve curve);

struct tg_public_key;
struct tg_private_key;

/* Big-endian, borrowed for the call. */
struct tg_octets {
    const uint8_t *data;
    size_t len;
};

/* SPKI, PKCS#1 or a certificate, of which only the key is taken: neither its dates nor who signed it
 * are looked at. A private key is refused. TG_ERR_INVALID: error says why. */
TG_MUST enum tg_err tg_public_key_from_pem(struct tg_public_key **out, const char *text, size_t len,
                                           struct tg_error *error);
TG_MUST enum tg_err tg_public_key_from_rsa(struct tg_public_key **out, struct tg_octets n,
                                           struct tg_octets e, struct tg_error *error);
TG_MUST enum tg_err tg_public_key_from_ec(struct tg_public_key **out, enum tg_curve curve,
                                          struct tg_octets x, struct tg_octets y,
                                          struct tg_error *error);
void tg_public_key_destroy(struct tg_public_key *key); /* NULL is allowed */

/* PKCS#8, PKCS#1 or SEC1, not encrypted. */
TG_MUST enum tg_err tg_private_key_from_pem(struct tg_private_key **out, const char *text,
                                            size_t len, struct tg_error *error);
struct tg_rsa_numbers {
    struct tg_octets n, e, d, p, q;
};
TG_MUST enum tg_err tg_private_key_from_rsa(struct tg_private_key **out,
                                            const struct tg_rsa_numbers *numbers,
                                            struct tg_error *error);
TG_MUST enum tg_err tg_private_key_from_ec(struct tg_private_key **out, enum tg_curve curve,
                                           struct tg_octets x, struct tg_octets y,
                                           struct tg_octets d, struct tg_error *error);
void tg_private_key_destroy(struct tg_private_key *key); /* NULL is allowed */

/* RS and PS want RSA (PS512 of 2048 bits at least, which all have), ES the curve of its size. */
bool tg_public_key_fits(const struct tg_public_key *key, enum tg_signature_algorithm algorithm);
bool tg_private_key_fits(const struct tg_private_key *key, enum tg_signature_algorithm algorithm);

/* False for everything but a good signature, a key that does not fit included. */
bool tg_signature_is_good(struct tg_public_key *key, enum tg_signature_algorithm algorithm,
                          const void *data, size_t len, const uint8_t *signature,
                          size_t signature_len);

#define TG_SIGNATURE_SIZE_MAX 512 /* of RSA with 4096 bits */
/* TG_ERR_INVALID: the key does not fit. TG_ERR_NOMEM or TG_ERR_SYS: the library failed. */
TG_MUST enum tg_err tg_signature_make(struct tg_private_key *key,
                                      enum tg_signature_algorithm algorithm, const void *data,
                                      size_t len, uint8_t out[TG_SIGNATURE_SIZE_MAX],
                                      size_t *out_len);

#endif
