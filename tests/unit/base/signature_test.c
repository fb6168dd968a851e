/* signature_test.c - making keys, verifying and signing; the published vectors are in proto/jwt_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/mac.h"
#include "base/memory.h"
#include "base/signature.h"
#include "support/jwt_vectors.h"

#define DATA "what is signed"

/* The order n of P-256. */
static const uint8_t order_256[32] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};

static struct tg_public_key *public_key(const char *pem)
{
    struct tg_public_key *key = NULL;
    struct tg_error error = {0};
    if (tg_public_key_from_pem(&key, pem, strlen(pem), &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    return key;
}

static struct tg_private_key *private_key(const char *pem)
{
    struct tg_private_key *key = NULL;
    struct tg_error error = {0};
    if (tg_private_key_from_pem(&key, pem, strlen(pem), &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    return key;
}

static void test_every_form_of_pem_gives_the_key(void **state)
{
    static const char *const rsa[] = {RSA_SPKI_PEM, RSA_PKCS1_PEM};
    static const char *const rsa_private[] = {RSA_PRIVATE_PKCS8_PEM, RSA_PRIVATE_PKCS1_PEM};
    static const char *const ec[] = {EC_SPKI_PEM, EC_CERTIFICATE_PEM};
    static const char *const ec_private[] = {EC_PRIVATE_PKCS8_PEM, EC_PRIVATE_SEC1_PEM};
    uint8_t signature[TG_SIGNATURE_SIZE_MAX];
    size_t len = 0;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        bool is_rsa = i < 2;
        enum tg_signature_algorithm algorithm = is_rsa ? TG_RS256 : TG_ES256;
        struct tg_private_key *secret = private_key(is_rsa ? rsa_private[i] : ec_private[i - 2]);
        struct tg_public_key *open = public_key(is_rsa ? rsa[i] : ec[i - 2]);
        assert_true(tg_public_key_fits(open, algorithm));
        assert_int_equal(tg_signature_make(secret, algorithm, DATA, sizeof DATA, signature, &len),
                         TG_ERR_OK);
        assert_int_equal(len, is_rsa ? 256 : 64);
        assert_true(tg_signature_is_good(open, algorithm, DATA, sizeof DATA, signature, len));
        tg_private_key_destroy(secret);
        tg_public_key_destroy(open);
    }
}

static void test_bad_keys_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *pem;
        bool private;
        const char *text;
    } rows[] = {
        {RSA_1024_PEM, false, "1024 bits"},
        {SECP256K1_PEM, false, "curve that is not supported"},
        {ED25519_PEM, false, "EdDSA is not"},
        {RSA_PRIVATE_PKCS8_PEM, false, "private key"},
        {EC_PRIVATE_SEC1_PEM, false, "private key"},
        {RSA_SPKI_PEM, true, "no key that can be read"},
        {RSA_ENCRYPTED_PEM, true, "encrypted"},
        {"", false, "no PEM"},
        {"not a key", false, "no PEM"},
        {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", false, "can be read"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", false, "can be read"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_error error = {0};
        struct tg_public_key *open = NULL;
        struct tg_private_key *secret = NULL;
        size_t len = strlen(rows[i].pem);
        enum tg_err err = rows[i].private
                              ? tg_private_key_from_pem(&secret, rows[i].pem, len, &error)
                              : tg_public_key_from_pem(&open, rows[i].pem, len, &error);
        assert_int_equal(err, TG_ERR_INVALID);
        if (strstr(error.text, rows[i].text) == NULL)
            fail_msg("row %zu: %s", i, error.text);
    }
}

static void test_a_nul_byte_or_a_huge_text_is_no_pem(void **state)
{
    static char huge[70000];
    struct tg_public_key *key = NULL;
    struct tg_error error = {0};
    (void)state;
    assert_int_equal(
        tg_public_key_from_pem(&key, RSA_SPKI_PEM "\0x", sizeof RSA_SPKI_PEM + 1, &error),
        TG_ERR_INVALID);
    memset(huge, 'A', sizeof huge);
    memcpy(huge, RSA_SPKI_PEM, sizeof RSA_SPKI_PEM - 1);
    assert_int_equal(tg_public_key_from_pem(&key, huge, sizeof huge, &error), TG_ERR_INVALID);
}

static void test_numbers_that_make_no_key_are_refused(void **state)
{
    uint8_t bytes[300] = {0};
    struct tg_public_key *key = NULL;
    struct tg_error error = {0};
    (void)state;
    struct tg_octets half = {bytes, 32};
    /* (0, 0) is no point; a coordinate of another length is not looked at. */
    assert_int_equal(tg_public_key_from_ec(&key, TG_P256, half, half, &error), TG_ERR_INVALID);
    assert_int_equal(
        tg_public_key_from_ec(&key, TG_P384, half, (struct tg_octets){bytes, 48}, &error),
        TG_ERR_INVALID);
    /* Even modulus; exponent 1; an exponent as long as the modulus (as slow as signing). */
    memset(bytes, 0xff, sizeof bytes);
    struct tg_octets n = {bytes, 256};
    uint8_t one = 1;
    assert_int_equal(tg_public_key_from_rsa(&key, n, (struct tg_octets){&one, 1}, &error),
                     TG_ERR_INVALID);
    assert_int_equal(tg_public_key_from_rsa(&key, n, (struct tg_octets){bytes, 255}, &error),
                     TG_ERR_INVALID);
    assert_non_null(strstr(error.text, "exponent"));
    bytes[255] = 0xfe;
    uint8_t three = 3;
    assert_int_equal(tg_public_key_from_rsa(&key, n, (struct tg_octets){&three, 1}, &error),
                     TG_ERR_INVALID);
}

static void test_private_rsa_keys_that_would_take_long_are_refused(void **state)
{
    uint8_t bytes[1024];
    uint8_t three = 3;
    struct tg_private_key *key = NULL;
    struct tg_error error = {0};
    (void)state;
    memset(bytes, 0xff, sizeof bytes);
    struct tg_octets large = {bytes, 1024};
    struct tg_octets half = {bytes, 512};
    struct tg_rsa_numbers numbers = {large, {&three, 1}, large, half, half};
    assert_int_equal(tg_private_key_from_rsa(&key, &numbers, &error), TG_ERR_INVALID);
    assert_non_null(strstr(error.text, "too long"));
    numbers = (struct tg_rsa_numbers){half, {&three, 1}, half, {NULL, 0}, {NULL, 0}};
    assert_int_equal(tg_private_key_from_rsa(&key, &numbers, &error), TG_ERR_INVALID);
    assert_non_null(strstr(error.text, "primes"));
}

/* One signature of each algorithm, by keys of A.2 and A.3. */
static void test_each_algorithm_takes_its_own_only(void **state)
{
    static const enum tg_signature_algorithm made[] = {TG_RS256, TG_RS384, TG_RS512, TG_PS256,
                                                       TG_PS384, TG_PS512, TG_ES256};
    struct tg_private_key *rsa = private_key(RSA_PRIVATE_PKCS8_PEM);
    struct tg_private_key *ec = private_key(EC_PRIVATE_PKCS8_PEM);
    struct tg_public_key *open_rsa = public_key(RSA_SPKI_PEM);
    struct tg_public_key *open_ec = public_key(EC_SPKI_PEM);
    uint8_t signature[TG_SIGNATURE_SIZE_MAX];
    size_t len = 0;
    (void)state;
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        bool is_ec = made[i] == TG_ES256;
        assert_int_equal(
            tg_signature_make(is_ec ? ec : rsa, made[i], DATA, sizeof DATA, signature, &len),
            TG_ERR_OK);
        for (int other = 0; other < TG_SIGNATURE_ALGORITHMS; other++) {
            enum tg_signature_algorithm algorithm = (enum tg_signature_algorithm)other;
            bool good = algorithm == made[i];
            assert_int_equal(good && !is_ec, tg_signature_is_good(open_rsa, algorithm, DATA,
                                                                  sizeof DATA, signature, len));
            assert_int_equal(good && is_ec, tg_signature_is_good(open_ec, algorithm, DATA,
                                                                 sizeof DATA, signature, len));
        }
        assert_false(tg_signature_is_good(is_ec ? open_ec : open_rsa, made[i], DATA,
                                          sizeof DATA - 1, signature, len));
    }
    assert_int_equal(tg_signature_make(rsa, TG_ES256, DATA, 1, signature, &len), TG_ERR_INVALID);
    assert_int_equal(tg_signature_make(ec, TG_RS256, DATA, 1, signature, &len), TG_ERR_INVALID);
    assert_int_equal(tg_signature_make(ec, TG_ES384, DATA, 1, signature, &len), TG_ERR_INVALID);
    tg_private_key_destroy(rsa);
    tg_private_key_destroy(ec);
    tg_public_key_destroy(open_rsa);
    tg_public_key_destroy(open_ec);
}

static void test_changed_rsa_signatures_are_bad(void **state)
{
    struct tg_private_key *secret = private_key(RSA_PRIVATE_PKCS8_PEM);
    struct tg_public_key *open = public_key(RSA_SPKI_PEM);
    uint8_t signature[TG_SIGNATURE_SIZE_MAX] = {0};
    uint8_t wrong[TG_SIGNATURE_SIZE_MAX] = {0};
    size_t len = 0;
    (void)state;
    for (int i = 0; i < 2; i++) {
        enum tg_signature_algorithm algorithm = i == 0 ? TG_RS256 : TG_PS256;
        assert_int_equal(tg_signature_make(secret, algorithm, DATA, sizeof DATA, signature, &len),
                         TG_ERR_OK);
        for (size_t at = 0; at < len; at += 51) {
            memcpy(wrong, signature, len);
            wrong[at] ^= 1;
            assert_false(tg_signature_is_good(open, algorithm, DATA, sizeof DATA, wrong, len));
        }
        assert_false(tg_signature_is_good(open, algorithm, DATA, sizeof DATA, signature, len - 1));
        assert_false(tg_signature_is_good(open, algorithm, DATA, sizeof DATA, signature, len + 1));
        assert_false(tg_signature_is_good(open, algorithm, DATA, sizeof DATA, signature, 0));
        memset(wrong, 0, sizeof wrong);
        assert_false(tg_signature_is_good(open, algorithm, DATA, sizeof DATA, wrong, len));
        memset(wrong, 0xff, sizeof wrong); /* larger than the modulus */
        assert_false(tg_signature_is_good(open, algorithm, DATA, sizeof DATA, wrong, len));
        memmove(wrong + 1, signature, len); /* a leading zero */
        wrong[0] = 0;
        assert_false(tg_signature_is_good(open, algorithm, DATA, sizeof DATA, wrong, len + 1));
    }
    tg_private_key_destroy(secret);
    tg_public_key_destroy(open);
}

static void test_pss_has_one_salt_and_one_hash(void **state)
{
    static const char *const texts[] = {RSA_PSS_SALT_32, RSA_PSS_SALT_20, RSA_PSS_SALT_0,
                                        RSA_PSS_SALT_222, RSA_PSS_MGF1_SHA1};
    struct tg_public_key *open = public_key(RSA_SPKI_PEM);
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct tg_buffer bytes = TG_BUFFER_INIT;
        assert_int_equal(tg_base64url_decode(texts[i], strlen(texts[i]), &bytes), TG_ERR_OK);
        assert_int_equal(i == 0, tg_signature_is_good(open, TG_PS256, DATA, sizeof DATA,
                                                      tg_buffer_head(&bytes), bytes.len));
        tg_buffer_fini(&bytes);
    }
    tg_public_key_destroy(open);
}

