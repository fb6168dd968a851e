/* collector.h - when LuaJIT's collector begins a cycle, and that it keeps up.
 *
 * Of itself LuaJIT begins a cycle when memory has doubled since the last one. A policy keeps some 80 KiB alive,
 * so messages of 16 KiB began one every five, each through all that is alive: 1.5 us of the 9.9 of such an echo.
 * Here garbage of large blocks may reach half a MiB, which still fits the processor's cache. That of small blocks
 * may not: they are used again at once, out of the nearest cache, and in echoes of 20 bytes the wider path cost
 * more than the cycles.
 */
#ifndef TG_SCRIPT_COLLECTOR_H
#define TG_SCRIPT_COLLECTOR_H

#include <stdbool.h>
#include <stddef.h>

struct lua_State;
struct tg_generation;

/* Bytes, all of them. Of zeroed storage. */
struct tg_collector {
    size_t alive;    /* after the last cycle */
    size_t begin_at; /* LuaJIT begins the next one when so many are used */
    size_t small;    /* taken in small blocks since the last one */
    size_t large;    /* taken in large blocks that the collector has not made up for */
    bool watched;    /* an object is there whose end tells of a cycle's end */
    bool closing;
};

/* Blocks that the collector counts, by their size. */
#define TG_COLLECTOR_SMALL 256
#define TG_COLLECTOR_LARGE 4096

/* For the allocator: a block has come, or grown, by `bytes`. */
static inline void tg_collector_count(struct tg_collector *collector, size_t size, size_t bytes)
{
    if (size <= TG_COLLECTOR_SMALL)
        collector->small += bytes;
    else if (size >= TG_COLLECTOR_LARGE)
        collector->large += bytes;
}

/* In front of a call, on what runs then. Also lets the collector make up for large blocks, which LuaJIT falls behind
 * with until memory is out: it does some KiB of work for each, be it of 20 bytes or of a MiB, and messages of 1 MiB
 * failed a policy that kept 36 of its 64 MiB. Raises when memory is out: a collection can take some. */
void tg_collector_keep_pace(struct lua_State *L);

/* Before the state is closed, which ends all objects. */
void tg_collector_close(struct tg_generation *generation);

#endif
