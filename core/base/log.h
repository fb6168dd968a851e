/* log.h - one line an event: a name, then key=value pairs.
 *
 *     2026-01-02T03:04:05.678Z info  conn.close id=ws_… code=1009 reason="message too big"
 *
 * Levels: error = an operator must act; warn = degraded; info = lifecycle; debug = per message.
 * Never payloads, never secrets. Values are escaped here, so that no value can forge a line.
 * The sink is process-wide, set once before threads start (tests set their own); writing a line is
 * one write(2), so lines of several threads never mix.
 */
#ifndef TG_BASE_LOG_H
#define TG_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum tg_log_level { TG_LOG_ERROR, TG_LOG_WARN, TG_LOG_INFO, TG_LOG_DEBUG };
enum tg_log_format { TG_LOG_TEXT, TG_LOG_JSON };

enum tg_log_kind { TG_FIELD_STR, TG_FIELD_INT, TG_FIELD_UINT, TG_FIELD_REAL, TG_FIELD_BOOL };

/* One key=value. Borrows key and string until tg_log_write returns. */
struct tg_log_field {
    const char *key;
    enum tg_log_kind kind;
    union {
        struct {
            const char *data;
            size_t len;
        } str;
        int64_t i;
        uint64_t u;
        double real;
        bool flag;
    } value;
};

/* Makers for fields; tg_log_str takes NULL as "". */
struct tg_log_field tg_log_str(const char *key, const char *value);
struct tg_log_field tg_log_strn(const char *key, const char *data, size_t len);
struct tg_log_field tg_log_int(const char *key, int64_t value);
struct tg_log_field tg_log_uint(const char *key, uint64_t value);
struct tg_log_field tg_log_real(const char *key, double value);
struct tg_log_field tg_log_bool(const char *key, bool value);

/* The sink gets one finished line, newline included. May be called from any thread. */
typedef void (*tg_log_sink_fn)(void *ctx, enum tg_log_level level, const char *line, size_t len);

/* Before threads start. sink NULL restores the default: one write(2) to standard error. */
void tg_log_configure(enum tg_log_level level, enum tg_log_format format);
void tg_log_set_sink(tg_log_sink_fn sink, void *ctx);

bool tg_log_enabled(enum tg_log_level level);

/* Writes one line. `event` is a static dotted name such as "conn.close". A line longer than 8 KiB
 * is cut and marked. Never fails. */
void tg_log_write(enum tg_log_level level, const char *event, const struct tg_log_field *fields,
                  size_t count);

/* tg_log(TG_LOG_INFO, "conn.open", tg_log_str("id", id), tg_log_uint("worker", 1)); fields are not
 * evaluated when the level is off. */
#define tg_log(level, event, ...)                                                                  \
    do {                                                                                           \
        if (tg_log_enabled(level)) {                                                               \
            const struct tg_log_field tg_log_fields_[] = {__VA_ARGS__};                            \
            tg_log_write(level, event, tg_log_fields_,                                             \
                         sizeof tg_log_fields_ / sizeof tg_log_fields_[0]);                        \
        }                                                                                          \
    } while (0)

/* "error", "warn", "info", "debug" -> level; TG_ERR_INVALID for anything else. */
TG_MUST enum tg_err tg_log_level_parse(const char *text, enum tg_log_level *out);

#endif
