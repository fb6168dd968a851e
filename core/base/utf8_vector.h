/* utf8_vector.h - UTF-8 by the vector, for utf8.c: says how far text is surely well formed.
 */
#ifndef TG_BASE_UTF8_VECTOR_H
#define TG_BASE_UTF8_VECTOR_H

#include <stddef.h>
#include <stdint.h>

/* Shorter text is not worth the call. */
#define TG_UTF8_VECTOR_MIN 8

/* Bytes from `data`, which is at a character boundary, that are well formed and end at one; the rest is for a
 * closer look. width: that of base/vector.h, or less. */
size_t tg__utf8_vector(unsigned width, const uint8_t *data, size_t len);

#endif
