/* simulation_test.c - a simulated worker: born, ended at any moment, and at rest when it says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "app/test/simulation.h"
#include "base/clock.h"

#define HEAD                                                                                       \
    "local time = require 'tidegate.time' local http = require 'tidegate.http' "                   \
    "local policy = { agents = {} } "                                                              \
    "function policy.authenticate() return { user_id = 'ann' } end "

static struct tg_sim *start(const char *policy)
{
    struct tg_source_text text = {"init.lua", policy, strlen(policy)};
    struct tg_source *source;
    struct tg_sim *sim;
    struct tg_error error = {.text = ""};
    assert_int_equal(tg_sim_create(&sim, UINT64_C(1700000000000), &error), TG_ERR_OK);
    if (tg_sim_start(sim, &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    assert_int_equal(tg_source_from_texts(&source, "policy", &text, 1, &error), TG_ERR_OK);
    if (tg_sim_load(sim, source, &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    tg_source_release(source);
    return sim;
}

static size_t connect_client(struct tg_sim *sim)
{
    struct tg_sim_connect options = {.target = "/", .headers = ""};
    struct tg_error error = {.text = ""};
    size_t number;
    uint64_t left_ms;
    if (tg_sim_connect(sim, &options, &number, &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    assert_int_equal(tg_sim_advance(sim, 0, &left_ms), TG_SIM_QUIET);
    return number;
}

static const char *state_of(struct tg_sim *sim, size_t number)
{
    struct tg_sim_facts facts;
    tg_sim_client_facts(sim, number, &facts);
    return facts.state;
}

static void send(struct tg_sim *sim, size_t number, const char *text)
{
    assert_true(tg_sim_client_send(sim, number, true, text, strlen(text)));
}

static bool got(struct tg_sim *sim, size_t number, const char *part)
{
    struct tg_buffer data = TG_BUFFER_INIT;
    bool text, found = false;
    while (!found && tg_sim_client_take(sim, number, &text, &data)) {
        assert_int_equal(tg_buffer_append(&data, "", 1), TG_ERR_OK);
        found = strstr((const char *)tg_buffer_head(&data), part) != NULL;
        tg_buffer_clear(&data);
    }
    tg_buffer_fini(&data);
    return found;
}

static void serves_without_a_thread_a_socket_or_a_real_clock(void **state)
{
    struct tg_sim *sim = start(HEAD "return policy");
    uint64_t left_ms;
    (void)state;
    size_t client = connect_client(sim);
    assert_string_equal(state_of(sim, client), "processing_ready");
    assert_true(got(sim, client, "connection_ready"));
    assert_int_equal(tg_sim_wall_ms(sim), UINT64_C(1700000000000));
    assert_int_equal(tg_sim_advance(sim, 61000, &left_ms), TG_SIM_QUIET);
    assert_int_equal(left_ms, 0);
    assert_int_equal(tg_sim_wall_ms(sim), UINT64_C(1700000061000));
    assert_string_equal(state_of(sim, client), "idle");
    assert_true(tg_clock_wall_ms() > UINT64_C(1700000061000)); /* this thread's is real again */
    tg_sim_destroy(sim);
}

static void may_end_before_it_starts(void **state)
{
    struct tg_sim *sim;
    struct tg_error error;
    (void)state;
    assert_int_equal(tg_sim_create(&sim, 0, &error), TG_ERR_OK);
    tg_sim_destroy(sim);
    tg_sim_destroy(NULL);
}

static void a_configuration_that_does_not_fit_does_not_start(void **state)
{
    struct tg_config_leaf leaf = {
        .key = "admin", .kind = TG_LEAF_STRING, .string = "0.0.0.0:1", .where = "test"};
    struct tg_sim *sim;
    struct tg_error error = {.text = ""};
    (void)state;
    assert_int_equal(tg_sim_create(&sim, 0, &error), TG_ERR_OK);
    assert_int_equal(tg_sim_set(sim, &leaf, &error), TG_ERR_OK);
    assert_int_not_equal(tg_sim_start(sim, &error), TG_ERR_OK);
    assert_non_null(strstr(error.text, "admin_token"));
    tg_sim_destroy(sim);
}

