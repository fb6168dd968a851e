/* reasons.c - a table of texts by address that only grows, without a lock: a slot is taken once.
 */
#include "connection/reasons.h"

#include <stdatomic.h>
#include <stddef.h>

#define SLOTS 256

/* 0 stands for what finds no slot any more: more reasons than the program has. */
static _Atomic(const char *) known[SLOTS] = {"a reason beyond the table"};

uint8_t tg__reason_number(const char *reason)
{
    uint64_t home = (uint64_t)(uintptr_t)reason * UINT64_C(0x9e3779b97f4a7c15) >> 56;

    for (size_t i = 0; i < SLOTS; i++) {
        size_t at = (home + i) % SLOTS;
        const char *there = atomic_load_explicit(&known[at], memory_order_relaxed);
        /* Relaxed: the text behind the pointer was there before any thread. */
        if (there == NULL &&
            atomic_compare_exchange_strong_explicit(&known[at], &there, reason,
                                                    memory_order_relaxed, memory_order_relaxed))
            return (uint8_t)at;
        if (there == reason)
            return (uint8_t)at;
    }
    return 0;
}

const char *tg__reason_text(uint8_t number)
{
    return atomic_load_explicit(&known[number], memory_order_relaxed);
}
