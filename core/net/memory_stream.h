/* memory_stream.h - a stream whose other side is in the same process: no socket, no descriptor.
 *
 * To its owner it is a stream like any other. Whoever holds the other side plays the network and the
 * peer: nothing moves, in either direction, unless it calls tg_memory_peer_move. Loop thread only.
 */
#ifndef TG_NET_MEMORY_STREAM_H
#define TG_NET_MEMORY_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"
#include "base/buffer.h"
#include "base/error.h"
#include "net/stream.h"

struct tg_memory_peer;

/* What the stream says of its peer. Copied. */
struct tg_memory_options {
    struct tg_address address;
    bool tls;                /* it is as if the peer spoke TLS */
    const char *certificate; /* that it has proven, as JSON (net/tls.h); NULL: none */
};

/* The stream is the caller's until it is bound, and closes on `net`'s loop as any other. */
TG_MUST enum tg_err tg_memory_stream_create(struct tg_stream **out, struct tg_memory_peer **peer,
                                            struct tg_net *net,
                                            const struct tg_memory_options *options);

/* Puts bytes on their way to the owner. After fin or reset they are dropped. */
TG_MUST enum tg_err tg_memory_peer_send(struct tg_memory_peer *peer, const void *data, size_t len);
void tg_memory_peer_fin(struct tg_memory_peer *peer);   /* ends this side, after what was sent */
void tg_memory_peer_reset(struct tg_memory_peer *peer); /* the connection is lost, at once */

/* How many bytes the network takes while the peer takes none: SIZE_MAX at first. What is over it waits
 * in the stream, as with a client that does not read. */
void tg_memory_peer_set_window(struct tg_memory_peer *peer, size_t bytes);

/* One step: hands the owner what it wants to read, tells it what was written, lets bytes through. False:
 * there was nothing to do. The owner's callbacks run inside. */
bool tg_memory_peer_move(struct tg_memory_peer *peer);

/* What the network has taken from the stream and the peer has not read: append-only for the stream, the
 * holder consumes. */
struct tg_buffer *tg_memory_peer_inbox(struct tg_memory_peer *peer);
/* The owner sent FIN and all before it is in the inbox; or it has closed the stream. */
bool tg_memory_peer_ended(const struct tg_memory_peer *peer);
bool tg_memory_peer_closed(const struct tg_memory_peer *peer);
/* It was closed before all that was written, and a FIN, had gone out. */
bool tg_memory_peer_was_cut(const struct tg_memory_peer *peer);

/* Lets go of this side: a reset if the stream is still there. */
void tg_memory_peer_destroy(struct tg_memory_peer *peer); /* NULL is allowed */

#endif
