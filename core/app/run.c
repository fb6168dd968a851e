/* run.c - `tidegate run`: configuration from all its sources, then a server until it is told to stop.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <uv.h>

#include "app/commands.h"
#include "app/config_sources.h"
#include "app/run_options.h"
#include "app/server/server.h"
#include "base/log.h"
#include "base/memory.h"

/* Every connection is a descriptor: take what the system allows without asking. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        tg_log(TG_LOG_WARN, "server.descriptor_limit", tg_log_uint("limit", limit.rlim_cur));
}

static int serve(const struct tg_config *config)
{
    struct tg_server *server = NULL;
    struct tg_error error = {0};
    if (tg_server_create(&server, config, &error) != TG_ERR_OK) {
        (void)fprintf(stderr, "tidegate: %s\n", error.text);
        return TG_EXIT_FAILED;
    }
    int status = tg_server_run(server);
    tg_server_destroy(server);
    return status;
}

int tg_command_run(int argc, char **argv)
{
    struct tg_config config;
    struct tg_error error = {0};
    char *config_file = NULL;
    int status;
    tg_config_init(&config);
    if (tg_run_options_parse(argc, argv, &config, &config_file, &error) != TG_ERR_OK) {
        status = tg_command_usage_error(argv[0], error.text);
    } else if (tg_config_read_file(&config, config_file, &error) != TG_ERR_OK ||
               tg_config_complete(&config, &error) != TG_ERR_OK) {
        (void)fprintf(stderr, "tidegate: %s\n", error.text);
        status = TG_EXIT_FAILED;
    } else {
        tg_log_configure(config.log_level, config.log_format);
        raise_descriptor_limit();
        tg_memory_keep_freed();
        status = serve(&config);
    }
    tg_config_fini(&config);
    return status;
}
