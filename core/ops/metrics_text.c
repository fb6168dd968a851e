/* metrics_text.c - worker shards summed up and written as Prometheus text.
 *
 * Every metric is a family: its # HELP and # TYPE lines, then its rows. Families are always named,
 * also without rows, so that a dashboard can find them before the first event.
 */
#include "ops/metrics_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "net/http_client.h"
#include "ops/metrics_page.h"

_Static_assert(TG_METRICS_HTTP_OUTCOMES == TG_FETCH_OUTCOMES + 1, "the last is \"cancelled\"");

static void write_states(struct tg__page *page)
{
    const struct tg_metrics *first = page->shards[0];
    const char *const *states = page->labels->states;
    const struct tg__page_axis axis = {"state", states, TG_METRICS_STATES};
    const struct tg__page_axis from = {"from", states, TG_METRICS_STATES};
    const struct tg__page_axis to = {"to", states, TG_METRICS_STATES};

    tg__page_family(page, "connections", "gauge", "Connections by state.");
    for (size_t i = 0; i < TG_METRICS_STATES; i++)
        tg__page_row(page, "connections", "state", states[i], TG__SUM_OF(page, first->states[i]));
    tg__page_family(page, "transitions_total", "counter", "Moves of the connection state machine.");
    tg__page_table(page, "transitions_total", &from, &to, &first->transitions[0][0]);
    tg__page_family(page, "stuck_connections_total", "counter",
                    "Connections closed because they stayed in a setup state past its deadline.");
    tg__page_rows(page, "stuck_connections_total", &axis, first->stuck);
}

