/* walk_test.c - a random walk over everything that can happen to a connection, with what must always
 * hold checked after each step.
 *
 * The client sends one valid stream in random pieces (with a broken frame at times), the policy answers
 * hooks now, later, wrongly or not at all, the agents do as they please, timers are set to a few
 * milliseconds, and anybody may end it at any moment. TG_WALK_SEED repeats a walk (as far as time lets
 * it), TG_WALK_SEQUENCES sets how many.
 *
 * Checked: the ID stays; a connection is found exactly while it lives; each recorded move is legal and
 * follows from the one before; the gauges sum up; hooks see the client's messages in order and without
 * a gap; the queues stay within their bounds; no state outlives its deadline; events are numbered
 * without a gap and each run's are in order. The bench checks the order of hooks, `closed` and the
 * books at the end.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json_reader.h"
#include "base/log.h"
#include "connection/connection.h"
#include "support/bench.h"

#define MAX_MESSAGE 300
#define STREAM_SIZE 16384
#define RUNS 32
#define STEPS 80

static char seed_line[80]; /* ready to print, for a handler of a signal */

/* --- chance ---------------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % below;
}

static bool chance(uint32_t percent)
{
    return draw(100) < percent;
}

/* --- the walk -------------------------------------------------------------------------------------- */

/* What is remembered of the connection between two steps. */
struct memory {
    struct tg_conn *conn;
    uint64_t serial;
    char id[TG_CONN_ID_SIZE];
    enum tg_state state;
    uint64_t since_ms; /* first seen in that state */
    bool over;
};

struct walk {
    struct bench bench; /* first: hooks get it as host */
    struct bench_client *client;
    struct memory memory;
    uint64_t turn_began_ms; /* the last one; 0: none yet */
    uint8_t stream[STREAM_SIZE];
    size_t stream_len, sent;
    int numbered;  /* messages "m" in the stream */
    int delivered; /* of these, seen by the hook; the next must have this number */
    bool hostile;  /* a broken frame is in the stream */
    bool rough;    /* anybody may end it at any moment; gentle walks get further */
    bool settling; /* nothing bad happens any more */
    struct tg_run *runs[RUNS];
    int run_count;
    uint64_t next_event;
    char terminal[RUNS][TG_RUN_ID_SIZE]; /* runs whose last event the client has seen */
    char begun[RUNS][TG_RUN_ID_SIZE];
    int terminals, begins;
};

/* --- the policy ------------------------------------------------------------------------------------ */

static struct tg_hook_result some_result(struct walk *w, enum tg_hook hook)
{
    static const char *const agents[] = {NULL, "solo", "unknown"};
    struct tg_hook_result result = bench_identity("ann");
    if (hook == TG_HOOK_ROUTE)
        result.agent = agents[w->settling ? 1 : draw(3)];
    if (w->settling)
        return result;
    if (hook == TG_HOOK_PREPARE && chance(50))
        result = bench_degraded(chance(50) ? "down" : NULL);
    if (!w->rough)
        return result;
    if (hook == TG_HOOK_REAUTHENTICATE && chance(10))
        result.user_id = "eve";
    if ((hook == TG_HOOK_AUTHENTICATE || hook == TG_HOOK_REAUTHENTICATE) && chance(30))
        result.expires_at = (double)(tg_clock_wall_ms() + draw(20)) / 1000.0;
    if (hook == TG_HOOK_AUTHENTICATE && chance(10))
        result.verdict = TG_VERDICT_NEED_MESSAGE;
    if (chance(4))
        result = bench_denied(chance(50) ? "no" : NULL);
    if (chance(2))
        result.status = (int)draw(6000);
    if (chance(2))
        result = bench_fault((enum tg_hook_outcome)(TG_HOOK_ERROR_OUTCOME + draw(5)));
    if (chance(1))
        result.offered_id = "ws_1757500188434_140052369812345";
    return result;
}

