/* json_text.c - whatever the server tells of itself, laid out without knowing what it is.
 *
 *     version     3e976e631ef9            transitions
 *     loaded at   2026-11-22T07:25:21Z      from        to        at …
 *     agents      echo, supervisor          connecting  accepted  …
 *
 * Depth is bounded by the reader (TG_JSON_DEPTH_MAX).
 */
#include "app/json_text.h"

#include <string.h>

#include "app/terminal.h"
#include "app/text_table.h"

#define STEP 2

static bool append(struct tg_buffer *out, const char *text, size_t len)
{
    return tg_buffer_append(out, text, len) == TG_ERR_OK;
}

static bool append_line(const struct tg_json_value *value, struct tg_buffer *out);

/* `loaded_at` is "loaded at". */
static bool append_name(const struct tg_json_value *key, struct tg_buffer *out)
{
    size_t from = out->len;
    bool good = append_line(key, out);

    for (size_t i = from; i < out->len; i++) {
        char *c = (char *)tg_buffer_head(out) + i;
        if (*c == '_')
            *c = ' ';
    }
    return good;
}

static size_t count_members(const struct tg_json_value *container)
{
    struct tg_json_value key;
    struct tg_json_value value;
    size_t cursor = 0;
    size_t count = 0;

    while (tg_json_next(container, &cursor, &key, &value))
        count++;
    return count;
}

static bool append_members(const struct tg_json_value *container, struct tg_buffer *out)
{
    size_t count = count_members(container);
    bool named = container->kind == TG_JSON_OBJECT && count > 2;
    const char *separator = container->kind == TG_JSON_OBJECT && !named ? " " : ", ";
    struct tg_json_value key;
    struct tg_json_value value;
    size_t cursor = 0;
    bool good = count > 0 || append(out, "-", 1);

    for (size_t i = 0; good && tg_json_next(container, &cursor, &key, &value); i++) {
        if (i > 0)
            good = append(out, separator, strlen(separator));
        if (good && named)
            good = append_name(&key, out) && append(out, " ", 1);
        good = good && append_line(&value, out);
    }
    return good;
}

static bool append_line(const struct tg_json_value *value, struct tg_buffer *out)
{
    switch (value->kind) {
    case TG_JSON_NONE:
    case TG_JSON_NULL:
        return append(out, "-", 1);
    case TG_JSON_STRING:
        return value->len == 2 ? append(out, "-", 1)
                               : tg_json_decode_string(value, out) == TG_ERR_OK;
    case TG_JSON_BOOL:
        return tg_json_true(value) ? append(out, "yes", 3) : append(out, "no", 2);
    case TG_JSON_NUMBER:
        return append(out, value->raw, value->len);
    case TG_JSON_ARRAY:
    case TG_JSON_OBJECT:
        return append_members(value, out);
    }
    return false;
}

void tg_json_text_line(const struct tg_json_value *value, struct tg_buffer *out)
{
    (void)append_line(value, out);
}

static void add_cell(struct tg_text_table *table, const struct tg_json_value *value, bool is_name)
{
    struct tg_buffer line = TG_BUFFER_INIT;

    if (is_name)
        (void)append_name(value, &line);
    else
        tg_json_text_line(value, &line);
    tg_text_table_add(table, (const char *)tg_buffer_head(&line), line.len);
    tg_buffer_fini(&line);
}

/* What one line cannot show. */
static bool is_block(const struct tg_json_value *value)
{
    struct tg_json_value key;
    struct tg_json_value element;
    size_t cursor = 0;

    if (!tg_json_next(value, &cursor, &key, &element))
        return false;
    return value->kind == TG_JSON_OBJECT || element.kind == TG_JSON_OBJECT;
}

/* A list of objects: the members of the first are the columns. */
static void print_rows(const struct tg_json_value *list, FILE *out, int indent, bool colour)
{
    struct tg_text_table table = {.columns = 0};
    struct tg_json_value key;
    struct tg_json_value row;
    struct tg_json_value name;
    struct tg_json_value value;
    char names[TG_TABLE_COLUMNS_MAX][64];
    size_t cursor = 0;
    size_t at = 0;

    if (!tg_json_next(list, &cursor, &key, &row))
        return;
    while (table.columns < TG_TABLE_COLUMNS_MAX && tg_json_next(&row, &at, &name, &value)) {
        if (tg_json_copy_string(&name, names[table.columns], sizeof names[0]) != TG_ERR_OK)
            continue;
        table.columns++;
        add_cell(&table, &name, true);
    }
    cursor = 0;
    while (table.columns > 0 && tg_json_next(list, &cursor, &key, &row)) {
        for (size_t i = 0; i < table.columns; i++) {
            value = tg_json_member(&row, names[i]);
            add_cell(&table, &value, false);
        }
    }
    tg_text_table_print(&table, out, indent, true, colour);
    tg_text_table_fini(&table);
}

static void print_object(const struct tg_json_value *object, FILE *out, int indent, bool colour)
{
    struct tg_text_table table = {.columns = 2};
    struct tg_json_value key;
    struct tg_json_value value;
    size_t cursor = 0;

    while (tg_json_next(object, &cursor, &key, &value)) {
        if (is_block(&value))
            continue;
        add_cell(&table, &key, true);
        add_cell(&table, &value, false);
    }
    tg_text_table_print(&table, out, indent, false, colour);
    tg_text_table_fini(&table);
    cursor = 0;
    while (tg_json_next(object, &cursor, &key, &value)) {
        struct tg_buffer name = TG_BUFFER_INIT;
        if (!is_block(&value))
            continue;
        (void)append_name(&key, &name);
        (void)fprintf(out, "%*s", indent, "");
        tg_terminal_write_line(out, (const char *)tg_buffer_head(&name), name.len);
        (void)fputc('\n', out);
        tg_buffer_fini(&name);
        if (value.kind == TG_JSON_OBJECT)
            print_object(&value, out, indent + STEP, colour);
        else
            print_rows(&value, out, indent + STEP, colour);
    }
}

void tg_json_text_print(const struct tg_json_value *object, FILE *out, bool colour)
{
    print_object(object, out, 0, colour);
}
