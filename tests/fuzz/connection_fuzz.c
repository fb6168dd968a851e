/* connection_fuzz.c - one connection from accept to its last byte, by script: the input says what the peer
 * sends and reads, what the policy answers and when, what scripts send, and how much time passes.
 *
 * The peer is the other end of a socket pair. The clock of the loop is this program's: clock_gettime is
 * replaced, so that hours pass in no time. Hooks are answered by the script, or at once. Whatever
 * happens: hooks one at a time, none after `closed`, `closed` once for whoever was asked to
 * authenticate, no illegal transition, queues within their bounds, and when the peer has left and all
 * deadlines have passed nothing is there any more.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <uv.h>

#include "base/log.h"
#include "base/memory.h"
#include "connection/connection.h"
#include "connection/hub.h"
#include "net/net_internal.h"
#include "net/timer.h"

#define OPS_MAX 200
#define INBOX_MESSAGES 4
#define INBOX_BYTES 2048
#define OUTBOX_BYTES 65536
#define MESSAGE_MAX 4096
#define ALL_DEADLINES_MS 600000
#define ENDINGS_MAX 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int clock_gettime(clockid_t clock, struct timespec *now);

static uint64_t skipped_ms;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    long err = syscall(SYS_clock_gettime, clock, now);

    /* Only this one: the fuzzer's own time-outs look at the wall. */
    if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE)
        now->tv_sec += (time_t)(skipped_ms / 1000);
    return (int)err;
}

struct script {
    const uint8_t *data;
    size_t left;
};

struct world {
    uv_loop_t loop;
    struct tg_net *net;
    struct tg_timers *timers;
    struct tg_metrics *metrics;
    struct tg_hub *hub;
    struct tg_hub_options options;
    int peer; /* -1: gone */
    bool at_once[TG_HOOKS];
    bool undefined[TG_HOOKS];
    enum tg_hook asking;  /* TG_HOOKS: none */
    struct tg_conn *conn; /* borrowed while a hook is under way */
    int authenticates, closeds;
    size_t runs;
    uint8_t sink; /* of what hooks are given: all of it must be readable */
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static uint8_t next(struct script *script)
{
    if (script->left == 0)
        return 0;
    script->left--;
    return *script->data++;
}

/* --- the upper layer ------------------------------------------------------------------------------- */
static struct tg_conn *only_conn(struct world *world)
{
    size_t cursor = 0;

    return tg_hub_next(world->hub, &cursor);
}

static bool hook_defined(void *host, enum tg_hook hook)
{
    const struct world *world = host;

    return hook == TG_HOOK_AUTHENTICATE || !world->undefined[hook];
}

static struct tg_hook_result result_of(uint8_t kind)
{
    static const uint8_t blob[] = "plain data";
    struct tg_hook_result result = {
        .outcome = TG_HOOK_OK_OUTCOME,
        .user_id = "ann",
        .identity = {blob, sizeof blob},
        .context = {blob, sizeof blob},
    };

    switch (kind % 16) {
    case 8:
        result.verdict = TG_VERDICT_NEED_MESSAGE;
        break;
    case 9:
        result.verdict = TG_VERDICT_DEGRADED;
        result.reason = "search";
        break;
    case 10:
        result.outcome = TG_HOOK_DENIED_OUTCOME;
        result.reason = "no";
        break;
    case 11:
        result.outcome = TG_HOOK_ERROR_OUTCOME;
        break;
    case 12:
        result.outcome = TG_HOOK_DENIED_OUTCOME;
        result.status = 4000 + kind;
        break;
    case 13:
        result.offered_id = "ws_1_2_3";
        break;
    case 14:
        result.user_id = "bob";
        break;
    case 15:
        result.expires_at = 4102444800.0;
        break;
    default:
        break;
    }
    return result;
}

static void answer(struct world *world, uint8_t kind)
{
    enum tg_hook hook = world->asking;
    /* A question that only authentication may ask again. */
    if (hook != TG_HOOK_AUTHENTICATE && kind % 16 == 8)
        kind = 0;
    struct tg_hook_result result = result_of(kind);

    if (hook == TG_HOOKS)
        return;
    world->asking = TG_HOOKS;
    tg_conn_hook_done(world->conn, hook, &result);
}

static void hook_start(void *host, struct tg_conn *conn, enum tg_hook hook,
                       const struct tg_hook_input *input)
{
    struct world *world = host;

    require(world->asking == TG_HOOKS && world->closeds == 0);
    require(hook != TG_HOOK_CLOSED || world->authenticates > 0);
    world->authenticates += hook == TG_HOOK_AUTHENTICATE;
    world->closeds += hook == TG_HOOK_CLOSED;
    for (size_t i = 0; input->data != NULL && i < input->len; i++)
        world->sink ^= (uint8_t)input->data[i];
    if (hook == TG_HOOK_CLOSED)
        require(tg_state_is_final(tg_conn_state(conn)) && input->close_reason != NULL);
    world->asking = hook;
    world->conn = conn;
    if (world->at_once[hook])
        answer(world, 0);
}

static void hook_cancel(void *host, struct tg_conn *conn)
{
    struct world *world = host;

    require(world->asking != TG_HOOKS && world->conn == conn);
    world->asking = TG_HOOKS;
}

static enum tg_err run_start(void *host, struct tg_conn *conn, const struct tg_run_request *request)
{
    struct world *world = host;

