/* terminal.h - text of others on somebody's terminal, and whether that wants colours. */
#ifndef TG_APP_TERMINAL_H
#define TG_APP_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Standard output is a terminal that can show colours, and NO_COLOR is not set. */
bool tg_terminal_wants_colour(void);

/* Nothing in the text can steer the terminal: of the control characters only newline and tab are written. */
void tg_terminal_write(FILE *out, const char *text, size_t len);
/* The same on one line: a blank for each newline and tab. */
void tg_terminal_write_line(FILE *out, const char *text, size_t len);

/* Characters that tg_terminal_write_line writes, for aligning. */
size_t tg_terminal_width(const char *text, size_t len);

#endif
