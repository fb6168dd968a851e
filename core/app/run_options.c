/* run_options.c - the flags of `run` and `check` become configuration.
 *
 * Every flag is a shorthand for a key, so checking and wording stay in ops/config.
 */
#include "app/run_options.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

enum {
    FLAG_CONFIG,
    FLAG_LISTEN,
    FLAG_ADMIN,
    FLAG_WORKERS,
    FLAG_SET,
    FLAG_LOG_FORMAT,
    FLAG_LOG_LEVEL
};

#define CONFIG_ROW                                                                                 \
    {                                                                                              \
        FLAG_CONFIG, "config", "FILE", 1, "Configuration: a Lua file that returns a table."        \
    }
#define SET_ROW                                                                                    \
    {                                                                                              \
        FLAG_SET, "set", "KEY=VALUE", 1, "Sets any configuration key. May be given several times." \
    }

const struct tg_flag tg_run_flags[] = {
    CONFIG_ROW,
    {FLAG_LISTEN, "listen", "ADDR:PORT", 1, "Address for clients. May be given several times."},
    {FLAG_ADMIN, "admin", "ADDR:PORT|off", 1, "Address of the admin listener."},
    {FLAG_WORKERS, "workers", "NUMBER", 1, "Worker threads (default: one per core)."},
    SET_ROW,
    {FLAG_LOG_FORMAT, "log-format", "text|json", 1, "Form of the log on standard error."},
    {FLAG_LOG_LEVEL, "log-level", "LEVEL", 1, "error, warn, info or debug."},
    {0},
};

const struct tg_flag tg_check_flags[] = {CONFIG_ROW, SET_ROW, {0}};

static enum tg_err set(struct tg_config *config, const char *key, const char *value,
                       struct tg_error *error)
{
    return tg_config_set_text(config, TG_SOURCE_FLAG, key, value, error);
}

static enum tg_err set_pair(struct tg_config *config, const char *pair, struct tg_error *error)
{
    const char *equals = strchr(pair, '=');
    char *key;
    enum tg_err err;

    if (equals == NULL || equals == pair)
        return tg_error_set(error, TG_ERR_INVALID,
                            "--set needs KEY=VALUE, such as --set limits.max_message=64KiB");
    key = tg_xstrdup(pair);
    key[equals - pair] = '\0';
    err = set(config, key, equals + 1, error);
    tg_free(key);
    return err;
}

static enum tg_err take_flag(const struct tg_arguments *args, struct tg_config *config,
                             char **config_file, struct tg_error *error)
{
    const char *value = args->values[0];

    switch (args->flag->id) {
    case FLAG_CONFIG:
        *config_file = (char *)(uintptr_t)value;
        return TG_ERR_OK;
    case FLAG_LISTEN:
        return tg_config_add_listen(config, value, error);
    case FLAG_ADMIN:
        return set(config, "admin", value, error);
    case FLAG_WORKERS:
        return set(config, "workers", value, error);
    case FLAG_LOG_FORMAT:
        return set(config, "log.format", value, error);
    case FLAG_LOG_LEVEL:
        return set(config, "log.level", value, error);
    default:
        return set_pair(config, value, error);
    }
}

static enum tg_err parse(struct tg_arguments *args, struct tg_config *config, char **config_file,
                         struct tg_error *error)
{
    enum tg_err err = tg_config_read_environment(config, environ, error);
    bool has_policy = false;

    *config_file = NULL;
    while (err == TG_ERR_OK) {
        switch (tg_arguments_next(args, error)) {
        case TG_ARGUMENT_END:
            return TG_ERR_OK;
        case TG_ARGUMENT_FLAG:
            err = take_flag(args, config, config_file, error);
            break;
        case TG_ARGUMENT_WORD:
            if (has_policy)
                return tg_error_set(error, TG_ERR_INVALID,
                                    "one policy at a time; \"%.60s\" is a "
                                    "second",
                                    args->values[0]);
            has_policy = true;
            err = set(config, "policy", args->values[0], error);
            break;
        case TG_ARGUMENT_HELP:
            break; /* the dispatcher has answered it */
        case TG_ARGUMENT_BAD:
            return TG_ERR_INVALID;
        }
    }
    return err;
}

enum tg_err tg_run_options_parse(int argc, char **argv, struct tg_config *config,
                                 char **config_file, struct tg_error *error)
{
    struct tg_arguments args = tg_arguments_on(argc, argv, tg_run_flags);
    return parse(&args, config, config_file, error);
}

enum tg_err tg_check_options_parse(int argc, char **argv, struct tg_config *config,
                                   char **config_file, struct tg_error *error)
{
    struct tg_arguments args = tg_arguments_on(argc, argv, tg_check_flags);
    return parse(&args, config, config_file, error);
}
