/* config_sources.h - the configuration file and the values that depend on the machine.
 */
#ifndef TG_APP_CONFIG_SOURCES_H
#define TG_APP_CONFIG_SOURCES_H

#include "base/error.h"
#include "ops/config.h"
#include "script/config_file.h"

/* Reads the Lua file into config; path NULL: nothing to read. */
TG_MUST enum tg_err tg_config_read_file(struct tg_config *config, const char *path,
                                        struct tg_error *error);
/* One value of it. */
TG_MUST enum tg_err tg_config_take_leaf(struct tg_config *config, const struct tg_config_leaf *leaf,
                                        struct tg_error *error);
/* Fills in workers = 0 (one per core) and checks the whole. */
TG_MUST enum tg_err tg_config_complete(struct tg_config *config, struct tg_error *error);

#endif
