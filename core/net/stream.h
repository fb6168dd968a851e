/* stream.h - one byte stream to a peer, over TCP or a Unix socket. Everything above sees only this.
 *
 * Reads land in a buffer that all streams of a loop share, so an idle stream owns no read memory.
 * Writing hands over a whole tg_buffer: what the kernel takes at once never waits, the rest stays
 * in the stream until written. Closing is asynchronous: after tg_stream_close no callback but
 * on_closed comes, and the stream is freed right after it returns. Loop thread only.
 */
#ifndef TG_NET_STREAM_H
#define TG_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/buffer.h"
#include "base/error.h"

struct uv_loop_s;
struct tg_stream;
struct tg_net; /* what streams of one loop share: the loop and the read buffer */

#define TG_NET_READ_SIZE 65536

/* Sets SIGPIPE to be ignored, for the whole process. */
TG_MUST enum tg_err tg_net_create(struct tg_net **out, struct uv_loop_s *loop);
/* The same for a thread that does little but serve streams: only tg_net_run serves them, at less cost. */
TG_MUST enum tg_err tg_net_create_leading(struct tg_net **out, struct uv_loop_s *loop);
/* Serves streams and the loop, until nothing but streams holds the loop. before_wait comes before each time that
 * the thread may sleep; true: it has left something to do and is to come again at once. */
void tg_net_run(struct tg_net *net, bool (*before_wait)(void *ctx), void *ctx);
/* Goes when every stream of it is closed and the loop has run the close callbacks: to be called before the
 * loop's last turns. */
void tg_net_destroy(struct tg_net *net);
/* What the loop would do in its next turn for streams that are closed, on_closed: for when it has no next turn.
 * Not from inside a callback of a stream. */
void tg_net_settle(struct tg_net *net);
struct uv_loop_s *tg_net_loop(const struct tg_net *net);

/* Any callback may call tg_stream_close. */
struct tg_stream_callbacks {
    /* Bytes from the peer, valid until return; the callee may change them (unmasking in place). */
    void (*on_read)(void *ctx, uint8_t *data, size_t len);
    /* The peer ended its side (TG_ERR_OK) or the connection is lost (TG_ERR_SYS; `why` is a short
     * text such as "connection reset by peer"). No on_read follows. Once each at most: what is written to a
     * peer that ended its side may still be lost. */
    void (*on_end)(void *ctx, enum tg_err err, const char *why);
    /* All bytes that tg_stream_write was given are with the kernel. Only when it did not return
     * with them all written. */
    void (*on_written)(void *ctx);
    /* Last call. The stream is gone after it. */
    void (*on_closed)(void *ctx);
};

/* Sets who is called; before the first read or write. callbacks must outlive the stream. */
void tg_stream_bind(struct tg_stream *stream, const struct tg_stream_callbacks *callbacks,
                    void *ctx);

/* Client side: starts to connect to a resolved address text ("127.0.0.1", "::1", 8080).
 * on_connected(ctx, err, why) comes once. */
typedef void (*tg_stream_connected_fn)(void *ctx, enum tg_err err, const char *why);
TG_MUST enum tg_err tg_stream_connect(struct tg_stream **out, struct tg_net *net, const char *host,
                                      uint16_t port, tg_stream_connected_fn fn, void *ctx,
                                      struct tg_error *error);

TG_MUST enum tg_err tg_stream_read_start(struct tg_stream *stream); /* idempotent */
/* Idempotent. Bytes that were read before, and an end among them, may still come in this turn of the loop, as several
 * streams are read together. */
void tg_stream_read_stop(struct tg_stream *stream);

/* Takes all bytes of `bytes`, which is left empty, perhaps with its memory. Not allowed while
 * tg_stream_is_writing. On error nothing is taken by the peer for sure and on_end follows. */
TG_MUST enum tg_err tg_stream_write(struct tg_stream *stream, struct tg_buffer *bytes);
bool tg_stream_is_writing(const struct tg_stream *stream);
size_t tg_stream_unwritten(
    const struct tg_stream *stream); /* bytes handed over, not yet with the kernel */

/* Sends FIN after what is being written. Reading goes on. Idempotent. */
void tg_stream_shutdown(struct tg_stream *stream);
void tg_stream_close(struct tg_stream *stream); /* idempotent until on_closed */

/* Never fails: UNKNOWN when the peer is gone already. */
struct tg_address tg_stream_peer(const struct tg_stream *stream);
/* The same as tg_address_format writes it. */
void tg_stream_peer_address(const struct tg_stream *stream, char out[TG_ADDRESS_SIZE]);

#endif
