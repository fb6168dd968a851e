/* api_kv_test.c - tidegate.kv as scripts see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "script/kv/kv.h"
#include "support/script_fixture.h"

static struct script_fixture fx;
static struct tg_kv *kv;

static int setup(void **state)
{
    struct tg_kv_options options = {.memory = 1 << 20, .value_max = 1024};
    (void)state;
    fixture_open(&fx);
    assert_int_equal(tg_kv_create(&kv, &options), TG_ERR_OK);
    fx.env.kv = kv;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&fx);
    tg_kv_destroy(kv);
    return 0;
}

#define KV "local kv = require 'tidegate.kv' "

static void holds(const char *expression)
{
    char body[1024];

    (void)snprintf(body, sizeof body, KV "%s", expression);
    fixture_run(&fx, body);
    if (fx.outcome != TG_CALL_OK || strcmp(fx.result, "true") != 0)
        fail_msg("%s: result \"%s\", \"%s\"", expression, fx.result, fx.text);
}

static void raises(const char *code, const char *text)
{
    char body[1024];

    (void)snprintf(body, sizeof body, KV "\n%s", code);
    fixture_run(&fx, body);
    assert_int_equal(fx.outcome, TG_CALL_ERROR);
    if (strstr(fx.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, fx.text);
}

static void it_keeps_plain_data(void **state)
{
    (void)state;
    holds("return kv.get('k') == nil and select('#', kv.get('k')) == 0");
    holds("assert(kv.set('k', {1, {a = 'b'}, c = false}) == true) local v = kv.get('k') "
          "return v[1] == 1 and v[2].a == 'b' and v.c == false");
    holds("return kv.get('k')[1] == 1"); /* another version of the policy */
    holds(
        "local a, b = kv.get('k'), kv.get('k') a[1] = 2 return b[1] == 1 and kv.get('k')[1] == 1");
    holds("assert(kv.set('k', false)) return kv.get('k') == false");
    holds("local s = ('\\0\\255'):rep(100) assert(kv.set(s, s)) return kv.get(s) == s");
    holds("return kv.delete('k') == true and kv.delete('k') == false and kv.get('k') == nil");
}

static void add_and_incr(void **state)
{
    (void)state;
    holds("local ok, why = kv.add('a', 1) assert(ok == true and why == nil) "
          "ok, why = kv.add('a', 2) return ok == nil and why == 'exists' and kv.get('a') == 1");
    holds("return kv.incr('n') == 1 and kv.incr('n', 2.5) == 3.5 and kv.incr('n', -3.5) == 0");
    holds("kv.set('s', 'x') local n, why = kv.incr('s') return n == nil and why == 'not a number'");
    holds("kv.set('m', 41) return kv.incr('m') == 42 and kv.get('m') == 42");
}

static void cas_compares_what_is_said(void **state)
{
    (void)state;
    holds("return kv.cas('k', nil, 1) == true and select(2, kv.cas('k', nil, 2)) == 'changed'");
    holds("return select(2, kv.cas('k', 2, 3)) == 'changed' and kv.cas('k', 1, 'x') and "
          "kv.get('k') == 'x'");
    /* Whatever order the keys went in. */
    holds("local a, b = {}, {} for i = 1, 50 do a['k' .. i] = i end "
          "for i = 50, 1, -1 do b['k' .. i] = i end a.t, b.t = {x = {1, 2}, y = 2}, {y = 2, x = "
          "{1, 2}} "
          "kv.set('t', a) return kv.cas('t', b, 'done') and kv.get('t') == 'done'");
    holds("kv.set('t', {a = 1}) return not kv.cas('t', {a = 1, b = 2}, 0) and "
          "not kv.cas('t', {}, 0) and not kv.cas('t', {a = 2}, 0) and not kv.cas('t', {b = 1}, 0) "
          "and not kv.cas('t', 'a', 0) and kv.cas('t', {a = 1}, 0)");
    holds("kv.set('f', false) return not kv.cas('f', nil, 1) and kv.cas('f', false, 1)");
    holds("kv.set('o', tide.options) return kv.cas('o', tide.options, 1)");
    holds("local big = {} for i = 1, 300000 do big[i] = i end kv.set('t', {1}) "
          "return not kv.cas('t', big, 0)");
}

