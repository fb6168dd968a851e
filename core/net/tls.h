/* tls.h - TLS between the socket and the owner of a stream.
 *
 * Once it is started nothing changes for the owner: it reads and writes plain text, and what it writes
 * before the handshake is over waits. on_end gets TG_ERR_PROTO when the peer breaks TLS, or ends the
 * connection without close_notify. Shutdown and close send close_notify.
 *
 * A client that speaks HTTP to a server without TLS gets a line that says so.
 */
#ifndef TG_NET_TLS_H
#define TG_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "net/stream.h"
#include "net/tls_config.h"

/* Before the first read or write. The configuration is counted up. `lane` is below its lanes and used by
 * one thread only. */
TG_MUST enum tg_err tg_stream_start_tls(struct tg_stream *stream, struct tg_tls_config *config,
                                        size_t lane);
/* After on_connected. The server's certificate must be for `host`, a name or an address. */
TG_MUST enum tg_err tg_stream_start_tls_client(struct tg_stream *stream,
                                               struct tg_tls_config *config, const char *host);

/* For what may stand before TLS, such as a PROXY header. After hold bytes are delivered as they come, until
 * release is called from inside on_read: the last `rest` bytes of what that was given belong to TLS, and so
 * does all that follows. */
void tg_stream_hold_tls(struct tg_stream *stream);
void tg_stream_release_tls(struct tg_stream *stream, size_t rest);

bool tg_stream_has_tls(const struct tg_stream *stream);
/* TLS was started and its handshake is not over, or has failed. */
bool tg_stream_is_handshaking(const struct tg_stream *stream);

/* Both append JSON, after the handshake. { version, cipher, server_name, client_certificate_error }: */
TG_MUST enum tg_err tg_stream_tls_describe(const struct tg_stream *stream, struct tg_buffer *out);
/* What the peer's certificate says, or nothing when it gave none that could be verified:
 * { subject, subject_cn, issuer, serial, sans = { dns, email, uri, ip }, fingerprint_sha256, not_before,
 * not_after, verified }. Texts that are not UTF-8, and a CN that is not the only one, are left out. */
TG_MUST enum tg_err tg_stream_tls_peer_certificate(const struct tg_stream *stream,
                                                   struct tg_buffer *out);

#endif
