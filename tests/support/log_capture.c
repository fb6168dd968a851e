/* log_capture.c - keeps log lines in one growing list behind a mutex. */
#include "support/log_capture.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct {
    pthread_mutex_t lock;
    char **lines; /* owned */
    size_t count;
} capture = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_line(void *ctx, enum tg_log_level level, const char *line, size_t len)
{
    (void)ctx;
    (void)level;
    pthread_mutex_lock(&capture.lock);
    char **lines = realloc(capture.lines, (capture.count + 1) * sizeof *lines);
    char *copy = malloc(len + 1);
    if (lines == NULL || copy == NULL)
        abort();
    memcpy(copy, line, len);
    copy[len] = '\0';
    capture.lines = lines;
    capture.lines[capture.count++] = copy;
    pthread_mutex_unlock(&capture.lock);
}

void log_capture_start(void)
{
    log_capture_clear();
    tg_log_configure(TG_LOG_DEBUG, TG_LOG_TEXT);
    tg_log_set_sink(on_line, NULL);
}

void log_capture_stop(void)
{
    tg_log_set_sink(NULL, NULL);
    tg_log_configure(TG_LOG_INFO, TG_LOG_TEXT);
    log_capture_clear();
}

void log_capture_clear(void)
{
    pthread_mutex_lock(&capture.lock);
    for (size_t i = 0; i < capture.count; i++)
        free(capture.lines[i]);
    free(capture.lines);
    capture.lines = NULL;
    capture.count = 0;
    pthread_mutex_unlock(&capture.lock);
}

size_t log_capture_count(void)
{
    pthread_mutex_lock(&capture.lock);
    size_t count = capture.count;
    pthread_mutex_unlock(&capture.lock);
    return count;
}

const char *log_capture_line(size_t index)
{
    pthread_mutex_lock(&capture.lock);
    const char *line = index < capture.count ? capture.lines[index] : NULL;
    pthread_mutex_unlock(&capture.lock);
    return line;
}

const char *log_capture_last(void)
{
    size_t count = log_capture_count();
    return count == 0 ? "" : log_capture_line(count - 1);
}

size_t log_capture_matches(const char *text)
{
    size_t matches = 0;
    pthread_mutex_lock(&capture.lock);
    for (size_t i = 0; i < capture.count; i++)
        matches += strstr(capture.lines[i], text) != NULL;
    pthread_mutex_unlock(&capture.lock);
    return matches;
}

bool log_capture_has(const char *text)
{
    return log_capture_matches(text) > 0;
}
