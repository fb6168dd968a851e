/* deflate_test.c - payloads of permessage-deflate: RFC 7692 §7.2.3 byte by byte, round trips at every
 * window, limits, broken data, and who holds which memory when.
 *
 * Everything that is inflated is inflated whole, byte by byte and in pieces, with the same result.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/deflate.h"

#define PLENTY ((size_t)64 << 20)

static const struct tg_deflate_tuning usual = {.level = 6, .memory_level = 8};

static struct tg_deflater deflater_of(bool takeover, uint8_t bits)
{
    return (struct tg_deflater){.way = {takeover, bits}, .tuning = usual};
}

static struct tg_inflater inflater_of(bool takeover, uint8_t bits)
{
    return (struct tg_inflater){.way = {takeover, bits}};
}

/* One message; step 0: whole, else the size of its pieces. From memory of exactly their size. */
static enum tg_err inflate_message(struct tg_inflater *inflater, const uint8_t *data, size_t len,
                                   size_t step, struct tg_buffer *out, size_t max)
{
    enum tg_err err = TG_ERR_OK;

    for (size_t at = 0; at < len && err == TG_ERR_OK;) {
        size_t piece = step == 0 || step > len - at ? len - at : step;
        uint8_t *copy = malloc(piece);
        memcpy(copy, data + at, piece);
        err = tg_inflate(inflater, copy, piece, out, max);
        free(copy);
        at += piece;
    }
    if (err == TG_ERR_OK)
        err = tg_inflate_end(inflater, out, max);
    if (err != TG_ERR_OK)
        tg_inflater_fini(inflater);
    assert_true(out->len <= max);
    return err;
}

static void assert_text(struct tg_buffer *out, const char *expected)
{
    assert_int_equal(out->len, strlen(expected));
    if (out->len > 0)
        assert_memory_equal(tg_buffer_head(out), expected, out->len);
    tg_buffer_fini(out);
}

#define MESSAGE(text) (const uint8_t *)(text), sizeof(text) - 1

struct example {
    const char *name;
    const uint8_t *data;
    size_t len;
    const char *text; /* NULL: corrupt */
};

#define EMPTY_BLOCK "\x00\x00\x00\xff\xff"

