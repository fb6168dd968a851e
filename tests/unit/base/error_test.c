/* error_test.c - texts, classes and messages that do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/utf8.h"

static void every_code_has_its_text_and_class(void **state)
{
    (void)state;
#define X(name, value, class, text)                                                                \
    assert_string_equal(tg_err_text(TG_ERR_##name), text);                                         \
    assert_int_equal(tg_err_class_of(TG_ERR_##name), TG_CLASS_##class);
    TG_ERR_MAP(X)
#undef X
    assert_string_equal(tg_err_text((enum tg_err) - 999), "unknown error");
    assert_int_equal(tg_err_class_of((enum tg_err) - 999), TG_CLASS_LOCAL);
}

static void set_formats_and_returns_the_code(void **state)
{
    (void)state;
    struct tg_error error;
    assert_int_equal(tg_error_set(&error, TG_ERR_LIMIT, "%s:%d", "a", 7), TG_ERR_LIMIT);
    assert_int_equal(error.code, TG_ERR_LIMIT);
    assert_string_equal(error.text, "a:7");
    assert_int_equal(tg_error_set(NULL, TG_ERR_SYS, "%s", "ignored"), TG_ERR_SYS);
}

static void set_may_quote_the_message_it_replaces(void **state)
{
    (void)state;
    struct tg_error error;
    tg_error_set(&error, TG_ERR_SYS, "no such file");
    tg_error_set(&error, TG_ERR_INVALID, "config: %s", error.text);
    assert_string_equal(error.text, "config: no such file");
}

static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    for (size_t lead = 0; lead < 8; lead++) {
        char text[1024];
        memset(text, 'a', lead);
        for (size_t at = lead; at + 4 <= 600; at += 4)
            memcpy(text + at, "\xF0\x9F\x98\x80", 5);
        struct tg_error error;
        tg_error_set(&error, TG_ERR_SYS, "%s", text);
        size_t len = strlen(error.text);
        assert_true(len < sizeof error.text && len > sizeof error.text - 5);
        assert_true(tg_utf8_valid(error.text, len));
        assert_memory_equal(error.text, text, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_text_and_class),
        cmocka_unit_test(set_formats_and_returns_the_code),
        cmocka_unit_test(set_may_quote_the_message_it_replaces),
        cmocka_unit_test(long_text_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
