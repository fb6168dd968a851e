/* run_tree_test.c - runs that call runs: their events nest, whatever ends them. The executor is a fake that
 * the test drives: each run has slots in which it waits for others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/quota.h"
#include "agent/run.h"
#include "base/json_reader.h"
#include "base/memory.h"
#include "support/bench.h"

#define RUNS 256

/* One run, and how its parent waits for it. */
struct slot {
    struct tg_run_watch watch;
    struct tg_run *run; /* NULL once released */
    int parent;         /* index; -1: a client's */
    char id[TG_RUN_ID_SIZE];
    int told; /* times that the parent has heard of its end */
    enum tg_run_outcome outcome;
    char code[32];
    char response[64];
};

struct fixture {
    struct bench bench;
    struct tg_runs_options options;
    struct tg_run_limits limits; /* of every agent */
    struct bench_client *client;
    struct slot slots[RUNS];
    int count;
    int next_parent; /* of the run that starts next */
    int cancelled;
    int seq;
};

static const char *default_agent(void *host)
{
    (void)host;
    return "solo";
}

static bool find_agent(void *host, const struct tg_run *parent, const char *name,
                       struct tg_run_limits *limits)
{
    (void)parent;
    *limits = ((struct fixture *)host)->limits;
    return strcmp(name, "unknown") != 0;
}

static void start(void *host, struct tg_run *run, const struct tg_run_request *request)
{
    struct fixture *f = host;
    struct slot *slot = &f->slots[f->count];
    (void)request;
    assert_true(f->count < RUNS);
    slot->run = run;
    slot->parent = f->next_parent;
    (void)snprintf(slot->id, sizeof slot->id, "%s", tg_run_id(run));
    tg_run_set_data(run, slot);
    f->count++;
}

/* As a script that is dropped: it gives up what it waits for. */
static void release(struct fixture *f, struct slot *slot)
{
    int index = (int)(slot - f->slots);
    struct tg_run *run = slot->run;
    slot->run = NULL;
    tg_run_release(run);
    for (int i = 0; i < f->count; i++)
        if (f->slots[i].parent == index)
            tg_run_give_up(&f->slots[i].watch);
}

static void cancel(void *host, struct tg_run *run)
{
    struct fixture *f = host;
    assert_true(tg_run_is_over(run));
    f->cancelled++;
    release(f, tg_run_data(run));
}

static void on_ended(struct tg_run_watch *watch, const struct tg_run_result *result)
{
    struct slot *slot = TG_CONTAINER_OF(watch, struct slot, watch);
    assert_null(watch->child);
    slot->told++;
    slot->outcome = result->outcome;
    (void)snprintf(slot->code, sizeof slot->code, "%s", result->code == NULL ? "" : result->code);
    (void)snprintf(slot->response, sizeof slot->response, "%.*s", (int)result->len,
                   result->response_json == NULL ? "" : result->response_json);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (f == NULL)
        return -1;
    bench_init(&f->bench);
    f->options = (struct tg_runs_options){.max_per_connection = 4, .max_children = 16};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < f->count; i++)
        if (f->slots[i].run != NULL && tg_run_is_over(f->slots[i].run))
            release(f, &f->slots[i]);
    bench_stop(&f->bench);
    tg_quota_destroy(f->options.quota);
    free(f);
    return 0;
}

static void begin(struct fixture *f)
{
    struct tg_run_executor executor = {
        .host = f,
        .default_agent = default_agent,
        .find_agent = find_agent,
        .start = start,
        .cancel = cancel,
    };
    bench_start(&f->bench);
    bench_use_runs(&f->bench, &f->options, &executor);
    f->client = bench_ready(&f->bench);
}

/* The next event, of that run. */
static const char *event(struct fixture *f, const char *type, const char *run_id)
{
    return bench_expect_event(&f->bench, f->client, type, ++f->seq, run_id);
}

static void silence(struct fixture *f)
{
    bench_expect_silence(&f->bench, f->client);
}