/* Somebody above ends it: a script, the admin interface, a limit. */
static void end_somehow(struct tg_conn *conn)
{
    switch (draw(4)) {
    case 0:
        assert_int_equal(tg_conn_close(conn, 1000, "enough"), TG_ERR_OK);
        break;
    case 1:
        tg_conn_fail(conn, 4429, "test", "too fast");
        break;
    case 2:
        tg_conn_tampered(conn, "field", "a", NULL);
        break;
    default:
        tg_conn_id_mismatch(conn, "x", 1, "test");
    }
}

static void check_message(struct walk *w, const struct bench_ask *ask)
{
    int n;
    if (sscanf(ask->data, "{\"type\":\"m\",\"n\":%d}", &n) != 1)
        fail_msg("not a message that was sent: %s", ask->data);
    assert_int_equal(n, w->delivered);
    w->delivered++;
}

static bool on_hook(struct bench *b, struct tg_conn *conn, enum tg_hook hook)
{
    struct walk *w = (struct walk *)b;
    if (hook == TG_HOOK_MESSAGE)
        check_message(w, &b->asks[b->ask_count - 1]);
    if (hook == TG_HOOK_CLOSED)
        assert_true(tg_state_is_final(tg_conn_state(conn)));
    if (w->rough && !w->settling && chance(2))
        end_somehow(conn);
    if (!w->settling && chance(10))
        (void)!tg_conn_send_text(conn, "{\"type\":\"said\"}", 15);
    if (bench_known_of(b, tg_conn_get_id(conn)->serial)->asking == hook &&
        (w->settling || chance(60)))
        bench_answer(b, hook, some_result(w, hook));
    return true;
}

static void answer_pending(struct walk *w)
{
    for (int hook = 0; hook < TG_HOOKS; hook++)
        if (bench_asking(&w->bench, (enum tg_hook)hook))
            bench_answer(&w->bench, (enum tg_hook)hook, some_result(w, (enum tg_hook)hook));
}

/* --- the agents ------------------------------------------------------------------------------------ */

static const char *default_agent(void *host)
{
    (void)host;
    return chance(80) ? "solo" : NULL;
}

static bool find_agent(void *host, const struct tg_run *parent, const char *name,
                       struct tg_run_limits *limits)
{
    (void)parent;
    (void)limits;
    (void)host;
    return strcmp(name, "solo") == 0;
}

static void start(void *host, struct tg_run *run, const struct tg_run_request *request)
{
    struct walk *w = host;
    (void)request;
    if (w->run_count == RUNS || chance(10)) {
        tg_run_complete(run, "1", 1);
        tg_run_release(run);
        return;
    }
    w->runs[w->run_count++] = run;
}

static void cancel(void *host, struct tg_run *run)
{
    (void)host; /* released by agent_step, as if its script were on the stack */
    assert_true(tg_run_is_over(run));
}

static void one_event(struct tg_run *run)
{
    enum tg_err err = TG_ERR_OK;
    uint32_t call = draw(6);
    switch (draw(6)) {
    case 0:
        err = tg_run_thinking(run, "hm", 2);
        break;
    case 1:
        err = tg_run_delta(run, "some text of an answer", draw(22));
        break;
    case 2:
        err = tg_run_tool_started(run, "tool", "{}", 2, &call);
        break;
    case 3:
        err = tg_run_tool_done(run, call, "1", 1, NULL);
        break;
    case 4:
        tg_run_complete(run, "1", 1);
        break;
    default:
        tg_run_fail(run, TG_RUN_FAILED_OUTCOME, "script_error", "x");
    }
    (void)err; /* any: the agent does not know what has happened meanwhile */
}

static void agent_step(struct walk *w)
{
    if (w->run_count == 0)
        return;
    int i = (int)draw((uint32_t)w->run_count);
    struct tg_run *run = w->runs[i];
    if (w->settling)
        tg_run_complete(run, "1", 1);
    else
        one_event(run);
    if (tg_run_is_over(run)) {
        tg_run_release(run);
        w->runs[i] = w->runs[--w->run_count];
    }
}

/* --- the client ------------------------------------------------------------------------------------ */

static void put(struct walk *w, uint8_t head, const void *data, size_t len)
{
    if (w->stream_len + len + 14 <= STREAM_SIZE)
        w->stream_len += bench_frame_write(w->stream + w->stream_len, head, data, len);
}

