/* hash.h - the digests the core and its scripts need, and a comparison that does not leak where two secrets
 * differ.
 *
 * Digests of bytes in memory cannot fail: a library that refuses to hash ends the process. Keys of many
 * kinds are for signature.h and mac.h.
 */
#ifndef TG_BASE_HASH_H
#define TG_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TG_SHA1_SIZE 20
#define TG_SHA256_SIZE 32

/* Only for the WebSocket handshake, which prescribes it; never for anything secret. */
void tg_sha1(const void *data, size_t len, uint8_t out[TG_SHA1_SIZE]);
void tg_sha256(const void *data, size_t len, uint8_t out[TG_SHA256_SIZE]);
void tg_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                    uint8_t out[TG_SHA256_SIZE]);

/* Takes as long for different bytes as for equal ones; only the lengths show. */
bool tg_equal_constant_time(const void *a, size_t a_len, const void *b, size_t b_len);

/* "2.28.3": the crypto library that is loaded. */
#define TG_HASH_VERSION_SIZE 16
void tg_hash_library_version(char out[TG_HASH_VERSION_SIZE]);

#endif
