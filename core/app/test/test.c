/* test.c - `tidegate test`: runs specs of policies against simulated hosts.
 *
 * Flags become arguments of busted; finding and running specs is lua/tidegate/_specs.lua's.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "app/commands.h"
#include "app/test/simulation.h"
#include "app/test/test_options.h"
#include "base/memory.h"
#include "script/testing/spec_state.h"

enum {
    FLAG_FILTER,
    FLAG_FILTER_OUT,
    FLAG_TAGS,
    FLAG_FORMAT,
    FLAG_LIST,
    FLAG_FAIL_FAST,
    FLAG_REPEAT,
    FLAG_SHUFFLE,
    FLAG_VERBOSE
};

const struct tg_flag tg_test_flags[] = {
    {FLAG_FILTER, "filter", "PATTERN", 1,
     "Only specs whose names match the Lua pattern. May be given several times."},
    {FLAG_FILTER_OUT, "filter-out", "PATTERN", 1, "Not those whose names match."},
    {FLAG_TAGS, "tags", "TAGS", 1, "Only specs with one of these #tags, separated by commas."},
    {FLAG_FORMAT, "format", "plain|tap|json|junit", 1, "How results are written."},
    {FLAG_LIST, "list", NULL, 0, "Lists the specs and runs none."},
    {FLAG_FAIL_FAST, "fail-fast", NULL, 0, "Ends at the first failure."},
    {FLAG_REPEAT, "repeat", "COUNT", 1, "Runs all of them so many times."},
    {FLAG_SHUFFLE, "shuffle", NULL, 0, "Runs them in random order."},
    {FLAG_VERBOSE, "verbose", NULL, 0, "Tracebacks of failures."},
    {0},
};

/* What busted calls a flag; with a value it is followed by it. */
static const char *const busted_names[] = {
    [FLAG_FILTER] = "--filter=",  [FLAG_FILTER_OUT] = "--filter-out=",
    [FLAG_TAGS] = "--tags=",      [FLAG_FORMAT] = "--output=",
    [FLAG_LIST] = "--list",       [FLAG_FAIL_FAST] = "--no-keep-going",
    [FLAG_REPEAT] = "--repeat=",  [FLAG_SHUFFLE] = "--shuffle",
    [FLAG_VERBOSE] = "--verbose",
};

static const struct {
    const char *name;
    const char *busted;
} formats[] = {{"plain", "plainTerminal"}, {"tap", "TAP"}, {"json", "json"}, {"junit", "junit"}};

struct request {
    const char **paths; /* owned array of borrowed texts */
    size_t path_count;
    char **arguments; /* owned, and its texts */
    size_t argument_count;
};

static void add_argument(struct request *request, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 1;
    char *text = tg_xcalloc(size, 1);

    (void)snprintf(text, size, "%s%s", name, value);
    request->arguments[request->argument_count++] = text;
}

static enum tg_err take_format(struct request *request, const char *name, struct tg_error *error)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(formats[i].name, name) != 0)
            continue;
        add_argument(request, busted_names[FLAG_FORMAT], formats[i].busted);
        return TG_ERR_OK;
    }
    return tg_error_set(error, TG_ERR_INVALID,
                        "there is no format \"%.40s\"; use plain, tap, json or junit", name);
}

static enum tg_err take_flag(void *ctx, const struct tg_arguments *args, struct tg_error *error)
{
    struct request *request = ctx;

    if (args->flag->id == FLAG_FORMAT)
        return take_format(request, args->values[0], error);
    add_argument(request, busted_names[args->flag->id],
                 args->flag->hint == NULL ? "" : args->values[0]);
    return TG_ERR_OK;
}

static enum tg_err take_word(void *ctx, const struct tg_arguments *args, struct tg_error *error)
{
    struct request *request = ctx;
    struct stat status;
    const char *word = args->values[0];

    if (args->only_words) { /* behind "--": busted's own */
        add_argument(request, word, "");
        return TG_ERR_OK;
    }
    if (stat(word, &status) != 0)
        return tg_error_set(error, TG_ERR_INVALID, "there is no file or folder %.200s", word);
    request->paths[request->path_count++] = word;
    return TG_ERR_OK;
}

static int run_specs(const struct request *request)
{
    struct tg_specs specs = {
        .paths = request->paths,
        .path_count = request->path_count,
        .arguments = (const char *const *)request->arguments,
        .argument_count = request->argument_count,
        .backend = &tg_simulation_backend,
    };
    struct tg_error error;
    int status;

    if (tg_specs_run(&specs, &status, &error) == TG_ERR_OK)
        return status;
    (void)fflush(stdout);
    (void)fprintf(stderr, "tidegate test: %s\n", error.text);
    return TG_EXIT_FAILED;
}

int tg_command_test(int argc, char **argv)
{
    static const struct tg_arguments_reader reader = {tg_test_flags, take_flag, take_word};
    struct tg_error error = {.code = TG_ERR_OK};
    struct request request = {
        .paths = tg_xcalloc((size_t)argc + 1, sizeof *request.paths),
        .arguments = tg_xcalloc((size_t)argc + 1, sizeof *request.arguments),
    };
    int status = tg_arguments_read(argc, argv, &reader, &request, &error) == TG_ERR_OK
                     ? run_specs(&request)
                     : tg_command_usage_error(argv[0], error.text);

    for (size_t i = 0; i < request.argument_count; i++)
        tg_free(request.arguments[i]);
    tg_free(request.arguments);
    tg_free(request.paths);
    return status;
}
