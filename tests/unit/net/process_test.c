/* process_test.c - real children: what goes in and comes out, how they end and are made to, what they inherit
 * and what they cost when they misbehave.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/memory.h"
#include "base/metrics.h"
#include "net/process_internal.h"
#include "support/log_capture.h"

#define DEADLINE_MS 20000
#define TICK_MS 10
#define LINE_MAX_BYTES ((size_t)4096)

static uv_loop_t loop;
static uv_timer_t tick;
static uint64_t deadline_ms;
static struct tg_processes *processes;
static struct tg_metrics metrics;

/* What has come of one child. */
struct heard {
    struct tg_process *process;
    char lines[65536]; /* each with '\n'; cut ones with '~' */
    size_t used;
    size_t count;
    size_t cut;
    size_t pause_at; /* pauses when so many lines have come; 0: never */
    bool close_in_line;
    int ends;
    struct tg_process_end end;
    char text[200];
};

static void on_line(void *ctx, const char *data, size_t len, bool cut)
{
    struct heard *heard = ctx;

    assert_int_equal(heard->ends, 0);
    heard->count++;
    heard->cut += cut ? 1 : 0;
    if (heard->used + len + 2 < sizeof heard->lines) {
        memcpy(heard->lines + heard->used, data, len);
        heard->used += len;
        heard->lines[heard->used++] = cut ? '~' : '\n';
    }
    if (heard->close_in_line) {
        tg_process_close(heard->process);
        heard->process = NULL;
    } else if (heard->count == heard->pause_at) {
        tg_process_pause(heard->process);
    }
}

static void on_end(void *ctx, const struct tg_process_end *end)
{
    struct heard *heard = ctx;

    heard->ends++;
    heard->end = *end;
    (void)snprintf(heard->text, sizeof heard->text, "%s", end->text);
    heard->process = NULL;
}

static const struct tg_process_callbacks callbacks = {on_line, on_end};

/* Often: a turn of the loop that has told lines before it polls must not wait for more. */
static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    if (uv_now(&loop) < deadline_ms)
        return;
    fail_msg("it takes too long; the last of the log: %s", log_capture_last());
}

static int setup(void **state)
{
    struct tg_processes_options options = {
        .worker = 7, .metrics = &metrics, .grace_ms = 300, .term_ms = 300};

    (void)state;
    memset(&metrics, 0, sizeof metrics);
    log_capture_start();
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_timer_init(&loop, &tick), 0);
    assert_int_equal(uv_timer_start(&tick, on_tick, TICK_MS, TICK_MS), 0);
    deadline_ms = uv_now(&loop) + DEADLINE_MS;
    assert_int_equal(tg_processes_create(&processes, &loop, &options), TG_ERR_OK);
    return 0;
}

/* Everything ends, and nobody is left who could be waited for. */
static int teardown(void **state)
{
    (void)state;
    tg_processes_destroy(processes);
    uv_close((uv_handle_t *)&tick, NULL);
    while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {
    }
    assert_int_equal(uv_loop_close(&loop), 0);
    errno = 0;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(tg_counter_get(&metrics.processes), 0);
    log_capture_stop();
    return 0;
}

static void start_command(struct heard *heard, const char *const *arguments,
                          const char *const *environment, const char *folder)
{
    struct tg_process_order order = {
        .arguments = arguments,
        .environment = environment,
        .folder = folder,
        .name = "test",
        .line_max = LINE_MAX_BYTES,
    };

    assert_int_equal(tg_process_start(processes, &order, &callbacks, heard, &heard->process),
                     TG_ERR_OK);
}

/* A shell that runs the script; only tests have shells. */
static struct heard *start_script(const char *script)
{
    static const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
    const char *arguments[] = {"/bin/sh", "-c", script, NULL};
    struct heard *heard = test_calloc(1, sizeof *heard);

    start_command(heard, arguments, environment, NULL);
    return heard;
}

static void run_once(void)
{
    (void)uv_run(&loop, UV_RUN_ONCE);
}

static void until_end(struct heard *heard)
{
    while (heard->ends == 0)
        run_once();
    assert_int_equal(heard->ends, 1);
}

static void until_lines(struct heard *heard, size_t count)
{
    while (heard->count < count && heard->ends == 0)
        run_once();
    assert_true(heard->count >= count);
}

