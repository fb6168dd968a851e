/* dispatch_test.c - what answers a message, and what the client is told when nothing does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "connection/connection.h"
#include "support/bench.h"

static void mistakes_are_answered_and_forgiven(void **state)
{
    static const struct {
        const char *message;
        const char *code;
        const char *id; /* as echoed, or NULL */
    } rows[] = {
        {"", "bad_json", NULL},
        {"nope", "bad_json", NULL},
        {"{\"type\":\"ping\"} x", "bad_json", NULL},
        {"[]", "bad_message", NULL},
        {"{}", "bad_message", NULL},
        {"{\"type\":1,\"id\":\"a\"}", "bad_message", "\"id\":\"a\""},
        {"{\"type\":\"ping\",\"id\":[1]}", "bad_message", NULL},
        {"{\"type\":\"ping\",\"id\":{}}", "bad_message", NULL},
        {"{\"type\":\"dance\",\"id\":4}", "unknown_type", "\"id\":4"},
        {"{\"type\":\"agent_execution\",\"id\":4}", "bad_message", "\"id\":4"},
        {"{\"type\":\"agent_execution\",\"data\":[]}", "bad_message", NULL},
        {"{\"type\":\"agent_execution\",\"data\":{}}", "bad_message", NULL},
        {"{\"type\":\"agent_execution\",\"data\":{\"message\":1}}", "bad_message", NULL},
        {"{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\",\"agent_type\":1}}",
         "bad_message", NULL},
        {"{\"type\":\"agent_cancel\",\"id\":\"z\"}", "bad_message", "\"id\":\"z\""},
        {"{\"type\":\"agent_cancel\",\"data\":{\"run_id\":\"run_0\"}}", "unknown_run", NULL},
    };
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char code[40];
        (void)snprintf(code, sizeof code, "\"code\":\"%s\"", rows[i].code);
        bench_send_text(b, client, rows[i].message);
        const char *answer = bench_expect(b, client, code);
        assert_non_null(strstr(answer, "{\"type\":\"error\""));
        if (rows[i].id != NULL)
            assert_non_null(strstr(answer, rows[i].id));
        else
            assert_null(strstr(answer, "\"id\""));
    }
    bench_send_frame(b, client, 2, "\0\1", 2);
    (void)bench_expect(b, client, "\"code\":\"bad_message\"");
    assert_int_equal(bench_state(b), TG_PROCESSING_READY);
    assert_int_equal(b->run_starts, 0);
}

static void strict_closes_with_4400(void **state)
{
    struct bench *b = *state;
    b->options.strict = true;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_text(b, client, "{\"type\":\"dance\"}");
    (void)bench_expect_close(b, client, 4400);
}

static void ping_echoes_the_id_as_it_was(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_text(b, client, " { \"id\" : \"a\\u00e4\\\"\" , \"type\" : \"ping\" } ");
    assert_string_equal(bench_expect(b, client, "pong"),
                        "{\"type\":\"pong\",\"id\":\"a\\u00e4\\\"\"}");
    bench_send_text(b, client, "{\"type\":\"ping\"}");
    assert_string_equal(bench_expect(b, client, "pong"), "{\"type\":\"pong\"}");
}

static void an_execution_without_a_route_hook(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_text(b, client,
                    "{\"type\":\"agent_execution\",\"id\":\"r1\","
                    "\"data\":{\"message\":\"hi\",\"agent_type\":\"super\\u0076isor\"}}");
    BENCH_UNTIL(b, b->run_starts == 1);
    assert_string_equal(b->run_agent, "supervisor");
    assert_string_equal(b->run_request_id, "\"r1\"");
    assert_string_equal(b->run_input, "{\"message\":\"hi\",\"agent_type\":\"super\\u0076isor\"}");
    assert_int_equal(bench_state(b), TG_PROCESSING);
    bench_send_text(
        b, client,
        "{\"type\":\"agent_execution\",\"data\":{\"message\":\"\",\"agent_type\":null}}");
    BENCH_UNTIL(b, b->run_starts == 2);
    assert_string_equal(b->run_agent, ""); /* the choice is left to agent/ */
    assert_string_equal(b->run_request_id, "");
    bench_run_ended(b, bench_conn(b));
    assert_int_equal(bench_state(b), TG_PROCESSING);
    bench_run_ended(b, bench_conn(b));
    assert_int_equal(bench_state(b), TG_PROCESSING_READY);
}

