/* tls_test.c - TLS between two streams of one loop, over loopback, and against plain sockets that break
 * its rules. The certificates are made by tests/support/certificates.sh when the program starts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/memory.h"
#include "net/listener.h"
#include "net/stream.h"
#include "net/tls.h"
#include "support/log_capture.h"

#define BIG (3u << 20)

static char folder[] = "/tmp/tidegate-tls-XXXXXX";

/* One end of a connection. */
struct end {
    struct tg_stream *stream;
    struct tg_buffer received;
    int ends, writtens, closeds;
    enum tg_err end_err;
    char end_why[256];
    bool close_in_read, close_in_end, close_in_written, stop_in_read, echo;
    size_t head_left;
    bool in_call; /* a tg_stream_* function is on the stack: no callback may come */
};

struct fixture {
    uv_loop_t loop;
    struct tg_net *net;
    struct tg_listener *listener;
    uint16_t port;
    struct tg_tls_config *server_config;
    struct tg_tls_config *client_config;
    const char *host; /* that the client wants to talk to */
    struct end server, client;
    int raw; /* a plain socket in place of the client, or -1 */
    bool hold;
};

#define RUN_UNTIL(fixture, condition)                                                              \
    do {                                                                                           \
        uint64_t give_up_ns = uv_hrtime() + UINT64_C(20000000000);                                 \
        while (!(condition)) {                                                                     \
            if (uv_hrtime() > give_up_ns)                                                          \
                fail_msg("never came: %s (server: %s; client: %s)", #condition,                    \
                         (fixture)->server.end_why, (fixture)->client.end_why);                    \
            uv_run(&(fixture)->loop, UV_RUN_NOWAIT);                                               \
        }                                                                                          \
    } while (0)

static const char *path(const char *name, const char *suffix)
{
    static char paths[8][128];
    static size_t next;
    char *out = paths[next++ % 8];

    snprintf(out, sizeof paths[0], "%s/%s%s", folder, name, suffix);
    return out;
}

static enum tg_err write_to(struct end *end, const void *data, size_t len)
{
    struct tg_buffer bytes = TG_BUFFER_INIT;

    assert_int_equal(tg_buffer_append(&bytes, data, len), TG_ERR_OK);
    end->in_call = true;
    enum tg_err err = tg_stream_write(end->stream, &bytes);
    end->in_call = false;
    tg_buffer_fini(&bytes);
    return err;
}

static void close_end(struct end *end)
{
    end->in_call = true;
    tg_stream_close(end->stream);
    end->in_call = false;
}

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct end *end = ctx;

    assert_false(end->in_call);
    assert_int_equal(end->ends + end->closeds, 0);
    assert_true(len > 0);
    if (end->head_left > 0) { /* what stands before TLS is as long as this says */
        size_t of_head = len < end->head_left ? len : end->head_left;
        end->head_left -= of_head;
        if (end->head_left == 0)
            tg_stream_release_tls(end->stream, len - of_head);
        len = of_head;
    }
    assert_int_equal(tg_buffer_append(&end->received, data, len), TG_ERR_OK);
    if (end->echo)
        assert_int_equal(write_to(end, data, len), TG_ERR_OK);
    memset(data, 0, len); /* is allowed */
    if (end->stop_in_read)
        tg_stream_read_stop(end->stream);
    if (end->close_in_read)
        close_end(end);
}

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    struct end *end = ctx;

    assert_false(end->in_call);
    end->ends++;
    end->end_err = err;
    snprintf(end->end_why, sizeof end->end_why, "%s", why);
    if (end->close_in_end)
        close_end(end);
}

static void on_written(void *ctx)
{
    struct end *end = ctx;

    assert_false(end->in_call);
    assert_false(tg_stream_is_writing(end->stream));
    end->writtens++;
    if (end->close_in_written)
        close_end(end);
}

static void on_closed(void *ctx)
{
    struct end *end = ctx;

    assert_false(end->in_call);
    end->closeds++;
    end->stream = NULL;
}

static const struct tg_stream_callbacks callbacks = {on_read, on_end, on_written, on_closed};

static void on_accept(void *ctx, struct tg_stream *stream)
{
    struct fixture *fixture = ctx;

    assert_null(fixture->server.stream);
    assert_int_equal(tg_stream_start_tls(stream, fixture->server_config, 0), TG_ERR_OK);
    tg_stream_bind(stream, &callbacks, &fixture->server);
    fixture->server.stream = stream;
    if (fixture->hold) {
        tg_stream_hold_tls(stream);
        fixture->server.head_left = 11;
    }
    assert_int_equal(tg_stream_read_start(stream), TG_ERR_OK);
}

/* "server,other" -> a configuration with these pairs. */
static struct tg_tls_config *make_server(const char *names, struct tg_tls_server_options *options)
{
    struct tg_tls_server_options fallback = {.session_tickets = true};
    const char *certificates[4];
    const char *keys[4];
    struct tg_tls_config *config = NULL;
    struct tg_error error = {0};
    char copy[64];
    char *rest = copy;

