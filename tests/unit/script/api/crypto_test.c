/* api_crypto_test.c - tidegate.crypto against published vectors, and its limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "support/bare_lua.h"

static void test_digests(void **state)
{
    bare_lua_run(*state, "local c = crypto\n"
                         "assert(#c.sha256('') == 32)\n"
                         "assert(c.hex(c.sha256('abc')) ==\n"
                         "  'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')\n"
                         /* RFC 4231, case 2 */
                         "assert(c.hex(c.hmac_sha256('Jefe', 'what do ya want for nothing?')) ==\n"
                         "  '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843')\n"
                         "assert(c.hex('\\0\\255a') == '00ff61' and c.hex('') == '')");
}

static void test_encodings(void **state)
{
    bare_lua_run(*state,
                 "local b, u = crypto.base64, crypto.base64url\n"
                 "assert(b.encode('foob') == 'Zm9vYg==' and b.encode('') == '')\n"
                 "assert(b.decode('Zm9vYg==') == 'foob' and b.decode('') == '')\n"
                 "assert(u.encode('\\251\\255') == '-_8' and u.decode('-_8') == '\\251\\255')\n"
                 "local v, why = b.decode('Zm9vYg')\n"
                 "assert(v == nil and why == 'not base64')\n"
                 "v, why = u.decode('-_8=')\n"
                 "assert(v == nil and why == 'not base64url')");
}

static void test_random(void **state)
{
    bare_lua_run(*state,
                 "local a, b = crypto.random_bytes(16), crypto.random_bytes(16)\n"
                 "assert(#a == 16 and #b == 16 and a ~= b)\n"
                 "assert(#crypto.random_bytes(65536) == 65536)\n"
                 "assert(crypto.random_hex(8):match('^%x+$') and #crypto.random_hex(8) == 16)");
}

static void test_equal(void **state)
{
    bare_lua_run(*state,
                 "assert(crypto.equal('abc', 'abc') and crypto.equal('', ''))\n"
                 "assert(not crypto.equal('abc', 'abd') and not crypto.equal('abc', 'ab'))\n"
                 "assert(not crypto.equal('a\\0b', 'a\\0c'))");
}

static void test_misuse_raises(void **state)
{
    static const struct {
        const char *code;
        const char *text;
    } rows[] = {
        {"crypto.random_bytes(0)", "test:1: crypto.random_bytes: a whole number"},
        {"crypto.random_bytes(65537)", "1 to 65536"},
        {"crypto.random_bytes(1.5)", "1 to 65536"},
        {"crypto.random_bytes(0/0)", "1 to 65536"},
        {"crypto.random_bytes('16')", "1 to 65536"},
        {"crypto.sha256(nil)", "crypto.sha256: a string expected as argument 1, got nil"},
        {"crypto.sha256(5)", "got number"},
        {"crypto.hmac_sha256('k')", "as argument 2, got nothing"},
        {"crypto.equal('a', nil)", "as argument 2, got nil"},
        {"crypto.sha256(('x'):rep(5 * 1024 * 1024))", "more than 4 MiB"},
        {"crypto.base64.decode(1)", "crypto.base64.decode: a string expected"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *text = bare_lua_error(*state, rows[i].code);
        if (strstr(text, rows[i].text) == NULL)
            fail_msg("%s: \"%s\"", rows[i].code, text);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bare_lua_setup, bare_lua_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_digests), TEST(test_encodings),     TEST(test_random),
        TEST(test_equal),   TEST(test_misuse_raises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
