/* repl_internal.h - what repl.c (lines and life) and repl_client.c (its client) share. */
#ifndef TG_APP_REPL_INTERNAL_H
#define TG_APP_REPL_INTERNAL_H

#include <uv.h>

#include "app/connect/connect_input.h"
#include "app/connect/connect_print.h"
#include "app/connect/connect_session.h"
#include "app/repl/repl_options.h"
#include "app/test/simulation.h"
#include "base/list.h"

struct tg__repl_line {
    struct tg_list node;
    char text[];
};

struct tg__repl {
    struct tg_repl_options options;
    struct tg_sim *sim;
    char *path;               /* owned; of the policy */
    struct tg_source *source; /* counted; as it was read last, whether it loaded or not */
    size_t client;            /* 0: none yet */
    uint64_t serial;          /* of its connection */
    bool end_told;
    bool left; /* its end is ours */
    struct tg_session session;
    struct tg_printer printer;
    struct tg_input *input;
    uv_idle_t again; /* on while a turn has begun something that the next must carry on */
    struct tg_list lines;
    bool interactive;
    bool input_over;
    bool over;
    bool failed;
};

/* On standard error. complain: something failed, which the exit status tells. */
void tg__repl_say(struct tg__repl *repl, const char *text);
void tg__repl_complain(struct tg__repl *repl, const char *text);

/* Prints what has come since the last time. */
void tg__repl_show_news(struct tg__repl *repl);
/* words: one after the other, each with a NUL. */
void tg__repl_connect_with(struct tg__repl *repl, const char *words, size_t len);
/* All that was added to the session. */
void tg__repl_send_all(struct tg__repl *repl);
void tg__repl_show_state(struct tg__repl *repl);

#endif
