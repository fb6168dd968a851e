/* memory_now_and_then_test.c - as memory_test.c, for what a connection has only now and then: every allocation
 * fails once, and from every one on all do. The process lives, nothing leaks, who waits is told, and the
 * connection ends or goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cidr.h"
#include "base/clock.h"
#include "base/memory.h"
#include "connection/connection_internal.h"
#include "support/bench.h"

struct life {
    struct bench bench;
    struct bench_client *client;
    struct tg_run *run; /* under way; released by the test */
    struct tg_drain_waiter waiter;
    int accepted, woken; /* of the waiter */
    bool later;          /* hooks answer later */
    bool reads_again;
    bool no_spares; /* outboxes are always asked for */
};

/* Lives one; the allocations fail meanwhile. */
typedef void (*live_fn)(struct life *life);

/* --- the agent --------------------------------------------------------------------------------------- */

static const char *default_agent(void *host)
{
    (void)host;
    return "solo";
}

static bool find_agent(void *host, const struct tg_run *parent, const char *name,
                       struct tg_run_limits *limits)
{
    (void)host, (void)parent, (void)name, (void)limits;
    return true;
}

static void start(void *host, struct tg_run *run, const struct tg_run_request *request)
{
    (void)request;
    ((struct life *)host)->run = run;
}

static void cancel(void *host, struct tg_run *run)
{
    (void)host;
    assert_true(tg_run_is_over(run));
}

static void end_run(struct life *l)
{
    if (l->run == NULL)
        return;
    tg_run_complete(l->run, "1", 1);
    tg_run_release(l->run);
    l->run = NULL;
}

/* --- the world --------------------------------------------------------------------------------------- */

static void answer_all(struct life *l)
{
    for (int hook = 0; hook < TG_HOOKS; hook++)
        if (bench_asking(&l->bench, (enum tg_hook)hook))
            bench_answer(&l->bench, (enum tg_hook)hook, l->bench.replies[hook].result);
}

static void turn(struct life *l)
{
    bench_turn(&l->bench);
    if (l->no_spares)
        tg__outboxes_fini(l->bench.hub);
    if (l->later)
        answer_all(l);
}

/* NULL: it has ended. */
static struct tg_conn *open_conn(struct life *l)
{
    struct tg_conn *conn = bench_conn(&l->bench);
    return conn != NULL && tg_conn_is_open(conn) ? conn : NULL;
}

