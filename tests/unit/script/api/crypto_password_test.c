/* api_crypto_password_test.c - crypto.password_hash and password_verify: what they accept, and that a strong hash
 * suspends its script, holds up nobody, and ends when its call does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/script_fixture.h"

static struct script_fixture fx;

#define HEAD "local c = require('tidegate.crypto')\n"
/* Of "correct horse", by Python's hashlib. */
#define HASH "pbkdf2-sha256:1000:c2FsdCBvZiBhZGEh:" ADA
#define ADA "S13Q4fgqWan862EIpfYEDfHf9VuZBhJhRf00znC_FvA"
/* The same in 100,000 iterations. */
#define STRONG "pbkdf2-sha256:100000:c2FsdCBvZiBhZGEh:ZUou6lWtmA8wnHErv7ndqbCpZ9aiHyw0OQKIrd8f6B8"

static void run(const char *body)
{
    char text[4096];
    (void)snprintf(text, sizeof text, HEAD "%s", body);
    fixture_run(&fx, text);
}

static void must(const char *body)
{
    run(body);
    if (fx.outcome != TG_CALL_OK)
        fail_msg("%s: %s", body, fx.text);
}

static void a_hash_verifies_its_password_and_no_other(void **state)
{
    (void)state;
    must("local a, b = c.password_hash('secret', 1000), c.password_hash('secret', 1000)\n"
         "assert(a ~= b and a:match('^pbkdf2%-sha256:1000:[%w_-]+:[%w_-]+$') and #a == 85, a)\n"
         "assert(c.password_verify('secret', a) == true and c.password_verify('secret', b) == "
         "true)\n"
         "assert(c.password_verify('Secret', a) == false and c.password_verify('', a) == false)\n"
         "assert(c.password_verify('secret\\0', a) == false)\n"
         "local e = c.password_hash('', 1000)\n"
         "assert(c.password_verify('', e) == true and c.password_verify('x', e) == false)");
}

static void a_hash_of_another_program_verifies(void **state)
{
    (void)state;
    must("assert(c.password_verify('correct horse', '" HASH "') == true)\n"
         "assert(c.password_verify('wrong horse', '" HASH "') == false)");
}

static void what_is_no_hash_is_told(void **state)
{
    static const char *const hashes[] = {
        "",
        "correct horse",
        "pbkdf2-sha256",
        "pbkdf2-sha256:",
        "pbkdf2-sha1:1000:c2FsdCBvZiBhZGEh:" ADA,
        "pbkdf2-sha256:999:c2FsdCBvZiBhZGEh:" ADA,
        "pbkdf2-sha256:10000001:c2FsdCBvZiBhZGEh:" ADA,
        "pbkdf2-sha256:99999999999999999999:c2FsdCBvZiBhZGEh:" ADA,
        "pbkdf2-sha256:+1000:c2FsdCBvZiBhZGEh:" ADA,
        "pbkdf2-sha256:1000x:c2FsdCBvZiBhZGEh:" ADA,
        "pbkdf2-sha256:1000::" ADA,
        "pbkdf2-sha256:1000:c2Fs:" ADA,
        "pbkdf2-sha256:1000:c2FsdCBvZiBhZGEh",
        "pbkdf2-sha256:1000:c2FsdCBvZiBhZGEh:",
        "pbkdf2-sha256:1000:c2FsdCBvZiBhZGEh:c2Fs",
        "pbkdf2-sha256:1000:c2FsdCBvZiBhZGEh:" ADA ":x",
        "pbkdf2-sha256:1000:c2FsdCBvZiBhZGEh:" ADA "AA",
        " " HASH,
        HASH "\\0",
    };
    char body[512];
    (void)state;
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++) {
        (void)snprintf(
            body, sizeof body,
            "local good, why = c.password_verify('correct horse', '%s')\n"
            "assert(good == nil and why == 'not a hash that crypto.password_hash makes')",
            hashes[i]);
        must(body);
    }
}

static void misuse_raises(void **state)
{
    static const struct {
        const char *code;
        const char *text;
    } rows[] = {
        {"c.password_hash()", "crypto.password_hash: a password (text) expected, got nil"},
        {"c.password_hash(7)", "got number"},
        {"c.password_hash('x', 999)", "from 1000 to 10000000 iterations expected"},
        {"c.password_hash('x', 10000001)", "iterations expected"},
        {"c.password_hash('x', 1000.5)", "iterations expected"},
        {"c.password_hash('x', 0/0)", "iterations expected"},
        {"c.password_hash('x', {})", "iterations expected"},
        {"c.password_verify('x')", "a hash (text) expected as argument 2, got nil"},
        {"c.password_verify(nil, 'x')", "crypto.password_verify: a password (text) expected"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        run(rows[i].code);
        assert_int_equal(fx.outcome, TG_CALL_ERROR);
        assert_text_has(fx.text, rows[i].text);
    }
    must("local hash, why = c.password_hash(('x'):rep(1025), 1000)\n"
         "assert(hash == nil and why:find('1024 bytes'))\n"
         "assert(c.password_hash('a\\0b', 1000) == nil)\n"
         "assert(c.password_verify(('x'):rep(1025), '" HASH "') == false)");
    assert_int_not_equal(
        fixture_load(&fx, HEAD "c.password_hash('x')\nreturn { authenticate = function() end }"),
        TG_ERR_OK);
    assert_text_has(fx.error.text, "crypto.password_hash");
}

static void a_strong_hash_suspends_and_uses_no_budget(void **state)
{
    (void)state;
    /* Several budgets' worth of computing, were it the script's. */
    fixture_load_body(&fx,
                      HEAD "for i = 1, 2 do\n"
                           "  assert(c.password_verify('correct horse', '" STRONG "') == true)\n"
                           "  assert(c.password_verify('wrong horse', '" STRONG "') == false)\n"
                           "end");
    assert_non_null(fixture_call(&fx, 0));
    assert_int_equal(fx.done, 0); /* suspended: the loop has its thread back */
    fixture_loop_until(&fx, 1);
    if (fx.outcome != TG_CALL_OK)
        fail_msg("%s", fx.text);
}

static void a_call_that_ends_takes_its_hash_along(void **state)
{
    (void)state;
    fixture_load_body(&fx, HEAD "c.password_hash('x', 10000000) error('not reached')");
    struct tg_call *call = fixture_call(&fx, 0);
    assert_non_null(call);
    (void)uv_run(&fx.loop, UV_RUN_ONCE);
    assert_int_equal(fx.done, 0);
    tg_call_cancel(call); /* the sanitizers see what is left behind */
    assert_int_equal(fx.done, 0);

    fixture_load_body(&fx, HEAD "c.password_hash('x', 10000000)");
    assert_non_null(fixture_call(&fx, 20));
    fixture_loop_until(&fx, 1);
    assert_int_equal(fx.outcome, TG_CALL_WALL_BUDGET);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_prestate_setup_teardown(name, fixture_setup, fixture_teardown, &fx)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_hash_verifies_its_password_and_no_other),
        TEST(a_hash_of_another_program_verifies),
        TEST(what_is_no_hash_is_told),
        TEST(misuse_raises),
        TEST(a_strong_hash_suspends_and_uses_no_budget),
        TEST(a_call_that_ends_takes_its_hash_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