static bool is_good(struct tg_public_key *key, const uint8_t *r, const uint8_t *s)
{
    uint8_t both[64];
    memcpy(both, r, 32);
    memcpy(both + 32, s, 32);
    return tg_signature_is_good(key, TG_ES256, DATA, sizeof DATA, both, sizeof both);
}

/* a + n, when that fits into 32 bytes. */
static bool plus_order(const uint8_t a[32], uint8_t out[32])
{
    unsigned carry = 0;
    for (int i = 31; i >= 0; i--) {
        unsigned sum = (unsigned)a[i] + order_256[i] + carry;
        out[i] = (uint8_t)sum;
        carry = sum >> 8;
    }
    return carry == 0;
}

static void test_strange_ecdsa_signatures_are_bad(void **state)
{
    struct tg_private_key *secret = private_key(EC_PRIVATE_PKCS8_PEM);
    struct tg_public_key *open = public_key(EC_SPKI_PEM);
    uint8_t made[TG_SIGNATURE_SIZE_MAX] = {0};
    uint8_t wrong[72] = {0};
    uint8_t zero[32] = {0};
    size_t len = 0;
    (void)state;
    assert_int_equal(tg_signature_make(secret, TG_ES256, DATA, sizeof DATA, made, &len), TG_ERR_OK);
    const uint8_t *r = made;
    const uint8_t *s = made + 32;
    assert_true(is_good(open, r, s));
    assert_false(is_good(open, zero, zero)); /* the classic */
    assert_false(is_good(open, r, zero));
    assert_false(is_good(open, zero, s));
    assert_false(is_good(open, order_256, s));
    assert_false(is_good(open, r, order_256));
    assert_false(is_good(open, order_256, order_256));
    assert_false(is_good(open, s, r));
    uint8_t all[32];
    memset(all, 0xff, sizeof all);
    assert_false(is_good(open, all, all));
    if (plus_order(r, wrong))
        assert_false(is_good(open, wrong, s));
    if (plus_order(s, wrong))
        assert_false(is_good(open, r, wrong));
    /* DER, as other protocols have it. */
    uint8_t der[72] = {0x30, 68, 2, 32};
    memcpy(der + 4, r, 32);
    der[36] = 2, der[37] = 32;
    memcpy(der + 38, s, 32);
    assert_false(tg_signature_is_good(open, TG_ES256, DATA, sizeof DATA, der, 70));
    /* Truncated, extended, with leading zeros. */
    assert_false(tg_signature_is_good(open, TG_ES256, DATA, sizeof DATA, made, 63));
    assert_false(tg_signature_is_good(open, TG_ES256, DATA, sizeof DATA, made, 65));
    memset(wrong, 0, sizeof wrong);
    memcpy(wrong + 1, r, 32);
    memcpy(wrong + 34, s, 32);
    assert_false(tg_signature_is_good(open, TG_ES256, DATA, sizeof DATA, wrong, 66));
    tg_private_key_destroy(secret);
    tg_public_key_destroy(open);
}

