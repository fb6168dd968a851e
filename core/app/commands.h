/* commands.h - the table of commands, and what a command is.
 */
#ifndef TG_APP_COMMANDS_H
#define TG_APP_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

#include "app/arguments.h"
#include "base/error.h"

enum tg_exit { TG_EXIT_OK, TG_EXIT_FAILED, TG_EXIT_USAGE, TG_EXIT_UNREACHABLE };

struct tg_command {
    const char *name;
    const char *usage;           /* what follows the name: "[POLICY] [flags]" */
    const char *summary;         /* one line */
    const char *details;         /* paragraphs, each a line; NULL: none */
    const struct tg_flag *flags; /* ends with {0}; NULL: none */
    bool lists_options;          /* help shows all configuration keys */
    int (*run)(int argc, char **argv);
};

/* What the process does: picks the command and runs it. Returns the exit status. */
int tg_app_main(int argc, char **argv);

const struct tg_command *tg_commands(size_t *count);
const struct tg_command *tg_command_find(const char *name); /* NULL: no such command */

/* `tidegate NAME: text` and where help is, on standard error; returns TG_EXIT_USAGE. */
int tg_command_usage_error(const char *name, const char *text);

/* The commands: argv[0] is the command's name. They return an enum tg_exit. */
int tg_command_run(int argc, char **argv);
int tg_command_check(int argc, char **argv);
int tg_command_connect(int argc, char **argv);
int tg_command_ctl(int argc, char **argv);
int tg_command_repl(int argc, char **argv);
int tg_command_test(int argc, char **argv);
int tg_command_version(int argc, char **argv);
int tg_command_help(int argc, char **argv);

#endif
