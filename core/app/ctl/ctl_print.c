/* ctl_print.c - what is asked for most, in a form of its own; the rest as json_text.h lays it out.
 *
 * What should worry somebody is red, and only that: a count of what must not happen that is not zero, a
 * reload that failed.
 */
#include "app/ctl/ctl_print.h"

#include <math.h>
#include <string.h>

#include "app/json_text.h"
#include "app/terminal.h"
#include "app/text_table.h"

#define RED "31"
#define YELLOW "33"
#define GREEN "32"
#define NAME_WIDTH 28

struct page {
    FILE *out;
    bool colour;
};

static struct tg_json_value member(const struct tg_json_value *object, const char *key)
{
    return tg_json_member(object, key);
}

static void write_coloured(struct page *page, const char *colour, const char *text, size_t len)
{
    if (page->colour && colour != NULL)
        (void)fprintf(page->out, "\033[%sm", colour);
    tg_terminal_write_line(page->out, text, len);
    if (page->colour && colour != NULL)
        (void)fputs("\033[0m", page->out);
}

static void write_value(struct page *page, const char *colour, const struct tg_json_value *value)
{
    struct tg_buffer line = TG_BUFFER_INIT;

    tg_json_text_line(value, &line);
    write_coloured(page, colour, (const char *)tg_buffer_head(&line), line.len);
    tg_buffer_fini(&line);
}

static void write_name(struct page *page, const char *name)
{
    (void)fprintf(page->out, "%-*s", NAME_WIDTH, name);
}

static void write_row(struct page *page, const char *name, const char *colour,
                      struct tg_json_value value)
{
    write_name(page, name);
    write_value(page, colour, &value);
    (void)fputc('\n', page->out);
}

