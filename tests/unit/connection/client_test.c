/* client_test.c - who the client is, through proxies, and whether it may come. The bench's clients come from
 * 127.0.0.1, which is a trusted proxy or is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection/connection.h"
#include "support/bench.h"
#include "support/header_of.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc6\x33\x64\x02\xdc\x04\x01\xbb"

static struct tg_cidr trusted[TG_CIDR_PARTS + 1];
static struct tg_admission *admission;

static void trust(struct bench *b)
{
    size_t count;

    assert_int_equal(tg_cidr_parse("loopback", trusted, &count, NULL), TG_ERR_OK);
    assert_int_equal(tg_cidr_parse("10.0.0.0/8", trusted + count, &count, NULL), TG_ERR_OK);
    b->options.trusted_proxies = trusted;
    b->options.trusted_proxy_count = TG_CIDR_PARTS + 1;
}

static void limit(struct bench *b, uint64_t per_address, const char *rate)
{
    struct tg_admission_options options = {.max_per_address = per_address};

    assert_int_equal(tg_rate_parse(rate, &options.rate, NULL), TG_ERR_OK);
    assert_int_equal(tg_admission_create(&admission, &options), TG_ERR_OK);
    b->options.admission = admission;
}

static int teardown(void **state)
{
    int result = bench_teardown(state);

    if (admission != NULL) {
        assert_int_equal(tg_admission_count(admission), 0);
        tg_admission_destroy(admission);
        admission = NULL;
    }
    return result;
}

static const struct tg_conn *conn_of(struct bench *b, const struct bench_client *client)
{
    struct tg_conn_id id;

    assert_int_equal(tg_conn_id_parse(client->id, strlen(client->id), &id), TG_ERR_OK);
    const struct tg_conn *conn = tg_hub_find(b->hub, &id);
    assert_non_null(conn);
    return conn;
}

/* The client as the policy sees it. */
static const struct tg_request *request_of(struct bench *b, const struct bench_client *client)
{
    return tg_conn_request(conn_of(b, client));
}

/* Valid until the next call. */
static const char *remote_of(struct bench *b, const struct bench_client *client)
{
    static char remote[TG_ADDRESS_SIZE];

    tg_conn_remote(conn_of(b, client), remote);
    return remote;
}

static struct bench_client *ask(struct bench *b, const char *headers)
{
    struct bench_client *client = bench_connect(b);

    bench_request(b, client, headers);
    bench_read_head(b, client);
    return client;
}

static void a_trusted_proxy_is_believed(void **state)
{
    struct bench *b = *state;

    trust(b);
    bench_start(b);
    struct bench_client *client =
        ask(b, "X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.1.1.1\r\nX-Forwarded-Proto: https\r\n");
    assert_int_equal(client->status, 101);
    const struct tg_request *request = request_of(b, client);
    assert_string_equal(remote_of(b, client), "203.0.113.7");
    assert_true(tg_request_is_secure(request));
    assert_true(tg_request_is_via_proxy(request));
    assert_string_equal(header_of(request, "x-forwarded-for"), "6.6.6.6, 203.0.113.7, 10.1.1.1");
}

static void anybody_else_is_not(void **state)
{
    struct bench *b = *state;

    bench_start(b);
    struct bench_client *client =
        ask(b, "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n"
               "Forwarded: for=203.0.113.8\r\nX-Real-IP: 203.0.113.9\r\nX-Other: kept\r\n");
    assert_int_equal(client->status, 101);
    const struct tg_request *request = request_of(b, client);
    assert_memory_equal(remote_of(b, client), "127.0.0.1:", 10);
    assert_false(tg_request_is_secure(request));
    assert_false(tg_request_is_via_proxy(request));
    assert_null(header_of(request, "x-forwarded-for"));
    assert_null(header_of(request, "x-forwarded-proto"));
    assert_null(header_of(request, "forwarded"));
    assert_null(header_of(request, "x-real-ip"));
    assert_string_equal(header_of(request, "x-other"), "kept");
}

static void headers_that_contradict_each_other(void **state)
{
    struct bench *b = *state;

    trust(b);
    bench_start(b);
    struct bench_client *client =
        ask(b, "X-Forwarded-For: 203.0.113.7\r\nForwarded: for=6.6.6.6\r\n");
    assert_int_equal(client->status, 400);
    assert_int_equal(tg_counter_get(&b->metrics->refusals[TG_REFUSAL_PROXY]), 1);
}

