/* resolver_test.c - lookups that come from the loop, are cancelled, or find nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "net/resolver.h"

struct fixture {
    uv_loop_t loop;
    int calls;
    size_t count;
    struct tg_address first;
    char why[128];
};

static void on_found(void *ctx, const struct tg_address *found, size_t count, const char *why)
{
    struct fixture *fixture = ctx;

    fixture->calls++;
    fixture->count = count;
    if (count > 0)
        fixture->first = found[0];
    (void)snprintf(fixture->why, sizeof fixture->why, "%s", why);
}

static int setup(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof fixture);
    *state = &fixture;
    return uv_loop_init(&fixture.loop);
}

/* A handle that is left keeps the loop from closing. */
static int teardown(void **state)
{
    struct fixture *fixture = *state;

    (void)uv_run(&fixture->loop, UV_RUN_DEFAULT);
    return uv_loop_close(&fixture->loop);
}

static void look_up(struct fixture *fixture, const char *host)
{
    struct tg_lookup *lookup;

    assert_int_equal(tg_lookup_start(&lookup, &fixture->loop, host, 4711, on_found, fixture),
                     TG_ERR_OK);
    assert_int_equal(fixture->calls, 0); /* never inside start */
    (void)uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(fixture->calls, 1);
}

static void an_address_is_its_own_answer(void **state)
{
    struct fixture *fixture = *state;

    look_up(fixture, "192.0.2.7");
    assert_int_equal(fixture->count, 1);
    assert_int_equal(fixture->first.kind, TG_ADDRESS_V4);
    assert_int_equal(fixture->first.bytes[3], 7);
    assert_int_equal(fixture->first.port, 4711);
    fixture->calls = 0;
    look_up(fixture, "2001:db8::1");
    assert_int_equal(fixture->first.kind, TG_ADDRESS_V6);
}

static void a_name_is_looked_up(void **state)
{
    struct fixture *fixture = *state;

    look_up(fixture, "localhost");
    assert_true(fixture->count >= 1);
    assert_int_equal(fixture->first.port, 4711);
}

static void a_name_without_an_address_says_so(void **state)
{
    struct fixture *fixture = *state;

    look_up(fixture, "no such name, by its blanks");
    assert_int_equal(fixture->count, 0);
    assert_string_not_equal(fixture->why, "");
}

static void a_cancelled_lookup_is_silent_and_nobody_waits_for_it(void **state)
{
    static const char *const hosts[] = {"192.0.2.7", "localhost", "no.such.name.invalid"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < 3; i++) {
        struct tg_lookup *lookup;
        assert_int_equal(tg_lookup_start(&lookup, &fixture->loop, hosts[i], 1, on_found, fixture),
                         TG_ERR_OK);
        tg_lookup_cancel(lookup);
    }
    (void)uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(fixture->calls, 0);
}

static void a_host_that_is_too_long_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct tg_lookup *lookup;
    char host[300];

    memset(host, 'a', sizeof host);
    host[sizeof host - 1] = '\0';
    assert_int_equal(tg_lookup_start(&lookup, &fixture->loop, host, 1, on_found, fixture),
                     TG_ERR_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_address_is_its_own_answer),
        TEST(a_name_is_looked_up),
        TEST(a_name_without_an_address_says_so),
        TEST(a_cancelled_lookup_is_silent_and_nobody_waits_for_it),
        TEST(a_host_that_is_too_long_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
