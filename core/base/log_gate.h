/* log_gate.h - keeps what peers can cause from filling the log: so many lines a second, and how many were
 * left out since the last one.
 */
#ifndef TG_BASE_LOG_GATE_H
#define TG_BASE_LOG_GATE_H

#include <stdbool.h>
#include <stdint.h>

/* One a place in the code and a worker; zero-initialise. */
struct tg_log_gate {
    uint64_t second;
    uint64_t lines;
    uint64_t left_out;
};

/* May a line be written now? Then *left_out says how many were not since the last that was. */
static inline bool tg_log_gate_pass(struct tg_log_gate *gate, uint64_t now_ms,
                                    uint64_t lines_per_second, uint64_t *left_out)
{
    uint64_t second = now_ms / 1000;

    if (gate->second != second) {
        gate->second = second;
        gate->lines = 0;
    }
    if (gate->lines >= lines_per_second) {
        gate->left_out++;
        return false;
    }
    gate->lines++;
    *left_out = gate->left_out;
    gate->left_out = 0;
    return true;
}

#endif
