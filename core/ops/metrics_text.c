/* metrics_text.c - worker shards summed up and written as Prometheus text.
 *
 * Every metric is a family: its # HELP and # TYPE lines, then its rows. Families are always named,
 * also without rows, so that a dashboard can find them before the first event. Sums are taken while
 * writing; nothing is kept between two scrapes.
 */
#include "ops/metrics_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "net/http_client.h"

_Static_assert(TG_METRICS_HTTP_OUTCOMES == TG_FETCH_OUTCOMES + 1, "the last is \"cancelled\"");

/* What the writers below share. The first error stays and stops all further writing. */
struct page {
    struct tg_buffer *out;
    const struct tg_metrics *const *shards;
    size_t shard_count;
    const struct tg_metrics_labels *labels;
    enum tg_err err;
};

#define EMIT(page, ...)                                                                            \
    do {                                                                                           \
        if ((page)->err == TG_ERR_OK)                                                              \
            (page)->err = tg_buffer_printf((page)->out, __VA_ARGS__);                              \
    } while (0)

/* A counter of one shard, found by its place in the struct, summed over all shards. */
static uint64_t sum_at(const struct page *page, size_t offset)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < page->shard_count; i++) {
        const char *base = (const char *)page->shards[i] + offset;
        sum += tg_counter_get((const tg_counter *)(const void *)base);
    }
    return sum;
}

#define SUM(page, member) sum_at(page, offsetof(struct tg_metrics, member))
/* For members that need an index known only when running. */
#define SUM_OF(page, lvalue_of_first)                                                              \
    sum_at(page, (size_t)((const char *)&(lvalue_of_first) - (const char *)(page)->shards[0]))

/* Label values: backslash, quote and newline escaped; bytes that are not UTF-8 become '?'. */
static void label_text(const char *text, char *out, size_t size)
{
    bool valid = tg_utf8_valid(text, strlen(text));
    size_t n = 0;

    for (; *text != '\0' && n + 3 < size; text++) {
        if (*text == '\n') {
            out[n++] = '\\';
            out[n++] = 'n';
            continue;
        }
        if (*text == '\\' || *text == '"')
            out[n++] = '\\';
        out[n++] = !valid && ((unsigned char)*text & 0x80) != 0 ? '?' : *text;
    }
    out[n] = '\0';
}

static void family(struct page *page, const char *name, const char *type, const char *help)
{
    EMIT(page, "# HELP tidegate_%s %s\n# TYPE tidegate_%s %s\n", name, help, name, type);
}

static void row1(struct page *page, const char *name, const char *label, const char *text,
                 uint64_t value)
{
    char escaped[192];

    label_text(text, escaped, sizeof escaped);
    EMIT(page, "tidegate_%s{%s=\"%s\"} %" PRIu64 "\n", name, label, escaped, value);
}

static void row2(struct page *page, const char *name, const char *const labels[2],
                 const char *const texts[2], uint64_t value)
{
    char first[192];
    char second[192];

    label_text(texts[0], first, sizeof first);
    label_text(texts[1], second, sizeof second);
    EMIT(page, "tidegate_%s{%s=\"%s\",%s=\"%s\"} %" PRIu64 "\n", name, labels[0], first, labels[1],
         second, value);
}

static void write_states(struct page *page)
{
    const char *const *states = page->labels->states;
    const char *const names[2] = {"from", "to"};

    family(page, "connections", "gauge", "Connections by state.");
    for (size_t i = 0; i < TG_METRICS_STATES; i++)
        row1(page, "connections", "state", states[i], SUM_OF(page, page->shards[0]->states[i]));
    family(page, "transitions_total", "counter", "Moves of the connection state machine.");
    for (size_t from = 0; from < TG_METRICS_STATES; from++) {
        for (size_t to = 0; to < TG_METRICS_STATES; to++) {
            uint64_t n = SUM_OF(page, page->shards[0]->transitions[from][to]);
            if (n > 0)
                row2(page, "transitions_total", names,
                     (const char *const[2]){states[from], states[to]}, n);
        }
    }
    family(page, "stuck_connections_total", "counter",
           "Connections closed because they stayed in a setup state past its deadline.");
    for (size_t i = 0; i < TG_METRICS_STATES; i++) {
        uint64_t n = SUM_OF(page, page->shards[0]->stuck[i]);
        if (n > 0)
            row1(page, "stuck_connections_total", "state", states[i], n);
    }
}

