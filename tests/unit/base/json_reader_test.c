/* json_reader_test.c - what is JSON and what is not, from exact-size copies so that a read past the
 * end is seen; then looking into documents.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_reader.h"
#include "base/memory.h"
#include "base/utf8.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* For text that is UTF-8, looking for members on the way comes to the same. */
static void assert_same_with_members(const char *text, size_t len, enum tg_err expected,
                                     const struct tg_json_value *document)
{
    static const char *const keys[] = {"a", "type", "", "x"};
    struct tg_json_value value, found[4], members[4];
    struct tg_error plain = {.text = ""}, error = {.text = ""};
    if (!tg_utf8_valid(text, len))
        return;
    assert_int_equal(tg_json_parse(text, len, &value, &plain), expected);
    assert_int_equal(tg_json_parse_members(text, len, &value, keys, found, 4, &error), expected);
    assert_string_equal(error.text, plain.text);
    assert_int_equal(value.kind, document->kind);
    if (expected == TG_ERR_OK) {
        assert_ptr_equal(value.raw, document->raw);
        assert_int_equal(value.len, document->len);
    }
    tg_json_members(document, keys, members, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(found[i].kind, members[i].kind);
        if (found[i].kind != TG_JSON_NONE) {
            assert_ptr_equal(found[i].raw, members[i].raw);
            assert_int_equal(found[i].len, members[i].len);
        }
    }
}

static enum tg_err parse_copy(const char *text, size_t len, struct tg_error *error)
{
    char *copy = malloc(len == 0 ? 1 : len);
    memcpy(copy, text, len);
    struct tg_json_value value;
    enum tg_err err = tg_json_parse(copy, len, &value, error);
    if (err == TG_ERR_OK)
        assert_int_not_equal(value.kind, TG_JSON_NONE);
    else
        assert_int_equal(value.kind, TG_JSON_NONE);
    assert_same_with_members(copy, len, err, &value);
    free(copy);
    return err;
}

static const char *const accepted[] = {
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "10",
    "0.5",
    "-0.5",
    "1e1",
    "1E1",
    "1e+1",
    "1E-1",
    "0e0",
    "0.0e+00",
    "123456789012345678901234567890",
    "1e999",
    "-1e-999",
    "\"\"",
    "\"a\"",
    "\" \"",
    "\"\\\"\"",
    "\"\\\\\"",
    "\"\\/\\b\\f\\n\\r\\t\"",
    "\"\\u0000\"",
    "\"\\u00e9\"",
    "\"\\uABCD\"",
    "\"\\ud83d\\ude00\"",
    "\"\\uDBFF\\uDFFF\"",
    "\"\\uD7FF\"",
    "\"\\uE000\"",
    "\"\\uFFFF\"",
    "\"\x7F\"",
    "\"\xC3\xA9\"",
    "\"\xE2\x80\xA8\"",
    "\"\xF4\x8F\xBF\xBF\"",
    "[]",
    "{}",
    "[ ]",
    "{ }",
    "[1]",
    "[1,2]",
    "[[]]",
    "[{}]",
    "{\"a\":1}",
    "{\"a\":{}}",
    "{\"\":0}",
    "{\"a\":1,\"a\":2}",
    "{\"a\":[],\"b\":{}}",
    " 1 ",
    "\t\n\r 1\t\n\r ",
    "[ 1 , 2 ]",
    "{ \"a\" : 1 , \"b\" : 2 }",
    "[null,true,false]",
    "[\"\\u0041\",-1.5e3,{\"x\":[[]]}]",
    "[[[[[[[[[[[[]]]]]]]]]]]]",
    "{\"\\u0061\":1}",
    "{\"a\":{\"a\":2},\"type\":\"t\",\"\":[{}],\"a\":3,\"xx\":4}",
};

static void json_is_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(accepted); i++) {
        struct tg_error error = {0};
        if (parse_copy(accepted[i], strlen(accepted[i]), &error) != TG_ERR_OK)
            fail_msg("%s: %s", accepted[i], error.text);
        assert_int_equal(parse_copy(accepted[i], strlen(accepted[i]), NULL), TG_ERR_OK);
    }
}

