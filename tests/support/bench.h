/* bench.h - a worker's connection layer on a real loop, with everything around it replaced: the upper
 * layer answers hooks as a test tells it to, and the client is a plain loopback socket.
 *
 * The bench keeps a diary of what each connection asked of the upper layer and fails the test at once
 * when the order is wrong: two hooks at a time, a hook after `closed`, `closed` twice. bench_stop
 * checks what must hold when all is over: nobody left, gauges at zero, no illegal transition, `closed`
 * asked for everyone who was asked to authenticate.
 */
#ifndef TG_TESTS_BENCH_H
#define TG_TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "agent/run.h"
#include "base/metrics.h"
#include "connection/connection.h"
#include "connection/hub.h"
#include "net/listener.h"
#include "net/stream.h"
#include "net/timer.h"

/* --- the upper layer ------------------------------------------------------------------------------- */
enum bench_when {
    BENCH_UNDEFINED, /* the policy has no such hook */
    BENCH_NOW,       /* answers before hook_start returns */
    BENCH_LATER      /* answers when the test calls bench_answer */
};

struct bench_reply {
    enum bench_when when;
    struct tg_hook_result result; /* what it answers; texts borrowed */
};

/* One line of the diary. */
struct bench_ask {
    uint64_t serial;
    enum tg_hook hook;
    enum tg_state state; /* in which it was asked */
    uint64_t at_ms;      /* on the loop's clock */
    char *data;          /* owned; NUL-terminated; NULL when none was given */
    size_t len;
    int close_code; /* these four: closed only */
    char close_reason[128];
    bool clean;
    enum tg_state end_state;
    bool answered, cancelled;
};

/* What is known of a connection, also when it is gone. By the sequence part of its serial, from 1. */
struct bench_known {
    struct tg_conn *conn; /* borrowed; only while a hook is under way */
    enum tg_hook asking;  /* TG_HOOKS: none */
    size_t ask;           /* diary index of that hook */
    int authenticates, closeds;
    size_t fake_runs; /* runs under way when the bench plays agent/ itself */
};

struct bench;
/* A test's own hook: return true when it has dealt with it (answered, or will). */
typedef bool (*bench_hook_fn)(struct bench *bench, struct tg_conn *conn, enum tg_hook hook);

/* --- the client ------------------------------------------------------------------------------------ */
struct bench_client {
    int fd;    /* -1: closed */
    bool deaf; /* reads nothing */
    bool eof;
    bool reset;
    uint8_t *in; /* received and not yet taken, inside of `block` */
    size_t len;
    uint8_t *block; /* owned */
    size_t capacity;
    char head[2048]; /* of the answer to the upgrade */
    int status;
    char id[TG_CONN_ID_SIZE]; /* Tidegate-Connection-Id of the answer */
    char *frame;              /* owned; payload of the latest frame */
};

#define BENCH_CLIENTS 24

struct bench_frame {
    int opcode;
    size_t len;
    const char *data; /* NUL-terminated; valid until the next frame is read */
};

struct bench {
    uv_loop_t loop;
    uv_prepare_t flush;
    struct tg_net *net;
    struct tg_timers *timers;
    struct tg_metrics *metrics;
    struct tg_hub *hub;
    struct tg_runs *runs; /* NULL: the bench plays agent/ itself */
    struct tg_listener *listener;
    uint16_t port;
    struct tg_hub_options options; /* set before bench_start */

    struct bench_reply replies[TG_HOOKS];
    bench_hook_fn on_hook;       /* may be NULL; asked before `replies` */
    enum tg_err run_start_error; /* what run_start answers when the bench plays agent/ */
    char run_agent[64];          /* of the latest run_start; "" when none was named */
    char run_input[256];         /* its input_json */
    char run_request_id[64];
    char run_cancelled[64]; /* run_id of the latest run_cancel */
    int run_starts;

    struct bench_ask *asks; /* owned */
    size_t ask_count;
    struct bench_known *known; /* owned */
    size_t known_count;
    struct bench_client clients[BENCH_CLIENTS];
    size_t client_count;
    bool stopped;
};

/* Quiet options (long deadlines), every hook undefined but authenticate, which says yes as "ann". */
void bench_init(struct bench *bench);
void bench_start(struct bench *bench);
/* For runs of agent/: between bench_init and the first run. */
void bench_use_runs(struct bench *bench, const struct tg_runs_options *options,
                    const struct tg_run_executor *executor);
