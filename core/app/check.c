/* check.c - `tidegate check`: loads a policy as a worker would, without serving, and tells every mistake.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/config_sources.h"
#include "app/run_options.h"
#include "base/log.h"
#include "base/memory.h"
#include "script/budget.h"
#include "script/generation.h"
#include "script/mistakes.h"
#include "script/source.h"

static void print_mistake(void *ctx, const char *text)
{
    (void)ctx;
    (void)fprintf(stderr, "%s\n", text);
}

static void print_name(void *ctx, const char *name)
{
    size_t *count = ctx;

    (void)printf("%s%s", (*count)++ == 0 ? "" : ", ", name);
}

static void print_facts(const char *path, struct tg_generation *generation)
{
    size_t hooks = 0, agents = 0;

    (void)printf("%s: ok\nversion: %s\nhooks: ", path, generation->version);
    tg_generation_each_hook(generation, print_name, &hooks);
    (void)printf("\nagents: ");
    tg_generation_each_agent(generation, print_name, &agents);
    (void)printf("%s\n", agents == 0 ? "none" : "");
}

static struct tg_script_option *script_options(const struct tg_config *config)
{
    struct tg_script_option *options =
        tg_xcalloc(config->options_count + 1, sizeof(struct tg_script_option));

    for (size_t i = 0; i < config->options_count; i++) {
        const struct tg_config_option *from = &config->options[i];
        options[i] = (struct tg_script_option){
            .path = from->path,
            .kind = (enum tg_script_option_kind)from->kind,
            .text = from->text,
            .from_text = from->source == TG_SOURCE_ENV || from->source == TG_SOURCE_FLAG,
        };
    }
    return options;
}

static enum tg_err check_source(const struct tg_config *config, struct tg_source *source,
                                struct tg_meter *meter)
{
    struct tg_script_option *options = script_options(config);
    struct tg_script_env env = {
        .meter = meter,
        .wall_budget_ms = config->script_wall_budget_ms,
        .memory_max = config->script_memory,
        .options = options,
        .option_count = config->options_count,
    };
    struct tg_mistakes mistakes = {.report = print_mistake};
    struct tg_generation *generation = NULL;
    enum tg_err err = tg_generation_build(&generation, &env, source, &mistakes);

    if (err == TG_ERR_OK)
        print_facts(config->policy, generation);
    tg_generation_destroy(generation);
    tg_free(options);
    return err;
}

static bool is_word_character(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Does the word stand anywhere but behind "--"? Good enough to ask a person to look. */
static bool mentions(const struct tg_source_file *file, const char *word)
{
    const char *end = file->data + file->len;
    size_t len = strlen(word);

    for (const char *at = file->data; at < end; at++) {
        if (*at == '-' && end - at > 1 && at[1] == '-') {
            at = memchr(at, '\n', (size_t)(end - at));
            if (at == NULL)
                return false;
        }
        if ((size_t)(end - at) >= len && memcmp(at, word, len) == 0 &&
            (at == file->data || !is_word_character(at[-1])) &&
            (at + len == end || !is_word_character(at[len])))
            return true;
    }
    return false;
}

/* A browser sends the cookies of a site with every connection to it, whichever page opens it. */
static void warn_of_hijacking(const struct tg_config *config, const struct tg_source *source)
{
    const struct tg_source_file *file;

    if (config->allowed_origins.count > 0)
        return;
    for (size_t i = 0; (file = tg_source_at(source, i)) != NULL; i++) {
        if (!mentions(file, "cookies") && !mentions(file, "cookie"))
            continue;
        (void)fprintf(stderr,
                      "warning: %s uses cookies and allowed_origins is not set: any web page that "
                      "a user visits could connect as that user (cross-site WebSocket hijacking); "
                      "set allowed_origins\n",
                      file->path);
        return;
    }
}

static enum tg_err check(const struct tg_config *config)
{
    struct tg_error error = {.code = TG_ERR_OK};
    struct tg_source *source = NULL;
    struct tg_meter *meter = NULL;
    enum tg_err err = tg_source_read(&source, config->policy, &error);

    if (err == TG_ERR_OK)
        err = tg_watchdog_start(&error);
    if (err != TG_ERR_OK) {
        (void)fprintf(stderr, "%s\n", error.text);
        tg_source_release(source);
        return err;
    }
    err = tg_meter_create(&meter, config->script_cpu_budget_ms);
    if (err == TG_ERR_OK)
        err = check_source(config, source, meter);
    else
        (void)fprintf(stderr, "tidegate: %s\n", tg_err_text(err));
    if (err == TG_ERR_OK)
        warn_of_hijacking(config, source);
    tg_meter_destroy(meter);
    tg_watchdog_stop();
    tg_source_release(source);
    return err;
}

int tg_command_check(int argc, char **argv)
{
    struct tg_config config;
    struct tg_error error = {.code = TG_ERR_OK};
    char *config_file = NULL;
    int status;

    tg_config_init(&config);
    if (tg_check_options_parse(argc, argv, &config, &config_file, &error) != TG_ERR_OK) {
        status = tg_command_usage_error(argv[0], error.text);
    } else if (tg_config_read_file(&config, config_file, &error) != TG_ERR_OK ||
               tg_config_complete(&config, &error) != TG_ERR_OK) {
        (void)fprintf(stderr, "tidegate: %s\n", error.text);
        status = TG_EXIT_FAILED;
    } else if (config.policy == NULL || config.policy[0] == '\0') {
        status = tg_command_usage_error(argv[0], "which policy? Name a file or a folder");
    } else {
        tg_log_configure(config.log_level, config.log_format);
        status = check(&config) == TG_ERR_OK ? TG_EXIT_OK : TG_EXIT_FAILED;
    }
    tg_config_fini(&config);
    return status;
}
