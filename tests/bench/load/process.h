/* process.h - what another process has used, from /proc. */
#ifndef TG_TESTS_BENCH_LOAD_PROCESS_H
#define TG_TESTS_BENCH_LOAD_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

struct usage {
    uint64_t cpu_ns;             /* of all its threads, exact */
    uint64_t user_ns, system_ns; /* in clock ticks: for their share only */
    uint64_t resident;           /* bytes */
};

/* Zero for a process that cannot be read, or pid 0. */
struct usage process_usage(pid_t pid);

#endif
