/* config_file_fuzz.c - any bytes as a configuration file: refused with its reason and place, or leaves of
 * plain data in a stable order, which go into a configuration.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ops/config.h"
#include "script/config_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
    struct tg_config config;
    char last[256];
    size_t leaves;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static enum tg_err on_leaf(void *ctx, const struct tg_config_leaf *leaf, struct tg_error *error)
{
    struct reading *reading = ctx;
    struct tg_config_value value = {
        .kind = (enum tg_config_value_kind)leaf->kind,
        .string = leaf->string,
        .number = leaf->number,
        .flag = leaf->flag,
    };

    reading->leaves++;
    require(leaf->key != NULL && leaf->key[0] != '\0' && leaf->where != NULL);
    require(leaf->kind != TG_LEAF_STRING || leaf->string != NULL);
    require(leaf->index > 0 || strcmp(reading->last, leaf->key) != 0);
    (void)snprintf(reading->last, sizeof reading->last, "%s", leaf->key);
    return tg_config_set_value(&reading->config, leaf->key, leaf->index, &value, leaf->where,
                               error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct reading reading = {.leaves = 0};
    struct tg_error error = {0};
    char path[64];

    if (fd == -1)
        fd = memfd_create("tidegate.lua", MFD_CLOEXEC);
    require(fd != -1 && ftruncate(fd, 0) == 0);
    require(pwrite(fd, data, size, 0) == (ssize_t)size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    tg_config_init(&reading.config);
    if (tg_config_file_read(path, on_leaf, &reading, &error) != TG_ERR_OK)
        require(error.text[0] != '\0');
    tg_config_fini(&reading.config);
    return 0;
}
