/* hub_test.c - all connections of a worker together: limits, drain, stopping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "connection/connection.h"
#include "support/bench.h"

static const char execute[] =
    "{\"type\":\"agent_execution\",\"id\":1,\"data\":{\"message\":\"m\"}}";

static struct tg_conn *conn_of(struct bench *b, const struct bench_client *client)
{
    struct tg_conn_id id;
    assert_int_equal(tg_conn_id_parse(client->id, strlen(client->id), &id), TG_ERR_OK);
    struct tg_conn *conn = tg_hub_find(b->hub, &id);
    assert_non_null(conn);
    return conn;
}

static void each_is_found_by_its_own_id(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *a = bench_ready(b);
    struct bench_client *c = bench_ready(b);
    assert_ptr_not_equal(conn_of(b, a), conn_of(b, c));
    assert_int_equal(tg_hub_count(b->hub), 2);
    assert_int_equal(tg_conn_send_text(conn_of(b, c), "for c", 5), TG_ERR_OK);
    (void)bench_expect(b, c, "for c");
    assert_int_equal(a->len, 0);
}

static void one_too_many_is_turned_away_with_503(void **state)
{
    struct bench *b = *state;
    struct tg_admission *admission;
    struct tg_admission_options limits = {.max_connections = 2};
    assert_int_equal(tg_admission_create(&admission, &limits), TG_ERR_OK);
    b->options.admission = admission;
    bench_start(b);
    struct bench_client *first = bench_ready(b);
    (void)bench_ready(b);
    struct bench_client *third = bench_connect(b);
    bench_turns(b, 3);
    assert_int_equal(third->len, 0); /* its request is awaited, so that it can read the answer */
    bench_request(b, third, "");
    bench_read_head(b, third);
    assert_int_equal(third->status, 503);
    assert_non_null(strstr(third->head, "Retry-After: "));
    assert_string_not_equal(third->id, "");
    BENCH_UNTIL(b, third->eof || third->reset);
    assert_false(third->reset);
    assert_int_equal(tg_hub_count(b->hub), 2);
    assert_int_equal(tg_counter_get(&b->metrics->handshakes_refused), 1);
    bench_close_client(first);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 1);
    (void)bench_ready(b);
    assert_int_equal(tg_admission_count(admission), 2);
    bench_stop(b);
    assert_int_equal(tg_admission_count(admission), 0);
    tg_admission_destroy(admission);
}

static void allowed_origins(void **state)
{
    static const char *const origins[] = {"https://app.example", "https://b.example"};
    static const struct {
        const char *header;
        int status;
    } rows[] = {
        {"", 101},
        {"Origin: https://app.example\r\n", 101},
        {"Origin: https://B.example\r\n", 101},
        {"Origin: https://app.example.evil\r\n", 403},
        {"Origin: http://app.example\r\n", 403},
        {"Origin: null\r\n", 403},
        {"Origin: \r\n", 403},
    };
    struct bench *b = *state;
    b->options.allowed_origins = origins;
    b->options.allowed_origin_count = 2;
    bench_start(b);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bench_client *client = bench_connect(b);
        bench_request(b, client, rows[i].header);
        bench_read_head(b, client);
        assert_int_equal(client->status, rows[i].status);
    }
}

static void drain(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_MESSAGE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *quiet = bench_ready(b);
    struct bench_client *running = bench_ready(b);
    struct bench_client *asking = bench_ready(b);
    struct bench_client *connecting = bench_connect(b);
    b->replies[TG_HOOK_AUTHENTICATE].when = BENCH_LATER;
    struct bench_client *setup = bench_open(b);
    bench_send_text(b, running, execute);
    bench_send_text(b, asking, "{\"type\":\"x\"}");
    BENCH_UNTIL(b, b->run_starts == 1 && bench_asking(b, TG_HOOK_MESSAGE));
    struct tg_conn *runs = conn_of(b, running);
    tg_hub_drain(b->hub);
    tg_hub_drain(b->hub);
    (void)bench_expect_close(b, quiet, 1001);
    (void)bench_expect_close(b, setup, 1001);
    bench_read_head(b, connecting);
    assert_int_equal(connecting->status, 503);
    assert_int_equal(tg_conn_state(runs), TG_PROCESSING);
    bench_send_text(b, running, execute); /* no new runs */
    assert_non_null(strstr(bench_expect(b, running, "\"draining\""), "\"id\":1"));
    bench_answer(b, TG_HOOK_MESSAGE, bench_yes());
    (void)bench_expect_close(b, asking, 1001);
    bench_run_ended(b, runs);
    (void)bench_expect_close(b, running, 1001);
    struct bench_client *late = bench_connect(b);
    bench_request(b, late, "");
    bench_read_head(b, late);
    assert_int_equal(late->status, 503);
    assert_non_null(strstr(late->head, "Retry-After: "));
}

static void the_drain_has_an_end(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *running = bench_ready(b);
    bench_send_text(b, running, execute);
    BENCH_UNTIL(b, b->run_starts == 1);
    tg_hub_drain(b->hub);
    bench_turns(b, 3);
    assert_true(tg_conn_is_open(bench_conn(b)));
    tg_hub_drain_now(b->hub);
    (void)bench_expect_close(b, running, 1001);
    assert_int_equal(tg_conn_runs(bench_conn(b)), 0);
}

static void drop_all(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_MESSAGE].when = BENCH_LATER;
    b->replies[TG_HOOK_CLOSED].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *asking = bench_ready(b);
    struct bench_client *running = bench_ready(b);
    struct bench_client *lost = bench_ready(b);
    (void)bench_connect(b);
    bench_send_text(b, asking, "{\"type\":\"x\"}");
    bench_send_text(b, running, execute);
    BENCH_UNTIL(b, b->run_starts == 1 && bench_asking(b, TG_HOOK_MESSAGE));
    bench_reset_client(lost);
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_CLOSED));
    bench_turns(b, 3); /* freed but for the hook */
    assert_int_equal(tg_hub_count(b->hub), 4);
    tg_hub_drop_all(b->hub);
    assert_true(bench_last(b, TG_HOOK_MESSAGE)->cancelled);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    BENCH_UNTIL(b, asking->eof || asking->reset);
    assert_int_equal(bench_asked(b, TG_HOOK_CLOSED), 3);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(each_is_found_by_its_own_id),
        T(one_too_many_is_turned_away_with_503),
        T(allowed_origins),
        T(drain),
        T(the_drain_has_an_end),
        T(drop_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
