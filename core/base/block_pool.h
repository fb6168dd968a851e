/* block_pool.h - blocks of up to 32 KiB out of one piece of memory, by size.
 *
 * For an owner that knows the size of what it frees. What is freed waits for the next block of its size class;
 * nothing goes back before all of it does. So the piece is fixed: whoever finds it used up takes ordinary
 * memory, and a block says by its address which of the two it is.
 *
 * Classes are 16 bytes apart up to 256, and then there are 8 for each doubling: at most an eighth of a block is lost.
 */
#ifndef TG_BASE_BLOCK_POOL_H
#define TG_BASE_BLOCK_POOL_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TG_BLOCK_MAX ((size_t)32 << 10)
#define TG_BLOCK_STEP 16

enum {
    TG__BLOCK_EVEN_BITS = 8, /* up to so many bits of a size the classes are evenly apart */
    TG__BLOCK_EVEN = (1 << TG__BLOCK_EVEN_BITS) / TG_BLOCK_STEP,
    TG__BLOCK_PART_BITS = 3,
    TG__BLOCK_CLASSES = TG__BLOCK_EVEN + ((15 - TG__BLOCK_EVEN_BITS) << TG__BLOCK_PART_BITS),
};

struct tg_block_pool {
    char *piece; /* owned; NULL: there is none, and every take fails */
    size_t size;
    size_t used;                   /* never handed out beyond this */
    void *free[TG__BLOCK_CLASSES]; /* each block begins with the next one's address */
};

/* Of zeroed storage. Memory that nothing was put into yet takes no room. Without memory there is no piece. */
void tg_block_pool_init(struct tg_block_pool *pool, size_t size);
void tg_block_pool_fini(struct tg_block_pool *pool);

struct tg__block_class {
    size_t index;
    size_t bytes; /* of each block in it */
};

static inline struct tg__block_class tg__block_class(size_t size)
{
    size_t last = size - 1;

    if (last >> TG__BLOCK_EVEN_BITS == 0)
        return (struct tg__block_class){last / TG_BLOCK_STEP,
                                        (last / TG_BLOCK_STEP + 1) * TG_BLOCK_STEP};
    unsigned top = 63 - (unsigned)__builtin_clzll(last), shift = top - TG__BLOCK_PART_BITS;
    size_t part = last >> shift; /* the highest bit, and three */
    return (struct tg__block_class){TG__BLOCK_EVEN +
                                        ((top - TG__BLOCK_EVEN_BITS) << TG__BLOCK_PART_BITS) +
                                        (part & ((1 << TG__BLOCK_PART_BITS) - 1)),
                                    (part + 1) << shift};
}

/* size is 1 to TG_BLOCK_MAX; aligned to TG_BLOCK_STEP. NULL: used up. */
static inline void *tg_block_pool_take(struct tg_block_pool *pool, size_t size)
{
    struct tg__block_class class = tg__block_class(size);
    void **block = pool->free[class.index];

    if (block != NULL) {
        pool->free[class.index] = *block;
        return block;
    }
    if (pool->size - pool->used < class.bytes)
        return NULL;
    pool->used += class.bytes;
    return pool->piece + pool->used - class.bytes;
}

static inline bool tg_block_pool_has(const struct tg_block_pool *pool, const void *block)
{
    return (uintptr_t)block - (uintptr_t)pool->piece < pool->size;
}

/* A block it has, of the size that was asked for. */
static inline void tg_block_pool_give(struct tg_block_pool *pool, void *block, size_t size)
{
    size_t class = tg__block_class(size).index;

    assert(block != NULL);
    *(void **)block = pool->free[class];
    pool->free[class] = block;
}

/* Whether a block can stay where it is when its size changes; both are 1 to TG_BLOCK_MAX. */
static inline bool tg_block_pool_fits(size_t old_size, size_t new_size)
{
    return tg__block_class(old_size).index == tg__block_class(new_size).index;
}

#endif
