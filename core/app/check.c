/* check.c - `tidegate check`: loads a policy as a server would, without serving, and says all that is
 * wrong with it.
 */
#include <stdio.h>

#include "app/commands.h"
#include "app/config_sources.h"
#include "app/run_options.h"
#include "app/script_options.h"
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

static void print_agent(void *ctx, const char *name)
{
    const char **separator = ctx;
    printf("%s%s", *separator, name);
    *separator = ", ";
}

static void print_summary(struct tg_generation *generation, const struct tg_source *source)
{
    const char *separator = ", agents: ";
    printf("%s: ok, version %s", tg_source_path(source), tg_source_version(source));
    tg_generation_each_agent(generation, print_agent, &separator);
    printf("\n");
}

static int build(struct tg_script_env *env, struct tg_source *source)
{
    struct tg_generation *generation = NULL;
    struct tg_mistakes mistakes = {.report = print_mistake};
    if (tg_generation_build(&generation, env, source, &mistakes) != TG_ERR_OK) {
        (void)fprintf(stderr, "%s: %zu mistake%s\n", tg_source_path(source), mistakes.count,
                      mistakes.count == 1 ? "" : "s");
        return TG_EXIT_FAILED;
    }
    tg_source_seal(source);
    print_summary(generation, source);
    tg_generation_destroy(generation);
    return TG_EXIT_OK;
}

static int check_policy(const struct tg_config *config)
{
    struct tg_error error = {0};
    struct tg_source *source = NULL;
    struct tg_meter *meter = NULL;
    int status = TG_EXIT_FAILED;
    if (tg_source_read(&source, config->policy, &error) != TG_ERR_OK) {
        (void)fprintf(stderr, "%s\n", error.text);
        return TG_EXIT_FAILED;
    }
    struct tg_script_option *options = tg_script_options_from(config);
    if (tg_watchdog_start(&error) != TG_ERR_OK ||
        tg_meter_create(&meter, config->script_cpu_budget_ms) != TG_ERR_OK) {
        (void)fprintf(stderr, "tidegate: the script watchdog could not be started\n");
    } else {
        struct tg_script_env env = {
            .meter = meter,
            .wall_budget_ms = config->script_wall_budget_ms,
            .memory_max = config->script_memory,
            .options = options,
            .option_count = config->options_count,
        };
        status = build(&env, source);
    }
    tg_meter_destroy(meter);
    tg_watchdog_stop();
    tg_free(options);
    tg_source_release(source);
    return status;
}

int tg_command_check(int argc, char **argv)
{
    struct tg_config config;
    struct tg_error error = {0};
    char *config_file = NULL;
    int status;
    tg_config_init(&config);
    if (tg_check_options_parse(argc, argv, &config, &config_file, &error) != TG_ERR_OK) {
        status = tg_command_usage_error(argv[0], error.text);
    } else if (tg_config_read_file(&config, config_file, &error) != TG_ERR_OK ||
               tg_config_complete(&config, &error) != TG_ERR_OK) {
        (void)fprintf(stderr, "tidegate: %s\n", error.text);
        status = TG_EXIT_FAILED;
    } else {
        tg_log_configure(TG_LOG_WARN, config.log_format);
        status = check_policy(&config);
    }
    tg_config_fini(&config);
    return status;
}
