/* public_address.h - whether an address is one of the public Internet.
 */
#ifndef TG_BASE_PUBLIC_ADDRESS_H
#define TG_BASE_PUBLIC_ADDRESS_H

#include <stdbool.h>

#include "base/address.h"

/* False for loopback, private, link-local, shared (CGNAT), unique-local, multicast, unspecified,
 * reserved and documentation addresses, for IPv6 addresses that carry one of these (mapped, compatible,
 * NAT64, 6to4), and for what is no IP address at all. */
bool tg_address_is_public(const struct tg_address *address);

#endif
