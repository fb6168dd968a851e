/* connect_session_test.c - what ends a request that a person made of a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "app/connect/connect_session.h"

static struct tg_session session;
static struct tg_error error;

static int set_up(void **state)
{
    (void)state;
    session = (struct tg_session){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tg_session_fini(&session);
    return 0;
}

static void take(const char *text)
{
    struct tg_json_value value;

    assert_int_equal(tg_json_parse(text, strlen(text), &value, &error), TG_ERR_OK);
    tg_session_take(&session, &value);
}

static void add(const char *text)
{
    assert_int_equal(tg_session_add_text(&session, text, &error), TG_ERR_OK);
}

static void assert_sends(const char *text)
{
    const char *next = tg_session_next(&session);

    assert_true((text == NULL) == (next == NULL));
    if (text != NULL)
        assert_string_equal(next, text);
}

static void nothing_is_sent_before_ready_but_a_token(void **state)
{
    (void)state;
    add("{\"type\":\"ping\"}");
    add("{\"type\":\"authenticate\",\"data\":{\"token\":\"x\"}}");
    assert_sends("{\"type\":\"authenticate\",\"data\":{\"token\":\"x\"}}");
    assert_sends(NULL);
    take("{\"type\":\"connection_ready\"}");
    assert_sends("{\"type\":\"ping\"}");
    assert_sends(NULL);
    assert_false(tg_session_ended(&session));
    take("{\"type\":\"pong\"}");
    assert_true(tg_session_ended(&session));
    assert_false(session.failed);
}

static void a_run_is_found_by_its_request(void **state)
{
    (void)state;
    session.ready = true;
    tg_session_add_agent(&session, "bob", "say \"hi\"");
    tg_session_add_agent(&session, NULL, "x");
    assert_sends("{\"type\":\"agent_execution\",\"id\":\"c1\",\"data\":{\"message\":\"say "
                 "\\\"hi\\\"\",\"agent_type\":\"bob\"}}");
    assert_sends("{\"type\":\"agent_execution\",\"id\":\"c2\",\"data\":{\"message\":\"x\"}}");
    take("{\"type\":\"agent_started\",\"run_id\":\"r2\",\"data\":{\"request_id\":\"c2\"}}");
    take("{\"type\":\"agent_started\",\"run_id\":\"r1\",\"data\":{\"request_id\":\"c1\"}}");
    take("{\"type\":\"agent_delta\",\"run_id\":\"r1\",\"data\":{\"text\":\"a\"}}");
    take("{\"type\":\"agent_completed\",\"run_id\":\"r1\",\"data\":{}}");
    assert_int_equal(session.requests[0].state, TG_REQUEST_ENDED);
    assert_int_equal(session.requests[1].state, TG_REQUEST_SENT);
    take("{\"type\":\"agent_completed\",\"run_id\":\"other\",\"data\":{}}");
    assert_false(tg_session_ended(&session));
    take("{\"type\":\"agent_error\",\"run_id\":\"r2\",\"data\":{\"code\":\"timeout\"}}");
    assert_true(tg_session_ended(&session));
    assert_true(session.failed);
}

static void a_request_without_id_takes_the_next_run(void **state)
{
    (void)state;
    session.ready = true;
    add("{\"type\":\"agent_execution\",\"data\":{}}");
    assert_non_null(tg_session_next(&session));
    take("{\"type\":\"agent_started\",\"run_id\":\"r1\",\"data\":{}}");
    take("{\"type\":\"agent_completed\",\"run_id\":\"r1\",\"data\":{}}");
    assert_true(tg_session_ended(&session));
    assert_false(session.failed);
}

static void an_error_ends_the_request_that_it_names(void **state)
{
    (void)state;
    session.ready = true;
    add("{\"type\":\"agent_execution\",\"id\":7,\"data\":{}}");
    add("{\"type\":\"note\"}");
    assert_non_null(tg_session_next(&session));
    assert_non_null(tg_session_next(&session));
    take("{\"type\":\"error\",\"id\":7,\"data\":{\"code\":\"x\"}}");
    assert_int_equal(session.requests[0].state, TG_REQUEST_ENDED);
    assert_false(tg_session_ended(&session));
    take("{\"type\":\"error\",\"data\":{\"code\":\"x\"}}"); /* one that names none: the oldest */
    assert_true(tg_session_ended(&session));
    assert_true(session.failed);
}

