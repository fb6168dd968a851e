/* stage.c - the bench with a real policy on it. */
#include "support/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/log_capture.h"

static char text[65536];

static enum tg_err post(void *ctx, const struct tg_remote_order *order, uint64_t ticket)
{
    struct stage *stage = ctx;
    if (stage->post_error != TG_ERR_OK)
        return stage->post_error;
    assert_true(stage->order_count < sizeof stage->orders / sizeof stage->orders[0]);
    struct stage_order *kept = &stage->orders[stage->order_count++];
    kept->order = *order;
    kept->ticket = ticket;
    (void)snprintf(kept->text, sizeof kept->text, "%.*s", (int)order->len,
                   (const char *)order->data);
    kept->order.data = kept->text;
    return TG_ERR_OK;
}

static struct stage *staged; /* the upper's host pointer is the script host's */

static enum tg_err run_start(void *host, struct tg_conn *conn, const struct tg_run_request *request)
{
    (void)host;
    return tg_runs_start(staged->bench.runs, conn, request);
}

static enum tg_err run_cancel(void *host, struct tg_conn *conn, const char *run_id)
{
    (void)host;
    return tg_runs_cancel(staged->bench.runs, conn, run_id);
}

static void runs_end(void *host, struct tg_conn *conn)
{
    (void)host;
    tg_runs_connection_over(staged->bench.runs, conn);
}

