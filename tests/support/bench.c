/* bench.c - the bench itself and the upper layer that it plays; bench_client.c is the other end.
 *
 * Uses malloc and not tg_alloc, so that a test which fails allocations fails those of the core only.
 */
#include "support/bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"

#define SEQUENCE_MASK ((UINT64_C(1) << 40) - 1)

uint64_t bench_now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* --- the upper layer ------------------------------------------------------------------------------- */

struct bench_known *bench_known_of(struct bench *bench, uint64_t serial)
{
    size_t index = (size_t)(serial & SEQUENCE_MASK);
    if (index >= bench->known_count) {
        size_t count = index * 2 + 64;
        bench->known = realloc(bench->known, count * sizeof *bench->known);
        assert_non_null(bench->known);
        memset(bench->known + bench->known_count, 0,
               (count - bench->known_count) * sizeof *bench->known);
        for (size_t i = bench->known_count; i < count; i++)
            bench->known[i].asking = TG_HOOKS;
        bench->known_count = count;
    }
    return &bench->known[index];
}

static struct bench_known *known_of_conn(struct bench *bench, const struct tg_conn *conn)
{
    return bench_known_of(bench, tg_conn_get_id(conn)->serial);
}

static bool upper_hook_defined(void *host, enum tg_hook hook)
{
    struct bench *bench = host;
    return bench->replies[hook].when != BENCH_UNDEFINED;
}

static void write_diary(struct bench *bench, struct tg_conn *conn, enum tg_hook hook,
                        const struct tg_hook_input *input)
{
    bench->asks = realloc(bench->asks, (bench->ask_count + 1) * sizeof *bench->asks);
    assert_non_null(bench->asks);
    struct bench_ask *ask = &bench->asks[bench->ask_count++];
    *ask = (struct bench_ask){
        .serial = tg_conn_get_id(conn)->serial,
        .hook = hook,
        .state = tg_conn_state(conn),
        .at_ms = tg_timers_now_ms(bench->timers),
        .len = input->len,
        .close_code = input->close_code,
        .clean = input->clean,
        .end_state = input->state,
    };
    if (input->close_reason != NULL)
        (void)snprintf(ask->close_reason, sizeof ask->close_reason, "%s", input->close_reason);
    if (input->data != NULL) {
        ask->data = malloc(input->len + 1);
        assert_non_null(ask->data);
        memcpy(ask->data, input->data, input->len);
        ask->data[input->len] = '\0';
    }
}

static void check_order(struct bench_known *known, enum tg_hook hook)
{
    if (known->asking != TG_HOOKS)
        fail_msg("%s is asked while %s is under way", tg_hook_names[hook],
                 tg_hook_names[known->asking]);
    if (known->closeds > 0)
        fail_msg("%s is asked after closed", tg_hook_names[hook]);
    if (hook == TG_HOOK_CLOSED && known->authenticates == 0)
        fail_msg("closed is asked of a connection that was not asked to authenticate");
    known->authenticates += hook == TG_HOOK_AUTHENTICATE;
    known->closeds += hook == TG_HOOK_CLOSED;
}

static void answer(struct bench *bench, struct tg_conn *conn, enum tg_hook hook,
                   const struct tg_hook_result *result)
{
    struct bench_known *known = known_of_conn(bench, conn);
    assert_int_equal(known->asking, hook);
    known->asking = TG_HOOKS;
    bench->asks[known->ask].answered = true;
    tg_conn_hook_done(conn, hook, result); /* the connection may be gone after it */
}

static void upper_hook_start(void *host, struct tg_conn *conn, enum tg_hook hook,
                             const struct tg_hook_input *input)
{
    struct bench *bench = host;
    struct bench_known *known = known_of_conn(bench, conn);
    check_order(known, hook);
    write_diary(bench, conn, hook, input);
    known->conn = conn;
    known->asking = hook;
    known->ask = bench->ask_count - 1;
    if (bench->on_hook != NULL && bench->on_hook(bench, conn, hook))
        return;
    if (bench->replies[hook].when == BENCH_NOW)
        answer(bench, conn, hook, &bench->replies[hook].result);
}

static void upper_hook_cancel(void *host, struct tg_conn *conn)
{
    struct bench *bench = host;
    struct bench_known *known = known_of_conn(bench, conn);
    assert_int_not_equal(known->asking, TG_HOOKS);
    known->asking = TG_HOOKS;
    bench->asks[known->ask].cancelled = true;
}

static void copy_text(char *out, size_t size, const char *data, size_t len)
{
    if (data == NULL)
        len = 0;
    (void)snprintf(out, size, "%.*s", (int)len, data == NULL ? "" : data);
}

static enum tg_err upper_run_start(void *host, struct tg_conn *conn,
                                   const struct tg_run_request *request)
{
    struct bench *bench = host;
    bench->run_starts++;
    copy_text(bench->run_agent, sizeof bench->run_agent, request->agent,
              request->agent == NULL ? 0 : strlen(request->agent));
    copy_text(bench->run_input, sizeof bench->run_input, request->input_json,
              request->input_json_len);
    copy_text(bench->run_request_id, sizeof bench->run_request_id, request->request_id,
              request->request_id_len);
    if (bench->runs != NULL)
        return tg_runs_start(bench->runs, conn, request);
    if (bench->run_start_error == TG_ERR_OK) {
        known_of_conn(bench, conn)->fake_runs++;
        assert_non_null(tg_conn_run_list(conn));
        tg_conn_run_started(conn);
    }
    return bench->run_start_error;
}

