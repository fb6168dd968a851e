/* resolver.h - the addresses of a name, asked for without holding the loop up.
 *
 * Each lookup has a thread of its own, since the system's resolver blocks for as long as it likes: one name
 * whose servers do not answer delays no other, and nobody waits for a lookup that was cancelled, a loop that
 * stops neither.
 */
#ifndef TG_NET_RESOLVER_H
#define TG_NET_RESOLVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/error.h"

struct uv_loop_s;
struct tg_lookup;

#define TG_LOOKUP_ADDRESSES_MAX 16

/* From the loop, once. count 0: `why` says what is wrong with the name. The lookup is gone after it. */
typedef void (*tg_lookup_fn)(void *ctx, const struct tg_address *found, size_t count,
                             const char *why);

/* host: a name, or an address without brackets. TG_ERR_LIMIT: too many lookups are under way in this process,
 * those that were cancelled included. */
TG_MUST enum tg_err tg_lookup_start(struct tg_lookup **out, struct uv_loop_s *loop,
                                    const char *host, uint16_t port, tg_lookup_fn fn, void *ctx);
/* fn is not called any more. Not after it was. */
void tg_lookup_cancel(struct tg_lookup *lookup);

#endif