    require(request->input_json != NULL || request->input.data != NULL);
    if (world->runs >= 3)
        return TG_ERR_LIMIT;
    if (tg_conn_run_list(conn) == NULL)
        return TG_ERR_NOMEM;
    world->runs++;
    tg_conn_run_started(conn);
    return TG_ERR_OK;
}

static enum tg_err run_cancel(void *host, struct tg_conn *conn, const char *run_id)
{
    (void)host, (void)conn, (void)run_id;
    return TG_ERR_NOT_FOUND;
}

static void runs_end(void *host, struct tg_conn *conn)
{
    struct world *world = host;

    for (; world->runs > 0; world->runs--)
        tg_conn_run_ended(conn);
}

/* --- what a script can do ---------------------------------------------------------------------------- */
static void turn(struct world *world)
{
    (void)uv_run(&world->loop, UV_RUN_NOWAIT);
    (void)tg_hub_flush(world->hub);
}

static void peer_writes(struct world *world, const void *data, size_t len)
{
    const uint8_t *at = data;

    for (int tries = 0; len > 0 && world->peer != -1 && tries < 50; tries++) {
        ssize_t n = send(world->peer, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return;
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
        if (len > 0)
            turn(world);
    }
}

static void peer_reads(struct world *world)
{
    static uint8_t bytes[65536];

    while (world->peer != -1 && recv(world->peer, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
}

static void write_raw(struct world *world, struct script *script)
{
    size_t len = next(script);

    if (len > script->left)
        len = script->left;
    peer_writes(world, script->data, len);
    script->data += len;
    script->left -= len;
}

/* Kinds of payload: from the input, JSON that means something, or a lot. */
static size_t fill_payload(struct script *script, uint8_t *out)
{
    static const char *const documents[] = {
        "{\"type\":\"ping\",\"id\":1}",
        "{\"type\":\"agent_execution\",\"data\":{\"message\":\"x\"}}",
        "{\"type\":\"authenticate\",\"data\":{\"token\":\"t\"}}",
        "{\"type\":\"agent_cancel\",\"data\":{\"run_id\":\"r\"}}",
        "{\"type\":\"other\"}",
        "{",
        "\003\350bye",
        "\017\240",
    };
    uint8_t kind = next(script);
    size_t len = kind & 0x7f;

    if (kind < 0x80) {
        if (len > script->left)
            len = script->left;
        memcpy(out, script->data, len);
        script->data += len;
        script->left -= len;
        return len;
    }
    if ((kind & 0x40) != 0) {
        len = (size_t)(kind & 0x3f) * 66;
        memset(out, 'a', len);
        return len;
    }
    const char *document = documents[kind & 7];
    memcpy(out, document, strlen(document));
    return strlen(document);
}

static void write_frame(struct world *world, struct script *script)
{
    uint8_t payload[MESSAGE_MAX + 200];
    uint8_t frame[MESSAGE_MAX + 300];
    uint8_t first = next(script);
    size_t len = fill_payload(script, payload);
    size_t at = 0;

    frame[at++] = first;
    if (len < 126) {
        frame[at++] = (uint8_t)(0x80 | len);
    } else {
        frame[at++] = 0x80 | 126;
        frame[at++] = (uint8_t)(len >> 8);
        frame[at++] = (uint8_t)len;
    }
    memset(frame + at, 0, 4);
    at += 4;
    memcpy(frame + at, payload, len);
    peer_writes(world, frame, at + len);
}

static void write_request(struct world *world, uint8_t kind)
{
    static const char head[] = "GET /c?token=t HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const char *more = (kind & 1) == 0 ? "\r\n"
                                       : "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                                         "Sec-WebSocket-Protocol: tidegate.v1\r\n\r\n";

    peer_writes(world, head, sizeof head - 1);
    peer_writes(world, more, strlen(more));
}

static void leave(struct world *world, uint8_t how)
{
    if (world->peer == -1)
        return;
    if (how % 2 == 0) {
        (void)shutdown(world->peer, SHUT_WR);
        return;
    }
    close(world->peer);
    world->peer = -1;
}

static void script_sends(struct world *world, uint8_t kind)
{
    static uint8_t bytes[MESSAGE_MAX * 8];
    struct tg_conn *conn = only_conn(world);
    enum tg_err err;

    if (conn == NULL)
        return;
    memset(bytes, 'b', sizeof bytes);
    size_t len = (size_t)(kind >> 1) * 250;
    err = (kind & 1) == 0 ? tg_conn_send_text(conn, bytes, len)
                          : tg_conn_send_binary(conn, bytes, len);
    require(err == TG_ERR_OK || err == TG_ERR_CLOSED || err == TG_ERR_LIMIT || err == TG_ERR_NOMEM);
}

static void script_closes(struct world *world, uint8_t kind)
{
    struct tg_conn *conn = only_conn(world);

    if (conn == NULL)
        return;
    if (kind < 0x40)
        tg_conn_fail(conn, 1011, "fuzzed", "policy failed");
    else
        (void)!tg_conn_close(conn, 960 + kind, "bye");
}

static void run_ends(struct world *world)
{
    if (world->runs == 0)
        return;
    world->runs--;
    tg_conn_run_ended(only_conn(world));
}

static void pass_time(struct world *world, uint8_t kind)
{
    static const uint64_t steps_ms[] = {1000, 2000, 5000, 11000, 31000, 61000, 120000, 700000};

    skipped_ms += steps_ms[kind % 8];
    turn(world);
}

static void set_hook(struct world *world, uint8_t kind)
{
    enum tg_hook hook = (enum tg_hook)(kind % TG_HOOKS);

    world->at_once[hook] = (kind & 0x80) != 0;
    if (kind < 0xc0 && hook != TG_HOOK_CLOSED)
        world->undefined[hook] = (kind & 0x40) != 0;
}

static void step(struct world *world, struct script *script)
{
    switch (next(script) % 16) {
    case 0:
        write_raw(world, script);
        break;
    case 1:
    case 2:
    case 3:
        write_frame(world, script);
        break;
    case 4:
        write_request(world, next(script));
        break;
    case 5:
    case 6:
        answer(world, next(script));
        break;
    case 7:
        pass_time(world, next(script));
        return;
    case 8:
        peer_reads(world);
        break;
    case 9:
        script_sends(world, next(script));
        break;
    case 10:
        script_closes(world, next(script));
        break;
    case 11:
        leave(world, next(script));
        break;
    case 12:
        set_hook(world, next(script));
        return;
    case 13:
        if (next(script) < 0x80)
            tg_hub_drain(world->hub);
        else
            tg_hub_drain_now(world->hub);
        break;
    case 14:
        run_ends(world);
        break;
    default:
        (void)tg_memory_fail_after(next(script) % 64, 0);
        break;
    }
    turn(world);
}

/* --- what must hold -------------------------------------------------------------------------------------- */
static void check(struct world *world)
{
    const struct tg_metrics *m = world->metrics;
    struct tg_conn *conn = only_conn(world);

    require(tg_counter_get(&m->invalid_transitions) == 0);
    require(tg_counter_get(&m->duplicate_registrations) == 0);
    require(world->closeds <= 1 && tg_hub_count(world->hub) <= 1);
    if (conn == NULL) {
        require(world->asking == TG_HOOKS && world->runs == 0);
        return;
    }
    struct tg_conn_stats stats = tg_conn_stats(conn);
    require(stats.runs == world->runs);
    /* One read may bring more than fits; it waits undecoded. */
    require(stats.inbox_messages <= INBOX_MESSAGES);
    require(stats.inbox_bytes <= INBOX_BYTES + MESSAGE_MAX + TG_NET_READ_SIZE);
    require(stats.outbox_bytes <= OUTBOX_BYTES + 2 * TG_NET_READ_SIZE);
    require(tg_conn_state(conn) != TG_PROCESSING || stats.runs > 0);
    require((tg_conn_user_id(conn) != NULL) || tg_conn_state(conn) <= TG_ACCEPTED ||
            !tg_conn_is_open(conn));
}

static void begin(struct world *world, uint8_t options)
{
    struct tg_conn_upper upper = {
        .host = world,
        .hook_defined = hook_defined,
        .hook_start = hook_start,
        .hook_cancel = hook_cancel,
        .run_start = run_start,
        .run_cancel = run_cancel,
        .runs_end = runs_end,
    };
    int pair[2];
    struct tg_stream *stream;

    for (int hook = 0; hook < TG_HOOKS; hook++) {
        world->at_once[hook] = (options & 1) != 0;
        world->undefined[hook] = (options & 2) != 0;
    }
    world->undefined[TG_HOOK_TEXT] = (options & 4) == 0;
    world->asking = TG_HOOKS;
    world->options.strict = (options & 8) != 0;
    world->options.compression = (options & 16) != 0;
    require(uv_loop_init(&world->loop) == 0);
    world->metrics = calloc(1, sizeof *world->metrics);
    require(world->metrics != NULL);
    require(tg_net_create(&world->net, &world->loop) == TG_ERR_OK);
    require(tg_timers_create(&world->timers, &world->loop) == TG_ERR_OK);
    require(tg_hub_create(&world->hub, &world->options, world->net, world->timers,
                          world->metrics) == TG_ERR_OK);
    tg_hub_set_upper(world->hub, &upper);
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    world->peer = pair[1];
    require(tg__stream_adopt(&stream, world->net, pair[0]) == TG_ERR_OK);
    tg_hub_accept(world->hub, stream);
}

/* Nothing may outlive a peer that has left by more than its deadlines. */
static void end(struct world *world)
{
    (void)tg_memory_fail_after(-1, 0);
    leave(world, 1);
    /* Messages that came before are still answered, one by one. */
    for (int i = 0; i < ENDINGS_MAX && tg_hub_count(world->hub) > 0; i++) {
        turn(world);
        if (world->asking != TG_HOOKS)
            answer(world, 0);
        else
            skipped_ms += ALL_DEADLINES_MS;
    }
    turn(world);
    check(world);
    require(tg_hub_count(world->hub) == 0);
    require(world->undefined[TG_HOOK_CLOSED] || world->closeds == (world->authenticates > 0));
    for (size_t i = 0; i < TG_METRICS_STATES; i++)
        require(tg_counter_get(&world->metrics->states[i]) == 0 &&
                tg_counter_get(&world->metrics->stuck_now[i]) == 0);
    require(tg_counter_get(&world->metrics->connections_opened) ==
            tg_counter_get(&world->metrics->connections_closed));
    tg_timers_destroy(world->timers);
    tg_net_destroy(world->net);
    (void)uv_run(&world->loop, UV_RUN_DEFAULT);
    tg_hub_destroy(world->hub);
    require(uv_loop_close(&world->loop) == 0);
    free(world->metrics);
}

static const struct tg_hub_options all_options = {
    .worker = 1,
    .handshake_timeout_ms = 10000,
    .auth_timeout_ms = 10000,
    .setup_timeout_ms = 30000,
    .idle_after_ms = 60000,
    .ping_interval_ms = 30000,
    .pong_timeout_ms = 10000,
    .close_timeout_ms = 5000,
    .expiry_notice_ms = 60000,
    .prepare_retry_ms = 1000,
    .prepare_retry_max_ms = 30000,
    .outbox_timeout_ms = 10000,
    .max_message = MESSAGE_MAX,
    .max_header = 2048,
    .inbox_messages = INBOX_MESSAGES,
    .inbox_bytes = INBOX_BYTES,
    .outbox_bytes = OUTBOX_BYTES,
    .session_bytes = 1024,
    .deflate_terms = {.window_bits = 15},
    .deflate_tuning = {.level = 1, .memory_level = 8, .min_size = 16},
};

static void log_nothing(void *ctx, enum tg_log_level level, const char *line, size_t len)
{
    (void)ctx, (void)level, (void)line, (void)len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = {data, size};
    struct world world;

    if (size < 2)
        return 0;
    memset(&world, 0, sizeof world);
    world.options = all_options;
    tg_log_set_sink(log_nothing, NULL);
    begin(&world, next(&script));
    for (int i = 0; i < OPS_MAX && script.left > 0; i++) {
        step(&world, &script);
        check(&world);
    }
    end(&world);
    skipped_ms = 0;
    return 0;
}
