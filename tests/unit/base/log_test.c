/* log_test.c - one event, one line, whatever the values hold. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json_reader.h"
#include "base/log.h"
#include "base/utf8.h"
#include "support/log_capture.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define TIME_LEN 24

static int start(void **state)
{
    (void)state;
    log_capture_start();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    log_capture_stop();
    return 0;
}

/* The last line behind its time stamp. */
static const char *last_line(void)
{
    assert_true(strlen(log_capture_last()) > TIME_LEN);
    return log_capture_last() + TIME_LEN;
}

static void a_line_has_time_level_event_and_fields(void **state)
{
    (void)state;
    tg_log(TG_LOG_INFO, "conn.close", tg_log_str("id", "ws_1"), tg_log_int("code", -1009),
           tg_log_uint("bytes", UINT64_MAX), tg_log_real("rate", 0.5), tg_log_bool("clean", true),
           tg_log_str("reason", "message too big"), tg_log_str("none", NULL));
    assert_string_equal(last_line(),
                        " info  conn.close id=ws_1 code=-1009 bytes=18446744073709551615 rate=0.5 "
                        "clean=true reason=\"message too big\" none=\"\"\n");
    const char *line = log_capture_last();
    assert_int_equal(line[4], '-');
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    tg_log_write(TG_LOG_ERROR, "bare", NULL, 0);
    assert_string_equal(last_line(), " error bare\n");
}

/* Values that try to be more than a value: what follows the key in the line. */
static void values_cannot_forge_lines(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        size_t len;
        const char *text;
        const char *json;
    } rows[] = {
        {"a\nERROR forged", 14, "\"a\\nERROR forged\"", "\"a\\nERROR forged\""},
        {"a\r\nb", 4, "\"a\\r\\nb\"", "\"a\\r\\nb\""},
        {"x admin=true", 12, "\"x admin=true\"", "\"x admin=true\""},
        {"x=1", 3, "\"x=1\"", "\"x=1\""},
        {"a\"b", 3, "\"a\\\"b\"", "\"a\\\"b\""},
        {"a\\", 2, "\"a\\\\\"", "\"a\\\\\""},
        {"\0", 1, "\"\\u0000\"", "\"\\u0000\""},
        {"\x1b[2J", 4, "\"\\u001b[2J\"", "\"\\u001b[2J\""},
        {"\x7f", 1, "\"\\u007f\"", "\"\\u007f\""},
        {"\xC2\x85", 2, "\"\\u0085\"", "\"\\u0085\""},
        {"\xC2\x9B", 2, "\"\\u009b\"", "\"\\u009b\""},
        {"\xE2\x80\xA8", 3, "\"\\u2028\"", "\"\\u2028\""},
        {"\xE2\x80\xA9", 3, "\"\\u2029\"", "\"\\u2029\""},
        {"\xE2\x80\xAE", 3, "\"\\u202e\"", "\"\\u202e\""},
        {"\xEF\xBB\xBF", 3, "\"\\ufeff\"", "\"\\ufeff\""},
        {"\xFF\xC3", 2, "\"\\xff\\xc3\"", "\"\\ufffd\\ufffd\""},
        {"caf\xC3\xA9", 5, "\"caf\xC3\xA9\"", "\"caf\xC3\xA9\""},
        {"", 0, "\"\"", "\"\""},
        {"plain/1.0", 9, "plain/1.0", "\"plain/1.0\""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char expected[128];
        tg_log_configure(TG_LOG_DEBUG, TG_LOG_TEXT);
        tg_log(TG_LOG_WARN, "e", tg_log_strn("v", rows[i].value, rows[i].len),
               tg_log_bool("end", true));
        snprintf(expected, sizeof expected, " warn  e v=%s end=true\n", rows[i].text);
        assert_string_equal(last_line(), expected);

        tg_log_configure(TG_LOG_DEBUG, TG_LOG_JSON);
        tg_log(TG_LOG_WARN, "e", tg_log_strn("v", rows[i].value, rows[i].len));
        snprintf(expected, sizeof expected, "\"level\":\"warn\",\"event\":\"e\",\"v\":%s}\n",
                 rows[i].json);
        assert_string_equal(strstr(log_capture_last(), "\"level\""), expected);
    }
    assert_int_equal(log_capture_count(), 2 * COUNT(rows));
    for (size_t i = 0; i < log_capture_count(); i++) {
        const char *line = log_capture_line(i);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    }
    tg_log_configure(TG_LOG_DEBUG, TG_LOG_TEXT);
}

static void keys_and_events_cannot_forge_either(void **state)
{
    (void)state;
    tg_log(TG_LOG_INFO, "e x=1\n", tg_log_int("a b\n=\"", 1), tg_log_int("level", 2),
           tg_log_int("", 3));
    assert_string_equal(last_line(), " info  \"e x=1\\n\" a_b___=1 _level=2 _=3\n");
    tg_log_configure(TG_LOG_DEBUG, TG_LOG_JSON);
    tg_log(TG_LOG_INFO, "e", tg_log_int("\"},{\"", 1), tg_log_str("event", "forged"));
    assert_string_equal(strstr(log_capture_last(), "\"event\""),
                        "\"event\":\"e\",\"_____\":1,\"_event\":\"forged\"}\n");
    tg_log_configure(TG_LOG_DEBUG, TG_LOG_TEXT);
}

