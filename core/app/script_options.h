/* script_options.h - the configuration's free `options`, as script/ takes them.
 */
#ifndef TG_APP_SCRIPT_OPTIONS_H
#define TG_APP_SCRIPT_OPTIONS_H

#include "ops/config.h"
#include "script/policy/generation.h"

/* config->options_count items. Freed with tg_free; texts are borrowed from config. */
struct tg_script_option *tg_script_options_from(const struct tg_config *config);

#endif
