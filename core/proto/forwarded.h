/* forwarded.h - who is behind the proxies, from Forwarded (RFC 7239) and X-Forwarded-For.
 *
 * Each proxy appends whom it heard from, so a list is believed from its right end only as far as the
 * addresses are those of trusted proxies; the first that is not is the client. What stands further
 * left is what the client claims and counts for nothing.
 */
#ifndef TG_PROTO_FORWARDED_H
#define TG_PROTO_FORWARDED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"
#include "base/cidr.h"
#include "base/error.h"
#include "proto/http.h"

struct tg_forwarded {
    /* The peer itself when no header names another; UNKNOWN when a proxy would not or could not say. */
    struct tg_address client;
    bool secure; /* the client spoke TLS to the proxy that saw it */
};

/* `peer` is a trusted proxy that sent this head. TG_ERR_PROTO, with *why static: nobody can say who the
 * client is. The address that counts is malformed, or both kinds of header are there and name
 * different clients, so that one of them is not the proxy's but the client's own. */
TG_MUST enum tg_err tg_forwarded_resolve(const struct tg_http *http, const struct tg_address *peer,
                                         const struct tg_cidr *trusted, size_t trusted_count,
                                         struct tg_forwarded *out, const char **why);

/* Headers in which proxies speak of the client, lower case: forwarded, x-forwarded-*, x-real-ip. */
bool tg_forwarded_is_header(const struct tg_http_header *header);

/* One element of Forwarded: its for= as an address (UNKNOWN for "unknown", a made-up name or none) and
 * whether its proto= is https or wss. False: malformed. */
bool tg_forwarded_element(struct tg_http_text element, struct tg_address *node, bool *secure);

#endif