static void execute(struct fixture *f)
{
    bench_send_text(&f->bench, f->client,
                    "{\"type\":\"agent_execution\",\"data\":{\"message\":\"m\"}}");
}

static struct slot *run(struct fixture *f)
{
    int count = f->count;
    f->next_parent = -1;
    execute(f);
    BENCH_UNTIL(&f->bench, f->count == count + 1);
    assert_null(strstr(event(f, "agent_started", f->slots[count].id), "parent_run_id"));
    return &f->slots[count];
}

static enum tg_err try_call(struct fixture *f, struct slot *parent, bool hand_off)
{
    struct tg_run_request request = {.agent = "solo"};
    struct slot *slot = &f->slots[f->count];
    f->next_parent = (int)(parent - f->slots);
    slot->watch.ended = hand_off ? NULL : on_ended;
    return tg_runs_call(parent->run, &request, &slot->watch);
}

static struct slot *call_as(struct fixture *f, struct slot *parent, bool hand_off)
{
    char part[80];
    int count = f->count;
    assert_int_equal(try_call(f, parent, hand_off), TG_ERR_OK);
    assert_int_equal(f->count, count + 1);
    (void)snprintf(part, sizeof part, "\"parent_run_id\":\"%s\"", parent->id);
    assert_non_null(strstr(event(f, "agent_started", f->slots[count].id), part));
    return &f->slots[count];
}

static struct slot *call(struct fixture *f, struct slot *parent)
{
    return call_as(f, parent, false);
}

static void complete(struct fixture *f, struct slot *slot, const char *response)
{
    tg_run_complete(slot->run, response, strlen(response));
    release(f, slot);
}

/* --- a child of its own ----------------------------------------------------------------------------- */

static void a_child_has_a_run_of_its_own_and_its_parent_hears_of_its_end(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct slot *parent = run(f);
    struct slot *child = call(f, parent);
    assert_string_not_equal(parent->id, child->id);
    assert_int_equal(tg_conn_runs(bench_conn(&f->bench)), 1);
    assert_int_equal(tg_run_delta(child->run, "x", 1), TG_ERR_OK);
    char part[80];
    (void)snprintf(part, sizeof part, "\"parent_run_id\":\"%s\"", parent->id);
    assert_non_null(strstr(event(f, "agent_delta", child->id), part));
    assert_ptr_equal(tg_run_parent(child->run), parent->run);
    assert_ptr_equal(tg_run_outermost(child->run), parent->run);
    complete(f, child, "{\"n\":1}");
    (void)event(f, "agent_completed", child->id);
    assert_int_equal(child->told, 1);
    assert_int_equal(child->outcome, TG_RUN_COMPLETED_OUTCOME);
    assert_string_equal(child->response, "{\"n\":1}");
    assert_int_equal(bench_state(&f->bench), TG_PROCESSING);
    struct slot *failing = call(f, parent);
    tg_run_fail(failing->run, TG_RUN_BUDGET_OUTCOME, "cpu_budget", "too long");
    release(f, failing);
    (void)event(f, "agent_error", failing->id);
    assert_int_equal(failing->told, 1);
    assert_string_equal(failing->code, "cpu_budget");
    assert_false(tg_run_is_over(parent->run)); /* a child's end is no more than that */
    complete(f, parent, "1");
    (void)event(f, "agent_completed", parent->id);
    assert_int_equal(bench_state(&f->bench), TG_PROCESSING_READY);
    assert_int_equal(f->cancelled, 0);
    silence(f);
}

/* --- the end of a parent ---------------------------------------------------------------------------- */

enum way {
    COMPLETES,
    FAILS,
    CLIENT_CANCELS,
    TIMES_OUT,
    TOO_MANY_TOOLS,
    TOO_MANY_TOKENS,
    ALL_END,
    WAYS
};

