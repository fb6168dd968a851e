/* suggest_test.c - what people mistype, and what must not be guessed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/suggest.h"

static const char *const names[] = {
    "listen", "admin", "policy", "workers", "limits.max_message", "limits.max_header", "ws",
};

static void finds_the_nearest_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *expected; /* NULL: none */
    } rows[] = {
        {"listn", "listen"},
        {"lsiten", "listen"},
        {"LISTEN", "listen"},
        {"worker", "workers"},
        {"wrokesr", "workers"},
        {"limits.max-message", "limits.max_message"},
        {"limits.max_massage", "limits.max_message"},
        {"limits.max_heder", "limits.max_header"},
        {"limit.maxmessage", "limits.max_message"},
        {"w", NULL},
        {"wx", "ws"},
        {"xy", NULL},
        {"", NULL},
        {"database", NULL},
        {"completely_different_name", NULL},
        {"a_name_that_is_far_longer_than_any_name_that_could_be_meant_by_it_here", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *found = tg_suggest(rows[i].name, names, sizeof names / sizeof names[0]);
        if (rows[i].expected == NULL)
            assert_null(found);
        else
            assert_string_equal(found == NULL ? "(none)" : found, rows[i].expected);
    }
}

static void the_first_of_equals_wins(void **state)
{
    (void)state;
    static const char *const twins[] = {"port_a", "port_b"};
    assert_string_equal(tg_suggest("port_c", twins, 2), "port_a");
    assert_string_equal(tg_suggest("port_b", twins, 2), "port_b");
    assert_null(tg_suggest("port", twins, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_nearest_name),
        cmocka_unit_test(the_first_of_equals_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