static enum tg_err upper_run_cancel(void *host, struct tg_conn *conn, const char *run_id)
{
    struct bench *bench = host;
    copy_text(bench->run_cancelled, sizeof bench->run_cancelled, run_id, strlen(run_id));
    if (bench->runs != NULL)
        return tg_runs_cancel(bench->runs, conn, run_id);
    return TG_ERR_NOT_FOUND;
}

void bench_run_ended(struct bench *bench, struct tg_conn *conn)
{
    struct bench_known *known = known_of_conn(bench, conn);
    assert_true(known->fake_runs > 0);
    known->fake_runs--;
    tg_conn_run_ended(conn);
}

static void upper_runs_end(void *host, struct tg_conn *conn)
{
    struct bench *bench = host;
    if (bench->runs != NULL) {
        tg_runs_connection_over(bench->runs, conn);
        return;
    }
    while (known_of_conn(bench, conn)->fake_runs > 0)
        bench_run_ended(bench, conn);
}

/* --- answers --------------------------------------------------------------------------------------- */

struct tg_hook_result bench_yes(void)
{
    return (struct tg_hook_result){.outcome = TG_HOOK_OK_OUTCOME};
}

struct tg_hook_result bench_identity(const char *user_id)
{
    static const uint8_t identity[] = "identity";
    return (struct tg_hook_result){
        .outcome = TG_HOOK_OK_OUTCOME,
        .user_id = user_id,
        .identity = {identity, sizeof identity - 1},
    };
}

struct tg_hook_result bench_denied(const char *reason)
{
    return (struct tg_hook_result){.outcome = TG_HOOK_DENIED_OUTCOME, .reason = reason};
}

struct tg_hook_result bench_fault(enum tg_hook_outcome outcome)
{
    return (struct tg_hook_result){.outcome = outcome};
}

struct tg_hook_result bench_degraded(const char *reason)
{
    return (struct tg_hook_result){
        .outcome = TG_HOOK_OK_OUTCOME, .verdict = TG_VERDICT_DEGRADED, .reason = reason};
}

static struct bench_known *find_asking(const struct bench *bench, enum tg_hook hook)
{
    for (size_t i = bench->known_count; i-- > 0;)
        if (bench->known[i].asking == hook)
            return &bench->known[i];
    return NULL;
}

bool bench_asking(const struct bench *bench, enum tg_hook hook)
{
    return find_asking(bench, hook) != NULL;
}

void bench_answer(struct bench *bench, enum tg_hook hook, struct tg_hook_result result)
{
    struct bench_known *known = find_asking(bench, hook);
    if (known == NULL)
        fail_msg("%s is not under way", tg_hook_names[hook]);
    else
        answer(bench, known->conn, hook, &result);
}

size_t bench_asked(const struct bench *bench, enum tg_hook hook)
{
    size_t count = 0;
    for (size_t i = 0; i < bench->ask_count; i++)
        count += bench->asks[i].hook == hook;
    return count;
}

const struct bench_ask *bench_last(const struct bench *bench, enum tg_hook hook)
{
    for (size_t i = bench->ask_count; i-- > 0;)
        if (bench->asks[i].hook == hook)
            return &bench->asks[i];
    fail_msg("%s was never asked", tg_hook_names[hook]);
    return NULL;
}

/* --- the bench ------------------------------------------------------------------------------------- */

void bench_init(struct bench *bench)
{
    memset(bench, 0, sizeof *bench);
    bench->options = (struct tg_hub_options){
        .worker = 3,
        .handshake_timeout_ms = 60000,
        .auth_timeout_ms = 60000,
        .setup_timeout_ms = 60000,
        .idle_after_ms = 60000,
        .ping_interval_ms = 60000,
        .pong_timeout_ms = 60000,
        .close_timeout_ms = 60000,
        .expiry_notice_ms = 60000,
        .prepare_retry_ms = 60000,
        .prepare_retry_max_ms = 600000,
        .outbox_timeout_ms = 60000,
        .max_message = 65536,
        .max_header = 8192,
        .inbox_messages = 64,
        .inbox_bytes = 1 << 20,
        .outbox_bytes = 1 << 20,
        .session_bytes = 1024,
    };
    bench->replies[TG_HOOK_AUTHENTICATE] = (struct bench_reply){BENCH_NOW, bench_identity("ann")};
    bench->replies[TG_HOOK_CLOSED] = (struct bench_reply){BENCH_NOW, bench_yes()};
}

static void on_accept(void *ctx, struct tg_stream *stream)
{
    struct bench *bench = ctx;
    tg_hub_accept(bench->hub, stream);
}

static void on_flush(uv_prepare_t *handle)
{
    struct bench *bench = handle->data;
    tg_hub_flush(bench->hub);
}

