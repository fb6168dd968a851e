/* connect_client.h - one WebSocket connection as a client: resolves, connects, upgrades, then passes
 * messages both ways. On a uv loop of the caller; knows nothing of what messages mean.
 */
#ifndef TG_APP_CONNECT_CLIENT_H
#define TG_APP_CONNECT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/connect/client_wire.h"
#include "app/connect/connect_url.h"
#include "base/error.h"
#include "net/stream.h"
#include "net/timer.h"
#include "net/tls_config.h"

struct tg_client;

struct tg_client_callbacks {
    void (*on_open)(void *ctx);
    void (*on_message)(void *ctx, bool text, const uint8_t *data, size_t len);
    void (*on_end)(void *ctx, const struct tg_client_end *end); /* last, once */
};

struct tg_client_options {
    const struct tg_connect_url *url; /* copied */
    const char *headers;              /* "Name: value\r\n"…, copied */
    const char *subprotocol;          /* static, or NULL */
    struct tg_tls_config *tls;        /* counted up; for a secure url, else NULL */
    bool compress;                    /* offers permessage-deflate */
};

/* Starts. Failures that come later are told by on_end. */
TG_MUST enum tg_err tg_client_create(struct tg_client **out, struct tg_net *net,
                                     struct tg_timers *timers,
                                     const struct tg_client_options *options,
                                     const struct tg_client_callbacks *callbacks, void *ctx);
void tg_client_send(struct tg_client *client, const void *text, size_t len);
/* Close handshake; on_end follows, after some seconds at most. Idempotent; before on_open it gives up
 * at once. */
void tg_client_close(struct tg_client *client, int code);
/* After on_end, when the loop has nothing more to do. NULL is allowed. */
void tg_client_destroy(struct tg_client *client);

#endif
