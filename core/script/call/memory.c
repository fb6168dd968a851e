/* memory.c - the allocator of script states.
 *
 * The account is part of the generation, so that the generation is also what a state's allocator leads
 * back to (tg_generation_of): no registry look-up, and right for every coroutine.
 */
#include "script/call/memory.h"

#include <string.h>

#include <lua.h>

#include "base/memory.h"
#include "script/policy/generation.h"

/* Strings above TG_SCRIPT_STRING_MAX are refused, by what they are made in: most functions that read a
 * string are one C call, whose time its length bounds. What a table needs is known by its exact size. */
#define STRING_BLOCK_MAX (TG_SCRIPT_STRING_MAX + 4096)

static bool is_power_of_two(size_t n)
{
    return (n & (n - 1)) == 0;
}

/* A table's array (8 bytes each, one more than a power of two) or hash part (24 bytes each), or the state's
 * table of strings; LuaJIT's buffer for text is a power of two that grows from a smaller one. */
static bool is_too_large(size_t old_size, size_t new_size)
{
    if (new_size <= STRING_BLOCK_MAX)
        return false;
    if (new_size > TG_SCRIPT_TABLE_MAX)
        return !(old_size == 0 && is_power_of_two(new_size));
    return !is_power_of_two(new_size - 8) &&
           (new_size % 24 != 0 || !is_power_of_two(new_size / 24)) &&
           !(old_size == 0 && is_power_of_two(new_size));
}

/* LuaJIT crashes when an allocation fails inside lua_newstate (but for the first). Whoever makes a state
 * has seen before that there is memory; should it be gone all the same, the process ends here. */
static void *resize_while_opening(void *block, size_t old_size, size_t new_size)
{
    void *resized = tg_xcalloc(1, new_size);

    if (block != NULL)
        memcpy(resized, block, old_size < new_size ? old_size : new_size);
    tg_free(block);
    return resized;
}

/* Blocks of a state come out of two pieces of memory, which spares malloc's share of a message (1,500 of 19,000
 * instructions where JSON comes and goes, 1,000 of 8,300 in an echo of 1 KiB). The pieces are fixed, so what is freed and
 * waits there for its size is no way around the memory limit; and two, so that messages leave room for objects. */
static struct tg_block_pool *pool_for(struct tg_generation *generation, size_t size)
{
    return size <= TG_COLLECTOR_SMALL ? &generation->small_blocks : &generation->medium_blocks;
}

static void *take(struct tg_generation *generation, size_t size)
{
    void *block = NULL;

    if (size <= TG_BLOCK_MAX)
        block = tg_block_pool_take(pool_for(generation, size), size);
    return block != NULL ? block : tg_alloc(size);
}

/* `size` is what the block has. */
static bool is_pooled(struct tg_generation *generation, const void *block, size_t size)
{
    return size <= TG_BLOCK_MAX && tg_block_pool_has(pool_for(generation, size), block);
}

static void give(struct tg_generation *generation, void *block, size_t size)
{
    if (is_pooled(generation, block, size))
        tg_block_pool_give(pool_for(generation, size), block, size);
    else
        tg_free(block);
}

static void *resize(struct tg_generation *generation, void *block, size_t old_size, size_t new_size)
{
    if (block == NULL)
        return take(generation, new_size);
    if (!is_pooled(generation, block, old_size))
        return tg_realloc(block, new_size);
    if (new_size <= TG_BLOCK_MAX && tg_block_pool_fits(old_size, new_size))
        return block;
    void *moved = take(generation, new_size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, old_size < new_size ? old_size : new_size);
    give(generation, block, old_size);
    return moved;
}

void *tg_script_alloc(void *ud, void *block, size_t old_size, size_t new_size)
{
    struct tg_generation *generation = ud;
    size_t old = block == NULL ? 0 : old_size;

    if (new_size == 0) {
        if (block != NULL)
            give(generation, block, old);
        generation->memory_used -= old;
        return NULL;
    }
    /* Shrinking always works: Lua does not expect it to fail. */
    if (new_size > old && !generation->memory_unlimited &&
        (is_too_large(old, new_size) || generation->memory_used > generation->memory_max ||
         new_size - old > generation->memory_max - generation->memory_used))
        return NULL;
    void *grown = generation->L == NULL ? resize_while_opening(block, old, new_size)
                                        : resize(generation, block, old, new_size);
    if (grown == NULL && new_size > old)
        return NULL;
    if (grown == NULL)
        grown = block;
    generation->memory_used += new_size - old;
    if (new_size > old)
        tg_collector_count(&generation->collector, new_size, new_size - old);
    return grown;
}
