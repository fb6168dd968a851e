/* check.c - `tidegate check`: loads policies as a worker would, without serving, and tells what is wrong.
 */
#include <stdio.h>
#include <string.h>

#include "app/check/check_options.h"
#include "app/check/check_print.h"
#include "app/check/luacheck.h"
#include "app/commands.h"
#include "app/config_sources.h"
#include "app/script_options.h"
#include "app/server/layers.h"
#include "base/log.h"
#include "base/memory.h"
#include "script/call/budget.h"
#include "script/check/check.h"
#include "script/check/codes.h"

static int list_codes(void)
{
    size_t count;
    const struct tg_check_code *rows = tg_check_codes(&count);

    for (size_t i = 0; i < count; i++)
        (void)printf("%-18s  %-7s  %s\n", rows[i].code,
                     rows[i].severity == TG_SEVERITY_ERROR ? "error" : "warning", rows[i].meaning);
    (void)printf("%-18s  %-7s  %s\n", "luacheck-W…", "warning",
                 "what luacheck says, by its number");
    return TG_EXIT_OK;
}

struct checking {
    const struct tg_check_settings *settings;
    struct tg_script_env env;
    bool has_origins;
    bool told_of_luacheck;
    struct tg_json_writer json; /* with --format json */
};

/* Said once, whatever the number of policies. */
static void tell_of_luacheck(struct checking *checking, enum tg_luacheck result)
{
    if (!checking->settings->verbose || checking->settings->json || checking->told_of_luacheck)
        return;
    checking->told_of_luacheck = true;
    if (result == TG_LUACHECK_ABSENT)
        (void)puts("luacheck: not installed (Debian: lua-check)");
    else
        (void)puts(result == TG_LUACHECK_DONE ? "luacheck: ran" : "luacheck: did not answer");
}

static int check_one(struct checking *checking, const char *policy)
{
    struct tg_error error = {.code = TG_ERR_OK};
    struct tg_check check = {
        .policy = policy, .env = &checking->env, .has_origins = checking->has_origins};
    enum tg_luacheck luacheck = TG_LUACHECK_ABSENT;
    int status = TG_EXIT_USAGE;

    if (tg_check_run(&check, &error) != TG_ERR_OK) {
        (void)fprintf(stderr, "tidegate: %s\n", error.text);
    } else {
        if (!checking->settings->no_luacheck) {
            luacheck = tg_luacheck_run(&check);
            tell_of_luacheck(checking, luacheck);
        }
        if (checking->settings->json)
            tg_check_print_json(&checking->json, &check, luacheck == TG_LUACHECK_DONE,
                                checking->settings->strict);
        else
            tg_check_print_text(stdout, &check, checking->settings->verbose);
        status = tg_check_passed(&check, checking->settings->strict) ? TG_EXIT_OK : TG_EXIT_FAILED;
    }
    tg_check_fini(&check);
    return status;
}

/* One policy is one document; several are in the list `policies` of one. */
static int check_all(struct checking *checking)
{
    const struct tg_check_settings *settings = checking->settings;
    bool list = settings->json && settings->policy_count > 1;
    int status = TG_EXIT_OK;

    if (list) {
        tg_json_begin_object(&checking->json);
        tg_json_key(&checking->json, "policies");
        tg_json_begin_array(&checking->json);
    }
    for (size_t i = 0; i < settings->policy_count; i++) {
        int one = check_one(checking, settings->policies[i]);
        status = one > status ? one : status;
    }
    if (list) {
        tg_json_end_array(&checking->json);
        tg_json_member_bool(&checking->json, "ok", status == TG_EXIT_OK);
        tg_json_end_object(&checking->json);
    }
    return status;
}

static int check_on_budget(const struct tg_config *config, const struct tg_check_settings *settings)
{
    struct tg_error error = {.code = TG_ERR_OK};
    struct tg_script_option *options = tg_script_options_from(config);
    struct tg_buffer out = TG_BUFFER_INIT;
    struct tg_meter *meter = NULL;
    struct checking checking = {
        .settings = settings,
        .env = {.wall_budget_ms = config->script_wall_budget_ms,
                .memory_max = config->script_memory,
                .options = options,
                .option_count = config->options_count,
                .server = tg_layers_script_server(config),
                .programs = tg_layers_script_programs(config)},
        .has_origins = config->allowed_origins.count > 0,
        .json = tg_json_writer_on(&out),
    };
    int status = TG_EXIT_USAGE;

    checking.env.server.client_auth = NULL; /* nobody listens */
    if (tg_watchdog_start(&error) != TG_ERR_OK) {
        (void)fprintf(stderr, "tidegate: %s\n", error.text);
    } else {
        if (tg_meter_create(&meter, config->script_cpu_budget_ms) == TG_ERR_OK) {
            checking.env.meter = meter;
            status = check_all(&checking);
        }
        tg_meter_destroy(meter);
        tg_watchdog_stop();
    }
    if (out.len > 0)
        (void)printf("%.*s\n", (int)out.len, (const char *)tg_buffer_head(&out));
    tg_buffer_fini(&out);
    tg_free(options);
    return status;
}

int tg_command_check(int argc, char **argv)
{
    struct tg_config config;
    struct tg_check_settings settings;
    struct tg_error error = {.code = TG_ERR_OK};
    const char *configured[1];
    int status;

    tg_config_init(&config);
    if (tg_check_options_parse(argc, argv, &config, &settings, &error) != TG_ERR_OK) {
        status = tg_command_usage_error(argv[0], error.text);
    } else if (settings.list_codes) {
        status = list_codes();
    } else if (tg_config_read_file(&config, settings.config_file, &error) != TG_ERR_OK ||
               tg_config_complete(&config, &error) != TG_ERR_OK) {
        (void)fprintf(stderr, "tidegate: %s\n", error.text);
        status = TG_EXIT_USAGE;
    } else if (settings.policy_count == 0 && (config.policy == NULL || config.policy[0] == '\0')) {
        status = tg_command_usage_error(argv[0], "which policy? Name a file or a folder");
    } else {
        struct tg_check_settings all = settings;
        configured[0] = config.policy;
        if (all.policy_count == 0) {
            all.policies = configured;
            all.policy_count = 1;
        }
        tg_log_configure(config.log_level, config.log_format);
        status = check_on_budget(&config, &all);
    }
    tg_check_options_fini(&settings);
    tg_config_fini(&config);
    return status;
}
