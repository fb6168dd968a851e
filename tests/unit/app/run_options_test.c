/* run_options_test.c - flags and environment of `run` become configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/run_options.h"

#define WORD(text) (char *)(uintptr_t)text
#define COUNT(argv) ((int)(sizeof(argv) / sizeof(argv)[0]) - 1)

static struct tg_config config;
static struct tg_error error;
static char *file;

static int set_up(void **state)
{
    static char *nothing[] = {NULL};

    (void)state;
    environ = nothing; /* whoever runs this may have set options of the server */
    tg_config_init(&config);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tg_config_fini(&config);
    return 0;
}

static void all_flags_of_run_set_their_keys(void **state)
{
    char *argv[] = {WORD("run"),
                    WORD("policy.lua"),
                    WORD("--config"),
                    WORD("tide.lua"),
                    WORD("--listen"),
                    WORD("127.0.0.1:1"),
                    WORD("--listen=:2"),
                    WORD("--admin"),
                    WORD("off"),
                    WORD("--workers"),
                    WORD("3"),
                    WORD("--watch"),
                    WORD("--set"),
                    WORD("strict=true"),
                    WORD("--set"),
                    WORD("options.url=http://a?b=c"),
                    WORD("--log-format"),
                    WORD("json"),
                    WORD("--log-level"),
                    WORD("debug"),
                    NULL};

    (void)state;
    setenv("TIDEGATE_WORKERS", "7", 1);
    if (tg_run_options_parse(COUNT(argv), argv, &config, &file, &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    assert_string_equal(file, "tide.lua");
    assert_string_equal(config.policy, "policy.lua");
    assert_int_equal(config.listen.count, 2);
    assert_string_equal(config.listen.items[1], ":2");
    assert_string_equal(config.admin, "off");
    assert_int_equal(config.workers, 3); /* the flag wins */
    assert_true(config.watch);
    assert_true(config.strict);
    assert_string_equal(config.options[0].text, "http://a?b=c");
    assert_int_equal(config.log_format, TG_LOG_JSON);
    assert_int_equal(config.log_level, TG_LOG_DEBUG);
}

static void the_environment_counts_without_flags(void **state)
{
    char *argv[] = {WORD("run"), WORD("p"), NULL};

    (void)state;
    setenv("TIDEGATE_WORKERS", "7", 1);
    assert_int_equal(tg_run_options_parse(COUNT(argv), argv, &config, &file, &error), TG_ERR_OK);
    assert_int_equal(config.workers, 7);
    assert_null(file);
}

static void assert_run_refused(char *word, char *value, const char *text)
{
    char *argv[] = {WORD("run"), word, value, NULL};

    assert_int_equal(tg_run_options_parse(COUNT(argv), argv, &config, &file, &error),
                     TG_ERR_INVALID);
    assert_string_equal(error.text, text);
}

static void mistakes_are_refused(void **state)
{
    (void)state;
    assert_run_refused(WORD("a"), WORD("b"), "one policy at a time; \"b\" is a second");
    assert_run_refused(WORD("--set"), WORD("strict"),
                       "--set needs KEY=VALUE, such as --set limits.max_message=64KiB");
    assert_run_refused(WORD("--set"), WORD("=x"),
                       "--set needs KEY=VALUE, such as --set limits.max_message=64KiB");
    assert_run_refused(WORD("--set"), WORD("strikt=true"),
                       "unknown key \"strikt\"; did you mean \"strict\"?");
    assert_run_refused(WORD("--worker"), WORD("3"),
                       "unknown flag --worker; did you mean --workers?");
    assert_run_refused(WORD("--workers"), WORD("0"),
                       "workers: \"0\" is too small; write 1 or more");
    setenv("TIDEGATE_WORKERS", "many", 1);
    assert_run_refused(WORD("a"), WORD("--set"),
                       "workers (TIDEGATE_WORKERS): \"many\" is not a whole number; write a whole "
                       "number from 1 to 255, or auto");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(all_flags_of_run_set_their_keys),
        TEST(the_environment_counts_without_flags),
        TEST(mistakes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
