/* password_test.c - PBKDF2 with HMAC-SHA-256: published vectors, and that steps change nothing.
 *
 * The vectors are those of RFC 7914 §11 and, for the inputs of RFC 6070, the widely published SHA-256 ones; all
 * were compared with OpenSSL's through Python's hashlib.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/password.h"

static const struct vector {
    const char *password;
    size_t password_len;
    const char *salt;
    size_t salt_len;
    uint32_t iterations;
    const char *hex;
} vectors[] = {
    {"passwd", 6, "salt", 4, 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"},
    {"Password", 8, "NaCl", 4, 80000,
     "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"},
    {"password", 8, "salt", 4, 1,
     "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b"},
    {"password", 8, "salt", 4, 2,
     "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43"},
    {"password", 8, "salt", 4, 4096,
     "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"},
    {"passwordPASSWORDpassword", 24, "saltSALTsaltSALTsaltSALTsaltSALTsalt", 36, 4096,
     "348c89dbcbd32b2f32d814b8116e84cf2b17347ebc1800181c4e2a1fb8dd53e1"},
    {"pass\0word", 9, "sa\0lt", 5, 4096,
     "89b69d0516f829893c696226650a86878c029ac13ee276509d5ae58b6466a724"},
    {"", 0, "salt", 4, 1, "f135c27993baf98773c5cdb40a5706ce6a345cde61b000a67858650cd6a324d7"},
};

static const char *derive(const struct vector *v, uint32_t step)
{
    static char hex[2 * TG_PASSWORD_HASH_SIZE + 1];
    uint8_t hash[TG_PASSWORD_HASH_SIZE];
    struct tg_password_work *work =
        tg_password_create(v->password, v->password_len, v->salt, v->salt_len, v->iterations);
    assert_non_null(work);
    while (tg_password_step(work, step) > 0)
        continue;
    tg_password_result(work, hash);
    tg_password_destroy(work);
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    return hex;
}

static void published_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
        assert_string_equal(derive(&vectors[i], UINT32_MAX), vectors[i].hex);
}

static void steps_change_nothing(void **state)
{
    static const uint32_t steps[] = {1, 2, 3, 1000, 4095, 4096, 5000};
    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        assert_string_equal(derive(&vectors[4], steps[i]), vectors[4].hex);
}

static void a_password_longer_than_a_block_is_its_digest(void **state)
{
    char password[100];
    (void)state;
    memset(password, 'x', sizeof password);
    struct vector v = {password, sizeof password, "salt", 4, 3, NULL};
    assert_string_equal(derive(&v, 1),
                        "59bfa49750dd5462ce38370a1e7abe0736ff334cf1c2f0d84f23a03435d660d1");
    v.password_len = 64;
    assert_string_equal(derive(&v, 1),
                        "0582d52c2133ec90a168409527adb1a18782d00151ca2939679a72dedca074b5");
}

static void what_is_left_is_told(void **state)
{
    (void)state;
    struct tg_password_work *work = tg_password_create("p", 1, "s", 1, 10);
    assert_non_null(work);
    assert_int_equal(tg_password_step(work, 4), 5);
    assert_int_equal(tg_password_step(work, 4), 1);
    assert_int_equal(tg_password_step(work, 4), 0);
    assert_int_equal(tg_password_step(work, 4), 0);
    tg_password_destroy(work);
    tg_password_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(steps_change_nothing),
        cmocka_unit_test(a_password_longer_than_a_block_is_its_digest),
        cmocka_unit_test(what_is_left_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