static void end(struct fixture *f, struct slot *slot, enum way way)
{
    char text[160];
    uint32_t number;
    uint64_t left;
    switch (way) {
    case COMPLETES:
        complete(f, slot, "1");
        break;
    case FAILS:
        tg_run_fail(slot->run, TG_RUN_FAILED_OUTCOME, "script_error", "x");
        release(f, slot);
        break;
    case CLIENT_CANCELS:
        (void)snprintf(text, sizeof text,
                       "{\"type\":\"agent_cancel\",\"data\":{\"run_id\":\"%s\"}}", slot->id);
        bench_send_text(&f->bench, f->client, text);
        break;
    case TOO_MANY_TOOLS:
        assert_int_equal(tg_run_tool_started(slot->run, "t", NULL, 0, &number), TG_ERR_OK);
        (void)event(f, "tool_executing", slot->id);
        assert_int_equal(tg_run_tool_started(slot->run, "t", NULL, 0, &number), TG_ERR_CLOSED);
        break;
    case TOO_MANY_TOKENS:
        assert_int_equal(tg_run_spend(slot->run, 11, &left), TG_ERR_CLOSED);
        break;
    case ALL_END:
        tg_runs_end_all(f->bench.runs, "draining", "x");
        break;
    case TIMES_OUT:
    case WAYS:
        break;
    }
    BENCH_UNTIL(&f->bench, slot->run == NULL);
}

static void children_end_before_their_parent_innermost_first(void **state)
{
    static const char *const codes[WAYS] = {[FAILS] = "script_error",
                                            [CLIENT_CANCELS] = "cancelled",
                                            [TIMES_OUT] = "timeout",
                                            [TOO_MANY_TOOLS] = "tool_budget",
                                            [TOO_MANY_TOKENS] = "token_budget",
                                            [ALL_END] = "draining"};
    struct fixture *f = *state;
    char part[80];
    begin(f);
    for (int way = 0; way < WAYS; way++) {
        f->limits = (struct tg_run_limits){.max_tool_calls = 1, .max_tokens = 10};
        f->limits.timeout_ms = way == TIMES_OUT ? 30 : 0;
        f->count = 0;
        struct slot *parent = run(f);
        f->limits.timeout_ms = 0;
        struct slot *a = call(f, parent);
        struct slot *b = call(f, a);
        struct slot *c = call(f, parent);
        end(f, parent, (enum way)way);
        struct slot *order[] = {b, a, c};
        for (int i = 0; i < 3; i++) {
            assert_non_null(
                strstr(event(f, "agent_error", order[i]->id),
                       "\"code\":\"cancelled\",\"message\":\"the run that called it has ended\""));
            assert_int_equal(order[i]->told, 0); /* nobody is there who could hear it */
            assert_null(order[i]->watch.child);
        }
        if (way == TOO_MANY_TOOLS)
            (void)event(f, "tool_completed", parent->id);
        (void)snprintf(part, sizeof part, "\"code\":\"%s\"", codes[way] == NULL ? "" : codes[way]);
        const char *last =
            event(f, codes[way] == NULL ? "agent_completed" : "agent_error", parent->id);
        assert_true(codes[way] == NULL || strstr(last, part) != NULL);
        silence(f);
        assert_int_equal(tg_runs_count(f->bench.runs), 0);
        assert_int_equal(bench_state(&f->bench), TG_PROCESSING_READY);
    }
}

static void a_lost_connection_ends_all_of_them(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct slot *parent = run(f);
    (void)call(f, call(f, parent));
    bench_reset_client(f->client);
    BENCH_UNTIL(&f->bench, tg_runs_count(f->bench.runs) == 0);
    assert_int_equal(f->cancelled, 3);
    struct tg_agent_metrics *metrics = tg_metrics_agent(f->bench.metrics, "solo");
    assert_int_equal(tg_counter_get(&metrics->outcomes[TG_RUN_LOST_OUTCOME]), 3);
    assert_int_equal(tg_counter_get(&metrics->running), 0);
}

