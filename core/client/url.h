/* url.h - a ws:// or wss:// URL.
 */
#ifndef TG_CLIENT_URL_H
#define TG_CLIENT_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define TG_URL_HOST_MAX 253
#define TG_URL_TARGET_MAX 4095

struct tg_ws_url {
    char host[TG_URL_HOST_MAX + 1]; /* a name, or an address without brackets */
    char authority[TG_URL_HOST_MAX +
                   10]; /* for the Host header: brackets, and the port if it is no default */
    char target[TG_URL_TARGET_MAX + 1]; /* path and query, "/" at least */
    uint16_t port;
    bool secure; /* wss:// */
};

/* error says what to write instead. It never repeats what stands before an '@'. */
TG_MUST enum tg_err tg_ws_url_parse(const char *text, struct tg_ws_url *out,
                                    struct tg_error *error);

#endif
