/* text_table.c - a list of cells that is printed in columns as wide as their widest. */
#include "app/text_table.h"

#include <string.h>

#include "app/terminal.h"
#include "base/memory.h"

#define GAP 2

void tg_text_table_add(struct tg_text_table *table, const char *text, size_t len)
{
    char *cell = tg_xcalloc(len + 1, 1);

    if (len > 0)
        memcpy(cell, text, len);
    if (table->count == table->capacity) {
        size_t capacity = table->capacity * 2 + 64;
        char **cells = tg_xcalloc(capacity, sizeof *cells);
        if (table->count > 0)
            memcpy(cells, table->cells, table->count * sizeof *cells);
        tg_free(table->cells);
        table->cells = cells;
        table->capacity = capacity;
    }
    table->cells[table->count++] = cell;
}

static size_t width_of(const struct tg_text_table *table, size_t column)
{
    size_t widest = 0;

    for (size_t i = column; i < table->count; i += table->columns) {
        size_t width = tg_terminal_width(table->cells[i], strlen(table->cells[i]));
        widest = width > widest ? width : widest;
    }
    return widest;
}

static void print_row(const struct tg_text_table *table, size_t first, const size_t *widths,
                      FILE *out)
{
    for (size_t column = 0; column < table->columns && first + column < table->count; column++) {
        const char *cell = table->cells[first + column];
        size_t len = strlen(cell);
        tg_terminal_write_line(out, cell, len);
        if (column + 1 < table->columns)
            (void)fprintf(out, "%*s", (int)(widths[column] + GAP - tg_terminal_width(cell, len)),
                          "");
    }
}

void tg_text_table_print(const struct tg_text_table *table, FILE *out, int indent, bool head,
                         bool colour)
{
    size_t widths[TG_TABLE_COLUMNS_MAX];

    for (size_t column = 0; column < table->columns; column++)
        widths[column] = width_of(table, column);
    for (size_t first = 0; first < table->count; first += table->columns) {
        bool dim = head && colour && first == 0;
        (void)fprintf(out, "%*s%s", indent, "", dim ? "\033[2m" : "");
        print_row(table, first, widths, out);
        (void)fputs(dim ? "\033[0m\n" : "\n", out);
    }
}

void tg_text_table_fini(struct tg_text_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        tg_free(table->cells[i]);
    tg_free(table->cells);
    *table = (struct tg_text_table){0};
}
