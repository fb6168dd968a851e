/* random.h - bytes from the system's CSPRNG (getrandom(2)); ends the process if the system has none. */
#ifndef TG_BASE_RANDOM_H
#define TG_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void tg_random_bytes(void *out, size_t len);
uint64_t tg_random_u64(void); /* buffered per thread: no system call each time */

#endif
