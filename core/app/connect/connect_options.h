/* connect_options.h - the command line of `tidegate connect`. */
#ifndef TG_APP_CONNECT_OPTIONS_H
#define TG_APP_CONNECT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "app/connect/connect_session.h"
#include "base/buffer.h"
#include "base/error.h"
#include "client/url.h"
#include "net/tls_config.h"

struct tg_connect_options {
    struct tg_ws_url url;
    struct tg_buffer headers; /* owned; "Name: value\r\n"… and a NUL, or empty */
    const char *agent; /* borrowed from argv; for lines that are typed; NULL: the server's choice */
    uint64_t timeout_ms;
    struct tg_tls_client_options tls; /* for wss://; texts borrowed from argv */
    bool compress;
    struct tg_session session; /* what to send, when it was given as flags */
};

/* On error the options still need fini. Secrets are not repeated in errors. */
TG_MUST enum tg_err tg_connect_options_parse(int argc, char **argv, struct tg_connect_options *out,
                                             struct tg_error *error);
void tg_connect_options_fini(struct tg_connect_options *options);

#endif
