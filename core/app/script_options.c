/* script_options.c - see script_options.h. */
#include "app/script_options.h"

#include "base/memory.h"

_Static_assert((int)TG_OPTION_STRING == (int)TG_SCRIPT_OPTION_STRING &&
                   (int)TG_OPTION_NUMBER == (int)TG_SCRIPT_OPTION_NUMBER &&
                   (int)TG_OPTION_BOOL == (int)TG_SCRIPT_OPTION_BOOL,
               "ops and script count option kinds alike");

struct tg_script_option *tg_script_options_from(const struct tg_config *config)
{
    struct tg_script_option *options = tg_xcalloc(config->options_count + 1, sizeof *options);
    for (size_t i = 0; i < config->options_count; i++) {
        const struct tg_config_option *from = &config->options[i];
        options[i] = (struct tg_script_option){
            .path = from->path,
            .kind = (enum tg_script_option_kind)from->kind,
            .text = from->text,
            .from_text = from->source == TG_SOURCE_ENV || from->source == TG_SOURCE_FLAG,
        };
    }
    return options;
}
