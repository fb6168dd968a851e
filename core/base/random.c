/* random.c - getrandom(2), with a small store per thread for single numbers.
 *
 * A number is wiped from the store as it is handed out, so that memory read later does not tell
 * earlier ones. The process must not fork after the first use: both would draw the same numbers.
 */
#include "base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define STORED 32

static _Thread_local struct {
    uint64_t numbers[STORED];
    size_t left;
} store;

void tg_random_bytes(void *out, size_t len)
{
    uint8_t *at = out;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got == -1 && errno == EINTR)
            continue;
        if (got <= 0) {
            fprintf(stderr, "tidegate: getrandom: %s\n", strerror(errno));
            abort();
        }
        at += got;
        len -= (size_t)got;
    }
}

uint64_t tg_random_u64(void)
{
    if (store.left == 0) {
        tg_random_bytes(store.numbers, sizeof store.numbers);
        store.left = STORED;
    }
    store.left--;
    uint64_t number = store.numbers[store.left];
    store.numbers[store.left] = 0;
    return number;
}
