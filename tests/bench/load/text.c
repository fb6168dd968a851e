/* text.c - text for echoes, the same in every run.
 *
 * What is not ASCII is words of random letters: a text that repeats itself would teach a processor where each
 * letter ends, and be checked many times faster than people's.
 */
#include "text.h"

#include <string.h>

#include "base/utf8.h"
#include "client.h"

/* Letters of one kind. */
struct letters {
    uint32_t first, count;
};
static const struct letters scripts[] = {
    {0xc0, 64},     /* Latin with accents */
    {0x391, 57},    /* Greek */
    {0x410, 64},    /* Cyrillic */
    {0x627, 36},    /* Arabic */
    {0x905, 53},    /* Devanagari */
    {0x3041, 86},   /* Hiragana */
    {0x4e00, 2000}, /* Han */
    {0x1f600, 79},  /* emoji */
};
static const struct letters plain = {'a', 26};
static const struct letters accented = {0xe0, 30};         /* 2 bytes */
static const struct letters accented_twice = {0x1ea0, 90}; /* 3 bytes */

enum text text_named(const char *name)
{
    static const char *const names[] = {"ascii", "scripts", "vietnamese"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum text)i;
    die("there is no text %s; there are ascii, scripts and vietnamese", name);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223; /* Knuth's; the high bits are the good ones */
    return *state >> 8;
}

/* Of a word in that script; four of five in the first one are ASCII, as in French. */
static const struct letters *in_script(const struct letters *script, uint32_t *state)
{
    return script == scripts && next_random(state) % 5 > 0 ? &plain : script;
}

/* As often as in the first article of the Universal Declaration of Human Rights in that language. */
static const struct letters *in_vietnamese(uint32_t *state)
{
    uint32_t percent = next_random(state) % 100;

    return percent < 66 ? &plain : percent < 81 ? &accented : &accented_twice;
}

static void write_words(enum text kind, uint8_t *at, const uint8_t *end)
{
    uint32_t state = 1;

    while (end - at > 4) {
        const struct letters *script =
            &scripts[next_random(&state) % (sizeof scripts / sizeof scripts[0])];
        uint32_t longest = kind == TEXT_SCRIPTS ? 9 : 6;
        for (uint32_t left = 1 + next_random(&state) % longest; left > 0 && end - at > 4; left--) {
            const struct letters *letters =
                kind == TEXT_SCRIPTS ? in_script(script, &state) : in_vietnamese(&state);
            uint32_t letter = letters->first + next_random(&state) % letters->count;
            at += tg_utf8_encode(letter, (char *)at);
        }
        *at++ = ' ';
    }
}

void text_write(enum text kind, uint8_t *at, size_t len)
{
    static const char filler[] = "the quick brown fox jumps over the lazy dog; ";
    const size_t step = sizeof filler - 1;

    memset(at, ' ', len);
    if (kind != TEXT_ASCII)
        write_words(kind, at, at + len);
    else
        for (size_t done = 0; done + step <= len; done += step)
            memcpy(at + done, filler, step);
}
