/* arguments.h - reads the flags of one command from a table of them, which ends with a row {0}.
 *
 *     static const struct tg_arguments_reader reader = {flags, take_flag, take_word};
 *     err = tg_arguments_read(argc, argv, &reader, ctx, &error);
 *
 * Forms: `--flag`, `--flag value`, `--flag=value`, `--` (all that follows is no flag), `-h`, `--help`.
 */
#ifndef TG_APP_ARGUMENTS_H
#define TG_APP_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define TG_FLAG_VALUES_MAX 2

struct tg_flag {
    int id;           /* for the switch of the command */
    const char *name; /* without the dashes */
    /* "FILE", "NAME [MESSAGE]": with brackets the last word may be missing; NULL: takes no value. */
    const char *hint;
    size_t values; /* how many words follow */
    const char *help;
};

struct tg_arguments {
    int argc;
    char **argv;                 /* borrowed */
    const struct tg_flag *flags; /* borrowed; NULL: none */
    int at;                      /* next word */
    bool only_words;
    /* What the last call of tg_arguments_next found. */
    const struct tg_flag *flag;
    const char *values[TG_FLAG_VALUES_MAX]; /* borrowed from argv; a word: values[0] */
};

enum tg_argument {
    TG_ARGUMENT_END,
    TG_ARGUMENT_FLAG,
    TG_ARGUMENT_WORD,
    TG_ARGUMENT_HELP,
    TG_ARGUMENT_BAD /* error says what; it never repeats a value */
};

/* argv[0] is the name of the command and is skipped. */
struct tg_arguments tg_arguments_on(int argc, char **argv, const struct tg_flag *flags);
enum tg_argument tg_arguments_next(struct tg_arguments *args, struct tg_error *error);

/* Takes what tg_arguments_next has just found: args->flag->id and args->values, or the word
 * args->values[0]. An error ends the reading. */
typedef enum tg_err (*tg_argument_fn)(void *ctx, const struct tg_arguments *args,
                                      struct tg_error *error);

struct tg_arguments_reader {
    const struct tg_flag *flags;
    tg_argument_fn take_flag;
    tg_argument_fn take_word;
};

/* All of a command line. --help is passed over: the dispatcher has answered it. */
TG_MUST enum tg_err tg_arguments_read(int argc, char **argv,
                                      const struct tg_arguments_reader *reader, void *ctx,
                                      struct tg_error *error);

/* Does --help or -h stand where a flag can stand? Errors before it do not count. */
bool tg_arguments_want_help(int argc, char **argv, const struct tg_flag *flags);

#endif
