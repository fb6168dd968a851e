/* help_test.c - help and manual name every command, flag and option. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/help.h"
#include "ops/config.h"

static char *text;
static size_t text_len;
static FILE *out;

static int set_up(void **state)
{
    (void)state;
    out = open_memstream(&text, &text_len);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fclose(out);
    free(text);
    return 0;
}

static void assert_has(const char *part)
{
    fflush(out);
    if (strstr(text, part) == NULL)
        fail_msg("%s is not in %s", part, text);
}

static void every_command_is_listed(void **state)
{
    size_t count;
    const struct tg_command *commands = tg_commands(&count);

    (void)state;
    tg_help_overview(out);
    assert_true(count >= 5);
    for (size_t i = 0; i < count; i++) {
        assert_has(commands[i].name);
        assert_has(commands[i].summary);
        assert_ptr_equal(tg_command_find(commands[i].name), &commands[i]);
    }
    assert_null(tg_command_find("ru"));
}

static void help_of_run_shows_flags_and_options(void **state)
{
    (void)state;
    tg_help_command(out, tg_command_find("run"));
    assert_has("Usage: tidegate run [POLICY] [flags]\n");
    assert_has("\n  --listen ADDR:PORT\n      Address for clients.");
    assert_has("\n  limits.max_message = SIZE   [1MiB]\n      Largest message from a client");
    assert_has("\n  policy = PATH\n");
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        assert_true(strlen(line) <= 100);
}

static void the_manual_is_whole_and_escaped(void **state)
{
    const struct tg_config_row *rows;
    size_t rows_count = tg_config_rows(&rows);

    (void)state;
    tg_help_man(out);
    assert_has(".TH TIDEGATE 1 ");
    assert_has("\n.SH NAME\ntidegate \\- ");
    assert_has("\n.B \\-\\-log\\-format text|json\n");
    assert_has("\nTIDEGATE_LIMITS_MAX_MESSAGE\n");
    for (size_t i = 0; i < rows_count; i++) {
        char item[96];
        snprintf(item, sizeof item, "\n.B %s = %s\n", rows[i].key, rows[i].value_hint);
        assert_has(item);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_command_is_listed),
        TEST(help_of_run_shows_flags_and_options),
        TEST(the_manual_is_whole_and_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
