/* units.h - durations and sizes as people write them: 500ms, 10s, 5m, 1h; 512, 64KiB, 1MiB, 2GiB.
 */
#ifndef TG_BASE_UNITS_H
#define TG_BASE_UNITS_H

#include <stdint.h>

#include "base/error.h"

/* A unit is required for durations ("0" alone is allowed) and optional for sizes (bytes).
 * Fractions are allowed ("1.5s"). KB/MB/GB are refused with a hint to use KiB/MiB/GiB. */
TG_MUST enum tg_err tg_duration_parse(const char *text, uint64_t *ms, struct tg_error *error);
TG_MUST enum tg_err tg_size_parse(const char *text, uint64_t *bytes, struct tg_error *error);

#endif