/* Drops what is left and checks. */
void bench_stop(struct bench *bench);
/* cmocka fixtures: *state is a struct bench that bench_init has prepared. */
int bench_setup(void **state);
int bench_teardown(void **state);

/* One round of the loop and of all clients. */
void bench_turn(struct bench *bench);
void bench_turns(struct bench *bench, int rounds);
uint64_t bench_now_ms(void);

#define BENCH_UNTIL(bench, condition)                                                              \
    do {                                                                                           \
        uint64_t bench_give_up_ms = bench_now_ms() + 30000;                                        \
        while (!(condition)) {                                                                     \
            if (bench_now_ms() > bench_give_up_ms)                                                 \
                fail_msg("gave up waiting for: %s", #condition);                                   \
            bench_turn(bench);                                                                     \
        }                                                                                          \
    } while (0)

/* Lets time pass on the loop. */
void bench_wait_ms(struct bench *bench, uint64_t ms);

/* --- answering ------------------------------------------------------------------------------------- */
struct tg_hook_result bench_yes(void);
struct tg_hook_result bench_identity(const char *user_id);
struct tg_hook_result bench_denied(const char *reason);
struct tg_hook_result bench_fault(enum tg_hook_outcome outcome);
struct tg_hook_result bench_degraded(const char *reason);
/* Answers the hook under way on the only (or newest asking) connection; fails when it is another. */
void bench_answer(struct bench *bench, enum tg_hook hook, struct tg_hook_result result);
bool bench_asking(const struct bench *bench, enum tg_hook hook);
size_t bench_asked(const struct bench *bench, enum tg_hook hook);
/* The latest one; fails when there is none. */
const struct bench_ask *bench_last(const struct bench *bench, enum tg_hook hook);
struct bench_known *bench_known_of(struct bench *bench, uint64_t serial);

/* The only connection, or NULL. */
struct tg_conn *bench_conn(struct bench *bench);
enum tg_state bench_state(struct bench *bench);
void bench_run_ended(struct bench *bench, struct tg_conn *conn);

/* --- the client ------------------------------------------------------------------------------------ */
struct bench_client *bench_connect(struct bench *bench);
void bench_send(struct bench *bench, struct bench_client *client, const void *data, size_t len);
void bench_send_str(struct bench *bench, struct bench_client *client, const char *text);
/* extra: header lines or "". */
void bench_request(struct bench *bench, struct bench_client *client, const char *extra);
void bench_read_head(struct bench *bench, struct bench_client *client);
/* connect, request, head: fails unless 101. */
struct bench_client *bench_open(struct bench *bench);
/* And waits for connection_ready. */
struct bench_client *bench_ready(struct bench *bench);
/* Writes a masked frame; head: FIN, reserved bits and opcode. Returns its size. */
size_t bench_frame_write(uint8_t *out, uint8_t head, const void *data, size_t len);
void bench_send_frame(struct bench *bench, struct bench_client *client, int opcode,
                      const void *data, size_t len);
void bench_send_text(struct bench *bench, struct bench_client *client, const char *text);
void bench_send_close(struct bench *bench, struct bench_client *client, int code,
                      const char *reason);
/* Messages {"type":"m","n":…} with the numbers from `from` up to `to`. */
void bench_send_numbered(struct bench *bench, struct bench_client *client, int from, int to);
/* The hook `message` has been asked about exactly those from 0 up to `count`, in order. */
void bench_check_numbered(const struct bench *bench, int count);
/* Waits for a whole frame. */
struct bench_frame bench_read(struct bench *bench, struct bench_client *client);
/* A frame that is there already. */
bool bench_take_frame(struct bench_client *client, struct bench_frame *frame);
/* Waits for a text frame, fails unless it contains `part`; returns its text. */
const char *bench_expect(struct bench *bench, struct bench_client *client, const char *part);
/* The same for an event of a run: its type, its number and, unless NULL, its run. */
const char *bench_expect_event(struct bench *bench, struct bench_client *client, const char *type,
                               int seq, const char *run_id);
/* Nothing was sent that the test has not looked at. */
void bench_expect_silence(struct bench *bench, struct bench_client *client);
/* Waits for the close frame (others before it fail) and checks code; returns the reason. */
const char *bench_expect_close(struct bench *bench, struct bench_client *client, int code);
void bench_expect_eof(struct bench *bench, struct bench_client *client);
void bench_close_client(struct bench_client *client);
void bench_reset_client(struct bench_client *client);
void bench_half_close(struct bench_client *client);

#endif
