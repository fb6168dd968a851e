/* memory.c - malloc with overflow checks, and failures on demand for tests.
 *
 * The tg_x* forms stay outside of the injection: they would only end the test.
 */
#include "base/memory.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct {
    long successes; /* still to be granted; negative: injection is off */
    int forever;
    size_t made;
} injection = {.successes = -1};

/* Counts one allocation; true when it has to fail. */
static bool must_fail(void)
{
    injection.made++;
    if (injection.successes < 0)
        return false;
    if (injection.successes > 0) {
        injection.successes--;
        return false;
    }
    if (!injection.forever)
        injection.successes = -1;
    return true;
}

static void *or_die(void *block, size_t size)
{
    if (block == NULL) {
        fprintf(stderr, "tidegate: out of memory (%zu bytes)\n", size);
        abort();
    }
    return block;
}

void *tg_alloc(size_t size)
{
    return must_fail() ? NULL : malloc(size == 0 ? 1 : size);
}

void *tg_calloc(size_t count, size_t size)
{
    if (must_fail() || (size != 0 && count > SIZE_MAX / size))
        return NULL;
    size_t bytes = count * size;
    return calloc(1, bytes == 0 ? 1 : bytes);
}

void *tg_realloc(void *block, size_t size)
{
    return must_fail() ? NULL : realloc(block, size == 0 ? 1 : size);
}

char *tg_strndup(const char *text, size_t len)
{
    if (len == SIZE_MAX)
        return NULL;
    char *copy = tg_alloc(len + 1);
    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void tg_free(void *block)
{
    free(block);
}

void *tg_xcalloc(size_t count, size_t size)
{
    size_t bytes = size != 0 && count > SIZE_MAX / size ? SIZE_MAX : count * size;
    void *block = bytes == SIZE_MAX ? NULL : calloc(1, bytes == 0 ? 1 : bytes);
    return or_die(block, bytes);
}

char *tg_xstrdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(or_die(malloc(size), size), text, size);
}

void tg_memory_keep_freed(void)
{
    (void)mallopt(M_TRIM_THRESHOLD, 16 << 20);
    (void)mallopt(M_MMAP_THRESHOLD,
                  4 << 20); /* else every block of 128 KiB is mapped and unmapped */
}

size_t tg_memory_fail_after(long successes, int forever)
{
    size_t made = injection.made;
    injection.successes = successes < 0 ? -1 : successes;
    injection.forever = forever;
    injection.made = 0;
    return made;
}

int tg_memory_may_fail(void)
{
    return injection.successes >= 0;
}
