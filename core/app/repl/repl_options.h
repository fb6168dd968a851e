/* repl_options.h - the command line of `tidegate repl`, and what a line /connect says. */
#ifndef TG_APP_REPL_OPTIONS_H
#define TG_APP_REPL_OPTIONS_H

#include "app/arguments.h"
#include "base/buffer.h"
#include "base/error.h"
#include "ops/config.h"

extern const struct tg_flag tg_repl_flags[];

struct tg_repl_options {
    struct tg_config config;  /* complete; config.policy is set */
    const char *agent;        /* that plain lines go to; NULL: the policy chooses */
    struct tg_buffer connect; /* words for tg_repl_connect, each with a NUL */
};

TG_MUST enum tg_err tg_repl_options_parse(int argc, char **argv, struct tg_repl_options *out,
                                          struct tg_error *error);
void tg_repl_options_fini(struct tg_repl_options *options);

/* An upgrade request from words: path=/p query=a=b bearer=T origin=O remote=A header=Name:Value. */
struct tg_repl_connect {
    char target[1024];
    char remote[64]; /* "" none */
    struct tg_buffer headers;
};
TG_MUST enum tg_err tg_repl_connect_add(struct tg_repl_connect *connect, const char *word,
                                        struct tg_error *error);

#endif