static void write_duration(struct page *page, const char *name, double seconds)
{
    unsigned long s = seconds > 0 ? (unsigned long)fmin(seconds, 1e12) : 0;

    write_name(page, name);
    if (s >= 86400)
        (void)fprintf(page->out, "%lud %02luh\n", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        (void)fprintf(page->out, "%luh %02lum\n", s / 3600, s / 60 % 60);
    else if (s >= 60)
        (void)fprintf(page->out, "%lum %02lus\n", s / 60, s % 60);
    else
        (void)fprintf(page->out, "%lus\n", s);
}

/* Zero is how it should be. */
static void write_fault(struct page *page, const char *name, struct tg_json_value count)
{
    write_row(page, name, tg_json_number(&count) > 0 ? RED : NULL, count);
}

static void write_states(struct page *page, struct tg_json_value states)
{
    struct tg_json_value key;
    struct tg_json_value count;
    size_t cursor = 0;
    char name[NAME_WIDTH];

    while (tg_json_next(&states, &cursor, &key, &count)) {
        if (tg_json_number(&count) == 0 ||
            tg_json_copy_string(&key, name, sizeof name) != TG_ERR_OK)
            continue;
        (void)fprintf(page->out, "  %-*s", NAME_WIDTH - 2, name);
        write_value(page, NULL, &count);
        (void)fputc('\n', page->out);
    }
}

static void write_reload(struct page *page, struct tg_json_value last)
{
    struct tg_json_value result = member(&last, "result");
    struct tg_json_value at = member(&last, "at");
    struct tg_json_value error = member(&last, "error");
    bool failed = tg_json_equals(&result, "failed");

    write_name(page, "  last reload");
    write_value(page, failed ? RED : NULL, &result);
    if (at.kind == TG_JSON_STRING) {
        (void)fputs("  ", page->out);
        write_value(page, NULL, &at);
    }
    (void)fputc('\n', page->out);
    if (failed)
        write_row(page, "  error", RED, error);
}

static void print_status(struct page *page, const struct tg_json_value *health)
{
    struct tg_json_value status = member(health, "status");
    struct tg_json_value uptime = member(health, "uptime_seconds");
    struct tg_json_value policy = member(health, "policy");
    struct tg_json_value websocket = member(health, "websocket");

    write_row(page, "status", tg_json_equals(&status, "ok") ? GREEN : YELLOW, status);
    write_duration(page, "uptime", tg_json_number(&uptime));
    write_row(page, "version", NULL, member(health, "version"));
    write_row(page, "workers", NULL, member(health, "workers"));
    write_row(page, "policy", NULL, member(&policy, "version"));
    write_row(page, "  path", NULL, member(&policy, "path"));
    write_row(page, "  loaded", NULL, member(&policy, "loaded_at"));
    write_reload(page, member(&policy, "last_reload"));
    write_row(page, "connections", NULL, member(&websocket, "connections"));
    write_states(page, member(&websocket, "states"));
    write_row(page, "runs", NULL, member(&websocket, "runs"));
    write_fault(page, "stuck in the handshake", member(&websocket, "stuck_in_connecting"));
    write_fault(page, "stuck in setup", member(&websocket, "stuck_in_setup"));
    write_fault(page, "invalid transitions, 24 h",
                member(&websocket, "invalid_state_transitions_24h"));
    write_fault(page, "connection ID mismatches", member(&websocket, "connection_id_mismatches"));
}

static void add_cell(struct tg_text_table *table, const struct tg_json_value *row, const char *key)
{
    struct tg_json_value value = member(row, key);
    struct tg_buffer line = TG_BUFFER_INIT;

    tg_json_text_line(&value, &line);
    tg_text_table_add(table, (const char *)tg_buffer_head(&line), line.len);
    tg_buffer_fini(&line);
}

static void print_connections(struct page *page, const struct tg_json_value *answer)
{
    static const struct {
        const char *key, *title;
    } columns[] = {{"id", "ID"},
                   {"state", "STATE"},
                   {"user_id", "USER"},
                   {"remote_address", "REMOTE"},
                   {"runs", "RUNS"},
                   {"connected_at", "CONNECTED"},
                   {"policy_version", "POLICY"}};
    const size_t count = sizeof columns / sizeof columns[0];
    struct tg_text_table table = {.columns = count};
    struct tg_json_value list = member(answer, "connections");
    struct tg_json_value matched = member(answer, "count");
    struct tg_json_value key;
    struct tg_json_value row;
    size_t cursor = 0;
    size_t shown = 0;

    for (size_t i = 0; i < count; i++)
        tg_text_table_add(&table, columns[i].title, strlen(columns[i].title));
    while (tg_json_next(&list, &cursor, &key, &row)) {
        for (size_t i = 0; i < count; i++)
            add_cell(&table, &row, columns[i].key);
        shown++;
    }
    if (shown > 0)
        tg_text_table_print(&table, page->out, 0, true, page->colour);
    tg_text_table_fini(&table);
    if (shown == 0)
        (void)fputs("no connections\n", page->out);
    else if (tg_json_number(&matched) > (double)shown)
        (void)fprintf(page->out, "%zu of %.0f; --limit shows more\n", shown,
                      tg_json_number(&matched));
}

static void print_switch(struct page *page, const struct tg_json_value *answer)
{
    struct tg_json_value version = member(answer, "version");
    struct tg_json_value previous = member(answer, "previous");
    struct tg_json_value unchanged = member(answer, "unchanged");

    (void)fputs("policy ", page->out);
    write_value(page, NULL, &version);
    if (tg_json_true(&unchanged)) {
        (void)fputs(" serves already: nothing has changed\n", page->out);
        return;
    }
    (void)fputs(" serves, after ", page->out);
    write_value(page, NULL, &previous);
    (void)fputc('\n', page->out);
}

static void print_closed(struct page *page, enum tg_ctl_what what,
                         const struct tg_json_value *answer)
{
    struct tg_json_value closed = member(answer, "closed");
    double count = tg_json_number(&closed);

    (void)fprintf(page->out, "%s%.0f connection%s closed\n",
                  what == TG_CTL_REVOKE ? "revoked; " : "", count, count == 1 ? "" : "s");
}

/* Alone on its line, for `$(tidegate ctl ticket …)`. */
static void print_ticket(struct page *page, const struct tg_json_value *answer)
{
    struct tg_json_value ticket = member(answer, "ticket");

    write_value(page, NULL, &ticket);
    (void)fputc('\n', page->out);
}

void tg_ctl_print(enum tg_ctl_what what, const struct tg_json_value *answer, FILE *out, bool colour)
{
    struct page page = {out, colour};

    switch (what) {
    case TG_CTL_STATUS:
        print_status(&page, answer);
        break;
    case TG_CTL_CONNECTIONS:
        print_connections(&page, answer);
        break;
    case TG_CTL_RELOAD:
    case TG_CTL_ROLLBACK:
        print_switch(&page, answer);
        break;
    case TG_CTL_CLOSE:
        (void)fputs("closing\n", out);
        break;
    case TG_CTL_CLOSE_USER:
    case TG_CTL_REVOKE:
        print_closed(&page, what, answer);
        break;
    case TG_CTL_TICKET:
        print_ticket(&page, answer);
        break;
    case TG_CTL_DRAIN:
        (void)fputs("draining: no new connections; those there are may finish their runs\n", out);
        break;
    case TG_CTL_CONNECTION:
    case TG_CTL_POLICY:
    case TG_CTL_METRICS:
        tg_json_text_print(answer, out, colour);
        break;
    }
}
