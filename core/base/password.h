/* password.h - PBKDF2 with HMAC-SHA-256 (RFC 8018 §5.2) in steps, so that a strong hash holds nobody up.
 */
#ifndef TG_BASE_PASSWORD_H
#define TG_BASE_PASSWORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TG_PASSWORD_HASH_SIZE 32

struct tg_password_work;

/* NULL when memory is out. iterations >= 1. What is derived is the first block: 32 bytes. */
TG_MUST struct tg_password_work *tg_password_create(const void *password, size_t len,
                                                    const void *salt, size_t salt_len,
                                                    uint32_t iterations);
/* Does up to so many iterations; returns how many are left. */
uint32_t tg_password_step(struct tg_password_work *work, uint32_t iterations);
/* None is left. */
void tg_password_result(const struct tg_password_work *work, uint8_t out[TG_PASSWORD_HASH_SIZE]);
void tg_password_destroy(struct tg_password_work *work); /* NULL is allowed; overwrites it */

#endif