static void start_listening(struct bench *bench)
{
    char bound[TG_ADDRESS_SIZE];
    struct tg_error error;
    int fd;
    if (tg_listener_bind("127.0.0.1:0", false, &fd, bound, &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    assert_int_equal(tg_listener_start(&bench->listener, bench->net, fd, on_accept, NULL, bench),
                     TG_ERR_OK);
    bench->port = (uint16_t)strtoul(strrchr(bound, ':') + 1, NULL, 10);
}

void bench_start(struct bench *bench)
{
    struct tg_conn_upper upper = {
        .host = bench,
        .hook_defined = upper_hook_defined,
        .hook_start = upper_hook_start,
        .hook_cancel = upper_hook_cancel,
        .run_start = upper_run_start,
        .run_cancel = upper_run_cancel,
        .runs_end = upper_runs_end,
    };
    assert_int_equal(uv_loop_init(&bench->loop), 0);
    bench->metrics = calloc(1, sizeof *bench->metrics);
    assert_non_null(bench->metrics);
    assert_int_equal(tg_net_create(&bench->net, &bench->loop), TG_ERR_OK);
    assert_int_equal(tg_timers_create(&bench->timers, &bench->loop), TG_ERR_OK);
    assert_int_equal(
        tg_hub_create(&bench->hub, &bench->options, bench->net, bench->timers, bench->metrics),
        TG_ERR_OK);
    tg_hub_set_upper(bench->hub, &upper);
    (void)uv_prepare_init(&bench->loop, &bench->flush);
    bench->flush.data = bench;
    (void)uv_prepare_start(&bench->flush, on_flush);
    uv_unref((uv_handle_t *)&bench->flush);
    start_listening(bench);
}

void bench_use_runs(struct bench *bench, const struct tg_runs_options *options,
                    const struct tg_run_executor *executor)
{
    assert_int_equal(tg_runs_create(&bench->runs, options, bench->hub), TG_ERR_OK);
    tg_runs_set_executor(bench->runs, executor);
}

struct tg_conn *bench_conn(struct bench *bench)
{
    size_t cursor = 0;
    struct tg_conn *conn = tg_hub_next(bench->hub, &cursor);
    assert_true(tg_hub_count(bench->hub) <= 1);
    return conn;
}

enum tg_state bench_state(struct bench *bench)
{
    struct tg_conn *conn = bench_conn(bench);
    assert_non_null(conn);
    return tg_conn_state(conn);
}

static void check_the_books(const struct bench *bench)
{
    const struct tg_metrics *m = bench->metrics;
    for (size_t i = 0; i < TG_METRICS_STATES; i++) {
        assert_int_equal(tg_counter_get(&m->states[i]), 0);
        assert_int_equal(tg_counter_get(&m->stuck_now[i]), 0);
    }
    assert_int_equal(tg_counter_get(&m->invalid_transitions), 0);
    assert_int_equal(tg_counter_get(&m->duplicate_registrations), 0);
    assert_int_equal(tg_counter_get(&m->connections_opened),
                     tg_counter_get(&m->connections_closed));
    bool closed_defined = bench->replies[TG_HOOK_CLOSED].when != BENCH_UNDEFINED;
    for (size_t i = 0; i < bench->known_count; i++) {
        const struct bench_known *known = &bench->known[i];
        assert_int_equal(known->asking, TG_HOOKS);
        assert_int_equal(known->fake_runs, 0);
        if (closed_defined)
            assert_int_equal(known->closeds, known->authenticates > 0);
    }
}

static void free_all(struct bench *bench)
{
    for (size_t i = 0; i < bench->client_count; i++) {
        bench_close_client(&bench->clients[i]);
        free(bench->clients[i].block);
        free(bench->clients[i].frame);
    }
    for (size_t i = 0; i < bench->ask_count; i++)
        free(bench->asks[i].data);
    free(bench->asks);
    free(bench->known);
    free(bench->metrics);
}

void bench_stop(struct bench *bench)
{
    if (bench->stopped || bench->hub == NULL)
        return;
    bench->stopped = true;
    (void)tg_memory_fail_after(-1, 0);
    if (bench->runs != NULL)
        tg_runs_end_all(bench->runs, "drain", "the bench stops");
    tg_hub_drop_all(bench->hub);
    tg_listener_stop(bench->listener);
    for (int i = 0; i < 20 && tg_hub_count(bench->hub) > 0; i++)
        bench_turn(bench);
    assert_int_equal(tg_hub_count(bench->hub), 0);
    tg_runs_destroy(bench->runs);
    tg_timers_destroy(bench->timers);
    uv_close((uv_handle_t *)&bench->flush, NULL);
    tg_net_destroy(bench->net);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    tg_hub_destroy(bench->hub);
    assert_int_equal(uv_loop_close(&bench->loop), 0);
    check_the_books(bench);
    free_all(bench);
}

int bench_setup(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    if (bench == NULL)
        return -1;
    bench_init(bench);
    *state = bench;
    return 0;
}

int bench_teardown(void **state)
{
    struct bench *bench = *state;
    bench_stop(bench);
    free(bench);
    return 0;
}