/* Turns until `condition`; leaves the life when the connection has ended before. */
#define UNTIL_OR_OVER(l, condition)                                                                \
    do {                                                                                           \
        uint64_t give_up_ms = bench_now_ms() + 10000;                                              \
        while (!(condition)) {                                                                     \
            if (open_conn(l) == NULL)                                                              \
                return;                                                                            \
            if (bench_now_ms() > give_up_ms)                                                       \
                fail_msg("neither an end nor: %s", #condition);                                    \
            turn(l);                                                                               \
        }                                                                                          \
    } while (0)

static bool is_in(struct life *l, enum tg_state state)
{
    struct tg_conn *conn = bench_conn(&l->bench);
    return conn != NULL && tg_conn_state(conn) == state;
}

/* True: it has been upgraded. */
static bool connect_with(struct life *l, const char *first, const char *headers)
{
    struct bench_client *client = bench_connect(&l->bench);
    l->client = client;
    bench_send_str(&l->bench, client, first);
    bench_request(&l->bench, client, headers);
    BENCH_UNTIL(&l->bench, (answer_all(l), client->eof || client->reset ||
                                               (client->len > 0 && memmem(client->in, client->len,
                                                                          "\r\n\r\n", 4) != NULL)));
    if (client->len == 0)
        return false;
    bench_read_head(&l->bench, client);
    return client->status == 101;
}

static void on_drained(struct tg_drain_waiter *waiter, bool open)
{
    (void)open;
    TG_CONTAINER_OF(waiter, struct life, waiter)->woken++;
}

static struct tg_hook_result ann(void)
{
    struct tg_hook_result result = bench_identity("ann");
    result.expires_at = (double)tg_clock_wall_ms() / 1000.0 + 1000;
    return result;
}

/* --- the lives --------------------------------------------------------------------------------------- */

/* Through a proxy, compressed, degraded twice, until its identity ends. */
static void degraded_until_it_expires(struct life *l)
{
    struct bench *b = &l->bench;
    if (!connect_with(l, "PROXY TCP4 203.0.113.7 198.51.100.2 56324 443\r\n",
                      "Sec-WebSocket-Extensions: permessage-deflate\r\n"))
        return;
    UNTIL_OR_OVER(l, is_in(l, TG_DEGRADED));
    bench_send_text(b, l->client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
    UNTIL_OR_OVER(l, l->run != NULL ||
                         tg_counter_get(&b->metrics->messages[TG_OUT][TG_MESSAGE_TEXT]) > 1);
    b->replies[TG_HOOK_PREPARE].result = bench_yes();
    end_run(l);
    UNTIL_OR_OVER(l, is_in(l, TG_PROCESSING_READY));
    (void)!tg_conn_degrade(bench_conn(b), "down again");
    UNTIL_OR_OVER(l, is_in(l, TG_PROCESSING_READY));
    b->replies[TG_HOOK_REAUTHENTICATE].result.expires_at =
        (double)tg_clock_wall_ms() / 1000.0 + 0.02;
    bench_send_text(b, l->client, "{\"type\":\"authenticate\",\"data\":{}}");
    UNTIL_OR_OVER(l,
                  tg_conn_expires_at(bench_conn(b)) > 0 &&
                      tg_conn_expires_at(bench_conn(b)) < (double)tg_clock_wall_ms() / 1000.0 + 9);
    UNTIL_OR_OVER(l, false);
}

/* Its socket takes nothing while an agent speaks, somebody waits for room and it sends a ping. */
static void does_not_read(struct life *l)
{
    static const char text[5000] = {'x'};
    struct bench *b = &l->bench;
    if (!connect_with(l, "", ""))
        return;
    UNTIL_OR_OVER(l, is_in(l, TG_PROCESSING_READY));
    turn(l);
    bench_send_frame(b, l->client, 9, "ping", 4);
    UNTIL_OR_OVER(l, tg_counter_get(&b->metrics->messages[TG_OUT][TG_MESSAGE_CONTROL]) > 0);
    bench_send_text(b, l->client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
    UNTIL_OR_OVER(l, l->run != NULL ||
                         tg_counter_get(&b->metrics->messages[TG_OUT][TG_MESSAGE_TEXT]) > 1);
    l->client->deaf = true;
    while (open_conn(l) != NULL && !tg_conn_is_congested(open_conn(l))) {
        (void)!tg_conn_send_binary(open_conn(l), text, sizeof text);
        turn(l);
    }
    bench_send_frame(b, l->client, 9, "ping", 4);
    for (int i = 0; i < 3; i++)
        turn(l);
    if (l->run != NULL)
        (void)!tg_run_delta(l->run, "joined", 6);
    struct tg_conn *conn = open_conn(l);
    if (conn != NULL && tg_conn_wait_drained(conn, &l->waiter) == TG_ERR_OK)
        l->accepted++;
    if (l->reads_again || l->accepted == 0)
        l->client->deaf = false;
    UNTIL_OR_OVER(l, l->accepted == 0 || l->woken > 0);
    end_run(l);
    if (open_conn(l) != NULL)
        assert_int_equal(tg_conn_close(open_conn(l), 1000, "enough"), TG_ERR_OK);
}

/* Says good-bye while it is being answered, with more behind that. */
static void leaves_behind_messages(struct life *l)
{
    struct bench *b = &l->bench;
    if (!connect_with(l, "", ""))
        return;
    bench_send_numbered(b, l->client, 0, 5);
    bench_send_text(b, l->client, "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
    if (l->reads_again)
        bench_send_close(b, l->client, 1000, "bye");
    else
        bench_half_close(l->client);
    UNTIL_OR_OVER(l, false);
}

static void is_refused(struct life *l)
{
    struct bench *b = &l->bench;
    b->replies[TG_HOOK_UPGRADE].result = bench_denied("not you");
    assert_false(connect_with(l, l->reads_again ? "PROXY NONSENSE\r\n" : "PROXY UNKNOWN\r\n", ""));
}

/* --- each allocation of them ------------------------------------------------------------------------- */

static void prepare(struct life *l, bool proxied, unsigned way)
{
    static const struct tg_runs_options options = {.max_per_connection = 4};
    static struct tg_cidr trusted[TG_CIDR_PARTS];
    struct tg_run_executor executor = {
        .host = l,
        .default_agent = default_agent,
        .find_agent = find_agent,
        .start = start,
        .cancel = cancel,
    };
    struct bench *b = &l->bench;
    memset(l, 0, sizeof *l);
    bench_init(b);
    l->later = (way & 2) != 0;
    l->reads_again = (way & 4) != 0;
    l->no_spares = (way & 8) != 0;
    l->waiter.fn = on_drained;
    tg_list_init(&l->waiter.node);
    size_t count;
    assert_int_equal(tg_cidr_parse("loopback", trusted, &count, NULL), TG_ERR_OK);
    b->options.trusted_proxies = trusted;
    b->options.trusted_proxy_count = count;
    b->options.proxy_protocol = proxied;
    b->options.compression = proxied;
    b->options.deflate_terms = (struct tg_deflate_terms){true, true, 10};
    b->options.deflate_tuning = (struct tg_deflate_tuning){1, 1, 10};
    b->options.outbox_bytes = 100000;
    b->options.outbox_timeout_ms = 10;
    b->options.close_timeout_ms = 30;
    b->options.prepare_retry_ms = 1;
    b->options.expiry_notice_ms = 15;
    for (int hook = 0; hook < TG_HOOKS; hook++)
        if (hook != TG_HOOK_TEXT)
            b->replies[hook] =
                (struct bench_reply){l->later ? BENCH_LATER : BENCH_NOW, bench_yes()};
    b->replies[TG_HOOK_AUTHENTICATE].result = ann();
    b->replies[TG_HOOK_REAUTHENTICATE].result = ann();
    if (proxied)
        b->replies[TG_HOOK_PREPARE].result = bench_degraded("down");
    bench_start(b);
    bench_use_runs(b, &options, &executor);
}

/* Returns whether the n-th allocation was reached. close_code: of the end when all of them succeed; 0: nobody
 * was let in. */
static bool fail_one(struct life *l, live_fn live, long n, int forever, int close_code)
{
    (void)tg_memory_fail_after(n, forever);
    live(l);
    bool injected = tg_memory_fail_after(-1, 0) > (size_t)n;
    end_run(l);
    bench_close_client(l->client);
    BENCH_UNTIL(&l->bench, (answer_all(l), end_run(l), tg_hub_count(l->bench.hub) == 0));
    assert_int_equal(l->woken, l->accepted);
    if (!injected && close_code != 0)
        assert_int_equal(bench_last(&l->bench, TG_HOOK_CLOSED)->close_code, close_code);
    bench_stop(&l->bench);
    return injected;
}

/* close_codes: for one that stays deaf, or ends its side only, and the other. */
static void fail_each(live_fn live, bool proxied, long least, const int close_codes[2])
{
    struct life *l = calloc(1, sizeof *l);
    assert_non_null(l);
    for (unsigned way = 0; way < 16; way++) {
        long n = 0;
        do {
            prepare(l, proxied, way);
        } while (fail_one(l, live, n++, way & 1, close_codes[l->reads_again]));
        assert_in_range(n, least, 1000);
    }
    free(l);
}

static void through_a_proxy_degraded_and_expired(void **state)
{
    (void)state;
    fail_each(degraded_until_it_expires, true, 30, (const int[2]){4401, 4401});
}

static void a_client_that_does_not_read(void **state)
{
    (void)state;
    fail_each(does_not_read, false, 30, (const int[2]){1008, 1000});
}

static void a_client_that_leaves_behind_messages(void **state)
{
    (void)state;
    fail_each(leaves_behind_messages, false, 10, (const int[2]){1006, 1000});
}

static void a_client_that_is_refused(void **state)
{
    (void)state;
    fail_each(is_refused, true, 5, (const int[2]){0, 0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(through_a_proxy_degraded_and_expired),
        cmocka_unit_test(a_client_that_does_not_read),
        cmocka_unit_test(a_client_that_leaves_behind_messages),
        cmocka_unit_test(a_client_that_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
