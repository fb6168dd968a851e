/* http_headers_test.c - names and their numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/http_headers.h"

static void every_name_has_its_number(void **state)
{
    (void)state;
    for (enum tg_header i = TG_HEADER_OTHER + 1; i < TG_HEADERS; i++) {
        const char *name = tg_header_name(i);
        assert_int_equal(tg_header_number(name, strlen(name)), i);
    }
    assert_string_equal(tg_header_name(TG_HEADER_X_API_KEY), "x-api-key");
    assert_int_equal(tg_header_number("host", 4), TG_HEADER_HOST);
}

static void others_have_none(void **state)
{
    static const char *const names[] = {"", "hos", "hosts", "via", "Host", "x-forwarded-ssl"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(tg_header_number(names[i], strlen(names[i])), TG_HEADER_OTHER);
    assert_string_equal(tg_header_name(TG_HEADER_OTHER), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_has_its_number),
        cmocka_unit_test(others_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
