/* websocket_test.c - what a script opens elsewhere, against a client that the test plays: each end is told
 * once, nothing outlives its call, and what waits here is bounded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ws_client.h"
#include "support/script_fixture.h"

/* The network. */
static struct {
    struct tg_ws_client client;
    struct tg_ws_link link;
    const struct tg_ws_link_callbacks *callbacks;
    void *ctx;
    int starts, sends, closes, pauses, resumes;
    bool refuses; /* memory is out */
    bool waits;   /* send does not get rid of it at once */
    bool ending;  /* send is too late */
    int code;
    uint64_t idle_timeout_ms; /* set after the start */
    char sent[512];           /* last */
} fake;

static enum tg_err start(struct tg_ws_client *client, const struct tg_ws_request *request,
                         const struct tg_ws_link_callbacks *callbacks, void *ctx,
                         struct tg_ws_link **out)
{
    assert_string_equal(request->url, "ws://upstream.test/run");
    fake.starts++;
    if (fake.refuses)
        return TG_ERR_NOMEM;
    fake.callbacks = callbacks;
    fake.ctx = ctx;
    fake.link.client = client;
    *out = &fake.link;
    return TG_ERR_OK;
}

static enum tg_err send_message(struct tg_ws_link *link, bool text, const void *data, size_t len,
                                bool *waits)
{
    (void)link;
    assert_true(text);
    *waits = fake.waits;
    if (fake.ending)
        return TG_ERR_CLOSED;
    fake.sends++;
    (void)snprintf(fake.sent, sizeof fake.sent, "%.*s", (int)len, (const char *)data);
    return TG_ERR_OK;
}

static void pause_link(struct tg_ws_link *link)
{
    (void)link;
    fake.pauses++;
}

static void resume_link(struct tg_ws_link *link)
{
    (void)link;
    fake.resumes++;
}

static void set_idle_timeout(struct tg_ws_link *link, uint64_t ms)
{
    (void)link;
    fake.idle_timeout_ms = ms;
}

static void close_link(struct tg_ws_link *link, int code, const char *reason)
{
    (void)link;
    (void)reason;
    fake.closes++;
    fake.code = code;
}

static void destroy(struct tg_ws_client *client)
{
    (void)client;
}

static const struct tg_ws_client_ops ops = {
    start, send_message, pause_link, resume_link, set_idle_timeout, close_link, destroy};

/* --- a policy ------------------------------------------------------------------------------------- */

#define POLICY                                                                                     \
    "local agent = require 'tidegate.agent'\n"                                                     \
    "local time = require 'tidegate.time'\n"                                                       \
    "local policy, texts = {}, {}\n"                                                               \
    "function policy.authenticate() return { user_id = 'a' } end\n"                                \
    "local remote = agent.websocket{ url = 'ws://upstream.test/run', retries = 0, %s }\n"          \
    "local methods = {}\n"                                                                         \
    "function methods:delta(text) texts[#texts + 1] = text %s return true end\n"                   \
    "local run = setmetatable({ id = 'run_1', agent = 'remote' }, { __index = methods })\n"        \
    "function policy.message()\n"                                                                  \
    "  texts = {}\n"                                                                               \
    "  local answer, why, code = remote(run, 'hi')\n"                                              \
    "  return table.concat(texts):sub(1, 100) .. '|' .. tostring(answer or code)\n"                \
    "end\n"                                                                                        \
    "return policy"

static void load(struct script_fixture *fx, const char *options, const char *in_delta)
{
    char text[2048];

    fake.client.ops = &ops;
    fx->env.websockets = &fake.client;
    (void)snprintf(text, sizeof text, POLICY, options, in_delta);
    if (fixture_load(fx, text) != TG_ERR_OK)
        fail_msg("%s", fx->error.text);
    memset(&fake, 0, sizeof fake); /* after the last policy has let go of it */
    fake.client.ops = &ops;
    fx->done = 0;
}

static void message(const char *text)
{
    fake.callbacks->on_message(fake.ctx, true, text, strlen(text));
}

static void done(enum tg_fetch_outcome outcome, int status, int code)
{
    struct tg_ws_done how = {.outcome = outcome,
                             .text = "upstream.test: why",
                             .status = status,
                             .code = code,
                             .reason = ""};

    fake.callbacks->on_done(fake.ctx, &how);
}

/* A call that is open and has asked. */
static struct tg_call *ask(struct script_fixture *fx)
{
    struct tg_call *call = fixture_call(fx, 0);

    assert_non_null(call);
    assert_int_equal(fake.starts, 1);
    fake.callbacks->on_open(fake.ctx, "");
    assert_int_equal(fx->done, 0);
    return call;
}

