/* memory.h - the allocator of script states: counts every byte and refuses those over the limit.
 */
#ifndef TG_SCRIPT_MEMORY_H
#define TG_SCRIPT_MEMORY_H

#include <stddef.h>

/* The longest string, and the largest part of one table (4 million elements of a list, one million keys):
 * what one step of LuaJIT passes through in some 20 ms. */
#define TG_SCRIPT_STRING_MAX ((size_t)16 << 20)
#define TG_SCRIPT_TABLE_MAX (((size_t)32 << 20) + 8)

/* For lua_newstate; `generation` is the struct tg_generation that the state belongs to, whose
 * memory_used, memory_max and memory_unlimited it keeps and obeys. */
void *tg_script_alloc(void *generation, void *block, size_t old_size, size_t new_size);

#endif
