/* metrics_page.h - what the writers of the Prometheus text share: the page, its families and rows. For
 * ops/metrics_text.c.
 */
#ifndef TG_OPS_METRICS_PAGE_H
#define TG_OPS_METRICS_PAGE_H

#include <inttypes.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/metrics.h"

struct tg_metrics_labels;

/* The first error stays and stops all further writing. Pointers are borrowed while it is written. */
struct tg__page {
    struct tg_buffer *out;
    const struct tg_metrics *const *shards;
    size_t shard_count; /* one at the least */
    const struct tg_metrics_labels *labels;
    enum tg_err err;
};

/* A label that goes with the index of an array of counters. */
struct tg__page_axis {
    const char *label;
    const char *const *texts; /* count of them */
    size_t count;
};

#define TG__EMIT(page, ...)                                                                        \
    do {                                                                                           \
        if ((page)->err == TG_ERR_OK)                                                              \
            (page)->err = tg_buffer_printf((page)->out, __VA_ARGS__);                              \
    } while (0)

/* A counter of one shard, found by its place in the struct, summed over all shards. */
uint64_t tg__page_sum(const struct tg__page *page, size_t offset);

#define TG__SUM(page, member) tg__page_sum(page, offsetof(struct tg_metrics, member))
/* For members that need an index known only when running. */
#define TG__SUM_OF(page, lvalue_of_first)                                                          \
    tg__page_sum(page, (size_t)((const char *)&(lvalue_of_first) - (const char *)(page)->shards[0]))

/* The # HELP and # TYPE lines. */
void tg__page_family(struct tg__page *page, const char *name, const char *type, const char *help);
void tg__page_row(struct tg__page *page, const char *name, const char *label, const char *text,
                  uint64_t value);
void tg__page_row2(struct tg__page *page, const char *name, const char *const labels[2],
                   const char *const texts[2], uint64_t value);
/* A row for each counter that is not zero; `first` is of the first shard. A table has the counters of
 * rows->texts[0] first. */
void tg__page_rows(struct tg__page *page, const char *name, const struct tg__page_axis *axis,
                   const tg_counter *first);
void tg__page_table(struct tg__page *page, const char *name, const struct tg__page_axis *rows,
                    const struct tg__page_axis *columns, const tg_counter *first);
/* `labels`: `hook="authenticate"`, or "". Nothing when nothing was observed. */
void tg__page_histogram(struct tg__page *page, const char *metric, const char *labels,
                        const struct tg_histogram *first);

/* Families whose rows have names that are met while the server runs. */
void tg__page_runs(struct tg__page *page);
void tg__page_denials(struct tg__page *page);

#endif