static void test_keys_survive_running_out_of_memory(void **state)
{
    (void)state;
    for (long successes = 0; successes < 3; successes++) {
        struct tg_public_key *key = NULL;
        struct tg_error error = {0};
        tg_memory_fail_after(successes, 0);
        enum tg_err err = tg_public_key_from_pem(&key, EC_SPKI_PEM, strlen(EC_SPKI_PEM), &error);
        tg_memory_fail_after(-1, 0);
        assert_int_equal(err, successes < 2 ? TG_ERR_NOMEM : TG_ERR_OK);
        tg_public_key_destroy(key);
    }
}

/* RFC 4231, cases 1 (a key that is too short here) and 5 to 7 have keys of 20 and 131 bytes; case 6. */
static void test_macs_of_rfc_4231(void **state)
{
    static const char text[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    static const char *const expected[] = {
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df1"
        "63f44952",
        "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd221"
        "5d6a1e5295e64f73f63f0aec8b915a985d786598"};
    uint8_t secret[131];
    struct tg_mac_key *key = NULL;
    struct tg_error error = {0};
    (void)state;
    memset(secret, 0xaa, sizeof secret);
    assert_int_equal(tg_mac_key_create(&key, secret, sizeof secret, &error), TG_ERR_OK);
    for (int i = 0; i < TG_MAC_ALGORITHMS; i++) {
        enum tg_mac_algorithm algorithm = (enum tg_mac_algorithm)i;
        uint8_t mac[TG_MAC_SIZE_MAX] = {0};
        char hex[2 * TG_MAC_SIZE_MAX + 1];
        size_t len = 0;
        assert_int_equal(tg_mac_make(key, algorithm, text, sizeof text - 1, mac, &len), TG_ERR_OK);
        for (size_t at = 0; at < len; at++)
            (void)snprintf(hex + 2 * at, 3, "%02x", mac[at]);
        assert_string_equal(hex, expected[i]);
        assert_true(tg_mac_is_good(key, algorithm, text, sizeof text - 1, mac, len));
        assert_false(tg_mac_is_good(key, algorithm, text, sizeof text - 1, mac, len - 1));
        assert_false(tg_mac_is_good(key, algorithm, text, sizeof text - 2, mac, len));
        mac[len - 1] ^= 0x80;
        assert_false(tg_mac_is_good(key, algorithm, text, sizeof text - 1, mac, len));
    }
    tg_mac_key_destroy(key);
}

static void test_a_secret_is_as_long_as_the_hash(void **state)
{
    uint8_t secret[TG_MAC_SECRET_MAX + 1] = {1};
    struct tg_mac_key *key = NULL;
    struct tg_error error = {0};
    uint8_t mac[TG_MAC_SIZE_MAX];
    size_t len = 0;
    (void)state;
    assert_int_equal(tg_mac_key_create(&key, secret, 31, &error), TG_ERR_INVALID);
    assert_non_null(strstr(error.text, "31 bytes"));
    assert_int_equal(tg_mac_key_create(&key, secret, sizeof secret, &error), TG_ERR_INVALID);
    assert_int_equal(tg_mac_key_create(&key, secret, 47, &error), TG_ERR_OK);
    assert_true(tg_mac_key_fits(key, TG_HS256));
    assert_false(tg_mac_key_fits(key, TG_HS384));
    assert_int_equal(tg_mac_make(key, TG_HS384, DATA, 1, mac, &len), TG_ERR_INVALID);
    assert_false(tg_mac_is_good(key, TG_HS384, DATA, 1, mac, 48));
    tg_mac_key_destroy(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form_of_pem_gives_the_key),
        cmocka_unit_test(test_bad_keys_are_refused_with_a_reason),
        cmocka_unit_test(test_a_nul_byte_or_a_huge_text_is_no_pem),
        cmocka_unit_test(test_numbers_that_make_no_key_are_refused),
        cmocka_unit_test(test_private_rsa_keys_that_would_take_long_are_refused),
        cmocka_unit_test(test_each_algorithm_takes_its_own_only),
        cmocka_unit_test(test_changed_rsa_signatures_are_bad),
        cmocka_unit_test(test_pss_has_one_salt_and_one_hash),
        cmocka_unit_test(test_strange_ecdsa_signatures_are_bad),
        cmocka_unit_test(test_keys_survive_running_out_of_memory),
        cmocka_unit_test(test_macs_of_rfc_4231),
        cmocka_unit_test(test_a_secret_is_as_long_as_the_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
