/* arguments.c - reads the flags of one command from a table of them.
 *
 * Owns nothing: values point into argv. A word that is a flag of the table is never taken as the
 * value of the flag before it, because that is always a forgotten value.
 */
#include "app/arguments.h"

#include <string.h>

#include "base/suggest.h"

#define FLAGS_MAX 32

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static const struct tg_flag *find_flag(const struct tg_arguments *args, const char *name,
                                       size_t len)
{
    for (const struct tg_flag *flag = args->flags; flag != NULL && flag->name != NULL; flag++) {
        if (strlen(flag->name) == len && memcmp(flag->name, name, len) == 0)
            return flag;
    }
    return NULL;
}

static bool is_known_flag(const struct tg_arguments *args, const char *word)
{
    return strncmp(word, "--", 2) == 0 && find_flag(args, word + 2, strlen(word + 2)) != NULL;
}

static enum tg_argument unknown_flag(const struct tg_arguments *args, const char *word, size_t len,
                                     struct tg_error *error)
{
    const char *names[FLAGS_MAX];
    char name[64];
    size_t count = 0;
    size_t dashes = strspn(word, "-");
    const char *meant;

    if (len >= sizeof name)
        len = sizeof name - 1;
    memcpy(name, word, len);
    name[len] = '\0';
    for (const struct tg_flag *flag = args->flags; flag != NULL && flag->name != NULL; flag++) {
        if (count < FLAGS_MAX)
            names[count++] = flag->name;
    }
    meant = dashes < len ? tg_suggest(name + dashes, names, count) : NULL;
    if (meant != NULL)
        tg_error_set(error, TG_ERR_INVALID, "unknown flag %s; did you mean --%s?", name, meant);
    else
        tg_error_set(error, TG_ERR_INVALID, "unknown flag %s", name);
    return TG_ARGUMENT_BAD;
}

/* The words that belong to args->flag; `inline_value` is what followed '=', or NULL. */
static enum tg_argument take_values(struct tg_arguments *args, const char *inline_value,
                                    struct tg_error *error)
{
    const struct tg_flag *flag = args->flag;
    size_t taken = 0;

    if (flag->values == 0 && inline_value != NULL) {
        tg_error_set(error, TG_ERR_INVALID, "--%s takes no value", flag->name);
        return TG_ARGUMENT_BAD;
    }
    if (inline_value != NULL)
        args->values[taken++] = inline_value;
    while (taken < flag->values) {
        if (args->at >= args->argc || is_known_flag(args, args->argv[args->at])) {
            if (taken + 1 == flag->values && strchr(flag->hint, '[') != NULL)
                break;
            tg_error_set(error, TG_ERR_INVALID, "--%s needs %s: --%s %s", flag->name,
                         flag->values == 1 ? "a value" : "two values", flag->name, flag->hint);
            return TG_ARGUMENT_BAD;
        }
        args->values[taken++] = args->argv[args->at++];
    }
    return TG_ARGUMENT_FLAG;
}

struct tg_arguments tg_arguments_on(int argc, char **argv, const struct tg_flag *flags)
{
    return (struct tg_arguments){.argc = argc, .argv = argv, .flags = flags, .at = 1};
}

enum tg_argument tg_arguments_next(struct tg_arguments *args, struct tg_error *error)
{
    const char *word;
    const char *equals;
    size_t len;

    args->flag = NULL;
    args->values[0] = NULL;
    args->values[1] = NULL;
    if (!args->only_words && args->at < args->argc && strcmp(args->argv[args->at], "--") == 0) {
        args->only_words = true;
        args->at++;
    }
    if (args->at >= args->argc)
        return TG_ARGUMENT_END;
    word = args->argv[args->at++];
    if (args->only_words || word[0] != '-' || word[1] == '\0') {
        args->values[0] = word;
        return TG_ARGUMENT_WORD;
    }
    if (is_help(word))
        return TG_ARGUMENT_HELP;
    equals = strchr(word, '=');
    len = equals == NULL ? strlen(word) : (size_t)(equals - word);
    if (strncmp(word, "--", 2) == 0)
        args->flag = find_flag(args, word + 2, len - 2);
    if (args->flag == NULL)
        return unknown_flag(args, word, len, error);
    return take_values(args, equals == NULL ? NULL : equals + 1, error);
}

enum tg_err tg_arguments_read(int argc, char **argv, const struct tg_arguments_reader *reader,
                              void *ctx, struct tg_error *error)
{
    struct tg_arguments args = tg_arguments_on(argc, argv, reader->flags);
    enum tg_err err = TG_ERR_OK;

    while (err == TG_ERR_OK) {
        switch (tg_arguments_next(&args, error)) {
        case TG_ARGUMENT_END:
            return TG_ERR_OK;
        case TG_ARGUMENT_FLAG:
            err = reader->take_flag(ctx, &args, error);
            break;
        case TG_ARGUMENT_WORD:
            err = reader->take_word(ctx, &args, error);
            break;
        case TG_ARGUMENT_HELP:
            break;
        case TG_ARGUMENT_BAD:
            return TG_ERR_INVALID;
        }
    }
    return err;
}

bool tg_arguments_want_help(int argc, char **argv, const struct tg_flag *flags)
{
    struct tg_arguments args = tg_arguments_on(argc, argv, flags);

    for (;;) {
        switch (tg_arguments_next(&args, NULL)) {
        case TG_ARGUMENT_END:
            return false;
        case TG_ARGUMENT_HELP:
            return true;
        case TG_ARGUMENT_FLAG:
        case TG_ARGUMENT_WORD:
        case TG_ARGUMENT_BAD:
            break;
        }
    }
}