    if (options == NULL)
        options = &fallback;
    snprintf(copy, sizeof copy, "%s", names);
    options->pair_count = 0;
    for (char *name = strsep(&rest, ","); name != NULL; name = strsep(&rest, ",")) {
        certificates[options->pair_count] = path(name, ".pem");
        keys[options->pair_count++] = path(name, ".key");
    }
    options->certificates = certificates;
    options->keys = keys;
    options->lanes = 1;
    if (tg_tls_config_create_server(&config, options, &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    options->certificates = NULL;
    options->keys = NULL;
    return config;
}

static struct tg_tls_config *make_client(const char *name, bool insecure)
{
    struct tg_tls_client_options options = {.ca = path("ca", ".pem"), .insecure = insecure};
    struct tg_tls_config *config = NULL;
    struct tg_error error = {0};

    if (name != NULL) {
        options.certificate = path(name, ".pem");
        options.key = path(name, ".key");
    }
    if (tg_tls_config_create_client(&config, &options, &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    return config;
}

static void use_server(struct fixture *fixture, struct tg_tls_config *config)
{
    tg_tls_config_release(fixture->server_config);
    fixture->server_config = config;
}

static void use_client(struct fixture *fixture, struct tg_tls_config *config)
{
    tg_tls_config_release(fixture->client_config);
    fixture->client_config = config;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char bound[TG_ADDRESS_SIZE];
    int fd;

    if (fixture == NULL || uv_loop_init(&fixture->loop) != 0 ||
        tg_net_create(&fixture->net, &fixture->loop) != TG_ERR_OK ||
        tg_listener_bind("127.0.0.1:0", false, &fd, bound, NULL) != TG_ERR_OK ||
        tg_listener_start(&fixture->listener, fixture->net, fd, on_accept, NULL, fixture) !=
            TG_ERR_OK)
        return -1;
    fixture->port = (uint16_t)strtoul(strrchr(bound, ':') + 1, NULL, 10);
    fixture->raw = -1;
    fixture->host = "localhost";
    fixture->server_config = make_server("server", NULL);
    fixture->client_config = make_client(NULL, false);
    *state = fixture;
    return 0;
}

/* Closes both ends, so that a test can connect again. */
static void part(struct fixture *fixture)
{
    if (fixture->server.stream != NULL)
        tg_stream_close(fixture->server.stream);
    if (fixture->client.stream != NULL)
        tg_stream_close(fixture->client.stream);
    RUN_UNTIL(fixture, fixture->server.stream == NULL && fixture->client.stream == NULL);
    tg_buffer_fini(&fixture->server.received);
    tg_buffer_fini(&fixture->client.received);
    fixture->server = (struct end){0};
    fixture->client = (struct end){0};
    if (fixture->raw != -1)
        close(fixture->raw);
    fixture->raw = -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    part(fixture);
    tg_listener_stop(fixture->listener);
    tg_net_destroy(fixture->net);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    tg_tls_config_release(fixture->server_config);
    tg_tls_config_release(fixture->client_config);
    int status = uv_loop_close(&fixture->loop);
    free(fixture);
    return status;
}

static void on_connected(void *ctx, enum tg_err err, const char *why)
{
    struct fixture *fixture = ctx;

    (void)why;
    assert_int_equal(err, TG_ERR_OK);
    fixture->client.in_call = true;
    assert_int_equal(
        tg_stream_start_tls_client(fixture->client.stream, fixture->client_config, fixture->host),
        TG_ERR_OK);
    assert_int_equal(tg_stream_read_start(fixture->client.stream), TG_ERR_OK);
    fixture->client.in_call = false;
}

static void dial(struct fixture *fixture)
{
    assert_int_equal(tg_stream_connect(&fixture->client.stream, fixture->net, "127.0.0.1",
                                       fixture->port, on_connected, fixture, NULL),
                     TG_ERR_OK);
    tg_stream_bind(fixture->client.stream, &callbacks, &fixture->client);
}

static bool is_up(const struct end *end)
{
    return end->stream != NULL && tg_stream_has_tls(end->stream) &&
           !tg_stream_is_handshaking(end->stream);
}

static void open_pair(struct fixture *fixture)
{
    dial(fixture);
    RUN_UNTIL(fixture, is_up(&fixture->server) && is_up(&fixture->client));
    assert_int_equal(fixture->server.ends + fixture->client.ends, 0);
}

static void open_raw(struct fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fixture->port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fixture->raw = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_not_equal(fixture->raw, -1);
    assert_int_equal(connect(fixture->raw, (struct sockaddr *)&address, sizeof address), 0);
    RUN_UNTIL(fixture, fixture->server.stream != NULL);
}

static uint8_t *pattern(size_t len)
{
    uint8_t *bytes = malloc(len + 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    return bytes;
}

static void assert_got(const struct end *end, const uint8_t *bytes, size_t len)
{
    assert_int_equal(end->received.len, len);
    if (len > 0)
        assert_memory_equal(tg_buffer_head(&end->received), bytes, len);
}

/* --- data -------------------------------------------------------------------------------------------- */

static void test_all_sizes_both_ways(void **state)
{
    static const size_t sizes[] = {1, 2, 100, 16383, 16384, 16385, 65536, 65537, 200000, BIG};
    struct fixture *fixture = *state;
    uint8_t *bytes = pattern(BIG);

    open_pair(fixture);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        tg_buffer_clear(&fixture->server.received);
        tg_buffer_clear(&fixture->client.received);
        assert_int_equal(write_to(&fixture->client, bytes, sizes[i]), TG_ERR_OK);
        assert_int_equal(write_to(&fixture->server, bytes, sizes[i]), TG_ERR_OK);
        RUN_UNTIL(fixture, fixture->server.received.len >= sizes[i] &&
                               fixture->client.received.len >= sizes[i] &&
                               !tg_stream_is_writing(fixture->server.stream) &&
                               !tg_stream_is_writing(fixture->client.stream));
        assert_got(&fixture->server, bytes, sizes[i]);
        assert_got(&fixture->client, bytes, sizes[i]);
        assert_int_equal(tg_stream_unwritten(fixture->server.stream), 0);
    }
    assert_int_equal(fixture->server.ends + fixture->client.ends, 0);
    free(bytes);
}

/* A client speaks first, so it need not wait for the handshake in order to write. */
static void test_write_before_handshake(void **state)
{
    struct fixture *fixture = *state;

    dial(fixture);
    RUN_UNTIL(fixture, tg_stream_has_tls(fixture->client.stream));
    assert_true(tg_stream_is_handshaking(fixture->client.stream));
    assert_int_equal(write_to(&fixture->client, "early", 5), TG_ERR_OK);
    assert_true(tg_stream_is_writing(fixture->client.stream));
    assert_in_range(tg_stream_unwritten(fixture->client.stream), 5, 1000);
    RUN_UNTIL(fixture, fixture->server.received.len == 5);
    assert_int_equal(fixture->client.writtens, 1);
    assert_int_equal(tg_stream_unwritten(fixture->client.stream), 0);
    assert_got(&fixture->server, (const uint8_t *)"early", 5);
}

static void test_echo_from_inside_on_read(void **state)
{
    struct fixture *fixture = *state;
    uint8_t *bytes = pattern(10000);

    open_pair(fixture);
    fixture->server.echo = true;
    assert_int_equal(write_to(&fixture->client, bytes, 10000), TG_ERR_OK);
    RUN_UNTIL(fixture, fixture->client.received.len == 10000);
    assert_got(&fixture->client, bytes, 10000);
    free(bytes);
}

static void test_slow_reader(void **state)
{
    struct fixture *fixture = *state;
    size_t len = 24u << 20;
    uint8_t *bytes = pattern(len);

    open_pair(fixture);
    tg_stream_read_stop(fixture->client.stream);
    assert_int_equal(write_to(&fixture->server, bytes, len), TG_ERR_OK);
    assert_true(tg_stream_is_writing(fixture->server.stream));
    for (int i = 0; i < 100; i++)
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_int_equal(fixture->client.received.len, 0);
    assert_int_equal(fixture->server.writtens, 0);
    assert_in_range(tg_stream_unwritten(fixture->server.stream), len / 4, len + CHAR_MAX * 1000);
    assert_int_equal(tg_stream_read_start(fixture->client.stream), TG_ERR_OK);
    RUN_UNTIL(fixture, fixture->client.received.len >= len && fixture->server.writtens > 0);
    assert_got(&fixture->client, bytes, len);
    assert_int_equal(fixture->server.writtens, 1);
    assert_int_equal(tg_stream_unwritten(fixture->server.stream), 0);
    free(bytes);
}

static void test_stop_reading_in_read(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    fixture->server.stop_in_read = true;
    assert_int_equal(write_to(&fixture->client, "a", 1), TG_ERR_OK);
    RUN_UNTIL(fixture, fixture->server.received.len == 1);
    assert_int_equal(write_to(&fixture->client, "b", 1), TG_ERR_OK);
    for (int i = 0; i < 50; i++)
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_int_equal(fixture->server.received.len, 1);
    assert_int_equal(tg_stream_read_start(fixture->server.stream), TG_ERR_OK);
    RUN_UNTIL(fixture, fixture->server.received.len == 2);
}

/* --- the end ----------------------------------------------------------------------------------------- */

static void test_shutdown_says_bye(void **state)
{
    struct fixture *fixture = *state;
    uint8_t *bytes = pattern(BIG);

    open_pair(fixture);
    assert_int_equal(write_to(&fixture->server, bytes, BIG), TG_ERR_OK);
    tg_stream_shutdown(fixture->server.stream);
    tg_stream_shutdown(fixture->server.stream);
    assert_int_equal(write_to(&fixture->server, "x", 1), TG_ERR_CLOSED);
    RUN_UNTIL(fixture, fixture->client.ends == 1);
    assert_int_equal(fixture->client.end_err, TG_ERR_OK);
    assert_got(&fixture->client, bytes, BIG);
    /* The other direction still works, and ends in the same way. */
    assert_int_equal(write_to(&fixture->client, "last", 4), TG_ERR_OK);
    tg_stream_shutdown(fixture->client.stream);
    RUN_UNTIL(fixture, fixture->server.ends == 1);
    assert_int_equal(fixture->server.end_err, TG_ERR_OK);
    assert_got(&fixture->server, (const uint8_t *)"last", 4);
    free(bytes);
}

static void test_close_says_bye(void **state)
{
    struct fixture *fixture = *state;

    open_pair(fixture);
    close_end(&fixture->client);
    RUN_UNTIL(fixture, fixture->client.closeds == 1 && fixture->server.ends == 1);
    assert_int_equal(fixture->server.end_err, TG_ERR_OK);
    fixture->server.close_in_end = true;
}

static void test_close_in_callbacks(void **state)
{
    struct fixture *fixture = *state;
    size_t len = 24u << 20; /* more than sockets take at once */
    uint8_t *bytes = pattern(len);

    open_pair(fixture);
    fixture->server.close_in_read = true;
    fixture->client.close_in_end = true;
    assert_int_equal(write_to(&fixture->client, "hello", 5), TG_ERR_OK);
    RUN_UNTIL(fixture, fixture->server.closeds == 1 && fixture->client.closeds == 1);
    assert_int_equal(fixture->server.ends, 0);
    assert_int_equal(fixture->client.end_err, TG_ERR_OK);

    part(fixture);
    open_pair(fixture);
    fixture->server.close_in_written = true;
    tg_stream_read_stop(fixture->client.stream);
    assert_int_equal(write_to(&fixture->server, bytes, len), TG_ERR_OK);
    assert_int_equal(tg_stream_read_start(fixture->client.stream), TG_ERR_OK);
    RUN_UNTIL(fixture, fixture->server.closeds == 1 && fixture->client.ends == 1);
    assert_got(&fixture->client, bytes, len);

    part(fixture);
    open_pair(fixture);
    assert_int_equal(write_to(&fixture->server, bytes, len), TG_ERR_OK);
    close_end(&fixture->server); /* while it writes */
    assert_int_equal(write_to(&fixture->server, "x", 1), TG_ERR_CLOSED);
    RUN_UNTIL(fixture, fixture->server.closeds == 1 && fixture->client.ends == 1);
    free(bytes);
}

static void test_close_before_handshake(void **state)
{
    struct fixture *fixture = *state;

    dial(fixture);
    RUN_UNTIL(fixture, fixture->server.stream != NULL);
    assert_int_equal(write_to(&fixture->server, "never sent", 10), TG_ERR_OK);
    close_end(&fixture->server);
    close_end(&fixture->client);
    RUN_UNTIL(fixture, fixture->server.closeds == 1 && fixture->client.closeds == 1);
    assert_int_equal(fixture->server.ends + fixture->client.ends, 0);
}

/* Copies the bytes of a TLS client to the server by hand, so that they can stop or change. */
struct relay {
    int inner; /* the client's server */
    int listening;
};

static void relay_open(struct fixture *fixture, struct relay *relay)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    relay->listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(relay->listening, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(relay->listening, 1), 0);
    assert_int_equal(getsockname(relay->listening, (struct sockaddr *)&address, &len), 0);
    uint16_t port = fixture->port;
    fixture->port = ntohs(address.sin_port);
    dial(fixture);
    fixture->port = port;
    relay->inner = accept(relay->listening, NULL, NULL);
    open_raw(fixture);
}

/* Moves what is there, at most `step` bytes at a time. True when something moved. */
static bool relay_move(struct fixture *fixture, struct relay *relay, size_t step, bool damage)
{
    uint8_t bytes[4096];
    ssize_t up = recv(relay->inner, bytes, step, MSG_DONTWAIT);

    if (up > 0 && damage)
        bytes[up - 1] ^= 1;
    if (up > 0)
        assert_int_equal(send(fixture->raw, bytes, (size_t)up, 0), up);
    ssize_t down = recv(fixture->raw, bytes, step, MSG_DONTWAIT);
    if (down > 0)
        assert_int_equal(send(relay->inner, bytes, (size_t)down, 0), down);
    return up > 0 || down > 0;
}

static void relay_close(struct relay *relay)
{
    close(relay->inner);
    close(relay->listening);
}

#define RELAY_UNTIL(fixture, relay, step, condition)                                               \
    RUN_UNTIL(fixture, (relay_move(fixture, relay, step, false), (condition)))

static void test_one_byte_at_a_time(void **state)
{
    struct fixture *fixture = *state;
    struct relay relay;

    relay_open(fixture, &relay);
    RELAY_UNTIL(fixture, &relay, 1, is_up(&fixture->server) && is_up(&fixture->client));
    assert_int_equal(write_to(&fixture->client, "bytes", 5), TG_ERR_OK);
    RELAY_UNTIL(fixture, &relay, 1, fixture->server.received.len == 5);
    relay_close(&relay);
}

static void test_truncation(void **state)
{
    struct fixture *fixture = *state;
    struct relay relay;

    relay_open(fixture, &relay);
    RELAY_UNTIL(fixture, &relay, 4096, is_up(&fixture->server) && is_up(&fixture->client));
    assert_int_equal(write_to(&fixture->client, "whole", 5), TG_ERR_OK);
    RELAY_UNTIL(fixture, &relay, 4096, fixture->server.received.len == 5);
    shutdown(fixture->raw, SHUT_WR);
    RUN_UNTIL(fixture, fixture->server.ends == 1);
    assert_int_equal(fixture->server.end_err, TG_ERR_PROTO);
    assert_non_null(strstr(fixture->server.end_why, "without close_notify"));
    relay_close(&relay);
}

static void test_changed_record(void **state)
{
    struct fixture *fixture = *state;
    struct relay relay;

    relay_open(fixture, &relay);
    RELAY_UNTIL(fixture, &relay, 4096, is_up(&fixture->server) && is_up(&fixture->client));
    assert_int_equal(write_to(&fixture->client, "whole", 5), TG_ERR_OK);
    RUN_UNTIL(fixture, relay_move(fixture, &relay, 4096, true));
    RUN_UNTIL(fixture, fixture->server.ends == 1);
    assert_int_equal(fixture->server.end_err, TG_ERR_PROTO);
    assert_non_null(strstr(fixture->server.end_why, "cannot be decrypted"));
    assert_int_equal(fixture->server.received.len, 0);
    assert_int_equal(write_to(&fixture->server, "x", 1), TG_ERR_CLOSED);
    /* The client hears of it by an alert. */
    RELAY_UNTIL(fixture, &relay, 4096, fixture->client.ends == 1);
    assert_int_equal(fixture->client.end_err, TG_ERR_PROTO);
    relay_close(&relay);
}

static void test_lost_in_handshake(void **state)
{
    struct fixture *fixture = *state;
    struct relay relay;

    relay_open(fixture, &relay);
    RUN_UNTIL(fixture, relay_move(fixture, &relay, 20, false)); /* a part of ClientHello */
    shutdown(fixture->raw, SHUT_WR);
    RUN_UNTIL(fixture, fixture->server.ends == 1);
    assert_int_equal(fixture->server.end_err, TG_ERR_PROTO);
    assert_true(tg_stream_is_handshaking(fixture->server.stream));
    relay_close(&relay);
}

/* A load balancer that looks whether the port is open has done nothing wrong. */
static void test_silent_visitor(void **state)
{
    struct fixture *fixture = *state;

    open_raw(fixture);
    shutdown(fixture->raw, SHUT_WR);
    RUN_UNTIL(fixture, fixture->server.ends == 1);
    assert_int_equal(fixture->server.end_err, TG_ERR_OK);
}

/* Something of its own may stand before TLS, in pieces, and its end may come with the first bytes of TLS. */
static void test_hold(void **state)
{
    struct fixture *fixture = *state;
    struct relay relay;

    fixture->hold = true;
    relay_open(fixture, &relay);
    assert_int_equal(send(fixture->raw, "GET /he", 7, 0), 7);
    RUN_UNTIL(fixture, fixture->server.received.len == 7);
    uint8_t rest[8 + 4096] = "ad\r\n";
    ssize_t hello = 0;
    RUN_UNTIL(fixture, (hello = recv(relay.inner, rest + 4, 4096, MSG_DONTWAIT)) > 0);
    assert_int_equal(send(fixture->raw, rest, (size_t)hello + 4, 0), hello + 4);
    RELAY_UNTIL(fixture, &relay, 4096, is_up(&fixture->server) && is_up(&fixture->client));
    assert_got(&fixture->server, (const uint8_t *)"GET /head\r\n", 11);
    assert_int_equal(write_to(&fixture->client, "plain", 5), TG_ERR_OK);
    RELAY_UNTIL(fixture, &relay, 4096, fixture->server.received.len == 16);
    assert_got(&fixture->server, (const uint8_t *)"GET /head\r\nplain", 16);
    relay_close(&relay);
}

static void test_garbage(void **state)
{
    static const uint8_t garbage[] = {0x16, 0x03, 0x01, 0x00, 0x05, 0x55, 0, 0, 1, 0};
    static const uint8_t noise[] = {0xff, 0x00, 0x13, 0x37, 0x55, 0x80, 0x01, 0x02, 0x03, 0x04};
    const uint8_t *kinds[] = {garbage, noise};

    for (size_t i = 0; i < 2; i++) {
        struct fixture *fixture = *state;
        open_raw(fixture);
        assert_int_equal(send(fixture->raw, kinds[i], 10, 0), 10);
        RUN_UNTIL(fixture, fixture->server.ends == 1);
        assert_int_equal(fixture->server.end_err, TG_ERR_PROTO);
        assert_true(strlen(fixture->server.end_why) > 5);
        assert_true(tg_stream_is_handshaking(fixture->server.stream));
        part(fixture);
    }
}

static void test_plain_http_gets_a_hint(void **state)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct fixture *fixture = *state;
    char answer[512] = "";
    size_t len = 0;

    open_raw(fixture);
    fixture->server.close_in_end = true;
    assert_int_equal(send(fixture->raw, request, strlen(request), 0), (int)strlen(request));
    RUN_UNTIL(fixture, fixture->server.closeds == 1);
    assert_int_equal(fixture->server.end_err, TG_ERR_PROTO);
    assert_string_equal(fixture->server.end_why, "plain HTTP on a TLS port");
    for (ssize_t n = 1; n > 0; len += (size_t)n)
        n = recv(fixture->raw, answer + len, sizeof answer - 1 - len, 0);
    assert_memory_equal(answer, "HTTP/1.1 400 ", 13);
    const char *body = strstr(answer, "\r\n\r\n") + 4;
    assert_non_null(strstr(body, "wss://"));
    const char *length = strstr(answer, "Content-Length: ");
    assert_int_equal(strtoul(length + 16, NULL, 10), strlen(body));
}

/* --- certificates ------------------------------------------------------------------------------------ */

/* The DNS name, or else the CN, of the certificate that a client of `host` is shown. */
static void assert_shown(struct fixture *fixture, const char *host, const char *want)
{
    struct tg_buffer json = TG_BUFFER_INIT;

    use_client(fixture, make_client(NULL, true));
    fixture->host = host;
    open_pair(fixture);
    struct tg_buffer info = TG_BUFFER_INIT;
    assert_int_equal(tg_stream_tls_describe(fixture->server.stream, &info), TG_ERR_OK);
    assert_int_equal(tg_buffer_append(&info, "", 1), TG_ERR_OK);
    if (strchr(host, ':') == NULL && strncmp(host, "127.", 4) != 0)
        assert_non_null(strstr((char *)tg_buffer_head(&info), host));
    tg_buffer_fini(&info);
    part(fixture);

    /* And a client that looks closely agrees, or not. */
    use_client(fixture, make_client(NULL, false));
    dial(fixture);
    RUN_UNTIL(fixture, is_up(&fixture->client) || fixture->client.ends > 0);
    if (want == NULL) {
        assert_int_equal(fixture->client.ends, 1);
        assert_int_equal(fixture->client.end_err, TG_ERR_PROTO);
    } else {
        assert_int_equal(fixture->client.ends, 0);
        assert_int_equal(tg_stream_tls_peer_certificate(fixture->client.stream, &json), TG_ERR_OK);
        assert_int_equal(tg_buffer_append(&json, "", 1), TG_ERR_OK);
        if (strstr((char *)tg_buffer_head(&json), want) == NULL)
            fail_msg("%s was shown %s, not %s", host, (char *)tg_buffer_head(&json), want);
    }
    tg_buffer_fini(&json);
    part(fixture);
}

static void test_sni(void **state)
{
    struct fixture *fixture = *state;

    use_server(fixture, make_server("server,other,wildcard,old", NULL));
    assert_shown(fixture, "localhost", "\"subject_cn\":\"localhost\"");
    assert_shown(fixture, "api.example.test", "\"subject_cn\":\"localhost\"");
    assert_shown(fixture, "other.example.test", "\"subject_cn\":\"other\"");
    assert_shown(fixture, "OTHER.Example.test", "\"subject_cn\":\"other\"");
    assert_shown(fixture, "a.wild.test", "\"subject_cn\":\"wildcard\"");
    assert_shown(fixture, "a.b.wild.test", NULL); /* one label only */
    assert_shown(fixture, "wild.test", NULL);
    assert_shown(fixture, "cn.example.test", "\"subject_cn\":\"cn.example.test\"");
    assert_shown(fixture, "unknown.test", NULL); /* the first one, which is not for it */
    use_server(fixture, make_server("server,wildcard,exact", NULL));
    assert_shown(fixture, "exact.wild.test", "\"subject_cn\":\"exact\"");
    assert_shown(fixture, "inexact.wild.test", "\"subject_cn\":\"wildcard\"");
}

static void test_addresses(void **state)
{
    struct fixture *fixture = *state;

    assert_shown(fixture, "127.0.0.1", "\"127.0.0.1\"");
    assert_shown(fixture, "::1", "\"::1\"");
    assert_shown(fixture, "127.0.0.2", NULL);
    use_server(fixture, make_server("other", NULL));
    assert_shown(fixture, "127.0.0.1", NULL);
}

static void test_rsa(void **state)
{
    struct fixture *fixture = *state;

    use_server(fixture, make_server("rsa", NULL));
    assert_shown(fixture, "localhost", "\"subject_cn\":\"localhost\"");
}

static void test_reload_mid_connection(void **state)
{
    struct fixture *fixture = *state;
    struct tg_buffer before = TG_BUFFER_INIT;
    struct tg_buffer after = TG_BUFFER_INIT;

    open_pair(fixture);
    assert_int_equal(tg_stream_tls_peer_certificate(fixture->client.stream, &before), TG_ERR_OK);
    use_server(fixture, make_server("renewed", NULL)); /* the connection has the last count now */
    assert_int_equal(write_to(&fixture->client, "still here", 10), TG_ERR_OK);
    assert_int_equal(write_to(&fixture->server, "still here", 10), TG_ERR_OK);
    RUN_UNTIL(fixture, fixture->server.received.len == 10 && fixture->client.received.len == 10);
    part(fixture);
    open_pair(fixture);
    assert_int_equal(tg_stream_tls_peer_certificate(fixture->client.stream, &after), TG_ERR_OK);
    assert_true(before.len > 100 && after.len > 100);
    assert_false(before.len == after.len &&
                 memcmp(tg_buffer_head(&before), tg_buffer_head(&after), after.len) == 0);
    tg_buffer_fini(&before);
    tg_buffer_fini(&after);
}

static void ask_for_certificates(struct fixture *fixture, enum tg_tls_client_auth auth)
{
    struct tg_tls_server_options options = {.client_auth = auth, .session_tickets = true};

    options.client_ca = path("ca", ".pem");
    use_server(fixture, make_server("server", &options));
}

/* What the server knows of a client's certificate after the first byte, in static memory. */
static const char *certificate_of(struct fixture *fixture, const char *name)
{
    static char text[4096];
    struct tg_buffer json = TG_BUFFER_INIT;

    use_client(fixture, make_client(name, false));
    dial(fixture);
    RUN_UNTIL(fixture, tg_stream_has_tls(fixture->client.stream));
    assert_int_equal(write_to(&fixture->client, "x", 1), TG_ERR_OK);
    RUN_UNTIL(fixture, fixture->server.received.len == 1 || fixture->server.ends > 0);
    if (fixture->server.ends > 0) {
        assert_int_equal(fixture->server.end_err, TG_ERR_PROTO);
        assert_true(tg_stream_is_handshaking(fixture->server.stream));
        snprintf(text, sizeof text, "refused: %s", fixture->server.end_why);
    } else {
        assert_int_equal(tg_stream_tls_peer_certificate(fixture->server.stream, &json), TG_ERR_OK);
        snprintf(text, sizeof text, "%.*s", (int)json.len,
                 json.len == 0 ? "" : (char *)tg_buffer_head(&json));
    }
    tg_buffer_fini(&json);
    part(fixture);
    return text;
}

static void assert_has(const char *text, const char *part_of_it)
{
    if (strstr(text, part_of_it) == NULL)
        fail_msg("no %s in %s", part_of_it, text);
}

static void test_client_certificate(void **state)
{
    struct fixture *fixture = *state;

    ask_for_certificates(fixture, TG_TLS_CLIENT_REQUIRED);
    const char *json = certificate_of(fixture, "client");
    assert_has(json, "\"subject\":\"O=Example, CN=ada\"");
    assert_has(json, "\"subject_cn\":\"ada\"");
    assert_has(json, "\"issuer\":\"CN=Tidegate test CA\"");
    assert_has(json, "\"sans\":{\"dns\":[\"ada.example.test\"],\"email\":[\"ada@example.test\"],"
                     "\"uri\":[\"spiffe://example.test/ada\"],\"ip\":[\"10.1.2.3\"]}");
    assert_has(json, "\"verified\":true");
    const char *fingerprint = strstr(json, "\"fingerprint_sha256\":\"");
    assert_int_equal(strspn(fingerprint + 22, "0123456789abcdef"), 64);
    const char *not_after = strstr(json, "\"not_after\":");
    double seconds = strtod(not_after + 12, NULL);
    assert_true(seconds > (double)time(NULL) + 20 * 86400.0);
    assert_true(seconds < (double)time(NULL) + 40 * 86400.0);
}

static void test_client_certificate_required(void **state)
{
    struct fixture *fixture = *state;

    ask_for_certificates(fixture, TG_TLS_CLIENT_REQUIRED);
    assert_has(certificate_of(fixture, NULL), "refused: the client gave no certificate");
    assert_has(certificate_of(fixture, "rogue"), "refused: ");
    assert_has(certificate_of(fixture, "rogue"), "not correctly signed by the trusted CA");
    assert_has(certificate_of(fixture, "stale"), "expired");
}

static void test_client_certificate_optional(void **state)
{
    struct fixture *fixture = *state;

    ask_for_certificates(fixture, TG_TLS_CLIENT_OPTIONAL);
    assert_string_equal(certificate_of(fixture, NULL), "");
    assert_string_equal(certificate_of(fixture, "rogue"), "");
    assert_string_equal(certificate_of(fixture, "stale"), "");
    assert_has(certificate_of(fixture, "client"), "\"subject_cn\":\"ada\"");
}

/* What the server says of the connection of a client with this certificate. */
static const char *description_for(struct fixture *fixture, const char *name)
{
    static char text[1024];
    struct tg_buffer json = TG_BUFFER_INIT;

    use_client(fixture, make_client(name, false));
    dial(fixture);
    RUN_UNTIL(fixture, tg_stream_has_tls(fixture->client.stream));
    assert_int_equal(write_to(&fixture->client, "x", 1), TG_ERR_OK);
    RUN_UNTIL(fixture, fixture->server.received.len == 1 || fixture->server.ends > 0);
    assert_int_equal(tg_stream_tls_describe(fixture->server.stream, &json), TG_ERR_OK);
    snprintf(text, sizeof text, "%.*s", (int)json.len, (char *)tg_buffer_head(&json));
    tg_buffer_fini(&json);
    part(fixture);
    return text;
}

static void test_why_a_client_certificate_counts_as_none(void **state)
{
    struct fixture *fixture = *state;

    ask_for_certificates(fixture, TG_TLS_CLIENT_OPTIONAL);
    assert_has(description_for(fixture, "rogue"), "\"client_certificate_error\":\"not_trusted\"");
    assert_has(description_for(fixture, "stale"), "\"client_certificate_error\":\"expired\"");
    assert_null(strstr(description_for(fixture, "client"), "client_certificate_error"));
    assert_null(strstr(description_for(fixture, NULL), "client_certificate_error"));
}

static void test_client_certificate_not_asked_for(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(certificate_of(fixture, "client"), "");
}

static void test_unknown_authority(void **state)
{
    struct fixture *fixture = *state;

    use_server(fixture, make_server("rogue", NULL));
    dial(fixture);
    RUN_UNTIL(fixture, fixture->client.ends == 1 && fixture->server.ends == 1);
    assert_int_equal(fixture->client.end_err, TG_ERR_PROTO);
    assert_has(fixture->client.end_why, "certificate is refused");
    assert_int_equal(fixture->server.end_err, TG_ERR_PROTO);
    if (!tg_tls_has_1_3()) /* there the library's own client sends an alert that nobody can read */
        assert_has(fixture->server.end_why, "the peer refused: ");
}

static void test_describe(void **state)
{
    struct fixture *fixture = *state;
    struct tg_buffer json = TG_BUFFER_INIT;

    open_pair(fixture);
    assert_int_equal(tg_stream_tls_describe(fixture->server.stream, &json), TG_ERR_OK);
    assert_int_equal(tg_buffer_append(&json, "", 1), TG_ERR_OK);
    const char *text = (char *)tg_buffer_head(&json);
    assert_has(text, tg_tls_has_1_3() ? "\"version\":\"TLSv1.3\"" : "\"version\":\"TLSv1.2\"");
    assert_has(text, tg_tls_has_1_3() ? "\"cipher\":\"TLS_AES_128_GCM_SHA256\""
                                      : "\"cipher\":\"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"");
    assert_has(text, "\"server_name\":\"localhost\"");
    tg_buffer_fini(&json);
}

/* --- options ----------------------------------------------------------------------------------------- */

static void assert_refused(struct tg_tls_server_options options, const char *certificate,
                           const char *key, const char *names, const char *why)
{
    struct tg_tls_config *config = NULL;
    struct tg_error error = {0};

    options.certificates = &certificate;
    options.keys = &key;
    options.pair_count = 1;
    options.lanes = 2;
    assert_int_not_equal(tg_tls_config_create_server(&config, &options, &error), TG_ERR_OK);
    assert_null(config);
    assert_has(error.text, names);
    assert_has(error.text, why);
}

static void test_errors_name_file_and_cause(void **state)
{
    const struct tg_tls_server_options none = {0};
    const char *good = path("server", ".pem");
    const char *key = path("server", ".key");
    const char *bad = path("bad", ".pem");
    FILE *file = fopen(bad, "w");

    (void)state;
    assert_non_null(file);
    fputs("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", file);
    fclose(file);
    assert_refused(none, "/nonexistent/x.pem", key, "/nonexistent/x.pem", "No such file");
    assert_refused(none, good, "/nonexistent/x.key", "/nonexistent/x.key", "No such file");
    assert_refused(none, folder, key, folder, "no file of PEM");
    assert_refused(none, path("openssl", ".log"), key, "openssl.log", "holds no PEM");
    assert_refused(none, bad, key, "bad.pem", "no certificate that can be read");
    assert_refused(none, key, key, "server.key", "holds no certificate");
    assert_refused(none, good, good, "server.pem", "holds no private key");
    assert_refused(none, good, path("other", ".key"), "other.key", "does not match");
    assert_refused((struct tg_tls_server_options){.client_auth = TG_TLS_CLIENT_REQUIRED,
                                                  .client_ca = "/nonexistent/ca.pem"},
                   good, key, "/nonexistent/ca.pem", "No such file");
    const char *cipher = "TLS_RSA_WITH_HOPE";
    assert_refused((struct tg_tls_server_options){.ciphers = &cipher, .cipher_count = 1}, good, key,
                   "tls.ciphers", "TLS_RSA_WITH_HOPE");
    if (!tg_tls_has_1_3())
        assert_refused((struct tg_tls_server_options){.min_version = TG_TLS_1_3}, good, key,
                       "tls.min_version", "no TLS 1.3");
}

static void test_expired_certificate_is_a_warning(void **state)
{
    (void)state;
    log_capture_start();
    tg_tls_config_release(make_server("expired", NULL));
    assert_int_equal(log_capture_matches("tls.certificate_expired"), 1);
    assert_true(log_capture_has("expired.pem"));
    tg_tls_config_release(make_server("server", NULL));
    assert_int_equal(log_capture_matches("tls.certificate_expired"), 1);
    log_capture_stop();
}

static void test_ciphers(void **state)
{
    struct fixture *fixture = *state;
    const char *ciphers[] = {tg_tls_has_1_3() ? "TLS_AES_256_GCM_SHA384"
                                              : "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"};
    struct tg_tls_server_options options = {.ciphers = ciphers, .cipher_count = 1};
    struct tg_buffer json = TG_BUFFER_INIT;

    use_server(fixture, make_server("server", &options));
    open_pair(fixture);
    assert_int_equal(tg_stream_tls_describe(fixture->server.stream, &json), TG_ERR_OK);
    assert_int_equal(tg_buffer_append(&json, "", 1), TG_ERR_OK);
    assert_has((char *)tg_buffer_head(&json), ciphers[0]);
    tg_buffer_fini(&json);
}

/* --- memory ------------------------------------------------------------------------------------------ */

/* Every allocation of ours fails once: a configuration is made whole or not at all. */
static void test_config_without_memory(void **state)
{
    struct tg_tls_config *config = NULL;
    const char *certificate = path("server", ".pem");
    const char *key = path("server", ".key");
    struct tg_tls_server_options options = {
        .certificates = &certificate, .keys = &key, .pair_count = 1, .lanes = 2};
    enum tg_err err = TG_ERR_NOMEM;
    long n = 0;

    (void)state;
    for (; err != TG_ERR_OK && n < 100; n++) {
        (void)tg_memory_fail_after(n, 0);
        err = tg_tls_config_create_server(&config, &options, NULL);
        (void)tg_memory_fail_after(-1, 0);
        assert_true(err == TG_ERR_OK || err == TG_ERR_NOMEM);
    }
    assert_true(n > 3 && n < 100);
    tg_tls_config_release(config);
}

/* Likewise during a handshake and an exchange: the connection works, or ends. */
static void test_session_without_memory(void **state)
{
    struct fixture *fixture = *state;
    bool whole = false;

    for (long n = 0; !whole; n++) {
        assert_true(n < 200);
        dial(fixture);
        RUN_UNTIL(fixture,
                  fixture->server.stream != NULL && tg_stream_has_tls(fixture->client.stream));
        assert_non_null(tg_buffer_reserve(&fixture->server.received, 16));
        (void)tg_memory_fail_after(n, 0);
        struct tg_buffer bytes = TG_BUFFER_INIT;
        enum tg_err err = tg_buffer_append(&bytes, "hello", 5);
        if (err == TG_ERR_OK)
            err = tg_stream_write(fixture->client.stream, &bytes);
        tg_buffer_fini(&bytes);
        uint64_t give_up_ns = uv_hrtime() + UINT64_C(20000000000);
        while (err == TG_ERR_OK && fixture->server.received.len < 5 && fixture->server.ends == 0 &&
               fixture->client.ends == 0 && uv_hrtime() < give_up_ns)
            uv_run(&fixture->loop, UV_RUN_NOWAIT);
        assert_true(uv_hrtime() < give_up_ns);
        size_t used = tg_memory_fail_after(-1, 0);
        whole = err == TG_ERR_OK && fixture->server.received.len == 5 && used <= (size_t)n;
        part(fixture);
    }
}

static int make_certificates(void **state)
{
    char command[512];

    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(command, sizeof command, "sh %s/tests/support/certificates.sh %s", TG_TEST_SOURCE_DIR,
             folder);
    return system(command);
}

static int remove_certificates(void **state)
{
    char command[512];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_sizes_both_ways),
        TEST(test_write_before_handshake),
        TEST(test_echo_from_inside_on_read),
        TEST(test_slow_reader),
        TEST(test_stop_reading_in_read),
        TEST(test_shutdown_says_bye),
        TEST(test_close_says_bye),
        TEST(test_close_in_callbacks),
        TEST(test_close_before_handshake),
        TEST(test_one_byte_at_a_time),
        TEST(test_truncation),
        TEST(test_changed_record),
        TEST(test_lost_in_handshake),
        TEST(test_silent_visitor),
        TEST(test_hold),
        TEST(test_garbage),
        TEST(test_plain_http_gets_a_hint),
        TEST(test_sni),
        TEST(test_addresses),
        TEST(test_rsa),
        TEST(test_reload_mid_connection),
        TEST(test_client_certificate),
        TEST(test_client_certificate_required),
        TEST(test_client_certificate_optional),
        TEST(test_why_a_client_certificate_counts_as_none),
        TEST(test_client_certificate_not_asked_for),
        TEST(test_unknown_authority),
        TEST(test_describe),
        cmocka_unit_test(test_errors_name_file_and_cause),
        cmocka_unit_test(test_expired_certificate_is_a_warning),
        TEST(test_ciphers),
        cmocka_unit_test(test_config_without_memory),
        TEST(test_session_without_memory),
    };

    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
