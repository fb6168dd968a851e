/* metrics_text_test.c - the Prometheus page, compared with the exact text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "ops/metrics_text.h"

static const char *const states[TG_METRICS_STATES] = {
    "connecting", "accepted", "authenticated", "services_ready", "processing_ready", "processing",
    "idle",       "degraded", "reconnecting",  "closing",        "closed",           "failed"};
static const char *const hooks[TG_METRICS_HOOKS] = {"upgrade", "h1", "h2", "h3", "h4", "h5",
                                                    "h6",      "h7", "h8", "h9", "h10"};
static const char *const hook_outcomes[TG_METRICS_HOOK_OUTCOMES] = {"ok", "denied", "o2", "o3",
                                                                    "o4", "o5",     "o6", "o7"};
static const char *const run_outcomes[TG_METRICS_RUN_OUTCOMES] = {"completed", "r1", "r2",
                                                                  "r3",        "r4", "r5"};
static const struct tg_metrics_labels labels = {states, hooks, hook_outcomes, run_outcomes};
static const char *const kv_operations[] = {"get", "set"};
static const uint64_t kv_counts[] = {0, 7};
static const char *const ticket_outcomes[] = {"issued", "used", "replayed"};
static const uint64_t ticket_counts[] = {5, 0, 2};
static const struct tg_metrics_facts facts = {.version = "1.2.3",
                                              .build = "abc \"debug\"",
                                              .policy_version = "0f1e",
                                              .reloads_ok = 2,
                                              .uptime_ms = 1500,
                                              .kv = {.entries = 3,
                                                     .bytes = 300,
                                                     .evictions = 1,
                                                     .operation_names = kv_operations,
                                                     .operations = kv_counts,
                                                     .operation_count = 2},
                                              .passes = {.outcome_names = ticket_outcomes,
                                                         .tickets = ticket_counts,
                                                         .outcome_count = 3,
                                                         .revocations = 4}};

static struct tg_metrics *shards[2];
static struct tg_buffer page;

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++)
        shards[i] = tg_xcalloc(1, sizeof *shards[i]);
    page = TG_BUFFER_INIT;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tg_buffer_fini(&page);
    for (size_t i = 0; i < 2; i++)
        tg_free(shards[i]);
    return 0;
}

static const char *render(void)
{
    const struct tg_metrics *const list[] = {shards[0], shards[1]};

    tg_buffer_clear(&page);
    assert_int_equal(tg_metrics_write(&page, list, 2, &labels, &facts), TG_ERR_OK);
    assert_int_equal(tg_buffer_append(&page, "", 1), TG_ERR_OK);
    return (const char *)tg_buffer_head(&page);
}

/* The block of one family: from its HELP line to the next. */
static void assert_family(const char *name, const char *expected)
{
    const char *text = render();
    char head[96];
    char block[2048];

    snprintf(head, sizeof head, "# HELP tidegate_%s ", name);
    const char *start = strstr(text, head);
    assert_non_null(start);
    const char *end = strstr(start + 1, "# HELP ");
    snprintf(block, sizeof block, "%.*s", end == NULL ? (int)strlen(start) : (int)(end - start),
             start);
    assert_string_equal(block, expected);
}

static void states_are_always_all_there(void **state)
{
    (void)state;
    tg_counter_add(&shards[0]->states[0], 2);
    tg_counter_add(&shards[1]->states[0], 3);
    tg_counter_add(&shards[1]->states[6], 1);
    assert_family("connections", "# HELP tidegate_connections Connections by state.\n"
                                 "# TYPE tidegate_connections gauge\n"
                                 "tidegate_connections{state=\"connecting\"} 5\n"
                                 "tidegate_connections{state=\"accepted\"} 0\n"
                                 "tidegate_connections{state=\"authenticated\"} 0\n"
                                 "tidegate_connections{state=\"services_ready\"} 0\n"
                                 "tidegate_connections{state=\"processing_ready\"} 0\n"
                                 "tidegate_connections{state=\"processing\"} 0\n"
                                 "tidegate_connections{state=\"idle\"} 1\n"
                                 "tidegate_connections{state=\"degraded\"} 0\n"
                                 "tidegate_connections{state=\"reconnecting\"} 0\n"
                                 "tidegate_connections{state=\"closing\"} 0\n"
                                 "tidegate_connections{state=\"closed\"} 0\n"
                                 "tidegate_connections{state=\"failed\"} 0\n");
}

