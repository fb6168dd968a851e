/* commands.c - the table of commands and the choice between them. */
#include "app/commands.h"

#include <stdio.h>
#include <string.h>

#include "app/connect.h"
#include "app/help.h"
#include "app/run_options.h"
#include "base/suggest.h"

#define COMMANDS_MAX 16

const struct tg_command *tg_commands(size_t *count)
{
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
         .usage = "POLICY [flags]",
         .summary = "Loads a policy in the sandbox without serving and names every mistake.",
         .flags = tg_check_flags,
         .run = tg_command_check},
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