static void put_numbered(struct walk *w)
{
    char text[80];
    int len = snprintf(text, sizeof text, "{\"type\":\"m\",\"n\":%d}%*s", w->numbered++,
                       (int)draw(40), "");
    if (chance(25)) { /* in fragments, a ping between them */
        size_t first = draw((uint32_t)len);
        put(w, 0x01, text, first);
        if (chance(50))
            put(w, 0x89, "p", 1);
        put(w, 0x80, text + first, (size_t)len - first);
    } else {
        put(w, 0x81, text, (size_t)len);
    }
}

static void put_something(struct walk *w)
{
    static const char *const others[] = {
        "{\"type\":\"ping\",\"id\":1}",
        "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}",
        "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\",\"agent_type\":\"solo\"}}",
        "{\"type\":\"authenticate\",\"data\":{\"token\":\"t\"}}",
        "{\"type\":\"agent_cancel\",\"id\":2,\"data\":{\"run_id\":\"run_1\"}}",
        "no json",
        "{\"type\":3}",
    };
    uint32_t what = draw(20);
    if (what < 10)
        put_numbered(w);
    else if (what < 17)
        put(w, 0x81, others[what - 10], strlen(others[what - 10]));
    else if (what == 17)
        put(w, 0x89, "ping", 4);
    else if (what == 18)
        put(w, 0x82, "\0\1\2", 3);
    else
        put(w, 0x8a, "", 0);
}

static void put_broken(struct walk *w)
{
    static char big[MAX_MESSAGE + 1];
    static const uint8_t unmasked[] = {0x81, 0x01, 'x'};
    w->hostile = true;
    switch (draw(5)) {
    case 0:
        put(w, 0x83, "x", 1);
        break;
    case 1:
        put(w, 0x81, "\xff\xfe", 2);
        break;
    case 2:
        put(w, 0x82, big, sizeof big);
        break;
    case 3:
        put(w, 0x88, "\x03", 1);
        break;
    default:
        memcpy(w->stream + w->stream_len, unmasked, sizeof unmasked);
        w->stream_len += sizeof unmasked;
    }
}

static void write_stream(struct walk *w)
{
    static const char upgrade[] = "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    static const char junk[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    const char *head = !w->rough || chance(96) ? upgrade : junk;
    w->hostile = head == junk;
    w->stream_len = strlen(head);
    memcpy(w->stream, head, w->stream_len);
    int messages = (int)draw(60);
    for (int i = 0; i < messages; i++) {
        if (w->rough && chance(1))
            put_broken(w);
        put_something(w);
    }
    if (w->rough && chance(20)) {
        w->hostile = true; /* nothing is owed to one who leaves */
        put(w, 0x88, "\x03\xe8", 2);
    }
}

static void send_some(struct walk *w, size_t most)
{
    size_t left = w->stream_len - w->sent;
    size_t len = 1 + draw((uint32_t)most);
    if (len > left)
        len = left;
    if (w->client->fd == -1 || len == 0)
        return;
    bench_send(&w->bench, w->client, w->stream + w->sent, len);
    w->sent += len;
}

static bool remembered(char list[RUNS][TG_RUN_ID_SIZE], int count, const char *id)
{
    for (int i = 0; i < count && i < RUNS; i++)
        if (strcmp(list[i], id) == 0)
            return true;
    return false;
}

