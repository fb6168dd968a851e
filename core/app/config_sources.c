/* config_sources.c - see config_sources.h. */
#include "app/config_sources.h"

#include <uv.h>

#include "connection/id.h"
#include "script/config_file.h"

_Static_assert((int)TG_LEAF_STRING == (int)TG_CONFIG_STRING &&
                   (int)TG_LEAF_NUMBER == (int)TG_CONFIG_NUMBER &&
                   (int)TG_LEAF_BOOL == (int)TG_CONFIG_BOOL &&
                   (int)TG_LEAF_TABLE == (int)TG_CONFIG_TABLE,
               "script and ops count kinds of values alike");

enum tg_err tg_config_take_leaf(struct tg_config *config, const struct tg_config_leaf *leaf,
                                struct tg_error *error)
{
    struct tg_config_value value = {
        .kind = (enum tg_config_value_kind)leaf->kind,
        .string = leaf->string,
        .number = leaf->number,
        .flag = leaf->flag,
    };
    return tg_config_set_value(config, leaf->key, leaf->index, &value, leaf->where, error);
}

static enum tg_err take_leaf(void *ctx, const struct tg_config_leaf *leaf, struct tg_error *error)
{
    return tg_config_take_leaf(ctx, leaf, error);
}

enum tg_err tg_config_read_file(struct tg_config *config, const char *path, struct tg_error *error)
{
    return path == NULL ? TG_ERR_OK : tg_config_file_read(path, take_leaf, config, error);
}

enum tg_err tg_config_complete(struct tg_config *config, struct tg_error *error)
{
    if (config->workers == 0) {
        config->workers = uv_available_parallelism();
        if (config->workers > TG_WORKERS_MAX)
            config->workers = TG_WORKERS_MAX;
    }
    return tg_config_validate(config, error);
}
