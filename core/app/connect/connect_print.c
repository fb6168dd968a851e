/* connect_print.c - messages as lines or as a readable stream of events.
 *
 * Nothing that a server sends can steer the terminal: control characters are dropped, in decoded
 * strings as in raw JSON. Lines for programs pass JSON on as it came, only without line breaks.
 */
#include "app/connect/connect_print.h"

#include <inttypes.h>
#include <string.h>

#include "app/terminal.h"
#include "base/base64.h"
#include "base/json_writer.h"
#include "base/utf8.h"

#define BOLD "1"
#define DIM "2"
#define RED "31"
#define GREEN "32"
#define CYAN "36"
#define DETAIL_MAX 160

void tg_printer_fini(struct tg_printer *printer)
{
    tg_buffer_fini(&printer->scratch);
}

static void write_safe(struct tg_printer *printer, const char *data, size_t len)
{
    tg_terminal_write(printer->out, data, len);
}

static void write_short(struct tg_printer *printer, struct tg_json_value value)
{
    size_t len = value.len > DETAIL_MAX ? tg_utf8_cut(value.raw, value.len, DETAIL_MAX) : value.len;

    write_safe(printer, value.raw, len);
    if (len < value.len)
        fputs("…", printer->out);
}

/* A string decoded, anything else as JSON. */
static void write_value(struct tg_printer *printer, struct tg_json_value value)
{
    tg_buffer_clear(&printer->scratch);
    if (value.kind == TG_JSON_STRING &&
        tg_json_decode_string(&value, &printer->scratch) == TG_ERR_OK) {
        if (printer->scratch.len > 0)
            write_safe(printer, (const char *)tg_buffer_head(&printer->scratch),
                       printer->scratch.len);
    } else if (value.kind != TG_JSON_NONE) {
        write_safe(printer, value.raw, value.len);
    }
}

static void style(struct tg_printer *printer, const char *code)
{
    if (printer->colour)
        fprintf(printer->out, "\033[%sm", code);
}

static void unstyle(struct tg_printer *printer)
{
    style(printer, "0");
}

void tg_printer_flush(struct tg_printer *printer)
{
    if (printer->in_text)
        fputc('\n', printer->out);
    printer->in_text = false;
    fflush(printer->out);
}

void tg_printer_note(struct tg_printer *printer, const char *text)
{
    if (printer->form != TG_PRINT_EVENTS)
        return;
    tg_printer_flush(printer);
    style(printer, DIM);
    write_safe(printer, text, strlen(text));
    unstyle(printer);
    fputc('\n', printer->out);
    fflush(printer->out);
}

static void write_duration(struct tg_printer *printer, struct tg_json_value data)
{
    struct tg_json_value value = tg_json_member(&data, "duration_ms");
    double ms = tg_json_number(&value);

    if (value.kind != TG_JSON_NUMBER)
        return;
    style(printer, DIM);
    if (ms >= 1000)
        fprintf(printer->out, " %.1f s", ms / 1000);
    else
        fprintf(printer->out, " %.0f ms", ms);
    unstyle(printer);
}

static void copy_run(const struct tg_json_value *message, char out[128])
{
    struct tg_json_value run = tg_json_member(message, "run_id");

    snprintf(out, 128, "%.*s", run.kind == TG_JSON_NONE ? 0 : (int)(run.len < 127 ? run.len : 127),
             run.kind == TG_JSON_NONE ? "" : run.raw);
}

static bool has_streamed(const struct tg_printer *printer, const char *run)
{
    for (size_t i = 0; i < TG_PRINT_RUNS; i++) {
        if (run[0] != '\0' && strcmp(printer->streamed[i], run) == 0)
            return true;
    }
    return false;
}

static void print_delta(struct tg_printer *printer, const struct tg_json_value *message,
                        struct tg_json_value data)
{
    struct tg_json_value text = tg_json_member(&data, "text");
    char run[128];

    copy_run(message, run);
    /* Runs may take turns: each turn gets its own line. */
    if (printer->in_text && strcmp(printer->text_run, run) != 0)
        tg_printer_flush(printer);
    if (!has_streamed(printer, run))
        memcpy(printer->streamed[printer->streamed_next++ % TG_PRINT_RUNS], run, sizeof run);
    memcpy(printer->text_run, run, sizeof run);
    write_value(printer, text);
    if (text.len > 2)
        printer->in_text = true;
}

/* `<sign> <agent>` in a colour. */
static void print_head(struct tg_printer *printer, const char *colour, const char *sign,
                       struct tg_json_value name)
{
    style(printer, colour);
    fprintf(printer->out, "%s ", sign);
    write_value(printer, name);
    unstyle(printer);
}

static void print_tool(struct tg_printer *printer, struct tg_json_value data, bool over)
{
    struct tg_json_value error = tg_json_member(&data, "error");
    struct tg_json_value result = tg_json_member(&data, "result");
    struct tg_json_value arguments = tg_json_member(&data, "arguments");
    struct tg_json_value name = tg_json_member(&data, "name");
    bool failed = error.kind != TG_JSON_NONE && error.kind != TG_JSON_NULL;

    fputs("  ", printer->out);
    if (!over) {
        print_head(printer, CYAN, "⚙", name);
        fputc(' ', printer->out);
        style(printer, DIM);
        write_short(printer, arguments);
    } else {
        print_head(printer, failed ? RED : GREEN, failed ? "✗" : "✓", name);
        write_duration(printer, data);
        fputc(' ', printer->out);
        style(printer, failed ? RED : DIM);
        write_short(printer, failed ? error : result);
    }
    unstyle(printer);
}

