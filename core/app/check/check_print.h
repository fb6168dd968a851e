/* check_print.h - what `check` found, for people and for programs. */
#ifndef TG_APP_CHECK_PRINT_H
#define TG_APP_CHECK_PRINT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/json_writer.h"
#include "script/check/check.h"

/* One line for a finding, its hint on a second; then, for a policy without errors, what it is. verbose: the
 * files that it consists of, too. */
void tg_check_print_text(FILE *out, const struct tg_check *check, bool verbose);

/* One policy as an object: policy, ok, version, hooks, agents, files, luacheck, findings. */
void tg_check_print_json(struct tg_json_writer *w, const struct tg_check *check, bool luacheck,
                         bool strict);

/* Would the policy be refused? strict: warnings count. */
bool tg_check_passed(const struct tg_check *check, bool strict);

#endif
