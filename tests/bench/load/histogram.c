/* histogram.c - see histogram.h. */
#include "histogram.h"

static unsigned bucket_of(uint64_t value)
{
    if (value < 32)
        return (unsigned)value;
    unsigned shift = 58 - (unsigned)__builtin_clzll(value); /* five bits below the first are kept */
    return (shift + 1) * 32 + (unsigned)(value >> shift) - 32;
}

static double value_of(unsigned bucket)
{
    if (bucket < 32)
        return bucket;
    return (double)(bucket % 32 + 32) * (double)(UINT64_C(1) << (bucket / 32 - 1));
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->counts[bucket_of(value)]++;
    histogram->total++;
    if (value > histogram->max)
        histogram->max = value;
}

double histogram_quantile(const struct histogram *histogram, double quantile)
{
    double wanted = quantile * (double)histogram->total;
    uint64_t seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen > 0 && (double)seen >= wanted)
            return value_of(i);
    }
    return 0;
}
