/* connect_print.h - what came from the server, as a person or a program wants it: a readable stream of
 * events, or one line a message.
 */
#ifndef TG_APP_CONNECT_PRINT_H
#define TG_APP_CONNECT_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buffer.h"
#include "base/json_reader.h"

enum tg_print_form { TG_PRINT_LINES, TG_PRINT_EVENTS };

#define TG_PRINT_RUNS 16

/* Zero-initialise, then set out, form, colour and plain. */
struct tg_printer {
    FILE *out; /* borrowed */
    enum tg_print_form form;
    bool colour;
    bool plain;                        /* messages are text of their own, not JSON */
    bool in_text;                      /* streamed text has not ended its line */
    char text_run[128];                /* raw JSON of the run whose text came last */
    char streamed[TG_PRINT_RUNS][128]; /* runs that have shown their answer piece by piece */
    size_t streamed_next;
    struct tg_buffer scratch; /* owned */
};

void tg_printer_fini(struct tg_printer *printer);

/* One message. value: it as JSON, or NULL when it is none. */
void tg_printer_message(struct tg_printer *printer, bool text, const uint8_t *data, size_t len,
                        const struct tg_json_value *value);
/* A remark of our own; events only (a line-wise reader gets none). */
void tg_printer_note(struct tg_printer *printer, const char *text);
/* Ends an open line. */
void tg_printer_flush(struct tg_printer *printer);

#endif