static void unheard_runs_go_on_calling(void **state)
{
    struct fixture *f = *state;
    f->options.finish_unheard = true;
    begin(f);
    struct slot *parent = run(f);
    struct slot *child = call(f, parent);
    bench_reset_client(f->client);
    BENCH_UNTIL(&f->bench, tg_hub_count(f->bench.hub) == 0);
    assert_int_equal(tg_run_delta(child->run, "x", 1), TG_ERR_OK);
    assert_int_equal(try_call(f, child, false), TG_ERR_OK);
    struct slot *late = &f->slots[2];
    complete(f, late, "3");
    assert_int_equal(late->told, 1);
    complete(f, child, "2");
    assert_string_equal(child->response, "2");
    complete(f, parent, "1");
    assert_int_equal(tg_runs_count(f->bench.runs), 0);
}

/* A child's own last event is what ends the connection, and its parent with it. */
static void a_connection_lost_by_a_childs_last_event(void **state)
{
    static char text[20002];
    struct fixture *f = *state;
    memset(text, '1', sizeof text);
    f->bench.options.outbox_bytes = 100000;
    begin(f);
    struct slot *parent = run(f);
    struct slot *child = call(f, parent);
    f->client->deaf = true;
    while (tg_conn_stats(bench_conn(&f->bench)).outbox_bytes < 85000) {
        assert_int_equal(tg_run_delta(child->run, text, 3000), TG_ERR_OK);
        bench_turn(&f->bench);
    }
    tg_run_complete(child->run, text, sizeof text);
    assert_null(parent->run);
    assert_int_equal(child->told, 0);
    release(f, child);
    assert_int_equal(bench_state(&f->bench), TG_CLOSING);
    assert_int_equal(tg_runs_count(f->bench.runs), 0);
}

/* --- giving up, cancelling, handing off --------------------------------------------------------------- */

static void a_child_that_is_given_up_is_cancelled_from_the_loop(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct slot *parent = run(f);
    struct slot *child = call(f, parent);
    tg_run_give_up(&child->watch);
    assert_null(child->watch.child);
    assert_false(tg_run_is_over(child->run)); /* not below whoever gave it up */
    tg_run_give_up(&child->watch);
    BENCH_UNTIL(&f->bench, child->run == NULL);
    assert_non_null(strstr(event(f, "agent_error", child->id), "\"code\":\"cancelled\""));
    assert_int_equal(child->told, 0);
    complete(f, parent, "1");
    (void)event(f, "agent_completed", parent->id);
}

static void a_client_may_cancel_a_child_alone(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct slot *parent = run(f);
    struct slot *child = call(f, call(f, parent));
    end(f, child, CLIENT_CANCELS);
    (void)event(f, "agent_error", child->id);
    assert_int_equal(child->told, 1);
    assert_string_equal(child->code, "cancelled");
    assert_false(tg_run_is_over(parent->run));
}

static void a_hand_off_ends_the_parent_with_the_childs_result(void **state)
{
    struct fixture *f = *state;
    char part[80];
    begin(f);
    for (int fails = 0; fails < 2; fails++) {
        f->count = 0;
        struct slot *parent = run(f);
        struct slot *other = call(f, parent);
        struct slot *child = call_as(f, parent, true);
        if (fails) {
            tg_run_fail(child->run, TG_RUN_FAILED_OUTCOME, "no_luck", "none");
            release(f, child);
        } else {
            complete(f, child, "\"mine\"");
        }
        assert_null(parent->run);
        const char *type = fails ? "agent_error" : "agent_completed";
        (void)event(f, type, child->id);
        (void)event(f, "agent_error", other->id);
        const char *last = event(f, type, parent->id);
        (void)snprintf(part, sizeof part, "\"handed_off_to\":\"%s\"", child->id);
        assert_non_null(strstr(last, part));
        assert_non_null(strstr(last, fails ? "\"code\":\"no_luck\",\"message\":\"none\""
                                           : "\"response\":\"mine\""));
        silence(f);
        assert_int_equal(tg_runs_count(f->bench.runs), 0);
    }
}

/* --- bounds ----------------------------------------------------------------------------------------- */