static struct bench_client *send_proxied(struct bench *b, const char *header, size_t len,
                                         const char *extra, bool bytewise)
{
    struct bench_client *client = bench_connect(b);

    for (size_t i = 0; i < len; i += bytewise ? 1 : len) {
        bench_send(b, client, header + i, bytewise ? 1 : len);
        bench_turn(b);
    }
    bench_request(b, client, extra);
    bench_read_head(b, client);
    return client;
}

static void proxy_headers(void **state)
{
    static const char v1[] = "PROXY TCP4 203.0.113.7 198.51.100.2 56324 443\r\n";
    static const char via[] = "PROXY TCP4 10.9.9.9 198.51.100.2 56324 443\r\n";
    struct bench *b = *state;

    trust(b);
    b->options.proxy_protocol = true;
    bench_start(b);
    for (int bytewise = 0; bytewise < 2; bytewise++) {
        struct bench_client *client =
            send_proxied(b, v1, sizeof v1 - 1, "X-Forwarded-For: 6.6.6.6\r\n", bytewise == 1);
        assert_int_equal(client->status, 101);
        assert_string_equal(remote_of(b, client), "203.0.113.7:56324");
        /* That client is no proxy, so what it says of others counts for nothing. */
        assert_null(header_of(request_of(b, client), "x-forwarded-for"));
        client = send_proxied(b, V2, sizeof V2 - 1, "", bytewise == 1);
        assert_int_equal(client->status, 101);
        assert_string_equal(remote_of(b, client), "203.0.113.7:56324");
    }
    /* A proxy behind a proxy. */
    struct bench_client *client =
        send_proxied(b, via, sizeof via - 1, "X-Forwarded-For: 203.0.113.8\r\n", false);
    assert_string_equal(remote_of(b, client), "203.0.113.8");
    client = send_proxied(b, "PROXY UNKNOWN\r\n", 15, "", false);
    assert_memory_equal(remote_of(b, client), "127.0.0.1:", 10);
}

static void a_missing_proxy_header_is_told(void **state)
{
    struct bench *b = *state;

    trust(b);
    b->options.proxy_protocol = true;
    bench_start(b);
    struct bench_client *client = ask(b, "");
    assert_int_equal(client->status, 400);
    BENCH_UNTIL(b, client->eof);
    assert_non_null(strstr((const char *)client->in, "a PROXY header was expected"));
    assert_int_equal(tg_counter_get(&b->metrics->refusals[TG_REFUSAL_PROXY]), 1);
}

/* From anybody but a trusted proxy it is no header but a bad request. */
static void a_proxy_header_of_a_stranger(void **state)
{
    static const char v1[] = "PROXY TCP4 203.0.113.7 198.51.100.2 56324 443\r\n";
    struct bench *b = *state;

    b->options.proxy_protocol = true;
    bench_start(b);
    struct bench_client *client = send_proxied(b, v1, sizeof v1 - 1, "", false);
    assert_int_equal(client->status, 400);
}

static void one_address_has_so_many_connections(void **state)
{
    struct bench *b = *state;

    limit(b, 1, "unlimited");
    bench_start(b);
    struct bench_client *first = bench_ready(b);
    struct bench_client *second = ask(b, "");
    assert_int_equal(second->status, 429);
    assert_non_null(strstr(second->head, "Retry-After: 5\r\n"));
    assert_string_not_equal(second->id, "");
    assert_int_equal(tg_counter_get(&b->metrics->refusals[TG_REFUSAL_MAX_PER_IP]), 1);
    bench_close_client(first);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 0);
    (void)bench_ready(b);
}

static void behind_a_proxy_it_is_the_client_that_counts(void **state)
{
    struct bench *b = *state;

    trust(b);
    limit(b, 1, "unlimited");
    bench_start(b);
    struct bench_client *first = ask(b, "X-Forwarded-For: 203.0.113.7\r\n");
    assert_int_equal(first->status, 101);
    struct bench_client *second = ask(b, "X-Forwarded-For: 203.0.113.7\r\n");
    assert_int_equal(second->status, 429);
    assert_non_null(strstr(second->head, "Retry-After: 5\r\n"));
    assert_int_equal(ask(b, "X-Forwarded-For: 203.0.113.8\r\n")->status, 101);
    assert_int_equal(ask(b, "")->status, 101); /* the proxy for itself */
    assert_int_equal(ask(b, "")->status, 101);
    bench_close_client(first);
    bench_close_client(second);
    BENCH_UNTIL(b, tg_hub_count(b->hub) == 3);
    assert_int_equal(ask(b, "X-Forwarded-For: 203.0.113.7\r\n")->status, 101);
}

