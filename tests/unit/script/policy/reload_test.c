/* reload_test.c - one version for all workers or none, whatever they answer and whoever asks meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "script/policy/reload.h"
#include "support/log_capture.h"
#include "support/script_fixture.h"

#define WORKERS 3

static struct script_fixture fx;
static struct tg_reload *reload;
static struct tg_script_env probe_env;
static char policy_path[128];

/* What the fake workers were told. */
static char told[256];
static char prepared_version[TG_POLICY_VERSION_SIZE];

static void on_prepare(void *ctx, size_t worker, struct tg_source *source)
{
    (void)ctx;
    (void)snprintf(told + strlen(told), sizeof told - strlen(told), "p%zu ", worker);
    memcpy(prepared_version, tg_source_version(source), sizeof prepared_version);
}

static void on_commit(void *ctx, size_t worker)
{
    (void)ctx;
    (void)snprintf(told + strlen(told), sizeof told - strlen(told), "c%zu ", worker);
}

static void on_abort(void *ctx, size_t worker)
{
    (void)ctx;
    (void)snprintf(told + strlen(told), sizeof told - strlen(told), "a%zu ", worker);
}

/* What is read anew with the policy. */
static bool rest_is_bad;

static enum tg_err on_prepare_rest(void *ctx, struct tg_error *error)
{
    (void)ctx;
    (void)snprintf(told + strlen(told), sizeof told - strlen(told), "P ");
    return rest_is_bad ? tg_error_set(error, TG_ERR_INVALID, "rest: bad file") : TG_ERR_OK;
}

static void on_switch_rest(void *ctx, bool commit)
{
    (void)ctx;
    (void)snprintf(told + strlen(told), sizeof told - strlen(told), commit ? "C " : "A ");
}

static int results;
static struct tg_reload_result result;

static void on_result(void *ctx, const struct tg_reload_result *got)
{
    (void)ctx;
    results++;
    result = *got;
}

static void write_policy(const char *mark)
{
    char text[256];

    (void)snprintf(text, sizeof text,
                   "-- %s\nreturn { authenticate = function() end, closed = function() end, "
                   "agents = { b = function() end, a = function() end } }",
                   mark);
    (void)snprintf(policy_path, sizeof policy_path, "%s", fixture_write(&fx, "policy.lua", text));
}

