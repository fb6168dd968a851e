/* metrics_page.c - families and rows of the Prometheus text.
 *
 * Sums are taken while writing; nothing is kept between two scrapes. All of it writes what is asked,
 * zero or not, but tg__page_rows, _table and _histogram, which leave out what never happened.
 */
#include "ops/metrics_page.h"

#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"

uint64_t tg__page_sum(const struct tg__page *page, size_t offset)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < page->shard_count; i++) {
        const char *base = (const char *)page->shards[i] + offset;
        sum += tg_counter_get((const tg_counter *)(const void *)base);
    }
    return sum;
}

/* Label values: backslash, quote and newline escaped; bytes that are not UTF-8 become '?'. */
static void label_text(const char *text, char *out, size_t size)
{
    bool valid = tg_utf8_valid(text, strlen(text));
    size_t n = 0;

    for (; *text != '\0' && n + 3 < size; text++) {
        if (*text == '\n') {
            out[n++] = '\\';
            out[n++] = 'n';
            continue;
        }
        if (*text == '\\' || *text == '"')
            out[n++] = '\\';
        out[n++] = !valid && ((unsigned char)*text & 0x80) != 0 ? '?' : *text;
    }
    out[n] = '\0';
}

void tg__page_family(struct tg__page *page, const char *name, const char *type, const char *help)
{
    TG__EMIT(page, "# HELP tidegate_%s %s\n# TYPE tidegate_%s %s\n", name, help, name, type);
}

void tg__page_row(struct tg__page *page, const char *name, const char *label, const char *text,
                  uint64_t value)
{
    char escaped[192];

    label_text(text, escaped, sizeof escaped);
    TG__EMIT(page, "tidegate_%s{%s=\"%s\"} %" PRIu64 "\n", name, label, escaped, value);
}

void tg__page_row2(struct tg__page *page, const char *name, const char *const labels[2],
                   const char *const texts[2], uint64_t value)
{
    char first[192];
    char second[192];

    label_text(texts[0], first, sizeof first);
    label_text(texts[1], second, sizeof second);
    TG__EMIT(page, "tidegate_%s{%s=\"%s\",%s=\"%s\"} %" PRIu64 "\n", name, labels[0], first,
             labels[1], second, value);
}

void tg__page_rows(struct tg__page *page, const char *name, const struct tg__page_axis *axis,
                   const tg_counter *first)
{
    for (size_t i = 0; i < axis->count; i++) {
        uint64_t n = TG__SUM_OF(page, first[i]);
        if (n > 0)
            tg__page_row(page, name, axis->label, axis->texts[i], n);
    }
}

void tg__page_table(struct tg__page *page, const char *name, const struct tg__page_axis *rows,
                    const struct tg__page_axis *columns, const tg_counter *first)
{
    const char *const labels[2] = {rows->label, columns->label};

    for (size_t i = 0; i < rows->count * columns->count; i++) {
        uint64_t n = TG__SUM_OF(page, first[i]);
        if (n > 0)
            tg__page_row2(page, name, labels,
                          (const char *const[2]){rows->texts[i / columns->count],
                                                 columns->texts[i % columns->count]},
                          n);
    }
}

void tg__page_histogram(struct tg__page *page, const char *metric, const char *labels,
                        const struct tg_histogram *first)
{
    uint64_t counts[TG_METRICS_BUCKETS + 1];
    uint64_t total = 0;
    bool labelled = labels[0] != '\0';

    for (size_t i = 0; i <= TG_METRICS_BUCKETS; i++) {
        counts[i] = TG__SUM_OF(page, first->buckets[i]);
        total += counts[i];
    }
    if (total == 0)
        return;
    total = 0;
    for (size_t i = 0; i < TG_METRICS_BUCKETS; i++) {
        total += counts[i];
        TG__EMIT(page, "tidegate_%s_bucket{%s%sle=\"%.10g\"} %" PRIu64 "\n", metric, labels,
                 labelled ? "," : "", (double)tg_metrics_bucket_us[i] / 1e6, total);
    }
    total += counts[TG_METRICS_BUCKETS];
    TG__EMIT(page, "tidegate_%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", metric, labels,
             labelled ? "," : "", total);
    TG__EMIT(page, "tidegate_%s_sum%s%s%s %.6f\n", metric, labelled ? "{" : "", labels,
             labelled ? "}" : "", (double)TG__SUM_OF(page, first->sum_us) / 1e6);
    TG__EMIT(page, "tidegate_%s_count%s%s%s %" PRIu64 "\n", metric, labelled ? "{" : "", labels,
             labelled ? "}" : "", total);
}
