/* config_options.c - the free `options` table: a sorted array of leaves that policies read.
 *
 * A path names either a leaf or a table, never both: when two sources disagree the higher source
 * wins with all it says below that path, and among equals the later one.
 */
#include <string.h>

#include "base/memory.h"
#include "ops/config_internal.h"

/* "a.b" is below "a"; a path is not below itself. */
static bool is_below(const char *path, const char *above)
{
    size_t len = strlen(above);
    return strncmp(path, above, len) == 0 && path[len] == '.';
}

static bool collides(const char *a, const char *b)
{
    return strcmp(a, b) == 0 || is_below(a, b) || is_below(b, a);
}

static bool path_valid(const char *path)
{
    size_t len = strlen(path);
    return len > 0 && path[0] != '.' && path[len - 1] != '.' && strstr(path, "..") == NULL;
}

static void option_fini(struct tg_config_option *option)
{
    tg_free(option->path);
    tg_free(option->text);
}

static void remove_colliding(struct tg_config *config, const char *path)
{
    size_t kept = 0;

    for (size_t i = 0; i < config->options_count; i++) {
        if (collides(config->options[i].path, path))
            option_fini(&config->options[i]);
        else
            config->options[kept++] = config->options[i];
    }
    config->options_count = kept;
}

static void insert_sorted(struct tg_config *config, const struct tg_config_option *option)
{
    size_t count = config->options_count;
    size_t at = 0;
    struct tg_config_option *grown = tg_xcalloc(count + 1, sizeof *grown);

    while (at < count && strcmp(config->options[at].path, option->path) < 0)
        at++;
    if (at > 0)
        memcpy(grown, config->options, at * sizeof *grown);
    grown[at] = *option;
    if (at < count)
        memcpy(grown + at + 1, config->options + at, (count - at) * sizeof *grown);
    tg_free(config->options);
    config->options = grown;
    config->options_count = count + 1;
}

enum tg_err tg__option_set(struct tg_config *config, enum tg_config_source source, const char *path,
                           enum tg_option_kind kind, const char *text, struct tg_error *error)
{
    if (!path_valid(path))
        return tg_error_set(error, TG_ERR_INVALID,
                            "is no name for an option; write options.NAME or options.TABLE.NAME");
    for (size_t i = 0; i < config->options_count; i++) {
        if (config->options[i].source > source && collides(config->options[i].path, path))
            return TG_ERR_OK;
    }
    remove_colliding(config, path);
    insert_sorted(config, &(struct tg_config_option){
                              .path = tg_xstrdup(path),
                              .kind = kind,
                              .text = tg_xstrdup(text),
                              .source = source,
                          });
    return TG_ERR_OK;
}

void tg__options_fini(struct tg_config *config)
{
    for (size_t i = 0; i < config->options_count; i++)
        option_fini(&config->options[i]);
    tg_free(config->options);
    config->options = NULL;
    config->options_count = 0;
}
