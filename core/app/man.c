/* man.c - the manual page tidegate(1), from the same tables as the help texts. */
#include <ctype.h>
#include <string.h>

#include "app/help.h"
#include "ops/config.h"

/* Text in roff: backslashes and dashes escaped, a newline begins a paragraph, and no line begins
 * with a character that roff reads as a request. */
static void print_text(FILE *out, const char *text)
{
    bool line_start = true;

    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            fputs("\n.PP\n", out);
            line_start = true;
            continue;
        }
        if (line_start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        line_start = false;
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
}

static void print_item(FILE *out, const char *text)
{
    fputs(".TP\n.B ", out);
    print_text(out, text);
    fputc('\n', out);
}

static void print_flag(FILE *out, const struct tg_flag *flag)
{
    char head[96];

    snprintf(head, sizeof head, "--%s%s%s", flag->name, flag->hint == NULL ? "" : " ",
             flag->hint == NULL ? "" : flag->hint);
    print_item(out, head);
    print_text(out, flag->help);
    fputc('\n', out);
}

static void print_commands(FILE *out)
{
    size_t count;
    const struct tg_command *commands = tg_commands(&count);

    fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, ".SS tidegate %s ", commands[i].name);
        print_text(out, commands[i].usage);
        fputc('\n', out);
        print_text(out, commands[i].summary);
        fputc('\n', out);
        if (commands[i].details != NULL) {
            fputs(".PP\n", out);
            print_text(out, commands[i].details);
            fputc('\n', out);
        }
        for (const struct tg_flag *flag = commands[i].flags; flag != NULL && flag->name != NULL;
             flag++)
            print_flag(out, flag);
    }
}

static void print_options(FILE *out)
{
    const struct tg_config_row *rows;
    size_t count = tg_config_rows(&rows);
    char head[128];

    fputs(".SH CONFIGURATION\n"
          "The configuration file is Lua and returns a table; dots in a key are nested tables.\n"
          "Any key can also be given as\n.BR \\-\\-set ,\n"
          "or in the environment in capitals with the prefix TIDEGATE_ and underscores for dots.\n"
          "Flags win over the environment, the environment over the file.\n"
          "Durations carry a unit (ms, s, m, h); sizes may (KiB, MiB, GiB).\n"
          "Keys below\n.B options\nare free for the policy to read.\n",
          out);
    for (size_t i = 0; i < count; i++) {
        snprintf(head, sizeof head, "%s = %s", rows[i].key, rows[i].value_hint);
        print_item(out, head);
        print_text(out, rows[i].help);
        if (rows[i].default_text[0] != '\0') {
            fputs(" Default: ", out);
            print_text(out, rows[i].default_text);
            fputc('.', out);
        }
        fputc('\n', out);
    }
}

static void print_environment(FILE *out)
{
    const struct tg_config_row *rows;
    size_t count = tg_config_rows(&rows);

    fputs(".SH ENVIRONMENT\n.nf\n", out);
    for (size_t i = 0; i < count; i++) {
        fputs("TIDEGATE_", out);
        for (const char *c = rows[i].key; *c != '\0'; c++)
            fputc(*c == '.' ? '_' : toupper((unsigned char)*c), out);
        fputc('\n', out);
    }
    fputs("TIDEGATE_OPTIONS_NAME\nNO_COLOR\n.fi\n", out);
}

void tg_help_man(FILE *out)
{
    fprintf(out, ".TH TIDEGATE 1 \"\" \"tidegate %s\" \"User Commands\"\n", TG_VERSION);
    fputs(".SH NAME\ntidegate \\- a WebSocket host for agent applications, with policies in Lua\n"
          ".SH SYNOPSIS\n.B tidegate\n.I COMMAND\n[arguments]\n"
          ".SH DESCRIPTION\n"
          "Tidegate serves WebSocket connections. Its core owns what must not go wrong: sockets,\n"
          "framing, connection IDs, the connection state machine, the order of agent events and\n"
          "limits. Lua policies own what differs between deployments: who may connect, and which\n"
          "agent answers which message. Policies are reloaded without dropping a connection.\n",
          out);
    print_commands(out);
    print_options(out);
    print_environment(out);
    fputs(".SH EXIT STATUS\n.TP\n.B 0\nThe command did what it was asked for.\n"
          ".TP\n.B 1\nIt failed.\n.TP\n.B 2\nIt was called in a wrong way.\n"
          ".TP\n.B 3\nThere is no such server (\n.BR \"tidegate ctl\" ).\n"
          ".SH EXAMPLES\n.nf\n"
          "tidegate run policy.lua \\-\\-listen 0.0.0.0:8080\n"
          "tidegate run \\-\\-config tidegate.lua \\-\\-set limits.max_message=64KiB\n"
          "tidegate connect ws://127.0.0.1:8080 \\-\\-agent supervisor \"What is new?\"\n"
          "tidegate ctl status\n"
          "tidegate ctl connections \\-\\-state degraded \\-\\-format json\n.fi\n",
          out);
}