static int setup(void **state)
{
    struct tg_reload_workers workers = {
        .count = WORKERS, .prepare = on_prepare, .commit = on_commit, .abort = on_abort};
    (void)state;
    fixture_open(&fx);
    log_capture_start();
    probe_env = (struct tg_script_env){.meter = fx.env.meter, .memory_max = fx.env.memory_max};
    told[0] = '\0';
    results = 0;
    write_policy("one");
    assert_int_equal(tg_reload_create(&reload, policy_path, &probe_env, &workers), TG_ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_reload_destroy(reload);
    log_capture_stop();
    fixture_close(&fx);
    return 0;
}

/* As setup, with something else to read. */
static int setup_with_rest(void **state)
{
    struct tg_reload_workers workers = {.count = WORKERS,
                                        .prepare = on_prepare,
                                        .commit = on_commit,
                                        .abort = on_abort,
                                        .prepare_rest = on_prepare_rest,
                                        .switch_rest = on_switch_rest};
    if (setup(state) != 0)
        return -1;
    tg_reload_destroy(reload);
    rest_is_bad = false;
    return tg_reload_create(&reload, policy_path, &probe_env, &workers) == TG_ERR_OK ? 0 : -1;
}

static void request(void)
{
    tg_reload_request(reload, "test", on_result, NULL);
}

static void answer_prepared(size_t worker, const char *error_text)
{
    struct tg_error error = {.code = TG_ERR_OK};

    if (error_text != NULL)
        (void)tg_error_set(&error, TG_ERR_SCRIPT, "%s", error_text);
    tg_reload_prepared(reload, worker, error.code, &error);
}

static void all_prepared(void)
{
    for (size_t i = 0; i < WORKERS; i++)
        answer_prepared(i, NULL);
}

static void all_switched(void)
{
    for (size_t i = 0; i < WORKERS; i++)
        tg_reload_switched(reload, i);
}

static void expect_told(const char *text)
{
    assert_string_equal(told, text);
    told[0] = '\0';
}

static void complete_one(void)
{
    request();
    all_prepared();
    all_switched();
    told[0] = '\0';
}

static void all_workers_or_none_commit(void **state)
{
    (void)state;
    request();
    expect_told("p0 p1 p2 ");
    answer_prepared(2, NULL);
    answer_prepared(0, NULL);
    assert_int_equal(results, 0);
    expect_told("");
    assert_string_equal(tg_reload_version(reload), "");
    answer_prepared(1, NULL);
    expect_told("c0 c1 c2 ");
    tg_reload_switched(reload, 0);
    tg_reload_switched(reload, 1);
    assert_string_equal(tg_reload_version(reload), "");
    tg_reload_switched(reload, 2);
    assert_int_equal(results, 1);
    assert_int_equal(result.err, TG_ERR_OK);
    assert_string_equal(result.version, prepared_version);
    assert_string_equal(result.previous, "");
    assert_string_equal(tg_reload_version(reload), prepared_version);
    assert_true(tg_reload_loaded_at_ms(reload) > 0);
    assert_int_equal(tg_reload_count(reload, true), 0); /* the first load is no reload */
    assert_true(log_capture_has("policy.reload result=ok"));
    complete_one();
    assert_int_equal(tg_reload_count(reload, true), 1);
}

static void one_worker_that_fails_aborts_all(void **state)
{
    char before[TG_POLICY_VERSION_SIZE];
    (void)state;
    complete_one();
    (void)snprintf(before, sizeof before, "%s", tg_reload_version(reload));
    uint64_t loaded_at = tg_reload_loaded_at_ms(reload);
    write_policy("two");
    request();
    expect_told("p0 p1 p2 ");
    answer_prepared(0, NULL);
    answer_prepared(1, "policy.lua:7: out of memory");
    answer_prepared(2, "policy.lua:9: another");
    expect_told("a0 a1 a2 ");
    all_switched();
    assert_int_equal(results, 2);
    assert_int_equal(result.err, TG_ERR_SCRIPT);
    assert_non_null(strstr(result.error.text, "policy.lua:7: out of memory"));
    assert_non_null(strstr(result.error.text, "worker 2"));
    assert_string_equal(result.previous, before);
    assert_string_equal(tg_reload_version(reload), before);
    assert_int_equal(tg_reload_loaded_at_ms(reload), loaded_at);
    assert_int_equal(tg_reload_count(reload, false), 1);
    assert_ptr_not_equal(tg_reload_last(reload), NULL);
    assert_int_equal(tg_reload_last(reload)->err, TG_ERR_SCRIPT);
    assert_true(log_capture_has("policy.reload result=failed"));
}

static void the_rest_is_taken_with_the_policy_or_not_at_all(void **state)
{
    (void)state;
    request();
    expect_told("p0 p1 p2 "); /* the first load has it already */
    all_prepared();
    all_switched();
    expect_told("c0 c1 c2 ");
    request();
    expect_told("P p0 p1 p2 ");
    all_prepared();
    all_switched();
    expect_told("c0 c1 c2 C ");

    request();
    answer_prepared(0, "no");
    answer_prepared(1, NULL);
    answer_prepared(2, NULL);
    all_switched();
    expect_told("P p0 p1 p2 a0 a1 a2 A ");
    assert_int_equal(results, 3);

    rest_is_bad = true;
    request();
    expect_told("P ");
    assert_int_equal(results, 4);
    assert_int_equal(result.err, TG_ERR_INVALID);
    assert_string_equal(result.error.text, "rest: bad file");
    assert_int_equal(tg_reload_count(reload, false), 2);

    rest_is_bad = false;
    request(); /* and is given up half-way by the teardown, which forgets it */
    expect_told("P p0 p1 p2 ");
}

static void a_mistake_never_reaches_a_worker(void **state)
{
    (void)state;
    complete_one();
    (void)fixture_write(&fx, "policy.lua", "return { autenticate = function() end }");
    request();
    expect_told("");
    assert_int_equal(results, 2);
    assert_int_equal(result.err, TG_ERR_SCRIPT);
    assert_non_null(strstr(result.error.text, "policy.lua:1: unknown hook \"autenticate\""));
    assert_string_not_equal(tg_reload_version(reload), "");
    write_policy("fixed");
    request();
    expect_told("p0 p1 p2 ");
    all_prepared();
    all_switched();
    assert_int_equal(result.err, TG_ERR_OK);
}

static void requests_during_a_reload_share_the_next_one(void **state)
{
    (void)state;
    request();
    told[0] = '\0';
    write_policy("two");
    request();
    request();
    expect_told("");
    all_prepared();
    expect_told("c0 c1 c2 ");
    all_switched();
    assert_int_equal(results, 1);
    expect_told("p0 p1 p2 "); /* one more, for both */
    char first[TG_POLICY_VERSION_SIZE];
    memcpy(first, result.version, sizeof first);
    all_prepared();
    all_switched();
    assert_int_equal(results, 3);
    assert_string_not_equal(result.version, first);
    assert_string_equal(result.previous, first);
    told[0] = '\0';
}

static void the_same_files_are_told_as_unchanged(void **state)
{
    (void)state;
    complete_one();
    assert_false(result.unchanged);
    complete_one();
    assert_true(result.unchanged);
    assert_int_equal(result.err, TG_ERR_OK);
    write_policy("two");
    complete_one();
    assert_false(result.unchanged);
}

static void join(void *ctx, const char *name)
{
    (void)strcat(strcat(ctx, name), " ");
}

static void what_serves_tells_its_hooks_and_agents(void **state)
{
    char names[128] = "";
    (void)state;
    tg_reload_each_agent(reload, join, names);
    tg_reload_each_hook(reload, join, names);
    assert_string_equal(names, "");
    assert_null(tg_reload_last(reload));
    complete_one();
    tg_reload_each_agent(reload, join, names);
    assert_string_equal(names, "a b ");
    names[0] = '\0';
    tg_reload_each_hook(reload, join, names);
    assert_string_equal(names, "authenticate closed ");
}

static void go_back(void)
{
    tg_reload_rollback(reload, "test", on_result, NULL);
}

static void go_back_to(const char *version, const char *from)
{
    int before = results;
    go_back();
    expect_told("p0 p1 p2 "); /* nothing but the policy */
    assert_string_equal(prepared_version, version);
    all_prepared();
    expect_told("c0 c1 c2 ");
    all_switched();
    assert_int_equal(results, before + 1);
    assert_int_equal(result.err, TG_ERR_OK);
    assert_true(result.rollback);
    assert_string_equal(result.version, version);
    assert_string_equal(result.previous, from);
    assert_string_equal(tg_reload_version(reload), version);
    assert_string_equal(tg_reload_previous(reload), from);
}

static void going_back_takes_what_served_before_and_then_goes_forth(void **state)
{
    char one[TG_POLICY_VERSION_SIZE], two[TG_POLICY_VERSION_SIZE];
    (void)state;
    complete_one();
    memcpy(one, result.version, sizeof one);
    assert_null(tg_reload_previous(reload));
    complete_one(); /* the same again is no other version */
    assert_null(tg_reload_previous(reload));
    write_policy("two");
    complete_one();
    memcpy(two, result.version, sizeof two);
    assert_string_equal(tg_reload_previous(reload), one);
    go_back_to(one, two);
    assert_true(log_capture_has("policy.rollback result=ok"));
    go_back_to(two, one);
    go_back_to(one, two);
    complete_one(); /* the files again */
    assert_string_equal(tg_reload_version(reload), two);
    assert_string_equal(tg_reload_previous(reload), one);
}

static void a_version_that_never_served_is_not_gone_back_to(void **state)
{
    char one[TG_POLICY_VERSION_SIZE], two[TG_POLICY_VERSION_SIZE];
    (void)state;
    complete_one();
    memcpy(one, result.version, sizeof one);
    write_policy("two");
    complete_one();
    memcpy(two, result.version, sizeof two);
    write_policy("three");
    request();
    answer_prepared(0, "no");
    answer_prepared(1, NULL);
    answer_prepared(2, NULL);
    all_switched();
    told[0] = '\0';
    go_back_to(one, two);
}

static void with_nothing_to_go_back_to_nothing_happens(void **state)
{
    (void)state;
    complete_one();
    int reloads = (int)tg_reload_count(reload, true);
    go_back();
    expect_told("");
    assert_int_equal(result.err, TG_ERR_NOT_FOUND);
    assert_true(result.skipped);
    assert_non_null(strstr(result.error.text, "no other version"));
    assert_int_equal(tg_reload_last(reload)->err, TG_ERR_OK);
    assert_int_equal(tg_reload_count(reload, false), 0);
    assert_int_equal(tg_reload_count(reload, true), reloads);
}

static void a_rollback_that_fails_on_a_worker_changes_nothing(void **state)
{
    char two[TG_POLICY_VERSION_SIZE];
    (void)state;
    complete_one();
    write_policy("two");
    complete_one();
    memcpy(two, result.version, sizeof two);
    go_back();
    answer_prepared(0, NULL);
    answer_prepared(1, "policy.lua:1: out of memory");
    answer_prepared(2, NULL);
    all_switched();
    expect_told("p0 p1 p2 a0 a1 a2 ");
    assert_string_equal(tg_reload_version(reload), two);
    assert_true(log_capture_has("policy.rollback result=failed"));
    assert_non_null(tg_reload_previous(reload));
}

static void requests_of_both_kinds_wait_in_line(void **state)
{
    char one[TG_POLICY_VERSION_SIZE];
    (void)state;
    complete_one();
    memcpy(one, result.version, sizeof one);
    write_policy("two");
    request();
    go_back();
    go_back(); /* joins the one before */
    request();
    told[0] = '\0';
    int before = results;
    all_prepared();
    all_switched();
    expect_told("c0 c1 c2 p0 p1 p2 ");
    assert_int_equal(results, before + 1);
    all_prepared();
    all_switched();
    assert_int_equal(results, before + 3);
    assert_string_equal(result.version, one);
    expect_told("c0 c1 c2 p0 p1 p2 ");
    all_prepared();
    all_switched();
    assert_int_equal(results, before + 4);
    assert_string_equal(result.previous, one);
}

static void look(void)
{
    tg_reload_request_if_changed(reload, "watch", on_result, NULL);
}

static void expect_skipped(void)
{
    int before = results;
    look();
    expect_told("");
    assert_int_equal(results, before + 1);
    assert_true(result.skipped);
}

static void expect_taken(void)
{
    look();
    expect_told("p0 p1 p2 ");
    all_prepared();
    all_switched();
    assert_int_equal(result.err, TG_ERR_OK);
    assert_string_equal(result.why, "watch");
    told[0] = '\0';
}

static void only_what_has_changed_is_taken(void **state)
{
    (void)state;
    complete_one();
    uint64_t reloads = tg_reload_count(reload, true);
    expect_skipped();
    write_policy("one"); /* touched */
    expect_skipped();
    assert_int_equal(tg_reload_count(reload, true), reloads);
    write_policy("two");
    expect_taken();
    expect_skipped();
    (void)fixture_write(&fx, "beside.lua", "return 1"); /* a module that nothing needs yet */
    expect_taken();
    assert_true(result.unchanged);
    go_back();
    all_prepared();
    all_switched();
    told[0] = '\0';
    expect_skipped(); /* the files are what was gone back from */
    write_policy("three");
    expect_taken();
}

static void files_that_were_set_back_after_a_rollback_and_forth_again_are_taken(void **state)
{
    (void)state;
    complete_one();
    write_policy("two");
    complete_one();
    go_back();
    all_prepared();
    all_switched();
    told[0] = '\0';
    write_policy("one");
    expect_skipped(); /* what serves */
    write_policy("two");
    expect_taken();
}

static void a_mistake_is_told_once_and_forgotten_when_it_is_put_right(void **state)
{
    (void)state;
    complete_one();
    (void)fixture_write(&fx, "policy.lua", "this is no Lua");
    look();
    assert_int_equal(result.err, TG_ERR_SCRIPT);
    assert_false(result.skipped);
    expect_skipped();
    assert_int_equal(log_capture_matches("result=failed"), 1);
    assert_int_equal(tg_reload_last(reload)->err, TG_ERR_SCRIPT);
    write_policy("one");
    expect_skipped();
    assert_int_equal(tg_reload_last(reload)->err, TG_ERR_OK);
    assert_int_equal(tg_reload_count(reload, false), 1);
}

static void files_that_are_gone_are_told_once_and_taken_when_they_are_back(void **state)
{
    (void)state;
    complete_one();
    assert_int_equal(remove(policy_path), 0);
    look();
    assert_int_equal(result.err, TG_ERR_NOT_FOUND);
    assert_false(result.skipped);
    look();
    assert_true(result.skipped);
    assert_int_equal(log_capture_matches("result=failed"), 1);
    write_policy("two");
    expect_taken();
}

static void everybody_who_waits_hears_of_the_end(void **state)
{
    (void)state;
    request();
    request();
    tg_reload_destroy(reload);
    reload = NULL;
    assert_int_equal(results, 2);
    assert_int_equal(result.err, TG_ERR_CLOSED);
}

static void a_policy_that_is_gone_fails_the_reload(void **state)
{
    (void)state;
    complete_one();
    assert_int_equal(remove(policy_path), 0);
    request();
    assert_int_equal(result.err, TG_ERR_NOT_FOUND);
    assert_non_null(strstr(result.error.text, "policy.lua: No such file"));
    assert_string_not_equal(tg_reload_version(reload), "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_workers_or_none_commit),
        TEST(one_worker_that_fails_aborts_all),
        TEST(a_mistake_never_reaches_a_worker),
        cmocka_unit_test_setup_teardown(the_rest_is_taken_with_the_policy_or_not_at_all,
                                        setup_with_rest, teardown),
        TEST(requests_during_a_reload_share_the_next_one),
        TEST(the_same_files_are_told_as_unchanged),
        TEST(what_serves_tells_its_hooks_and_agents),
        TEST(going_back_takes_what_served_before_and_then_goes_forth),
        TEST(a_version_that_never_served_is_not_gone_back_to),
        TEST(with_nothing_to_go_back_to_nothing_happens),
        TEST(a_rollback_that_fails_on_a_worker_changes_nothing),
        TEST(requests_of_both_kinds_wait_in_line),
        TEST(only_what_has_changed_is_taken),
        TEST(files_that_were_set_back_after_a_rollback_and_forth_again_are_taken),
        TEST(a_mistake_is_told_once_and_forgotten_when_it_is_put_right),
        TEST(files_that_are_gone_are_told_once_and_taken_when_they_are_back),
        TEST(everybody_who_waits_hears_of_the_end),
        TEST(a_policy_that_is_gone_fails_the_reload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
