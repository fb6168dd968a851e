/* check.h - everything that can be said about a policy without serving it: load it as a worker would, then
 * scan its text.
 */
#ifndef TG_SCRIPT_CHECK_CHECK_H
#define TG_SCRIPT_CHECK_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "script/check/findings.h"
#include "script/policy/generation.h"

struct tg_check_names {
    char **names; /* owned */
    size_t count;
};

struct tg_check {
    /* Set by the caller; borrowed. */
    const char *policy;        /* path as people gave it */
    struct tg_script_env *env; /* with a meter: loading is on budget */
    bool has_origins;

    /* Made by tg_check_run. */
    struct tg_findings findings;
    char version[TG_POLICY_VERSION_SIZE]; /* "" when the policy did not load */
    struct tg_check_names hooks;
    struct tg_check_names agents;
    struct tg_check_names services;
    struct tg_check_names
        files;   /* what the policy consists of, entry first; only those that parse */
    char *entry; /* owned; its path */
};

/* Fills the check. Fails only when the policy cannot be read at all, or the scan itself fails; what is
 * wrong with the policy is in findings. Watchdog and meter are the caller's. */
TG_MUST enum tg_err tg_check_run(struct tg_check *check, struct tg_error *error);
void tg_check_fini(struct tg_check *check);

#endif