static void children_are_bounded_in_number_and_depth(void **state)
{
    struct fixture *f = *state;
    f->options.max_children = 9;
    begin(f);
    struct slot *parent = run(f);
    struct slot *at = parent;
    for (int depth = 2; depth <= TG_RUN_DEPTH_MAX; depth++)
        at = call(f, at);
    assert_int_equal(try_call(f, at, false), TG_ERR_ILLEGAL);
    (void)call(f, parent);
    struct slot *last = call(f, parent);
    assert_int_equal(try_call(f, parent, false), TG_ERR_LIMIT); /* the seven below count, too */
    struct slot *other = run(f);                                /* another of the client's */
    (void)call(f, other);
    complete(f, last, "1");
    (void)event(f, "agent_completed", last->id);
    (void)call(f, parent);
    struct tg_run_request unknown = {.agent = "unknown"};
    struct tg_run_watch watch = {.ended = on_ended};
    assert_int_equal(tg_runs_call(parent->run, &unknown, &watch), TG_ERR_NOT_FOUND);
    assert_null(watch.child);
}

static void tokens_count_for_all_above(void **state)
{
    struct fixture *f = *state;
    uint64_t left;
    begin(f);
    struct slot *free = run(f);
    assert_int_equal(tg_run_spend(free->run, 1000, &left), TG_ERR_OK);
    assert_true(left == UINT64_MAX);
    f->limits.max_tokens = 100;
    struct slot *parent = run(f);
    f->limits.max_tokens = 60;
    struct slot *a = call(f, parent);
    assert_int_equal(tg_run_spend(a->run, 50, &left), TG_ERR_OK);
    assert_int_equal(left, 10);
    f->limits.max_tokens = 0;
    struct slot *b = call(f, parent);
    assert_int_equal(tg_run_spend(b->run, 45, &left), TG_ERR_OK);
    assert_int_equal(left, 5);
    assert_int_equal(tg_run_spend(a->run, 5, &left), TG_ERR_OK);
    assert_int_equal(left, 0);
    assert_int_equal(tg_run_spend(b->run, 1, &left), TG_ERR_CLOSED); /* the parent's are used up */
    (void)event(f, "agent_error", a->id);
    (void)event(f, "agent_error", b->id);
    assert_non_null(
        strstr(event(f, "agent_error", parent->id),
               "\"code\":\"token_budget\",\"message\":\"the run used more than 100 tokens\""));
    struct tg_agent_metrics *metrics = tg_metrics_agent(f->bench.metrics, "solo");
    assert_int_equal(tg_counter_get(&metrics->outcomes[TG_RUN_BUDGET_OUTCOME]), 1);
}

static void a_user_has_so_many_runs_on_all_connections(void **state)
{
    struct fixture *f = *state;
    f->options.max_per_user = 2;
    assert_int_equal(tg_quota_create(&f->options.quota), TG_ERR_OK);
    begin(f);
    struct slot *first = run(f);
    struct bench_client *ann = f->client;
    f->client = bench_ready(&f->bench);
    f->seq = 0;
    (void)run(f);
    execute(f);
    (void)bench_expect(&f->bench, f->client, "too_many_runs");
    f->client = ann;
    f->seq = 1;
    (void)call(f, first); /* a child is not the user's */
    complete(f, first, "1");
    (void)event(f, "agent_error", f->slots[2].id);
    (void)event(f, "agent_completed", first->id);
    (void)run(f);
    execute(f);
    (void)bench_expect(&f->bench, f->client, "too_many_runs");
    tg_runs_end_all(f->bench.runs, "draining", "x");
    assert_int_equal(tg_quota_entries(f->options.quota), 0);
}

static void an_agent_has_so_many_runs_of_a_user_children_included(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(tg_quota_create(&f->options.quota), TG_ERR_OK);
    f->limits.max_per_user = 2;
    begin(f);
    struct slot *parent = run(f);
    struct slot *child = call(f, parent);
    assert_int_equal(try_call(f, child, false), TG_ERR_LIMIT);
    execute(f);
    (void)bench_expect(&f->bench, f->client, "too_many_runs");
    complete(f, child, "1");
    (void)event(f, "agent_completed", child->id);
    child = call(f, parent);
    tg_run_complete(child->run, "1", 1); /* over is over, although its script is still there */
    (void)event(f, "agent_completed", child->id);
    (void)call(f, parent);
    release(f, child);
    tg_runs_end_all(f->bench.runs, "draining", "x");
    assert_int_equal(tg_quota_entries(f->options.quota), 0);
}

