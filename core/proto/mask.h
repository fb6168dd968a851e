/* mask.h - the XOR of RFC 6455 §5.3, by the vector.
 */
#ifndef TG_PROTO_MASK_H
#define TG_PROTO_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/vector.h"

/* What is shorter is not worth the call. */
#define TG__WS_MASK_BLOCKS_MIN 256
/* What the functions for vectors take is a multiple of this. */
#define TG__WS_MASK_BLOCK 128

/* XOR of `len` bytes with `key`, by vectors of `width` bytes or less (base/vector.h). Returns every bit that some byte
 * of what came out has, in whichever byte of the word. `to` and `from` as below. */
uint64_t tg__ws_mask_blocks(unsigned width, uint8_t *to, const uint8_t *from, size_t len,
                            uint64_t key);

/* What the plainest vector unit of every processor takes at once. */
typedef uint64_t tg_ws_lanes __attribute__((vector_size(16), aligned(1), may_alias));

/* Masks or unmasks a whole payload; `to` may be `from`, which is in place, but not overlap it otherwise. True: what came
 * out is ASCII, and so needs no look at its UTF-8, which is 190 of the 5,900 instructions of an echo of 1 KiB. */
static inline bool tg_ws_mask(uint8_t *to, const uint8_t *from, size_t len, const uint8_t key[4])
{
    const uint8_t *end = from + len;
    tg_ws_lanes seen = {0, 0}; /* every bit that some byte has */
    uint32_t narrow;
    uint64_t word, rest = 0;

    memcpy(&narrow, key, sizeof narrow);
    uint64_t wide = (uint64_t)narrow << 32 | narrow;
    if (len >= TG__WS_MASK_BLOCKS_MIN) {
        size_t blocks = len - len % TG__WS_MASK_BLOCK;
        rest = tg__ws_mask_blocks(tg_vector_width(), to, from, blocks, wide);
        from += blocks;
        to += blocks;
    }
    for (; end - from >= 16; from += sizeof seen, to += sizeof seen) {
        tg_ws_lanes lanes = *(const tg_ws_lanes *)(const void *)from ^ wide;
        *(tg_ws_lanes *)(void *)to = lanes;
        seen |= lanes;
    }
    if (end - from >= 8) {
        memcpy(&word, from, sizeof word);
        word ^= wide;
        memcpy(to, &word, sizeof word);
        rest |= word;
        from += sizeof word;
        to += sizeof word;
    }
    if (end - from >= 4) {
        memcpy(&narrow, from, sizeof narrow);
        narrow ^= (uint32_t)wide;
        memcpy(to, &narrow, sizeof narrow);
        rest |= narrow;
        from += sizeof narrow;
        to += sizeof narrow;
    }
    for (size_t i = 0; from < end; i++) {
        *to = *from++ ^ key[i];
        rest |= *to++;
    }
    return ((seen[0] | seen[1] | rest) & UINT64_C(0x8080808080808080)) == 0;
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
