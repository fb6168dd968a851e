/* log.c - one line an event, finished in an array of its own and handed to the sink in one piece.
 *
 * A line is built up to LIMIT; the rest of the array is kept for closing a string, the mark of a cut
 * line and the newline, so that a cut JSON line is still valid JSON. Values may hold anything: what
 * could forge a line, or what a terminal would act on or hide behind, is escaped. Keys may come from
 * scripts and are reduced to letters, digits and "_.-".
 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

#define LINE_MAX_BYTES 8192
#define RESERVE 32
#define LIMIT (LINE_MAX_BYTES - RESERVE)
#define KEY_MAX 64

struct line {
    enum tg_log_format format;
    bool cut;
    size_t len;
    char data[LINE_MAX_BYTES];
};

static const char *const level_names[] = {[TG_LOG_ERROR] = "error",
                                          [TG_LOG_WARN] = "warn",
                                          [TG_LOG_INFO] = "info",
                                          [TG_LOG_DEBUG] = "debug"};
#define LEVELS (sizeof level_names / sizeof level_names[0])

static void write_stderr(void *ctx, enum tg_log_level level, const char *line, size_t len)
{
    (void)ctx;
    (void)level;
    while (len > 0) {
        ssize_t written = write(STDERR_FILENO, line, len);
        if (written == -1 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        line += written;
        len -= (size_t)written;
    }
}

static struct {
    _Atomic int level;
    enum tg_log_format format;
    tg_log_sink_fn sink;
    void *ctx; /* borrowed until the sink is replaced */
} log_output = {.level = TG_LOG_INFO, .format = TG_LOG_TEXT, .sink = write_stderr};

/* Appends all of it, or nothing and marks the line as cut. The line may be past LIMIT already: the
 * closing quote of a string that just fitted goes to the reserve. */
static bool put(struct line *line, const char *data, size_t len)
{
    if (line->cut || line->len > LIMIT || len > LIMIT - line->len) {
        line->cut = true;
        return false;
    }
    memcpy(line->data + line->len, data, len);
    line->len += len;
    return true;
}

/* For what closes a line: goes to the reserve, so it always fits. */
static void put_closing(struct line *line, const char *text)
{
    size_t len = strlen(text);
    memcpy(line->data + line->len, text, len);
    line->len += len;
}

