/* health_test.c - the body of GET /health. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/memory.h"
#include "ops/health.h"

#define NOW UINT64_C(1757500188434)

static const char *const states[TG_METRICS_STATES] = {
    "connecting", "accepted", "authenticated", "services_ready", "processing_ready", "processing",
    "idle",       "degraded", "reconnecting",  "closing",        "closed",           "failed"};

static struct tg_metrics *shards[2];
static struct tg_buffer body;
static struct tg_health_facts facts;

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++)
        shards[i] = tg_xcalloc(1, sizeof *shards[i]);
    body = TG_BUFFER_INIT;
    facts = (struct tg_health_facts){
        .status = "ok",
        .uptime_ms = 2500,
        .version = "1.2.3",
        .workers = 2,
        .policy_version = "0f1e",
        .policy_path = "policy.lua",
        .policy_loaded_at_ms = NOW,
        .state_names = states,
        .connecting_state = 0,
        .setup_state_count = 4,
        .now_wall_ms = NOW,
    };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tg_buffer_fini(&body);
    for (size_t i = 0; i < 2; i++)
        tg_free(shards[i]);
    return 0;
}

static const char *render(void)
{
    const struct tg_metrics *const list[] = {shards[0], shards[1]};

    tg_buffer_clear(&body);
    assert_int_equal(tg_health_write(&body, list, 2, &facts), TG_ERR_OK);
    assert_int_equal(tg_buffer_append(&body, "", 1), TG_ERR_OK);
    return (const char *)tg_buffer_head(&body);
}

static void a_fresh_server_is_whole(void **state)
{
    (void)state;
    assert_string_equal(
        render(),
        "{\"status\":\"ok\",\"uptime_seconds\":2.5,\"version\":\"1.2.3\",\"workers\":2,"
        "\"policy\":{\"version\":\"0f1e\",\"path\":\"policy.lua\","
        "\"loaded_at\":\"2025-09-10T10:29:48.434Z\",\"previous\":null,\"last_reload\":null},"
        "\"websocket\":{\"connections\":0,\"states\":{\"connecting\":0,\"accepted\":0,"
        "\"authenticated\":0,\"services_ready\":0,\"processing_ready\":0,\"processing\":0,"
        "\"idle\":0,\"degraded\":0,\"reconnecting\":0,\"closing\":0,\"closed\":0,\"failed\":0},"
        "\"runs\":0,"
        "\"stuck_in_connecting\":0,\"stuck_in_setup\":0,\"state_transition_success_rate\":1,"
        "\"invalid_state_transitions_24h\":0,\"connection_id_mismatches\":0}}");
}

static void assert_has(const char *part)
{
    if (strstr(render(), part) == NULL)
        fail_msg("%s is not in %s", part, render());
}

static void shards_are_summed(void **state)
{
    (void)state;
    tg_counter_add(&shards[0]->states[0], 1);
    tg_counter_add(&shards[1]->states[0], 2);
    tg_counter_add(&shards[1]->states[6], 4);
    tg_counter_add(&shards[0]->stuck_now[0], 1);
    tg_counter_add(&shards[1]->stuck_now[3], 2);
    tg_counter_add(&shards[1]->stuck_now[5], 9); /* not a setup state */
    tg_counter_add(&shards[0]->transitions_attempted, 6);
    tg_counter_add(&shards[1]->transitions_attempted, 2);
    tg_counter_add(&shards[1]->invalid_transitions, 2);
    tg_counter_add(&shards[1]->connection_id_mismatches, 5);
    tg_counter_add(&tg_metrics_agent(shards[0], "echo")->running, 1);
    tg_counter_add(&tg_metrics_agent(shards[0], "other")->running, 2);
    tg_counter_add(&tg_metrics_agent(shards[1], "echo")->running, 3);
    tg_hourly_add(&shards[0]->invalid_transitions_by_hour, NOW - 3600000);
    tg_hourly_add(&shards[1]->invalid_transitions_by_hour, NOW);
    assert_has("\"connections\":7,\"states\":{\"connecting\":3,");
    assert_has("\"idle\":4,");
    assert_has("\"runs\":6,\"stuck_in_connecting\":1,\"stuck_in_setup\":3,");
    assert_has("\"state_transition_success_rate\":0.75,");
    assert_has("\"invalid_state_transitions_24h\":2,");
    assert_has("\"connection_id_mismatches\":5}");
}

static void a_failed_reload_is_told_with_its_error(void **state)
{
    (void)state;
    facts.last_reload_result = "failed";
    facts.last_reload_why = "SIGHUP";
    facts.last_reload_error = "policy.lua:3: '=' expected";
    facts.last_reload_at_ms = NOW + 1000;
    assert_has("\"last_reload\":{\"result\":\"failed\",\"why\":\"SIGHUP\",\"error\":\"policy.lua:3:"
               " '=' expected\","
               "\"at\":\"2025-09-10T10:29:49.434Z\"}");
    facts.last_reload_result = "ok";
    facts.last_reload_error = NULL;
    facts.policy_previous = "1a2b";
    assert_has("\"previous\":\"1a2b\"");
    assert_has("\"last_reload\":{\"result\":\"ok\",\"why\":\"SIGHUP\",\"error\":null,");
}

static void the_rate_never_leaves_its_range(void **state)
{
    (void)state;
    tg_counter_add(&shards[0]->transitions_attempted, 1);
    tg_counter_add(&shards[0]->invalid_transitions, 3);
    assert_has("\"state_transition_success_rate\":0,");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_fresh_server_is_whole),
        TEST(shards_are_summed),
        TEST(a_failed_reload_is_told_with_its_error),
        TEST(the_rate_never_leaves_its_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
