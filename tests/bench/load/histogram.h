/* histogram.h - latencies in logarithmic buckets: 32 to each power of two, so within 3 % of the truth. */
#ifndef TG_TESTS_BENCH_LOAD_HISTOGRAM_H
#define TG_TESTS_BENCH_LOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS (64 * 32)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total, max;
};

void histogram_add(struct histogram *histogram, uint64_t value);
/* The value that `quantile` (0..1) of all do not exceed; 0 when there is none. */
double histogram_quantile(const struct histogram *histogram, double quantile);

#endif
