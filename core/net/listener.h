/* listener.h - listening sockets. Binding is apart from accepting, so that every address is known to
 * be good (and port 0 resolved) before any worker starts.
 */
#ifndef TG_NET_LISTENER_H
#define TG_NET_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "net/stream.h"

struct tg_listener;

/* Binds and listens on "host:port", "[v6]:port" or ":port" (all addresses); returns a descriptor
 * that the caller owns. `bound` gets the address with the real port. With shared, SO_REUSEPORT is
 * set so that several sockets can share the address. Errors name address and cause. */
TG_MUST enum tg_err tg_listener_bind(const char *address, bool shared, int *fd,
                                     char bound[TG_ADDRESS_SIZE], struct tg_error *error);

/* True when the "host:port" names loopback only (127.0.0.0/8, ::1, localhost). */
bool tg_listener_is_loopback(const char *address);

/* `stream` is owned by the callee from here on; it must tg_stream_bind it or close it. */
typedef void (*tg_accept_fn)(void *ctx, struct tg_stream *stream);
/* accept(2) failed, e.g. EMFILE; the listener backs off by itself and goes on. */
typedef void (*tg_accept_error_fn)(void *ctx, const char *why);

/* Takes ownership of fd, also on error. */
TG_MUST enum tg_err tg_listener_start(struct tg_listener **out, struct tg_net *net, int fd,
                                      tg_accept_fn on_accept, tg_accept_error_fn on_error,
                                      void *ctx);
/* What a client gets to read when there is no descriptor for it (EMFILE): a whole answer, static. Without it
 * the client waits. */
typedef void (*tg_refused_fn)(void *ctx);
void tg_listener_set_refusal(struct tg_listener *listener, const char *bytes,
                             tg_refused_fn on_refused);
void tg_listener_stop(
    struct tg_listener *listener); /* closes; freed by the loop; NULL is allowed */

#endif
