/* findings.h - the findings of one check: collected, each once, sorted by place. */
#ifndef TG_SCRIPT_CHECK_FINDINGS_H
#define TG_SCRIPT_CHECK_FINDINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "script/policy/mistakes.h"

struct tg_findings {
    struct tg_finding *rows; /* owned, as are their strings */
    size_t count;
    size_t capacity;
    size_t errors;
    size_t warnings;
};

/* Copies the finding, unless one with its place and message is there: the more specific of the two codes
 * stays. Start-up memory rules: ends the process when memory is out. */
void tg_findings_add(struct tg_findings *findings, const struct tg_finding *finding);
/* Is there one at this place? */
bool tg_findings_at(const struct tg_findings *findings, const char *file, int line);
/* By file, with `first` before the others, then line and column. */
void tg_findings_sort(struct tg_findings *findings, const char *first);
void tg_findings_fini(struct tg_findings *findings);

#endif