static void write_text(struct heard *heard, const char *text)
{
    assert_int_equal(tg_process_write(heard->process, text, strlen(text)), TG_ERR_OK);
}

/* --- words both ways ---------------------------------------------------------------------------- */

static void test_what_is_written_is_read_and_lines_come_back(void **state)
{
    struct heard *heard = start_script("while read -r x; do echo \"got $x\"; done; exit 3");

    (void)state;
    write_text(heard, "one\ntwo\n"); /* before it has started */
    until_lines(heard, 2);
    write_text(heard, "three\n");
    until_lines(heard, 3);
    assert_string_equal(heard->lines, "got one\ngot two\ngot three\n");
    tg_process_close(heard->process);
    test_free(heard);
}

static void test_lines_before_the_end_come_before_it_also_one_without_an_end(void **state)
{
    struct heard *heard = start_script("printf 'a\\r\\nb\\nlast'; exit 3");

    (void)state;
    until_end(heard);
    assert_string_equal(heard->lines, "a\nb\nlast\n");
    assert_int_equal(heard->end.fate, TG_PROCESS_EXITED);
    assert_int_equal(heard->end.number, 3);
    assert_true(log_capture_has("process.ended"));
    test_free(heard);
}

static void test_a_signal_is_told_as_one(void **state)
{
    struct heard *heard = start_script("kill -9 $$");

    (void)state;
    until_end(heard);
    assert_int_equal(heard->end.fate, TG_PROCESS_KILLED);
    assert_int_equal(heard->end.number, SIGKILL);
    assert_non_null(strstr(heard->text, "signal 9"));
    test_free(heard);
}

static void test_a_file_that_is_not_there_fails_from_the_loop(void **state)
{
    static const char *const arguments[] = {"/nowhere/at/all", NULL};
    static const char *const none[] = {NULL};
    struct heard heard = {.ends = 0};

    (void)state;
    start_command(&heard, arguments, none, NULL);
    assert_int_equal(heard.ends, 0);
    until_end(&heard);
    assert_int_equal(heard.end.fate, TG_PROCESS_FAILED);
    assert_non_null(strstr(heard.text, "no such file"));
}

static void test_a_line_that_is_too_long_is_cut_and_the_next_one_is_whole(void **state)
{
    struct heard *heard =
        start_script("echo before; i=0; while [ $i -lt 300 ]; do printf '%0100d' 7; i=$((i+1)); "
                     "done; echo; echo after");

    (void)state;
    until_end(heard);
    assert_int_equal(heard->count, 3);
    assert_int_equal(heard->cut, 1);
    assert_non_null(strstr(heard->lines, "before\n000"));
    assert_non_null(strstr(heard->lines, "~after\n"));
    test_free(heard);
}

