/* findings.c - the findings of one check: collected, each once, sorted by place. */
#include "script/check/findings.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static void free_text(const char *text)
{
    tg_free((void *)(uintptr_t)text);
}

/* What loading the policy raised is found by its text, too, and then with a column. */
static bool is_general(const struct tg_finding *finding)
{
    return strcmp(finding->code, "load-failed") == 0;
}

static struct tg_finding *find_same(struct tg_findings *findings, const struct tg_finding *finding)
{
    for (size_t i = 0; i < findings->count; i++) {
        struct tg_finding *row = &findings->rows[i];
        if (row->line == finding->line && strcmp(row->file, finding->file) == 0 &&
            strcmp(row->message, finding->message) == 0)
            return row;
    }
    return NULL;
}

static struct tg_finding copy_of(const struct tg_finding *finding)
{
    struct tg_finding copy = *finding;

    copy.code = tg_xstrdup(finding->code);
    copy.file = tg_xstrdup(finding->file);
    copy.message = tg_xstrdup(finding->message);
    copy.hint = tg_xstrdup(finding->hint);
    return copy;
}

static void free_row(struct tg_finding *row)
{
    free_text(row->code);
    free_text(row->file);
    free_text(row->message);
    free_text(row->hint);
}

static void count_row(struct tg_findings *findings, const struct tg_finding *row, size_t by)
{
    size_t *counter = row->severity == TG_SEVERITY_ERROR ? &findings->errors : &findings->warnings;

    *counter += by;
}

static void append(struct tg_findings *findings, const struct tg_finding *finding)
{
    if (findings->count == findings->capacity) {
        size_t capacity = findings->capacity == 0 ? 16 : findings->capacity * 2;
        struct tg_finding *rows = tg_xcalloc(capacity, sizeof *rows);
        if (findings->count > 0)
            memcpy(rows, findings->rows, findings->count * sizeof *rows);
        tg_free(findings->rows);
        findings->rows = rows;
        findings->capacity = capacity;
    }
    findings->rows[findings->count++] = copy_of(finding);
    count_row(findings, finding, 1);
}

void tg_findings_add(struct tg_findings *findings, const struct tg_finding *finding)
{
    struct tg_finding *same = find_same(findings, finding);

    if (same == NULL) {
        append(findings, finding);
    } else if (is_general(same) && !is_general(finding)) {
        struct tg_finding merged = copy_of(finding);
        merged.severity = same->severity; /* it did end the load */
        free_row(same);
        *same = merged;
    }
}

bool tg_findings_at(const struct tg_findings *findings, const char *file, int line)
{
    for (size_t i = 0; i < findings->count; i++) {
        if (findings->rows[i].line == line && strcmp(findings->rows[i].file, file) == 0)
            return true;
    }
    return false;
}

/* qsort takes no context, and the entry file's findings come first. */
static _Thread_local const char *first_file;

static int compare_rows(const void *a, const void *b)
{
    const struct tg_finding *x = a, *y = b;
    bool x_first = strcmp(x->file, first_file) == 0, y_first = strcmp(y->file, first_file) == 0;

    if (x_first != y_first)
        return x_first ? -1 : 1;
    int order = strcmp(x->file, y->file);
    if (order == 0)
        order = (x->line > y->line) - (x->line < y->line);
    if (order == 0)
        order = (x->column > y->column) - (x->column < y->column);
    if (order == 0)
        order = strcmp(x->code, y->code);
    return order != 0 ? order : strcmp(x->message, y->message);
}

void tg_findings_sort(struct tg_findings *findings, const char *first)
{
    first_file = first;
    if (findings->count > 1)
        qsort(findings->rows, findings->count, sizeof *findings->rows, compare_rows);
    first_file = NULL;
}

void tg_findings_fini(struct tg_findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        free_row(&findings->rows[i]);
    tg_free(findings->rows);
    *findings = (struct tg_findings){.rows = NULL};
}