static const struct {
    const char *text;
    int at; /* the byte that is named */
} refused[] = {
    {"", 0},
    {" ", 1},
    {"nul", 0},
    {"nulL", 0},
    {"nullx", 4},
    {"True", 0},
    {"tru", 0},
    {"NaN", 0},
    {"Infinity", 0},
    {"-Infinity", 1},
    {"undefined", 0},
    {"+1", 0},
    {"-", 1},
    {"--1", 1},
    {"01", 1},
    {"-01", 2},
    {"00", 1},
    {"1.", 2},
    {".5", 0},
    {"1.e1", 2},
    {"1e", 2},
    {"1e+", 3},
    {"1e1.5", 3},
    {"1e1e1", 3},
    {"0x1", 1},
    {"1_0", 1},
    {"1 2", 2},
    {"1,", 1},
    {"\"", 1},
    {"\"a", 2},
    {"'a'", 0},
    {"\"\\\"", 3},
    {"\"\\", 2},
    {"\"\\x\"", 2},
    {"\"\\a\"", 2},
    {"\"\\0\"", 2},
    {"\"\\u\"", 2},
    {"\"\\u12\"", 2},
    {"\"\\u123g\"", 2},
    {"\"\\U0041\"", 2},
    {"\"\\ud800\"", 2},
    {"\"\\udc00\"", 2},
    {"\"\\ud800\\n\"", 2},
    {"\"\\ud800x\"", 2},
    {"\"\\ud800\\ud800\"", 2},
    {"\"\\ud800\\u0041\"", 2},
    {"\"\\ud83d\\ude0\"", 2},
    {"\"\\u12", 2},
    {"\"\n\"", 1},
    {"\"\t\"", 1},
    {"\"\x1f\"", 1},
    {"\"\xff\"", 1},
    {"\"\xc3\"", 1},
    {"\"\xc0\x80\"", 1},
    {"\"\xed\xa0\x80\"", 1},
    {"\xef\xbb\xbf"
     "1",
     0},
    {"\xff", 0},
    {"[", 1},
    {"]", 0},
    {"[1", 2},
    {"[1,", 3},
    {"[1,]", 3},
    {"[,1]", 1},
    {"[,]", 1},
    {"[1 2]", 3},
    {"[1}", 2},
    {"[1]]", 3},
    {"[1],", 3},
    {"[1;2]", 2},
    {"[1,,2]", 3},
    {"{", 1},
    {"}", 0},
    {"{\"a\"", 4},
    {"{\"a\":", 5},
    {"{\"a\":1", 6},
    {"{\"a\":1,", 7},
    {"{\"a\":1,}", 7},
    {"{,}", 1},
    {"{\"a\"}", 4},
    {"{\"a\",1}", 4},
    {"{\"a\" 1}", 5},
    {"{\"a\":}", 5},
    {"{\"a\"::1}", 5},
    {"{a:1}", 1},
    {"{1:1}", 1},
    {"{null:1}", 1},
    {"{\"a\":1]", 6},
    {"{\"a\":1 \"b\":2}", 7},
    {"{\"a\":1}}", 7},
    {"{\"a\":1,1}", 7},
    {"{'a':1}", 1},
    {"[1]//", 3},
    {"/**/1", 0},
    {"[\"a\":1]", 4},
    {"\v1", 0},
    {"\f1", 0},
    {"\xC2\xA0"
     "1",
     0},
    {"[1,\n2", 5},
    {"[\"a\",nul]", 5},
    {"[true,fals]", 6},
};

static void everything_else_is_refused_where_it_goes_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        struct tg_error error = {0};
        if (parse_copy(refused[i].text, strlen(refused[i].text), &error) != TG_ERR_PROTO)
            fail_msg("accepted: %s", refused[i].text);
        char expected[32];
        snprintf(expected, sizeof expected, " at byte %d", refused[i].at);
        const char *found = strstr(error.text, " at byte ");
        if (found == NULL || strcmp(found, expected) != 0)
            fail_msg("%s: %s, expected%s", refused[i].text, error.text, expected);
    }
    assert_int_equal(parse_copy("1\0", 2, NULL), TG_ERR_PROTO);
    assert_int_equal(parse_copy("\0", 1, NULL), TG_ERR_PROTO);
    assert_int_equal(parse_copy("[1,\0]", 5, NULL), TG_ERR_PROTO);
    assert_int_equal(parse_copy("\"a\0b\"", 5, NULL), TG_ERR_PROTO);
    assert_int_equal(parse_copy("\"\\\0\"", 4, NULL), TG_ERR_PROTO);
}