static void test_a_paused_child_has_to_wait_and_loses_nothing(void **state)
{
    struct heard *heard = start_script("seq 100000 130000"); /* many lines in each write */

    (void)state;
    heard->pause_at = 10;
    until_lines(heard, 10);
    for (int i = 0; i < 50; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(heard->count, 10);
    heard->pause_at = 2000;
    tg_process_resume(heard->process);
    assert_int_equal(heard->count, 10); /* not inside resume */
    until_lines(heard, 2000);
    assert_int_equal(heard->ends, 0);
    tg_process_resume(heard->process);
    until_end(heard);
    assert_int_equal(heard->count, 30001);
    for (int i = 0; i < 3000; i++) /* so many have been kept, at least */
        assert_int_equal(atoi(heard->lines + 7 * i), 100000 + i);
    test_free(heard);
}

static void test_what_is_not_read_waits_here_and_is_counted(void **state)
{
    struct heard *heard = start_script("read -r first; echo \"$first\"; exec sleep 100");
    static char large[1 << 20];

    (void)state;
    write_text(heard, "go\n");
    until_lines(heard, 1);
    memset(large, 'x', sizeof large);
    assert_int_equal(tg_process_write(heard->process, large, sizeof large), TG_ERR_OK);
    for (int i = 0; i < 20; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(tg_process_unwritten(heard->process) > sizeof large / 2);
    tg_process_close(heard->process);
    test_free(heard);
}

static void test_its_words_are_logged_in_bounds(void **state)
{
    struct heard *heard = start_script("echo 'I am here' >&2; i=0; while [ $i -lt 500 ]; do echo "
                                       "\"word $i\" >&2; i=$((i+1)); done; echo done");

    (void)state;
    until_end(heard);
    size_t lines = log_capture_matches("process.says");
    assert_true(log_capture_has("I am here"));
    assert_true(lines >= 2 && lines <= 100);
    assert_string_equal(heard->lines, "done\n");
    test_free(heard);
}

/* --- its end ------------------------------------------------------------------------------------ */

static void test_closing_ends_its_input_first(void **state)
{
    struct heard *heard = start_script("echo ready; while read -r x; do :; done; echo bye >&2");

    (void)state;
    until_lines(heard, 1);
    tg_process_close(heard->process);
    while (!log_capture_has("process.ended"))
        run_once();
    assert_true(log_capture_has("exited with status 0"));
    assert_int_equal(heard->ends, 0);
    test_free(heard);
}

static void test_who_ignores_the_end_and_sigterm_is_killed(void **state)
{
    struct heard *heard = start_script("trap '' TERM; echo ready; while :; do sleep 100; done");

    (void)state;
    until_lines(heard, 1);
    tg_process_close(heard->process);
    while (!log_capture_has("process.ended"))
        run_once();
    assert_true(log_capture_has("killed by signal 9"));
    test_free(heard);
}

static void test_closing_inside_a_line_is_the_last_that_is_heard(void **state)
{
    struct heard *heard = start_script("while echo again; do :; done");

    (void)state;
    heard->close_in_line = true;
    until_lines(heard, 1);
    while (!log_capture_has("process.ended"))
        run_once();
    assert_int_equal(heard->count, 1);
    assert_int_equal(heard->ends, 0);
    test_free(heard);
}

static void test_closing_before_the_start_starts_nothing(void **state)
{
    struct heard *heard = start_script("echo never");

    (void)state;
    tg_process_close(heard->process);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    assert_false(log_capture_has("process."));
    test_free(heard);
}

/* Of those that have ended. */
static void assert_ended(const uint64_t expected[TG_PROCESS_ENDED_REASONS])
{
    for (int i = 0; i < TG_PROCESS_ENDED_REASONS; i++)
        if (tg_counter_get(&metrics.processes_ended[i]) != expected[i])
            fail_msg("%s: %d, not %d", tg_process_ended_names[i],
                     (int)tg_counter_get(&metrics.processes_ended[i]), (int)expected[i]);
}

static void test_starts_and_ends_are_counted(void **state)
{
    static const char *const scripts[] = {"exit 0", "exit 3", "kill -9 $$", "exec >&-; sleep 100"};
    static const char *const nothing[] = {"/nowhere/at/all", NULL};
    static const char *const none[] = {NULL};
    struct heard missing = {.ends = 0};
    struct heard *stays = start_script("echo ready; exec sleep 1000");

    (void)state;
    until_lines(stays, 1);
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        struct heard *heard = start_script(scripts[i]);
        until_end(heard);
        test_free(heard);
    }
    start_command(&missing, nothing, none, NULL);
    until_end(&missing);
    assert_int_equal(tg_counter_get(&metrics.processes), 1);
    assert_int_equal(tg_counter_get(&metrics.upstream_processes_started), 5);
    assert_ended((const uint64_t[TG_PROCESS_ENDED_REASONS]){[TG_PROCESS_ENDED_EXITED] = 1,
                                                            [TG_PROCESS_ENDED_FAILED] = 1,
                                                            [TG_PROCESS_ENDED_KILLED] = 1,
                                                            [TG_PROCESS_ENDED_STOPPED] = 1,
                                                            [TG_PROCESS_ENDED_NOT_STARTED] = 1});
    tg_process_close(stays->process);
    /* It runs until it has been waited for, though nobody wants it any more. */
    assert_int_equal(tg_counter_get(&metrics.processes), 1);
    while (tg_counter_get(&metrics.processes) > 0)
        run_once();
    assert_int_equal(tg_counter_get(&metrics.processes_ended[TG_PROCESS_ENDED_STOPPED]), 2);
    test_free(stays);
}

/* uv_walk lets go of what a thread that ends has: only a child that was started later would hold the loop. */
static void test_after_a_stop_nothing_is_started_any_more(void **state)
{
    struct heard *before = start_script("exec sleep 1000");

    (void)state;
    tg_processes_stop(processes);
    struct heard *after = start_script("exec sleep 1000");
    until_end(before);
    until_end(after);
    assert_int_equal(before->end.fate, TG_PROCESS_FAILED);
    assert_int_equal(after->end.fate, TG_PROCESS_FAILED);
    test_free(before);
    test_free(after);
}

static void test_who_closes_its_output_is_ended(void **state)
{
    struct heard *heard = start_script("echo hello; exec >&-; while :; do sleep 100; done");

    (void)state;
    until_end(heard);
    assert_string_equal(heard->lines, "hello\n");
    assert_int_equal(heard->end.fate, TG_PROCESS_KILLED);
    assert_non_null(strstr(heard->text, "closed its standard output"));
    test_free(heard);
}

static void test_who_closes_its_input_is_ended_when_it_is_written_to(void **state)
{
    struct heard *heard = start_script("exec <&-; echo ready; while :; do sleep 100; done");

    (void)state;
    until_lines(heard, 1);
    write_text(heard, "hello?\n");
    until_end(heard);
    assert_non_null(strstr(heard->text, "closed its standard input"));
    test_free(heard);
}

static bool alive(int pid)
{
    char path[64];
    char text[256] = "";

    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    bool zombie = fgets(text, sizeof text, file) == NULL || strstr(text, ") Z ") != NULL;
    (void)fclose(file);
    return !zombie;
}

static void test_what_it_has_started_ends_with_it(void **state)
{
    struct heard *heard = start_script("sleep 100 & echo $!; exit 0");

    (void)state;
    until_end(heard); /* though the sleeper holds the pipes */
    int pid = atoi(heard->lines);
    assert_true(pid > 1);
    while (alive(pid))
        run_once();
    test_free(heard);
}

/* --- what it inherits --------------------------------------------------------------------------- */

static void test_it_has_three_descriptors_whatever_is_open_here(void **state)
{
    int open_here = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, as a library might */
    struct heard *heard = start_script("ls /proc/$$/fd");
    char name[16];

    (void)state;
    until_end(heard);
    (void)snprintf(name, sizeof name, "\n%d\n", open_here);
    assert_true(open_here > 2);
    assert_memory_equal(heard->lines, "0\n1\n2\n", 6);
    assert_null(strstr(heard->lines, name));
    (void)close(open_here);
    test_free(heard);
}

static void test_it_sees_the_environment_of_its_order_and_no_other(void **state)
{
    static const char *const arguments[] = {"/usr/bin/env", NULL};
    static const char *const environment[] = {"ONLY=this", NULL};
    struct heard heard = {.ends = 0};

    (void)state;
    start_command(&heard, arguments, environment, "/");
    until_end(&heard);
    assert_string_equal(heard.lines, "ONLY=this\n");
}

static void test_nothing_of_ours_is_passed_on(void **state)
{
    struct tg_buffer out = TG_BUFFER_INIT;
    bool has_path = false;

    (void)state;
    (void)setenv("TIDEGATE_OPTIONS_KEY", "s3cret", 1);
    assert_int_equal(tg_process_environment(&out), TG_ERR_OK);
    const char *end = (const char *)tg_buffer_head(&out) + out.len;
    for (const char *at = (const char *)tg_buffer_head(&out); at < end; at += strlen(at) + 1) {
        assert_null(strstr(at, "TIDEGATE"));
        assert_null(strstr(at, "s3cret"));
        has_path = has_path || strncmp(at, "PATH=", 5) == 0;
    }
    assert_true(has_path);
    (void)unsetenv("TIDEGATE_OPTIONS_KEY");
    tg_buffer_fini(&out);
}

static void test_it_leads_a_group_of_its_own_and_works_where_it_is_told(void **state)
{
    struct heard heard = {.ends = 0};
    static const char *const none[] = {NULL};
    static const char *const arguments[] = {"/bin/sh", "-c", "pwd; echo $$; exec cat", NULL};

    (void)state;
    start_command(&heard, arguments, none, "/usr");
    until_lines(&heard, 2);
    assert_memory_equal(heard.lines, "/usr\n", 5);
    int pid = atoi(heard.lines + 5);
    assert_int_equal(getpgid(pid), pid);
    tg_process_close(heard.process);
}

/* --- what may be run ---------------------------------------------------------------------------- */

static void test_only_programs_that_are_named_may_be_run(void **state)
{
    static const char *const allowed[] = {"/usr/bin/env", "/bin/sh", "/nowhere/tool"};
    static const struct {
        const char *word, *folder, *found;
    } cases[] = {
        {"env", NULL, "/usr/bin/env"},
        {"/usr/bin/env", NULL, "/usr/bin/env"},
        {"bin/env", "/usr", "/usr/bin/env"},
        {"../bin/env", "/usr/lib", "/usr/bin/env"},
        {"sh", "/tmp", "/bin/sh"},
        {"cat", NULL, NULL},
        {"/bin/cat", NULL, NULL},
        {"./sh", "/usr/share", NULL},
        {"tool", NULL, NULL},
        {"", NULL, NULL},
        {"/usr/bin/", NULL, NULL},
        {"env ", NULL, NULL},
    };
    struct tg_error error;
    const char *found;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum tg_err err =
            tg_program_find(cases[i].word, cases[i].folder, allowed, 3, &found, &error);
        if (cases[i].found == NULL) {
            assert_int_not_equal(err, TG_ERR_OK);
            assert_non_null(strstr(error.text, "agents.processes"));
            continue;
        }
        assert_int_equal(err, TG_ERR_OK);
        assert_string_equal(found, cases[i].found);
    }
    assert_int_equal(tg_program_find("env", NULL, NULL, 0, &found, &error), TG_ERR_INVALID);
    assert_non_null(strstr(error.text, "agents.processes=/usr/bin/env"));
}

