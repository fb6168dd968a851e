/* ctl_options.h - the command line of `tidegate ctl`, checked word by word. */
#ifndef TG_APP_CTL_OPTIONS_H
#define TG_APP_CTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "app/arguments.h"
#include "base/error.h"

enum tg_ctl_what {
    TG_CTL_STATUS,
    TG_CTL_CONNECTIONS,
    TG_CTL_CONNECTION,
    TG_CTL_CLOSE,
    TG_CTL_CLOSE_USER,
    TG_CTL_REVOKE,
    TG_CTL_TICKET,
    TG_CTL_RELOAD,
    TG_CTL_ROLLBACK,
    TG_CTL_POLICY,
    TG_CTL_DRAIN,
    TG_CTL_METRICS
};

struct tg_ctl_action {
    const char *name;
    enum tg_ctl_what what;
    const char *method;
    const char *path;   /* with %s for the first word, if that is in it */
    const char *words;  /* what follows the name, for people */
    size_t least, most; /* words after the name: ID or USER, CODE, REASON */
};

#define TG_CTL_WORDS_MAX 3

/* All texts are borrowed from argv; NULL: not given. */
struct tg_ctl_options {
    const struct tg_ctl_action *action;
    const char *words[TG_CTL_WORDS_MAX];
    size_t word_count;
    const char *admin, *token, *config;
    const char *state, *user, *limit; /* of connections */
    const char *origin;               /* of ticket */
    const char *ttl;                  /* of ticket and revoke */
    double ttl_seconds;
    bool json; /* show the answer as it is */
};

extern const struct tg_flag tg_ctl_flags[];

/* TG_ERR_INVALID: called in a wrong way. Never repeats a token. */
TG_MUST enum tg_err tg_ctl_options_parse(int argc, char **argv, struct tg_ctl_options *out,
                                         struct tg_error *error);

#endif