static void by_proxy_header_as_well(void **state)
{
    struct bench *b = *state;

    trust(b);
    limit(b, 1, "unlimited");
    b->options.proxy_protocol = true;
    bench_start(b);
    assert_int_equal(send_proxied(b, V2, sizeof V2 - 1, "", false)->status, 101);
    assert_int_equal(send_proxied(b, V2, sizeof V2 - 1, "", false)->status, 429);
    assert_int_equal(tg_admission_addresses(admission), 1);
}

static void new_connections_have_a_rate(void **state)
{
    struct bench *b = *state;

    limit(b, 0, "1/h burst 2");
    bench_start(b);
    (void)bench_ready(b);
    (void)bench_ready(b);
    struct bench_client *third = ask(b, "");
    assert_int_equal(third->status, 429);
    assert_non_null(strstr(third->head, "Retry-After: 3600\r\n"));
    assert_int_equal(tg_counter_get(&b->metrics->refusals[TG_REFUSAL_CONNECTION_RATE]), 1);
}

static void messages_have_a_rate(void **state)
{
    struct bench *b = *state;

    b->replies[TG_HOOK_MESSAGE] = (struct bench_reply){BENCH_NOW, bench_yes()};
    assert_int_equal(tg_rate_parse("1/h burst 3", &b->options.message_rate, NULL), TG_ERR_OK);
    bench_start(b);
    struct bench_client *client = bench_ready(b);
    bench_send_text(b, client, "{\"type\":\"x\"}");
    bench_send_frame(b, client, 9, "", 0);
    assert_int_equal(bench_read(b, client).opcode, 10);
    bench_send_text(b, client, "{\"type\":\"ping\"}");
    (void)bench_expect(b, client, "pong");
    bench_send_text(b, client, "{\"type\":\"y\"}");
    assert_non_null(strstr(bench_expect_close(b, client, 4429), "slow down"));
    assert_int_equal(bench_asked(b, TG_HOOK_MESSAGE), 1);
    assert_int_equal(tg_counter_get(&b->metrics->refusals[TG_REFUSAL_MESSAGE_RATE]), 1);
}

/* A peer that is turned away is answered also when it sends nothing, or goes; and nothing is left of it. */
static void those_turned_away_end_by_themselves(void **state)
{
    struct bench *b = *state;

    limit(b, 1, "unlimited");
    bench_start(b);
    (void)bench_ready(b);
    struct bench_client *silent = bench_connect(b);
    struct bench_client *gone = bench_connect(b);
    struct bench_client *half = bench_connect(b);
    struct bench_client *bytewise = bench_connect(b);
    bench_turns(b, 3);
    bench_reset_client(gone);
    bench_half_close(half);
    bench_read_head(b, half);
    assert_int_equal(half->status, 429);
    static const char head[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for (size_t i = 0; i < sizeof head - 1; i++) {
        bench_send(b, bytewise, head + i, 1);
        bench_turn(b);
        assert_true(i + 2 >= sizeof head - 1 || bytewise->len == 0);
    }
    bench_read_head(b, bytewise);
    assert_int_equal(bytewise->status, 429);
    bench_read_head(b, silent); /* after two seconds */
    assert_int_equal(silent->status, 429);
    BENCH_UNTIL(b, silent->eof);
}

static int dial(const struct bench *b)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(b->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_not_equal(fd, -1);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void a_crowd_is_turned_away_at_once(void **state)
{
    struct bench *b = *state;
    int fds[300];

    limit(b, 1, "unlimited");
    bench_start(b);
    (void)bench_ready(b);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        fds[i] = dial(b);
    BENCH_UNTIL(b, tg_counter_get(&b->metrics->refusals[TG_REFUSAL_MAX_PER_IP]) == 300);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        close(fds[i]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_trusted_proxy_is_believed),
        T(anybody_else_is_not),
        T(headers_that_contradict_each_other),
        T(proxy_headers),
        T(a_missing_proxy_header_is_told),
        T(a_proxy_header_of_a_stranger),
        T(one_address_has_so_many_connections),
        T(behind_a_proxy_it_is_the_client_that_counts),
        T(by_proxy_header_as_well),
        T(new_connections_have_a_rate),
        T(messages_have_a_rate),
        T(those_turned_away_end_by_themselves),
        T(a_crowd_is_turned_away_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
