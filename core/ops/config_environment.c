/* config_environment.c - options from variables: TIDEGATE_LIMITS_MAX_MESSAGE is limits.max_message.
 *
 * An unknown variable is an error as an unknown key is: a misspelt limit must not pass unseen. The
 * one exception are the variables that Kubernetes puts into every pod beside a service named
 * "tidegate"; no key of ours begins as they do.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/suggest.h"
#include "ops/config_internal.h"

#define PREFIX "TIDEGATE_"
#define OPTIONS_PREFIX PREFIX "OPTIONS_"
#define NAME_SIZE 96

static void variable_of(const char *key, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, PREFIX "%s", key);
    for (char *c = out; *c != '\0'; c++)
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_service_link(const char *name)
{
    return starts_with(name, PREFIX "SERVICE_HOST") || starts_with(name, PREFIX "SERVICE_PORT") ||
           strcmp(name, PREFIX "PORT") == 0 || starts_with(name, PREFIX "PORT_");
}

static enum tg_err unknown_variable(const char *name, struct tg_error *error)
{
    char(*names)[NAME_SIZE] = tg_xcalloc(tg__row_count, sizeof *names);
    const char **list = tg_xcalloc(tg__row_count, sizeof *list);
    const char *meant;

    for (size_t i = 0; i < tg__row_count; i++) {
        variable_of(tg__shown_rows[i].key, names[i]);
        list[i] = names[i];
    }
    meant = tg_suggest(name, list, tg__row_count);
    if (meant != NULL)
        tg_error_set(error, TG_ERR_INVALID,
                     "environment variable %.80s is no option; did you mean %s?", name, meant);
    else
        tg_error_set(error, TG_ERR_INVALID,
                     "environment variable %.80s is no option; `tidegate help run` lists all keys",
                     name);
    tg_free(list);
    tg_free(names);
    return TG_ERR_INVALID;
}

static enum tg_err take_variable(struct tg_config *config, const char *name, const char *value,
                                 struct tg_error *error)
{
    char key[NAME_SIZE];

    if (starts_with(name, OPTIONS_PREFIX)) {
        snprintf(key, sizeof key, "options.%s", name + strlen(OPTIONS_PREFIX));
        for (char *c = key; *c != '\0'; c++)
            *c = (char)tolower((unsigned char)*c);
        return tg__config_set(config, TG_SOURCE_ENV, key, value, name, error);
    }
    for (size_t i = 0; i < tg__row_count; i++) {
        variable_of(tg__shown_rows[i].key, key);
        if (strcmp(key, name) == 0)
            return tg__config_set(config, TG_SOURCE_ENV, tg__shown_rows[i].key, value, name, error);
    }
    return unknown_variable(name, error);
}

enum tg_err tg_config_read_environment(struct tg_config *config, char *const *environment,
                                       struct tg_error *error)
{
    for (; *environment != NULL; environment++) {
        const char *equals = strchr(*environment, '=');
        char name[NAME_SIZE];
        enum tg_err err;

        if (!starts_with(*environment, PREFIX) || equals == NULL)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(equals - *environment), *environment);
        if (is_service_link(name))
            continue;
        err = take_variable(config, name, equals + 1, error);
        if (err != TG_ERR_OK)
            return err;
    }
    return TG_ERR_OK;
}