static void an_agent_name_too_long_is_unknown(void **state)
{
    struct bench *b = *state;
    char text[400];
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    (void)snprintf(
        text, sizeof text,
        "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\",\"agent_type\":\"%0200d\"}}", 0);
    bench_send_text(b, client, text);
    (void)bench_expect(b, client, "unknown_agent");
    assert_int_equal(b->run_starts, 0);
}

static void why_a_run_was_not_started(void **state)
{
    static const struct {
        enum tg_err err;
        const char *code;
    } rows[] = {
        {TG_ERR_NOT_FOUND, "unknown_agent"}, {TG_ERR_INVALID, "unknown_agent"},
        {TG_ERR_LIMIT, "too_many_runs"},     {TG_ERR_NOMEM, "overloaded"},
        {TG_ERR_SCRIPT, "overloaded"},
    };
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        b->run_start_error = rows[i].err;
        bench_send_text(b, client,
                        "{\"type\":\"agent_execution\",\"id\":9,\"data\":{\"message\":\"m\"}}");
        assert_non_null(strstr(bench_expect(b, client, rows[i].code), "\"id\":9"));
    }
    b->run_start_error = TG_ERR_CLOSED;
    bench_send_text(b, client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
    bench_send_text(b, client, "{\"type\":\"ping\"}");
    (void)bench_expect(b, client, "pong"); /* and nothing before it */
}

static void route(struct bench *b, struct bench_client *client, struct tg_hook_result result,
                  bool later)
{
    b->replies[TG_HOOK_ROUTE] = (struct bench_reply){later ? BENCH_LATER : BENCH_NOW, result};
    size_t asked = bench_asked(b, TG_HOOK_ROUTE);
    bench_send_text(b, client,
                    "{\"type\":\"agent_execution\",\"id\":5,\"data\":{\"message\":\"m\"}}");
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_ROUTE) == asked + 1);
    assert_string_equal(bench_last(b, TG_HOOK_ROUTE)->data,
                        "{\"type\":\"agent_execution\",\"id\":5,\"data\":{\"message\":\"m\"}}");
    if (later) {
        bench_send_text(b, client, "{\"type\":\"ping\"}"); /* overwrites the read buffer */
        bench_turns(b, 5);
        bench_answer(b, TG_HOOK_ROUTE, result);
    }
}

static void the_route_hook_decides(void **state)
{
    struct bench *b = *state;
    struct tg_hook_result to_billing = bench_yes();
    to_billing.agent = "billing";
    b->replies[TG_HOOK_ROUTE].when = BENCH_NOW;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    for (int later = 0; later < 2; later++) {
        route(b, client, to_billing, later);
        assert_int_equal(b->run_starts, 2 * later + 1);
        assert_string_equal(b->run_agent, "billing");
        assert_string_equal(b->run_request_id, "5");
        if (later)
            (void)bench_expect(b, client, "pong");
        route(b, client, bench_denied(NULL), later);
        (void)bench_expect(b, client, "the policy refused it");
        if (later)
            (void)bench_expect(b, client, "pong");
        route(b, client, bench_denied("no credit"), later);
        assert_non_null(strstr(bench_expect(b, client, "no credit"), "\"id\":5"));
        if (later)
            (void)bench_expect(b, client, "pong");
        route(b, client, bench_yes(), later);
        assert_string_equal(b->run_agent, "");
        if (later)
            (void)bench_expect(b, client, "pong");
    }
    route(b, client, bench_fault(TG_HOOK_CPU_BUDGET_OUTCOME), false);
    (void)bench_expect_close(b, client, 1011);
}

static void cancel_goes_to_the_runs(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_text(b, client, "{\"type\":\"agent_cancel\",\"data\":{\"run_id\":\"run_7\"}}");
    (void)bench_expect(b, client, "unknown_run");
    assert_string_equal(b->run_cancelled, "run_7");
}

