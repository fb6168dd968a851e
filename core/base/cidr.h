/* cidr.h - ranges of addresses, for lists such as trusted_proxies.
 */
#ifndef TG_BASE_CIDR_H
#define TG_BASE_CIDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/error.h"

struct tg_cidr {
    struct tg_address network; /* UNIX: peers on a Unix socket; its port is not used */
    uint8_t bits;
};

/* What one item of a list can stand for: "loopback" is two ranges. */
#define TG_CIDR_PARTS 2

/* "10.0.0.0/8", "192.0.2.1", "fd00::/8", "::1", "loopback" (127.0.0.0/8 and ::1), "unix". Writes *count
 * parts. TG_ERR_INVALID: error says what is wrong with the text, bits beyond the prefix included. */
TG_MUST enum tg_err tg_cidr_parse(const char *text, struct tg_cidr out[TG_CIDR_PARTS],
                                  size_t *count, struct tg_error *error);

bool tg_cidr_has(const struct tg_cidr *cidr, const struct tg_address *address);
bool tg_cidr_any(const struct tg_cidr *list, size_t count, const struct tg_address *address);

#endif