/* Characters that move the cursor, end a line for some reader, or reorder what people see. */
static bool is_deceptive(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c <= 0x9F) || (c >= 0x200E && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

static size_t format_escape(char out[8], uint32_t c)
{
    static const char names[] = {
        ['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\'};
    int len = c < sizeof names && names[c] != '\0' ? snprintf(out, 8, "\\%c", names[c])
                                                   : snprintf(out, 8, "\\u%04x", (unsigned)c);
    return (size_t)len;
}

static size_t format_bad_byte(char out[8], enum tg_log_format format, uint8_t byte)
{
    return (size_t)(format == TG_LOG_JSON ? snprintf(out, 8, "\\ufffd")
                                          : snprintf(out, 8, "\\x%02x", byte));
}

static void put_quoted(struct line *line, const char *data, size_t len)
{
    if (!put(line, "\"", 1))
        return;
    for (size_t at = 0; at < len;) {
        uint32_t c = 0;
        size_t bytes = tg_utf8_next(data + at, len - at, &c);
        char escape[8];
        bool fits;
        if (bytes == 0)
            fits = put(line, escape, format_bad_byte(escape, line->format, (uint8_t)data[at]));
        else if (is_deceptive(c) || c == '"' || c == '\\')
            fits = put(line, escape, format_escape(escape, c));
        else
            fits = put(line, data + at, bytes);
        if (!fits)
            break;
        at += bytes == 0 ? 1 : bytes;
    }
    put_closing(line, "\"");
}

static bool is_bare(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = data[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return len > 0;
}

static void put_string(struct line *line, const char *data, size_t len)
{
    if (line->format == TG_LOG_TEXT && len <= LIMIT && is_bare(data, len))
        put(line, data, len);
    else
        put_quoted(line, data, len);
}

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

/* A key of the line's own gets a mark, so that no field can stand in for the level or the event. */
static bool is_reserved(const char *key)
{
    return strcmp(key, "time") == 0 || strcmp(key, "level") == 0 || strcmp(key, "event") == 0 ||
           strcmp(key, "cut") == 0;
}

static bool put_key(struct line *line, const char *key)
{
    char text[KEY_MAX + 8];
    bool json = line->format == TG_LOG_JSON;
    size_t n = 0;
    text[n++] = json ? ',' : ' ';
    if (json)
        text[n++] = '"';
    if (is_reserved(key) || *key == '\0')
        text[n++] = '_';
    for (size_t i = 0; i < KEY_MAX && key[i] != '\0'; i++)
        text[n++] = key[i];
    for (size_t i = json ? 2 : 1; i < n; i++) {
        if (!is_key_char(text[i]))
            text[i] = '_';
    }
    if (json)
        text[n++] = '"';
    text[n++] = json ? ':' : '=';
    return put(line, text, n);
}

static void put_value(struct line *line, const struct tg_log_field *field)
{
    char text[40];
    int len = 0;
    switch (field->kind) {
    case TG_FIELD_STR:
        put_string(line, field->value.str.data, field->value.str.len);
        return;
    case TG_FIELD_INT:
        len = snprintf(text, sizeof text, "%" PRId64, field->value.i);
        break;
    case TG_FIELD_UINT:
        len = snprintf(text, sizeof text, "%" PRIu64, field->value.u);
        break;
    case TG_FIELD_REAL:
        if (line->format == TG_LOG_JSON && !isfinite(field->value.real))
            len = snprintf(text, sizeof text, "null");
        else
            len = snprintf(text, sizeof text, "%.9g", field->value.real);
        break;
    case TG_FIELD_BOOL:
        len = snprintf(text, sizeof text, "%s", field->value.flag ? "true" : "false");
        break;
    }
    put(line, text, (size_t)len);
}

/* A field is written whole, or as a string that is cut, or not at all. */
static void put_field(struct line *line, const struct tg_log_field *field)
{
    size_t before = line->len;
    if (!put_key(line, field->key)) {
        line->len = before;
        return;
    }
    size_t value = line->len;
    put_value(line, field);
    if (line->len == value)
        line->len = before;
}

static void put_head(struct line *line, enum tg_log_level level, const char *event)
{
    char now[TG_CLOCK_RFC3339_SIZE];
    tg_clock_rfc3339(tg_clock_wall_ms(), now);
    if (line->format == TG_LOG_TEXT) {
        char head[TG_CLOCK_RFC3339_SIZE + 8];
        int len = snprintf(head, sizeof head, "%s %-5s ", now, level_names[level]);
        put(line, head, (size_t)len);
        put_string(line, event, strlen(event));
        return;
    }
    char head[96];
    int len = snprintf(head, sizeof head, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":", now,
                       level_names[level]);
    put(line, head, (size_t)len);
    put_string(line, event, strlen(event));
}

struct tg_log_field tg_log_str(const char *key, const char *value)
{
    return value == NULL ? tg_log_strn(key, "", 0) : tg_log_strn(key, value, strlen(value));
}

struct tg_log_field tg_log_strn(const char *key, const char *data, size_t len)
{
    return (struct tg_log_field){
        .key = key, .kind = TG_FIELD_STR, .value.str = {.data = data, .len = len}};
}

struct tg_log_field tg_log_int(const char *key, int64_t value)
{
    return (struct tg_log_field){.key = key, .kind = TG_FIELD_INT, .value.i = value};
}

struct tg_log_field tg_log_uint(const char *key, uint64_t value)
{
    return (struct tg_log_field){.key = key, .kind = TG_FIELD_UINT, .value.u = value};
}

struct tg_log_field tg_log_real(const char *key, double value)
{
    return (struct tg_log_field){.key = key, .kind = TG_FIELD_REAL, .value.real = value};
}

struct tg_log_field tg_log_bool(const char *key, bool value)
{
    return (struct tg_log_field){.key = key, .kind = TG_FIELD_BOOL, .value.flag = value};
}

void tg_log_configure(enum tg_log_level level, enum tg_log_format format)
{
    atomic_store_explicit(&log_output.level, (int)level, memory_order_relaxed);
    log_output.format = format;
}

void tg_log_set_sink(tg_log_sink_fn sink, void *ctx)
{
    log_output.sink = sink == NULL ? write_stderr : sink;
    log_output.ctx = ctx;
}

bool tg_log_enabled(enum tg_log_level level)
{
    return (int)level <= atomic_load_explicit(&log_output.level, memory_order_relaxed);
}

void tg_log_write(enum tg_log_level level, const char *event, const struct tg_log_field *fields,
                  size_t count)
{
    struct line line;
    line.format = log_output.format;
    line.cut = false;
    line.len = 0;
    put_head(&line, level, event);
    for (size_t i = 0; i < count && !line.cut; i++)
        put_field(&line, &fields[i]);
    bool json = line.format == TG_LOG_JSON;
    if (line.cut)
        put_closing(&line, json ? ",\"cut\":true" : " cut=true");
    put_closing(&line, json ? "}\n" : "\n");
    log_output.sink(log_output.ctx, level, line.data, line.len);
}

enum tg_err tg_log_level_parse(const char *text, enum tg_log_level *out)
{
    for (size_t i = 0; i < LEVELS; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out = (enum tg_log_level)i;
            return TG_ERR_OK;
        }
    }
    return TG_ERR_INVALID;
}
