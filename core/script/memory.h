/* memory.h - the allocator of script states: counts every byte and refuses those over the limit.
 */
#ifndef TG_SCRIPT_MEMORY_H
#define TG_SCRIPT_MEMORY_H

#include <stddef.h>

/* For lua_newstate; `generation` is the struct tg_generation that the state belongs to, whose
 * memory_used, memory_max and memory_unlimited it keeps and obeys. */
void *tg_script_alloc(void *generation, void *block, size_t old_size, size_t new_size);

#endif
