/* check_options.c - the flags of `check`. */
#include "app/check/check_options.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "app/run_options.h"
#include "base/memory.h"

enum {
    FLAG_CONFIG,
    FLAG_SET,
    FLAG_FORMAT,
    FLAG_STRICT,
    FLAG_NO_LUACHECK,
    FLAG_VERBOSE,
    FLAG_CODES
};

const struct tg_flag tg_check_flags[] = {
    {FLAG_CONFIG, "config", "FILE", 1, "Configuration: a Lua file that returns a table."},
    {FLAG_SET, "set", "KEY=VALUE", 1, "Sets any configuration key. May be given several times."},
    {FLAG_FORMAT, "format", "text|json", 1,
     "text: a line for each finding. json: one document, for editors and CI."},
    {FLAG_STRICT, "strict", NULL, 0, "Warnings count as errors."},
    {FLAG_NO_LUACHECK, "no-luacheck", NULL, 0,
     "Does not ask luacheck, which is used where it is installed (Debian: lua-check)."},
    {FLAG_VERBOSE, "verbose", NULL, 0,
     "Also says which files were read, and whether luacheck ran."},
    {FLAG_CODES, "codes", NULL, 0, "Lists the codes of findings, and ends."},
    {0},
};

/* What the flags and words go to. */
struct line {
    struct tg_config *config;
    struct tg_check_settings *settings;
};

static enum tg_err take_word(void *ctx, const struct tg_arguments *args, struct tg_error *error)
{
    struct line *line = ctx;
    struct tg_check_settings *settings = line->settings;
    const char **policies = tg_xcalloc(settings->policy_count + 1, sizeof *policies);

    (void)error;
    if (settings->policy_count > 0)
        memcpy(policies, settings->policies, settings->policy_count * sizeof *policies);
    policies[settings->policy_count++] = args->values[0];
    tg_free(settings->policies);
    settings->policies = policies;
    return TG_ERR_OK;
}

static enum tg_err take_flag(void *ctx, const struct tg_arguments *args, struct tg_error *error)
{
    struct line *line = ctx;
    struct tg_check_settings *settings = line->settings;
    const char *value = args->values[0];

    switch (args->flag->id) {
    case FLAG_CONFIG:
        settings->config_file = (char *)(uintptr_t)value;
        return TG_ERR_OK;
    case FLAG_FORMAT:
        settings->json = strcmp(value, "json") == 0;
        if (!settings->json && strcmp(value, "text") != 0)
            return tg_error_set(error, TG_ERR_INVALID, "--format is text or json");
        return TG_ERR_OK;
    case FLAG_STRICT:
        settings->strict = true;
        return TG_ERR_OK;
    case FLAG_NO_LUACHECK:
        settings->no_luacheck = true;
        return TG_ERR_OK;
    case FLAG_VERBOSE:
        settings->verbose = true;
        return TG_ERR_OK;
    case FLAG_CODES:
        settings->list_codes = true;
        return TG_ERR_OK;
    default:
        return tg_run_options_set_pair(line->config, value, error);
    }
}

enum tg_err tg_check_options_parse(int argc, char **argv, struct tg_config *config,
                                   struct tg_check_settings *settings, struct tg_error *error)
{
    static const struct tg_arguments_reader reader = {tg_check_flags, take_flag, take_word};
    struct line line = {config, settings};
    enum tg_err err = tg_config_read_environment(config, environ, error);

    *settings = (struct tg_check_settings){.policies = NULL};
    return err == TG_ERR_OK ? tg_arguments_read(argc, argv, &reader, &line, error) : err;
}

void tg_check_options_fini(struct tg_check_settings *settings)
{
    tg_free(settings->policies);
    settings->policies = NULL;
    settings->policy_count = 0;
}
