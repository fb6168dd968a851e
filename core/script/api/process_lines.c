/* process_lines.c - whose line is it?
 *
 * A line belongs to the run that its `run_id` names. What is no JSON may still quote the ID of a run, as the
 * beginning of a line that is too long does: then that run is told. All other lines are for nobody: they are
 * logged, so many a second, and when there are too many of them the process has to wait.
 */
#include <stdio.h>
#include <string.h>

#include "agent/run.h"
#include "base/json_reader.h"
#include "base/log.h"
#include "net/timer.h"
#include "script/api/process_child.h"
#include "script/policy/generation.h"

#define STRAY_LINES_PER_SECOND 5
#define STRAY_TEXT_MAX ((size_t)200)
#define STRAY_BYTES_MAX ((uint64_t)1 << 20) /* in a breath */
#define BREATH_MS 1000

static struct tg_exchange *exchange_at(struct tg_list *node)
{
    return TG_CONTAINER_OF(node, struct tg_exchange, node);
}

static struct tg_exchange *find(const struct tg_child *child, const char *run_id, size_t len)
{
    TG_LIST_EACH (node, next, &child->exchanges) {
        const char *theirs = exchange_at(node)->run_id;
        if (strlen(theirs) == len && memcmp(theirs, run_id, len) == 0)
            return exchange_at(node);
    }
    return NULL;
}

static bool is_of_an_id(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '_';
}

/* IDs of runs are random: what holds one means it. The line may have megabytes and there may be hundreds of
 * runs, so it is gone through once, and not once for each of them. */
static struct tg_exchange *find_quoted(const struct tg_child *child, const char *data, size_t len)
{
    const char *end = data + len;
    struct tg_exchange *found = NULL;

    while (found == NULL && (data = memmem(data, (size_t)(end - data), TG_RUN_ID_PREFIX,
                                           sizeof TG_RUN_ID_PREFIX - 1)) != NULL) {
        const char *id = data;
        while (data < end && is_of_an_id(*data))
            data++;
        if (data - id < TG_RUN_ID_ROOM)
            found = find(child, id, (size_t)(data - id));
    }
    return found;
}

/* NULL: nobody's; *why says so. */
static struct tg_exchange *find_addressee(const struct tg_child *child, const char *data,
                                          size_t len, const char **why)
{
    char run_id[TG_RUN_ID_ROOM];
    struct tg_json_value document;

    if (tg_json_parse(data, len, &document, NULL) != TG_ERR_OK || document.kind != TG_JSON_OBJECT) {
        *why = "it is no JSON object";
        return find_quoted(child, data, len);
    }
    struct tg_json_value member = tg_json_member(&document, "run_id");
    if (member.kind != TG_JSON_STRING) {
        *why = "it has no run_id";
        return NULL;
    }
    *why = "no run with this run_id is under way";
    if (tg_json_copy_string(&member, run_id, sizeof run_id) != TG_ERR_OK)
        return NULL;
    return find(child, run_id, strlen(run_id));
}

static void on_breath(struct tg_timer *timer)
{
    struct tg_child *child = TG_CONTAINER_OF(timer, struct tg_child, breath_timer);

    child->stray_bytes = 0;
    tg_child_set_pause(child, TG_CHILD_TALKS_TO_NOBODY, false);
}

static void count_stray(struct tg_child *child, size_t len)
{
    struct tg_timers *timers = child->generation->env->timers;

    if (!tg_timer_running(&child->breath_timer) &&
        tg_timer_start(timers, &child->breath_timer, BREATH_MS, on_breath) != TG_ERR_OK)
        return;
    child->stray_bytes += len;
    if (child->stray_bytes > STRAY_BYTES_MAX)
        tg_child_set_pause(child, TG_CHILD_TALKS_TO_NOBODY, true);
}

static bool is_blank(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] != ' ' && data[i] != '\t')
            return false;
    return true;
}

/* What is an event is not quoted: it may be somebody's answer. What is none is what print() was given. */
static void drop(struct tg_child *child, const char *data, size_t len, const char *why, bool event)
{
    uint64_t left_out = 0;

    count_stray(child, len);
    if (is_blank(data, len) ||
        !tg_log_gate_pass(&child->stray_gate, tg_timers_now_ms(child->generation->env->timers),
                          STRAY_LINES_PER_SECOND, &left_out))
        return;
    size_t shown = event ? 0 : len < STRAY_TEXT_MAX ? len : STRAY_TEXT_MAX;
    tg_log(event ? TG_LOG_INFO : TG_LOG_WARN, "process.line_dropped",
           tg_log_str("name", child->name), tg_log_uint("worker", child->generation->env->worker),
           tg_log_str("why", why), tg_log_strn("text", data, shown), tg_log_uint("bytes", len),
           tg_log_uint("left_out", left_out));
}

void tg_child_on_line(void *ctx, const char *data, size_t len, bool cut)
{
    struct tg_child *child = ctx;
    const char *why = "it is longer than max_event";
    struct tg_exchange *exchange =
        cut ? find_quoted(child, data, len) : find_addressee(child, data, len, &why);

    if (exchange == NULL)
        drop(child, data, len, why, len > 0 && data[0] == '{');
    else if (cut)
        tg_exchange_fail(exchange, "bad_upstream_answer",
                         "the upstream sent more at once than is allowed",
                         "a line is longer than max_event");
    else
        tg_exchange_take_line(exchange, data, len);
}
