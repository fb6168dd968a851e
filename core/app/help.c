/* help.c - help on the terminal, and `tidegate help`. */
#include "app/help.h"

#include <string.h>

#include "ops/config.h"

#define TEXT_WIDTH 80
#define INDENT 6

enum { FLAG_MAN };

const struct tg_flag tg_help_flags[] = {
    {FLAG_MAN, "man", NULL, 0, "Writes the manual page tidegate(1) in roff."},
    {0},
};

/* Wraps at blanks; a newline in `text` begins a paragraph. */
static void print_wrapped(FILE *out, int indent, const char *text)
{
    int column = 0;

    while (*text != '\0') {
        int len = (int)strcspn(text, " \n");
        if (column > 0 && column + 1 + len > TEXT_WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        if (column == 0)
            column = fprintf(out, "%*s%.*s", indent, "", len, text);
        else
            column += fprintf(out, " %.*s", len, text);
        text += len;
        if (*text == '\n') {
            fputs("\n\n", out);
            column = 0;
        }
        text += *text != '\0';
    }
    fputc('\n', out);
}

static void print_flags(FILE *out, const struct tg_flag *flag)
{
    if (flag == NULL || flag->name == NULL)
        return;
    fprintf(out, "\nFlags:\n");
    for (; flag->name != NULL; flag++) {
        fprintf(out, "  --%s%s%s\n", flag->name, flag->hint == NULL ? "" : " ",
                flag->hint == NULL ? "" : flag->hint);
        print_wrapped(out, INDENT, flag->help);
    }
}

static void print_options(FILE *out)
{
    const struct tg_config_row *rows;
    size_t count = tg_config_rows(&rows);

    fputs("\nConfiguration keys, for the file, for --set KEY=VALUE, and as environment variables\n"
          "(limits.max_message is TIDEGATE_LIMITS_MAX_MESSAGE). Flags win over the environment,\n"
          "the environment over the file. `options.NAME` is free for the policy to read.\n\n",
          out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "  %s = %s", rows[i].key, rows[i].value_hint);
        if (rows[i].default_text[0] != '\0')
            fprintf(out, "   [%s]", rows[i].default_text);
        fputc('\n', out);
        print_wrapped(out, INDENT, rows[i].help);
    }
}

void tg_help_overview(FILE *out)
{
    size_t count;
    const struct tg_command *commands = tg_commands(&count);

    fputs("tidegate - a WebSocket host for agent applications, with policies in Lua\n\n"
          "Usage: tidegate COMMAND [arguments]\n\nCommands:\n",
          out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`tidegate help COMMAND` explains one.\n", out);
}

void tg_help_command(FILE *out, const struct tg_command *command)
{
    fprintf(out, "Usage: tidegate %s%s%s\n\n", command->name, command->usage[0] == '\0' ? "" : " ",
            command->usage);
    print_wrapped(out, 0, command->summary);
    if (command->details != NULL) {
        fputc('\n', out);
        print_wrapped(out, 0, command->details);
    }
    print_flags(out, command->flags);
    if (command->lists_options)
        print_options(out);
}

int tg_command_help(int argc, char **argv)
{
    struct tg_arguments args = tg_arguments_on(argc, argv, tg_help_flags);
    const struct tg_command *command = NULL;
    struct tg_error error;
    char text[128];

    for (;;) {
        switch (tg_arguments_next(&args, &error)) {
        case TG_ARGUMENT_FLAG:
            tg_help_man(stdout);
            return TG_EXIT_OK;
        case TG_ARGUMENT_WORD:
            command = tg_command_find(args.values[0]);
            if (command == NULL) {
                snprintf(text, sizeof text, "there is no command %.60s", args.values[0]);
                return tg_command_usage_error(argv[0], text);
            }
            break;
        case TG_ARGUMENT_BAD:
            return tg_command_usage_error(argv[0], error.text);
        case TG_ARGUMENT_HELP:
        case TG_ARGUMENT_END:
            if (command == NULL)
                tg_help_overview(stdout);
            else
                tg_help_command(stdout, command);
            return TG_EXIT_OK;
        }
    }
}