static void start_host(struct stage *stage)
{
    struct bench *bench = &stage->bench;
    struct tg_error error;
    uint64_t budget = stage->cpu_budget_ms == 0 ? 1000 : stage->cpu_budget_ms;
    if (tg_watchdog_start(&error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    assert_int_equal(tg_meter_create(&stage->meter, budget), TG_ERR_OK);
    struct tg_host_options options = {
        .env =
            {
                .worker = bench->options.worker,
                .timers = bench->timers,
                .hub = bench->hub,
                .metrics = bench->metrics,
                .meter = stage->meter,
                .wall_budget_ms = stage->wall_budget_ms == 0 ? 5000 : stage->wall_budget_ms,
                .memory_max = 16 << 20,
                .options = stage->options,
                .option_count = stage->option_count,
                .passes = stage->passes,
                .post_ctx = stage,
                .post = post,
            },
        .drain_timeout_ms = 5000,
        .max_generations = 4,
    };
    assert_int_equal(tg_host_create(&stage->host, &options), TG_ERR_OK);
    struct tg_run_executor executor = tg_host_executor(stage->host);
    bench_use_runs(bench, &(struct tg_runs_options){.max_per_connection = 4, .max_children = 16},
                   &executor);
    struct tg_conn_upper upper = {
        .host = stage->host,
        .hook_defined = tg_host_hook_defined,
        .hook_start = tg_host_hook_start,
        .hook_cancel = tg_host_hook_cancel,
        .run_start = run_start,
        .run_cancel = run_cancel,
        .runs_end = runs_end,
    };
    tg_hub_set_upper(bench->hub, &upper);
}

int stage_setup(void **state)
{
    struct stage *stage = calloc(1, sizeof *stage);
    assert_non_null(stage);
    bench_init(&stage->bench);
    bench_start(&stage->bench);
    (void)snprintf(stage->folder, sizeof stage->folder, "/tmp/tidegate_stage_XXXXXX");
    assert_non_null(mkdtemp(stage->folder));
    log_capture_start();
    staged = stage;
    *state = stage;
    return 0;
}

static void policy_path(const struct stage *stage, char out[96])
{
    (void)snprintf(out, 96, "%s/policy.lua", stage->folder);
}

int stage_teardown(void **state)
{
    struct stage *stage = *state;
    struct bench *bench = &stage->bench;
    char path[96];
    if (stage->host != NULL) {
        tg_runs_end_all(bench->runs, "drain", "the stage is cleared");
        tg_hub_drop_all(bench->hub);
        for (int i = 0; i < 20 && tg_hub_count(bench->hub) > 0; i++)
            bench_turn(bench);
        tg_host_destroy(stage->host);
        tg_meter_destroy(stage->meter);
        tg_watchdog_stop();
    }
    bench_stop(bench);
    log_capture_stop();
    policy_path(stage, path);
    (void)unlink(path);
    (void)rmdir(stage->folder);
    free(stage);
    return 0;
}

void stage_load(struct stage *stage, const char *policy)
{
    struct tg_source *source;
    struct tg_error error;
    char path[96];
    if (stage->host == NULL)
        start_host(stage);
    policy_path(stage, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(policy, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    if (tg_source_read(&source, path, &error) != TG_ERR_OK)
        fail_msg("%s", error.text);
    enum tg_err err = tg_host_prepare(stage->host, source, &error);
    tg_source_release(source);
    if (err != TG_ERR_OK)
        fail_msg("%s\n%s", error.text, policy);
    tg_host_commit(stage->host);
}

#define PREAMBLE                                                                                   \
    "local tide, json = require 'tidegate', require 'tidegate.json' "                              \
    "local time, log = require 'tidegate.time', require 'tidegate.log' "                           \
    "local policy = { agents = {} } "                                                              \
    "function policy.authenticate(conn, credentials) "                                             \
    "  return { user_id = 'ann', roles = { 'writer', extra = { level = 3 } } } end "               \
    "function policy.create_context(conn, identity) return { tenant = 'acme' } end "

static void load_message_hook(struct stage *stage, const char *code)
{
    (void)snprintf(text, sizeof text,
                   PREAMBLE "function policy.message(conn, message)\n%s\n"
                            "conn:send({ type = 'reached_the_end' }) end\nreturn policy",
                   code);
    stage_load(stage, text);
}

const char *stage_log(void)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < log_capture_count() && used < sizeof text - 1; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s", log_capture_line(i));
    return text;
}

static const char *failed_line(void)
{
    for (size_t i = log_capture_count(); i-- > 0;) {
        if (strstr(log_capture_line(i), ".failed ") != NULL)
            return log_capture_line(i);
    }
    return NULL;
}

void stage_send_clients_home(struct stage *stage)
{
    struct bench *bench = &stage->bench;
    for (size_t i = 0; i < bench->client_count; i++) {
        bench_close_client(&bench->clients[i]);
        free(bench->clients[i].block);
        free(bench->clients[i].frame);
        memset(&bench->clients[i], 0, sizeof bench->clients[i]);
    }
    bench->client_count = 0;
    BENCH_UNTIL(bench, tg_hub_count(bench->hub) == 0);
}

void stage_run(struct stage *stage, const char *code)
{
    struct bench *bench = &stage->bench;
    load_message_hook(stage, code);
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, "{\"type\":\"go\",\"data\":{\"list\":[],\"none\":null}}");
    for (;;) {
        struct bench_frame frame = bench_read(bench, client);
        if (frame.opcode == 8)
            fail_msg("%s\n%s", failed_line() == NULL ? stage_log() : failed_line(), code);
        if (strstr(frame.data, "reached_the_end") != NULL)
            break;
    }
    stage_send_clients_home(stage);
}

const char *stage_error(struct stage *stage, const char *code)
{
    struct bench *bench = &stage->bench;
    log_capture_clear();
    load_message_hook(stage, code);
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client, "{\"type\":\"go\"}");
    struct bench_frame frame = bench_read(bench, client);
    while (frame.opcode != 8) {
        if (strstr(frame.data, "reached_the_end") != NULL)
            fail_msg("should have raised: %s", code);
        frame = bench_read(bench, client);
    }
    stage_send_clients_home(stage);
    return failed_line() == NULL ? "" : failed_line();
}

const char *stage_agent(struct stage *stage, const char *code, char *events, size_t size)
{
    struct bench *bench = &stage->bench;
    size_t used = 0;
    events[0] = '\0';
    (void)snprintf(text, sizeof text,
                   PREAMBLE "function policy.agents.actor(run, input)\n%s\nend\nreturn policy",
                   code);
    stage_load(stage, text);
    struct bench_client *client = bench_ready(bench);
    bench_send_text(bench, client,
                    "{\"type\":\"agent_execution\",\"id\":7,\"data\":{\"message\":\"hello\"}}");
    for (;;) {
        struct bench_frame frame = bench_read(bench, client);
        if (frame.opcode == 8)
            fail_msg("%s", stage_log());
        if (strstr(frame.data, "\"agent_completed\"") != NULL ||
            strstr(frame.data, "\"agent_error\"") != NULL) {
            (void)snprintf(text, sizeof text, "%s", frame.data);
            break;
        }
        if (used < size)
            used += (size_t)snprintf(events + used, size - used, "%s\n", frame.data);
    }
    stage_send_clients_home(stage);
    return text;
}
