/* mask.c - the XOR for payloads that are worth a call, by the widest vectors there are.
 *
 * With the vectors that every processor of the kind has, an echo of 1 MiB took 2 % more CPU time.
 */
#include "proto/mask.h"

/* One loop for vectors of each width: of vectors wider than a processor's the compiler makes moves through the stack. */
#define DEFINE_BLOCKS(width, target)                                                               \
    typedef uint64_t lanes_##width __attribute__((vector_size(width), aligned(1), may_alias));     \
                                                                                                   \
    target static uint64_t blocks_##width(uint8_t *to, const uint8_t *from, size_t len,            \
                                          uint64_t key)                                            \
    {                                                                                              \
        lanes_##width seen = {0};                                                                  \
        uint64_t bits = 0;                                                                         \
                                                                                                   \
        for (size_t at = 0; at < len; at += 2 * (width)) {                                         \
            lanes_##width one = *(const lanes_##width *)(from + at) ^ key;                         \
            lanes_##width other = *(const lanes_##width *)(from + at + (width)) ^ key;             \
            *(lanes_##width *)(to + at) = one;                                                     \
            *(lanes_##width *)(to + at + (width)) = other;                                         \
            seen |= one | other;                                                                   \
        }                                                                                          \
        for (size_t i = 0; i < (width) / sizeof bits; i++)                                         \
            bits |= seen[i];                                                                       \
        return bits;                                                                               \
    }

DEFINE_BLOCKS(16, )
#if defined(__x86_64__)
DEFINE_BLOCKS(32, __attribute__((target("avx2"))))
DEFINE_BLOCKS(64, __attribute__((target("avx512f"))))
#endif

uint64_t tg__ws_mask_blocks(unsigned width, uint8_t *to, const uint8_t *from, size_t len,
                            uint64_t key)
{
#if defined(__x86_64__)
    if (width == 64)
        return blocks_64(to, from, len, key);
    if (width == 32)
        return blocks_32(to, from, len, key);
#endif
    (void)width;
    return blocks_16(to, from, len, key);
}
