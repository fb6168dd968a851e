/* memory.h - the allocator of script states: counts every byte and refuses those over the limit.
 */
#ifndef TG_SCRIPT_MEMORY_H
#define TG_SCRIPT_MEMORY_H

#include <stddef.h>

struct lua_State;

/* The longest string, and the largest part of one table (4 million elements of a list, one million keys):
 * what one step of LuaJIT passes through in some 20 ms. */
#define TG_SCRIPT_STRING_MAX ((size_t)16 << 20)
#define TG_SCRIPT_TABLE_MAX (((size_t)32 << 20) + 8)

/* For lua_newstate; `generation` is the struct tg_generation that the state belongs to, whose
 * memory_used, memory_max and memory_unlimited it keeps and obeys. */
void *tg_script_alloc(void *generation, void *block, size_t old_size, size_t new_size);

/* Lets the collector make up for large blocks, which LuaJIT by itself falls behind with until memory is out:
 * messages of 1 MiB failed a policy that kept 36 of its 64 MiB. Memory that is used again is also still in the
 * processor's cache: an echo of 1 MiB costs 800 us in place of 1,280, one of 16 KiB 11.9 in place of 14.3.
 * L is what runs now, as a collection may raise: it takes memory to make the state's table of strings smaller. */
void tg_script_keep_pace(struct lua_State *L);

#endif
