/* mistakes_test.c - texts are cut into records, and a check keeps each finding once, sorted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "script/check/codes.h"
#include "script/check/findings.h"
#include "script/policy/mistakes.h"

static const struct {
    const char *text;
    const char *file;
    int line;
    const char *message;
    const char *hint;
} texts[] = {
    {"a/b.lua:12: it is wrong; do it right", "a/b.lua", 12, "it is wrong", "do it right"},
    {"a.lua:1: it is wrong", "a.lua", 1, "it is wrong", ""},
    {"a.lua: no hook: a policy needs one; add it", "a.lua", 0, "no hook: a policy needs one",
     "add it"},
    {"shop/: too large", "shop/", 0, "too large", ""},
    {"out of memory: take less", "", 0, "out of memory: take less", ""},
    {"a:2: b:3: c; d; e", "a", 2, "b:3: c", "d; e"},
    {"a.lua:7: no \"x; y\" here; look there", "a.lua", 7, "no \"x; y\" here", "look there"},
    {"the time is 12:30: late", "the time is 12", 30, "late", ""},
    {"a.lua:9:no place", "", 0, "a.lua:9:no place", ""},
    {"", "", 0, "", ""},
    {"; ", "", 0, "", ""},
    {":1: ", "", 1, "", ""},
};

static void texts_are_cut_at_place_and_hint(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct tg_finding finding = {.code = "x"};
        char text[128];
        snprintf(text, sizeof text, "%s", texts[i].text);
        tg_finding_cut(&finding, text);
        assert_string_equal(finding.file, texts[i].file);
        assert_int_equal(finding.line, texts[i].line);
        assert_string_equal(finding.message, texts[i].message);
        assert_string_equal(finding.hint, texts[i].hint);
    }
}

static void keep_last(void *ctx, const struct tg_finding *finding)
{
    char *text = ctx;
    snprintf(text, 256, "%d %s %s:%d %s", finding->severity, finding->code, finding->file,
             finding->line, finding->message);
}

static void a_warning_is_told_and_does_not_count(void **state)
{
    char text[256] = "";
    struct tg_mistakes mistakes = {.report = keep_last, .ctx = text};

    (void)state;
    tg_mistakes_warn(&mistakes, "signature", "%s:%d: odd", "a.lua", 3);
    assert_string_equal(text, "1 signature a.lua:3 odd");
    assert_int_equal(mistakes.count, 0);
    assert_string_equal(mistakes.error.text, "");
    tg_mistakes_add(&mistakes, "bad-hook", "a.lua:4: wrong; right");
    assert_string_equal(text, "0 bad-hook a.lua:4 wrong");
    assert_int_equal(mistakes.count, 1);
    assert_string_equal(mistakes.error.text, "a.lua:4: wrong; right");
}

static void add(struct tg_findings *findings, enum tg_severity severity, const char *code,
                const char *file, int line, int column, const char *message)
{
    tg_findings_add(findings,
                    &(struct tg_finding){severity, code, file, line, column, message, ""});
}

static void findings_are_kept_once_and_sorted(void **state)
{
    static const char *const sorted[] = {"entry 0", "entry 2", "entry 9", "a 1", "a 5", "a 5"};
    struct tg_findings findings = {.rows = NULL};
    char row[32];

    (void)state;
    for (int i = 0; i < 2; i++) {
        add(&findings, TG_SEVERITY_ERROR, "x", "a", 5, 7, "one");
        add(&findings, TG_SEVERITY_ERROR, "x", "a", 5, 2, "two");
        add(&findings, TG_SEVERITY_WARNING, "x", "entry", 9, 0, "three");
        add(&findings, TG_SEVERITY_WARNING, "x", "entry", 2, 0, "three");
        add(&findings, TG_SEVERITY_WARNING, "x", "a", 1, 0, "four");
        add(&findings, TG_SEVERITY_ERROR, "x", "entry", 0, 0, "five");
    }
    assert_int_equal(findings.errors, 3);
    assert_int_equal(findings.warnings, 3);
    tg_findings_sort(&findings, "entry");
    assert_int_equal(findings.count, 6);
    for (size_t i = 0; i < findings.count; i++) {
        snprintf(row, sizeof row, "%s %d", findings.rows[i].file, findings.rows[i].line);
        assert_string_equal(row, sorted[i]);
    }
    assert_int_equal(findings.rows[4].column, 2);
    assert_true(tg_findings_at(&findings, "a", 5));
    assert_false(tg_findings_at(&findings, "a", 2));
    tg_findings_fini(&findings);
}

static void what_ended_the_load_gets_the_better_code_and_stays_an_error(void **state)
{
    struct tg_findings findings = {.rows = NULL};

    (void)state;
    add(&findings, TG_SEVERITY_ERROR, "load-failed", "a", 5, 0, "undefined global \"x\"");
    add(&findings, TG_SEVERITY_WARNING, "undefined-global", "a", 5, 3, "undefined global \"x\"");
    add(&findings, TG_SEVERITY_ERROR, "load-failed", "a", 5, 0, "undefined global \"x\"");
    assert_int_equal(findings.count, 1);
    assert_string_equal(findings.rows[0].code, "undefined-global");
    assert_int_equal(findings.rows[0].column, 3);
    assert_int_equal(findings.rows[0].severity, TG_SEVERITY_ERROR);
    assert_int_equal(findings.errors, 1);
    assert_int_equal(findings.warnings, 0);
    tg_findings_fini(&findings);
}

static void codes_are_words_in_small_letters_and_each_once(void **state)
{
    size_t count;
    const struct tg_check_code *rows = tg_check_codes(&count);

    (void)state;
    assert_true(count > 20);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(strspn(rows[i].code, "abcdefghijklmnopqrstuvwxyz-"), strlen(rows[i].code));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(rows[i].code, rows[j].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_cut_at_place_and_hint),
        cmocka_unit_test(a_warning_is_told_and_does_not_count),
        cmocka_unit_test(findings_are_kept_once_and_sorted),
        cmocka_unit_test(what_ended_the_load_gets_the_better_code_and_stays_an_error),
        cmocka_unit_test(codes_are_words_in_small_letters_and_each_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
