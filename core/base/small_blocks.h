/* small_blocks.h - blocks of a few hundred bytes out of one piece of memory, by size.
 *
 * For an owner that knows the size of what it frees. What is freed waits for the next block of its size class;
 * nothing goes back before all of it does. So the piece is small and fixed: whoever finds it used up takes
 * ordinary memory, and a block says by its address which of the two it is.
 */
#ifndef TG_BASE_SMALL_BLOCKS_H
#define TG_BASE_SMALL_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TG_SMALL_BLOCK_MAX 256
#define TG_SMALL_BLOCK_STEP 16
#define TG_SMALL_BLOCK_CLASSES (TG_SMALL_BLOCK_MAX / TG_SMALL_BLOCK_STEP)

struct tg_small_blocks {
    char *piece; /* owned; NULL: there is none, and every take fails */
    size_t size;
    size_t used;                        /* never handed out beyond this */
    void *free[TG_SMALL_BLOCK_CLASSES]; /* each block begins with the next one's address */
};

/* Of zeroed storage. Memory that nothing was put into yet takes no room. Without memory there is no piece. */
void tg_small_blocks_init(struct tg_small_blocks *blocks, size_t size);
void tg_small_blocks_fini(struct tg_small_blocks *blocks);

static inline size_t tg__small_block_class(size_t size)
{
    return (size - 1) / TG_SMALL_BLOCK_STEP;
}

/* size is 1 to TG_SMALL_BLOCK_MAX; aligned to TG_SMALL_BLOCK_STEP. NULL: used up. */
static inline void *tg_small_blocks_take(struct tg_small_blocks *blocks, size_t size)
{
    size_t class = tg__small_block_class(size), bytes = (class + 1) * TG_SMALL_BLOCK_STEP;
    void **block = blocks->free[class];

    if (block != NULL) {
        blocks->free[class] = *block;
        return block;
    }
    if (blocks->size - blocks->used < bytes)
        return NULL;
    blocks->used += bytes;
    return blocks->piece + blocks->used - bytes;
}

static inline bool tg_small_blocks_has(const struct tg_small_blocks *blocks, const void *block)
{
    return (uintptr_t)block - (uintptr_t)blocks->piece < blocks->size;
}

/* A block it has, of the size that was asked for. */
static inline void tg_small_blocks_give(struct tg_small_blocks *blocks, void *block, size_t size)
{
    size_t class = tg__small_block_class(size);

    *(void **)block = blocks->free[class];
    blocks->free[class] = block;
}

/* Whether a block can stay where it is when its size changes. */
static inline bool tg_small_blocks_fits(size_t old_size, size_t new_size)
{
    return tg__small_block_class(old_size) == tg__small_block_class(new_size);
}

#endif
