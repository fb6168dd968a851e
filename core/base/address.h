/* address.h - the address of a peer as a value: IPv4, IPv6 or a Unix socket.
 *
 * An IPv4 address that comes in IPv6 clothes (::ffff:192.0.2.1) is an IPv4 address here, so that one
 * client has one spelling whichever socket it came through.
 */
#ifndef TG_BASE_ADDRESS_H
#define TG_BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tg_address_kind { TG_ADDRESS_UNKNOWN, TG_ADDRESS_V4, TG_ADDRESS_V6, TG_ADDRESS_UNIX };

struct tg_address {
    uint8_t kind;      /* enum tg_address_kind */
    uint8_t bytes[16]; /* network order; V4: the first four, the rest zero */
    uint16_t port;     /* 0: not known */
};

/* "127.0.0.1:54321", "[::1]:54321"; without a port "127.0.0.1", "::1"; "unix"; "unknown". */
#define TG_ADDRESS_SIZE 64
void tg_address_format(const struct tg_address *address, char out[TG_ADDRESS_SIZE]);

struct tg_address tg_address_v4(const uint8_t bytes[4], uint16_t port);
struct tg_address tg_address_v6(const uint8_t bytes[16], uint16_t port);

/* 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1], [2001:db8::1]:80; nothing else, no names. */
bool tg_address_parse(const char *text, size_t len, struct tg_address *out);

/* The same host; ports do not count. */
bool tg_address_same_host(const struct tg_address *a, const struct tg_address *b);

#endif
