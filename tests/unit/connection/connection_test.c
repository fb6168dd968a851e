/* connection_test.c - the failures of the system that came before, by name, and what a connection
 * promises about its ID, its session and its machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "connection/connection_internal.h"
#include "support/bench.h"
#include "support/header_of.h"
#include "support/log_capture.h"

/* --- the failures of the system that came before --------------------------------------------------- */

static void a_second_registration_is_refused_and_the_first_machine_stays(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    struct tg_conn *conn = bench_conn(b);
    struct tg_conn second = {.id = *tg_conn_get_id(conn)};
    uint8_t kept = tg_conn_lifecycle(conn)->kept;
    log_capture_start();
    assert_int_equal(tg_registry_add(&b->hub->registry, &second, b->metrics), TG_ERR_EXISTS);
    assert_true(log_capture_has("conn.duplicate_registration"));
    log_capture_stop();
    assert_int_equal(tg_counter_get(&b->metrics->duplicate_registrations), 1);
    assert_ptr_equal(tg_hub_find(b->hub, tg_conn_get_id(conn)), conn);
    assert_int_equal(tg_conn_state(conn), TG_PROCESSING_READY);
    assert_int_equal(tg_conn_lifecycle(conn)->kept, kept);
    bench_send_text(b, client, "{\"type\":\"ping\"}");
    (void)bench_expect(b, client, "pong");
    tg_counter_set(&b->metrics->duplicate_registrations, 0); /* it was ours */
}

static void refused_move(struct bench *b, enum tg_state to)
{
    struct tg_conn *conn = bench_conn(b);
    struct tg_lifecycle before = *tg_conn_lifecycle(conn);
    char fields[160];
    char id[TG_CONN_ID_SIZE];
    tg_conn_id_text(conn, id);
    (void)snprintf(fields, sizeof fields, "id=%s from=%s to=%s", id, tg_state_names[before.state],
                   tg_state_names[to]);
    log_capture_start();
    assert_int_equal(tg__move(conn, to, "test"), TG_ERR_ILLEGAL);
    assert_true(log_capture_has(fields));
    log_capture_stop();
    assert_memory_equal(tg_conn_lifecycle(conn), &before, sizeof before);
    assert_int_equal(tg_counter_get(&b->metrics->invalid_transitions), 1);
    tg_counter_set(&b->metrics->invalid_transitions, 0); /* it was ours */
}

static void connecting_to_services_ready_is_refused(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_connect(b);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 1);
    refused_move(b, TG_SERVICES_READY);
    bench_request(b, client, "");
    bench_read_head(b, client);
    (void)bench_expect(b, client, "connection_ready");
}

static void authenticated_from_connecting_is_refused(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_connect(b);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 1);
    refused_move(b, TG_AUTHENTICATED);
    bench_request(b, client, "");
    bench_read_head(b, client);
    (void)bench_expect(b, client, "connection_ready");
}

static void accepted_survives_authentication(void **state)
{
    static const enum tg_state way[] = {TG_CONNECTING, TG_ACCEPTED, TG_AUTHENTICATED,
                                        TG_SERVICES_READY, TG_PROCESSING_READY};
    struct bench *b = *state;
    b->replies[TG_HOOK_AUTHENTICATE].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_open(b);
    struct tg_conn *conn = bench_conn(b);
    char before[TG_CONN_ID_SIZE], after[TG_CONN_ID_SIZE];
    tg_conn_id_text(conn, before);
    assert_int_equal(tg_conn_state(conn), TG_ACCEPTED);
    assert_string_equal(client->id, before);
    bench_answer(b, TG_HOOK_AUTHENTICATE, bench_identity("ann"));
    const char *ready = bench_expect(b, client, "connection_ready");
    assert_non_null(strstr(ready, before));
    assert_non_null(strstr(ready, "\"state\":\"processing_ready\""));
    assert_non_null(strstr(ready, "\"user_id\":\"ann\""));
    assert_ptr_equal(bench_conn(b), conn);
    tg_conn_id_text(conn, after);
    assert_string_equal(after, before);
    struct tg_transition t;
    for (size_t i = 0; i < 4; i++) {
        assert_true(tg_lifecycle_transition(tg_conn_lifecycle(conn), i, &t));
        assert_int_equal(t.from, way[i]);
        assert_int_equal(t.to, way[i + 1]);
    }
    assert_false(tg_lifecycle_transition(tg_conn_lifecycle(conn), 4, &t));
}