static void json_numbers_are_json(void **state)
{
    (void)state;
    tg_log_configure(TG_LOG_DEBUG, TG_LOG_JSON);
    tg_log(TG_LOG_INFO, "e", tg_log_real("nan", NAN), tg_log_real("inf", -INFINITY),
           tg_log_real("r", 1e300), tg_log_int("i", INT64_MIN), tg_log_bool("b", false));
    const char *line = log_capture_last();
    struct tg_json_value value;
    assert_int_equal(tg_json_parse(line, strlen(line), &value, NULL), TG_ERR_OK);
    assert_int_equal(tg_json_member(&value, "nan").kind, TG_JSON_NULL);
    assert_int_equal(tg_json_member(&value, "inf").kind, TG_JSON_NULL);
    assert_int_equal(tg_json_member(&value, "b").kind, TG_JSON_BOOL);
    assert_int_equal(tg_json_member(&value, "time").len, TIME_LEN + 2);
    tg_log_configure(TG_LOG_DEBUG, TG_LOG_TEXT);
}

static void check_cut_line(enum tg_log_format format)
{
    const char *line = log_capture_last();
    size_t len = strlen(line);
    assert_true(len <= 8192);
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    assert_true(tg_utf8_valid(line, len));
    if (format == TG_LOG_TEXT) {
        assert_string_equal(line + len - 10, " cut=true\n");
        return;
    }
    struct tg_json_value value;
    struct tg_error error;
    if (tg_json_parse(line, len, &value, &error) != TG_ERR_OK)
        fail_msg("%s: %s", error.text, line);
    struct tg_json_value cut = tg_json_member(&value, "cut");
    assert_true(tg_json_true(&cut));
}

/* The cut falls at each byte of a character, an escape, a key and a number in turn. */
static void long_lines_are_cut_and_marked(void **state)
{
    (void)state;
    static char filler[9000];
    static const char *const tails[] = {"\xF0\x9F\x98\x80", "\n", "\xFF", "\"", "z"};
    for (int format = TG_LOG_TEXT; format <= TG_LOG_JSON; format++) {
        tg_log_configure(TG_LOG_DEBUG, (enum tg_log_format)format);
        for (size_t len = 8040; len < 8192; len++) {
            memset(filler, 'f', len);
            const char *tail = tails[len % COUNT(tails)];
            for (size_t at = len; at + 4 < sizeof filler; at += strlen(tail))
                memcpy(filler + at, tail, strlen(tail));
            tg_log(TG_LOG_INFO, "e", tg_log_strn("v", filler, sizeof filler - 4));
            check_cut_line((enum tg_log_format)format);
            tg_log(TG_LOG_INFO, "e", tg_log_strn("v", filler, len),
                   tg_log_uint("number", UINT64_MAX), tg_log_str("text", "several words here"),
                   tg_log_strn("more", filler, 200));
            check_cut_line((enum tg_log_format)format);
            log_capture_clear();
        }
    }
    tg_log_configure(TG_LOG_DEBUG, TG_LOG_TEXT);
}

static int evaluated;

static struct tg_log_field costly_field(void)
{
    evaluated++;
    return tg_log_int("n", evaluated);
}

static void a_level_that_is_off_costs_nothing(void **state)
{
    (void)state;
    tg_log_configure(TG_LOG_WARN, TG_LOG_TEXT);
    tg_log(TG_LOG_INFO, "off", costly_field());
    tg_log(TG_LOG_DEBUG, "off", costly_field());
    assert_int_equal(evaluated, 0);
    assert_int_equal(log_capture_count(), 0);
    tg_log(TG_LOG_WARN, "on", costly_field());
    tg_log(TG_LOG_ERROR, "on", costly_field());
    assert_int_equal(evaluated, 2);
    assert_int_equal(log_capture_matches(" on n="), 2);
    assert_false(tg_log_enabled(TG_LOG_INFO));
    assert_true(tg_log_enabled(TG_LOG_ERROR));
    tg_log_configure(TG_LOG_DEBUG, TG_LOG_TEXT);
}

static void level_names_are_parsed(void **state)
{
    (void)state;
    static const char *const names[] = {"error", "warn", "info", "debug"};
    enum tg_log_level level;
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_int_equal(tg_log_level_parse(names[i], &level), TG_ERR_OK);
        assert_int_equal(level, i);
    }
    static const char *const bad[] = {"", "Info", "warning", "0", "trace"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(tg_log_level_parse(bad[i], &level), TG_ERR_INVALID);
}

static void without_a_sink_lines_go_to_standard_error(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int kept = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    tg_log_set_sink(NULL, NULL);
    tg_log(TG_LOG_INFO, "to.stderr", tg_log_int("n", 1));
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    char text[256] = {0};
    ssize_t len = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    assert_true(len > TIME_LEN);
    assert_string_equal(text + TIME_LEN, " info  to.stderr n=1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_time_level_event_and_fields, start, stop),
        cmocka_unit_test_setup_teardown(values_cannot_forge_lines, start, stop),
        cmocka_unit_test_setup_teardown(keys_and_events_cannot_forge_either, start, stop),
        cmocka_unit_test_setup_teardown(json_numbers_are_json, start, stop),
        cmocka_unit_test_setup_teardown(long_lines_are_cut_and_marked, start, stop),
        cmocka_unit_test_setup_teardown(a_level_that_is_off_costs_nothing, start, stop),
        cmocka_unit_test_setup_teardown(level_names_are_parsed, start, stop),
        cmocka_unit_test_setup_teardown(without_a_sink_lines_go_to_standard_error, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
