/* luacheck.h - asks luacheck, where it is installed, what it thinks of a policy's files. */
#ifndef TG_APP_LUACHECK_H
#define TG_APP_LUACHECK_H

#include "script/check/check.h"

enum tg_luacheck {
    TG_LUACHECK_DONE,
    TG_LUACHECK_ABSENT, /* there is no such program */
    TG_LUACHECK_FAILED  /* it took too long, or did not work */
};

/* Adds its warnings to the check's findings, with codes such as luacheck-W211. Errors of syntax and what
 * was found on the same line already are left out. Waits for ten seconds at most. */
enum tg_luacheck tg_luacheck_run(struct tg_check *check);

#endif
