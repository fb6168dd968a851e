/* log_capture.h - a log sink that keeps lines for a test to look at. One at a time in a process;
 * lines may come from any thread.
 */
#ifndef TG_TESTS_LOG_CAPTURE_H
#define TG_TESTS_LOG_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"

/* Takes over the process-wide sink at level debug, text format, and forgets earlier lines. */
void log_capture_start(void);
/* Gives standard error its lines back (level info) and frees what was kept. */
void log_capture_stop(void);
void log_capture_clear(void);

size_t log_capture_count(void);
/* The i-th line with its newline; NULL when there is none. Valid until clear or stop. */
const char *log_capture_line(size_t index);
/* The last line, or "". */
const char *log_capture_last(void);
/* Number of lines that contain `text`. */
size_t log_capture_matches(const char *text);
bool log_capture_has(const char *text);

#endif