/* --- I3: another ID ------------------------------------------------------------------------------- */

static void another_id_from_a_hook(struct bench *b, enum tg_hook hook, bool later)
{
    struct tg_hook_result result = bench_identity("ann");
    result.offered_id = "ws_1757500188434_140052369812345";
    b->replies[TG_HOOK_CREATE_CONTEXT] = (struct bench_reply){BENCH_NOW, bench_yes()};
    b->replies[TG_HOOK_PREPARE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    b->replies[hook] = (struct bench_reply){later ? BENCH_LATER : BENCH_NOW, result};
    bench_start(b);
    struct bench_client *client = bench_open(b);
    if (hook == TG_HOOK_MESSAGE) {
        (void)bench_expect(b, client, "connection_ready");
        bench_send_text(b, client, "{\"type\":\"hello\"}");
    }
    if (later) {
        BENCH_UNTIL(b, bench_asking(b, hook));
        bench_answer(b, hook, result);
    }
    (void)bench_expect_close(b, client, 1011);
    assert_int_equal(tg_counter_get(&b->metrics->connection_id_mismatches), 1);
    char fields[200];
    (void)snprintf(fields, sizeof fields,
                   "conn.id_mismatch id=%s offered=ws_1757500188434_140052369812345 where=%s",
                   client->id, tg_hook_names[hook]);
    assert_true(log_capture_has(fields));
    bench_send_close(b, client, 1011, "");
    bench_expect_eof(b, client);
    bench_close_client(client);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    assert_int_equal(tg_counter_get(&b->metrics->transitions[TG_CLOSING][TG_FAILED]), 1);
    assert_int_equal(bench_asked(b, TG_HOOK_CLOSED), 1);
}

static void another_id_fails_the_connection(void **state)
{
    static const enum tg_hook hooks[] = {TG_HOOK_AUTHENTICATE, TG_HOOK_CREATE_CONTEXT,
                                         TG_HOOK_PREPARE, TG_HOOK_MESSAGE};
    struct bench *b = *state;
    log_capture_start();
    for (size_t i = 0; i < 8; i++) {
        log_capture_clear();
        another_id_from_a_hook(b, hooks[i / 2], i % 2 == 1);
        bench_stop(b);
        bench_init(b);
    }
    log_capture_stop();
}

/* The connection is over by then, but its memory waits for this answer. */
static void another_id_from_closed(void **state)
{
    struct bench *b = *state;
    struct tg_hook_result result = bench_yes();
    result.offered_id = "mine";
    b->replies[TG_HOOK_CLOSED].when = BENCH_LATER;
    bench_start(b);
    bench_close_client(bench_ready(b));
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_CLOSED));
    bench_turns(b, 5);
    bench_answer(b, TG_HOOK_CLOSED, result);
    assert_int_equal(tg_counter_get(&b->metrics->connection_id_mismatches), 1);
    assert_int_equal(tg_hub_count(b->hub), 0);
}

static bool offer_the_right_id(struct bench *b, struct tg_conn *conn, enum tg_hook hook)
{
    char id[TG_CONN_ID_SIZE];
    struct tg_hook_result result = bench_identity("ann");
    if (hook != TG_HOOK_AUTHENTICATE)
        return false;
    tg_conn_id_text(conn, id);
    result.offered_id = id;
    bench_answer(b, hook, result);
    return true;
}

