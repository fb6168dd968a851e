/* block_pool.c - the piece of memory behind a pool of blocks.
 */
#include "base/block_pool.h"

#include "base/memory.h"

void tg_block_pool_init(struct tg_block_pool *pool, size_t size)
{
    pool->piece = tg_alloc(size);
    pool->size = pool->piece == NULL ? 0 : size;
}

void tg_block_pool_fini(struct tg_block_pool *pool)
{
    tg_free(pool->piece);
    *pool = (struct tg_block_pool){0};
}
