/* siphash.h - SipHash-2-4: a hash for tables whose keys come from strangers. Without its secret nobody can
 * choose keys that meet in one place.
 */
#ifndef TG_BASE_SIPHASH_H
#define TG_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct tg_siphash_key {
    uint64_t k0, k1;
};

struct tg_siphash_key tg_siphash_key_new(void); /* random */
uint64_t tg_siphash(const struct tg_siphash_key *key, const void *data, size_t len);

#endif
