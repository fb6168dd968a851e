/* check_options.h - the flags of `check`. */
#ifndef TG_APP_CHECK_OPTIONS_H
#define TG_APP_CHECK_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "app/arguments.h"
#include "base/error.h"
#include "ops/config.h"

extern const struct tg_flag tg_check_flags[];

struct tg_check_settings {
    const char **policies; /* owned array; items borrowed from argv */
    size_t policy_count;
    char *config_file; /* borrowed from argv, or NULL */
    bool json;
    bool strict; /* warnings count as errors */
    bool no_luacheck;
    bool verbose;
    bool list_codes;
};

/* Applies environment and flags, as tg_run_options_parse does. On TG_ERR_INVALID error is fit for
 * tg_command_usage_error. tg_check_options_fini in any case. */
TG_MUST enum tg_err tg_check_options_parse(int argc, char **argv, struct tg_config *config,
                                           struct tg_check_settings *settings,
                                           struct tg_error *error);
void tg_check_options_fini(struct tg_check_settings *settings);

#endif
