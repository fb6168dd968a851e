/* congestion.h - what is kept for a connection whose client reads more slowly than we send: who waits
 * for room, the last ping not yet answered, and how long nothing has moved.
 *
 * Exists only while it is needed, so that a connection in good health pays one pointer.
 */
#ifndef TG_CONNECTION_CONGESTION_H
#define TG_CONNECTION_CONGESTION_H

#include "connection/connection_internal.h"

/* The outbox was handed `bytes` to the stream. */
void tg__congestion_handed(struct tg_conn *conn, size_t bytes);
/* After each flush: answers the ping that waited and wakes the waiters once there is room. */
void tg__congestion_look(struct tg_conn *conn);
/* Keeps a ping's payload until there is room for its pong; a later one takes its place (RFC 6455
 * §5.5.3). */
void tg__congestion_keep_ping(struct tg_conn *conn, const void *data, size_t len);
/* The connection is over: wakes the waiters and frees. */
void tg__congestion_end(struct tg_conn *conn);

#endif