static void time_to_live(void **state)
{
    struct tg_clock_fake now = {.monotonic_ns = 9000000000};
    (void)state;
    tg_clock_use(&now);
    holds("kv.set('a', 1, {ttl = 2.5}) kv.add('b', 1, {ttl = 1}) kv.incr('c', 5, {ttl = 1}) "
          "kv.cas('d', nil, 1, {ttl = 1}) kv.set('e', 1, {}) "
          "return kv.ttl('a') == 2.5 and kv.ttl('e') == math.huge and kv.ttl('none') == nil");
    now.monotonic_ns += 999000000;
    holds("return kv.ttl('b') == 0.001 and kv.incr('c', 1, {ttl = 100}) == 6 and kv.get('d') == 1");
    now.monotonic_ns += 1000000;
    holds("return kv.get('a') == 1 and kv.get('b') == nil and kv.get('c') == nil and "
          "kv.get('d') == nil and kv.get('e') == 1 and kv.incr('c') == 1");
    holds("kv.set('a', 2) return kv.ttl('a') == math.huge");
    tg_clock_use(NULL);
}

static void limits_and_misuse(void **state)
{
    (void)state;
    holds("local long = ('x'):rep(1025) local ok, why = kv.set('k', long) "
          "assert(ok == nil and why == 'too large') assert(select(2, kv.add('k', long)) == why) "
          "assert(select(2, kv.cas('k', nil, {long})) == why) return kv.get('k') == nil");
    holds("return kv.set(('k'):rep(256), 1)");
    raises("kv.get('')", "policy.lua:2: kv.get: a key has 1 to 256 bytes, this one has 0");
    raises("kv.set(('k'):rep(257), 1)", "kv.set: a key has 1 to 256 bytes, this one has 257");
    raises("kv.get(5)", "kv.get: a key (text of 1 to 256 bytes) expected, got number");
    raises("kv.set('k', nil)", "policy.lua:2: kv.set: a value expected; kv.delete takes one away");
    raises("kv.set('k', {f = print})", "kv.set: value.f is a function and cannot be kept");
    raises("kv.set('k', 1, 5)", "kv.set: { ttl = seconds } expected, got number");
    raises("kv.set('k', 1, {tll = 5})",
           "kv.set: there is no option \"tll\"; there is ttl (seconds)");
    raises("kv.set('k', 1, {ttl = 0})", "kv.set: ttl must be seconds, more than 0");
    raises("kv.set('k', 1, {ttl = '5'})", "kv.set: ttl must be seconds");
    raises("kv.incr('k', '1')", "kv.incr: a number to add expected, got string");
    raises("kv.incr('k', math.huge)", "kv.incr: a number to add expected");
}

static const char loading[] =
    "local kv = require 'tidegate.kv' local first = kv.add('loaded', true)\n"
    "return { authenticate = print, message = function() "
    "return tostring(first) .. tostring(kv.get('loaded')) end }";

static void it_works_while_the_policy_is_loaded(void **state)
{
    (void)state;
    assert_int_equal(fixture_load(&fx, loading), TG_ERR_OK);
    assert_null(fixture_call(&fx, 0));
    assert_string_equal(fx.result, "truetrue");
    assert_int_equal(fixture_load(&fx, loading), TG_ERR_OK);
    assert_null(fixture_call(&fx, 0));
    assert_string_equal(fx.result, "niltrue");
}

static void without_a_server_each_state_has_its_own(void **state)
{
    (void)state;
    fx.env.kv = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fixture_load(&fx, loading), TG_ERR_OK);
        assert_null(fixture_call(&fx, 0));
        assert_string_equal(fx.result, "truetrue");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_keeps_plain_data),
        TEST(add_and_incr),
        TEST(cas_compares_what_is_said),
        TEST(time_to_live),
        TEST(limits_and_misuse),
        TEST(it_works_while_the_policy_is_loaded),
        TEST(without_a_server_each_state_has_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