/* A whole document is JSON; none of its beginnings is. */
static void no_prefix_is_accepted(void **state)
{
    (void)state;
    static const char document[] = "{\"type\":\"agent_execution\",\"id\":\"\\ud83d\\ude00\","
                                   "\"data\":{\"message\":\"h\xC3\xA9llo\","
                                   "\"list\":[1,-2.5e-3,true,false,null,{}]}}";
    for (size_t len = 0; len < sizeof document - 1; len++)
        assert_int_equal(parse_copy(document, len, NULL), TG_ERR_PROTO);
    assert_int_equal(parse_copy(document, sizeof document - 1, NULL), TG_ERR_OK);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    static char text[200002];
    for (size_t depth = TG_JSON_DEPTH_MAX - 1; depth <= TG_JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(parse_copy(text, 2 * depth, NULL),
                         depth <= TG_JSON_DEPTH_MAX ? TG_ERR_OK : TG_ERR_PROTO);
    }
    memset(text, '[', 200000);
    struct tg_error error;
    assert_int_equal(parse_copy(text, 200000, &error), TG_ERR_PROTO);
    assert_non_null(strstr(error.text, "deep"));
    for (size_t i = 0; i + 5 <= 200000; i += 5)
        memcpy(text + i, "{\"a\":", 5);
    assert_int_equal(parse_copy(text, 200000, NULL), TG_ERR_PROTO);
}

static struct tg_json_value parsed(const char *text)
{
    struct tg_json_value value;
    struct tg_error error = {0};
    if (tg_json_parse(text, strlen(text), &value, &error) != TG_ERR_OK)
        fail_msg("%s: %s", text, error.text);
    return value;
}

static void assert_raw(struct tg_json_value value, enum tg_json_kind kind, const char *raw)
{
    assert_int_equal(value.kind, kind);
    assert_int_equal(value.len, strlen(raw));
    assert_memory_equal(value.raw, raw, value.len);
}

static void members_are_found(void **state)
{
    (void)state;
    struct tg_json_value doc = parsed(
        " { \"a\" : 1 , \"s\":\"x\", \"o\" : {\"a\":[1, 2 ]} ,\"t\":true,\"n\":null,\"l\":[ ], "
        "\"a\":2,\"\\u00e9\\n\":3,\"z\\u0000y\":4,\"\":5 } ");
    assert_raw(tg_json_member(&doc, "a"), TG_JSON_NUMBER, "2");
    assert_raw(tg_json_member(&doc, "s"), TG_JSON_STRING, "\"x\"");
    assert_raw(tg_json_member(&doc, "o"), TG_JSON_OBJECT, "{\"a\":[1, 2 ]}");
    assert_raw(tg_json_member(&doc, "t"), TG_JSON_BOOL, "true");
    assert_raw(tg_json_member(&doc, "n"), TG_JSON_NULL, "null");
    assert_raw(tg_json_member(&doc, "l"), TG_JSON_ARRAY, "[ ]");
    assert_raw(tg_json_member(&doc, "\xC3\xA9\n"), TG_JSON_NUMBER, "3");
    assert_raw(tg_json_member(&doc, ""), TG_JSON_NUMBER, "5");
    assert_int_equal(tg_json_member(&doc, "z").kind, TG_JSON_NONE);
    assert_int_equal(tg_json_member(&doc, "A").kind, TG_JSON_NONE);
    struct tg_json_value inner = tg_json_member(&doc, "o");
    inner = tg_json_member(&inner, "a");
    assert_raw(inner, TG_JSON_ARRAY, "[1, 2 ]");
    assert_int_equal(tg_json_member(&inner, "a").kind, TG_JSON_NONE);
    struct tg_json_value none = {.kind = TG_JSON_NONE};
    assert_int_equal(tg_json_member(&none, "a").kind, TG_JSON_NONE);
}

