/* figures.h - what is measured between a beginning and an end: operations, latencies, what the server used. */
#ifndef TG_TESTS_BENCH_LOAD_FIGURES_H
#define TG_TESTS_BENCH_LOAD_FIGURES_H

#include <stdint.h>

#include "histogram.h"
#include "process.h"

struct figures {
    pid_t server;                            /* 0: not looked at */
    uint64_t started_ns, opened_ns;          /* first connect; every client open, or 0 */
    uint64_t began_ns, ended_ns;             /* of what is measured */
    uint64_t operations;                     /* within it */
    struct usage at_start, at_begin, at_end; /* of the server */
    struct histogram latencies;
};

void figures_start(struct figures *figures, pid_t server);
void figures_begin(struct figures *figures, uint64_t now);
void figures_end(struct figures *figures, uint64_t now);
void figures_note(struct figures *figures, uint64_t latency_ns);
/* One JSON object on standard output. */
void figures_print(const struct figures *figures, uint32_t clients);

#endif