static void labelled_rows_that_are_zero_are_left_out(void **state)
{
    (void)state;
    assert_family("transitions_total",
                  "# HELP tidegate_transitions_total Moves of the connection state machine.\n"
                  "# TYPE tidegate_transitions_total counter\n");
    tg_counter_add(&shards[0]->transitions[0][1], 7);
    tg_counter_add(&shards[1]->transitions[0][1], 1);
    assert_family("transitions_total",
                  "# HELP tidegate_transitions_total Moves of the connection state machine.\n"
                  "# TYPE tidegate_transitions_total counter\n"
                  "tidegate_transitions_total{from=\"connecting\",to=\"accepted\"} 8\n");
}

static void counters_without_labels_are_summed(void **state)
{
    (void)state;
    tg_counter_add(&shards[0]->connections_opened, 4);
    tg_counter_add(&shards[1]->connections_opened, 5);
    tg_counter_add(&shards[1]->connection_id_mismatches, 1);
    assert_family("connections_opened_total",
                  "# HELP tidegate_connections_opened_total Sockets accepted.\n"
                  "# TYPE tidegate_connections_opened_total counter\n"
                  "tidegate_connections_opened_total 9\n");
    assert_non_null(strstr(render(), "\ntidegate_connection_id_mismatches_total 1\n"));
    assert_non_null(strstr(render(), "\ntidegate_invalid_transitions_total 0\n"));
}

static void closes_stuck_messages_and_bytes_have_their_labels(void **state)
{
    (void)state;
    tg_counter_add(&shards[0]->closes[tg_close_slot_of(1009)], 1);
    tg_counter_add(&shards[0]->closes[tg_close_slot_of(4999)], 2);
    tg_counter_add(&shards[0]->stuck[1], 3);
    tg_counter_add(&shards[0]->messages[TG_IN][TG_MESSAGE_TEXT], 4);
    tg_counter_add(&shards[1]->messages[TG_OUT][TG_MESSAGE_CONTROL], 5);
    tg_counter_add(&shards[1]->bytes[TG_OUT], UINT64_C(5000000000));
    assert_family("closes_total",
                  "# HELP tidegate_closes_total Connections that ended, by WebSocket close code.\n"
                  "# TYPE tidegate_closes_total counter\n"
                  "tidegate_closes_total{code=\"1009\"} 1\n"
                  "tidegate_closes_total{code=\"other\"} 2\n");
    const char *text = render();
    assert_non_null(strstr(text, "\ntidegate_stuck_connections_total{state=\"accepted\"} 3\n"));
    assert_non_null(strstr(text, "\ntidegate_messages_total{direction=\"in\",kind=\"text\"} 4\n"));
    assert_non_null(
        strstr(text, "\ntidegate_messages_total{direction=\"out\",kind=\"control\"} 5\n"));
    assert_non_null(strstr(text, "\ntidegate_bytes_total{direction=\"out\"} 5000000000\n"));
}

static void histograms_are_cumulative_in_seconds(void **state)
{
    (void)state;
    tg_histogram_observe(&shards[0]->hook_duration[0], 10);
    tg_histogram_observe(&shards[1]->hook_duration[0], 300);
    tg_histogram_observe(&shards[1]->hook_duration[0], 60000000);
    assert_family("hook_duration_seconds",
                  "# HELP tidegate_hook_duration_seconds Time that hooks of the policy took.\n"
                  "# TYPE tidegate_hook_duration_seconds histogram\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"1e-05\"} 1\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"2.5e-05\"} 1\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"5e-05\"} 1\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"0.0001\"} 1\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"0.00025\"} 1\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"0.001\"} 2\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"0.005\"} 2\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"0.025\"} 2\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"0.1\"} 2\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"0.5\"} 2\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"2.5\"} 2\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"10\"} 2\n"
                  "tidegate_hook_duration_seconds_bucket{hook=\"upgrade\",le=\"+Inf\"} 3\n"
                  "tidegate_hook_duration_seconds_sum{hook=\"upgrade\"} 60.000310\n"
                  "tidegate_hook_duration_seconds_count{hook=\"upgrade\"} 3\n");
    tg_counter_add(&shards[0]->hook_outcomes[0][1], 6);
    assert_non_null(strstr(
        render(), "\ntidegate_hook_outcomes_total{hook=\"upgrade\",outcome=\"denied\"} 6\n"));
}