static void the_shorter_time_holds(void **state)
{
    struct fixture *f = *state;
    f->options.timeout_ms = 60000;
    f->limits.timeout_ms = 20;
    begin(f);
    struct slot *parent = run(f);
    BENCH_UNTIL(&f->bench, parent->run == NULL);
    assert_non_null(strstr(event(f, "agent_error", parent->id), "\"code\":\"timeout\""));
    f->limits.timeout_ms = 0;
    parent = run(f);
    f->limits.timeout_ms = 20;
    struct slot *child = call(f, parent);
    BENCH_UNTIL(&f->bench, child->run == NULL);
    (void)event(f, "agent_error", child->id);
    assert_string_equal(child->code, "timeout");
    assert_int_equal(child->outcome, TG_RUN_TIMEOUT_OUTCOME);
    assert_false(tg_run_is_over(parent->run));
}

static void no_memory_for_a_child(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(tg_quota_create(&f->options.quota), TG_ERR_OK);
    f->limits.max_per_user = 100;
    begin(f);
    for (long n = 0; f->count < 2; n++) {
        struct slot *parent = &f->slots[0];
        if (parent->run == NULL) {
            f->count = 0;
            parent = run(f);
        }
        (void)tg_memory_fail_after(n, 0);
        enum tg_err err = try_call(f, parent, false);
        bool injected = tg_memory_fail_after(-1, 0) > (size_t)n;
        assert_int_equal(err == TG_ERR_OK, !injected);
        if (injected)
            assert_null(f->slots[1].watch.child);
        if (bench_conn(&f->bench) == NULL || !tg_conn_is_open(bench_conn(&f->bench))) {
            assert_int_equal(tg_runs_count(f->bench.runs), 0);
            bench_reset_client(f->client);
            BENCH_UNTIL(&f->bench, tg_hub_count(f->bench.hub) == 0);
            f->client = bench_ready(&f->bench);
            f->seq = 0;
        }
    }
}

/* --- a random walk ---------------------------------------------------------------------------------- */

static uint64_t dice;

static int draw(int below)
{
    dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((dice >> 33) % (uint64_t)below);
}

static struct slot *draw_run(struct fixture *f)
{
    int first = f->count == 0 ? 0 : draw(f->count);
    for (int i = 0; i < f->count; i++) {
        struct slot *slot = &f->slots[(first + i) % f->count];
        if (slot->run != NULL && !tg_run_is_over(slot->run))
            return slot;
    }
    return NULL;
}

static void step(struct fixture *f)
{
    struct slot *slot = draw_run(f);
    uint32_t number;
    uint64_t left;
    int what = draw(12);
    if (slot == NULL || what == 0) {
        f->next_parent = -1;
        execute(f);
        bench_turns(&f->bench, 3);
        return;
    }
    enum tg_err err = TG_ERR_OK;
    if (what <= 4)
        err = try_call(f, slot, draw(5) == 0);
    else if (what == 5)
        complete(f, slot, "1");
    else if (what == 6)
        end(f, slot, FAILS);
    else if (what == 7)
        end(f, slot, CLIENT_CANCELS);
    else if (what == 8)
        err = tg_run_tool_started(slot->run, "t", NULL, 0, &number);
    else if (what == 9)
        err = tg_run_spend(slot->run, (uint64_t)draw(8), &left);
    else if (what == 10)
        err = tg_run_delta(slot->run, "d", 1);
    else
        tg_run_give_up(&slot->watch);
    assert_true(err == TG_ERR_OK || err == TG_ERR_LIMIT || err == TG_ERR_ILLEGAL ||
                err == TG_ERR_CLOSED);
    if (draw(3) == 0)
        bench_turn(&f->bench);
}

