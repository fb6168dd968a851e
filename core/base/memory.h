/* memory.h - the core's allocator: malloc with overflow checks and a place to inject failures.
 *
 * tg_alloc and friends may return NULL (what a peer can make us allocate); the tg_x* forms end the
 * process with a message (start-up and base structures only). Tests fail the n-th allocation with
 * tg_memory_fail_after; the counter is thread-local and off by default.
 */
#ifndef TG_BASE_MEMORY_H
#define TG_BASE_MEMORY_H

#include <stddef.h>

#include "base/error.h"

TG_MUST void *tg_alloc(size_t size);                    /* uninitialised */
TG_MUST void *tg_calloc(size_t count, size_t size);     /* zeroed; NULL on overflow too */
TG_MUST void *tg_realloc(void *block, size_t size);     /* NULL leaves block valid; size > 0 */
TG_MUST char *tg_strndup(const char *text, size_t len); /* NUL-terminated copy of len bytes */
void tg_free(void *block);                              /* NULL is allowed */

TG_MUST void *tg_xcalloc(size_t count, size_t size);
TG_MUST char *tg_xstrdup(const char *text);

/* Once, before there are threads: freed memory is used again rather than given back and asked for anew. Of
 * each worker up to 16 MiB stay with the process. An echo of 16 KiB costs 16.3 us in place of 18.8: of these
 * two the system took for emptying the pages. */
void tg_memory_keep_freed(void);

/* Test support: lets `successes` further allocations of this thread succeed, then fails one (or
 * every one, when `forever`). Negative turns injection off. Returns how many allocations this
 * thread has made since the last call. */
size_t tg_memory_fail_after(long successes, int forever);
int tg_memory_may_fail(void); /* they are asked for on this thread */

#endif