/* Numbered without a gap; per run: started first, one terminal event last. */
static void check_event(struct walk *w, const char *text, size_t len)
{
    struct tg_json_value document;
    char run_id[TG_RUN_ID_SIZE];
    assert_int_equal(tg_json_parse(text, len, &document, NULL), TG_ERR_OK);
    struct tg_json_value seq = tg_json_member(&document, "seq");
    struct tg_json_value type = tg_json_member(&document, "type");
    struct tg_json_value id = tg_json_member(&document, "run_id");
    if (seq.kind == TG_JSON_NONE)
        return;
    assert_int_equal((uint64_t)tg_json_number(&seq), w->next_event);
    w->next_event++;
    assert_int_equal(tg_json_copy_string(&id, run_id, sizeof run_id), TG_ERR_OK);
    assert_false(remembered(w->terminal, w->terminals, run_id));
    bool begins = tg_json_equals(&type, "agent_started");
    if (w->begins < RUNS)
        assert_int_equal(begins, !remembered(w->begun, w->begins, run_id));
    if (begins && w->begins < RUNS)
        memcpy(w->begun[w->begins++], run_id, sizeof run_id);
    if ((tg_json_equals(&type, "agent_completed") || tg_json_equals(&type, "agent_error")) &&
        w->terminals < RUNS)
        memcpy(w->terminal[w->terminals++], run_id, sizeof run_id);
}

static void read_all(struct walk *w)
{
    struct bench_client *client = w->client;
    struct bench_frame frame;
    if (client->status == 0 && client->len > 0 &&
        memmem(client->in, client->len, "\r\n\r\n", 4) != NULL)
        bench_read_head(&w->bench, client);
    while (client->status == 101 && bench_take_frame(client, &frame)) {
        if (frame.opcode == 1)
            check_event(w, frame.data, frame.len);
        if (frame.opcode == 8) {
            assert_int_equal(client->len, 0); /* nothing after a close frame */
            if (client->fd != -1 && chance(70))
                bench_send_close(&w->bench, client, 1000, "");
        }
        if (frame.opcode == 9 && client->fd != -1 && chance(80) && w->sent == w->stream_len)
            bench_send_frame(&w->bench, client, 10, frame.data, frame.len);
    }
}

/* --- what must always hold ------------------------------------------------------------------------- */

static bool legal(enum tg_state from, enum tg_state to)
{
    /* By the order of enum tg_state: connecting, accepted, aUthenticated, Services_ready, Ready,
     * Processing, Idle, Degraded, reconnecting (X), closinG, Closed, Failed. */
    static const char letters[] = "NAUSRPIDXGCF";
    static const char *const to_of[TG_STATES] = {"ACF",    "UGCF",   "SDGCF",  "RDGCF",
                                                 "PIDGCF", "RIDGCF", "PRDGCF", "RPIXGCF",
                                                 "SRDGCF", "CF",     "",       ""};
    return strchr(to_of[from], letters[to]) != NULL;
}

static void check_moves(const struct tg_conn *conn)
{
    const struct tg_lifecycle *lifecycle = tg_conn_lifecycle(conn);
    struct tg_transition t, before = {.to = TG_CONNECTING};
    for (size_t i = 0; tg_lifecycle_transition(lifecycle, i, &t); i++) {
        if (!legal(t.from, t.to))
            fail_msg("illegal move %s -> %s (%s)", tg_state_names[t.from], tg_state_names[t.to],
                     t.reason);
        if (i > 0)
            assert_int_equal(t.from, before.to);
        before = t;
    }
    assert_int_equal(before.to, tg_conn_state(conn));
}

static void check_bounds(const struct walk *w, const struct tg_conn *conn)
{
    const struct tg_hub_options *o = &w->bench.options;
    struct tg_conn_stats stats = tg_conn_stats(conn);
    assert_true(stats.inbox_messages <= o->inbox_messages);
    assert_true(stats.inbox_bytes <= o->inbox_bytes + MAX_MESSAGE + TG_NET_READ_SIZE);
    assert_true(stats.outbox_bytes <= o->outbox_bytes + 4 * 1024 + 200);
    assert_true(stats.runs <= RUNS);
}

/* began_ms: before the last two runs of the loop, so what was due then must have happened. Two, because
 * libuv runs timers at the end of a turn since 1.45: what one of them closes is gone a turn later. */