static void containers_are_walked_in_order(void **state)
{
    (void)state;
    struct tg_json_value list = parsed("[ 1,[2, 3] , \"a,]\" ,{\"k\":[]},null ]");
    static const char *const expected[] = {"1", "[2, 3]", "\"a,]\"", "{\"k\":[]}", "null"};
    size_t cursor = 0;
    struct tg_json_value key;
    struct tg_json_value value;
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_true(tg_json_next(&list, &cursor, &key, &value));
        assert_int_equal(key.kind, TG_JSON_NONE);
        assert_int_equal(value.len, strlen(expected[i]));
        assert_memory_equal(value.raw, expected[i], value.len);
    }
    assert_false(tg_json_next(&list, &cursor, &key, &value));
    assert_false(tg_json_next(&list, &cursor, &key, &value));

    struct tg_json_value object = parsed("{ \"a\" : [1,2] , \"b}\":{ } }");
    cursor = 0;
    assert_true(tg_json_next(&object, &cursor, &key, &value));
    assert_raw(key, TG_JSON_STRING, "\"a\"");
    assert_raw(value, TG_JSON_ARRAY, "[1,2]");
    assert_true(tg_json_next(&object, &cursor, &key, &value));
    assert_raw(key, TG_JSON_STRING, "\"b}\"");
    assert_raw(value, TG_JSON_OBJECT, "{ }");
    assert_false(tg_json_next(&object, &cursor, &key, &value));

    static const char *const empty[] = {"[]", "{}", "[ ]", "{ \n}", "1", "\"[1]\""};
    for (size_t i = 0; i < COUNT(empty); i++) {
        struct tg_json_value nothing = parsed(empty[i]);
        cursor = 0;
        assert_false(tg_json_next(&nothing, &cursor, &key, &value));
    }
}

static void strings_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *text;
    } rows[] = {
        {"\"\"", ""},
        {"\"abc\"", "abc"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00!\"", "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80!"},
        {"\"\\ud800\\udc00\\uDBFF\\uDFFF\"", "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"},
        {"\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"", "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF"},
        {"\"h\xC3\xA9\"", "h\xC3\xA9"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tg_json_value value = parsed(rows[i].json);
        size_t len = strlen(rows[i].text);
        struct tg_buffer out = TG_BUFFER_INIT;
        assert_int_equal(tg_json_decode_string(&value, &out), TG_ERR_OK);
        assert_int_equal(out.len, len);
        if (len > 0)
            assert_memory_equal(tg_buffer_head(&out), rows[i].text, len);
        tg_buffer_fini(&out);
        assert_true(tg_json_equals(&value, rows[i].text));
        assert_false(tg_json_equals(&value, "something else"));

        char fits[64];
        assert_int_equal(tg_json_copy_string(&value, fits, len + 1), TG_ERR_OK);
        assert_string_equal(fits, rows[i].text);
        for (size_t size = 1; size <= len; size++) {
            assert_int_equal(tg_json_copy_string(&value, fits, size), TG_ERR_LIMIT);
            assert_string_equal(fits, "");
        }
        assert_int_equal(tg_json_copy_string(&value, fits, 0), TG_ERR_LIMIT);
    }
}

static void nul_bytes_do_not_shorten_strings(void **state)
{
    (void)state;
    struct tg_json_value value = parsed("\"a\\u0000b\"");
    char out[16];
    assert_int_equal(tg_json_copy_string(&value, out, sizeof out), TG_ERR_LIMIT);
    assert_string_equal(out, "");
    assert_false(tg_json_equals(&value, "a"));
    struct tg_buffer buffer = TG_BUFFER_INIT;
    assert_int_equal(tg_json_decode_string(&value, &buffer), TG_ERR_OK);
    assert_int_equal(buffer.len, 3);
    assert_memory_equal(tg_buffer_head(&buffer), "a\0b", 3);
    tg_buffer_fini(&buffer);
}

static void other_kinds_are_no_strings(void **state)
{
    (void)state;
    static const char *const rows[] = {"1", "null", "true", "[]", "{}", "[\"a\"]"};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tg_json_value value = parsed(rows[i]);
        char out[8] = "before";
        struct tg_buffer buffer = TG_BUFFER_INIT;
        assert_int_equal(tg_json_copy_string(&value, out, sizeof out), TG_ERR_INVALID);
        assert_string_equal(out, "");
        assert_int_equal(tg_json_decode_string(&value, &buffer), TG_ERR_INVALID);
        assert_false(tg_json_equals(&value, rows[i]));
        assert_int_equal(tg_json_true(&value), i == 2);
    }
    struct tg_json_value no = parsed("false");
    struct tg_json_value text = parsed("\"true\"");
    assert_false(tg_json_true(&no));
    assert_false(tg_json_true(&text));
}

