/* base64.h - RFC 4648: the standard alphabet with padding (§4) and the URL-safe one without (§5). */
#ifndef TG_BASE_BASE64_H
#define TG_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/* Characters that so many bytes take, without a NUL. */
#define TG_BASE64_LEN(bytes) (((bytes) + 2) / 3 * 4)

/* §4. Appends to `out`; TG_ERR_NOMEM leaves it as it was. */
TG_MUST enum tg_err tg_base64_encode(const void *data, size_t len, struct tg_buffer *out);
/* Strict: padding required, no white space, unused bits zero; else TG_ERR_INVALID and `out` is as it
 * was. */
TG_MUST enum tg_err tg_base64_decode(const char *text, size_t len, struct tg_buffer *out);

/* §5 (a padded text is refused); otherwise the same. */
TG_MUST enum tg_err tg_base64url_encode(const void *data, size_t len, struct tg_buffer *out);
TG_MUST enum tg_err tg_base64url_decode(const char *text, size_t len, struct tg_buffer *out);

/* §4 into an array of TG_BASE64_LEN(len), which cannot fail; without a NUL. */
void tg_base64_write(const void *data, size_t len, char *out);
/* §4: the 24 bits that four digits stand for; more than that: one of them is no digit. */
uint32_t tg_base64_group(const char digits[4]);

#endif