static void check_deadline(const struct walk *w, const struct tg_conn *conn, uint64_t began_ms)
{
    const struct tg_hub_options *o = &w->bench.options;
    const struct memory *m = &w->memory;
    uint64_t limit_ms = 0;
    enum tg_state state = tg_conn_state(conn);
    if (state == TG_CONNECTING)
        limit_ms = o->handshake_timeout_ms;
    else if (state == TG_ACCEPTED)
        limit_ms = o->auth_timeout_ms;
    else if (state == TG_AUTHENTICATED || state == TG_SERVICES_READY)
        limit_ms = o->setup_timeout_ms;
    else if (state == TG_CLOSING ||
             (tg_state_is_final(state) && !bench_asking(&w->bench, TG_HOOK_CLOSED)))
        limit_ms = o->close_timeout_ms;
    else
        return;
    if (m->state == state && began_ms > m->since_ms + limit_ms + 4)
        fail_msg("%s for %d ms, limit %d", tg_state_names[state], (int)(began_ms - m->since_ms),
                 (int)limit_ms);
}

static void remember(struct walk *w, struct tg_conn *conn)
{
    struct memory *m = &w->memory;
    if (m->conn == NULL) {
        m->conn = conn;
        m->serial = tg_conn_get_id(conn)->serial;
        tg_conn_id_text(conn, m->id);
        m->state = TG_STATES;
    }
    if (m->state != tg_conn_state(conn)) {
        m->state = tg_conn_state(conn);
        m->since_ms = bench_now_ms();
    }
}

static void check_all(struct walk *w, uint64_t began_ms)
{
    struct bench *b = &w->bench;
    struct memory *m = &w->memory;
    struct tg_conn *conn = bench_conn(b);
    const struct tg_metrics *metrics = b->metrics;
    uint64_t opened = tg_counter_get(&metrics->connections_opened);
    uint64_t closed = tg_counter_get(&metrics->connections_closed);
    assert_int_equal(opened - closed, conn != NULL);
    assert_int_equal(tg_counter_get(&metrics->invalid_transitions), 0);
    for (size_t i = 0; i < TG_STATES; i++)
        assert_int_equal(tg_counter_get(&metrics->states[i]),
                         conn != NULL && tg_conn_state(conn) == i);
    if (m->conn != NULL && conn == NULL)
        m->over = true;
    if (conn == NULL)
        return;
    assert_false(m->over);
    char id[TG_CONN_ID_SIZE];
    tg_conn_id_text(conn, id);
    if (m->conn != NULL) {
        assert_ptr_equal(m->conn, conn);
        assert_string_equal(m->id, id);
        check_deadline(w, conn, began_ms);
    }
    assert_ptr_equal(tg_hub_find(b->hub, tg_conn_get_id(conn)), conn);
    check_moves(conn);
    check_bounds(w, conn);
    remember(w, conn);
}

/* --- steps ----------------------------------------------------------------------------------------- */

static void turn(struct walk *w)
{
    uint64_t began_ms = w->turn_began_ms;
    w->turn_began_ms = bench_now_ms();
    bench_turn(&w->bench);
    read_all(w);
    check_all(w, began_ms);
}

static void client_misbehaves(struct walk *w)
{
    uint32_t how = draw(4);
    if (w->client->fd == -1)
        return;
    w->hostile = w->hostile || how < 3;
    switch (how) {
    case 0:
        bench_reset_client(w->client);
        break;
    case 1:
        bench_close_client(w->client);
        break;
    case 2:
        bench_half_close(w->client);
        break;
    default:
        w->client->deaf = !w->client->deaf;
    }
}

static void late_answer(struct tg_conn *conn)
{
    struct tg_hook_result result = bench_identity("eve");
    enum tg_hook hook = (enum tg_hook)draw(TG_HOOKS);
    struct tg_conn *known = conn;
    if (hook != TG_HOOK_CLOSED && tg_state_is_final(tg_conn_state(known)))
        tg_conn_hook_done(known, hook, &result);
}

static void server_step(struct walk *w, struct tg_conn *conn)
{
    static const char text[400] = {'x'};
    switch (w->rough ? draw(12) : 4 + draw(8)) {
    case 0:
        end_somehow(conn);
        break;
    case 1:
        tg_hub_drain(w->bench.hub);
        break;
    case 2:
        if (chance(30))
            tg_hub_drain_now(w->bench.hub);
        break;
    case 3:
        if (chance(20))
            tg_hub_drop_all(w->bench.hub);
        break;
    case 4:
        (void)!tg_conn_store_session(conn, text, draw(400));
        break;
    case 5:
        late_answer(conn);
        break;
    default:
        (void)!tg_conn_send_binary(conn, text, draw(400));
    }
}

