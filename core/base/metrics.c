/* metrics.c - the parts of a shard that are more than one number.
 */
#include "base/metrics.h"

#include <string.h>

#include "base/utf8.h"

#define MS_PER_HOUR UINT64_C(3600000)
#define OTHER "other"

const char *const tg_refusal_names[TG_REFUSALS] = {
#define X(name, text) text,
    TG_REFUSAL_MAP(X)
#undef X
};

const char *const tg_rebuild_names[TG_REBUILDS] = {
#define X(name, text) text,
    TG_REBUILD_MAP(X)
#undef X
};

const char *const tg_process_ended_names[TG_PROCESS_ENDED_REASONS] = {
#define X(name, text) text,
    TG_PROCESS_ENDED_MAP(X)
#undef X
};

const char *const tg_auth_event_names[TG_AUTH_EVENTS] = {
#define X(name, text) text,
    TG_AUTH_EVENT_MAP(X)
#undef X
};

const uint64_t tg_metrics_bucket_us[TG_METRICS_BUCKETS] = {
    10, 25, 50, 100, 250, 1000, 5000, 25000, 100000, 500000, 2500000, 10000000};

/* The row of a name that is there already, or NULL. */
static struct tg_agent_metrics *find_agent(struct tg_metrics *metrics, const char *name, size_t len)
{
    uint64_t used = tg_counter_get(&metrics->agents_used);
    for (uint64_t i = 0; i < used; i++) {
        struct tg_agent_metrics *row = &metrics->agents[i];
        if (strncmp(row->name, name, len) == 0 && row->name[len] == '\0')
            return row;
    }
    return NULL;
}

static struct tg_agent_metrics *add_agent(struct tg_metrics *metrics, const char *name, size_t len)
{
    uint64_t used = tg_counter_get(&metrics->agents_used);
    struct tg_agent_metrics *row = &metrics->agents[used];
    memcpy(row->name, name, len);
    row->name[len] = '\0';
    atomic_store_explicit(&metrics->agents_used, used + 1, memory_order_release);
    return row;
}

void tg_histogram_observe(struct tg_histogram *histogram, uint64_t us)
{
    size_t bucket = 0;
    while (bucket < TG_METRICS_BUCKETS && us > tg_metrics_bucket_us[bucket])
        bucket++;
    tg_counter_add(&histogram->buckets[bucket], 1);
    tg_counter_add(&histogram->sum_us, us);
}

void tg_hourly_add(struct tg_hourly *hourly, uint64_t wall_ms)
{
    uint64_t hour = wall_ms / MS_PER_HOUR;
    size_t slot = (size_t)(hour % TG_METRICS_HOURS);
    if (tg_counter_get(&hourly->hour[slot]) != hour) {
        /* Emptied before it is renamed: a reader that sees the new hour sees no old count. */
        tg_counter_set(&hourly->count[slot], 0);
        atomic_store_explicit(&hourly->hour[slot], hour, memory_order_release);
    }
    tg_counter_add(&hourly->count[slot], 1);
}

/* Also counts the whole of the hour that 24 hours ago was under way: rather too many than an event
 * of the last day missed. */
uint64_t tg_hourly_last_day(const struct tg_hourly *hourly, uint64_t wall_ms)
{
    uint64_t now = wall_ms / MS_PER_HOUR;
    uint64_t sum = 0;
    for (size_t slot = 0; slot < TG_METRICS_HOURS; slot++) {
        uint64_t hour = atomic_load_explicit(&hourly->hour[slot], memory_order_acquire);
        if (hour <= now && now - hour < TG_METRICS_HOURS)
            sum += tg_counter_get(&hourly->count[slot]);
    }
    return sum;
}

enum tg_close_slot tg_close_slot_of(int code)
{
    switch (code) {
#define X(known)                                                                                   \
    case known:                                                                                    \
        return TG_CLOSE_SLOT_##known;
        TG_CLOSE_CODE_MAP(X)
#undef X
    default:
        return TG_CLOSE_SLOT_OTHER;
    }
}

struct tg_agent_metrics *tg_metrics_agent(struct tg_metrics *metrics, const char *name)
{
    size_t len = tg_utf8_cut(name, strlen(name), sizeof metrics->agents[0].name - 1);
    struct tg_agent_metrics *row = find_agent(metrics, name, len);
    if (row != NULL)
        return row;
    if (tg_counter_get(&metrics->agents_used) < TG_METRICS_AGENTS - 1)
        return add_agent(metrics, name, len);
    /* An agent that is really called "other" shares its row: two rows of one name would be an
     * invalid exposition. */
    row = find_agent(metrics, OTHER, strlen(OTHER));
    return row != NULL ? row : add_agent(metrics, OTHER, strlen(OTHER));
}

bool tg_denial_reason_valid(const char *text, size_t len)
{
    if (len == 0 || len >= TG_DENIAL_REASON_SIZE || text[0] == '_')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!(text[i] >= 'a' && text[i] <= 'z') && text[i] != '_')
            return false;
    }
    return true;
}

static struct tg_denial_metrics *find_denial(struct tg_metrics *metrics, const char *reason)
{
    uint64_t used = tg_counter_get(&metrics->denials_used);
    for (uint64_t i = 0; i < used; i++) {
        if (strcmp(metrics->denials[i].reason, reason) == 0)
            return &metrics->denials[i];
    }
    return NULL;
}

void tg_metrics_count_denial(struct tg_metrics *metrics, const char *reason)
{
    if (reason == NULL)
        reason = "unspecified";
    else if (!tg_denial_reason_valid(reason, strlen(reason)))
        reason = OTHER;
    struct tg_denial_metrics *row = find_denial(metrics, reason);
    uint64_t used = tg_counter_get(&metrics->denials_used);
    if (row == NULL && used >= TG_METRICS_DENIALS - 1) {
        reason = OTHER;
        row = find_denial(metrics, reason);
    }
    if (row == NULL) {
        row = &metrics->denials[used];
        memcpy(row->reason, reason, strlen(reason) + 1);
        atomic_store_explicit(&metrics->denials_used, used + 1, memory_order_release);
    }
    tg_counter_add(&row->count, 1);
}