static void failing_memory_is_reported(void **state)
{
    (void)state;
    struct tg_json_value value = parsed("\"abc\"");
    struct tg_buffer buffer = TG_BUFFER_INIT;
    tg_memory_fail_after(0, 1);
    assert_int_equal(tg_json_decode_string(&value, &buffer), TG_ERR_NOMEM);
    tg_memory_fail_after(-1, 0);
    assert_int_equal(buffer.len, 0);
}

static void numbers_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        double value;
    } rows[] = {
        {"0", 0},
        {"-1.5", -1.5},
        {"1e3", 1000},
        {"2.5E-1", 0.25},
        {"1757500188434", 1757500188434.0},
        {"1e999", INFINITY},
        {"\"1\"", 0},
        {"true", 0},
        {"0.1000000000000000055511151231257827021181583404541015625000000000000000000000", 0.1},
        {"100000000000000000000000000000000000000000000000000000000000000000000000000000000", 1e80},
        {"-0.00000000000000000000000000000000000000000000000000000000000000000000000000012e75",
         -1.2e-1},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890e-79",
         1.2345678901234567},
        {"0.000000000000000000000000000000000000000000000000000000000000000000000000000000", 0},
        {"1."
         "000000000000000000000000000000000000000000000000000000000000000000000000e9999999999999999"
         "9",
         INFINITY},
        {"1.000000000000000000000000000000000000000000000000000000000000000000000000e-"
         "99999999999999999",
         0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tg_json_value value = parsed(rows[i].json);
        double number = tg_json_number(&value);
        if (number < rows[i].value || number > rows[i].value)
            fail_msg("%s: %.17g", rows[i].json, number);
    }
}

/* Strings are searched by the word: a byte that matters is found at every place of every length. */
static void every_place_in_a_string_is_looked_at(void **state)
{
    (void)state;
    static const struct {
        char byte;
        const char *wrong; /* NULL: the string stays good */
    } rows[] = {{'"', "bytes after the value"},
                {'\x1f', "control character"},
                {'\0', "control"},
                {'\\', "unknown escape"},
                {' ', NULL},
                {'\x7f', NULL}};
    for (size_t len = 1; len < 40; len++) {
        for (size_t at = 0; at < len; at++) {
            for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
                char text[64] = "\"";
                struct tg_json_value value;
                struct tg_error error = {.text = ""};
                memset(text + 1, 'a', len);
                text[1 + at] = rows[row].byte;
                text[1 + len] = '"';
                /* The closing quote is escaped by a backslash before it. */
                bool escaped_end = rows[row].byte == '\\' && at == len - 1;
                enum tg_err err = tg_json_parse(text, len + 2, &value, &error);
                assert_int_equal(err, rows[row].wrong == NULL ? TG_ERR_OK : TG_ERR_PROTO);
                if (rows[row].wrong != NULL)
                    assert_non_null(
                        strstr(error.text, escaped_end ? "unfinished string" : rows[row].wrong));
            }
        }
    }
}

static void several_members_are_found_in_one_walk(void **state)
{
    (void)state;
    static const char *const keys[] = {"b", "missing", "a"};
    static const char text[] = "{\"a\":1,\"\\u0062\":[2],\"c\":{\"b\":0},\"a\":\"last\"}";
    struct tg_json_value document, values[3];
    assert_int_equal(tg_json_parse(text, sizeof text - 1, &document, NULL), TG_ERR_OK);
    tg_json_members(&document, keys, values, 3);
    assert_int_equal(values[0].kind, TG_JSON_ARRAY);
    assert_int_equal(values[1].kind, TG_JSON_NONE);
    assert_true(tg_json_equals(&values[2], "last"));
    tg_json_members(&values[2], keys, values, 2); /* no object */
    assert_int_equal(values[0].kind, TG_JSON_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_accepted),
        cmocka_unit_test(everything_else_is_refused_where_it_goes_wrong),
        cmocka_unit_test(no_prefix_is_accepted),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(members_are_found),
        cmocka_unit_test(containers_are_walked_in_order),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(nul_bytes_do_not_shorten_strings),
        cmocka_unit_test(other_kinds_are_no_strings),
        cmocka_unit_test(failing_memory_is_reported),
        cmocka_unit_test(numbers_are_read),
        cmocka_unit_test(every_place_in_a_string_is_looked_at),
        cmocka_unit_test(several_members_are_found_in_one_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