static void other_messages_end_with_the_next_that_is_no_event(void **state)
{
    (void)state;
    session.ready = true;
    add("{\"type\":\"note\",\"id\":\"a\"}");
    add("{\"type\":\"note\",\"id\":\"b\"}");
    assert_non_null(tg_session_next(&session));
    assert_non_null(tg_session_next(&session));
    take("{\"type\":\"tool_executing\",\"run_id\":\"r\",\"data\":{}}");
    take("{\"type\":\"pong\"}");
    assert_int_equal(session.requests[0].state, TG_REQUEST_SENT);
    take("{\"type\":\"answer\",\"id\":\"b\"}");
    assert_int_equal(session.requests[0].state, TG_REQUEST_SENT);
    assert_int_equal(session.requests[1].state, TG_REQUEST_ENDED);
    take("{\"type\":\"answer\"}");
    assert_true(tg_session_ended(&session));
}

static void cancel_names_the_last_run(void **state)
{
    (void)state;
    session.ready = true;
    assert_int_equal(tg_session_add_cancel(&session, NULL), TG_ERR_NOT_FOUND);
    take("{\"type\":\"agent_started\",\"run_id\":\"r1\",\"data\":{}}");
    assert_int_equal(tg_session_add_cancel(&session, NULL), TG_ERR_OK);
    assert_int_equal(tg_session_add_cancel(&session, "r0"), TG_ERR_OK);
    assert_sends("{\"type\":\"agent_cancel\",\"data\":{\"run_id\":\"r1\"}}");
    assert_sends("{\"type\":\"agent_cancel\",\"data\":{\"run_id\":\"r0\"}}");
    assert_true(tg_session_ended(&session));
    take("{\"type\":\"agent_completed\",\"run_id\":\"r1\",\"data\":{}}");
    assert_int_equal(tg_session_add_cancel(&session, NULL), TG_ERR_NOT_FOUND);
}

static void runs_that_a_run_has_called_are_no_answers(void **state)
{
    (void)state;
    session.ready = true;
    add("{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
    assert_non_null(tg_session_next(&session));
    take("{\"type\":\"agent_started\",\"run_id\":\"r1\",\"data\":{}}");
    take("{\"type\":\"agent_started\",\"run_id\":\"r2\",\"parent_run_id\":\"r1\",\"data\":{}}");
    take("{\"type\":\"agent_error\",\"run_id\":\"r2\",\"parent_run_id\":\"r1\",\"data\":{}}");
    assert_false(tg_session_ended(&session));
    assert_int_equal(tg_session_add_cancel(&session, NULL), TG_ERR_OK);
    assert_sends("{\"type\":\"agent_cancel\",\"data\":{\"run_id\":\"r1\"}}");
    take("{\"type\":\"agent_completed\",\"run_id\":\"r1\",\"data\":{}}");
    assert_true(tg_session_ended(&session));
    assert_false(session.failed);
}

static void plain_text_is_answered_one_by_one(void **state)
{
    (void)state;
    session.plain = true;
    add("hello");
    add("{\"type\":\"ping\"}");
    assert_sends(NULL);
    session.ready = true;
    assert_sends("hello");
    assert_sends("{\"type\":\"ping\"}");
    tg_session_take(&session, NULL);
    assert_false(tg_session_ended(&session));
    tg_session_take(&session, NULL);
    assert_true(tg_session_ended(&session));
}

static void what_is_no_message_is_refused(void **state)
{
    (void)state;
    assert_int_equal(tg_session_add_text(&session, "{bad", &error), TG_ERR_INVALID);
    assert_non_null(strstr(error.text, "--plain"));
    assert_int_equal(tg_session_add_text(&session, "[1]", &error), TG_ERR_INVALID);
    assert_int_equal(tg_session_add_text(&session, "{\"type\":1}", &error), TG_ERR_INVALID);
    assert_int_equal(session.count, 0);
}

static void what_is_awaited_is_named(void **state)
{
    char text[64];

    (void)state;
    tg_session_add_agent(&session, NULL, "x");
    tg_session_add_agent(&session, NULL, "y");
    add("{\"type\":\"ping\"}");
    tg_session_waiting(&session, text, sizeof text);
    assert_string_equal(text, "connection_ready");
    session.ready = true;
    tg_session_waiting(&session, text, sizeof text);
    assert_string_equal(text, "2 agent runs and 1 answer");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_sent_before_ready_but_a_token),
        TEST(a_run_is_found_by_its_request),
        TEST(a_request_without_id_takes_the_next_run),
        TEST(an_error_ends_the_request_that_it_names),
        TEST(other_messages_end_with_the_next_that_is_no_event),
        TEST(cancel_names_the_last_run),
        TEST(runs_that_a_run_has_called_are_no_answers),
        TEST(plain_text_is_answered_one_by_one),
        TEST(what_is_no_message_is_refused),
        TEST(what_is_awaited_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
