/* run_options.h - the flags of `run`, and the way they and the environment become configuration.
 */
#ifndef TG_APP_RUN_OPTIONS_H
#define TG_APP_RUN_OPTIONS_H

#include "app/arguments.h"
#include "base/error.h"
#include "ops/config.h"

extern const struct tg_flag tg_run_flags[];

/* Applies the environment and the flags of `run` to a configuration that tg_config_init made; the
 * sources keep their rank, so the caller reads the file after it. *config_file is borrowed from
 * argv, or NULL. On TG_ERR_INVALID error is fit for tg_command_usage_error. */
TG_MUST enum tg_err tg_run_options_parse(int argc, char **argv, struct tg_config *config,
                                         char **config_file, struct tg_error *error);
/* One KEY=VALUE of --set. */
TG_MUST enum tg_err tg_run_options_set_pair(struct tg_config *config, const char *pair,
                                            struct tg_error *error);

#endif