static void assert_farewell(void)
{
    assert_int_equal(fake.closes, 1);
    assert_int_equal(fake.code, 1000);
    assert_text_has(fake.sent, "\"agent_cancel\"");
    assert_text_has(fake.sent, "\"run_1\"");
}

/* --- tests ---------------------------------------------------------------------------------------- */

static void events_reach_the_script_in_order_and_the_end_closes(void **state)
{
    struct script_fixture *fx = *state;

    load(fx, "", "");
    (void)ask(fx);
    assert_int_equal(fake.sends, 1);
    assert_text_has(fake.sent, "\"agent_execution\"");
    message("{\"type\":\"agent_delta\",\"text\":\"a\"}");
    message("{\"type\":\"agent_delta\",\"text\":\"b\"}");
    message("{\"type\":\"agent_completed\",\"response\":\"end\"}");
    assert_int_equal(fx->done, 1);
    assert_string_equal(fx->result, "ab|end");
    assert_int_equal(fake.closes, 1);
    assert_int_equal(fake.code, 1000);
    assert_int_equal(fake.sends, 1); /* no farewell */
}

static void each_end_has_its_code(void **state)
{
    static const struct {
        bool opened, begun;
        enum tg_fetch_outcome outcome;
        int status, code;
        const char *result;
    } rows[] = {
        {false, false, TG_FETCH_REFUSED, 0, 0, "|upstream_unavailable"},
        {false, false, TG_FETCH_TIMEOUT, 0, 0, "|upstream_timeout"},
        {false, false, TG_FETCH_OK, 401, 0, "|upstream_refused"},
        {true, false, TG_FETCH_RESET, 0, 0, "|upstream_unavailable"},
        {true, true, TG_FETCH_RESET, 0, 0, "a|upstream_unavailable"},
        {true, true, TG_FETCH_PROTOCOL, 0, 0, "a|bad_upstream_answer"},
        {true, true, TG_FETCH_TOO_LARGE, 0, 0, "a|bad_upstream_answer"},
        {true, true, TG_FETCH_OK, 0, 4429, "a|rate_limited"},
        {true, true, TG_FETCH_OK, 0, 1005, "a|upstream_unavailable"},
    };
    struct script_fixture *fx = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        load(fx, "circuit = false", "");
        if (rows[i].opened)
            (void)ask(fx);
        else
            assert_non_null(fixture_call(fx, 0));
        if (rows[i].begun)
            message("{\"type\":\"agent_delta\",\"text\":\"a\"}");
        done(rows[i].outcome, rows[i].status, rows[i].code);
        assert_int_equal(fx->done, 1);
        assert_string_equal(fx->result, rows[i].result);
        assert_int_equal(fake.closes, 0); /* it was gone already */
    }
}

static void a_cancelled_call_says_farewell(void **state)
{
    struct script_fixture *fx = *state;

    load(fx, "", "");
    tg_call_cancel(fixture_call(fx, 0)); /* not open yet: nobody to say it to */
    assert_int_equal(fake.closes, 1);
    assert_int_equal(fake.sends, 0);

    load(fx, "", "");
    tg_call_cancel(ask(fx));
    assert_farewell();

    load(fx, "", "time.sleep(60)");
    struct tg_call *call = ask(fx);
    message("{\"type\":\"agent_delta\",\"text\":\"a\"}"); /* it waits for something else */
    tg_call_cancel(call);
    assert_farewell();
    assert_int_equal(fx->done, 0);
}

static void a_call_that_is_killed_or_fails_says_farewell(void **state)
{
    struct script_fixture *fx = *state;

    load(fx, "", "while true do end");
    (void)ask(fx);
    message("{\"type\":\"agent_delta\",\"text\":\"a\"}");
    assert_int_equal(fx->done, 1);
    assert_int_equal(fx->outcome, TG_CALL_CPU_BUDGET);
    assert_farewell();

    load(fx, "", "error 'no'");
    (void)ask(fx);
    message("{\"type\":\"agent_delta\",\"text\":\"a\"}");
    assert_int_equal(fx->outcome, TG_CALL_ERROR);
    assert_farewell();

    load(fx, "", "");
    assert_non_null(fixture_call(fx, 20)); /* wall budget */
    fake.callbacks->on_open(fake.ctx, "");
    fixture_loop_until(fx, 1);
    assert_int_equal(fx->outcome, TG_CALL_WALL_BUDGET);
    assert_farewell();
}

static void what_nobody_takes_holds_the_server_back(void **state)
{
    struct script_fixture *fx = *state;
    char text[4200];

    load(fx, "", "time.sleep(0)");
    (void)ask(fx);
    (void)snprintf(text, sizeof text, "{\"type\":\"agent_delta\",\"text\":\"%04000d\"}", 0);
    for (int i = 0; i < 17; i++)
        message(text); /* the first is taken, and its reader waits */
    assert_int_equal(fake.pauses, 0);
    message(text);
    assert_int_equal(fake.pauses, 1);
    assert_int_equal(fake.resumes, 0);
    while (fake.resumes == 0)
        (void)uv_run(&fx->loop, UV_RUN_ONCE);
    assert_int_equal(fx->done, 0);
    message("{\"type\":\"agent_completed\",\"response\":1}");
    fixture_loop_until(fx, 1);
    assert_text_has(fx->result, "|1");
}