#define DENIALS_HEAD                                                                               \
    "# HELP tidegate_auth_denials_total Clients that authentication turned away, by the code of "  \
    "the denial.\n# TYPE tidegate_auth_denials_total counter\n"

static void denials_are_joined_by_reason(void **state)
{
    (void)state;
    assert_family("auth_denials_total", DENIALS_HEAD);
    tg_metrics_count_denial(shards[0], "expired");
    tg_metrics_count_denial(shards[1], "unknown");
    tg_metrics_count_denial(shards[1], "expired");
    assert_family("auth_denials_total",
                  DENIALS_HEAD "tidegate_auth_denials_total{reason=\"expired\"} 2\n"
                               "tidegate_auth_denials_total{reason=\"unknown\"} 1\n");
}

/* Workers meet agents in their own order, and names come from scripts. */
static void agents_are_joined_by_name_and_escaped(void **state)
{
    (void)state;
    tg_counter_add(&tg_metrics_agent(shards[0], "writer")->running, 1);
    tg_counter_add(&tg_metrics_agent(shards[0], "critic")->outcomes[0], 1);
    tg_counter_add(&tg_metrics_agent(shards[1], "critic")->running, 2);
    tg_counter_add(&tg_metrics_agent(shards[1], "critic")->outcomes[0], 3);
    tg_counter_add(&tg_metrics_agent(shards[1], "writer")->running, 4);
    tg_counter_add(&tg_metrics_agent(shards[1], "a\"b\\c\nd")->running, 1);
    tg_counter_add(&tg_metrics_agent(shards[1], "\xff!")->running, 1);
    assert_family("runs", "# HELP tidegate_runs Agent runs under way.\n"
                          "# TYPE tidegate_runs gauge\n"
                          "tidegate_runs{agent=\"writer\"} 5\n"
                          "tidegate_runs{agent=\"critic\"} 2\n"
                          "tidegate_runs{agent=\"a\\\"b\\\\c\\nd\"} 1\n"
                          "tidegate_runs{agent=\"?!\"} 1\n");
    assert_family("run_outcomes_total",
                  "# HELP tidegate_run_outcomes_total How agent runs ended.\n"
                  "# TYPE tidegate_run_outcomes_total counter\n"
                  "tidegate_run_outcomes_total{agent=\"critic\",outcome=\"completed\"} 4\n");
}

static void rebuilds_have_their_reason(void **state)
{
    (void)state;
    tg_counter_add(&shards[0]->script_rebuilds[TG_REBUILD_MEMORY], 1);
    tg_counter_add(&shards[1]->script_rebuilds[TG_REBUILD_MEMORY], 2);
    assert_family(
        "script_rebuilds_total",
        "# HELP tidegate_script_rebuilds_total Script states built anew because they could "
        "not be trusted any more.\n"
        "# TYPE tidegate_script_rebuilds_total counter\n"
        "tidegate_script_rebuilds_total{reason=\"memory\"} 3\n");
}

static void callbacks_of_timers_have_their_outcome(void **state)
{
    (void)state;
    tg_counter_add(&shards[0]->timer_outcomes[0], 1);
    tg_counter_add(&shards[1]->timer_outcomes[0], 1);
    tg_counter_add(&shards[1]->timer_ticks_skipped, 4);
    assert_family("timer_outcomes_total",
                  "# HELP tidegate_timer_outcomes_total How callbacks of timers ended.\n"
                  "# TYPE tidegate_timer_outcomes_total counter\n"
                  "tidegate_timer_outcomes_total{outcome=\"ok\"} 2\n");
    assert_non_null(strstr(render(), "\ntidegate_timer_ticks_skipped_total 4\n"));
}

