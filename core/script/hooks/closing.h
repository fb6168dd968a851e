/* closing.h - ending all connections of a user, or of a token, on one worker.
 *
 * There is no index: that would cost every idle connection memory, and the walk over 100,000 of them takes
 * milliseconds, on an occasion that is rare.
 */
#ifndef TG_SCRIPT_CLOSING_H
#define TG_SCRIPT_CLOSING_H

#include <stddef.h>

struct tg_hub;

struct tg_closing {
    enum {
        TG_CLOSING_USER, /* whose user_id is `key` */
        TG_CLOSING_TOKEN /* whose identity has `key` as its token_id or jti */
    } by;
    const char *key;
    int code; /* one that may be sent */
    const char *reason;
};

/* How many it began to close. The worker's thread, not from inside a walk over its connections. */
size_t tg_closing_carry_out(struct tg_hub *hub, const struct tg_closing *what);

#endif
