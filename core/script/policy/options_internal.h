/* options_internal.h - what reading declarations and completing values share. Only options*.c. */
#ifndef TG_SCRIPT_OPTIONS_INTERNAL_H
#define TG_SCRIPT_OPTIONS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

struct lua_State;
struct tg_mistakes;
struct tg_script_env;

#define TG_OPTION_PATH_SIZE 128
#define TG_OPTION_PLACE_SIZE 256
#define TG_OPTION_MISSING_MAX 16

enum tg_option_type {
    TG_OPTION_TYPE_STRING,
    TG_OPTION_TYPE_NUMBER,
    TG_OPTION_TYPE_BOOLEAN,
    TG_OPTION_TYPE_TABLE, /* of whatever names and values are given */
    TG_OPTION_TYPES
};
extern const char *const tg__option_type_names[TG_OPTION_TYPES];

struct tg_option_declaration {
    char path[TG_OPTION_PATH_SIZE];
    enum tg_option_type type;
    bool required;
    bool secret;
    int index; /* of its table */
};

struct tg_options_reading {
    struct lua_State *L;
    char where[TG_OPTION_PLACE_SIZE]; /* of what is looked at */
    struct tg_mistakes *mistakes;
    const struct tg_script_env *env;
    int values; /* index of the table behind tide.options */
    char missing[TG_OPTION_MISSING_MAX][TG_OPTION_PATH_SIZE];
    size_t missing_count;
};

/* Sets `where` to the place at which the entry file declares this option, or options as a whole (""). */
void tg__options_look_at(struct tg_options_reading *r, const char *path);
/* Gives the declared option the value that was given for it, or its default, or notes that it is missing. */
void tg__options_complete(struct tg_options_reading *r, const struct tg_option_declaration *d);
/* One mistake for all that is missing. */
void tg__options_report_missing(struct tg_options_reading *r);

#endif