static void step(struct walk *w)
{
    struct tg_conn *conn = bench_conn(&w->bench);
    uint32_t what = draw(100);
    if (what < 45)
        send_some(w, chance(50) ? 20 : 2000);
    else if (what < 65)
        answer_pending(w);
    else if (what < 85)
        agent_step(w);
    else if (what < 87 && w->rough)
        client_misbehaves(w);
    else if (what < 92 && conn != NULL)
        server_step(w, conn);
    else if (what < 95)
        (void)usleep(500 * draw(6)); /* time passes, and the loop does not notice yet */
    if (chance(80))
        turn(w);
}

/* It waits for a message that does not come, or stands behind a full inbox: only time will end it. */
static bool lacks_authenticate(const struct walk *w, const struct tg_conn *conn)
{
    return tg_conn_state(conn) == TG_ACCEPTED && !bench_asking(&w->bench, TG_HOOK_AUTHENTICATE) &&
           (w->sent == w->stream_len || w->client->fd == -1);
}

/* From here on everybody behaves: nothing may be left undone. */
static void settle(struct walk *w)
{
    uint64_t give_up_ms = bench_now_ms() + 5000;
    w->settling = true;
    w->client->deaf = false;
    for (;;) {
        struct tg_conn *conn = bench_conn(&w->bench);
        if (conn == NULL && (w->memory.over || w->client->eof || w->client->reset))
            return;
        send_some(w, 500);
        answer_pending(w);
        agent_step(w);
        turn(w);
        conn = bench_conn(&w->bench);
        if (conn != NULL && tg_conn_state(conn) >= TG_CLOSING)
            bench_close_client(w->client); /* it has no need to wait */
        if (conn != NULL && lacks_authenticate(w, conn))
            return;
        if (conn != NULL && tg_state_is_operational(tg_conn_state(conn)) && w->run_count == 0 &&
            w->sent == w->stream_len && !w->hostile && w->delivered == w->numbered)
            return;
        if (bench_now_ms() > give_up_ms)
            fail_msg("state %s, sent %zu of %zu, delivered %d of %d",
                     conn == NULL ? "none" : tg_state_names[tg_conn_state(conn)], w->sent,
                     w->stream_len, w->delivered, w->numbered);
    }
}

static void draw_options(struct walk *w, struct tg_runs_options *runs)
{
    struct tg_hub_options *o = &w->bench.options;
    uint64_t *const times[] = {&o->handshake_timeout_ms, &o->auth_timeout_ms,  &o->setup_timeout_ms,
                               &o->idle_after_ms,        &o->ping_interval_ms, &o->pong_timeout_ms,
                               &o->close_timeout_ms,     &o->expiry_notice_ms, &o->prepare_retry_ms,
                               &o->outbox_timeout_ms};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        *times[i] = w->rough && chance(50) ? 1 + draw(20) : 10000;
    if (chance(70))
        o->idle_after_ms = 1 + draw(3);
    if (chance(80))
        o->prepare_retry_ms = 1 + draw(3);
    o->close_timeout_ms = 1 + draw(20); /* waited for at the end of many walks */
    o->prepare_retry_max_ms = o->prepare_retry_ms * 4;
    o->max_message = MAX_MESSAGE;
    o->inbox_messages = 1 + draw(6);
    o->inbox_bytes = chance(50) ? 200 : 20000;
    o->outbox_bytes = w->rough && chance(40) ? 400 + draw(1000) : 200000;
    o->strict = w->rough && chance(10);
    *runs = (struct tg_runs_options){
        .max_per_connection = 1 + draw(4),
        .timeout_ms = chance(50) ? 1 + draw(10) : 0,
        .finish_unheard = chance(50),
    };
    static const enum tg_hook optional[] = {TG_HOOK_UPGRADE, TG_HOOK_CREATE_CONTEXT,
                                            TG_HOOK_PREPARE, TG_HOOK_ROUTE, TG_HOOK_BINARY};
    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++)
        if (chance(60))
            w->bench.replies[optional[i]].when = BENCH_LATER; /* on_hook answers */
    w->bench.replies[TG_HOOK_MESSAGE].when = BENCH_LATER;
    w->bench.replies[TG_HOOK_REAUTHENTICATE].when = BENCH_LATER;
    w->bench.replies[TG_HOOK_AUTHENTICATE].when = BENCH_LATER;
    w->bench.replies[TG_HOOK_CLOSED].when = BENCH_LATER;
}