static void write_plain_counters(struct tg__page *page)
{
#define X(name, help)                                                                              \
    tg__page_family(page, #name "_total", "counter", help);                                        \
    TG__EMIT(page, "tidegate_" #name "_total %" PRIu64 "\n", TG__SUM(page, name));
    TG_COUNTER_MAP(X)
#undef X
}

static void write_closes(struct tg__page *page)
{
    static const char *const codes[TG_CLOSE_SLOTS] = {
#define X(code) [TG_CLOSE_SLOT_##code] = #code,
        TG_CLOSE_CODE_MAP(X)
#undef X
            [TG_CLOSE_SLOT_OTHER] = "other",
    };

    tg__page_family(page, "closes_total", "counter",
                    "Connections that ended, by WebSocket close code.");
    tg__page_rows(page, "closes_total",
                  &(const struct tg__page_axis){"code", codes, TG_CLOSE_SLOTS},
                  page->shards[0]->closes);
}

static void write_refusals(struct tg__page *page)
{
    tg__page_family(page, "refusals_total", "counter",
                    "Clients refused because of a limit or of where they come from.");
    tg__page_rows(page, "refusals_total",
                  &(const struct tg__page_axis){"reason", tg_refusal_names, TG_REFUSALS},
                  page->shards[0]->refusals);
}

static void write_traffic(struct tg__page *page)
{
    const struct tg_metrics *first = page->shards[0];
    static const char *const directions[] = {"in", "out"};
    static const char *const kinds[] = {"text", "binary", "control"};
    static const char *const stages[] = {"plain", "compressed"};
    static const struct tg__page_axis direction = {"direction", directions, 2};
    static const struct tg__page_axis kind = {"kind", kinds, 3};
    static const struct tg__page_axis stage = {"stage", stages, 2};

    tg__page_family(page, "messages_total", "counter", "WebSocket messages and control frames.");
    tg__page_table(page, "messages_total", &direction, &kind, &first->messages[0][0]);
    tg__page_family(page, "bytes_total", "counter", "Bytes read from and written to clients.");
    tg__page_rows(page, "bytes_total", &direction, first->bytes);
    tg__page_family(page, "compression_bytes_total", "counter",
                    "Payload of compressed messages, before and after compression.");
    tg__page_table(page, "compression_bytes_total", &direction, &stage,
                   &first->compression_bytes[0][0]);
}

static void write_hooks(struct tg__page *page)
{
    const struct tg_metrics *first = page->shards[0];
    const struct tg__page_axis hooks = {"hook", page->labels->hooks, TG_METRICS_HOOKS};
    const struct tg__page_axis outcomes = {"outcome", page->labels->hook_outcomes,
                                           TG_METRICS_HOOK_OUTCOMES};

    tg__page_family(page, "hook_duration_seconds", "histogram",
                    "Time that hooks of the policy took.");
    for (size_t i = 0; i < TG_METRICS_HOOKS; i++) {
        char labels[64];
        (void)snprintf(labels, sizeof labels, "hook=\"%s\"", page->labels->hooks[i]);
        tg__page_histogram(page, "hook_duration_seconds", labels, &first->hook_duration[i]);
    }
    tg__page_family(page, "hook_outcomes_total", "counter", "How hook calls ended.");
    tg__page_table(page, "hook_outcomes_total", &hooks, &outcomes, &first->hook_outcomes[0][0]);
}

/* counters: of the first shard, one for each outcome. */
static void write_outcomes(struct tg__page *page, const char *name, const tg_counter *counters)
{
    for (size_t i = 0; i < TG_METRICS_HTTP_OUTCOMES; i++) {
        uint64_t n = TG__SUM_OF(page, counters[i]);
        if (n > 0)
            tg__page_row(page, name, "outcome",
                         i < TG_FETCH_OUTCOMES ? tg_fetch_outcome_names[i] : "cancelled", n);
    }
}

static void write_http(struct tg__page *page)
{
    tg__page_family(page, "http_requests_total", "counter",
                    "HTTP requests of scripts, by how they ended.");
    write_outcomes(page, "http_requests_total", page->shards[0]->http_requests);
    tg__page_family(page, "http_in_flight", "gauge", "HTTP requests of scripts under way.");
    TG__EMIT(page, "tidegate_http_in_flight %" PRIu64 "\n", TG__SUM(page, http_in_flight));
    tg__page_family(page, "http_duration_seconds", "histogram",
                    "Time from an HTTP request of a script to the end of its answer.");
    tg__page_histogram(page, "http_duration_seconds", "", &page->shards[0]->http_duration);
    tg__page_family(page, "upstream_websockets", "gauge",
                    "WebSockets to other servers that scripts have open.");
    TG__EMIT(page, "tidegate_upstream_websockets %" PRIu64 "\n", TG__SUM(page, websockets_out));
    tg__page_family(page, "upstream_websockets_ended_total", "counter",
                    "WebSockets to other servers, by how they ended.");
    write_outcomes(page, "upstream_websockets_ended_total", page->shards[0]->websockets_out_ended);
}

static void write_processes(struct tg__page *page)
{
    tg__page_family(page, "upstream_processes", "gauge", "Child processes of agents that run.");
    TG__EMIT(page, "tidegate_upstream_processes %" PRIu64 "\n", TG__SUM(page, processes));
    tg__page_family(page, "upstream_processes_ended_total", "counter",
                    "Child processes of agents, by how they ended.");
    tg__page_rows(
        page, "upstream_processes_ended_total",
        &(const struct tg__page_axis){"reason", tg_process_ended_names, TG_PROCESS_ENDED_REASONS},
        page->shards[0]->processes_ended);
    tg__page_family(page, "upstream_process_restarts_waiting", "gauge",
                    "Agents whose process waits to be started again.");
    TG__EMIT(page, "tidegate_upstream_process_restarts_waiting %" PRIu64 "\n",
             TG__SUM(page, process_restarts_waiting));
}

static void write_rebuilds(struct tg__page *page)
{
    tg__page_family(page, "script_rebuilds_total", "counter",
                    "Script states built anew because they could not be trusted any more.");
    tg__page_rows(page, "script_rebuilds_total",
                  &(const struct tg__page_axis){"reason", tg_rebuild_names, TG_REBUILDS},
                  page->shards[0]->script_rebuilds);
}

static void write_auth_events(struct tg__page *page)
{
    tg__page_family(page, "auth_events_total", "counter",
                    "What caches, limits and webhooks of authentication did.");
    tg__page_rows(page, "auth_events_total",
                  &(const struct tg__page_axis){"event", tg_auth_event_names, TG_AUTH_EVENTS},
                  page->shards[0]->auth_events);
}

static void write_timers(struct tg__page *page)
{
    tg__page_family(page, "timer_outcomes_total", "counter", "How callbacks of timers ended.");
    tg__page_rows(page, "timer_outcomes_total",
                  &(const struct tg__page_axis){"outcome", page->labels->hook_outcomes,
                                                TG_METRICS_HOOK_OUTCOMES},
                  page->shards[0]->timer_outcomes);
}

static void write_kv(struct tg__page *page, const struct tg_metrics_kv *kv)
{
    tg__page_family(page, "kv_entries", "gauge", "Entries of the store that scripts share.");
    TG__EMIT(page, "tidegate_kv_entries %" PRIu64 "\n", kv->entries);
    tg__page_family(page, "kv_bytes", "gauge", "Bytes of these entries.");
    TG__EMIT(page, "tidegate_kv_bytes %" PRIu64 "\n", kv->bytes);
    tg__page_family(page, "kv_evictions_total", "counter",
                    "Entries that had to go because kv.memory was full.");
    TG__EMIT(page, "tidegate_kv_evictions_total %" PRIu64 "\n", kv->evictions);
    tg__page_family(page, "kv_operations_total", "counter", "Uses of the store by scripts.");
    for (size_t i = 0; i < kv->operation_count; i++) {
        if (kv->operations[i] > 0)
            tg__page_row(page, "kv_operations_total", "operation", kv->operation_names[i],
                         kv->operations[i]);
    }
}

static void write_passes(struct tg__page *page, const struct tg_metrics_passes *passes)
{
    tg__page_family(page, "tickets_total", "counter",
                    "Tickets issued, and what became of those that were shown.");
    for (size_t i = 0; i < passes->outcome_count; i++) {
        if (passes->tickets[i] > 0)
            tg__page_row(page, "tickets_total", "outcome", passes->outcome_names[i],
                         passes->tickets[i]);
    }
    tg__page_family(page, "token_revocations_total", "counter", "Tokens revoked.");
    TG__EMIT(page, "tidegate_token_revocations_total %" PRIu64 "\n", passes->revocations);
}

static void write_facts(struct tg__page *page, const struct tg_metrics_facts *facts)
{
    const char *const names[2] = {"version", "build"};

    tg__page_family(page, "reloads_total", "counter", "Policy reloads by result.");
    if (facts->reloads_ok > 0)
        tg__page_row(page, "reloads_total", "result", "ok", facts->reloads_ok);
    if (facts->reloads_failed > 0)
        tg__page_row(page, "reloads_total", "result", "failed", facts->reloads_failed);
    tg__page_family(page, "policy_info", "gauge", "The policy that serves new calls.");
    if (facts->policy_version != NULL)
        tg__page_row(page, "policy_info", "version", facts->policy_version, 1);
    tg__page_family(page, "script_memory_bytes", "gauge",
                    "Memory that the policy holds on each worker.");
    for (size_t i = 0; i < page->shard_count; i++)
        TG__EMIT(page, "tidegate_script_memory_bytes{worker=\"%zu\"} %" PRIu64 "\n", i + 1,
                 tg_counter_get(&page->shards[i]->script_memory_bytes));
    tg__page_family(page, "uptime_seconds", "gauge", "Time since the start.");
    TG__EMIT(page, "tidegate_uptime_seconds %.3f\n", (double)facts->uptime_ms / 1000.0);
    tg__page_family(page, "build_info", "gauge", "The program.");
    tg__page_row2(page, "build_info", names, (const char *const[2]){facts->version, facts->build},
                  1);
}

enum tg_err tg_metrics_write(struct tg_buffer *out, const struct tg_metrics *const *shards,
                             size_t shard_count, const struct tg_metrics_labels *labels,
                             const struct tg_metrics_facts *facts)
{
    static const struct tg_metrics nothing;
    const struct tg_metrics *const none[1] = {&nothing};
    struct tg__page page = {
        .out = out, .shards = shards, .shard_count = shard_count, .labels = labels};

    if (shard_count == 0) {
        page.shards = none;
        page.shard_count = 1;
    }
    write_states(&page);
    write_plain_counters(&page);
    write_closes(&page);
    write_refusals(&page);
    write_traffic(&page);
    write_hooks(&page);
    write_timers(&page);
    tg__page_denials(&page);
    write_auth_events(&page);
    tg__page_runs(&page);
    write_http(&page);
    write_processes(&page);
    write_rebuilds(&page);
    write_kv(&page, &facts->kv);
    write_passes(&page, &facts->passes);
    write_facts(&page, facts);
    return page.err;
}
