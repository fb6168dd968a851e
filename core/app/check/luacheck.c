/* luacheck.c - asks luacheck, where it is installed, what it thinks of a policy's files.
 *
 * A process of its own, its answer read through a pipe. It is told the sandbox's own list of globals, and no
 * configuration file, so that the same policy gives the same answer in every folder; comments such as
 * `-- luacheck: ignore` count.
 */
#include "app/check/luacheck.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "script/check/scan.h"

#define DEADLINE_MS 10000
#define OUTPUT_BYTES_MAX ((size_t)4 << 20)
#define EXIT_TROUBLE                                                                               \
    3 /* luacheck's for usage and the like; below it are counts of warnings and errors */

/* What a hook does not use it still gets, and how long a line is is a matter of taste. */
static const char *const options[] = {
    "luacheck",
    "--no-config",
    "--no-default-config",
    "--no-color",
    "--codes",
    "--formatter",
    "plain",
    "--std",
    "none",
    "--no-unused-args",
    "--no-self",
    "--no-max-line-length",
    "--ignore",
    "6..",
    "--read-globals",
};

struct words {
    char **items; /* owned, as are the words; ends with NULL */
    size_t count;
};

static void add_word(struct words *words, const char *word)
{
    char **items = tg_xcalloc(words->count + 2, sizeof *items);

    if (words->count > 0)
        memcpy(items, words->items, words->count * sizeof *items);
    items[words->count++] = tg_xstrdup(word);
    tg_free(words->items);
    words->items = items;
}

static void free_words(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        tg_free(words->items[i]);
    tg_free(words->items);
}

static void add_global(void *ctx, const char *name)
{
    add_word(ctx, name);
}

static enum tg_err write_command(struct words *words, const struct tg_check *check)
{
    struct tg_error error;

    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        add_word(words, options[i]);
    enum tg_err err = tg_scan_each_global(add_global, words, &error);
    add_word(words, "--");
    for (size_t i = 0; i < check->files.count; i++)
        add_word(words, check->files.names[i]);
    return err;
}

/* --- the process -------------------------------------------------------------------------------- */

/* Its standard output is out; the others are nothing. */
static int spawn(pid_t *pid, char **words, int out)
{
    posix_spawn_file_actions_t actions;

    if (posix_spawn_file_actions_init(&actions) != 0)
        return ENOMEM;
    int err = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (err == 0)
        err = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (err == 0)
        err = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (err == 0)
        err = posix_spawnp(pid, words[0], &actions, NULL, words, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    return err;
}

/* False when the deadline passed or there was too much. */
static bool read_all(int fd, struct tg_buffer *out)
{
    uint64_t until = tg_clock_monotonic_ns() / 1000000 + DEADLINE_MS;

    for (;;) {
        uint64_t now = tg_clock_monotonic_ns() / 1000000;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (now >= until || out->len > OUTPUT_BYTES_MAX)
            return false;
        if (poll(&ready, 1, (int)(until - now)) == -1 && errno != EINTR)
            return false;
        if (ready.revents == 0)
            continue;
        uint8_t *room = tg_buffer_reserve(out, 16384);
        if (room == NULL)
            return false;
        ssize_t n = read(fd, room, 16384);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        tg_buffer_commit(out, (size_t)n);
    }
}

static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) == -1) {
        if (errno != EINTR)
            return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static enum tg_luacheck run(char **words, struct tg_buffer *out)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) == -1)
        return TG_LUACHECK_FAILED;
    int err = spawn(&pid, words, ends[1]);
    (void)close(ends[1]);
    if (err != 0) {
        (void)close(ends[0]);
        return err == ENOENT ? TG_LUACHECK_ABSENT : TG_LUACHECK_FAILED;
    }
    bool complete = read_all(ends[0], out);
    (void)close(ends[0]);
    if (!complete)
        (void)kill(pid, SIGKILL);
    int status = wait_for(pid);
    return complete && status >= 0 && status < EXIT_TROUBLE ? TG_LUACHECK_DONE : TG_LUACHECK_FAILED;
}

/* --- its answer --------------------------------------------------------------------------------- */

/* "FILE:LINE:COLUMN: (W211) text", cut in place. False when the line is none, or no warning. */
static bool read_line(char *line, char code[32], struct tg_finding *finding)
{
    char *mark = strstr(line, ": (W");
    char *end = mark == NULL ? NULL : strchr(mark, ')');

    if (end == NULL || end[1] != ' ' || end - mark > 12)
        return false;
    (void)snprintf(code, 32, "luacheck-%.*s", (int)(end - mark - 3), mark + 3);
    *mark = '\0';
    char *column = strrchr(line, ':');
    if (column == NULL)
        return false;
    *column = '\0';
    char *number = strrchr(line, ':');
    if (number == NULL)
        return false;
    *number = '\0';
    *finding = (struct tg_finding){
        .severity = TG_SEVERITY_WARNING,
        .code = code,
        .file = line,
        .line = atoi(number + 1),
        .column = atoi(column + 1),
        .message = end + 2,
        .hint = "",
    };
    return true;
}

/* Globals are ours to judge: luacheck's word counts only where nothing was said. */
static bool is_known(const struct tg_check *check, const struct tg_finding *finding)
{
    return finding->code[sizeof "luacheck-W" - 1] == '1' &&
           tg_findings_at(&check->findings, finding->file, finding->line);
}

static void take_answer(struct tg_check *check, struct tg_buffer *out)
{
    char *saved = NULL, code[32];
    struct tg_finding finding;

    if (tg_buffer_append(out, "", 1) != TG_ERR_OK)
        return;
    for (char *line = strtok_r((char *)tg_buffer_head(out), "\n", &saved); line != NULL;
         line = strtok_r(NULL, "\n", &saved)) {
        if (read_line(line, code, &finding) && !is_known(check, &finding))
            tg_findings_add(&check->findings, &finding);
    }
}

enum tg_luacheck tg_luacheck_run(struct tg_check *check)
{
    struct tg_buffer out = TG_BUFFER_INIT;
    struct words words = {.items = NULL};
    enum tg_luacheck result = TG_LUACHECK_FAILED;

    if (write_command(&words, check) == TG_ERR_OK)
        result = check->files.count == 0 ? TG_LUACHECK_DONE : run(words.items, &out);
    if (result == TG_LUACHECK_DONE)
        take_answer(check, &out);
    tg_findings_sort(&check->findings, check->entry);
    tg_buffer_fini(&out);
    free_words(&words);
    return result;
}
