/* json_text_test.c - JSON as people read it: aligned, complete, and harmless to a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/json_text.h"

static struct tg_json_value parse(const char *json)
{
    struct tg_json_value value;
    struct tg_error error;
    assert_int_equal(tg_json_parse(json, strlen(json), &value, &error), TG_ERR_OK);
    return value;
}

static void check_page(const char *json, bool colour, const char *expected)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct tg_json_value value = parse(json);
    assert_non_null(out);
    tg_json_text_print(&value, out, colour);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, expected);
    free(text);
}

static void check_line(const char *json, const char *expected)
{
    struct tg_buffer out = TG_BUFFER_INIT;
    struct tg_json_value value = parse(json);
    tg_json_text_line(&value, &out);
    assert_int_equal(tg_buffer_append(&out, "", 1), TG_ERR_OK);
    assert_string_equal((const char *)tg_buffer_head(&out), expected);
    tg_buffer_fini(&out);
}

static void values_on_one_line(void **state)
{
    (void)state;
    check_line("null", "-");
    check_line("\"\"", "-");
    check_line("\"a\\u00e4\"", "a\xc3\xa4");
    check_line("true", "yes");
    check_line("false", "no");
    check_line("-1.50", "-1.50");
    check_line("[]", "-");
    check_line("{}", "-");
    check_line("[\"a\",1,null]", "a, 1, -");
    check_line("{\"version\":\"v\",\"count\":2}", "v 2");
    check_line("[{\"a_b\":1,\"b\":[],\"c\":\"x\"},{\"v\":1}]", "a b 1, b -, c x, 1");
}

static void names_and_values_are_aligned(void **state)
{
    (void)state;
    check_page("{}", false, "");
    check_page("{\"a\":1,\"loaded_at\":\"now\",\"\xc3\xa4\xc3\xa4\":[\"x\",\"y\"],\"e\":{},\"\":0}",
               false,
               "a          1\nloaded at  now\n\xc3\xa4\xc3\xa4         x, y\ne          -\n"
               "-          0\n");
}

static void what_needs_more_than_a_line_comes_last(void **state)
{
    (void)state;
    check_page("{\"in\":{\"b\":true,\"deep\":{\"c\":null}},\"a\":1}", false,
               "a  1\nin\n  b  yes\n  deep\n    c  -\n");
}

static void lists_of_objects_are_tables(void **state)
{
    (void)state;
    const char *json = "{\"moves\":[{\"from\":\"connecting\",\"to\":\"x\"},"
                       "{\"to\":\"closing\",\"other\":1}]}";
    check_page(json, false, "moves\n  from        to\n  connecting  x\n  -           closing\n");
    check_page(json, true,
               "moves\n  \033[2mfrom        to\033[0m\n  connecting  x\n  -           closing\n");
}

/* ESC, BEL, DEL and CSI as one character (U+009B) are gone; a line stays a line. */
static void nothing_can_steer_the_terminal(void **state)
{
    (void)state;
    check_page("{\"a\\u001b[2J\":\"x\\u001b]0;t\\u0007\\ny\\tz\\u007f\\u009b1m\",\"b\":\"\\r\"}",
               false, "a[2J  x]0;t y z1m\nb     \n");
    check_page("{\"l\":[{\"a\\u001bb\":\"\\u009b\"}]}", false, "l\n  ab\n  \n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_on_one_line),
        cmocka_unit_test(names_and_values_are_aligned),
        cmocka_unit_test(what_needs_more_than_a_line_comes_last),
        cmocka_unit_test(lists_of_objects_are_tables),
        cmocka_unit_test(nothing_can_steer_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
