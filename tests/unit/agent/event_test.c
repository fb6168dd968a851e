/* event_test.c - the common head of agent events, and that the sequence has no gap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/event.h"
#include "base/json_reader.h"
#include "base/memory.h"
#include "support/bench.h"

static enum tg_err send_event(struct bench *b, enum tg_event type)
{
    struct tg_event_writer event;
    assert_non_null(tg_conn_run_list(bench_conn(b)));
    tg_event_begin(&event, type, bench_conn(b),
                   &(struct tg_event_origin){"run_1", "super\"visor", "0123456789ab", NULL});
    tg_json_member_str(&event.w, "text", "hi");
    return tg_event_send(&event, bench_conn(b));
}

static void check_timestamp(const struct tg_json_value *document)
{
    struct tg_json_value timestamp = tg_json_member(document, "timestamp");
    assert_int_equal(timestamp.len, 26); /* "2026-01-02T03:04:05.678Z" */
    static const char form[] = "\"0000-00-00T00:00:00.000Z\"";
    for (size_t i = 0; i < 26; i++) {
        bool digit = timestamp.raw[i] >= '0' && timestamp.raw[i] <= '9';
        assert_true(form[i] == '0' ? digit : timestamp.raw[i] == form[i]);
    }
}

static void every_event_has_the_same_head(void **state)
{
    static const char *const names[] = {
        [TG_EVENT_STARTED] = "agent_started",
        [TG_EVENT_THINKING] = "agent_thinking",
        [TG_EVENT_DELTA] = "agent_delta",
        [TG_EVENT_TOOL_EXECUTING] = "tool_executing",
        [TG_EVENT_TOOL_COMPLETED] = "tool_completed",
        [TG_EVENT_COMPLETED] = "agent_completed",
        [TG_EVENT_ERROR] = "agent_error",
    };
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    for (int type = 0; type <= TG_EVENT_ERROR; type++) {
        struct tg_json_value document;
        assert_int_equal(send_event(b, (enum tg_event)type), TG_ERR_OK);
        const char *text = bench_expect(b, client, "");
        assert_int_equal(tg_json_parse(text, strlen(text), &document, NULL), TG_ERR_OK);
        struct tg_json_value value = tg_json_member(&document, "type");
        assert_true(tg_json_equals(&value, names[type]));
        value = tg_json_member(&document, "seq");
        assert_int_equal((int)tg_json_number(&value), type + 1);
        value = tg_json_member(&document, "run_id");
        assert_true(tg_json_equals(&value, "run_1"));
        value = tg_json_member(&document, "agent");
        assert_true(tg_json_equals(&value, "super\"visor"));
        value = tg_json_member(&document, "policy_version");
        assert_true(tg_json_equals(&value, "0123456789ab"));
        value = tg_json_member(&document, "data");
        value = tg_json_member(&value, "text");
        assert_true(tg_json_equals(&value, "hi"));
        check_timestamp(&document);
    }
}

/* A number that was taken and not sent would be a gap, so the connection may not live on. */
static void no_memory_ends_the_connection(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    assert_int_equal(send_event(b, TG_EVENT_DELTA), TG_ERR_OK);
    (void)bench_expect(b, client, "agent_delta");
    (void)tg_memory_fail_after(0, 0);
    enum tg_err err = send_event(b, TG_EVENT_DELTA);
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(err, TG_ERR_NOMEM);
    (void)bench_expect_close(b, client, 1011);
}

static void a_closed_connection_gets_none(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    (void)bench_ready(b);
    assert_int_equal(tg_conn_close(bench_conn(b), 1000, ""), TG_ERR_OK);
    assert_int_equal(send_event(b, TG_EVENT_DELTA), TG_ERR_CLOSED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(every_event_has_the_same_head),
        T(no_memory_ends_the_connection),
        T(a_closed_connection_gets_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