static void print_completed(struct tg_printer *printer, const struct tg_json_value *message,
                            struct tg_json_value data)
{
    char run[128];

    copy_run(message, run);
    if (!has_streamed(printer, run)) {
        write_value(printer, tg_json_member(&data, "response"));
        fputc('\n', printer->out);
    }
    print_head(printer, GREEN, "✓", tg_json_member(message, "agent"));
    write_duration(printer, data);
}

static void print_failure(struct tg_printer *printer, struct tg_json_value who,
                          struct tg_json_value data)
{
    style(printer, RED);
    fputs("✗ ", printer->out);
    if (who.kind == TG_JSON_STRING) {
        write_value(printer, who);
        fputs(": ", printer->out);
    }
    write_value(printer, tg_json_member(&data, "code"));
    fputs(": ", printer->out);
    write_value(printer, tg_json_member(&data, "message"));
    unstyle(printer);
}

static void print_ready(struct tg_printer *printer, struct tg_json_value data)
{
    struct tg_json_value state = tg_json_member(&data, "state");

    print_head(printer, GREEN, "●", tg_json_member(&data, "connection_id"));
    fputs(" as ", printer->out);
    write_value(printer, tg_json_member(&data, "user_id"));
    if (!tg_json_equals(&state, "processing_ready")) {
        fputs(", ", printer->out);
        write_value(printer, state);
    }
}

/* Everything but streamed text: whole lines. */
static void print_event(struct tg_printer *printer, const struct tg_json_value *message)
{
    struct tg_json_value type = tg_json_member(message, "type");
    struct tg_json_value data = tg_json_member(message, "data");

    if (tg_json_equals(&type, "agent_delta")) {
        print_delta(printer, message, data);
        return;
    }
    tg_printer_flush(printer);
    if (tg_json_equals(&type, "connection_ready")) {
        print_ready(printer, data);
    } else if (tg_json_equals(&type, "agent_started")) {
        print_head(printer, BOLD, "▶", tg_json_member(message, "agent"));
    } else if (tg_json_equals(&type, "agent_thinking")) {
        style(printer, DIM);
        write_value(printer, tg_json_member(&data, "text"));
        unstyle(printer);
    } else if (tg_json_equals(&type, "tool_executing")) {
        print_tool(printer, data, false);
    } else if (tg_json_equals(&type, "tool_completed")) {
        print_tool(printer, data, true);
    } else if (tg_json_equals(&type, "agent_completed")) {
        print_completed(printer, message, data);
    } else if (tg_json_equals(&type, "agent_error")) {
        print_failure(printer, tg_json_member(message, "agent"), data);
    } else if (tg_json_equals(&type, "error")) {
        print_failure(printer, (struct tg_json_value){0}, data);
    } else {
        write_safe(printer, message->raw, message->len);
    }
    fputc('\n', printer->out);
}

/* A JSON string of text that is no JSON, or an object that stands for bytes. */
static void print_foreign(struct tg_printer *printer, bool text, const uint8_t *data, size_t len)
{
    struct tg_json_writer w = tg_json_writer_on(&printer->scratch);

    tg_buffer_clear(&printer->scratch);
    if (text) {
        tg_json_strn(&w, (const char *)data, len);
    } else {
        struct tg_buffer base64 = TG_BUFFER_INIT;
        tg_json_begin_object(&w);
        tg_json_member_str(&w, "type", "binary");
        tg_json_member_uint(&w, "bytes", len);
        if (tg_base64_encode(data, len, &base64) == TG_ERR_OK) {
            tg_json_key(&w, "base64");
            tg_json_strn(&w, base64.len == 0 ? "" : (const char *)tg_buffer_head(&base64),
                         base64.len);
        }
        tg_json_end_object(&w);
        tg_buffer_fini(&base64);
    }
    if (printer->scratch.len > 0)
        fwrite(tg_buffer_head(&printer->scratch), 1, printer->scratch.len, printer->out);
    fputc('\n', printer->out);
}

/* Valid JSON holds line breaks between values only, so each can be a blank. */
static void print_line(struct tg_printer *printer, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        fputc(data[i] == '\n' || data[i] == '\r' ? ' ' : data[i], printer->out);
    fputc('\n', printer->out);
}

void tg_printer_message(struct tg_printer *printer, bool text, const uint8_t *data, size_t len,
                        const struct tg_json_value *value)
{
    if (printer->plain && text) {
        if (printer->form == TG_PRINT_EVENTS)
            write_safe(printer, (const char *)data, len);
        else
            fwrite(data, 1, len, printer->out);
        fputc('\n', printer->out);
    } else if (value == NULL) {
        tg_printer_flush(printer);
        print_foreign(printer, text, data, len);
    } else if (printer->form == TG_PRINT_EVENTS && value->kind == TG_JSON_OBJECT) {
        print_event(printer, value);
    } else {
        print_line(printer, data, len);
    }
    fflush(printer->out);
}
