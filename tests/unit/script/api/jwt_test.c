/* api_jwt_test.c - tidegate.jwt inside a generation: what it leaves behind when a script is ended, and where
 * its errors point. What it says of tokens is in proto/jwt_test.c, fetched keys in specs/jwt_spec.lua.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/jwt_vectors.h"
#include "support/script_fixture.h"

#define HEAD                                                                                       \
    "local jwt = require 'tidegate.jwt' "                                                          \
    "local secret = { secret = ('s'):rep(64) } "                                                   \
    "local verifier = jwt.verifier({ keys = secret, algorithms = { 'HS256' } }) "

static void run(struct script_fixture *fx, const char *body)
{
    char text[8192];
    assert_true(snprintf(text, sizeof text, "%s%s", HEAD, body) < (int)sizeof text);
    fixture_run(fx, text);
}

static void test_a_token_of_ours_verifies(void **state)
{
    struct script_fixture *fx = *state;
    run(fx, "local token = jwt.sign({ sub = 'ada', list = { 1 } }, { key = secret, algorithm = "
            "'HS256', expires_in = 60 }) "
            "local claims, why, code = verifier:verify(token) "
            "assert(why == nil and code == nil and claims.list[1] == 1) return claims.sub");
    assert_string_equal(fx->text, "");
    assert_string_equal(fx->result, "ada");
}

static void test_what_is_no_text_is_no_token(void **state)
{
    struct script_fixture *fx = *state;
    run(fx, "for _, value in pairs({ 7, true, {}, print }) do "
            "  local claims, why, code = verifier:verify(value) "
            "  assert(claims == nil and why == 'there is no token' and code == 'malformed') "
            "end return verifier:verify() == nil");
    assert_string_equal(fx->text, "");
    assert_string_equal(fx->result, "true");
}

/* Claims, keys and half-made tokens belong to userdata: the leak check sees nothing afterwards. */
static void test_nothing_is_left_when_memory_runs_out(void **state)
{
    static const char *const rows[] = {
        "local token = jwt.sign({ a = ('x'):rep(4000) }, { key = secret, algorithm = 'HS256', "
        "expires_in = 60 }) local kept = {} "
        "while true do kept[#kept + 1] = verifier:verify(token) end",
        "local kept = {} while true do kept[#kept + 1] = jwt.sign({ a = ('x'):rep(4000) }, { key = "
        "secret, algorithm = 'HS256', expires_in = 60 }) end",
        "local kept = {} while true do kept[#kept + 1] = jwt.verifier({ keys = secret, algorithms "
        "= { 'HS256' } }) end",
    };
    struct script_fixture *fx = *state;
    fx->env.memory_max = (size_t)4 << 20;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        run(fx, rows[i]);
        assert_true(fx->outcome == TG_CALL_MEMORY || fx->outcome == TG_CALL_CPU_BUDGET);
    }
}

static void test_misuse_points_at_the_policy(void **state)
{
    static const struct {
        const char *body, *text;
    } rows[] = {
        {"verifier.verify('x')", "verifier:verify: verifier expected, got string"},
        {"verifier.keys = 1", "no fields that can be set"},
        {"jwt.sign({}, { key = 'x', algorithm = 'ES256' })", "jwt.sign: keys: a text is PEM"},
        {"jwt.verifier({ keys = { file_option = 'x' }, algorithms = { 'ES256' } })",
         "at the top of the policy only"},
        {"jwt.sign = 1", "jwt"},
    };
    struct script_fixture *fx = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        run(fx, rows[i].body);
        assert_int_equal(fx->outcome, TG_CALL_ERROR);
        if (strstr(fx->text, rows[i].text) == NULL || strstr(fx->text, "policy.lua:1: ") == NULL)
            fail_msg("%s: %s", rows[i].body, fx->text);
    }
}

/* No hook, nobody to wait: no keys, and no crash. */
static void test_fetched_keys_are_not_there_at_load(void **state)
{
    struct script_fixture *fx = *state;
    assert_int_equal(
        fixture_load(fx, "local jwt = require 'tidegate.jwt'\n"
                         "local verifier = jwt.verifier({ keys = { url = 'https://id.example/' },\n"
                         "  algorithms = { 'ES256' } })\n"
                         "local claims, why, code = verifier:verify('" RFC7515_A3_TOKEN "')\n"
                         "assert(claims == nil and code == 'unavailable', why)\n"
                         "return { authenticate = function() end }\n"),
        TG_ERR_OK);
}

static int setup(void **state)
{
    static struct script_fixture fx;
    fixture_open(&fx);
    *state = &fx;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_token_of_ours_verifies),
        TEST(test_what_is_no_text_is_no_token),
        TEST(test_nothing_is_left_when_memory_runs_out),
        TEST(test_misuse_points_at_the_policy),
        TEST(test_fetched_keys_are_not_there_at_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
