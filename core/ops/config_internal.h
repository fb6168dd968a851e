/* config_internal.h - what the config*.c files share: the row behind each key, and parsed values.
 */
#ifndef TG_OPS_CONFIG_INTERNAL_H
#define TG_OPS_CONFIG_INTERNAL_H

#include "ops/config.h"

enum tg__kind {
    TG__TEXT,
    TG__SECRET, /* text that no message repeats */
    TG__ADDRESS_OR_OFF,
    TG__ADDRESSES,
    TG__ORIGINS,
    TG__FILES,
    TG__NAMES,
    TG__RANGES,
    TG__COUNT,
    TG__SIZE,
    TG__DURATION,
    TG__RATE,
    TG__BOOL,
    TG__LOG_LEVEL,
    TG__LOG_FORMAT,
    TG__ON_DISCONNECT,
    TG__CLIENT_AUTH,
    TG__TLS_VERSION
};

/* How the text of a key becomes a field; same place as its tg_config_row. */
struct tg__row {
    enum tg__kind kind;
    size_t offset; /* of the field in struct tg_config */
    uint64_t min;
    uint64_t max;
    const char *zero_word; /* a word that stands for 0, or NULL */
};

extern const struct tg__row tg__rows[];
extern const struct tg_config_row tg__shown_rows[];
extern const size_t tg__row_count;

/* Place of the row, or tg__row_count. */
size_t tg__row_find(const char *key);
/* True when some key, or the free table, lies below `key` ("limits", "options"). */
bool tg__row_is_section(const char *key);
/* The key that was probably meant, or NULL. */
const char *tg__row_suggest(const char *key);

static inline bool tg__is_list(enum tg__kind kind)
{
    return kind == TG__ADDRESSES || kind == TG__ORIGINS || kind == TG__RANGES ||
           kind == TG__FILES || kind == TG__NAMES;
}

/* A parsed value that no field has taken yet. */
struct tg__value {
    uint64_t number; /* COUNT, SIZE, DURATION, BOOL and the choices */
    struct tg_rate rate;
    char *text; /* owned; TEXT, SECRET, ADDRESS_OR_OFF */
    struct tg_strings list;
};

/* error says what is wrong and what a good value looks like; the caller puts the key before it. */
TG_MUST enum tg_err tg__value_parse(const struct tg__row *row, const char *text,
                                    struct tg__value *out, struct tg_error *error);
void tg__value_fini(struct tg__value *value);
/* Moves the value into its field. With `append` a list grows instead of being replaced. */
void tg__value_store(struct tg_config *config, const struct tg__row *row, struct tg__value *value,
                     bool append);
/* The words of a choice or a bool, in the order of its enum. */
size_t tg__choices_of(enum tg__kind kind, const char *const **words);
/* "a duration such as 500ms, 10s, 5m or 1h" */
void tg__value_expected(const struct tg__row *row, char *out, size_t size);

/* The value in quotes, cut when long, control characters as '?'. */
#define TG__QUOTED_SIZE 80
void tg__quote(const char *text, char out[TG__QUOTED_SIZE]);

void tg__strings_push(struct tg_strings *strings, const char *text, size_t len);
void tg__strings_fini(struct tg_strings *strings);

/* One leaf of the free table; `path` without "options.". */
TG_MUST enum tg_err tg__option_set(struct tg_config *config, enum tg_config_source source,
                                   const char *path, enum tg_option_kind kind, const char *text,
                                   struct tg_error *error);
void tg__options_fini(struct tg_config *config);

/* tg_config_set_text that names in errors where the value comes from; NULL: nowhere special. */
TG_MUST enum tg_err tg__config_set(struct tg_config *config, enum tg_config_source source,
                                   const char *key, const char *value, const char *where,
                                   struct tg_error *error);

#endif