static void the_right_id_is_no_mismatch(void **state)
{
    struct bench *b = *state;
    b->on_hook = offer_the_right_id;
    bench_start(b);
    (void)bench_ready(b);
    assert_int_equal(tg_counter_get(&b->metrics->connection_id_mismatches), 0);
}

static void another_id_before_101_is_a_500(void **state)
{
    struct bench *b = *state;
    struct tg_hook_result result = bench_yes();
    result.offered_id = "mine";
    b->replies[TG_HOOK_UPGRADE] = (struct bench_reply){BENCH_NOW, result};
    bench_start(b);
    struct bench_client *client = bench_connect(b);
    bench_request(b, client, "");
    bench_read_head(b, client);
    assert_int_equal(client->status, 500);
    assert_int_equal(tg_counter_get(&b->metrics->connection_id_mismatches), 1);
    BENCH_UNTIL(b, client->eof);
    assert_int_equal(bench_asked(b, TG_HOOK_AUTHENTICATE), 0);
}

/* --- tampering, session, stale handles ------------------------------------------------------------ */

static void tampering_is_logged_with_both_values(void **state)
{
    struct bench *b = *state;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    char longer[100];
    memset(longer, 'x', sizeof longer - 1);
    longer[99] = '\0';
    log_capture_start();
    tg_conn_tampered(bench_conn(b), "user_id", "ann", longer);
    assert_true(log_capture_has("conn.tampered id=ws_"));
    assert_true(log_capture_has("field=user_id actual=ann offered=xxxx"));
    longer[65] = '\0';
    assert_false(log_capture_has(longer)); /* cut to 64 */
    log_capture_stop();
    assert_int_equal(tg_counter_get(&b->metrics->script_tampering), 1);
    (void)bench_expect_close(b, client, 1011);
}

static void the_session_has_a_limit_and_a_revision(void **state)
{
    struct bench *b = *state;
    uint8_t data[1025] = {0};
    bench_start(b);
    (void)bench_ready(b);
    struct tg_conn *conn = bench_conn(b);
    assert_null(tg_conn_session(conn).data);
    assert_int_equal(tg_conn_session_revision(conn), 0);
    assert_int_equal(tg_conn_store_session(conn, "abc", 3), TG_ERR_OK);
    assert_int_equal(tg_conn_session_revision(conn), 1);
    assert_int_equal(tg_conn_store_session(conn, data, 1025), TG_ERR_LIMIT);
    (void)tg_memory_fail_after(0, 1);
    enum tg_err err = tg_conn_store_session(conn, data, 10);
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(err, TG_ERR_NOMEM);
    assert_int_equal(tg_conn_session_revision(conn), 1);
    assert_int_equal(tg_conn_session(conn).len, 3);
    assert_memory_equal(tg_conn_session(conn).data, "abc", 3);
    assert_int_equal(tg_conn_store_session(conn, data, 1024), TG_ERR_OK);
    assert_int_equal(tg_conn_session(conn).len, 1024);
    assert_int_equal(tg_conn_store_session(conn, NULL, 0), TG_ERR_OK);
    assert_null(tg_conn_session(conn).data);
    assert_int_equal(tg_conn_session_revision(conn), 3);
}

static void it_is_found_exactly_as_long_as_it_lives(void **state)
{
    struct bench *b = *state;
    b->replies[TG_HOOK_CLOSED].when = BENCH_LATER;
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    struct tg_conn_id id = *tg_conn_get_id(bench_conn(b));
    bench_reset_client(client);
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_CLOSED));
    bench_turns(b, 5); /* the stream is gone, the hook still looks at the connection */
    struct tg_conn *conn = tg_hub_find(b->hub, &id);
    assert_non_null(conn);
    assert_int_equal(tg_conn_state(conn), TG_FAILED);
    assert_false(tg_conn_is_open(conn));
    assert_int_equal(tg_conn_send_text(conn, "x", 1), TG_ERR_CLOSED);
    assert_string_equal(tg_conn_user_id(conn), "ann");
    assert_int_equal(tg_conn_close(conn, 1000, ""), TG_ERR_OK);
    bench_answer(b, TG_HOOK_CLOSED, bench_yes());
    assert_null(tg_hub_find(b->hub, &id));
    assert_null(tg_hub_find_serial(b->hub, id.serial));
}

