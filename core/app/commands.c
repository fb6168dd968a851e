/* commands.c - the table of commands and the choice between them. */
#include "app/commands.h"

#include <stdio.h>
#include <string.h>

#include "app/check/check_options.h"
#include "app/connect/connect.h"
#include "app/ctl/ctl_options.h"
#include "app/help.h"
#include "app/repl/repl_options.h"
#include "app/run_options.h"
#include "app/test/test_options.h"
#include "base/suggest.h"

#define COMMANDS_MAX 16

static const struct tg_command table[] = {
    {.name = "run",
     .usage = "[POLICY] [flags]",
     .summary = "Serves WebSocket connections with a policy.",
     .details = "POLICY is a Lua file, or a folder with init.lua.\n"
                "Once ready it prints a line `listening ws://ADDR:PORT` for each address and "
                "`admin http://ADDR:PORT` on standard output. Logs go to standard error.",
     .flags = tg_run_flags,
     .lists_options = true,
     .run = tg_command_run},
    {.name = "check",
     .usage = "POLICY... [flags]",
     .summary = "Loads policies in the sandbox without serving and tells what is wrong.",
     .details = "Each POLICY is a Lua file, or a folder with init.lua. It is loaded as a server "
                "would, with its limits, and the text of all its files is looked through, also "
                "of functions that did not run.\n"
                "A finding is a line `FILE:LINE:COLUMN: error: what [code]`; what to do follows "
                "on the next. Errors are what `run` refuses or what fails whenever it runs; the "
                "rest are warnings.\n"
                "Exit status: 0 without errors; 1 with errors (or warnings, with --strict); "
                "2 when the flags are wrong, or a policy or the configuration cannot be read.",
     .flags = tg_check_flags,
     .run = tg_command_check},
    {.name = "test",
     .usage = "[PATH...] [flags] [-- ARGUMENTS]",
     .summary = "Runs specs of policies (busted) against simulated hosts, without sockets.",
     .details =
         "PATH is a spec (a file *_spec.lua), a folder with specs, or a policy that has a spec "
         "beside it; without one, all specs below the current folder run. In them, "
         "require(\"tidegate.testing\").host(POLICY) serves a policy with a clock that the "
         "spec moves.\n"
         "ARGUMENTS go to busted as they are. Needs the Debian package lua-busted. Exit "
         "status: 0, or 1 when a spec failed.",
     .flags = tg_test_flags,
     .run = tg_command_test},
    {.name = "repl",
     .usage = "POLICY [flags]",
     .summary = "Tries a policy out at a prompt: what a client would see, without a server.",
     .details =
         "Loads the policy and connects one client to it, inside the process. A line is a "
         "message for the agent; one that starts with `{` is sent as it is; `= LUA` runs in "
         "the policy's sandbox; /help lists the commands. A policy that has changed on disk is "
         "taken anew before the next line. Scripts fetch and wait as they do in a server.\n"
         "From a pipe, the next line is taken when all that the last one began has ended. Exit "
         "status: 1 when something failed.",
     .flags = tg_repl_flags,
     .run = tg_command_repl},
    {.name = "connect",
     .usage = "URL [flags]",
     .summary = "Talks to a server: readable events on a terminal, JSON lines when piped.",
     .details =
         "Without --send and --agent it reads lines from standard input: a line that starts "
         "with `{` is sent as it is, /cancel [RUN] and /quit are commands, anything else is a "
         "message for an agent. --agent NAME names that agent.\n"
         "With --send or --agent it waits for connection_ready, sends, and ends when all "
         "that it asked for has ended.",
     .flags = tg_connect_flags,
     .run = tg_command_connect},
    {.name = "ctl",
     .usage = "ACTION [flags]",
     .summary = "Asks a running server, or tells it what to do, by its admin interface.",
     .details =
         "status: how it is, at a glance.\n"
         "connections: who is connected; --state, --user and --limit choose.\n"
         "connection ID: one connection with its moves.\n"
         "close ID [CODE [REASON]]: ends it in order; 1000 unless CODE says otherwise.\n"
         "close-user USER [CODE [REASON]]: the same for all connections of a user.\n"
         "ticket USER [--origin O] [--ttl 60s]: prints a ticket with which that user may connect "
         "once.\n"
         "revoke TOKEN_ID [--ttl 24h]: denies tokens with that ID from now on, and ends their "
         "connections.\n"
         "reload, rollback: take the policy as it is saved now; go back to the one before.\n"
         "policy: what serves, and which versions connections are on.\n"
         "drain: stops the server in order, as SIGTERM does.\n"
         "metrics: as Prometheus reads them.\n"
         "Exit status: 0 done; 1 the server said no, and standard error says why (for a failed "
         "reload file and line); 2 called in a wrong way; 3 no such server.",
     .flags = tg_ctl_flags,
     .run = tg_command_ctl},
    {.name = "version",
     .usage = "",
     .summary = "Shows the versions of the program and of its libraries.",
     .run = tg_command_version},
    {.name = "help",
     .usage = "[COMMAND] [--man]",
     .summary = "Explains a command, or lists all.",
     .flags = tg_help_flags,
     .run = tg_command_help},
};

const struct tg_command *tg_commands(size_t *count)
{
    *count = sizeof table / sizeof table[0];
    return table;
}

const struct tg_command *tg_command_find(const char *name)
{
    size_t count;
    const struct tg_command *commands = tg_commands(&count);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

int tg_command_usage_error(const char *name, const char *text)
{
    fprintf(stderr, "tidegate %s: %s\nTry `tidegate help %s`.\n", name, text, name);
    return TG_EXIT_USAGE;
}

static int unknown_command(const char *name)
{
    size_t count;
    const struct tg_command *commands = tg_commands(&count);
    const char *names[COMMANDS_MAX];
    const char *meant;

    for (size_t i = 0; i < count; i++)
        names[i] = commands[i].name;
    meant = tg_suggest(name, names, count);
    if (meant != NULL)
        fprintf(stderr, "tidegate: unknown command %.60s; did you mean %s?\n", name, meant);
    else
        fprintf(stderr, "tidegate: unknown command %.60s\nTry `tidegate help`.\n", name);
    return TG_EXIT_USAGE;
}

int tg_app_main(int argc, char **argv)
{
    const struct tg_command *command;

    if (argc < 2) {
        tg_help_overview(stderr);
        return TG_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        tg_help_overview(stdout);
        return TG_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0)
        return tg_command_version(1, argv);
    command = tg_command_find(argv[1]);
    if (command == NULL)
        return unknown_command(argv[1]);
    if (tg_arguments_want_help(argc - 1, argv + 1, command->flags)) {
        tg_help_command(stdout, command);
        return TG_EXIT_OK;
    }
    return command->run(argc - 1, argv + 1);
}
