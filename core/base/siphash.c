/* siphash.c - SipHash-2-4 as its authors describe it (Aumasson and Bernstein, 2012). */
#include "base/siphash.h"

#include "base/random.h"

struct state {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return (value << bits) | (value >> (64 - bits));
}

static void stir(struct state *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static void add_word(struct state *s, uint64_t word)
{
    s->v3 ^= word;
    stir(s);
    stir(s);
    s->v0 ^= word;
}

/* Little end first, whatever the machine. */
static uint64_t word_at(const uint8_t *bytes, size_t len)
{
    uint64_t word = 0;

    for (size_t i = 0; i < len; i++)
        word |= (uint64_t)bytes[i] << (8 * i);
    return word;
}

struct tg_siphash_key tg_siphash_key_new(void)
{
    return (struct tg_siphash_key){tg_random_u64(), tg_random_u64()};
}

uint64_t tg_siphash(const struct tg_siphash_key *key, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    size_t whole = len & ~(size_t)7;
    struct state s = {
        key->k0 ^ UINT64_C(0x736f6d6570736575),
        key->k1 ^ UINT64_C(0x646f72616e646f6d),
        key->k0 ^ UINT64_C(0x6c7967656e657261),
        key->k1 ^ UINT64_C(0x7465646279746573),
    };

    for (size_t at = 0; at < whole; at += 8)
        add_word(&s, word_at(bytes + at, 8));
    add_word(&s, word_at(bytes + whole, len - whole) | (uint64_t)(len & 0xff) << 56);
    s.v2 ^= 0xff;
    for (int i = 0; i < 4; i++)
        stir(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