static void the_shared_store_is_one_for_all_shards(void **state)
{
    (void)state;
    const char *text = render();
    assert_non_null(strstr(text, "\ntidegate_kv_entries 3\n"));
    assert_non_null(strstr(text, "\ntidegate_kv_bytes 300\n"));
    assert_non_null(strstr(text, "\ntidegate_kv_evictions_total 1\n"));
    assert_family("kv_operations_total",
                  "# HELP tidegate_kv_operations_total Uses of the store by scripts.\n"
                  "# TYPE tidegate_kv_operations_total counter\n"
                  "tidegate_kv_operations_total{operation=\"set\"} 7\n");
}

static void tickets_are_counted_by_outcome(void **state)
{
    (void)state;
    assert_non_null(strstr(render(), "\ntidegate_token_revocations_total 4\n"));
    assert_family(
        "tickets_total",
        "# HELP tidegate_tickets_total Tickets issued, and what became of those that were "
        "shown.\n"
        "# TYPE tidegate_tickets_total counter\n"
        "tidegate_tickets_total{outcome=\"issued\"} 5\n"
        "tidegate_tickets_total{outcome=\"replayed\"} 2\n");
}

static void facts_come_last(void **state)
{
    const char *tail = "# HELP tidegate_reloads_total Policy reloads by result.\n"
                       "# TYPE tidegate_reloads_total counter\n"
                       "tidegate_reloads_total{result=\"ok\"} 2\n"
                       "# HELP tidegate_policy_info The policy that serves new calls.\n"
                       "# TYPE tidegate_policy_info gauge\n"
                       "tidegate_policy_info{version=\"0f1e\"} 1\n"
                       "# HELP tidegate_script_memory_bytes Memory that the policy holds on each "
                       "worker.\n"
                       "# TYPE tidegate_script_memory_bytes gauge\n"
                       "tidegate_script_memory_bytes{worker=\"1\"} 100\n"
                       "tidegate_script_memory_bytes{worker=\"2\"} 200\n"
                       "# HELP tidegate_uptime_seconds Time since the start.\n"
                       "# TYPE tidegate_uptime_seconds gauge\n"
                       "tidegate_uptime_seconds 1.500\n"
                       "# HELP tidegate_build_info The program.\n"
                       "# TYPE tidegate_build_info gauge\n"
                       "tidegate_build_info{version=\"1.2.3\",build=\"abc \\\"debug\\\"\"} 1\n";

    (void)state;
    tg_counter_set(&shards[0]->script_memory_bytes, 100);
    tg_counter_set(&shards[1]->script_memory_bytes, 200);
    const char *text = render();
    assert_true(strlen(text) > strlen(tail));
    assert_string_equal(text + strlen(text) - strlen(tail), tail);
}

static void out_of_memory_is_reported(void **state)
{
    const struct tg_metrics *const list[] = {shards[0], shards[1]};

    (void)state;
    tg_memory_fail_after(1, 1);
    enum tg_err err = tg_metrics_write(&page, list, 2, &labels, &facts);
    tg_memory_fail_after(-1, 0);
    assert_int_equal(err, TG_ERR_NOMEM);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(states_are_always_all_there),
        TEST(labelled_rows_that_are_zero_are_left_out),
        TEST(counters_without_labels_are_summed),
        TEST(closes_stuck_messages_and_bytes_have_their_labels),
        TEST(histograms_are_cumulative_in_seconds),
        TEST(agents_are_joined_by_name_and_escaped),
        TEST(denials_are_joined_by_reason),
        TEST(rebuilds_have_their_reason),
        TEST(callbacks_of_timers_have_their_outcome),
        TEST(the_shared_store_is_one_for_all_shards),
        TEST(tickets_are_counted_by_outcome),
        TEST(facts_come_last),
        TEST(out_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