static void hooks_for_messages_and_bytes(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    b->replies[TG_HOOK_BINARY] = (struct bench_reply){BENCH_LATER, bench_yes()};
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_text(b, client, "{\"type\":\"dance\"}");
    bench_send_frame(b, client, 2, "\1\0\2", 3);
    bench_send_text(b, client, "{\"type\":\"ping\"}");
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_BINARY));
    assert_string_equal(bench_last(b, TG_HOOK_MESSAGE)->data, "{\"type\":\"dance\"}");
    assert_int_equal(bench_last(b, TG_HOOK_BINARY)->len, 3);
    assert_memory_equal(bench_last(b, TG_HOOK_BINARY)->data, "\1\0\2", 3);
    bench_turns(b, 3);
    assert_int_equal(client->len, 0); /* one hook at a time, in order */
    bench_answer(b, TG_HOOK_BINARY, bench_yes());
    (void)bench_expect(b, client, "pong");
    b->replies[TG_HOOK_MESSAGE].result = bench_fault(TG_HOOK_ERROR_OUTCOME);
    bench_send_text(b, client, "{\"type\":\"dance\"}");
    (void)bench_expect_close(b, client, 1011);
}

static void a_protocol_of_its_own(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_TEXT] = (struct bench_reply){BENCH_NOW, bench_yes()};
    bench_start(b);
    struct bench_client *client = bench_open(b);
    bench_send_text(b, client, "not json");
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_TEXT) == 1);
    assert_string_equal(bench_last(b, TG_HOOK_TEXT)->data, "not json");
    bench_send_text(b, client, "{\"type\":\"ping\"}");
    BENCH_UNTIL(b, bench_asked(b, TG_HOOK_TEXT) == 2);
    assert_int_equal(tg_conn_send_text(bench_conn(b), "hello", 5), TG_ERR_OK);
    tg_conn_send_error(bench_conn(b), "x", "y", NULL, 0);
    (void)bench_expect(b, client, "hello"); /* no connection_ready, no pong, no error before it */
    bench_send_frame(b, client, 2, "x", 1);
    (void)bench_expect_close(b, client, 1003);
}

static void an_open_identity_can_be_renewed(void **state)
{
    struct bench *b = *state;
    struct tg_hook_result renewed = bench_identity("ann");
    renewed.identity = (struct tg_blob){(const uint8_t *)"newer", 5};
    b->replies[TG_HOOK_REAUTHENTICATE] = (struct bench_reply){BENCH_NOW, renewed};
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_text(b, client, "{\"type\":\"authenticate\",\"data\":{\"token\":\"t2\"}}");
    (void)bench_expect(b, client, "{\"type\":\"authenticated\",\"data\":{\"user_id\":\"ann\"}}");
    assert_non_null(strstr(bench_last(b, TG_HOOK_REAUTHENTICATE)->data, "t2"));
    assert_memory_equal(tg_conn_identity(bench_conn(b)).data, "newer", 5);
    b->replies[TG_HOOK_REAUTHENTICATE].result = bench_identity("eve");
    bench_send_text(b, client, "{\"type\":\"authenticate\"}");
    (void)bench_expect_close(b, client, 1011);
    assert_string_equal(tg_conn_user_id(bench_conn(b)), "ann");
    assert_memory_equal(tg_conn_identity(bench_conn(b)).data, "newer", 5);
    assert_int_equal(tg_counter_get(&b->metrics->script_tampering), 1);
}

static void a_refused_renewal_ends_it(void **state)
{
    struct bench *b = *state;
    struct tg_hook_result expired = bench_identity("ann");
    expired.expires_at = 1;
    const struct {
        struct tg_hook_result result;
        int code;
    } rows[] = {
        {bench_denied("revoked"), 4401},
        {{.verdict = TG_VERDICT_NEED_MESSAGE}, 4401},
        {bench_fault(TG_HOOK_WALL_BUDGET_OUTCOME), 1011},
        {expired, 4401},
    };
    bench_start(b);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        b->replies[TG_HOOK_REAUTHENTICATE] = (struct bench_reply){BENCH_NOW, rows[i].result};
        struct bench_client *client = bench_ready(b);
        bench_send_text(b, client, "{\"type\":\"authenticate\"}");
        (void)bench_expect_close(b, client, rows[i].code);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(mistakes_are_answered_and_forgiven),
        T(strict_closes_with_4400),
        T(ping_echoes_the_id_as_it_was),
        T(an_execution_without_a_route_hook),
        T(an_agent_name_too_long_is_unknown),
        T(why_a_run_was_not_started),
        T(the_route_hook_decides),
        T(cancel_goes_to_the_runs),
        T(hooks_for_messages_and_bytes),
        T(a_protocol_of_its_own),
        T(an_open_identity_can_be_renewed),
        T(a_refused_renewal_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
