/* small_blocks.c - the piece of memory behind small blocks.
 */
#include "base/small_blocks.h"

#include "base/memory.h"

void tg_small_blocks_init(struct tg_small_blocks *blocks, size_t size)
{
    blocks->piece = tg_alloc(size);
    blocks->size = blocks->piece == NULL ? 0 : size;
}

void tg_small_blocks_fini(struct tg_small_blocks *blocks)
{
    tg_free(blocks->piece);
    *blocks = (struct tg_small_blocks){0};
}
