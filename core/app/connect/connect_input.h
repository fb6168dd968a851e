/* connect_input.h - lines from standard input, from a terminal, a pipe or a file, as they come. */
#ifndef TG_APP_CONNECT_INPUT_H
#define TG_APP_CONNECT_INPUT_H

#include "base/error.h"

struct uv_loop_s;
struct tg_input;

struct tg_input_callbacks {
    void (*on_line)(void *ctx, const char *line); /* without its end; never empty */
    void (*on_end)(void *ctx);                    /* last, unless stopped */
};

/* Reads standard input, which must be left alone by others. */
TG_MUST enum tg_err tg_input_start(struct tg_input **out, struct uv_loop_s *loop,
                                   const struct tg_input_callbacks *callbacks, void *ctx);
/* No callback after it. Idempotent; NULL is allowed. */
void tg_input_stop(struct tg_input *input);
/* After stop, when the loop has run its close callback. NULL is allowed. */
void tg_input_destroy(struct tg_input *input);

#endif
