/* mask_test.c - the XOR by the vector does what the one by the byte does, and no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/mask.h"

enum { ROOM = 900 };
static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

static void fill(uint8_t bytes[ROOM])
{
    for (size_t i = 0; i < ROOM; i++)
        bytes[i] = (uint8_t)(i * 7 + 1);
}

static void every_length_is_masked_at_every_place(void **state)
{
    uint8_t bytes[ROOM], expected[ROOM];
    (void)state;
    for (size_t from = 0; from < 17; from++) {
        for (size_t len = 0; len <= 800; len++) {
            fill(bytes);
            fill(expected);
            for (size_t i = 0; i < len; i++)
                expected[from + i] ^= key[i % 4];
            tg_ws_mask(bytes + from, bytes + from, len, key);
            assert_memory_equal(bytes, expected, ROOM);
        }
    }
}

static void what_is_masked_elsewhere_stays_as_it_was(void **state)
{
    uint8_t bytes[ROOM], before[ROOM], out[ROOM], expected[ROOM];
    (void)state;
    fill(bytes);
    fill(before);
    for (size_t from = 0; from < 17; from++) {
        for (size_t len = 0; len <= 800; len++) {
            memset(out, '#', sizeof out);
            memset(expected, '#', sizeof expected);
            for (size_t i = 0; i < len; i++)
                expected[16 - from + i] = bytes[from + i] ^ key[i % 4];
            (void)tg_ws_mask(out + 16 - from, bytes + from, len, key);
            assert_memory_equal(out, expected, ROOM);
            assert_memory_equal(bytes, before, ROOM);
        }
    }
}

static void pieces_are_masked_like_the_whole(void **state)
{
    uint8_t bytes[ROOM], expected[ROOM];
    (void)state;
    for (size_t split = 0; split <= 200; split++) {
        uint8_t next[4] = {key[0], key[1], key[2], key[3]};
        fill(bytes);
        fill(expected);
        tg_ws_mask(expected, expected, 200, key);
        tg_ws_mask(bytes, bytes, split, next);
        tg_ws_mask_advance(next, split);
        tg_ws_mask(bytes + split, bytes + split, 200 - split, next);
        assert_memory_equal(bytes, expected, ROOM);
    }
}

static void one_byte_that_is_not_ascii_is_seen_at_every_place(void **state)
{
    uint8_t bytes[ROOM], clear[ROOM];
    (void)state;
    memset(clear, 'x', sizeof clear);
    for (size_t len = 1; len <= 520; len += len < 200 ? 1 : 16) {
        memcpy(bytes, clear, sizeof bytes);
        (void)tg_ws_mask(bytes, bytes, len, key);
        assert_true(tg_ws_mask(bytes, bytes, len, key));
        for (size_t at = 0; at < len; at++) {
            clear[at] = 0x80;
            memcpy(bytes, clear, sizeof bytes);
            (void)tg_ws_mask(bytes, bytes, len, key);
            assert_false(tg_ws_mask(bytes, bytes, len, key));
            clear[at] = 'x';
        }
        clear[len] = 0xFF; /* beyond: no concern of its */
        memcpy(bytes, clear, sizeof bytes);
        (void)tg_ws_mask(bytes, bytes, len, key);
        assert_true(tg_ws_mask(bytes, bytes, len, key));
        clear[len] = 'x';
    }
}

static void vectors_of_every_width_do_the_same(void **state)
{
    uint8_t bytes[ROOM], expected[ROOM];
    (void)state;
    for (size_t len = 0; len <= 768; len += TG__WS_MASK_BLOCK) {
        for (unsigned width = 16; width <= 16 || width <= tg_vector_width(); width *= 2) {
            uint64_t bits = 0, lanes = 0;
            fill(bytes);
            fill(expected);
            for (size_t i = 0; i < len; i++)
                expected[i + 1] ^= (uint8_t)(i % 8 + 1);
            for (size_t i = 0; i < len; i++)
                bits |= (uint64_t)expected[i + 1] << i % 8 * 8;
            lanes =
                tg__ws_mask_blocks(width, bytes + 1, bytes + 1, len, UINT64_C(0x0807060504030201));
            assert_memory_equal(bytes, expected, ROOM);
            assert_true(lanes == bits);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_is_masked_at_every_place),
        cmocka_unit_test(what_is_masked_elsewhere_stays_as_it_was),
        cmocka_unit_test(pieces_are_masked_like_the_whole),
        cmocka_unit_test(one_byte_that_is_not_ascii_is_seen_at_every_place),
        cmocka_unit_test(vectors_of_every_width_do_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
