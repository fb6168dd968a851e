/* config_file.h - reads a configuration file: a Lua chunk that returns a table, run in a bare sandbox
 * (no library, no globals but string, math, table and the basic functions, under CPU and memory budget).
 */
#ifndef TG_SCRIPT_CONFIG_FILE_H
#define TG_SCRIPT_CONFIG_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum tg_config_leaf_kind { TG_LEAF_STRING, TG_LEAF_NUMBER, TG_LEAF_BOOL, TG_LEAF_TABLE };

/* One leaf of the table; an empty table is a leaf of kind TABLE. Borrowed until the sink returns. */
struct tg_config_leaf {
    const char *key; /* dotted path: "limits.max_message" */
    size_t index;    /* 1…n for an element of a list, else 0 */
    enum tg_config_leaf_kind kind;
    const char *string;
    double number;
    bool flag;
    const char *
        where; /* "tidegate.lua:12": the line of the key in the source where it can be found, else of the file */
};

/* Takes one leaf; an error ends the reading and is passed on with its text. */
typedef enum tg_err (*tg_config_leaf_fn)(void *ctx, const struct tg_config_leaf *leaf,
                                         struct tg_error *error);

/* Leaves come in a stable order (by key). Values that are no plain data are errors with their key. */
TG_MUST enum tg_err tg_config_file_read(const char *path, tg_config_leaf_fn fn, void *ctx,
                                        struct tg_error *error);

#endif