static void test_another_file_of_the_same_name_is_not_run(void **state)
{
    char folder[] = "/tmp/tidegate-process-XXXXXX";
    char path[64];
    const char *allowed[] = {"/usr/bin/env"};
    const char *found;
    struct tg_error error;

    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/env", folder);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(tg_program_find("./env", folder, allowed, 1, &found, &error), TG_ERR_INVALID);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/usr/bin/env", path), 0);
    assert_int_equal(tg_program_find("./env", folder, allowed, 1, &found, &error), TG_ERR_OK);
    assert_string_equal(found, "/usr/bin/env"); /* the operator's path, not the policy's */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void test_memory_that_is_out_starts_nothing(void **state)
{
    static const char *const arguments[] = {"/bin/true", NULL};
    static const char *const none[] = {NULL};
    struct tg_process_order order = {
        .arguments = arguments, .environment = none, .name = "test", .line_max = 100};
    struct heard heard = {.ends = 0};

    (void)state;
    for (long allowed = 0; allowed < 3; allowed++) {
        (void)tg_memory_fail_after(allowed, 1);
        enum tg_err err = tg_process_start(processes, &order, &callbacks, &heard, &heard.process);
        (void)tg_memory_fail_after(-1, 0);
        assert_int_equal(err, TG_ERR_NOMEM);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_written_is_read_and_lines_come_back),
        TEST(test_lines_before_the_end_come_before_it_also_one_without_an_end),
        TEST(test_a_signal_is_told_as_one),
        TEST(test_a_file_that_is_not_there_fails_from_the_loop),
        TEST(test_a_line_that_is_too_long_is_cut_and_the_next_one_is_whole),
        TEST(test_a_paused_child_has_to_wait_and_loses_nothing),
        TEST(test_what_is_not_read_waits_here_and_is_counted),
        TEST(test_its_words_are_logged_in_bounds),
        TEST(test_closing_ends_its_input_first),
        TEST(test_who_ignores_the_end_and_sigterm_is_killed),
        TEST(test_closing_inside_a_line_is_the_last_that_is_heard),
        TEST(test_closing_before_the_start_starts_nothing),
        TEST(test_starts_and_ends_are_counted),
        TEST(test_after_a_stop_nothing_is_started_any_more),
        TEST(test_who_closes_its_output_is_ended),
        TEST(test_who_closes_its_input_is_ended_when_it_is_written_to),
        TEST(test_what_it_has_started_ends_with_it),
        TEST(test_it_has_three_descriptors_whatever_is_open_here),
        TEST(test_it_sees_the_environment_of_its_order_and_no_other),
        TEST(test_nothing_of_ours_is_passed_on),
        TEST(test_it_leads_a_group_of_its_own_and_works_where_it_is_told),
        TEST(test_only_programs_that_are_named_may_be_run),
        TEST(test_another_file_of_the_same_name_is_not_run),
        TEST(test_memory_that_is_out_starts_nothing),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