static void write_plain_counters(struct page *page)
{
#define X(name, help)                                                                              \
    family(page, #name "_total", "counter", help);                                                 \
    EMIT(page, "tidegate_" #name "_total %" PRIu64 "\n", SUM(page, name));
    TG_COUNTER_MAP(X)
#undef X
}

static void write_closes(struct page *page)
{
    static const char *const codes[TG_CLOSE_SLOTS] = {
#define X(code) [TG_CLOSE_SLOT_##code] = #code,
        TG_CLOSE_CODE_MAP(X)
#undef X
            [TG_CLOSE_SLOT_OTHER] = "other",
    };

    family(page, "closes_total", "counter", "Connections that ended, by WebSocket close code.");
    for (size_t i = 0; i < TG_CLOSE_SLOTS; i++) {
        uint64_t n = SUM_OF(page, page->shards[0]->closes[i]);
        if (n > 0)
            row1(page, "closes_total", "code", codes[i], n);
    }
}

static void write_refusals(struct page *page)
{
    family(page, "refusals_total", "counter",
           "Clients refused because of a limit or of where they come from.");
    for (size_t i = 0; i < TG_REFUSALS; i++) {
        uint64_t n = SUM_OF(page, page->shards[0]->refusals[i]);
        if (n > 0)
            row1(page, "refusals_total", "reason", tg_refusal_names[i], n);
    }
}

static void write_traffic(struct page *page)
{
    static const char *const directions[] = {"in", "out"};
    static const char *const kinds[] = {"text", "binary", "control"};
    const char *const names[2] = {"direction", "kind"};

    family(page, "messages_total", "counter", "WebSocket messages and control frames.");
    for (size_t d = 0; d < 2; d++) {
        for (size_t k = 0; k < 3; k++) {
            uint64_t n = SUM_OF(page, page->shards[0]->messages[d][k]);
            if (n > 0)
                row2(page, "messages_total", names, (const char *const[2]){directions[d], kinds[k]},
                     n);
        }
    }
    family(page, "bytes_total", "counter", "Bytes read from and written to clients.");
    for (size_t d = 0; d < 2; d++) {
        uint64_t n = SUM_OF(page, page->shards[0]->bytes[d]);
        if (n > 0)
            row1(page, "bytes_total", "direction", directions[d], n);
    }
}

static void write_compression(struct page *page)
{
    static const char *const directions[] = {"in", "out"};
    static const char *const stages[] = {"plain", "compressed"};
    const char *const names[2] = {"direction", "stage"};

    family(page, "compression_bytes_total", "counter",
           "Payload of compressed messages, before and after compression.");
    for (size_t d = 0; d < 2; d++) {
        for (size_t s = 0; s < 2; s++) {
            uint64_t n = SUM_OF(page, page->shards[0]->compression_bytes[d][s]);
            if (n > 0)
                row2(page, "compression_bytes_total", names,
                     (const char *const[2]){directions[d], stages[s]}, n);
        }
    }
}

/* `labels`: `hook="authenticate"`, or "". Nothing when nothing was observed. */
static void write_histogram(struct page *page, const char *metric, const char *labels,
                            const struct tg_histogram *first)
{
    uint64_t counts[TG_METRICS_BUCKETS + 1];
    uint64_t total = 0;
    bool labelled = labels[0] != '\0';

    for (size_t i = 0; i <= TG_METRICS_BUCKETS; i++) {
        counts[i] = SUM_OF(page, first->buckets[i]);
        total += counts[i];
    }
    if (total == 0)
        return;
    total = 0;
    for (size_t i = 0; i < TG_METRICS_BUCKETS; i++) {
        total += counts[i];
        EMIT(page, "tidegate_%s_bucket{%s%sle=\"%.10g\"} %" PRIu64 "\n", metric, labels,
             labelled ? "," : "", (double)tg_metrics_bucket_us[i] / 1e6, total);
    }
    total += counts[TG_METRICS_BUCKETS];
    EMIT(page, "tidegate_%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", metric, labels,
         labelled ? "," : "", total);
    EMIT(page, "tidegate_%s_sum%s%s%s %.6f\n", metric, labelled ? "{" : "", labels,
         labelled ? "}" : "", (double)SUM_OF(page, first->sum_us) / 1e6);
    EMIT(page, "tidegate_%s_count%s%s%s %" PRIu64 "\n", metric, labelled ? "{" : "", labels,
         labelled ? "}" : "", total);
}

static void write_hooks(struct page *page)
{
    const char *const names[2] = {"hook", "outcome"};

    family(page, "hook_duration_seconds", "histogram", "Time that hooks of the policy took.");
    for (size_t i = 0; i < TG_METRICS_HOOKS; i++) {
        char labels[64];
        (void)snprintf(labels, sizeof labels, "hook=\"%s\"", page->labels->hooks[i]);
        write_histogram(page, "hook_duration_seconds", labels, &page->shards[0]->hook_duration[i]);
    }
    family(page, "hook_outcomes_total", "counter", "How hook calls ended.");
    for (size_t i = 0; i < TG_METRICS_HOOKS; i++) {
        for (size_t j = 0; j < TG_METRICS_HOOK_OUTCOMES; j++) {
            uint64_t n = SUM_OF(page, page->shards[0]->hook_outcomes[i][j]);
            if (n > 0)
                row2(page, "hook_outcomes_total", names,
                     (const char *const[2]){page->labels->hooks[i], page->labels->hook_outcomes[j]},
                     n);
        }
    }
}

/* The name is read only after agents_used says that it is whole. */
static size_t agents_of(const struct tg_metrics *shard)
{
    uint64_t used = atomic_load_explicit(&shard->agents_used, memory_order_acquire);
    return used < TG_METRICS_AGENTS ? (size_t)used : TG_METRICS_AGENTS;
}

static const struct tg_agent_metrics *find_agent(const struct tg_metrics *shard, const char *name)
{
    for (size_t i = 0; i < agents_of(shard); i++) {
        if (strcmp(shard->agents[i].name, name) == 0)
            return &shard->agents[i];
    }
    return NULL;
}

/* Each worker names agents in its own order: a name is written where it is met first. */
static bool met_before(const struct page *page, size_t shard, const char *name)
{
    for (size_t i = 0; i < shard; i++) {
        if (find_agent(page->shards[i], name) != NULL)
            return true;
    }
    return false;
}

typedef void (*agent_fn)(struct page *page, const char *name);

static void each_agent(struct page *page, agent_fn fn)
{
    for (size_t s = 0; s < page->shard_count; s++) {
        for (size_t i = 0; i < agents_of(page->shards[s]); i++) {
            const char *name = page->shards[s]->agents[i].name;
            if (!met_before(page, s, name))
                fn(page, name);
        }
    }
}

static void write_agent_running(struct page *page, const char *name)
{
    uint64_t running = 0;

    for (size_t s = 0; s < page->shard_count; s++) {
        const struct tg_agent_metrics *agent = find_agent(page->shards[s], name);
        if (agent != NULL)
            running += tg_counter_get(&agent->running);
    }
    if (running > 0)
        row1(page, "runs", "agent", name, running);
}

static void write_agent_outcomes(struct page *page, const char *name)
{
    const char *const names[2] = {"agent", "outcome"};

    for (size_t o = 0; o < TG_METRICS_RUN_OUTCOMES; o++) {
        uint64_t n = 0;
        for (size_t s = 0; s < page->shard_count; s++) {
            const struct tg_agent_metrics *agent = find_agent(page->shards[s], name);
            if (agent != NULL)
                n += tg_counter_get(&agent->outcomes[o]);
        }
        if (n > 0)
            row2(page, "run_outcomes_total", names,
                 (const char *const[2]){name, page->labels->run_outcomes[o]}, n);
    }
}

static void write_runs(struct page *page)
{
    family(page, "runs", "gauge", "Agent runs under way.");
    each_agent(page, write_agent_running);
    family(page, "run_outcomes_total", "counter", "How agent runs ended.");
    each_agent(page, write_agent_outcomes);
}

static void write_http(struct page *page)
{
    family(page, "http_requests_total", "counter", "HTTP requests of scripts, by how they ended.");
    for (size_t i = 0; i < TG_METRICS_HTTP_OUTCOMES; i++) {
        uint64_t n = SUM_OF(page, page->shards[0]->http_requests[i]);
        if (n > 0)
            row1(page, "http_requests_total", "outcome",
                 i < TG_FETCH_OUTCOMES ? tg_fetch_outcome_names[i] : "cancelled", n);
    }
    family(page, "http_in_flight", "gauge", "HTTP requests of scripts under way.");
    EMIT(page, "tidegate_http_in_flight %" PRIu64 "\n", SUM(page, http_in_flight));
    family(page, "http_duration_seconds", "histogram",
           "Time from an HTTP request of a script to the end of its answer.");
    write_histogram(page, "http_duration_seconds", "", &page->shards[0]->http_duration);
}

static void write_rebuilds(struct page *page)
{
    family(page, "script_rebuilds_total", "counter",
           "Script states built anew because they could not be trusted any more.");
    for (size_t i = 0; i < TG_REBUILDS; i++) {
        uint64_t n = SUM_OF(page, page->shards[0]->script_rebuilds[i]);
        if (n > 0)
            row1(page, "script_rebuilds_total", "reason", tg_rebuild_names[i], n);
    }
}

static void write_timers(struct page *page)
{
    family(page, "timer_outcomes_total", "counter", "How callbacks of timers ended.");
    for (size_t i = 0; i < TG_METRICS_HOOK_OUTCOMES; i++) {
        uint64_t n = SUM_OF(page, page->shards[0]->timer_outcomes[i]);
        if (n > 0)
            row1(page, "timer_outcomes_total", "outcome", page->labels->hook_outcomes[i], n);
    }
}

static void write_kv(struct page *page, const struct tg_metrics_kv *kv)
{
    family(page, "kv_entries", "gauge", "Entries of the store that scripts share.");
    EMIT(page, "tidegate_kv_entries %" PRIu64 "\n", kv->entries);
    family(page, "kv_bytes", "gauge", "Bytes of these entries.");
    EMIT(page, "tidegate_kv_bytes %" PRIu64 "\n", kv->bytes);
    family(page, "kv_evictions_total", "counter",
           "Entries that had to go because kv.memory was full.");
    EMIT(page, "tidegate_kv_evictions_total %" PRIu64 "\n", kv->evictions);
    family(page, "kv_operations_total", "counter", "Uses of the store by scripts.");
    for (size_t i = 0; i < kv->operation_count; i++) {
        if (kv->operations[i] > 0)
            row1(page, "kv_operations_total", "operation", kv->operation_names[i],
                 kv->operations[i]);
    }
}

static void write_facts(struct page *page, const struct tg_metrics_facts *facts)
{
    const char *const names[2] = {"version", "build"};

    family(page, "reloads_total", "counter", "Policy reloads by result.");
    if (facts->reloads_ok > 0)
        row1(page, "reloads_total", "result", "ok", facts->reloads_ok);
    if (facts->reloads_failed > 0)
        row1(page, "reloads_total", "result", "failed", facts->reloads_failed);
    family(page, "policy_info", "gauge", "The policy that serves new calls.");
    if (facts->policy_version != NULL)
        row1(page, "policy_info", "version", facts->policy_version, 1);
    family(page, "script_memory_bytes", "gauge", "Memory that the policy holds on each worker.");
    for (size_t i = 0; i < page->shard_count; i++)
        EMIT(page, "tidegate_script_memory_bytes{worker=\"%zu\"} %" PRIu64 "\n", i + 1,
             tg_counter_get(&page->shards[i]->script_memory_bytes));
    family(page, "uptime_seconds", "gauge", "Time since the start.");
    EMIT(page, "tidegate_uptime_seconds %.3f\n", (double)facts->uptime_ms / 1000.0);
    family(page, "build_info", "gauge", "The program.");
    row2(page, "build_info", names, (const char *const[2]){facts->version, facts->build}, 1);
}

enum tg_err tg_metrics_write(struct tg_buffer *out, const struct tg_metrics *const *shards,
                             size_t shard_count, const struct tg_metrics_labels *labels,
                             const struct tg_metrics_facts *facts)
{
    static const struct tg_metrics nothing;
    const struct tg_metrics *const none[1] = {&nothing};
    struct page page = {.out = out, .shards = shards, .shard_count = shard_count, .labels = labels};

    if (shard_count == 0) {
        page.shards = none;
        page.shard_count = 1;
    }
    write_states(&page);
    write_plain_counters(&page);
    write_closes(&page);
    write_refusals(&page);
    write_traffic(&page);
    write_compression(&page);
    write_hooks(&page);
    write_timers(&page);
    write_runs(&page);
    write_http(&page);
    write_rebuilds(&page);
    write_kv(&page, &facts->kv);
    write_facts(&page, facts);
    return page.err;
}
