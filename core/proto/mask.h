/* mask.h - the XOR of RFC 6455 §5.3, eight bytes at a time.
 */
#ifndef TG_PROTO_MASK_H
#define TG_PROTO_MASK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Masks or unmasks a whole payload in place. */
static inline void tg_ws_mask(uint8_t *data, size_t len, const uint8_t key[4])
{
    uint64_t wide;
    size_t i = 0;

    memcpy(&wide, key, 4);
    memcpy((uint8_t *)&wide + 4, key, 4);
    for (; len - i >= sizeof wide; i += sizeof wide) {
        uint64_t word;
        memcpy(&word, data + i, sizeof word);
        word ^= wide;
        memcpy(data + i, &word, sizeof word);
    }
    for (; i < len; i++)
        data[i] ^= key[i % 4];
}

/* The key for what follows after `len` bytes of the same payload. */
static inline void tg_ws_mask_advance(uint8_t key[4], size_t len)
{
    uint8_t turned[4];

    for (size_t i = 0; i < sizeof turned; i++)
        turned[i] = key[(i + len) % 4];
    memcpy(key, turned, sizeof turned);
}

#endif