static void a_message_that_the_state_has_no_room_for_ends_it(void **state)
{
    struct script_fixture *fx = *state;
    size_t len = (size_t)20 << 20;
    char *data = calloc(1, len);

    assert_non_null(data);
    load(fx, "", "");
    (void)ask(fx);
    fake.callbacks->on_message(fake.ctx, true, data, len);
    free(data);
    assert_int_equal(fx->done, 1);
    assert_string_equal(fx->result, "|bad_upstream_answer");
    assert_int_equal(fake.code, 1009);
}

static void what_is_sent_waits_until_it_is_written_or_lost(void **state)
{
    struct script_fixture *fx = *state;

    load(fx, "", "");
    fake.waits = true;
    (void)ask(fx);
    message("{\"type\":\"agent_completed\",\"response\":1}"); /* too early, and kept */
    assert_int_equal(fx->done, 0);
    fake.callbacks->on_written(fake.ctx);
    assert_int_equal(fx->done, 1);
    assert_string_equal(fx->result, "|1");

    load(fx, "", "");
    fake.waits = true;
    (void)ask(fx);
    done(TG_FETCH_RESET, 0, 0);
    assert_string_equal(fx->result, "|upstream_unavailable");

    load(fx, "", "");
    fake.ending = true; /* what is ending it will be told */
    (void)ask(fx);
    done(TG_FETCH_OK, 0, 4401);
    assert_string_equal(fx->result, "|upstream_refused");
}

static void no_memory_for_a_link_is_an_error_and_leaves_nothing(void **state)
{
    struct script_fixture *fx = *state;

    load(fx, "", "");
    fake.refuses = true;
    assert_null(fixture_call(fx, 0));
    assert_int_equal(fx->outcome, TG_CALL_ERROR);
    assert_text_has(fx->text, "not enough memory");
    assert_int_equal(fake.closes, 0);
}

static void a_kept_connection_is_nobodys_until_the_next_call(void **state)
{
    struct script_fixture *fx = *state;

    load(fx, "reuse = 60, idle_timeout = 7", "");
    fake.idle_timeout_ms = 1;
    (void)ask(fx);
    message("{\"type\":\"agent_completed\",\"response\":1}");
    assert_int_equal(fx->done, 1);
    assert_int_equal(fake.closes, 0);
    assert_int_equal(fake.idle_timeout_ms, 0);
    struct tg_call *call = fixture_call(fx, 0); /* asks on the same */
    assert_int_equal(fake.idle_timeout_ms, 7000);
    assert_int_equal(fake.starts, 1);
    assert_int_equal(fake.sends, 2);
    message("{\"type\":\"agent_completed\",\"response\":2}");
    assert_string_equal(fx->result, "|2");
    message("{\"type\":\"agent_delta\",\"text\":\"late\"}"); /* nobody asked */
    assert_int_equal(fake.closes, 1);
    assert_int_equal(fake.code, 1002);
    (void)call;

    load(fx, "reuse = 60", "");
    (void)ask(fx);
    message("{\"type\":\"agent_completed\",\"response\":1}");
    done(TG_FETCH_RESET, 0, 0); /* it dies */
    assert_non_null(fixture_call(fx, 0));
    assert_int_equal(fake.starts, 2);
    fake.callbacks->on_open(fake.ctx, "");
    message("{\"type\":\"agent_completed\",\"response\":3}");
    assert_string_equal(fx->result, "|3");
    tg_generation_destroy(fx->generation); /* the policy goes, and with it what it kept */
    fx->generation = NULL;
    assert_int_equal(fake.closes, 1);
    assert_int_equal(fake.code, 1000);
}

static struct script_fixture fixture;

#define TEST(name)                                                                                 \
    cmocka_unit_test_prestate_setup_teardown(name, fixture_setup, fixture_teardown, &fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_reach_the_script_in_order_and_the_end_closes),
        TEST(each_end_has_its_code),
        TEST(a_cancelled_call_says_farewell),
        TEST(a_call_that_is_killed_or_fails_says_farewell),
        TEST(what_nobody_takes_holds_the_server_back),
        TEST(a_message_that_the_state_has_no_room_for_ends_it),
        TEST(what_is_sent_waits_until_it_is_written_or_lost),
        TEST(no_memory_for_a_link_is_an_error_and_leaves_nothing),
        TEST(a_kept_connection_is_nobodys_until_the_next_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
