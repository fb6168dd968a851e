/* client.h - one WebSocket connection as a client: resolves, connects, upgrades, then passes
 * messages both ways. On the loop of a tg_net; knows nothing of what messages mean.
 */
#ifndef TG_CLIENT_CLIENT_H
#define TG_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "client/url.h"
#include "client/wire.h"
#include "net/http_client.h"
#include "net/stream.h"
#include "net/timer.h"
#include "net/tls_config.h"

struct tg_client;

/* Any of them may call any function below. */
struct tg_client_callbacks {
    void (*on_open)(void *ctx);
    void (*on_message)(void *ctx, bool text, const uint8_t *data, size_t len);
    void (*on_written)(void *ctx); /* all that was sent is with the kernel; NULL: of no interest */
    void (*on_end)(void *ctx, const struct tg_client_end *end); /* last, once */
};

/* Times that are 0 are not limited. */
struct tg_client_options {
    const struct tg_ws_url *url; /* copied */
    const char *headers;         /* "Name: value\r\n"…, copied */
    const char *subprotocol;     /* copied; NULL: none */
    struct tg_tls_config *tls;   /* counted up; for a secure url, else NULL */
    bool compress;               /* offers permessage-deflate */
    bool public_only;            /* refuses addresses that are not of the public Internet */
    size_t message_max;          /* bytes; 0: TG_WIRE_MESSAGE_MAX */
    uint64_t connect_timeout_ms; /* from the start to the answer to the upgrade */
    uint64_t idle_timeout_ms; /* without a message or ping of the server, or while it takes nothing;
                               * pauses of ours apart */
    uint64_t
        ping_interval_ms; /* after so long without a byte a ping goes out, and after as long again
                                * without an answer the connection counts as lost */
};

/* Starts. Failures that come later are told by on_end, and from the loop. */
TG_MUST enum tg_err tg_client_create(struct tg_client **out, struct tg_net *net,
                                     struct tg_timers *timers,
                                     const struct tg_client_options *options,
                                     const struct tg_client_callbacks *callbacks, void *ctx);
/* TG_ERR_CLOSED: it is not open. TG_ERR_NOMEM: nothing is sent. */
TG_MUST enum tg_err tg_client_send(struct tg_client *client, bool text, const void *data,
                                   size_t len);
/* Bytes that the kernel has not taken yet. */
size_t tg_client_unwritten(const struct tg_client *client);
/* Once it is open. While paused no on_message comes, and little more than TG_NET_READ_SIZE bytes are held here; then the server
 * has to wait. Both are idempotent; messages that are here already come from the loop. */
void tg_client_pause(struct tg_client *client);
void tg_client_resume(struct tg_client *client);
/* From now on, and silence counts from now. */
void tg_client_set_idle_timeout(struct tg_client *client, uint64_t ms);
/* Close handshake; on_end follows, after some seconds at most. Idempotent; before on_open it gives up
 * at once, inside this call. */
void tg_client_close(struct tg_client *client, int code, const char *reason);
/* At any time; no callback follows. An open connection ends with a close frame that nobody waits for the answer
 * to. NULL is allowed. */
void tg_client_destroy(struct tg_client *client);

/* The subprotocol that the server chose; "" when it chose none, or has not answered. Borrowed. */
const char *tg_client_subprotocol(const struct tg_client *client);

#endif