static int slot_of(struct fixture *f, const struct tg_json_value *id)
{
    for (int i = 0; i < f->count; i++)
        if (tg_json_equals(id, f->slots[i].id))
            return i;
    fail_msg("a run that never was");
    return -1;
}

/* Everything that the client got, from the first event on. 1: begun, 2: over. */
static void check_events(struct fixture *f)
{
    int phase[RUNS] = {0};
    int tools[RUNS] = {0};
    int seq = 0;
    bench_send_text(&f->bench, f->client, "{\"type\":\"ping\"}");
    for (;;) {
        struct tg_json_value document;
        const char *text = bench_expect(&f->bench, f->client, "");
        assert_int_equal(tg_json_parse(text, strlen(text), &document, NULL), TG_ERR_OK);
        struct tg_json_value type = tg_json_member(&document, "type");
        if (tg_json_equals(&type, "pong"))
            break;
        if (tg_json_equals(&type, "error"))
            continue;
        struct tg_json_value value = tg_json_member(&document, "seq");
        assert_int_equal((int)tg_json_number(&value), ++seq);
        value = tg_json_member(&document, "run_id");
        int i = slot_of(f, &value);
        int parent = f->slots[i].parent;
        value = tg_json_member(&document, "parent_run_id");
        assert_true(parent < 0 ? value.kind == TG_JSON_NONE
                               : tg_json_equals(&value, f->slots[parent].id));
        assert_int_equal(phase[i], tg_json_equals(&type, "agent_started") ? 0 : 1);
        assert_true(parent < 0 || phase[parent] == 1); /* inside its parent */
        phase[i] = 1;
        tools[i] += tg_json_equals(&type, "tool_executing");
        tools[i] -= tg_json_equals(&type, "tool_completed");
        if (tg_json_equals(&type, "agent_completed") || tg_json_equals(&type, "agent_error")) {
            phase[i] = 2;
            assert_int_equal(tools[i], 0);
        }
    }
    for (int i = 0; i < f->count; i++) {
        assert_int_equal(phase[i], 2);
        assert_true(f->slots[i].told <= 1);
    }
}

static void any_walk_nests(void **state)
{
    struct fixture *f = *state;
    f->options.max_children = 6;
    f->options.max_per_connection = 3;
    f->limits.max_tool_calls = 3;
    f->limits.max_tokens = 20;
    assert_int_equal(tg_quota_create(&f->options.quota), TG_ERR_OK);
    f->options.max_per_user = 2;
    for (uint64_t walk = 1; walk <= 150; walk++) {
        begin(f);
        dice = walk * UINT64_C(0x9e3779b97f4a7c15);
        memset(f->slots, 0, sizeof f->slots);
        f->count = 0;
        bool lost = draw(4) == 0;
        for (int steps = draw(120); steps > 0 && f->count < RUNS - 8; steps--)
            step(f);
        if (lost)
            bench_reset_client(f->client);
        else
            tg_runs_end_all(f->bench.runs, "draining", "the walk is over");
        BENCH_UNTIL(&f->bench, tg_runs_count(f->bench.runs) == 0);
        assert_int_equal(tg_quota_entries(f->options.quota), 0);
        if (!lost)
            check_events(f);
        bench_stop(&f->bench);
        bench_init(&f->bench);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_child_has_a_run_of_its_own_and_its_parent_hears_of_its_end),
        T(children_end_before_their_parent_innermost_first),
        T(a_lost_connection_ends_all_of_them),
        T(unheard_runs_go_on_calling),
        T(a_connection_lost_by_a_childs_last_event),
        T(a_child_that_is_given_up_is_cancelled_from_the_loop),
        T(a_client_may_cancel_a_child_alone),
        T(a_hand_off_ends_the_parent_with_the_childs_result),
        T(children_are_bounded_in_number_and_depth),
        T(tokens_count_for_all_above),
        T(a_user_has_so_many_runs_on_all_connections),
        T(an_agent_has_so_many_runs_of_a_user_children_included),
        T(the_shorter_time_holds),
        T(no_memory_for_a_child),
        T(any_walk_nests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
