/* arguments_test.c - flags of a command from its table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "app/arguments.h"

enum { FLAG_FILE, FLAG_QUIET, FLAG_PAIR };

static const struct tg_flag flags[] = {
    {FLAG_FILE, "file", "FILE", 1, "A file."},
    {FLAG_QUIET, "quiet", NULL, 0, "Says nothing."},
    {FLAG_PAIR, "pair", "NAME [VALUE]", 2, "One or two words."},
    {0},
};

static struct tg_arguments args;
static struct tg_error error;

#define START(...)                                                                                 \
    static char *argv[] = {(char *)(uintptr_t) "command", __VA_ARGS__, NULL};                      \
    args = tg_arguments_on((int)(sizeof argv / sizeof argv[0]) - 1, argv, flags)
#define WORD(text) (char *)(uintptr_t)text

static void assert_flag(int id, const char *first, const char *second)
{
    assert_int_equal(tg_arguments_next(&args, &error), TG_ARGUMENT_FLAG);
    assert_int_equal(args.flag->id, id);
    assert_true((first == NULL) == (args.values[0] == NULL));
    assert_true((second == NULL) == (args.values[1] == NULL));
    if (first != NULL)
        assert_string_equal(args.values[0], first);
    if (second != NULL)
        assert_string_equal(args.values[1], second);
}

static void assert_word(const char *word)
{
    assert_int_equal(tg_arguments_next(&args, &error), TG_ARGUMENT_WORD);
    assert_string_equal(args.values[0], word);
}

static void assert_bad(const char *text)
{
    assert_int_equal(tg_arguments_next(&args, &error), TG_ARGUMENT_BAD);
    assert_string_equal(error.text, text);
}

static void flags_and_words_may_be_mixed(void **state)
{
    START(WORD("one"), WORD("--file"), WORD("a"), WORD("--quiet"), WORD("--file=b=c"), WORD("-"),
          WORD("--file="), WORD("--"), WORD("--quiet"), WORD("-h"), WORD("--"));

    (void)state;
    assert_word("one");
    assert_flag(FLAG_FILE, "a", NULL);
    assert_flag(FLAG_QUIET, NULL, NULL);
    assert_flag(FLAG_FILE, "b=c", NULL);
    assert_word("-");
    assert_flag(FLAG_FILE, "", NULL);
    assert_word("--quiet");
    assert_word("-h");
    assert_word("--");
    assert_int_equal(tg_arguments_next(&args, &error), TG_ARGUMENT_END);
    assert_int_equal(tg_arguments_next(&args, &error), TG_ARGUMENT_END);
}

static void a_bracketed_word_may_be_missing(void **state)
{
    START(WORD("--pair"), WORD("a"), WORD("b"), WORD("--pair=c"), WORD("d"), WORD("--pair"),
          WORD("e"), WORD("--quiet"), WORD("--pair"), WORD("f"));

    (void)state;
    assert_flag(FLAG_PAIR, "a", "b");
    assert_flag(FLAG_PAIR, "c", "d");
    assert_flag(FLAG_PAIR, "e", NULL);
    assert_flag(FLAG_QUIET, NULL, NULL);
    assert_flag(FLAG_PAIR, "f", NULL);
    assert_int_equal(tg_arguments_next(&args, &error), TG_ARGUMENT_END);
}

static void values_may_look_like_flags_but_not_be_one(void **state)
{
    START(WORD("--file"), WORD("-1"), WORD("--file"), WORD("--other"), WORD("--file"),
          WORD("--quiet"));

    (void)state;
    assert_flag(FLAG_FILE, "-1", NULL);
    assert_flag(FLAG_FILE, "--other", NULL);
    assert_bad("--file needs a value: --file FILE");
}

static void mistakes_are_named_without_their_values(void **state)
{
    START(WORD("--fiel=s3cret"), WORD("--zzzzzz"), WORD("-x"), WORD("--quiet=yes"), WORD("--file"));

    (void)state;
    assert_bad("unknown flag --fiel; did you mean --file?");
    assert_bad("unknown flag --zzzzzz");
    assert_bad("unknown flag -x");
    assert_bad("--quiet takes no value");
    assert_bad("--file needs a value: --file FILE");
    assert_int_equal(tg_arguments_next(&args, &error), TG_ARGUMENT_END);
}

static void help_is_seen_only_where_a_flag_can_stand(void **state)
{
    char *asked[] = {WORD("c"), WORD("--bad"), WORD("word"), WORD("-h"), NULL};
    char *value[] = {WORD("c"), WORD("--file"), WORD("--help"), NULL};
    char *word[] = {WORD("c"), WORD("--"), WORD("--help"), NULL};

    (void)state;
    assert_true(tg_arguments_want_help(4, asked, flags));
    assert_false(tg_arguments_want_help(3, value, flags));
    assert_false(tg_arguments_want_help(3, word, flags));
    assert_true(tg_arguments_want_help(3, value, NULL));
}

struct taken {
    char text[64];    /* "f:VALUE" of each flag, "w:WORD" of each word, with blanks between */
    const char *last; /* the flag value or word that is refused */
};