static void may_end_in_the_middle_of_everything(void **state)
{
    struct tg_sim *sim = start(
        HEAD
        "function policy.message() time.sleep(1000) end "
        "function policy.agents.wait(run) run:tool('x', nil, function() time.sleep(1000) end) end "
        "function policy.agents.ask() return http.get('http://a.example/').body end "
        "function policy.agents.flood(run) while true do run:delta(('x'):rep(9999)) end end "
        "return policy");
    static const char *const messages[] = {
        "{\"type\":\"x\"}",
        "{\"type\":\"agent_execution\",\"data\":{\"message\":\"x\",\"agent_type\":\"wait\"}}",
        "{\"type\":\"agent_execution\",\"data\":{\"message\":\"x\",\"agent_type\":\"flood\"}}",
        "{\"type\":\"agent_execution\",\"data\":{\"message\":\"x\",\"agent_type\":\"ask\"}}",
    };
    struct tg_sim_connect options = {.target = "/", .headers = ""};
    struct tg_error error;
    uint64_t left_ms;
    size_t number;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        size_t client = connect_client(sim);
        if (i == 2)
            tg_sim_client_stall(sim, client, 100);
        send(sim, client, messages[i]);
    }
    assert_int_equal(tg_sim_advance(sim, 5000, &left_ms), TG_SIM_WANTS_HTTP);
    assert_int_equal(left_ms, 5000);
    assert_int_equal(tg_sim_connect(sim, &options, &number, &error), TG_ERR_OK);
    tg_sim_destroy(sim);
}

static void a_policy_that_never_rests_is_noticed(void **state)
{
    struct tg_sim *sim = start(
        HEAD "function policy.agents.busy() while true do time.sleep(0) end end return policy");
    uint64_t left_ms;
    (void)state;
    size_t client = connect_client(sim);
    send(sim, client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"x\"}}");
    assert_int_equal(tg_sim_advance(sim, 0, &left_ms), TG_SIM_RESTLESS);
    tg_sim_destroy(sim);
}

static void facts_outlive_the_connection(void **state)
{
    struct tg_sim *sim = start(HEAD "function policy.message(conn) conn.session.n = 1 "
                                    "conn:close(4100, 'enough') end return policy");
    struct tg_sim_facts facts;
    uint64_t left_ms;
    (void)state;
    size_t client = connect_client(sim);
    send(sim, client, "{\"type\":\"x\"}");
    assert_int_equal(tg_sim_advance(sim, 60000, &left_ms), TG_SIM_QUIET);
    tg_sim_client_facts(sim, client, &facts);
    assert_string_equal(facts.state, "closed");
    assert_string_equal(facts.user_id, "ann");
    assert_true(facts.session.len > 0);
    assert_int_equal(facts.close_code, 4100);
    assert_string_equal(facts.close_reason, "enough");
    assert_non_null(facts.lifecycle);
    tg_sim_destroy(sim);
}

static void log_lines_are_its_own(void **state)
{
    struct tg_sim *one = start(HEAD "return policy");
    struct tg_sim *two = start(HEAD "return policy");
    char id[TG_CONN_ID_SIZE];
    struct tg_sim_facts facts;
    bool found = false;
    (void)state;
    tg_sim_client_facts(one, connect_client(one), &facts);
    (void)snprintf(id, sizeof id, "%s", facts.id);
    for (size_t i = 0; tg_sim_log_line(one, i) != NULL; i++)
        found = found || strstr(tg_sim_log_line(one, i), id) != NULL;
    assert_true(found);
    for (size_t i = 0; tg_sim_log_line(two, i) != NULL; i++)
        assert_null(strstr(tg_sim_log_line(two, i), id));
    tg_sim_destroy(one);
    tg_sim_destroy(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_without_a_thread_a_socket_or_a_real_clock),
        cmocka_unit_test(may_end_before_it_starts),
        cmocka_unit_test(a_configuration_that_does_not_fit_does_not_start),
        cmocka_unit_test(may_end_in_the_middle_of_everything),
        cmocka_unit_test(a_policy_that_never_rests_is_noticed),
        cmocka_unit_test(facts_outlive_the_connection),
        cmocka_unit_test(log_lines_are_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