static void a_late_or_wrong_answer_is_ignored(void **state)
{
    struct bench *b = *state;
    struct tg_hook_result yes = bench_identity("eve");
    b->replies[TG_HOOK_CREATE_CONTEXT].when = BENCH_LATER;
    bench_start(b);
    (void)bench_open(b);
    BENCH_UNTIL(b, bench_asking(b, TG_HOOK_CREATE_CONTEXT));
    struct tg_conn *conn = bench_conn(b);
    tg_conn_hook_done(conn, TG_HOOK_AUTHENTICATE, &yes);
    tg_conn_hook_done(conn, TG_HOOK_PREPARE, &yes);
    assert_int_equal(tg_conn_state(conn), TG_AUTHENTICATED);
    assert_string_equal(tg_conn_user_id(conn), "ann");
    bench_answer(b, TG_HOOK_CREATE_CONTEXT, bench_yes());
    assert_int_equal(tg_conn_state(conn), TG_PROCESSING_READY);
}

static void what_it_tells_about_itself(void **state)
{
    struct bench *b = *state;
    struct tg_hook_result context = bench_yes();
    context.context = (struct tg_blob){(const uint8_t *)"ctx", 3};
    b->replies[TG_HOOK_CREATE_CONTEXT] = (struct bench_reply){BENCH_NOW, context};
    bench_start(b);
    struct bench_client *client = bench_connect(b);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 1);
    struct tg_conn *conn = bench_conn(b);
    assert_null(tg_conn_request(conn));
    assert_null(tg_conn_user_id(conn));
    char remote[TG_ADDRESS_SIZE] = "?";
    tg_conn_remote(conn, remote);
    assert_string_equal(remote, "");
    assert_string_equal(tg_conn_policy_version(conn), "");
    bench_request(b, client, "X-One: 1\r\n");
    bench_read_head(b, client);
    (void)bench_expect(b, client, "connection_ready");
    assert_string_equal(tg_request_path(tg_conn_request(conn)), "/chat");
    assert_string_equal(header_of(tg_conn_request(conn), "x-one"), "1");
    tg_conn_remote(conn, remote);
    assert_memory_equal(remote, "127.0.0.1:", 10);
    assert_memory_equal(tg_conn_identity(conn).data, "identity", 8);
    assert_memory_equal(tg_conn_context(conn).data, "ctx", 3);
    assert_int_equal(tg_conn_id_worker(tg_conn_get_id(conn)->serial), 3);
    assert_int_equal(tg_conn_connected_at_ms(conn), tg_conn_get_id(conn)->time_ms);
    tg_conn_set_policy_version(conn, "0123456789abcdefXYZ");
    assert_string_equal(tg_conn_policy_version(conn), "0123456789abcdef");
    assert_int_equal(tg_conn_stats(conn).messages_out, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_second_registration_is_refused_and_the_first_machine_stays),
        T(connecting_to_services_ready_is_refused),
        T(authenticated_from_connecting_is_refused),
        T(accepted_survives_authentication),
        T(another_id_fails_the_connection),
        T(another_id_from_closed),
        T(the_right_id_is_no_mismatch),
        T(another_id_before_101_is_a_500),
        T(tampering_is_logged_with_both_values),
        T(the_session_has_a_limit_and_a_revision),
        T(it_is_found_exactly_as_long_as_it_lives),
        T(a_late_or_wrong_answer_is_ignored),
        T(what_it_tells_about_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
