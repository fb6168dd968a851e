/* json_writer_test.c - documents, escapes, numbers; everything written must be read by our reader. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_reader.h"
#include "base/json_writer.h"
#include "base/memory.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void assert_text(struct tg_buffer *buffer, const char *expected)
{
    struct tg_json_value value;
    struct tg_error error = {0};
    const char *text = (const char *)tg_buffer_head(buffer);
    if (tg_json_parse(text, buffer->len, &value, &error) != TG_ERR_OK)
        fail_msg("%s: %.*s", error.text, (int)buffer->len, text);
    assert_int_equal(buffer->len, strlen(expected));
    assert_memory_equal(text, expected, buffer->len);
    tg_buffer_clear(buffer);
}

static void write_sample(struct tg_json_writer *w)
{
    tg_json_begin_object(w);
    tg_json_member_str(w, "type", "pong");
    tg_json_key(w, "list");
    tg_json_begin_array(w);
    tg_json_begin_array(w);
    tg_json_end_array(w);
    tg_json_begin_object(w);
    tg_json_end_object(w);
    for (int i = 1; i <= 2; i++) {
        tg_json_begin_array(w);
        tg_json_int(w, i);
        tg_json_end_array(w);
    }
    tg_json_int(w, -3);
    tg_json_raw(w, "{\"a\":[1]}", 9);
    tg_json_null(w);
    tg_json_end_array(w);
    tg_json_member_uint(w, "n", UINT64_MAX);
    tg_json_member_real(w, "r", 0.5);
    tg_json_member_bool(w, "yes", true);
    tg_json_member_bool(w, "no", false);
    tg_json_member_str(w, "none", NULL);
    tg_json_keyn(w, "keyed", 3);
    tg_json_strn(w, "valued", 5);
    tg_json_end_object(w);
}

static const char sample[] = "{\"type\":\"pong\",\"list\":[[],{},[1],[2],-3,{\"a\":[1]},null],"
                             "\"n\":18446744073709551615,\"r\":0.5,"
                             "\"yes\":true,\"no\":false,\"none\":null,\"key\":\"value\"}";

static void commas_and_nesting_are_right(void **state)
{
    (void)state;
    struct tg_buffer buffer = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&buffer);
    write_sample(&w);
    assert_false(tg_json_writer_failed(&w));
    assert_text(&buffer, sample);
    tg_buffer_fini(&buffer);
}

static void strings_are_escaped_and_repaired(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } rows[] = {
        {"", 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"a\"b\\c/", 6, "\"a\\\"b\\\\c/\""},
        {"\b\t\n\f\r", 5, "\"\\b\\t\\n\\f\\r\""},
        {"\0\x01\x1F\x7F", 4, "\"\\u0000\\u0001\\u001f\x7F\""},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9, "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""},
        {"\xFF", 1, "\"\xEF\xBF\xBD\""},
        {"a\xC3", 2, "\"a\xEF\xBF\xBD\""},
        {"\xC0\x80z", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBDz\""},
        {"\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {"x\xE2\x82\"", 4, "\"x\xEF\xBF\xBD\xEF\xBF\xBD\\\"\""},
    };
    struct tg_buffer buffer = TG_BUFFER_INIT;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tg_json_writer w = tg_json_writer_on(&buffer);
        tg_json_strn(&w, rows[i].in, rows[i].len);
        assert_text(&buffer, rows[i].out);
        tg_json_begin_object(&w);
        tg_json_keyn(&w, rows[i].in, rows[i].len);
        tg_json_null(&w);
        tg_json_end_object(&w);
        char object[64];
        snprintf(object, sizeof object, "{%s:null}", rows[i].out);
        assert_text(&buffer, object);
    }
    tg_buffer_fini(&buffer);
}

static void reals_are_short_and_read_back(void **state)
{
    (void)state;
    static const struct {
        double in;
        const char *out;
    } rows[] = {
        {0.0, "0"},
        {-0.0, "-0"},
        {1.0, "1"},
        {0.1, "0.1"},
        {0.5, "0.5"},
        {100.0, "100"},
        {1e21, "1e+21"},
        {1.0 / 3.0, "0.3333333333333333"},
        {-2.5, "-2.5"},
        {1e-7, "1e-07"},
        {123456789012.0, "123456789012"},
    };
    struct tg_buffer buffer = TG_BUFFER_INIT;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tg_json_writer w = tg_json_writer_on(&buffer);
        tg_json_real(&w, rows[i].in);
        assert_text(&buffer, rows[i].out);
    }
    static const double hard[] = {DBL_MAX,
                                  DBL_MIN,
                                  DBL_TRUE_MIN,
                                  5e-324,
                                  2.2250738585072011e-308,
                                  9007199254740993.0,
                                  0.1 + 0.2,
                                  1.7976931348623157e308};
    for (size_t i = 0; i < COUNT(hard); i++) {
        struct tg_json_writer w = tg_json_writer_on(&buffer);
        tg_json_real(&w, hard[i]);
        struct tg_json_value value;
        assert_int_equal(tg_json_parse((char *)tg_buffer_head(&buffer), buffer.len, &value, NULL),
                         TG_ERR_OK);
        double back = tg_json_number(&value);
        assert_memory_equal(&back, &hard[i], sizeof back);
        tg_buffer_clear(&buffer);
    }
    static const double none[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < COUNT(none); i++) {
        struct tg_json_writer w = tg_json_writer_on(&buffer);
        tg_json_real(&w, none[i]);
        assert_text(&buffer, "null");
    }
    tg_buffer_fini(&buffer);
}

static void integers_reach_their_limits(void **state)
{
    (void)state;
    struct tg_buffer buffer = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&buffer);
    tg_json_begin_array(&w);
    tg_json_int(&w, INT64_MIN);
    tg_json_int(&w, INT64_MAX);
    tg_json_uint(&w, 0);
    tg_json_end_array(&w);
    assert_text(&buffer, "[-9223372036854775808,9223372036854775807,0]");
    tg_buffer_fini(&buffer);
}

static void depth_ends_at_32(void **state)
{
    (void)state;
    for (int depth = 31; depth <= 33; depth++) {
        struct tg_buffer buffer = TG_BUFFER_INIT;
        struct tg_json_writer w = tg_json_writer_on(&buffer);
        for (int i = 0; i < depth; i++) {
            tg_json_begin_array(&w);
            tg_json_int(&w, i);
        }
        for (int i = 0; i < depth; i++)
            tg_json_end_array(&w);
        assert_int_equal(tg_json_writer_failed(&w), depth > 32);
        struct tg_json_value value;
        enum tg_err err = tg_json_parse((char *)tg_buffer_head(&buffer), buffer.len, &value, NULL);
        assert_int_equal(err, depth > 32 ? TG_ERR_PROTO : TG_ERR_OK);
        tg_buffer_fini(&buffer);
    }
}

/* Each allocation fails in turn; the writer says so, and says so to the end. */
static void failing_memory_is_sticky(void **state)
{
    (void)state;
    int failures = 0;
    for (long n = 0;; n++) {
        struct tg_buffer buffer = TG_BUFFER_INIT;
        tg_memory_fail_after(n, 0);
        struct tg_json_writer w = tg_json_writer_on(&buffer);
        write_sample(&w);
        tg_memory_fail_after(-1, 0);
        bool failed = tg_json_writer_failed(&w);
        if (!failed)
            assert_text(&buffer, sample);
        tg_buffer_fini(&buffer);
        if (!failed)
            break;
        failures++;
    }
    assert_true(failures >= 2);
}

static void members_of_an_object_join_those_of_another(void **state)
{
    (void)state;
    struct tg_buffer buffer = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&buffer);
    tg_json_begin_object(&w);
    tg_json_raw_members(&w, "{}", 2);
    tg_json_raw_members(&w, "{\"a\":1,\"b\":{}}", 14);
    tg_json_raw_members(&w, "{}", 2);
    tg_json_member_uint(&w, "c", 2);
    tg_json_raw_members(&w, "{\"d\":[3]}", 9);
    tg_json_end_object(&w);
    assert_false(tg_json_writer_failed(&w));
    assert_text(&buffer, "{\"a\":1,\"b\":{},\"c\":2,\"d\":[3]}");
    tg_buffer_fini(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_and_nesting_are_right),
        cmocka_unit_test(strings_are_escaped_and_repaired),
        cmocka_unit_test(reals_are_short_and_read_back),
        cmocka_unit_test(integers_reach_their_limits),
        cmocka_unit_test(members_of_an_object_join_those_of_another),
        cmocka_unit_test(depth_ends_at_32),
        cmocka_unit_test(failing_memory_is_sticky),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
