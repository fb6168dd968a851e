/* text_table.h - rows of texts in aligned columns. Aborts when memory is out, as start-up code may. */
#ifndef TG_APP_TEXT_TABLE_H
#define TG_APP_TEXT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TG_TABLE_COLUMNS_MAX 32

/* Zero-initialise, then set columns: 1 … TG_TABLE_COLUMNS_MAX. */
struct tg_text_table {
    size_t columns;
    char **cells; /* owned; row by row */
    size_t count;
    size_t capacity;
};

/* Fills the next cell; copies. Control characters are not shown. */
void tg_text_table_add(struct tg_text_table *table, const char *text, size_t len);
/* Behind `indent` blanks. head: the first row is one, and is dim where there are colours. */
void tg_text_table_print(const struct tg_text_table *table, FILE *out, int indent, bool head,
                         bool colour);
void tg_text_table_fini(struct tg_text_table *table);

#endif
