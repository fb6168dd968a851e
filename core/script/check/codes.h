/* codes.h - the codes of findings: stable names for editors, CI and `tidegate check --codes`. */
#ifndef TG_SCRIPT_CHECK_CODES_H
#define TG_SCRIPT_CHECK_CODES_H

#include <stddef.h>

#include "script/policy/mistakes.h"

struct tg_check_code {
    const char *code;
    enum tg_severity severity; /* as a rule: an error that pcall would catch is only a warning */
    const char *meaning;
};

const struct tg_check_code *tg_check_codes(size_t *count);

#endif
