/* ctl_print.h - the answers of the admin interface as a person wants them. */
#ifndef TG_APP_CTL_PRINT_H
#define TG_APP_CTL_PRINT_H

#include <stdbool.h>
#include <stdio.h>

#include "app/ctl/ctl_options.h"
#include "base/json_reader.h"

/* answer: an object. */
void tg_ctl_print(enum tg_ctl_what what, const struct tg_json_value *answer, FILE *out,
                  bool colour);

#endif