static const struct example examples[] = {
    {"7.2.3.1 one block", MESSAGE("\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello"},
    {"7.2.3.3 a block without compression", MESSAGE("\x00\x05\x00\xfa\xffHello\x00"), "Hello"},
    {"7.2.3.4 a final block", MESSAGE("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "Hello"},
    {"7.2.3.4 a final block, the empty one forgotten", MESSAGE("\xf3\x48\xcd\xc9\xc9\x07\x00"),
     "Hello"},
    {"7.2.3.4 two final blocks",
     MESSAGE("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "HelloHello"},
    {"7.2.3.4 back over a final block", MESSAGE("\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00"),
     "HelloHello"},
    {"7.2.3.5 two blocks", MESSAGE("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
     "Hello"},
    {"7.2.3.6 an empty message", MESSAGE("\x00"), ""},
    {"7.2.3.6 an empty message, as no byte", MESSAGE(""), ""},
    {"an empty final block", MESSAGE("\x03\x00"), ""},
    {"empty blocks", MESSAGE(EMPTY_BLOCK EMPTY_BLOCK EMPTY_BLOCK "\x00"), ""},
    {"the reserved block type", MESSAGE("\x07"), NULL},
    {"a length that is not its complement", MESSAGE("\x00\x05\x00\x05\x00Hello\x00"), NULL},
    {"a distance before the start", MESSAGE("\xf2\x00\x11\x00\x00"), NULL},
    {"a bad code table", MESSAGE("\x05\xff\xff\xff\xff\xff\xff\xff"), NULL},
    {"cut off in a block", MESSAGE("\xf2\x48\xcd"), NULL},
    {"cut off by a byte", MESSAGE("\xf2\x48\xcd\xc9\xc9\x07"), NULL},
    {"cut off in a stored block", MESSAGE("\x00\x05\x00\xfa\xffHel"), NULL},
    {"the tail not cut off", MESSAGE("\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff"), NULL},
    {"something behind the end", MESSAGE("\xf2\x48\xcd\xc9\xc9\x07\x00\x00"), NULL},
};

static void test_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        for (size_t step = 0; step <= examples[i].len; step++) {
            for (int takeover = 0; takeover < 2; takeover++) {
                const struct example *example = &examples[i];
                struct tg_inflater inflater = inflater_of(takeover, 15);
                struct tg_buffer out = TG_BUFFER_INIT;
                enum tg_err err =
                    inflate_message(&inflater, example->data, example->len, step, &out, 100);
                if (err != (example->text == NULL ? TG_ERR_PROTO : TG_ERR_OK))
                    fail_msg("%s, in pieces of %zu: %s", example->name, step, tg_err_text(err));
                if (example->text != NULL)
                    assert_text(&out, example->text);
                tg_buffer_fini(&out);
                tg_inflater_fini(&inflater);
            }
        }
    }
}

/* §7.2.3.2: the same message again, with the window and without. */
static void test_window_is_kept_or_not(void **state)
{
    static const uint8_t first[] = {0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00};
    static const uint8_t again[] = {0xf2, 0x00, 0x11, 0x00, 0x00};

    (void)state;
    for (int takeover = 0; takeover < 2; takeover++) {
        struct tg_deflater deflater = deflater_of(takeover, 15);
        struct tg_inflater inflater = inflater_of(takeover, 15);
        struct tg_buffer out = TG_BUFFER_INIT;
        struct tg_buffer text = TG_BUFFER_INIT;
        assert_int_equal(tg_deflate(&deflater, "Hello", 5, &out), TG_ERR_OK);
        assert_int_equal(out.len, sizeof first);
        assert_memory_equal(tg_buffer_head(&out), first, sizeof first);
        tg_buffer_clear(&out);
        assert_int_equal(tg_deflate(&deflater, "Hello", 5, &out), TG_ERR_OK);
        assert_int_equal(out.len, takeover ? sizeof again : sizeof first);
        assert_memory_equal(tg_buffer_head(&out), takeover ? again : first, out.len);
        tg_buffer_fini(&out);
        assert_int_equal(inflate_message(&inflater, first, sizeof first, 0, &text, 100), TG_ERR_OK);
        assert_text(&text, "Hello");
        assert_int_equal(inflate_message(&inflater, again, sizeof again, 1, &text, 100),
                         takeover ? TG_ERR_OK : TG_ERR_PROTO);
        if (takeover)
            assert_text(&text, "Hello");
        tg_buffer_fini(&text);
        tg_deflater_fini(&deflater);
        tg_inflater_fini(&inflater);
    }
}

/* A final block does not end the window either: the next message looks back over it. */
static void test_final_block_keeps_the_window(void **state)
{
    static const uint8_t first[] = {0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00};
    static const uint8_t again[] = {0xf2, 0x00, 0x11, 0x00, 0x00};
    struct tg_inflater inflater = inflater_of(true, 15);
    struct tg_buffer out = TG_BUFFER_INIT;

    (void)state;
    assert_int_equal(inflate_message(&inflater, first, sizeof first, 0, &out, 100), TG_ERR_OK);
    assert_int_equal(inflate_message(&inflater, again, sizeof again, 0, &out, 100), TG_ERR_OK);
    assert_text(&out, "HelloHello");
    tg_inflater_fini(&inflater);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

enum content { ZEROS, WORDS, NOISE, CONTENTS };

static uint8_t *make_message(enum content content, size_t len, uint32_t seed)
{
    static const char words[] = "agent delta text run connection message tool {\"type\":\"";
    uint8_t *data = malloc(len + 1);

    for (size_t i = 0; i < len;) {
        size_t from = next_random(&seed) % (sizeof words - 8);
        if (content == WORDS) {
            for (size_t j = 0; j < 7 && i < len; j++)
                data[i++] = (uint8_t)words[from + j];
        } else {
            data[i++] = content == ZEROS ? 0 : (uint8_t)from * 5;
        }
    }
    return data;
}

static void round_trip(struct tg_deflater *deflater, struct tg_inflater *inflater,
                       enum content content, size_t len, size_t step)
{
    uint8_t *data = make_message(content, len, (uint32_t)len * 31 + deflater->way.window_bits);
    struct tg_buffer wire = TG_BUFFER_INIT;
    struct tg_buffer out = TG_BUFFER_INIT;

    assert_int_equal(tg_deflate(deflater, data, len, &wire), TG_ERR_OK);
    assert_int_equal(inflate_message(inflater, tg_buffer_head(&wire), wire.len, step, &out, len),
                     TG_ERR_OK);
    assert_int_equal(out.len, len);
    assert_memory_equal(tg_buffer_head(&out), data, len);
    tg_buffer_fini(&wire);
    tg_buffer_fini(&out);
    free(data);
}

/* Both sides have exactly the window that was agreed on: a sender that used more would be noticed. */
static void test_round_trips(void **state)
{
    static const size_t lengths[] = {1, 2, 5, 125, 126, 1000, 4097, 40000, 70000};
    static const size_t steps[] = {0, 1, 7, 4096};

    (void)state;
    for (uint8_t bits = TG_DEFLATE_BITS_MIN; bits <= TG_DEFLATE_BITS_MAX; bits++) {
        for (int takeover = 0; takeover < 2; takeover++) {
            struct tg_deflater deflater = deflater_of(takeover, bits);
            struct tg_inflater inflater = inflater_of(takeover, bits);
            deflater.tuning.level = (uint8_t)(bits % 9 + 1);
            deflater.tuning.memory_level = (uint8_t)(bits - 8);
            for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
                for (enum content content = ZEROS; content < CONTENTS; content++)
                    round_trip(&deflater, &inflater, content, lengths[i], steps[i % 4]);
                assert_int_equal(tg_deflater_held(&deflater) > 0, takeover);
                assert_int_equal(tg_inflater_held(&inflater) > 0, takeover);
            }
            tg_deflater_fini(&deflater);
            tg_inflater_fini(&inflater);
        }
    }
}

/* With takeover the inflater has the agreed window and no more, so it shows what the sender uses. */
static void test_smaller_windows_are_kept_to(void **state)
{
    uint8_t data[2000];
    uint32_t seed = 7;

    (void)state;
    for (size_t i = 0; i < 1000; i++)
        data[i] = (uint8_t)next_random(&seed);
    memcpy(data + 1000, data, 1000); /* only a window of 2^10 or more can see this */
    for (uint8_t bits = 9; bits <= 11; bits++) {
        struct tg_deflater deflater = deflater_of(false, bits);
        struct tg_inflater inflater = inflater_of(true, 9);
        struct tg_buffer wire = TG_BUFFER_INIT;
        struct tg_buffer out = TG_BUFFER_INIT;
        assert_int_equal(tg_deflate(&deflater, data, sizeof data, &wire), TG_ERR_OK);
        assert_int_equal(
            inflate_message(&inflater, tg_buffer_head(&wire), wire.len, 100, &out, sizeof data),
            bits == 11 ? TG_ERR_PROTO : TG_ERR_OK);
        tg_buffer_fini(&wire);
        tg_buffer_fini(&out);
        tg_inflater_fini(&inflater);
    }
}

/* Connections without takeover share streams; each must see only its own message. */
static void test_messages_side_by_side(void **state)
{
    enum { SIDE = 5 };
    struct tg_inflater inflaters[SIDE];
    struct tg_buffer wires[SIDE];
    struct tg_buffer outs[SIDE];
    uint8_t *messages[SIDE];

    (void)state;
    for (int i = 0; i < SIDE; i++) {
        struct tg_deflater deflater = deflater_of(false, (uint8_t)(15 - i));
        inflaters[i] = inflater_of(false, (uint8_t)(15 - i));
        wires[i] = outs[i] = TG_BUFFER_INIT;
        messages[i] = make_message(WORDS, 20000, (uint32_t)i);
        assert_int_equal(tg_deflate(&deflater, messages[i], 20000, &wires[i]), TG_ERR_OK);
        assert_int_equal(tg_deflater_held(&deflater), 0);
    }
    for (size_t at = 0, left = SIDE; left > 0; at++) {
        for (int i = 0; i < SIDE; i++) {
            if (at < wires[i].len) {
                assert_int_equal(
                    tg_inflate(&inflaters[i], tg_buffer_head(&wires[i]) + at, 1, &outs[i], PLENTY),
                    TG_ERR_OK);
                assert_true(tg_inflater_held(&inflaters[i]) > 0);
            } else if (at == wires[i].len) {
                assert_int_equal(tg_inflate_end(&inflaters[i], &outs[i], PLENTY), TG_ERR_OK);
                assert_int_equal(tg_inflater_held(&inflaters[i]), 0);
                left--;
            }
        }
    }
    for (int i = 0; i < SIDE; i++) {
        assert_int_equal(outs[i].len, 20000);
        assert_memory_equal(tg_buffer_head(&outs[i]), messages[i], 20000);
        tg_buffer_fini(&wires[i]);
        tg_buffer_fini(&outs[i]);
        free(messages[i]);
    }
}

static void test_limit_is_exact(void **state)
{
    (void)state;
    for (size_t len = 250; len <= 260; len++) {
        for (size_t step = 0; step < 3; step++) {
            struct tg_deflater deflater = deflater_of(false, 15);
            struct tg_inflater inflater = inflater_of(false, 15);
            struct tg_buffer wire = TG_BUFFER_INIT;
            struct tg_buffer out = TG_BUFFER_INIT;
            uint8_t *data = make_message(ZEROS + len % 3, len, 1);
            assert_int_equal(tg_deflate(&deflater, data, len, &wire), TG_ERR_OK);
            enum tg_err err =
                inflate_message(&inflater, tg_buffer_head(&wire), wire.len, step, &out, 255);
            assert_int_equal(err, len <= 255 ? TG_ERR_OK : TG_ERR_LIMIT);
            assert_int_equal(out.len, len <= 255 ? len : 255);
            tg_buffer_fini(&wire);
            tg_buffer_fini(&out);
            free(data);
        }
    }
}

/* A bomb stops at the limit, with memory for the limit and with most of it unread. */
static void test_bombs(void **state)
{
    enum { BOMB = 16 << 20 };
    struct tg_deflater deflater = deflater_of(false, 15);
    struct tg_inflater inflater = inflater_of(false, 15);
    struct tg_buffer wire = TG_BUFFER_INIT;
    struct tg_buffer out = TG_BUFFER_INIT;
    uint8_t *zeros = calloc(1, BOMB);
    size_t fed = 0;
    enum tg_err err = TG_ERR_OK;

    (void)state;
    assert_int_equal(tg_deflate(&deflater, zeros, BOMB, &wire), TG_ERR_OK);
    free(zeros);
    assert_true(wire.len < BOMB / 900);
    assert_int_equal(tg_inflate(&inflater, tg_buffer_head(&wire), wire.len, &out, 100000),
                     TG_ERR_LIMIT);
    assert_int_equal(out.len, 100000);
    assert_true(out.capacity <= 2 * 100000);
    tg_inflater_fini(&inflater);
    tg_buffer_fini(&out);
    for (; err == TG_ERR_OK && fed < wire.len; fed++)
        err = tg_inflate(&inflater, tg_buffer_head(&wire) + fed, 1, &out, 100000);
    assert_int_equal(err, TG_ERR_LIMIT);
    assert_true(fed < 200);
    tg_inflater_fini(&inflater);
    tg_buffer_fini(&out);
    tg_buffer_fini(&wire);
}

/* Small blocks that each end the stream cost no more than their size. */
static void test_many_final_blocks(void **state)
{
    enum { BLOCKS = 200000 };
    struct tg_inflater inflater = inflater_of(true, 15);
    struct tg_buffer out = TG_BUFFER_INIT;
    uint8_t *wire = malloc(2 * BLOCKS);

    (void)state;
    for (size_t i = 0; i < 2 * BLOCKS; i++)
        wire[i] = i % 2 == 0 ? 0x03 : 0x00;
    assert_int_equal(inflate_message(&inflater, wire, 2 * BLOCKS, 0, &out, 10), TG_ERR_OK);
    assert_int_equal(out.len, 0);
    tg_inflater_fini(&inflater);
    tg_buffer_fini(&out);
    free(wire);
}

/* Every single bit flipped, and every cut: an error or another text, always the same for any split. */
static void test_damage(void **state)
{
    struct tg_deflater deflater = deflater_of(false, 15);
    struct tg_buffer wire = TG_BUFFER_INIT;
    uint8_t *data = make_message(WORDS, 600, 3);
    size_t refused = 0;

    (void)state;
    assert_int_equal(tg_deflate(&deflater, data, 600, &wire), TG_ERR_OK);
    uint8_t *bytes = tg_buffer_head(&wire);
    for (size_t bit = 0; bit < wire.len * 8; bit++) {
        enum tg_err err[2];
        struct tg_buffer out[2] = {{0}};
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        for (size_t i = 0; i < 2; i++) {
            struct tg_inflater inflater = inflater_of(false, 15);
            err[i] = inflate_message(&inflater, bytes, wire.len, i, &out[i], 2000);
        }
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(err[0], err[1]);
        assert_int_equal(out[0].len, out[1].len);
        refused += err[0] != TG_ERR_OK;
        tg_buffer_fini(&out[0]);
        tg_buffer_fini(&out[1]);
    }
    assert_true(refused > wire.len);
    for (size_t cut = 1; cut < wire.len; cut++) {
        struct tg_inflater inflater = inflater_of(false, 15);
        struct tg_buffer out = TG_BUFFER_INIT;
        assert_int_equal(inflate_message(&inflater, bytes, cut, cut % 3, &out, 2000), TG_ERR_PROTO);
        tg_buffer_fini(&out);
    }
    tg_buffer_fini(&wire);
    free(data);
}

struct starved {
    long successes;
    bool takeover;
    bool failed;
};

/* In a thread of its own, so that no stream is left from before. Ends with a message that must get
 * through whatever failed before it. */
static void *run_starved(void *arg)
{
    struct starved *starved = arg;
    struct tg_deflater deflater = deflater_of(starved->takeover, 12);
    struct tg_inflater inflater = inflater_of(starved->takeover, 12);
    struct tg_buffer wire = TG_BUFFER_INIT;
    struct tg_buffer out = TG_BUFFER_INIT;
    uint8_t *data = make_message(NOISE, 3000, 9);

    tg_memory_fail_after(starved->successes, 0);
    enum tg_err err = tg_deflate(&deflater, data, 3000, &wire);
    if (err == TG_ERR_OK)
        err = inflate_message(&inflater, tg_buffer_head(&wire), wire.len, 500, &out, PLENTY);
    starved->failed = (long)tg_memory_fail_after(-1, 0) > starved->successes;
    assert_int_equal(err, starved->failed ? TG_ERR_NOMEM : TG_ERR_OK);
    tg_deflater_fini(&deflater); /* a receiver that failed has lost its window */
    tg_inflater_fini(&inflater);
    tg_buffer_fini(&wire);
    round_trip(&deflater, &inflater, NOISE, 3000, 0);
    tg_deflater_fini(&deflater);
    tg_inflater_fini(&inflater);
    tg_buffer_fini(&out);
    free(data);
    return NULL;
}

static void test_allocation_failures(void **state)
{
    (void)state;
    for (int takeover = 0; takeover < 2; takeover++) {
        struct starved starved = {.takeover = takeover, .failed = true};
        for (starved.successes = 0; starved.failed; starved.successes++) {
            pthread_t thread;
            assert_int_equal(pthread_create(&thread, NULL, run_starved, &starved), 0);
            assert_int_equal(pthread_join(thread, NULL), 0);
        }
        assert_true(starved.successes > 8);
    }
}

/* A peer that got half of a message reads the next one all the same. */
static void test_failure_in_the_middle_starts_afresh(void **state)
{
    struct tg_deflater deflater = deflater_of(true, 15);
    struct tg_inflater inflater = inflater_of(true, 15);
    struct tg_buffer lost = TG_BUFFER_INIT;

    (void)state;
    round_trip(&deflater, &inflater, WORDS, 1000, 0);
    tg_memory_fail_after(0, 0);
    assert_int_equal(tg_deflate(&deflater, "words never seen", 16, &lost), TG_ERR_NOMEM);
    tg_memory_fail_after(-1, 0);
    assert_int_equal(tg_deflater_held(&deflater), 0);
    round_trip(&deflater, &inflater, WORDS, 1000, 0);
    tg_deflater_fini(&deflater);
    tg_inflater_fini(&inflater);
    tg_buffer_fini(&lost);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_window_is_kept_or_not),
        cmocka_unit_test(test_final_block_keeps_the_window),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_smaller_windows_are_kept_to),
        cmocka_unit_test(test_messages_side_by_side),
        cmocka_unit_test(test_limit_is_exact),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_many_final_blocks),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_failure_in_the_middle_starts_afresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
