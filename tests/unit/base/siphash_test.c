/* siphash_test.c - the published test vectors of SipHash-2-4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/siphash.h"

/* Key 00 01 … 0f, input 00 01 … (n-1), for n = 0 … 15: the first rows of the reference table. */
static void it_gives_the_reference_values(void **state)
{
    static const uint64_t expected[16] = {
        UINT64_C(0x726fdb47dd0e0e31), UINT64_C(0x74f839c593dc67fd), UINT64_C(0x0d6c8009d9a94f5a),
        UINT64_C(0x85676696d7fb7e2d), UINT64_C(0xcf2794e0277187b7), UINT64_C(0x18765564cd99a68d),
        UINT64_C(0xcbc9466e58fee3ce), UINT64_C(0xab0200f58b01d137), UINT64_C(0x93f5f5799a932462),
        UINT64_C(0x9e0082df0ba9e4b0), UINT64_C(0x7a5dbbc594ddb9f3), UINT64_C(0xf4b32f46226bada7),
        UINT64_C(0x751e8fbc860ee5fb), UINT64_C(0x14ea5627c0843d90), UINT64_C(0xf723ca908e7af2ee),
        UINT64_C(0xa129ca6149be45e5),
    };
    const struct tg_siphash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    uint8_t input[16];
    (void)state;
    for (size_t i = 0; i < 16; i++) {
        input[i] = (uint8_t)i;
        assert_int_equal(tg_siphash(&key, input, i), expected[i]);
    }
}

static void two_keys_give_two_hashes(void **state)
{
    const struct tg_siphash_key a = tg_siphash_key_new();
    const struct tg_siphash_key b = tg_siphash_key_new();
    (void)state;
    assert_int_not_equal(tg_siphash(&a, "key", 3), tg_siphash(&b, "key", 3));
    assert_int_equal(tg_siphash(&a, "key", 3), tg_siphash(&a, "key", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_gives_the_reference_values),
        cmocka_unit_test(two_keys_give_two_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