static enum tg_err take(struct taken *taken, char kind, const char *value)
{
    size_t len = strlen(taken->text);

    (void)snprintf(taken->text + len, sizeof taken->text - len, "%c:%s ", kind, value);
    return taken->last != NULL && strcmp(value, taken->last) == 0
               ? tg_error_set(&error, TG_ERR_LIMIT, "no more than %s", value)
               : TG_ERR_OK;
}

static enum tg_err take_flag(void *ctx, const struct tg_arguments *found, struct tg_error *out)
{
    assert_ptr_equal(out, &error);
    return take(ctx, 'f', found->values[0] == NULL ? found->flag->name : found->values[0]);
}

static enum tg_err take_word(void *ctx, const struct tg_arguments *found, struct tg_error *out)
{
    assert_ptr_equal(out, &error);
    return take(ctx, 'w', found->values[0]);
}

static const struct tg_arguments_reader reader = {flags, take_flag, take_word};

static void a_line_is_read_in_its_order_and_help_is_passed_over(void **state)
{
    char *argv[] = {WORD("c"),       WORD("one"), WORD("--file"), WORD("a"), WORD("--help"),
                    WORD("--quiet"), WORD("--"),  WORD("--file"), NULL};
    struct taken taken = {.last = NULL};

    (void)state;
    assert_int_equal(tg_arguments_read(8, argv, &reader, &taken, &error), TG_ERR_OK);
    assert_string_equal(taken.text, "w:one f:a f:quiet w:--file ");
}

static void what_refuses_a_word_or_flag_ends_the_reading_with_its_error(void **state)
{
    char *argv[] = {WORD("c"), WORD("one"), WORD("--file"), WORD("a"), WORD("two"), NULL};
    struct taken at_word = {.last = "one"};
    struct taken at_flag = {.last = "a"};

    (void)state;
    assert_int_equal(tg_arguments_read(5, argv, &reader, &at_word, &error), TG_ERR_LIMIT);
    assert_string_equal(at_word.text, "w:one ");
    assert_string_equal(error.text, "no more than one");
    assert_int_equal(tg_arguments_read(5, argv, &reader, &at_flag, &error), TG_ERR_LIMIT);
    assert_string_equal(at_flag.text, "w:one f:a ");
    assert_string_equal(error.text, "no more than a");
}

static void an_unknown_flag_ends_the_reading(void **state)
{
    char *argv[] = {WORD("c"), WORD("one"), WORD("--fiel=s3cret"), WORD("two"), NULL};
    struct taken taken = {.last = NULL};

    (void)state;
    assert_int_equal(tg_arguments_read(4, argv, &reader, &taken, &error), TG_ERR_INVALID);
    assert_string_equal(taken.text, "w:one ");
    assert_string_equal(error.text, "unknown flag --fiel; did you mean --file?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_and_words_may_be_mixed),
        cmocka_unit_test(a_bracketed_word_may_be_missing),
        cmocka_unit_test(values_may_look_like_flags_but_not_be_one),
        cmocka_unit_test(mistakes_are_named_without_their_values),
        cmocka_unit_test(help_is_seen_only_where_a_flag_can_stand),
        cmocka_unit_test(a_line_is_read_in_its_order_and_help_is_passed_over),
        cmocka_unit_test(what_refuses_a_word_or_flag_ends_the_reading_with_its_error),
        cmocka_unit_test(an_unknown_flag_ends_the_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
