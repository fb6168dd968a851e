/* help.h - help texts and the manual page, made from the tables of commands, flags and options.
 */
#ifndef TG_APP_HELP_H
#define TG_APP_HELP_H

#include <stdio.h>

#include "app/commands.h"

void tg_help_overview(FILE *out);
void tg_help_command(FILE *out, const struct tg_command *command);
/* tidegate(1) in roff (man macros). */
void tg_help_man(FILE *out);

extern const struct tg_flag tg_help_flags[];

#endif
