/* hash.h - the digests and text encodings the core and its scripts need, and a comparison that does
 * not leak where two secrets differ.
 *
 * Digests of bytes in memory cannot fail: a library that refuses to hash ends the process. Keys of many
 * kinds are for signature.h and mac.h.
 */
#ifndef TG_BASE_HASH_H
#define TG_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define TG_SHA1_SIZE 20
#define TG_SHA256_SIZE 32

/* Only for the WebSocket handshake, which prescribes it; never for anything secret. */
void tg_sha1(const void *data, size_t len, uint8_t out[TG_SHA1_SIZE]);
void tg_sha256(const void *data, size_t len, uint8_t out[TG_SHA256_SIZE]);
void tg_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                    uint8_t out[TG_SHA256_SIZE]);

/* Bytes of the encoded text without its NUL, for arrays of fixed size. */
#define TG_BASE64_LEN(bytes) (((bytes) + 2) / 3 * 4)

/* RFC 4648 §4, padded. Appends to `out`; TG_ERR_NOMEM leaves it as it was. */
TG_MUST enum tg_err tg_base64_encode(const void *data, size_t len, struct tg_buffer *out);
/* Strict: padding required, no white space, unused bits zero; else TG_ERR_INVALID and `out` is as it
 * was. */
TG_MUST enum tg_err tg_base64_decode(const char *text, size_t len, struct tg_buffer *out);

/* RFC 4648 §5, unpadded (a padded text is refused); otherwise the same. */
TG_MUST enum tg_err tg_base64url_encode(const void *data, size_t len, struct tg_buffer *out);
TG_MUST enum tg_err tg_base64url_decode(const char *text, size_t len, struct tg_buffer *out);

/* Takes as long for different bytes as for equal ones; only the lengths show. */
bool tg_equal_constant_time(const void *a, size_t a_len, const void *b, size_t b_len);

/* "2.28.3": the crypto library that is loaded. */
#define TG_HASH_VERSION_SIZE 16
void tg_hash_library_version(char out[TG_HASH_VERSION_SIZE]);

#endif
