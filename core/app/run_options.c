/* run_options.c - the flags of `run` become configuration.
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
    FLAG_WATCH,
    FLAG_SET,
    FLAG_LOG_FORMAT,
    FLAG_LOG_LEVEL
};

const struct tg_flag tg_run_flags[] = {
    {FLAG_CONFIG, "config", "FILE", 1, "Configuration: a Lua file that returns a table."},
    {FLAG_LISTEN, "listen", "ADDR:PORT", 1, "Address for clients. May be given several times."},
    {FLAG_ADMIN, "admin", "ADDR:PORT|off", 1, "Address of the admin listener."},
    {FLAG_WORKERS, "workers", "NUMBER", 1, "Worker threads (default: one per core)."},
    {FLAG_WATCH, "watch", NULL, 0, "Reload the policy when one of its files changes."},
    {FLAG_SET, "set", "KEY=VALUE", 1, "Sets any configuration key. May be given several times."},
    {FLAG_LOG_FORMAT, "log-format", "text|json", 1, "Form of the log on standard error."},
    {FLAG_LOG_LEVEL, "log-level", "LEVEL", 1, "error, warn, info or debug."},
    {0},
};

/* What the flags and words go to. */
struct line {
    struct tg_config *config;
    char **config_file;
    bool has_policy;
};

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

static enum tg_err take_flag(void *ctx, const struct tg_arguments *args, struct tg_error *error)
{
    struct line *line = ctx;
    struct tg_config *config = line->config;
    const char *value = args->values[0];

    switch (args->flag->id) {
    case FLAG_CONFIG:
        *line->config_file = (char *)(uintptr_t)value;
        return TG_ERR_OK;
    case FLAG_LISTEN:
        return tg_config_add_listen(config, value, error);
    case FLAG_ADMIN:
        return set(config, "admin", value, error);
    case FLAG_WORKERS:
        return set(config, "workers", value, error);
    case FLAG_WATCH:
        return set(config, "watch", "true", error);
    case FLAG_LOG_FORMAT:
        return set(config, "log.format", value, error);
    case FLAG_LOG_LEVEL:
        return set(config, "log.level", value, error);
    default:
        return set_pair(config, value, error);
    }
}

static enum tg_err take_word(void *ctx, const struct tg_arguments *args, struct tg_error *error)
{
    struct line *line = ctx;

    if (line->has_policy)
        return tg_error_set(error, TG_ERR_INVALID, "one policy at a time; \"%.60s\" is a second",
                            args->values[0]);
    line->has_policy = true;
    return set(line->config, "policy", args->values[0], error);
}

enum tg_err tg_run_options_parse(int argc, char **argv, struct tg_config *config,
                                 char **config_file, struct tg_error *error)
{
    static const struct tg_arguments_reader reader = {tg_run_flags, take_flag, take_word};
    struct line line = {.config = config, .config_file = config_file};
    enum tg_err err = tg_config_read_environment(config, environ, error);

    *config_file = NULL;
    return err == TG_ERR_OK ? tg_arguments_read(argc, argv, &reader, &line, error) : err;
}

enum tg_err tg_run_options_set_pair(struct tg_config *config, const char *pair,
                                    struct tg_error *error)
{
    return set_pair(config, pair, error);
}