static void end_walk(struct walk *w)
{
    w->settling = true;
    bench_close_client(w->client);
    if (chance(50))
        tg_hub_drop_all(w->bench.hub);
    uint64_t give_up_ms = bench_now_ms() + 5000;
    while (tg_hub_count(w->bench.hub) > 0 || w->run_count > 0) {
        answer_pending(w);
        agent_step(w);
        bench_turn(&w->bench);
        const struct tg_conn *conn = bench_conn(&w->bench);
        if (conn != NULL && tg_conn_state(conn) == TG_ACCEPTED)
            tg_hub_drop_all(w->bench.hub); /* a full inbox that lacks the message waited for */
        if (bench_now_ms() > give_up_ms)
            fail_msg("%d runs left, and a connection in %s", w->run_count,
                     conn == NULL ? "no state" : tg_state_names[tg_conn_state(conn)]);
    }
}

static void walk(struct walk *w, uint64_t seed)
{
    struct tg_runs_options options;
    struct tg_run_executor executor = {
        .host = w,
        .default_agent = default_agent,
        .find_agent = find_agent,
        .start = start,
        .cancel = cancel,
    };
    (void)snprintf(seed_line, sizeof seed_line,
                   "the walk was TG_WALK_SEED=%llu TG_WALK_SEQUENCES=1\n",
                   (unsigned long long)seed);
    random_state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    memset(w, 0, sizeof *w);
    w->next_event = 1;
    w->rough = chance(60);
    bench_init(&w->bench);
    draw_options(w, &options);
    w->bench.on_hook = on_hook;
    bench_start(&w->bench);
    bench_use_runs(&w->bench, &options, &executor);
    write_stream(w);
    w->client = bench_connect(&w->bench);
    for (int i = 0; i < STEPS && !w->memory.over; i++)
        step(w);
    if (chance(50))
        settle(w);
    end_walk(w);
    bench_stop(&w->bench);
}

static void tell_seed(void)
{
    if (write(2, seed_line, strlen(seed_line)) < 0)
        return;
}

static void on_abort(int signal_number)
{
    tell_seed();
    (void)signal(signal_number, SIG_DFL);
}

/* The sanitizers' own, when they are there. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static uint64_t number_from(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text == NULL ? fallback : strtoull(text, NULL, 10);
}

static bool finished;

static void random_walks(void **state)
{
    struct walk *w = *state;
    uint64_t first = number_from("TG_WALK_SEED", tg_clock_wall_ms() % 100000000);
    uint64_t sequences = number_from("TG_WALK_SEQUENCES", 2500);
    uint64_t until_ms = bench_now_ms() + 7000;
    uint64_t done = 0;
    while (done < sequences && bench_now_ms() < until_ms)
        walk(w, first + done++);
    printf("%llu walks from seed %llu\n", (unsigned long long)done, (unsigned long long)first);
    assert_true(done == sequences || done > 100);
    finished = true;
}

static void on_line(void *ctx, enum tg_log_level level, const char *line, size_t len)
{
    (void)ctx, (void)level, (void)line, (void)len;
}

static int setup(void **state)
{
    (void)signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(tell_seed);
    tg_log_configure(TG_LOG_ERROR, TG_LOG_TEXT);
    tg_log_set_sink(on_line, NULL);
    *state = calloc(1, sizeof(struct walk));
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    if (!finished)
        tell_seed();
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_walks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
