/* mac.h - message authentication with a shared secret (HMAC, RFC 7518 §3.2).
 *
 * A type of its own, apart from the keys of signature.h: a public key can never be taken for a secret.
 * The copy of the secret is overwritten when the key is destroyed.
 */
#ifndef TG_BASE_MAC_H
#define TG_BASE_MAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum tg_mac_algorithm { TG_HS256, TG_HS384, TG_HS512, TG_MAC_ALGORITHMS };

#define TG_MAC_SIZE_MAX 64
#define TG_MAC_SECRET_MIN 32
#define TG_MAC_SECRET_MAX 4096

struct tg_mac_key;

/* TG_ERR_INVALID: fewer than 32 bytes, or more than 4096; error says so. */
TG_MUST enum tg_err tg_mac_key_create(struct tg_mac_key **out, const void *secret, size_t len,
                                      struct tg_error *error);
void tg_mac_key_destroy(struct tg_mac_key *key); /* NULL is allowed */

/* The secret is at least as long as the hash, as RFC 7518 §3.2 demands. */
bool tg_mac_key_fits(const struct tg_mac_key *key, enum tg_mac_algorithm algorithm);

/* In the same time wherever they differ. False for a key that does not fit, too. */
bool tg_mac_is_good(const struct tg_mac_key *key, enum tg_mac_algorithm algorithm, const void *data,
                    size_t len, const uint8_t *mac, size_t mac_len);
TG_MUST enum tg_err tg_mac_make(const struct tg_mac_key *key, enum tg_mac_algorithm algorithm,
                                const void *data, size_t len, uint8_t out[TG_MAC_SIZE_MAX],
                                size_t *out_len);

#endif
