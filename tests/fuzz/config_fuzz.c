/* config_fuzz.c - lines "KEY=VALUE" into a configuration, each from another source; what is refused must
 * change nothing and say why, and what was taken must stand the checks of the whole without harm.
 *
 * The first byte of a line picks the source and how it is given: as text, as a leaf of a file, as an
 * environment variable.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/config.h"

#define LINE_MAX_BYTES 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static enum tg_err set_leaf(struct tg_config *config, uint8_t how, const char *key,
                            const char *value, struct tg_error *error)
{
    struct tg_config_value leaf = {
        .kind = (enum tg_config_value_kind)(how >> 4 & 3),
        .string = value,
        .number = strtod(value, NULL),
        .flag = value[0] == 't',
    };
    return tg_config_set_value(config, key, how >> 6, &leaf, "tidegate.lua:7", error);
}

static enum tg_err set_variable(struct tg_config *config, const char *key, const char *value,
                                struct tg_error *error)
{
    char text[2 * LINE_MAX_BYTES + 16];
    char *environment[] = {text, NULL};

    (void)snprintf(text, sizeof text, "TIDEGATE_%s=%s", key, value);
    return tg_config_read_environment(config, environment, error);
}

static void set(struct tg_config *config, uint8_t how, const char *key, const char *value)
{
    struct tg_error error = {0};
    uint8_t before[sizeof *config];
    enum tg_err err;

    memcpy(before, config, sizeof before);
    switch (how & 3) {
    case 0:
        err = tg_config_set_text(config, TG_SOURCE_FLAG, key, value, &error);
        break;
    case 1:
        err = set_variable(config, key, value, &error);
        break;
    case 2:
        err = set_leaf(config, how, key, value, &error);
        break;
    default:
        err = tg_config_add_listen(config, value, &error);
    }
    if (err == TG_ERR_OK)
        return;
    require(err == TG_ERR_INVALID);
    require(error.text[0] != '\0' && memchr(error.text, '\0', sizeof error.text) != NULL);
    require(memcmp(before, (const uint8_t *)config, sizeof before) == 0);
    require(strcmp(key, "admin_token") != 0 || strlen(value) < 16 ||
            strstr(error.text, value) == NULL);
}

static void check_bounds(const struct tg_config *config)
{
    require(config->max_message >= 128 && config->inbox_messages >= 1);
    require(config->compression_window_bits >= 9 && config->compression_window_bits <= 15);
    require(config->handshake_timeout_ms >= 1 && config->script_memory >= 1024 * 1024);
    for (size_t i = 0; i < config->listen.count; i++)
        require(config->listen.items[i] != NULL);
    for (size_t i = 0; i < config->options_count; i++) {
        const struct tg_config_option *option = &config->options[i];
        require(option->path != NULL && option->text != NULL);
        require(i == 0 || strcmp(config->options[i - 1].path, option->path) < 0);
    }
}

static void take_line(struct tg_config *config, const uint8_t *line, size_t len)
{
    char text[LINE_MAX_BYTES + 1];

    if (len < 2 || len > LINE_MAX_BYTES)
        return;
    memcpy(text, line, len);
    text[len] = '\0';
    char *key = text + 1;
    char *value = strchr(key, '=');
    if (value == NULL)
        value = text + strlen(text);
    else
        *value++ = '\0';
    set(config, line[0], key, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_config config;
    struct tg_error error = {0};

    tg_config_init(&config);
    check_bounds(&config);
    while (size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t len = end == NULL ? size : (size_t)(end - data);
        take_line(&config, data, len);
        size_t step = end == NULL ? len : len + 1;
        data += step;
        size -= step;
    }
    check_bounds(&config);
    if (tg_config_validate(&config, &error) != TG_ERR_OK)
        require(error.text[0] != '\0');
    tg_config_fini(&config);
    return 0;
}
